package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"xunjian/pkg/contract"
	"xunjian/pkg/incident"
	"xunjian/pkg/store"
	"xunjian/pkg/symptom"
)

// down is a finding about a service.
func down(service string, firing bool) symptom.Symptom {
	return symptom.Symptom{Source: symptom.FromProbe, Service: service, Component: "c", Class: symptom.Down, Level: contract.Urgent, Firing: firing, At: time.Now(), Since: time.Now(), Detail: "refused"}
}

// newTeller has a desk that takes two incidents and refuses more.
func newTeller(t *testing.T) *teller {
	t.Helper()
	db, err := store.Open(filepath.Join(t.TempDir(), "records.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	desk, err := incident.New(db, incident.Options{MaxOpen: 2})
	if err != nil {
		t.Fatal(err)
	}
	tl := &teller{desk: desk, now: time.Now, log: slog.New(slog.DiscardHandler)}
	tellerMetrics(prometheus.NewRegistry(), tl)
	return tl
}

// What the desk cannot take waits and is told later in the order in which it was found: a fault before its end.
func TestTellerKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tl := newTeller(t)
		var full []incident.Record
		for range 2 {
			r, err := tl.desk.Open(incident.Act{Person: "tester", At: time.Now()}, incident.Opening{Service: "sms", Level: contract.Minor, Detail: "a call", Separate: true})
			if err != nil {
				t.Fatal(err)
			}
			full = append(full, r)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- tl.run(ctx, func(time.Time) []symptom.Symptom { return nil }) }()

		tl.tell(ctx, []symptom.Symptom{down("a", true), down("a", false)})
		tl.tell(ctx, []symptom.Symptom{down("b", true)})
		if n := tl.waiting(); n != 3 {
			t.Errorf("%d findings wait, want 3", n)
		}
		time.Sleep(10 * time.Second)
		for i, r := range full {
			act, told := incident.Act{Person: "tester", At: time.Now()}, incident.Account{PartyA: "p", Category: incident.Unclear, Cause: "c", Handling: "h"}
			if _, err := tl.desk.Resolve(r.ID, act, told); err != nil {
				t.Fatal(err)
			}
			if _, err := tl.desk.Archive(r.ID, act, told); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
			if want := []int{1, 0}[i]; tl.waiting() != want {
				t.Errorf("%d findings wait after %d incidents are closed, want %d", tl.waiting(), i+1, want)
			}
		}
		got, err := tl.desk.List(incident.Filter{State: "open"})
		if err != nil || len(got) != 2 {
			t.Fatalf("open: %+v, %v", got, err)
		}
		for _, r := range got {
			if ended := !r.VerifyingSince.IsZero(); ended != (r.Service == "a") {
				t.Errorf("%s: its end was told: %v", r.Service, ended)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// More than a bound does not wait: the oldest go, counted.
func TestTellerIsBounded(t *testing.T) {
	tl := newTeller(t)
	for i := range 2 {
		tl.tell(t.Context(), []symptom.Symptom{down(fmt.Sprint("open-", i), true)})
	}
	var many []symptom.Symptom
	for i := range maxUntold + 5 {
		many = append(many, down(fmt.Sprint("s-", i), true))
	}
	tl.tell(t.Context(), many)
	if n := tl.waiting(); n != maxUntold || tl.untold[0].Service != "s-5" {
		t.Errorf("%d wait, the first of them %s", n, tl.untold[0].Service)
	}
	if n := testutil.ToFloat64(tl.dropped); n != 5 {
		t.Errorf("%v counted as dropped, want 5", n)
	}
}

// What is being written is no reason to withhold a heartbeat, unless the write does not come back.
func TestWritingIsNotStuck(t *testing.T) {
	tl := newTeller(t)
	tl.busy, tl.writing, tl.began = true, 3, time.Now()
	if n := tl.stuck(); n != 0 {
		t.Errorf("%d are stuck while they are written", n)
	}
	tl.began = time.Now().Add(-slowWrite - time.Second)
	if n := tl.stuck(); n != 3 {
		t.Errorf("%d are stuck in a write that hangs", n)
	}
}

// While findings wait, the collector is alive and not ready, and says why.
func TestNotReadyWhileWaiting(t *testing.T) {
	r := newRig(t, plain("")).start()
	if err := r.records.Close(); err != nil {
		t.Fatal(err)
	}
	r.teller.tell(t.Context(), []symptom.Symptom{down("sms", true), down("sms", false)})
	if status, text := r.ask("GET", "/-/ready"); status != http.StatusServiceUnavailable || !strings.Contains(text, "2 symptoms wait to be written") {
		t.Errorf("ready: %d %s", status, text)
	}
	if status, text := r.ask("GET", "/-/healthy"); status != http.StatusOK {
		t.Errorf("healthy: %d %s", status, text)
	}
	if got := r.metric("xunjian_symptoms_waiting"); got != "2" {
		t.Errorf("metric shows %q", got)
	}
	if err := r.ruled(t.Context(), []symptom.Symptom{down("sms", true)}); err == nil {
		t.Error("a rule's finding is taken for written")
	}
	if err := r.log.has("symptom not taken in, will be told again"); err != nil {
		t.Error(err)
	}
	// Run is to end although nothing can be written any more; that it says so is right.
	r.TB = quiet{t}
	r.stop()
}

// quiet takes errors for granted.
type quiet struct{ *testing.T }

func (q quiet) Error(args ...any) { q.Log(args...) }

// A finding that is cut off by the end of the program is not taken.
func TestRuledHeedsContext(t *testing.T) {
	c := &Collector{teller: newTeller(t)}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.ruled(ctx, []symptom.Symptom{down("sms", true)}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

package ingest

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"xunjian/pkg/check"
	"xunjian/pkg/incident"
	"xunjian/pkg/inspect"
	"xunjian/pkg/metric"
	"xunjian/pkg/store"
	"xunjian/pkg/symptom"
	"xunjian/pkg/tsdb"
	"xunjian/pkg/uplink"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is a receiver among the real parts around it.
type house struct {
	testing.TB
	series *tsdb.DB
	board  *inspect.Board
	desk   *incident.Desk
	*Receiver
	reg  *prometheus.Registry
	told int
	seq  uint64
}

// newHouse has one service, cloud-doc, asked by the check "web" each ten seconds; the plan gives it to every agent but "other".
func newHouse(t testing.TB, linger time.Duration) *house {
	t.Helper()
	h := &house{TB: t, reg: prometheus.NewRegistry()}
	var err error
	if h.series, err = tsdb.Open(filepath.Join(t.TempDir(), "series"), tsdb.Options{Linger: linger}); err != nil {
		t.Fatal(err)
	}
	records, err := store.Open(filepath.Join(t.TempDir(), "records.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	services := []check.Service{{Name: "cloud-doc", ZH: "云文档服务", Key: true}}
	if h.desk, err = incident.New(records, incident.Options{Settings: incident.Settings{Services: services}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(h.series.Close(), records.Close()); err != nil {
			t.Error(err)
		}
	})
	h.board = inspect.New("zh-CN", inspect.DefaultConfig(), services, []check.Spec{check.Spec{Name: "web", Service: "cloud-doc", Kind: "tcp", Target: "x:1"}.WithDefaults()})
	h.Receiver = New(Options{
		Store: h.series, Judge: h.board, Sink: h.take, Unproven: h.board.Unproven, Registerer: h.reg,
		Assigned: func(agent, check string) bool { return check == "web" && agent != "other" },
	})
	return h
}

func (h *house) take(_ context.Context, found []symptom.Symptom) {
	for _, s := range found {
		h.told++
		if _, _, err := h.desk.Observe(time.Now(), s); err != nil {
			h.Error(err)
		}
	}
}

// run lets the store commit until the test ends or stop is called.
func (h *house) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.series.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				h.Error(err)
			}
		})
	}
	h.Cleanup(stop)
	return stop
}

func (h *house) open() int {
	h.Helper()
	got, err := h.desk.List(incident.Filter{State: "open"})
	if err != nil {
		h.Fatal(err)
	}
	return len(got)
}

// report is a reading of one series; each has a sequence of its own.
func (h *house) report(at time.Time, labels ...string) metric.Report {
	h.seq++
	return metric.Report{Boot: 7, Seq: h.seq, Kind: metric.KindHost, Every: 10 * time.Second, At: at, Samples: []metric.Sample{{Series: metric.New("test_number", labels...), Value: 1}}}
}

// round is a round of the check that ended as it says.
func round(at time.Time, o check.Outcome) check.Result {
	r := check.Result{Check: "web", Service: "cloud-doc", Target: "x:1", At: at}
	for i := range 3 {
		a := check.Attempt{Start: at.Add(time.Duration(i) * 300 * time.Millisecond), Duration: time.Millisecond, Outcome: o}
		if o == check.Fail {
			a.Class, a.Reason = check.ClassConnect, "refused"
		}
		r.Attempts = append(r.Attempts, a)
	}
	if o == check.OK {
		r.Attempts = r.Attempts[:1]
	}
	return r
}

// tally collects what durable is told.
type tally struct {
	mu   sync.Mutex
	errs []error
}

func (c *tally) durable(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errs = append(c.errs, err)
}

func (c *tally) told() []error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]error(nil), c.errs...)
}

// settled waits for the answer to one batch and for anything that might come after it.
func (h *house) settled(c *tally) error {
	h.Helper()
	time.Sleep(2 * time.Second)
	synctest.Wait()
	got := c.told()
	if len(got) != 1 {
		h.Fatalf("durable was called %d times: %v", len(got), got)
	}
	return got[0]
}

func (h *house) receive(agent string, b uplink.Batch) *tally {
	h.Helper()
	c := &tally{}
	if err := h.Receive(h.Context(), agent, b, c.durable); err != nil {
		h.Fatal(err)
	}
	return c
}

// counted wants the receiver's counters, zeros left out, in the text form without help lines.
func (h *house) counted(want string) {
	h.Helper()
	var got []string
	families, err := h.reg.Gather()
	if err != nil {
		h.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if m.GetCounter().GetValue() == 0 {
				continue
			}
			line := strings.TrimPrefix(f.GetName(), "xunjian_ingest_")
			for _, l := range m.GetLabel() {
				line += " " + l.GetValue()
			}
			got = append(got, line+" "+metric.FormatValue(m.GetCounter().GetValue()))
		}
	}
	if text := strings.Join(got, "\n"); text != strings.TrimSpace(want) {
		h.Errorf("counted:\n%s\nwant:\n%s", text, want)
	}
}

// stamps are the times of the samples stored of an agent.
func (h *house) stamps(agent string) (out []time.Time) {
	h.Helper()
	m, err := tsdb.NewMatcher(tsdb.Equal, "agent", agent)
	if err != nil {
		h.Fatal(err)
	}
	for s, err := range h.series.Select(h.Context(), 0, 1<<60, m) {
		if err != nil {
			h.Fatal(err)
		}
		for _, ms := range s.T {
			out = append(out, time.UnixMilli(ms).UTC())
		}
	}
	return out
}

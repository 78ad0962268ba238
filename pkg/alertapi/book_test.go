package alertapi

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/incident"
	"xunjian/pkg/store"
	"xunjian/pkg/symptom"
)

// house is a book with a desk over one store, which can be closed and opened again.
type house struct {
	*Book
	t    testing.TB
	path string
	cfg  Config
	db   *store.DB
	desk *incident.Desk
	stop func()

	mu    sync.Mutex
	heard []symptom.Symptom
	fail  error // of the next tellings
}

func newHouse(t testing.TB) *house {
	h := &house{t: t, path: filepath.Join(t.TempDir(), "records.db"), cfg: DefaultConfig()}
	h.open()
	t.Cleanup(func() { h.close() })
	return h
}

// kept is how many alerts the book holds.
func (h *house) kept() int {
	h.Book.mu.Lock()
	defer h.Book.mu.Unlock()
	return len(h.alerts)
}

func (h *house) open() {
	h.t.Helper()
	var err error
	if h.db, err = store.Open(h.path, store.Options{}); err != nil {
		h.t.Fatal(err)
	}
	if h.desk, err = incident.New(h.db, incident.Options{}); err != nil {
		h.t.Fatal(err)
	}
	if h.Book, err = New(h.db, Options{Config: h.cfg, Observe: h.hear}); err != nil {
		h.t.Fatal(err)
	}
	open, err := h.desk.List(incident.Filter{State: "open"})
	if err != nil {
		h.t.Fatal(err)
	}
	for _, r := range open {
		if r.Linked && r.VerifyingSince.IsZero() {
			h.Adopt([]symptom.Symptom{r.Finding()})
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- h.Run(ctx) }()
	go func() { done <- h.desk.Run(ctx) }()
	h.stop = func() {
		cancel()
		if err := errors.Join(<-done, <-done, h.db.Close()); err != nil {
			h.t.Error(err)
		}
		h.stop = nil
	}
}

func (h *house) close() {
	if h.stop != nil {
		h.stop()
	}
}

func (h *house) hear(now time.Time, all []symptom.Symptom) ([]error, error) {
	h.mu.Lock()
	err := h.fail
	if err == nil {
		h.heard = append(h.heard, all...)
	}
	h.mu.Unlock()
	if err != nil {
		return nil, err
	}
	seen, err := h.desk.ObserveAll(now, all)
	refused := make([]error, len(seen))
	for i, s := range seen {
		refused[i] = s.Err
	}
	return refused, err
}

// send puts alerts as they would arrive now and lets them be told.
func (h *house) send(alerts ...Alert) {
	h.t.Helper()
	for i, a := range alerts {
		alerts[i] = a.arrive(time.Now().UTC(), h.cfg.ResolveTimeout)
		if err := alerts[i].check(); err != nil {
			h.t.Fatal(err)
		}
	}
	if err := h.Put(alerts); err != nil {
		h.t.Fatal(err)
	}
	synctest.Wait()
}

// states are the incidents in order of opening: "diskfull urgent detected".
func (h *house) states() string {
	h.t.Helper()
	all, err := h.desk.List(incident.Filter{})
	if err != nil {
		h.t.Fatal(err)
	}
	var out []string
	for _, r := range slices.Backward(all) {
		text := fmt.Sprintf("%s %s %s", r.Rule, r.Level, r.State)
		if !r.VerifyingSince.IsZero() {
			text += " verifying"
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}

func (h *house) want(states string) {
	h.t.Helper()
	if got := h.states(); got != states {
		h.t.Errorf("incidents are %q, want %q", got, states)
	}
}

func alert(pairs ...string) Alert {
	a := Alert{Labels: map[string]string{}}
	for i := 0; i < len(pairs); i += 2 {
		a.Labels[pairs[i]] = pairs[i+1]
	}
	return a
}

func full(instance string) Alert {
	return alert("alertname", "DiskFull", "instance", instance, "severity", "critical")
}

func ended(a Alert) Alert { a.EndsAt = time.Now(); return a }

func TestAlertsLive(t *testing.T) {
	for name, play := range map[string]func(h *house){
		"opens once, however often it is sent, and resolves by its end": func(h *house) {
			for range 5 {
				h.send(full("web-1"))
				time.Sleep(time.Minute)
			}
			h.want("DiskFull urgent detected")
			h.send(ended(full("web-1")))
			h.want("DiskFull urgent detected verifying")
			h.send(ended(full("web-1"))) // Prometheus says it again for a quarter of an hour
			time.Sleep(11 * time.Minute)
			h.want("DiskFull urgent recovered")
			if n := h.kept(); n != 0 {
				h.t.Errorf("%d alerts are kept", n)
			}
		},
		"ends when it is not sent again": func(h *house) {
			h.send(full("web-1"))
			time.Sleep(4*time.Minute + 50*time.Second)
			h.send(full("web-1"))
			time.Sleep(4*time.Minute + 50*time.Second)
			h.want("DiskFull urgent detected")
			time.Sleep(20 * time.Second)
			h.want("DiskFull urgent detected verifying")
		},
		"an end to come holds until then": func(h *house) {
			a := full("web-1")
			a.EndsAt = time.Now().Add(20 * time.Minute)
			h.send(a)
			time.Sleep(19 * time.Minute)
			h.want("DiskFull urgent detected")
			time.Sleep(2 * time.Minute)
			h.want("DiskFull urgent detected verifying")
		},
		"two hosts are two faults": func(h *house) {
			h.send(full("web-1"), full("web-2"))
			h.want("DiskFull urgent detected; DiskFull urgent detected")
		},
		"one condition of several alerts is one fault of the gravest, until the last ends": func(h *house) {
			mild := alert("alertname", "DiskFull", "instance", "web-1", "severity", "warning")
			h.send(mild)
			h.want("DiskFull general detected")
			h.send(full("web-1"))
			h.want("DiskFull urgent detected")
			h.send(ended(mild))
			h.want("DiskFull urgent detected")
			h.send(ended(full("web-1")))
			h.want("DiskFull urgent detected verifying")
		},
		"a watchdog opens nothing": func(h *house) {
			h.send(alert("alertname", "Watchdog", "severity", "none"))
			h.want("")
			time.Sleep(6 * time.Minute)
			if n := h.kept(); n != 0 {
				h.t.Errorf("%d alerts are kept", n)
			}
		},
		"what was over before it came opens nothing": func(h *house) {
			h.send(ended(full("web-1")))
			h.want("")
		},
		"what the desk refuses is told again": func(h *house) {
			h.mu.Lock()
			h.fail = errors.New("disk full")
			h.mu.Unlock()
			h.send(full("web-1"))
			h.want("")
			h.mu.Lock()
			h.fail = nil
			h.mu.Unlock()
			time.Sleep(3 * time.Second)
			h.want("DiskFull urgent detected")
		},
		"a restart neither ends nor opens": func(h *house) {
			h.send(full("web-1"))
			h.close()
			time.Sleep(30 * time.Minute) // its time is long over
			h.open()
			time.Sleep(4 * time.Minute) // the sender finds us again
			h.want("DiskFull urgent detected")
			h.send(full("web-1"))
			time.Sleep(2 * time.Minute)
			h.want("DiskFull urgent detected")
			h.send(ended(full("web-1")))
			h.want("DiskFull urgent detected verifying")
		},
		"what ended while nobody listened ends after the sender's time": func(h *house) {
			h.send(full("web-1"))
			h.close()
			h.open()
			time.Sleep(6 * time.Minute)
			h.want("DiskFull urgent detected verifying")
		},
		"taken before a crash and told after it": func(h *house) {
			h.mu.Lock()
			h.fail = errors.New("disk full")
			h.mu.Unlock()
			h.send(full("web-1"))
			h.close()
			h.mu.Lock()
			h.fail = nil
			h.mu.Unlock()
			h.open()
			synctest.Wait()
			h.want("DiskFull urgent detected")
		},
		"a recovery that a person declared stands over a restart": func(h *house) {
			h.send(full("web-1"))
			all, _ := h.desk.List(incident.Filter{})
			if _, err := h.desk.Resolve(all[0].ID, incident.Act{Person: "王工", Note: "已清理"}, incident.Account{Cause: "日志", Handling: "清理", Declare: true}); err != nil {
				h.t.Fatal(err)
			}
			h.close()
			h.open()
			time.Sleep(time.Minute)
			h.want("DiskFull urgent recovered")
		},
		"other rules of reading": func(h *house) {
			h.send(full("web-1"))
			cfg := DefaultConfig()
			cfg.Level["severity"]["critical"] = untold
			h.Configure(cfg)
			time.Sleep(2 * time.Second)
			h.want("DiskFull urgent detected verifying")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				time.Sleep(time.Second)
				play(h)
				h.close()
			})
		})
	}
}

// TestEndIsFirstGood: the recovery counts from the moment that the sender names.
func TestEndIsFirstGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		begin := time.Now()
		a := full("web-1")
		a.StartsAt = begin.Add(-3 * time.Minute)
		h.send(a)
		time.Sleep(10 * time.Minute)
		h.send(full("web-1"))
		over := full("web-1")
		over.EndsAt = begin.Add(8 * time.Minute)
		h.send(over)
		time.Sleep(11 * time.Minute)
		all, err := h.desk.List(incident.Filter{})
		if err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		r := all[0]
		if !r.FaultStart.Equal(a.StartsAt) || !r.DetectedAt.Equal(begin) || r.Source != symptom.FromExternal {
			t.Errorf("fault of %v, detected %v by %v", r.FaultStart, r.DetectedAt, r.Source)
		}
		h.close()
	})
}

// TestStorm: five thousand alerts in calls as Prometheus makes them are all kept, and become incidents, the urgent ones first.
func TestStorm(t *testing.T) {
	h := newHouse(t)
	const n = 5000
	begin := time.Now()
	var calls sync.WaitGroup
	for from := 0; from < n; from += 64 {
		calls.Go(func() {
			var some []Alert
			for i := from; i < min(from+64, n); i++ {
				severity := "warning"
				if i%50 == 0 {
					severity = "critical"
				}
				some = append(some, alert("alertname", "Down", "instance", fmt.Sprintf("web-%d", i), "severity", severity).arrive(time.Now(), time.Minute))
			}
			if err := h.Put(some); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	taken := time.Since(begin)
	if n := h.active(time.Now()); n != 5000 {
		t.Errorf("%d alerts are kept", n)
	}
	if taken > 10*time.Second {
		t.Errorf("5000 alerts were taken in %v, want 10s", taken)
	}
	for h.heardOf(contract.Urgent) < 100 {
		if time.Sleep(10 * time.Millisecond); time.Since(begin) > time.Minute {
			t.Fatalf("%d urgent ones told after a minute", h.heardOf(contract.Urgent))
		}
	}
	t.Logf("taken in %v, urgent ones told after %v", taken, time.Since(begin))
	for h.heardOf(contract.General) < 4900 {
		if time.Sleep(10 * time.Millisecond); time.Since(begin) > 2*time.Minute {
			t.Fatalf("%d told after two minutes", h.heardOf(contract.General))
		}
	}
	t.Logf("all told after %v", time.Since(begin))
	h.close()
	h.open()
	if n := h.active(time.Now()); n != 5000 {
		t.Errorf("%d alerts are kept over a restart", n)
	}
}

func (h *house) heardOf(l contract.Level) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.heard {
		if s.Level == l {
			n++
		}
	}
	return n
}

func TestFull(t *testing.T) {
	h := newHouse(t)
	h.cfg.Max = 100
	h.Configure(h.cfg)
	var many []Alert
	for i := range 150 {
		many = append(many, full(fmt.Sprint(i)).arrive(time.Now(), time.Minute))
	}
	if err := h.Put(many); !errors.Is(err, ErrFull) || h.active(time.Now()) != 100 {
		t.Errorf("%v with %d alerts", err, h.active(time.Now()))
	}
	if err := h.Put(many[:1]); err != nil {
		t.Errorf("one that is known: %v", err)
	}
}

func TestLevels(t *testing.T) {
	c := DefaultConfig()
	c.Level["priority"] = map[string]string{"P1": "urgent"}
	for _, tc := range []struct {
		labels []string
		want   contract.Level
	}{
		{[]string{"severity", "critical"}, contract.Urgent},
		{[]string{"severity", "Warning"}, contract.General},
		{[]string{"severity", "info"}, contract.Minor},
		{[]string{"severity", "none"}, ""},
		{[]string{"severity", "odd"}, contract.General},
		{nil, contract.General},
		{[]string{"severity", "info", "level", "urgent"}, contract.Urgent},
		{[]string{"severity", "info", "priority", "P1"}, contract.Urgent},
	} {
		if got := c.level(alert(tc.labels...).Labels); got != tc.want {
			t.Errorf("%v is %q, want %q", tc.labels, got, tc.want)
		}
	}
}

func TestSymptom(t *testing.T) {
	a := alert("alertname", "DiskFull", "instance", "web-1", "mountpoint", "/data", "service", "sms", "severity", "critical", "job", "node")
	a.Annotations = map[string]string{"summary": "磁盘将满", "description": "只剩 2%"}
	a.GeneratorURL = "http://prometheus/graph"
	s := DefaultConfig().symptom(a)
	if s.Service != "sms" || s.Component != "web-1 /data" || s.Rule != "DiskFull" || s.Detail != "磁盘将满" || s.Class != symptom.External || len(s.Evidence) != 2 {
		t.Errorf("%+v", s)
	}
	long := strings.Repeat("长", 500)
	a.Labels["instance"], a.Labels["service"] = long, long
	s = DefaultConfig().symptom(a)
	if len(s.Component) > 256 || len(s.Service) > 64 {
		t.Errorf("%d %d", len(s.Component), len(s.Service))
	}
}

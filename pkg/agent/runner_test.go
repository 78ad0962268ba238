package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/metric"
	"xunjian/pkg/probe"
)

// stage is the kind "stage": what its askers do, a test says.
type stage struct {
	asks, controls, busy, most atomic.Int64
	lasts                      time.Duration
	mu                         sync.Mutex // guards what follows
	outcome                    check.Attempt
	blind                      bool
}

// change changes what is played from now on.
func (s *stage) change(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
}

func (s *stage) Ask(ctx context.Context, _ bool) check.Attempt {
	s.asks.Add(1)
	if n := s.busy.Add(1); n > s.most.Load() {
		s.most.Store(n)
	}
	defer s.busy.Add(-1)
	select {
	case <-time.After(s.lasts):
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.outcome
}

func (s *stage) Control(ctx context.Context) check.Attempt {
	s.controls.Add(1)
	s.Ask(ctx, true)
	s.asks.Add(-1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.blind {
		return check.Attempt{Outcome: check.Fail, Class: check.ClassContent, Reason: "a tampered digest verifies"}
	}
	return check.Attempt{Outcome: check.OK}
}

func (s *stage) Close() error { return nil }

// on makes "stage" a kind for as long as the test lasts.
func (s *stage) on(t *testing.T) *stage {
	probe.Kinds["stage"] = probe.Kind{New: func(check.Spec, probe.Env) (probe.Asker, error) { return s, nil }, InTurn: true}
	t.Cleanup(func() { delete(probe.Kinds, "stage") })
	if s.outcome.Outcome == "" {
		s.outcome.Outcome = check.OK
	}
	return s
}

func staged(name string, every time.Duration) check.Spec {
	return check.Spec{Name: name, Service: "sms", Kind: "stage", Target: "192.0.2.1:1", Every: every}.WithDefaults()
}

// A check is asked at its pace within its hours, at the slower one outside, and a restart does not shift that.
func TestHours(t *testing.T) {
	(&stage{}).on(t)
	bubble(t, func(t *testing.T, r *rig, state string) {
		slower := staged("slower", 10*time.Minute)
		slower.Hours = check.Hours{From: "08:00", To: "20:00", Otherwise: 2 * time.Hour}
		never := staged("never", 10*time.Minute)
		never.Hours = check.Hours{From: "08:00", To: "20:00"}
		r.plans.in("Asia/Shanghai", slower, never)
		_, stop := r.start(state, r.token("host-1"))
		time.Sleep(7*time.Hour + 33*time.Minute)
		stop()
		_, stop = r.start(state, "")
		time.Sleep(24*time.Hour - 7*time.Hour - 33*time.Minute)
		stop()
		zone := time.FixedZone("", 8*3600)
		for name, want := range map[string]int{"slower": 6*12 + 6, "never": 6 * 12} {
			inside, outside := 0, 0
			for _, x := range r.inbox.rounds(name) {
				if x.Control {
					continue
				}
				if h := x.At.In(zone).Hour(); h >= 8 && h < 20 {
					inside++
				} else {
					outside++
				}
			}
			if n := inside + outside; inside < 71 || inside > 72 || n < want-2 || n > want {
				t.Errorf("%s: %d rounds inside its hours and %d outside, want 72 and %d", name, inside, outside, want-72)
			}
		}
		if n := r.inbox.kind(metric.KindProbe + "never"); len(n) != len(r.inbox.rounds("never"))-1 { // the control has none
			t.Errorf("%d reports of a check that is not asked at night", len(n))
		}
	})
}

// In an important period a check is asked twice as often: from its first moment to its end, at ticks among which are those
// of always, none twice, none missed for the others, over a restart and without the collector.
func TestImportantPeriod(t *testing.T) {
	(&stage{lasts: 8 * time.Second}).on(t)
	bubble(t, func(t *testing.T, r *rig, state string) {
		twice, paid := staged("twice", time.Minute), staged("paid", time.Minute)
		twice.Timeout, paid.Timeout, paid.Budget = 10*time.Second, 10*time.Second, 10_000
		begin := time.Now()
		period := check.Period{From: begin.Add(65*time.Minute + 10*time.Second), To: begin.Add(2*time.Hour + 5*time.Minute), Times: 2}
		r.plans.in("Asia/Shanghai", twice, paid)
		a, stop := r.start(state, r.token("host-1"))
		time.Sleep(30 * time.Minute)
		r.plans.during([]check.Period{period}, twice, paid)
		time.Sleep(45 * time.Minute)
		if n := a.schedule.Missed(); n != 0 {
			t.Errorf("%d ticks are said to be missed", n)
		}
		stop()
		r.down() // what it has been told holds while the collector is away
		a, stop = r.start(state, "")
		time.Sleep(20 * time.Minute)
		r.up()
		time.Sleep(3*time.Hour - time.Since(begin))
		if n := a.schedule.Missed(); n != 0 {
			t.Errorf("%d ticks are said to be missed", n)
		}
		stop()
		for _, name := range []string{"twice", "paid"} {
			var got []time.Time
			for _, x := range r.inbox.rounds(name) {
				if !x.Control {
					got = append(got, x.At)
				}
			}
			slices.SortFunc(got, time.Time.Compare) // what was on its way when the agent stopped comes after what is fresh, or twice
			all := len(got)
			if got = slices.CompactFunc(got, time.Time.Equal); all-len(got) > 1 {
				t.Errorf("%s: %d rounds were told twice", name, all-len(got))
			}
			var lost []time.Time
			n := 0
			for tick := got[0]; tick.Before(begin.Add(3 * time.Hour)); tick = tick.Add(30 * time.Second) {
				usual := tick.Sub(got[0])%time.Minute == 0
				if !usual && (name == "paid" || tick.Before(period.From) || !tick.Before(period.To)) {
					continue
				}
				if n < len(got) && got[n].Equal(tick) {
					n++
				} else {
					lost = append(lost, tick)
				}
			}
			if n != len(got) || len(lost) > 2 { // the restart, and the end
				t.Errorf("%s: %d rounds, %d as they are due; %d not made, %v", name, len(got), n, len(lost), lost[:min(len(lost), 3)])
			}
		}
	})
}

// A day's budget is kept over restarts; what is over it is told as unknown and asks nothing.
func TestBudget(t *testing.T) {
	s := (&stage{outcome: check.Attempt{Outcome: check.Fail, Class: check.ClassStatus}}).on(t)
	bubble(t, func(t *testing.T, r *rig, state string) {
		spec := staged("sms", time.Minute)
		spec.Budget = 7 // two rounds of three attempts, and one of one
		r.plans.in("Asia/Shanghai", spec)
		_, stop := r.start(state, r.token("host-1"))
		time.Sleep(150 * time.Second)
		stop()
		_, stop = r.start(state, "")
		time.Sleep(10 * time.Minute)
		rounds := r.inbox.rounds("sms")
		if s.asks.Load() != 7 {
			t.Errorf("asked %d times, want the budget of 7", s.asks.Load())
		}
		last := rounds[len(rounds)-1]
		if last.First().Outcome != check.Unknown || last.First().Class != check.ClassBudget || !strings.Contains(last.First().Reason, "budget of 7 attempts a day is spent") {
			t.Errorf("%+v", last)
		}
		if rounds[2].Confirmed() {
			t.Error("a round that the budget cut short is taken for a confirmed failure")
		}
		time.Sleep(24 * time.Hour)
		if n := s.asks.Load(); n != 14 {
			t.Errorf("asked %d times after a day, want 14", n)
		}
		stop()

		// A damaged file must not give the day a second budget.
		if err := os.WriteFile(filepath.Join(state, "checks.json"), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, stop = r.start(state, "")
		time.Sleep(5 * time.Minute)
		stop()
		if n := s.asks.Load(); n != 14 {
			t.Errorf("asked %d times after the file was damaged, want 14", n)
		}
	})
}

// A check that stands by is asked only when the collector wants it, and tells no samples.
func TestStandby(t *testing.T) {
	s := (&stage{}).on(t)
	bubble(t, func(t *testing.T, r *rig, state string) {
		spec := staged("gate", 10*time.Second)
		spec.Standby = true
		r.plans.set(0, spec)
		_, stop := r.start(state, r.token("host-1"))
		defer func() { stop() }()
		time.Sleep(time.Minute)
		if s.asks.Load() != 0 {
			t.Fatalf("asked %d times while it stands by", s.asks.Load())
		}
		began := time.Now()
		if !r.server.ProbeNow("host-1", "gate", "r-1") {
			t.Fatal("the agent has no stream")
		}
		time.Sleep(500 * time.Millisecond)
		rounds := r.inbox.rounds("gate")
		if len(rounds) != 1 || rounds[0].Request != "r-1" || rounds[0].At.Sub(began) > 100*time.Millisecond {
			t.Fatalf("%+v", rounds)
		}
		if n := len(r.inbox.kind(metric.KindProbe + "gate")); n != 0 {
			t.Errorf("%d reports out of turn", n)
		}
		spec.Standby = false // the agent on time fell silent: this one takes over
		r.plans.set(0, spec)
		time.Sleep(time.Minute)
		if n := len(r.inbox.kind(metric.KindProbe + "gate")); n < 5 {
			t.Errorf("%d reports in the minute after it took over", n)
		}
	})
}

// Ticks, what the collector wants at once and the negative control never ask side by side.
func TestSingleFlight(t *testing.T) {
	s := (&stage{lasts: 4 * time.Second}).on(t)
	bubble(t, func(t *testing.T, r *rig, state string) {
		spec := staged("gate", 10*time.Second)
		spec.Timeout, spec.Slow = 9*time.Second, 8*time.Second
		r.plans.set(0, spec)
		_, stop := r.start(state, r.token("host-1"))
		defer func() { stop() }()
		for range 300 {
			time.Sleep(3 * time.Second)
			r.server.ProbeNow("host-1", "gate", "r")
		}
		if s.most.Load() != 1 || s.asks.Load() < 100 || s.controls.Load() != 1 {
			t.Errorf("%d at a time, asked %d times, %d controls", s.most.Load(), s.asks.Load(), s.controls.Load())
		}
	})
}

// The negative control is made once a day, whatever restarts, and its result says so.
func TestControlOnceADay(t *testing.T) {
	s := (&stage{}).on(t)
	bubble(t, func(t *testing.T, r *rig, state string) {
		r.plans.set(0, staged("seal", time.Minute))
		_, stop := r.start(state, r.token("host-1"))
		time.Sleep(controlSpread + 2*time.Minute)
		if s.controls.Load() != 1 {
			t.Fatalf("%d controls soon after the start, want 1", s.controls.Load())
		}
		for range 5 {
			stop()
			_, stop = r.start(state, "")
			time.Sleep(time.Hour)
		}
		if s.controls.Load() != 1 {
			t.Errorf("%d controls after restarts, want 1", s.controls.Load())
		}
		time.Sleep(48 * time.Hour)
		stop()
		if n := s.controls.Load(); n != 3 {
			t.Errorf("%d controls after two more days, want 3", n)
		}
		if n := len(controlsOf(r.inbox.rounds("seal"))); n != 3 {
			t.Errorf("%d results of controls", n)
		}
	})
}

func controlsOf(rounds []check.Result) []check.Result {
	return slices.DeleteFunc(rounds, func(x check.Result) bool { return !x.Control })
}

// A control that went through is made again each hour, so that the mending shows the same day.
func TestBlindProbeIsControlledAgain(t *testing.T) {
	s := (&stage{blind: true}).on(t)
	bubble(t, func(t *testing.T, r *rig, state string) {
		r.plans.set(0, staged("seal", time.Minute))
		_, stop := r.start(state, r.token("host-1"))
		time.Sleep(controlSpread + 3*time.Hour + 2*time.Minute)
		s.change(func() { s.blind = false })
		time.Sleep(12 * time.Hour)
		stop()
		found := controlsOf(r.inbox.rounds("seal"))
		if len(found) < 4 || len(found) > 5 {
			t.Fatalf("%d controls", len(found))
		}
		last := len(found) - 1
		if a := found[0].First(); a.Outcome != check.Fail || a.Reason != "a tampered digest verifies" || found[last].First().Outcome != check.OK {
			t.Errorf("%+v", found)
		}
	})
}

// Thousands of checks wait for each other and all get their turn; what the collector wants at once does not wait behind them.
func TestRoundsAreBounded(t *testing.T) {
	s := (&stage{lasts: time.Second}).on(t)
	bubble(t, func(t *testing.T, r *rig, state string) {
		var specs []check.Spec
		for n := range 5000 {
			specs = append(specs, staged(fmt.Sprint("c", n), 2*time.Minute))
		}
		urgent := staged("urgent", 2*time.Minute)
		urgent.Standby = true
		r.plans.set(0, append(specs, urgent)...)
		_, stop := r.start(state, r.token("host-1"))
		defer func() { stop() }()
		for s.busy.Load() < maxRounds {
			time.Sleep(time.Second)
		}
		r.server.ProbeNow("host-1", "urgent", "r")
		time.Sleep(1500 * time.Millisecond)
		if len(r.inbox.rounds("urgent")) != 1 {
			t.Error("what the collector wants at once waits behind the plan")
		}
		time.Sleep(2 * time.Minute)
		// Their series are more than a stream may have, so what arrived is not counted but what was asked.
		if n := s.most.Load(); n > maxRounds+1 || s.asks.Load() < 5001 {
			t.Errorf("%d at a time, %d rounds of 5001", n, s.asks.Load())
		}
	})
}

// What is well is told once and then now and then; what is not, each time.
func TestWellFindingsAreThinned(t *testing.T) {
	well, bad := check.Finding{Name: "certificate"}, check.Finding{Name: "certificate", Level: "minor"}
	s := (&stage{outcome: check.Attempt{Outcome: check.OK, Findings: []check.Finding{well}}}).on(t)
	bubble(t, func(t *testing.T, r *rig, state string) {
		r.plans.set(0, staged("gate", 10*time.Second))
		_, stop := r.start(state, r.token("host-1"))
		defer func() { stop() }()
		told := func() (n int) {
			for _, x := range r.inbox.rounds("gate") {
				n += len(x.First().Findings)
			}
			r.inbox.forget()
			return n
		}
		time.Sleep(9 * time.Minute)
		if n := told(); n != 1 {
			t.Errorf("well: told %d times in nine minutes, want once", n)
		}
		time.Sleep(10 * time.Minute)
		if n := told(); n != 1 {
			t.Errorf("still well: told %d times in ten minutes more, want once", n)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		s.change(func() { s.outcome.Findings = []check.Finding{bad} })
		time.Sleep(time.Minute)
		if n := told(); n < 5 {
			t.Errorf("bad: told %d times in a minute", n)
		}
	})
}

func TestLedgerForgets(t *testing.T) {
	file := filepath.Join(t.TempDir(), "checks.json")
	l, err := openLedger(file, "2026-11-24")
	if err != nil {
		t.Fatal(err)
	}
	for n := range 50 {
		if _, err := l.take(fmt.Sprint("c", n), "2026-11-24", 1, 5); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.controlled("free", time.Now()); err != nil || len(l.kept) != 51 {
		t.Errorf("the negative control of a check without a budget leaves %d of 51: %v", len(l.kept), err)
	}
	delete(l.kept, "free")
	if _, err := l.take("c0", "2026-11-25", 9, 5); err != nil {
		t.Fatal(err)
	}
	var kept map[string]entry
	b, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(b, &kept) != nil || len(kept) != 1 || kept["c0"].Spent != 5 {
		t.Errorf("%s %v", b, err)
	}
	l.file = filepath.Join(t.TempDir(), "gone", "checks.json")
	if n, err := l.take("new", "2026-11-25", 1, 5); err == nil {
		t.Errorf("%d are given although they cannot be kept", n)
	}
}

// What only a second attempt noticed ends as soon as it is well, too.
func TestFindingOfASecondAttemptEnds(t *testing.T) {
	well, bad := check.Finding{Name: "account"}, check.Finding{Name: "account", Level: "general"}
	r := &runner{well: map[string]time.Time{}}
	good := check.Result{Attempts: []check.Attempt{{Outcome: check.OK, Findings: []check.Finding{well}}}}
	told := func() int { return len(r.thin(good).First().Findings) }
	if a, b := told(), told(); a != 1 || b != 0 {
		t.Fatalf("well: told %d times, then %d times, want once", a, b)
	}
	r.thin(check.Result{Attempts: []check.Attempt{{Outcome: check.Fail}, {Outcome: check.Fail, Findings: []check.Finding{bad}}}})
	if told() != 1 {
		t.Error("its end is not told")
	}
	r.thin(check.Result{Attempts: []check.Attempt{{Outcome: check.Slow, Findings: []check.Finding{well}}, {Outcome: check.Slow, Findings: []check.Finding{bad}}}})
	if told() != 1 {
		t.Error("its end is not told where the first attempt found it well")
	}
}

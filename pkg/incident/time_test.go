package incident

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/symptom"
)

// What is told late took effect at its own time.
func TestToldLate(t *testing.T) {
	h := newHouse(t)
	r := h.see(slow(0))
	if _, _, err := h.Observe(after(30), down(20)); err != nil {
		t.Fatal(err)
	}
	if r, _ = h.get(r.ID); !r.ResponseDue.Equal(after(30)) || !r.RecoveryDue.Equal(after(260)) {
		t.Errorf("escalated at 20, due %v and %v", r.ResponseDue, r.RecoveryDue)
	}
}

// The run broke before it had held long enough, though word of it came later.
func TestRelapseToldLate(t *testing.T) {
	h := newHouse(t)
	h.see(down(0))
	h.see(good(60))
	s := down(65)
	s.At = after(75)
	r := h.see(s)
	if r.State != Detected || r.Relapses != 1 {
		t.Errorf("told late: %s, %d relapses", r.State, r.Relapses)
	}
	if _, es := h.get(r.ID); es[len(es)-1].Kind != EventBreached && es[len(es)-1].Kind != EventRelapsed {
		t.Errorf("events %s", kinds(es))
	}
	if got := h.pages(); got != "opened breached" {
		t.Errorf("pages %s", got)
	}
}

// A run that had held before the gap is a recovery.
func TestGapAfterVerification(t *testing.T) {
	h := newHouse(t)
	r := h.see(down(0))
	h.see(good(5))
	if err := h.Gap(after(20), after(60)); err != nil {
		t.Fatal(err)
	}
	if r, _ = h.get(r.ID); r.State != Recovered || !r.RecoveredAt.Equal(after(5)) {
		t.Errorf("%s at %v", r.State, r.RecoveredAt)
	}
}

// A gap that has a key of its own breaks the verification of its service too; its end starts it anew, unless the
// service is found failing.
func TestBlind(t *testing.T) {
	gap := func(at float64, firing bool) symptom.Symptom {
		return symptom.Symptom{Source: symptom.FromFleet, Service: "signature", Class: symptom.Unknown, Level: contract.Minor, Detail: "agent is silent", Firing: firing, Since: after(at), At: after(at)}
	}
	for name, c := range map[string]struct {
		failing bool
		state   State
	}{"still good": {false, Recovered}, "failing again": {true, Detected}} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			r := h.see(down(0))
			h.see(good(5))
			if own := h.see(gap(8, true)); own.ID == r.ID || own.Level != contract.Minor {
				t.Errorf("the gap's own incident: %s %s", own.ID, own.Level)
			}
			h.tick(60)
			if r, _ = h.get(r.ID); !r.Open() || !r.Blind || !r.VerifyingSince.IsZero() {
				t.Fatalf("recovered unseen: %+v", r)
			}
			if c.failing {
				h.see(down(69))
			}
			h.see(gap(70, false))
			h.tick(80)
			if r, _ = h.get(r.ID); r.State != c.state || r.Blind || c.state == Recovered && !r.RecoveredAt.Equal(after(70)) {
				t.Errorf("after the gap: %s at %v", r.State, r.RecoveredAt)
			}
		})
	}
}

// That nobody looks at one of a service's checks breaks the verification of what that check found, and of nothing else.
func TestBlindForOneCheck(t *testing.T) {
	for name, c := range map[string]struct {
		component string
		state     State
	}{"that which failed": {"login", Detected}, "another": {"deliver", Recovered}} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			fault, end := down(0), good(5)
			fault.Component, end.Component = "login", "login"
			r := h.see(fault)
			h.see(end)
			h.see(symptom.Symptom{
				Source: symptom.FromFleet, Service: "signature", Component: c.component, Class: symptom.Unknown, Level: contract.Minor,
				Detail: "nobody looks", Firing: true, Since: after(8), At: after(8),
			})
			h.tick(60)
			if r, _ = h.get(r.ID); r.State != c.state {
				t.Errorf("%s, want %s", r.State, c.state)
			}
		})
	}
}

// A second writer on the same store cannot undo what the first has written.
func TestSecondDesk(t *testing.T) {
	h := newHouse(t)
	r := h.see(down(0))
	other, err := New(h.db, Options{Settings: Settings{Services: services}})
	if err != nil {
		t.Fatal(err)
	}
	must(t)(h.Ack(r.ID, by("驻点", 1, "")))
	if _, err := other.Ack(r.ID, by("二线", 2, "")); !errors.Is(err, ErrConflict) {
		t.Errorf("got %v", err)
	}
	if r, _ = h.get(r.ID); r.AckBy != "驻点" || r.Version != 2 {
		t.Errorf("acknowledged by %s, version %d", r.AckBy, r.Version)
	}
}

// Run writes each deadline and recovery when it comes, without anybody asking.
func TestRun(t *testing.T) {
	h := newHouse(t)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- h.Run(ctx) }()
		start := time.Now()
		s := down(0)
		s.Since, s.At = start, start
		r, _, err := h.Observe(start, s)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10*time.Minute + 2*time.Second)
		synctest.Wait()
		if r, _ = h.get(r.ID); len(r.Breaches) != 1 || r.Breaches[0].Clock != contract.Response || r.UpdatedAt.Sub(start) > 10*time.Minute+time.Second {
			t.Errorf("breaches %v, written %v after", r.Breaches, r.UpdatedAt.Sub(start))
		}
		s.Firing, s.Since, s.At = false, time.Now(), time.Now()
		if _, _, err := h.Observe(s.At, s); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10*time.Minute + time.Second)
		synctest.Wait()
		if r, _ = h.get(r.ID); r.State != Recovered || r.UpdatedAt.Sub(s.At) > 10*time.Minute+time.Second {
			t.Errorf("%s, written %v after the first good sample", r.State, r.UpdatedAt.Sub(s.At))
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run ended with %v", err)
		}
	})
}

package incident

import (
	"fmt"
	"testing"
	"time"

	"xunjian/pkg/contract"
)

// watch is a machine's clocks, whose wall clock can be set.
type watch struct {
	real time.Duration // since nine
	off  time.Duration // of the wall clock
}

func (w *watch) read() (time.Time, time.Duration) { return w.now(), w.real }
func (w *watch) now() time.Time                   { return nine.Add(w.real + w.off) }
func (w *watch) at(minutes float64)               { w.real = time.Duration(minutes * float64(time.Minute)) }

func watched(t *testing.T) (*house, *watch) {
	h, w := newHouse(t), &watch{}
	h.steady = w.read
	h.reopen()
	return h, w
}

// However the wall clock is set while a fault lasts, its clocks show what has really passed; what opens later bears the
// clock's new time.
func TestWallClockIsSet(t *testing.T) {
	for _, by := range []time.Duration{time.Second, -time.Second, time.Minute, -time.Minute, time.Hour, -time.Hour, 24 * time.Hour, -24 * time.Hour} {
		t.Run(fmt.Sprint(by), func(t *testing.T) {
			h, w := watched(t)
			see := func(firing bool) Record {
				s := down(0)
				s.Firing, s.Since, s.At = firing, w.now(), w.now()
				return h.see(s)
			}
			tick := func() {
				if err := h.Tick(w.now()); err != nil {
					t.Fatal(err)
				}
			}
			id := see(true).ID
			w.at(3)
			w.off = by
			tick()
			if r := mustGet(h, id); r.Breached() || r.State != Detected {
				t.Fatalf("after the step: %+v", r)
			}
			w.at(5)
			r := must(t)(h.Ack(id, Act{Person: "驻点", At: w.now()}))
			if got := r.Clocks(w.now()).Response.Elapsed; (got - 5*time.Minute).Abs() > 2*time.Second {
				t.Errorf("responded after %v", got)
			}
			w.at(20)
			if got := r.Clocks(w.now()).Recovery.Net; (got - 20*time.Minute).Abs() > 2*time.Second {
				t.Errorf("failing for %v", got)
			}
			w.at(30)
			see(false)
			w.at(35)
			w.off = 0 // and back again
			tick()
			w.at(39.9)
			tick()
			if r := mustGet(h, id); r.State != Acknowledged {
				t.Errorf("recovered too early: %s", r.State)
			}
			w.at(40.1)
			tick()
			r = mustGet(h, id)
			if c := r.Clocks(w.now()); r.State != Recovered || (c.Recovery.Net-30*time.Minute).Abs() > 2*time.Second || r.Breached() {
				t.Errorf("%s: %+v %v", r.State, c.Recovery, r.Breaches)
			}
			folded(t, h, id)
			w.off = by
			w.at(41)
			s := fails("sms", 0, 0)
			s.Since, s.At = w.now(), w.now()
			if r := h.see(s); !r.OpenedAt.Equal(w.now()) || r.Skew != 0 {
				t.Errorf("opened at %v, want the clock's new time %v", r.OpenedAt, w.now())
			}
			h.reopen()
			w.at(50)
			if r := must(t)(h.Note(id, Act{Person: "驻点", Note: "x", At: w.now()})); (r.UpdatedAt.Sub(nine) - 50*time.Minute).Abs() > 2*time.Second {
				t.Errorf("after a restart it is %v", r.UpdatedAt)
			}
		})
	}
}

// What was seen before the step and is told after it took place when it did.
func TestToldAcrossAStep(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		h, w := watched(t)
		s := down(0)
		id := h.see(s).ID
		w.at(30)
		good := down(0)
		good.Firing, good.Since, good.At = false, w.now(), w.now()
		w.at(30.1)
		w.off = by
		h.see(good)
		if r := mustGet(h, id); !r.VerifyingSince.Equal(after(30)) {
			t.Errorf("%v: verifying since %v", by, r.VerifyingSince)
		}
		fresh := fails("sms", 0, 0)
		fresh.Since, fresh.At = after(29.9), after(30)
		if r := h.see(fresh); r.FaultStart.Sub(after(29.9).Add(by)).Abs() > 2*time.Second {
			t.Errorf("%v: a new fault began at %v", by, r.FaultStart)
		}
	}
}

// A machine without a battery wakes in 1970: clocks go on from where they stood, and jump nowhere when NTP mends it.
func TestClockOfNoReason(t *testing.T) {
	h, w := watched(t)
	id := h.see(down(0)).ID
	w.at(5)
	must(t)(h.Note(id, Act{Person: "驻点", Note: "x", At: w.now()}))
	w.off = -56 * 365 * 24 * time.Hour
	h.reopen()
	w.at(7)
	r := must(t)(h.Ack(id, Act{Person: "驻点", At: w.now()}))
	if got := r.AckAt.Sub(nine); (got - 7*time.Minute).Abs() > 2*time.Second {
		t.Errorf("acknowledged after %v", got)
	}
	s := fails("sms", 0, 0)
	s.Since, s.At = w.now(), w.now()
	if r := h.see(s); r.ID != "INC-20261123-0002" {
		t.Errorf("opened %s", r.ID)
	}
	w.at(8)
	w.off = 0
	r = must(t)(h.Note(id, Act{Person: "驻点", Note: "x", At: w.now()}))
	if got := r.UpdatedAt.Sub(nine); (got - 8*time.Minute).Abs() > 2*time.Second {
		t.Errorf("mended: %v", got)
	}
}

// A clock that was set back while nothing ran does not stop the clocks of what is open.
func TestSetBackBetweenRuns(t *testing.T) {
	h, w := watched(t)
	id := h.see(down(0)).ID
	w.at(5)
	must(t)(h.Note(id, Act{Person: "驻点", Note: "x", At: w.now()}))
	w.at(10)
	w.off = -time.Hour
	h.reopen()
	w.at(11)
	if err := h.Tick(w.now()); err != nil {
		t.Fatal(err)
	}
	if r := mustGet(h, id); len(r.Breaches) != 0 { // it is not known how long nothing ran
		t.Errorf("breached %v", r.Breaches)
	}
	w.at(17)
	if err := h.Tick(w.now()); err != nil {
		t.Fatal(err)
	}
	if r := mustGet(h, id); len(r.Breaches) != 1 || r.Breaches[0].Clock != contract.Response {
		t.Errorf("breaches %v", r.Breaches)
	}
}

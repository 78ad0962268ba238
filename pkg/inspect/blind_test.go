package inspect

import (
	"fmt"
	"testing"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/symptom"
)

// FAULTS row 44: the agent's own network fails, and 20 checks of 4 services with it: one symptom, and no outage, whatever
// the order in which the answers come.
func TestVantageLost(t *testing.T) {
	services := []check.Service{{Name: "s0", Key: true}, {Name: "s1", Key: true}, {Name: "s2", Key: true}, {Name: "s3", Key: true}}
	for name, late := range map[string]bool{"others answer each time": false, "others answer at the end": true} {
		var specs []check.Spec
		for i := range 20 {
			specs = append(specs, onTen(fmt.Sprint("c", i), services[i%4].Name))
		}
		w := newWorld(t, services, specs...)
		round := func(agent, request string, attempts func() []check.Attempt) (got []symptom.Symptom) {
			for _, s := range specs {
				got = append(got, w.sees(agent, s.Name, request, attempts()...)...)
			}
			return got
		}
		well := func() []check.Attempt { return []check.Attempt{fine()} }
		cut := func() []check.Attempt { return failed(check.ClassTimeout) }
		w.none(name, round("a", "", well))
		w.pass(10 * time.Second)
		var got []symptom.Symptom
		if late {
			got = append(round("a", "", cut), round("b", "r", well)...)
		} else {
			for _, s := range specs {
				got = append(got, w.sees("a", s.Name, "", cut()...)...)
				got = append(got, w.sees("b", s.Name, "r", fine())...)
			}
		}
		s := w.one(name, got, symptom.Unknown, contract.Minor, true)
		if s.Rule != RuleVantageLost || s.Component != "a" || s.Service != "host" || len(s.Evidence) < 3 {
			t.Errorf("%s: %+v", name, s)
		}
		if !w.b.Lost("a") || w.b.Lost("b") {
			t.Error(name, ": who should look instead is not known")
		}
		for range 20 {
			w.none(name, w.pass(10*time.Second))
			w.none(name, round("a", "", cut))
		}
		for _, st := range w.b.Services(w.now) {
			if st.State != Unknown {
				t.Errorf("%s: %s is %s while nobody sees it", name, st.Service.Name, st.State)
			}
		}
		w.pass(10 * time.Second)
		if s := w.one(name, round("a", "", well), symptom.Unknown, contract.Minor, false); s.Rule != RuleVantageLost {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// When all fail for the others too, it is no lost vantage but outages, and they are told.
func TestEverythingDownIsNoLostVantage(t *testing.T) {
	w := newWorld(t, two, onTen("sign", "signature"), onTen("send", "sms"), onTen("gate", "gateway"))
	var got []symptom.Symptom
	for _, name := range []string{"sign", "send", "gate"} {
		got = append(got, w.sees("a", name, "", failed(check.ClassConnect)...)...)
		got = append(got, w.sees("b", name, "r", failed(check.ClassConnect)...)...)
	}
	if len(got) != 3 {
		t.Fatalf("%+v", got)
	}
	for _, s := range got {
		if s.Class != symptom.Down {
			t.Errorf("%+v", s)
		}
	}
}

// The agent's own self-check needs no other agent.
func TestCutOffByItsOwnWord(t *testing.T) {
	w := newWorld(t, two, onTen("sign", "signature"), onTen("send", "sms"), onTen("gate", "gateway"))
	w.others = false
	var got []symptom.Symptom
	for _, name := range []string{"sign", "send", "gate"} {
		w.now = w.now.Add(time.Millisecond)
		attempts := failed(check.ClassTimeout)
		for i := range attempts {
			attempts[i].Start = w.now
		}
		got = append(got, w.b.Observe(w.now, "a", check.Result{Check: name, At: w.now, Attempts: attempts, Cut: "the default gateway does not answer"})...)
	}
	if s := w.one("self-check", got, symptom.Unknown, contract.Minor, true); s.Rule != RuleVantageLost {
		t.Errorf("%+v", s)
	}
}

// What one agent alone can ask is no outage while that agent may see nothing at all: its other checks show that in a moment.
func TestFaultOfTheOnlyVantageMayBeItsOwn(t *testing.T) {
	specs := []check.Spec{onTen("only", "signature"), onTen("sign", "signature"), onTen("login", "sms"), onTen("echo", "gateway")}
	begun := func() *world {
		w := newWorld(t, two, specs...)
		for _, s := range specs {
			w.sees("a", s.Name, "", fine())
			if s.Name != "only" {
				w.sees("b", s.Name, "", fine())
			}
		}
		w.b.ask = func(check, _, but string) bool { return check != "only" }
		w.pass(10 * time.Second)
		return w
	}
	w := begun()
	w.none("it may be the agent", w.sees("a", "only", "", failed(check.ClassConnect)...))
	var got []symptom.Symptom
	for _, s := range specs[1:] {
		got = append(got, w.sees("a", s.Name, "", failed(check.ClassConnect)...)...)
		got = append(got, w.sees("b", s.Name, "", fine())...)
	}
	w.one("it is", got, symptom.Unknown, contract.Minor, true)
	w.none("nothing else", w.pass(10*time.Second))

	w = begun()
	w.none("it may be the agent", w.sees("a", "only", "", failed(check.ClassConnect)...))
	w.none("another service is well", w.sees("a", "echo", "", fine()))
	w.one("it is not", w.pass(time.Second), symptom.Down, contract.Urgent, true)

	w = begun()
	w.none("it may be the agent", w.sees("a", "only", "", failed(check.ClassConnect)...))
	w.one("nothing else was asked", w.pass(settle+10*time.Millisecond), symptom.Down, contract.Urgent, true)

	w = begun()
	w.one("it was reached", w.sees("a", "only", "", failed(check.ClassStatus)...), symptom.Down, contract.Urgent, true)
}

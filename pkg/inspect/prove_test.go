package inspect

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/symptom"
)

// counts are the good samples that were told, in their order.
func counts(told []symptom.Symptom) string {
	var out []string
	for _, s := range told {
		switch {
		case s.Source == symptom.FromProbe && s.Firing:
			out = append(out, "failing")
		case s.Run != nil:
			out = append(out, fmt.Sprint(s.Run.Good))
		case s.Firing && s.Component == "":
			out = append(out, "gap")
		}
	}
	return strings.Join(out, " ")
}

// The end of a fault says how many good samples in a row stand behind it, and goes on saying it: of the checks that took
// part, of all agents that look on time, without those that could not run, and from nothing after a bad one (R5).
func TestProof(t *testing.T) {
	sign, deliver := onTen("sign", "signature"), onTen("deliver", "signature")
	late := check.Attempt{Outcome: check.Slow, Duration: 1500 * time.Millisecond}
	high := check.Attempt{Outcome: check.OK, Duration: 900 * time.Millisecond}
	down, blip, dumb := failed(check.ClassConnect), []check.Attempt{failed(check.ClassStatus)[0], fine(), fine()}, unable("no secret")
	spent := []check.Attempt{{Outcome: check.Unknown, Class: check.ClassBudget, Reason: "budget of 40 attempts a day is spent"}}
	type one struct {
		agent, check, request string
		attempts              []check.Attempt
	}
	of := func(agent, name string, attempts ...check.Attempt) one { return one{agent, name, "", attempts} }
	times := func(n int, all ...one) (out []one) {
		for range n {
			out = append(out, all...)
		}
		return out
	}
	a := of("a", "sign", fine())
	for name, tc := range map[string]struct {
		rounds []one
		want   string
	}{
		"one after the other":  {slices.Concat(times(1, of("a", "sign", down...)), times(6, a)), "failing 2 3 4 5 6"},
		"to the most":          {slices.Concat(times(1, of("a", "sign", down...)), times(30, a)), "failing 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20"},
		"well all the time":    {times(30, a), ""},
		"a bad one":            {slices.Concat(times(1, of("a", "sign", down...)), times(3, a), times(2, of("a", "sign", blip...)), times(3, a)), "failing 2 3 0 1 2 3"},
		"a fault again":        {slices.Concat(times(1, of("a", "sign", down...)), times(3, a), times(1, of("a", "sign", down...)), times(3, a)), "failing 2 3 failing 2 3"},
		"what could not run":   {slices.Concat(times(1, of("a", "sign", down...)), times(2, a, of("a", "sign", dumb)), times(2, a)), "failing 2 3 4"},
		"a spent budget":       {slices.Concat(times(1, of("a", "sign", down...)), times(2, a), times(1, of("a", "sign", spent...))), "failing 2 20"},
		"a new day":            {slices.Concat(times(1, of("a", "sign", down...)), times(2, a), times(1, of("a", "sign", spent...)), times(2, a)), "failing 2 20"},
		"one spent before":     {slices.Concat(times(1, of("a", "sign", down...)), times(2, of("a", "sign", spent...)), times(2, a)), "failing 2"},
		"one of two spent":     {slices.Concat(times(1, of("a", "sign", down...), of("b", "sign", down...)), times(2, a, of("b", "sign", fine())), times(2, of("a", "sign", spent...), of("b", "sign", fine()))), "failing failing 2"},
		"one check spent":      {slices.Concat(times(1, of("a", "sign", down...), of("a", "deliver", down...)), times(2, a, of("a", "deliver", fine())), times(2, a, of("a", "deliver", spent...))), "failing 2 3 4"},
		"nobody who could":     {slices.Concat(times(1, of("a", "sign", down...)), times(3, a), times(3, of("a", "sign", dumb)), times(3, a)), "failing 2 3 gap 1 2 3"},
		"two agents":           {slices.Concat(times(1, of("a", "sign", down...), of("b", "sign", down...)), times(3, a, of("b", "sign", fine()))), "failing failing 2 3"},
		"one stands by":        {slices.Concat(times(1, of("a", "sign", down...), one{"b", "sign", "r", down}), times(1, a, one{"b", "sign", "r", []check.Attempt{fine()}}), times(1, a, one{"b", "sign", "r", []check.Attempt{fine()}}), times(2, a)), "failing failing 2 3 4"},
		"two checks":           {slices.Concat(times(1, of("a", "sign", down...), of("a", "deliver", down...)), times(2, a, of("a", "deliver", down...)), times(4, a, of("a", "deliver", fine()))), "failing 2 3 4"},
		"another check":        {slices.Concat(times(1, of("a", "sign", down...), of("a", "deliver", fine())), times(2, a), times(2, of("a", "deliver", blip...)), times(2, a)), "failing 2 3 4"},
		"calm ones of slow":    {slices.Concat(times(1, of("a", "sign", late, late, late)), times(8, of("a", "sign", high)), times(13, a)), "failing 11 12 13"},
		"slow once and calmed": {slices.Concat(times(1, of("a", "sign", down...)), times(2, a), times(1, of("a", "sign", late, fine(), fine())), times(1, a)), "failing 2 3 4"},
	} {
		t.Run(name, func(t *testing.T) {
			every := 10 * time.Second
			if name == "calm ones of slow" { // ten minutes are not twenty rounds
				every = time.Minute
			}
			sign, deliver := sign, deliver
			sign.Every, deliver.Every = every, every
			w := newWorld(t, two, sign, deliver)
			w.others = false
			var told []symptom.Symptom
			for i, r := range tc.rounds {
				if i == 0 || r.agent+r.check <= tc.rounds[i-1].agent+tc.rounds[i-1].check {
					told = append(told, w.pass(every)...)
				}
				told = append(told, w.sees(r.agent, r.check, r.request, r.attempts...)...)
			}
			if got := counts(told); got != tc.want {
				t.Errorf("told %s, want %s", got, tc.want)
			}
		})
	}
}

// A single bad sample is told as what it was, and the row's first good one is the first after it.
func TestProofBroken(t *testing.T) {
	r := newRig(t)
	r.bad("a", check.ClassConnect)
	for range 3 {
		r.step()
		r.ok("a")
	}
	r.step()
	s := r.want(r.blip("a"), symptom.Down, contract.Urgent, false)
	if s.Run.Good != 0 || !strings.Contains(s.Detail, "sign was bad once") || s.Key() != "service/signature" {
		t.Errorf("told %+v", s)
	}
	r.step()
	if s = r.want(r.ok("a"), symptom.Down, contract.Urgent, false); s.Run.Good != 1 || !s.Since.Equal(r.now) || !slices.Equal(s.Run.Of, []string{"sign"}) {
		t.Errorf("told %+v, %+v", s, s.Run)
	}
}

// What is not looked at any more is not waited for: its agent has gone, or the configuration has lost it. A new process goes
// on counting where the last one was.
func TestProofOfWhatIsGone(t *testing.T) {
	sign, deliver := onTen("sign", "signature"), onTen("deliver", "signature")
	sign.Kind, sign.Target, deliver.Kind, deliver.Target = "http", "http://x/", "http", "http://x/"
	sign, deliver = sign.WithDefaults(), deliver.WithDefaults()
	proving := func(t *testing.T) *world {
		w := newWorld(t, two, sign, deliver)
		w.others = false
		w.sees("a", "deliver", "", fine())
		w.sees("a", "sign", "", failed(check.ClassConnect)...)
		w.pass(10 * time.Second)
		w.sees("a", "sign", "", fine())
		w.pass(10 * time.Second)
		if got := counts(w.sees("a", "sign", "", fine())); got != "2" {
			t.Fatalf("told %s", got)
		}
		return w
	}
	told := func(good int, of ...string) symptom.Symptom {
		return symptom.Symptom{Source: symptom.FromProbe, Service: "signature", Component: "sign", Class: symptom.Down, Level: contract.Urgent, Since: t0, At: t0, Run: &symptom.Run{Good: good, Of: of}}
	}
	for name, tc := range map[string]struct {
		play func(w *world) []symptom.Symptom
		want string
	}{
		"the check": {func(w *world) []symptom.Symptom {
			w.b.Configure(DefaultConfig(), two, []check.Spec{deliver})
			return w.pass(time.Second)
		}, "20"},
		"all checks": {func(w *world) []symptom.Symptom {
			w.b.Configure(DefaultConfig(), two, nil)
			return append(w.pass(time.Second), w.pass(time.Minute)...)
		}, "20"},
		"the service": {func(w *world) []symptom.Symptom {
			w.b.Configure(DefaultConfig(), two[1:], nil)
			return w.pass(time.Second)
		}, "20"},
		"another check": {func(w *world) []symptom.Symptom {
			w.b.Configure(DefaultConfig(), two, []check.Spec{sign})
			return append(w.pass(9*time.Second), w.sees("a", "sign", "", fine())...)
		}, "3"},
		"the agent, and comes back": {func(w *world) []symptom.Symptom {
			out := append(w.sees("a", "deliver", "", fine()), w.pass(time.Minute)...)
			w.pass(time.Minute)
			out = append(out, w.sees("a", "sign", "", fine())...)
			w.pass(10 * time.Second)
			return append(out, w.sees("a", "sign", "", fine())...)
		}, "gap 1 2"},
		"the agent, and another comes": {func(w *world) []symptom.Symptom {
			w.pass(20 * time.Second)
			out := w.sees("b", "sign", "", fine())
			w.pass(10 * time.Second)
			return append(out, w.sees("b", "sign", "", fine())...)
		}, "3 4"},
		"the process": {func(w *world) []symptom.Symptom {
			w.b = New("en", DefaultConfig(), two, []check.Spec{sign, deliver})
			w.b.Restore(told(3, "sign"))
			return append(w.pass(9*time.Second), w.sees("a", "sign", "", fine())...)
		}, "4"},
		"the process, and sees it fail": {func(w *world) []symptom.Symptom {
			w.b = New("en", DefaultConfig(), two, []check.Spec{sign, deliver})
			w.b.Restore(told(3, "sign"))
			return append(w.pass(9*time.Second), w.sees("a", "sign", "", failed(check.ClassConnect)...)...)
		}, "failing"},
		"the process and the check": {func(w *world) []symptom.Symptom {
			w.b = New("en", DefaultConfig(), two, []check.Spec{deliver})
			w.b.Restore(told(3, "sign"))
			return w.pass(time.Second)
		}, "20"},
		"the process and the service": {func(w *world) []symptom.Symptom {
			w.b = New("en", DefaultConfig(), two[1:], nil)
			w.b.Restore(told(3, "sign"))
			return w.pass(time.Second)
		}, "20"},
		"the process while it failed": {func(w *world) []symptom.Symptom {
			w.b = New("en", DefaultConfig(), two, []check.Spec{sign, deliver})
			s := told(0, "deliver")
			s.Firing = true
			w.b.Restore(s)
			w.sees("a", "deliver", "", fine())
			out := w.sees("a", "sign", "", fine())
			w.pass(10 * time.Second)
			w.sees("a", "deliver", "", fine())
			return append(out, w.sees("a", "sign", "", fine())...)
		}, "1 2"},
		"the process, and nobody comes": {func(w *world) []symptom.Symptom {
			w.b = New("en", DefaultConfig(), two, []check.Spec{sign, deliver})
			w.b.Restore(told(3, "sign"))
			w.none("agents have time to come", append(w.pass(time.Second), w.pass(leastGap+30*time.Second)...))
			return append(w.pass(3*time.Second), w.sees("a", "sign", "", fine())...)
		}, "gap 1"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := counts(tc.play(proving(t))); got != tc.want {
				t.Errorf("told %s, want %s", got, tc.want)
			}
		})
	}
}

// A check behind a gateway whose failure turns out to be that of the thing itself is not waited for.
func TestProofOfAnothersFailure(t *testing.T) {
	via := onTen("via", "gateway")
	via.Direct = "sign"
	w := newWorld(t, two, onTen("sign", "signature"), via)
	w.others = false
	w.sees("a", "sign", "", fine())
	w.pass(5 * time.Second)
	if got := counts(w.sees("a", "via", "", failed(check.ClassConnect)...)); got != "failing" {
		t.Fatalf("told %s", got)
	}
	w.pass(5 * time.Second)
	var gateway []symptom.Symptom
	for _, s := range w.sees("a", "sign", "", failed(check.ClassConnect)...) {
		if s.Service == "gateway" {
			gateway = append(gateway, s)
		}
	}
	if got := counts(gateway); got != "20" {
		t.Errorf("of the gateway %s: %+v", got, gateway)
	}
}

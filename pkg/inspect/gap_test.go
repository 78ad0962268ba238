package inspect

import (
	"strings"
	"testing"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/symptom"
)

// unable is a round that could not be made: a secret is missing, the guard of an account has stopped it.
func unable(why string) check.Attempt {
	return check.Attempt{Outcome: check.Unknown, Class: check.ClassSetup, Reason: why}
}

// For a check at which nobody looks a minor gap is told after five minutes, or three intervals and a timeout, though the
// other check of its service looks well; it ends with the first look. It is no outage, and the service stays as it is.
func TestUnseenCheckIsTold(t *testing.T) {
	type plays = func(w *world, name string)
	for name, tc := range map[string]struct {
		every time.Duration
		play  plays  // what comes of the second check each interval, after it was well once
		why   string // empty: nothing may be told
		after time.Duration
	}{
		"its secret is missing": {10 * time.Second, func(w *world, name string) { w.sees("a", name, "", unable("secret password is empty")) }, "a: secret password is empty", 5 * time.Minute},
		"its agent is gone":     {10 * time.Second, func(*world, string) {}, "agent a reports nothing", 5 * time.Minute},
		"one of two cannot look": {10 * time.Second, func(w *world, name string) {
			w.sees("a", name, "", unable("secret password is empty"))
			w.sees("b", name, "", fine())
		}, "", 0},
		"it is made rarely": {10 * time.Minute, func(w *world, name string) { w.sees("a", name, "", unable("not asked")) }, "a: not asked", 30 * time.Minute},
		"it is well":        {10 * time.Minute, func(w *world, name string) { w.sees("a", name, "", fine()) }, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			second := onTen("deliver", "signature")
			second.Every = tc.every
			w := newWorld(t, two, onTen("sign", "signature"), second)
			w.b.Tick(w.now)
			w.sees("a", "sign", "", fine())
			w.sees("a", "deliver", "", fine())
			last := w.now
			var told []symptom.Symptom
			for end := w.now.Add(time.Hour); w.now.Before(end) && len(told) == 0; {
				told = append(told, w.pass(time.Second)...)
				if w.now.Sub(last)/time.Second%10 == 0 {
					told = append(told, w.sees("a", "sign", "", fine())...)
				}
				if w.now.Sub(last)/time.Second%(tc.every/time.Second) == 0 {
					tc.play(w, "deliver")
				}
			}
			if tc.why == "" {
				w.none("somebody looks", told)
				return
			}
			s := w.one("nobody looks", told, symptom.Unknown, contract.Minor, true)
			if took := w.now.Sub(last); s.Component != "deliver" || !strings.Contains(s.Detail, tc.why) || took < tc.after || took > tc.after+tc.every+2*time.Second {
				t.Errorf("after %v: %+v", took, s)
			}
			if s.Since.After(last.Add(time.Second)) {
				t.Errorf("since %v, but somebody last looked at %v", s.Since, last)
			}
			st := w.b.Services(w.now)[0]
			if st.State != OK || len(st.Unseen) != 1 || st.Unseen[0].Check != "deliver" || !strings.Contains(st.Unseen[0].Why, tc.why) {
				t.Errorf("the service is %s, %+v", st.State, st.Unseen)
			}
			w.none("told once", w.pass(time.Second))
			w.sees("a", "deliver", "", fine())
			end := w.one("looked at again", w.pass(time.Second), symptom.Unknown, contract.Minor, false)
			if end.Key() != s.Key() || len(w.b.Services(w.now)[0].Unseen) != 0 {
				t.Errorf("the end of %s is %s", s.Key(), end.Key())
			}
		})
	}
}

// lookOn has the first check looked at for so long, and returns what is told meanwhile.
func (w *world) lookOn(d time.Duration) (told []symptom.Symptom) {
	for end := w.now.Add(d); w.now.Before(end); {
		told = append(told, w.pass(10*time.Second)...)
		told = append(told, w.sees("a", "sign", "", fine())...)
	}
	return told
}

// A check that no agent makes is a gap too, but not before somebody could have: not right after the start, nor after the
// collector stood still, nor outside its hours.
func TestCheckThatNobodyMakes(t *testing.T) {
	nobody := onTen("nobody", "signature")
	w := newWorld(t, two, onTen("sign", "signature"), nobody)
	w.none("five minutes after the start", w.lookOn(5*time.Minute))
	s := w.one("then", w.lookOn(20*time.Second), symptom.Unknown, contract.Minor, true)
	if !strings.Contains(s.Detail, "no agent has reported") {
		t.Errorf("%s", s.Detail)
	}
	w = newWorld(t, two, onTen("sign", "signature"), nobody)
	w.none("well", w.lookOn(4*time.Minute))
	w.now = w.now.Add(3 * time.Hour)
	w.none("stood still", w.lookOn(5*time.Minute))
	w.one("then", w.lookOn(20*time.Second), symptom.Unknown, contract.Minor, true)

	nobody.Hours = check.Hours{From: "08:00", To: "09:00"}
	w = newWorld(t, two, onTen("sign", "signature"), nobody)
	w.now = time.Date(2026, 7, 1, 20, 0, 0, 0, time.UTC)
	w.none("outside its hours", w.lookOn(2*time.Hour))
}

// Why nobody looks may be told of an agent already: then nothing is told of its checks, and when it is back they have all
// their time again.
func TestSilentAgentExplainsItsChecks(t *testing.T) {
	w := newWorld(t, two, onTen("sign", "signature"), onTen("deliver", "signature"))
	silent := true
	w.b.Silence(func(name string) bool { return silent && name == "deliver" })
	w.b.Tick(w.now)
	w.sees("b", "deliver", "", fine())
	w.none("its agent is silent", w.lookOn(20*time.Minute))
	if st := w.b.Services(w.now)[0]; len(st.Unseen) != 1 {
		t.Errorf("the page shows %+v", st.Unseen)
	}
	silent = false
	w.none("back", w.lookOn(20*time.Second))
	w.one("and still nobody looks", w.lookOn(6*time.Minute), symptom.Unknown, contract.Minor, true)
}

// A gap that was told before a restart ends with the first look after it, or with its check.
func TestGapsSurviveARestart(t *testing.T) {
	told := func(service, name string) symptom.Symptom {
		return symptom.Symptom{Source: symptom.FromFleet, Service: service, Component: name, Class: symptom.Unknown, Level: contract.Minor, Firing: true, Since: t0, At: t0}
	}
	w := newWorld(t, two, onTen("sign", "signature"), onTen("deliver", "signature"))
	w.b.Restore(told("signature", "deliver"))
	w.b.Restore(told("sms", ""))
	w.none("not told again", w.lookOn(10*time.Minute))
	w.sees("a", "deliver", "", fine())
	w.one("looked at", w.pass(time.Second), symptom.Unknown, contract.Minor, false)

	w = newWorld(t, two, onTen("sign", "signature"))
	w.b.Restore(told("signature", "deliver"))
	w.b.Restore(told("gone", ""))
	if got := w.pass(time.Second); len(got) != 2 || got[0].Firing || got[1].Firing {
		t.Errorf("what is gone: %+v", got)
	}

	w = newWorld(t, two, onTen("sign", "signature"), onTen("nobody", "signature"))
	w.one("told", w.lookOn(6*time.Minute), symptom.Unknown, contract.Minor, true)
	w.b.Configure(DefaultConfig(), two, []check.Spec{w.b.specs["sign"]})
	if s := w.one("the check is gone", w.pass(time.Second), symptom.Unknown, contract.Minor, false); s.Component != "nobody" {
		t.Errorf("%+v", s)
	}
}

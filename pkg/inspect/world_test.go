package inspect

import (
	"strings"
	"testing"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/symptom"
)

// world plays rounds of many checks by many agents; who is asked at once is written down.
type world struct {
	*testing.T
	b      *Board
	now    time.Time
	asked  []string // check and the agent that shall not answer
	others bool     // somebody can be asked
}

func newWorld(t *testing.T, services []check.Service, specs ...check.Spec) *world {
	w := &world{T: t, now: t0, others: true}
	for i := range specs {
		specs[i].Kind, specs[i].Target = "http", "http://x/"
		specs[i] = specs[i].WithDefaults()
	}
	w.b = New("en", DefaultConfig(), services, specs)
	w.b.With(func(check, want, but string) bool {
		w.asked = append(w.asked, strings.TrimSpace(check+" "+want+" not "+but))
		return w.others
	}, time.UTC)
	return w
}

func (w *world) pass(d time.Duration) []symptom.Symptom {
	w.now = w.now.Add(d)
	return w.b.Tick(w.now)
}

// sees plays one round: request is empty for one on time.
func (w *world) sees(agent, name, request string, attempts ...check.Attempt) []symptom.Symptom {
	w.now = w.now.Add(time.Millisecond)
	for i := range attempts {
		attempts[i].Start = w.now
	}
	spec := w.b.specs[name]
	r := check.Result{Check: name, Service: spec.Service, At: w.now, Attempts: attempts, Request: request}
	return w.b.Observe(w.now.Add(time.Millisecond), agent, r)
}

func fine() check.Attempt {
	return check.Attempt{Outcome: check.OK, Duration: 20 * time.Millisecond}
}

func failed(class check.Class) []check.Attempt {
	a := check.Attempt{Outcome: check.Fail, Class: class, Reason: "seen", Duration: time.Millisecond}
	return []check.Attempt{a, a, a}
}

func (w *world) none(what string, got []symptom.Symptom) {
	w.Helper()
	if len(got) != 0 {
		w.Fatalf("%s: unexpected %+v", what, got)
	}
}

func (w *world) one(what string, got []symptom.Symptom, class symptom.Class, level contract.Level, firing bool) symptom.Symptom {
	w.Helper()
	if len(got) != 1 || got[0].Class != class || got[0].Level != level || got[0].Firing != firing {
		w.Fatalf("%s: want one %s %s firing=%v, got %+v", what, class, level, firing, got)
	}
	return got[0]
}

var two = []check.Service{sealing, {Name: "sms", Key: true}, {Name: "gateway", Key: true}}

func onTen(name, service string) check.Spec {
	return check.Spec{Name: name, Service: service, Every: 10 * time.Second}
}

// The outage that a second vantage confirms is told when it answers, as one outage and not as a partial one first.
func TestSecondVantageConfirms(t *testing.T) {
	w := newWorld(t, two, onTen("sign", "signature"))
	w.none("well", w.sees("a", "sign", "", fine()))
	w.pass(10 * time.Second)
	w.none("the first vantage waits", w.sees("a", "sign", "", failed(check.ClassConnect)...))
	if len(w.asked) != 1 || w.asked[0] != "sign  not a" {
		t.Fatalf("asked %v", w.asked)
	}
	w.none("still", w.b.Tick(w.now.Add(500*time.Millisecond)))
	s := w.one("confirmed", w.sees("b", "sign", "r1", failed(check.ClassConnect)...), symptom.Down, contract.Urgent, true)
	if len(s.Evidence) != 6 {
		t.Errorf("evidence of both: %+v", s.Evidence)
	}
	// While the fault lasts, the one that stands by is asked with each round; and once more to see it end.
	for range 3 {
		w.pass(10 * time.Second)
		w.none("lasts", w.sees("a", "sign", "", failed(check.ClassConnect)...))
		w.none("lasts", w.sees("b", "sign", "r", failed(check.ClassConnect)...))
	}
	if len(w.asked) != 4 {
		t.Errorf("asked %v", w.asked)
	}
	var got []symptom.Symptom
	for i := range 3 {
		w.pass(10 * time.Second)
		got = append(got, w.sees("a", "sign", "", fine())...)
		if n := len(w.asked); w.asked[n-1] != map[bool]string{true: "sign  not a", false: "sign b not a"}[i == 0] {
			t.Errorf("asked %v", w.asked)
		}
		got = append(got, w.sees("b", "sign", "r", fine())...)
	}
	if n := len(got); n == 0 || got[n-1].Firing {
		t.Errorf("the end is told as %+v", got)
	}
	n := len(w.asked)
	w.pass(10 * time.Second)
	w.sees("a", "sign", "", fine())
	if len(w.asked) != n {
		t.Error("others are asked about what is well")
	}
}

// One-sided failures are partial; with nobody who answers, the one that looks decides when the patience is over, and with
// nobody to ask at once.
func TestOneSidedFailureIsPartial(t *testing.T) {
	w := newWorld(t, two, onTen("sign", "signature"))
	w.none("waits", w.sees("a", "sign", "", failed(check.ClassConnect)...))
	w.one("the other sees none", w.sees("b", "sign", "r1", fine()), symptom.Partial, contract.General, true)

	w = newWorld(t, two, onTen("sign", "signature"))
	w.none("waits", w.sees("a", "sign", "", failed(check.ClassConnect)...))
	w.one("nobody answers", w.pass(3100*time.Millisecond), symptom.Down, contract.Urgent, true)

	w = newWorld(t, two, onTen("sign", "signature"))
	w.others = false
	w.one("nobody to ask", w.sees("a", "sign", "", failed(check.ClassConnect)...), symptom.Down, contract.Urgent, true)
}

// Two of three agree, though the third has not looked since; that it sees no trouble of its own makes no difference then.
func TestMajority(t *testing.T) {
	w := newWorld(t, two, onTen("sign", "signature"))
	for _, agent := range []string{"a", "b", "c"} {
		w.none("well", w.sees(agent, "sign", "", fine()))
	}
	w.pass(9 * time.Second)
	w.none("waits", w.sees("a", "sign", "", failed(check.ClassConnect)...))
	w.one("two agree", w.sees("b", "sign", "r", failed(check.ClassConnect)...), symptom.Down, contract.Urgent, true)
	w.none("two against one", w.sees("c", "sign", "", fine()))
	w.one("two against two", w.sees("d", "sign", "", fine()), symptom.Partial, contract.General, true)
}

// A service behind the gateway fails: the gateway is to blame only while the way around it works.
func TestDirectTellsGatewayFromService(t *testing.T) {
	via := onTen("doc-via", "gateway")
	via.Direct = "doc"
	services := []check.Service{{Name: "gateway", Key: true}, {Name: "docs", Key: true}}
	start := func() *world {
		w := newWorld(t, services, onTen("doc", "docs"), via)
		w.none("well", w.sees("a", "doc", "", fine()))
		w.none("well", w.sees("a", "doc-via", "", fine()))
		w.pass(10 * time.Second)
		return w
	}
	w := start()
	w.none("waits for the direct one", w.sees("a", "doc-via", "", failed(check.ClassStatus)...))
	if len(w.asked) != 2 || w.asked[1] != "doc  not" {
		t.Errorf("asked %v", w.asked)
	}
	got := append(w.sees("a", "doc", "r", fine()), w.sees("b", "doc-via", "r", failed(check.ClassStatus)...)...)
	if s := w.one("direct is well", got, symptom.Down, contract.Urgent, true); s.Service != "gateway" {
		t.Errorf("%+v", s)
	}

	w = start()
	w.others = false
	w.one("both", append(w.sees("a", "doc", "", failed(check.ClassStatus)...), w.sees("a", "doc-via", "", failed(check.ClassStatus)...)...),
		symptom.Down, contract.Urgent, true)
	if st := w.b.Services(w.now); st[0].State != OK || st[1].State != Down {
		t.Errorf("gateway %s, documents %s", st[0].State, st[1].State)
	}

	late := check.Attempt{Outcome: check.Slow, Duration: 2 * time.Second}
	slow := []check.Attempt{late, late, late}
	w = start()
	w.others = false
	w.one("slow both ways is the service's", append(w.sees("a", "doc", "", slow...), w.sees("a", "doc-via", "", slow...)...), symptom.Slow, contract.General, true)
	if s := w.one("slow directly, broken via", w.sees("a", "doc-via", "", failed(check.ClassStatus)...), symptom.Down, contract.Urgent, true); s.Service != "gateway" {
		t.Errorf("%+v", s)
	}
}

// The negative control that goes through is told once, and its result is no round of the check.
func TestBlindProbe(t *testing.T) {
	w := newWorld(t, two, onTen("sign", "signature"))
	control := func(o check.Outcome) []symptom.Symptom {
		w.pass(time.Hour)
		a := check.Attempt{Start: w.now, Outcome: o, Reason: "a tampered digest verifies"}
		return w.b.Observe(w.now, "a", check.Result{Check: "sign", At: w.now, Control: true, Attempts: []check.Attempt{a}})
	}
	w.none("refused as it must be", control(check.OK))
	s := w.one("went through", control(check.Fail), symptom.Warning, contract.Minor, true)
	if s.Rule != "control" || w.b.Services(w.now)[0].State != Unknown {
		t.Errorf("%+v, %v", s, w.b.Services(w.now)[0].State)
	}
	w.none("could not be made", control(check.Unknown))
	w.one("refused again", control(check.OK), symptom.Warning, contract.Minor, false)
}

// What an attempt's kind says of its failure stands above what its class says.
func TestTroubleOverridesClass(t *testing.T) {
	for trouble, want := range map[check.Trouble]symptom.Class{
		check.Down: symptom.Down, check.Wrong: symptom.Wrong, check.Unusable: symptom.Unusable, check.Partial: symptom.Partial,
	} {
		w := newWorld(t, two, onTen("sign", "signature"))
		w.others = false
		attempts := failed(check.ClassStatus)
		for i := range attempts {
			attempts[i].Trouble = trouble
			attempts[i].Steps = []check.Step{{Name: "login", Outcome: check.OK}, {Name: "seal", Outcome: check.Fail, Reason: "refused"}}
		}
		s := w.one(string(trouble), w.sees("a", "sign", "", attempts...), want, DefaultConfig().Levels[want], true)
		if s.Detail != "step seal: unexpected status: seen" || len(s.Evidence) != 5 {
			t.Errorf("%q, evidence %+v", s.Detail, s.Evidence)
		}
	}
	w := newWorld(t, two, onTen("sign", "signature"))
	attempts := failed(check.ClassStatus)
	for i := range attempts {
		attempts[i].Trouble = check.Warning
	}
	s := w.one("warning", w.sees("a", "sign", "", attempts...), symptom.Warning, contract.Minor, true)
	if s.Key() == "service/signature" || w.b.Services(w.now)[0].State != OK {
		t.Errorf("%+v, %v", s, w.b.Services(w.now)[0].State)
	}
	w.pass(10 * time.Second)
	w.one("and its end", w.sees("a", "sign", "", fine()), symptom.Warning, contract.Minor, false)
}

// A check may say itself how grave its troubles are.
func TestLevelsOfACheck(t *testing.T) {
	spec := onTen("sign", "signature")
	spec.Levels = map[check.Trouble]string{check.Down: "general", check.TooSlow: "minor"}
	w := newWorld(t, two, spec)
	w.others = false
	late := check.Attempt{Outcome: check.Slow, Duration: 1500 * time.Millisecond}
	w.one("slow", w.sees("a", "sign", "", late, late, late), symptom.Slow, contract.Minor, true)
	w.pass(10 * time.Second)
	w.one("down", w.sees("a", "sign", "", failed(check.ClassConnect)...), symptom.Down, contract.General, true)
}

// Credentials that never worked are a wrong setting and not a fault; that they worked may be known from before a restart.
func TestCredentialsThatNeverWorked(t *testing.T) {
	w := newWorld(t, two, onTen("sign", "signature"))
	for range 2 {
		w.none("never", w.sees("a", "sign", "", failed(check.ClassAuth)...))
		w.pass(10 * time.Second)
	}
	w.one("a gap", w.sees("a", "sign", "", failed(check.ClassAuth)...), symptom.Unknown, contract.Minor, true)
	w = newWorld(t, two, onTen("sign", "signature"))
	w.others = false
	w.b.Worked("sign")
	w.one("worked", w.sees("a", "sign", "", failed(check.ClassAuth)...), symptom.Partial, contract.General, true)
}

// A check that is not asked again, for it spends or writes, needs three failures of five.
func TestChecksThatAreNotAskedAgain(t *testing.T) {
	for name, tc := range map[string]struct {
		rounds string // f: failed, s: slow, o: ok
		want   symptom.Class
	}{
		"in a row":             {"offf", symptom.Down},
		"three of five":        {"fofof", symptom.Down},
		"two":                  {"offooofo", ""},
		"three, too far apart": {"fooofooof", ""},
		"slow":                 {"osss", symptom.Slow},
	} {
		spec := onTen("send", "sms")
		spec.Again = new(0)
		w := newWorld(t, two, spec)
		w.others = false
		var got []symptom.Symptom
		for i, c := range tc.rounds {
			w.none(name, got)
			a := map[rune]check.Attempt{'o': fine(), 'f': failed(check.ClassConnect)[0], 's': {Outcome: check.Slow, Duration: 1500 * time.Millisecond}}[c]
			got = w.sees("a", "send", "", a)
			w.pass(10 * time.Second)
			if i == len(tc.rounds)-1 && tc.want == "" {
				w.none(name, got)
			}
		}
		if tc.want != "" {
			if s := got[0]; s.Class != tc.want {
				t.Errorf("%s: %+v", name, s)
			}
		}
	}
}

// Windows catch what asking again does not: a tenth of the answers late for ten minutes, half of the runs timing out.
func TestWindows(t *testing.T) {
	w := newWorld(t, two, onTen("sign", "signature"))
	w.others = false
	started := w.now
	for n := 0; ; n++ {
		a := fine()
		if n%10 == 0 {
			a = check.Attempt{Outcome: check.Slow, Duration: 1800 * time.Millisecond}
		}
		attempts := []check.Attempt{a}
		if a.Outcome == check.Slow {
			attempts = append(attempts, fine(), fine())
		}
		got := w.sees("a", "sign", "", attempts...)
		if len(got) > 0 {
			s := w.one("slow", got, symptom.Slow, contract.General, true)
			if d := w.now.Sub(started); d < 10*time.Minute || d > 11*time.Minute || s.Detail != "p95 of two windows of five minutes in a row is 1.8s, over the threshold of 1s" {
				t.Errorf("after %v: %s", d, s.Detail)
			}
			break
		}
		if n > 100 {
			t.Fatal("never told")
		}
		w.pass(10 * time.Second)
	}

	w = newWorld(t, two, onTen("sign", "signature"))
	w.others = false
	var told []symptom.Symptom
	for n := range 12 {
		attempts := []check.Attempt{fine()}
		if n%2 == 1 {
			attempts = []check.Attempt{failed(check.ClassTimeout)[0], fine(), fine()}
		}
		told = append(told, w.sees("a", "sign", "", attempts...)...)
		w.pass(10 * time.Second)
	}
	if len(told) == 0 || told[len(told)-1].Class != symptom.Unusable {
		t.Errorf("half of the runs time out: %+v", told)
	}
}

// Outside its hours a check is not asked, and what was known of it stays.
func TestNightIsNoGap(t *testing.T) {
	spec := onTen("sign", "signature")
	spec.Hours = check.Hours{From: "08:00", To: "20:00"}
	w := newWorld(t, two, spec)
	w.now = time.Date(2026, 11, 23, 19, 59, 55, 0, time.UTC)
	w.none("well", w.sees("a", "sign", "", fine()))
	w.none("night", w.pass(6*time.Hour))
	if st := w.b.Services(w.now)[0]; st.State != OK {
		t.Errorf("at night it is %s", st.State)
	}
	w.now = time.Date(2026, 11, 24, 8, 1, 0, 0, time.UTC)
	if st := w.b.Services(w.now)[0]; st.State != Unknown {
		t.Errorf("in the morning, when nobody looked, it is %s", st.State)
	}
}

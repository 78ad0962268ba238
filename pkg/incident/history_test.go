package incident

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/symptom"
)

// move is one thing that can happen to a desk.
type move struct {
	name string
	do   func(h *house, now time.Time) error
}

func moves(t *rapid.T) move {
	service := rapid.SampledFrom([]string{"signature", "sms"}).Draw(t, "service")
	class := rapid.SampledFrom([]symptom.Class{symptom.Down, symptom.Slow, symptom.Unknown}).Draw(t, "class")
	level := rapid.SampledFrom(contract.Levels).Draw(t, "level")
	nth := rapid.IntRange(1, 3).Draw(t, "incident")
	ago := time.Duration(rapid.IntRange(0, 600).Draw(t, "ago")) * time.Second
	symptomAt := func(now time.Time, firing bool) symptom.Symptom {
		return symptom.Symptom{
			Source: symptom.FromProbe, Service: service, Class: class, Level: level, Detail: string(class), Firing: firing, Since: now.Add(-ago), At: now,
		}
	}
	act := func(name string, fn func(h *house, id string, a Act) (Record, error)) move {
		return move{name, func(h *house, now time.Time) error {
			_, err := fn(h, fmt.Sprintf("INC-20261123-%04d", nth), Act{Person: "驻点", Note: name, At: now})
			return err
		}}
	}
	account := Account{PartyA: "王处", Category: Network, Cause: "c", Handling: "h", Declare: level == contract.Minor}
	return rapid.SampledFrom([]move{
		{"fail", func(h *house, now time.Time) error { _, _, err := h.Observe(now, symptomAt(now, true)); return err }},
		{"fail", func(h *house, now time.Time) error { _, _, err := h.Observe(now, symptomAt(now, true)); return err }},
		{"good", func(h *house, now time.Time) error { _, _, err := h.Observe(now, symptomAt(now, false)); return err }},
		{"good", func(h *house, now time.Time) error { _, _, err := h.Observe(now, symptomAt(now, false)); return err }},
		{"samples", func(h *house, now time.Time) error {
			s := symptomAt(now, false)
			s.Run = &symptom.Run{Good: int(ago/time.Second) % 7, Of: []string{"sign", "seal"}[:1+nth%2]}
			_, _, err := h.Observe(now, s)
			return err
		}},
		{"blind", func(h *house, now time.Time) error {
			s := symptomAt(now, nth > 1)
			s.Source, s.Class, s.Level = symptom.FromFleet, symptom.Unknown, contract.Minor
			_, _, err := h.Observe(now, s)
			return err
		}},
		{"tick", func(h *house, now time.Time) error { return h.Tick(now) }},
		{"gap", func(h *house, now time.Time) error { return h.Gap(now.Add(-ago), now) }},
		{"open", func(h *house, now time.Time) error {
			_, err := h.Open(Act{Person: "二线", Note: "x", At: now}, Opening{Service: service, Level: level, Detail: "x", ReportedAt: now.Add(-ago)})
			return err
		}},
		act("ack", func(h *house, id string, a Act) (Record, error) { return h.Ack(id, a) }),
		act("level", func(h *house, id string, a Act) (Record, error) {
			return h.SetLevel(id, a, Grading{Level: level, PartyA: "王处"})
		}),
		act("report", func(h *house, id string, a Act) (Record, error) {
			return h.Report(id, a, Report{Reporter: "陈", ReportedAt: a.At.Add(-ago)})
		}),
		act("resolve", func(h *house, id string, a Act) (Record, error) { return h.Resolve(id, a, account) }),
		act("close", func(h *house, id string, a Act) (Record, error) { return h.Archive(id, a, account) }),
		act("diagnose", func(h *house, id string, a Act) (Record, error) { return h.Diagnose(id, a, Diagnosis{}) }),
		act("arrive", func(h *house, id string, a Act) (Record, error) { return h.Arrive(id, a, Arrival{a.At.Add(-ago)}) }),
		act("propose", func(h *house, id string, a Act) (Record, error) { return h.Propose(id, a, proposal) }),
		act("decide", func(h *house, id string, a Act) (Record, error) {
			return h.Decide(id, a, Decision{Consent: nth > 1, PartyA: "王处"})
		}),
		act("handle", func(h *house, id string, a Act) (Record, error) { return h.Handle(id, a, Step{Action: "x"}) }),
		act("bypass", func(h *house, id string, a Act) (Record, error) {
			return h.Bypass(id, a, Workaround{Measure: "m", FollowUp: "f", PartyA: map[bool]string{true: "王处"}[nth > 1]})
		}),
		act("pause", func(h *house, id string, a Act) (Record, error) { return h.Pause(id, a, Pausing{contract.ThirdParty}) }),
		act("resume", func(h *house, id string, a Act) (Record, error) { return h.Resume(id, a, Pausing{contract.ThirdParty}) }),
		act("extend", func(h *house, id string, a Act) (Record, error) {
			return h.Extend(id, a, Extension{Until: a.At.Add(10 * time.Hour), Approver: "王处"})
		}),
		act("confirm", func(h *house, id string, a Act) (Record, error) { return h.Confirm(id, a, Confirmation{"王处"}) }),
		act("refuse", func(h *house, id string, a Act) (Record, error) { return h.Refuse(id, a, Confirmation{"王处"}) }),
		act("merge", func(h *house, id string, a Act) (Record, error) {
			return h.Merge(id, a, Merging{fmt.Sprintf("INC-20261123-%04d", 4-nth)})
		}),
		act("split", func(h *house, id string, a Act) (Record, error) { return h.Split(id, a) }),
		act("doubt", func(h *house, id string, a Act) (Record, error) { return h.Doubt(id, a, Dismissal{}) }),
		act("dismiss", func(h *house, id string, a Act) (Record, error) {
			a.Person = "二线"
			return h.Dismiss(id, a, Dismissal{PartyA: map[bool]string{true: "王处"}[nth > 1]})
		}),
		act("uphold", func(h *house, id string, a Act) (Record, error) { return h.Uphold(id, a) }),
		act("excuse", func(h *house, id string, a Act) (Record, error) {
			return h.Excuse(id, a, Excuse{ExcusedUpstream, "王处"})
		}),
		act("reopen", func(h *house, id string, a Act) (Record, error) { return h.Reopen(id, a) }),
	}).Draw(t, "move")
}

// In any history a desk that restarts after each step ends where one does that never restarts; each record is the sum
// of its events; breaches written down step by step are those that one look at the whole history finds; and at most
// one incident of a key is open.
func TestAnyHistory(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steady, restarted := newHouse(t), newHouse(t)
		for _, h := range []*house{steady, restarted} {
			terms := contract.DefaultTerms()
			terms.PauseThirdParty = true
			h.settings = Settings{Terms: terms, Services: []check.Service{{Name: "signature", Key: true}, {Name: "sms", Key: true, Needs: []string{"signature"}}}}
			h.Configure(h.settings)
		}
		defer steady.db.Close()
		defer func() { restarted.db.Close() }()
		now := nine
		for range rapid.IntRange(1, 14).Draw(rt, "steps") {
			now = now.Add(time.Duration(rapid.SampledFrom([]int{1, 20, 300, 700, 2000, 9000}).Draw(rt, "pause")) * time.Second)
			m := moves(rt)
			e1, e2 := m.do(steady, now), m.do(restarted, now)
			if fmt.Sprint(e1) != fmt.Sprint(e2) {
				rt.Fatalf("%s: %v, restarted: %v", m.name, e1, e2)
			}
			if e1 != nil && !errors.Is(e1, ErrConflict) && !errors.Is(e1, ErrNotFound) && !errors.Is(e1, ErrBadAct) {
				rt.Fatalf("%s: %v", m.name, e1)
			}
			restarted.reopen()
		}
		now = now.Add(time.Hour)
		steady.tick(now.Sub(nine).Minutes())
		restarted.tick(now.Sub(nine).Minutes())
		sameDesks(rt, steady, restarted)
		sound(rt, restarted, now)
	})
}

func sameDesks(t *rapid.T, a, b *house) {
	for _, f := range []Filter{{State: "all"}, {State: "unclosed"}} {
		ra, err1 := a.List(f)
		rb, err2 := b.List(f)
		if diff := cmp.Diff(ra, rb, cmpopts.EquateEmpty()); diff != "" || err1 != nil || err2 != nil {
			t.Fatalf("%v %v, a restart changed (-steady +restarted):\n%s", err1, err2, diff)
		}
	}
	pa, _ := a.Outbox(0, 1000)
	pb, _ := b.Outbox(0, 1000)
	if diff := cmp.Diff(pa, pb, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("a restart changed the pages:\n%s", diff)
	}
}

func sound(t *rapid.T, h *house, now time.Time) {
	rs, err := h.List(Filter{})
	if err != nil {
		t.Fatal(err)
	}
	open := map[string]string{}
	for _, r := range rs {
		stored, es := h.get(r.ID)
		folded, err := Fold(es)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(stored, folded, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("record is not the sum of its events (-stored +folded):\n%s", diff)
		}
		lived(t, es)
		if !slices.IsSortedFunc(es, func(a, b Event) int { return a.At.Compare(b.At) }) {
			t.Fatalf("%s: times run backwards", r.ID)
		}
		if other := open[r.Key]; r.Open() && other != "" {
			t.Fatalf("%s and %s are both open for %s", r.ID, other, r.Key)
		} else if r.Open() {
			open[r.Key] = r.ID
		}
		want := r.Clocks(now).Breaches
		byAll := func(a, b contract.Breach) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) }
		slices.SortFunc(want, byAll)
		got := slices.Clone(r.Breaches)
		slices.SortFunc(got, byAll)
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); !r.Filed() && diff != "" {
			t.Fatalf("%s: breaches of the whole history and step by step differ:\n%s", r.ID, diff)
		}
	}
}

// mayFollow are the states that may follow each.
var mayFollow = map[State][]State{
	Detected:     {Acknowledged, Recovered, Merged},
	Acknowledged: {Diagnosing, Awaiting, Handling, Recovered, Merged, FalseAlarm},
	Diagnosing:   {Awaiting, Handling, Recovered, Merged, FalseAlarm},
	Awaiting:     {Handling, Diagnosing, Recovered, Merged, FalseAlarm},
	Handling:     {Diagnosing, Awaiting, Recovered, Merged, FalseAlarm},
	Recovered:    {Confirmed, Detected, Acknowledged, Merged, FalseAlarm},
	Confirmed:    {Archived, Detected, Acknowledged, FalseAlarm},
	Archived:     {Detected, Acknowledged},
	Merged:       {Detected, Acknowledged, Awaiting, Recovered},
	FalseAlarm:   {Detected, Acknowledged},
}

// lived sees that an incident went from state to state as it may, that its clocks never started anew, that nothing
// but being listed under another moved the response's deadline away, and that no machine found it over too soon.
func lived(t *rapid.T, es []Event) {
	var before Record
	for i, e := range es {
		r := before.with(e)
		if i > 0 {
			if r.State != before.State && !slices.Contains(mayFollow[before.State], r.State) {
				t.Fatalf("%s went from %s to %s by %s", r.ID, before.State, r.State, e.Kind)
			}
			if r.SLAStart.After(before.SLAStart) {
				t.Fatalf("%s: clocks started anew by %s: %v, before %v", r.ID, e.Kind, r.SLAStart, before.SLAStart)
			}
			quiet := []EventKind{EventAsked, EventDecided, EventPaused, EventResumed, EventExtended, EventNoted, EventRecovered, EventReopened, EventConfirmed}
			if slices.Contains(quiet, e.Kind) && r.Parent == "" && before.Parent == "" && !r.ResponseDue.Equal(before.ResponseDue) && r.Level == before.Level {
				t.Fatalf("%s: response due moved by %s", r.ID, e.Kind)
			}
			if e.Kind == EventRecovered && e.Person == "" && before.Unproven() {
				t.Fatalf("%s: recovered after %d good samples", r.ID, before.Samples.Good)
			}
			if n := r.clocks(e.At).Recovery; n.Net < 0 || n.Paused < 0 || n.Net > n.Raw {
				t.Fatalf("%s: after %s: %+v", r.ID, e.Kind, n)
			}
		}
		before = r
	}
}

func TestFoldRefuses(t *testing.T) {
	h := newHouse(t)
	r := h.see(down(0))
	must(t)(h.Ack(r.ID, by("驻点", 1, "")))
	_, es := h.get(r.ID)
	for name, bad := range map[string][]Event{
		"hole":   {es[0], {Incident: r.ID, N: 3}},
		"middle": {es[1]},
		"other":  {es[0], {Incident: "INC-1", N: 2}},
	} {
		if _, err := Fold(bad); err == nil {
			t.Errorf("%s: folded", name)
		}
	}
}

package incident

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/symptom"
)

// town is an estate: the office platform stands on the gateway and the documents, all of them on hosts.
var town = []check.Service{
	{Name: "gateway", ZH: "网关服务", Key: true, Hosts: []string{"gw-01"}},
	{Name: "cloud-doc", ZH: "云文档服务", Key: true, Needs: []string{"gateway"}, Hosts: []string{"app-01"}},
	{Name: "oa", ZH: "协同办公", Needs: []string{"cloud-doc", "gateway"}},
	{Name: "signature", ZH: "签章服务", Key: true},
}

func townHouse(t testing.TB) *house {
	h := newHouse(t)
	h.settings = Settings{Services: town}
	h.Configure(h.settings)
	return h
}

func fails(service string, since, at float64) symptom.Symptom {
	s := down(since)
	s.Service, s.Component, s.At = service, service+"-check", after(at)
	return s
}

func works(service string, since float64) symptom.Symptom {
	s := fails(service, since, since)
	s.Firing = false
	return s
}

func hostSilent(host string, since, at float64) symptom.Symptom {
	return symptom.Symptom{
		Source: symptom.FromFleet, Service: "host", Component: host, Class: symptom.Silent, Level: contract.Urgent, Rule: "AgentSilent",
		Detail: host + " is not heard", Firing: true, Since: after(since), At: after(at),
	}
}

func cleanup(since float64) symptom.Symptom {
	s := fails("cloud-doc", since, since)
	s.Class, s.Level, s.Rule, s.Detail = symptom.Warning, contract.Minor, "cleanup", "left behind"
	return s
}

// What fails with a cause is one incident, in whatever order it is noticed: only the cause is told and counted.
func TestOneCause(t *testing.T) {
	all := []symptom.Symptom{fails("oa", 0.1, 1), fails("cloud-doc", 0.1, 1), cleanup(0.5), fails("gateway", 0, 1.5), hostSilent("gw-01", 0, 2)}
	for range 20 {
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		h := townHouse(t)
		for _, s := range all {
			if _, _, err := h.Observe(after(3), s); err != nil {
				t.Fatal(err)
			}
		}
		open, err := h.List(Filter{State: "open"})
		if err != nil || len(open) != 1 || open[0].node() != "host/gw-01" {
			t.Fatalf("open: %v %+v", err, open)
		}
		cause := open[0]
		if len(cause.Children) != 4 || cause.Level != contract.Urgent {
			t.Errorf("children %v, level %s", cause.Children, cause.Level)
		}
		if !cause.SLAStart.Equal(after(0.5)) { // the first that was confirmed of the fault
			t.Errorf("clocks from %v", cause.SLAStart)
		}
		failing, _ := h.List(Filter{State: "failing"})
		for _, r := range failing {
			if r.ID != cause.ID && (r.Parent != cause.ID || r.State != Merged || r.Counts()) {
				t.Errorf("%s %s is %s under %q", r.ID, r.Service, r.State, r.Parent)
			}
			folded(t, h, r.ID)
		}
		for _, p := range told(t, h) {
			if p.Record.ID != cause.ID && p.Kind == PageOpened && !slices.ContainsFunc(told(t, h), func(q Page) bool { return q.Record.ID == p.Record.ID && q.Kind == PageMerged }) {
				t.Errorf("%s of %s was told and never taken back", p.Record.ID, p.Record.Service)
			}
		}
	}
}

func told(t *testing.T, h *house) []Page {
	ps, err := h.Outbox(0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return ps
}

func folded(t *testing.T, h *house, id string) {
	t.Helper()
	r, es := h.get(id)
	f, err := Fold(es)
	if err != nil || f.Version != r.Version || f.State != r.State || f.Parent != r.Parent || len(f.History.Steps) != len(r.History.Steps) {
		t.Errorf("%s is not the sum of its events: %v", id, err)
	}
}

// All in one batch is told once.
func TestOneBatchOnePage(t *testing.T) {
	h := townHouse(t)
	all := []symptom.Symptom{fails("oa", 0.1, 1), cleanup(0.5), fails("cloud-doc", 0.1, 1), fails("gateway", 0, 1)}
	seen, err := h.ObserveAll(after(1), all)
	if err != nil {
		t.Fatal(err)
	}
	if ps := told(t, h); len(ps) != 1 || ps[0].Record.Service != "gateway" || ps[0].Kind != PageOpened {
		t.Errorf("pages %+v", ps)
	}
	for i, s := range seen {
		if s.Err != nil || !s.Changed || (i < 3) != (s.Record.State == Merged) {
			t.Errorf("%d: %+v", i, s)
		}
	}
	if again, _ := h.ObserveAll(after(1.1), all); slices.ContainsFunc(again, func(s Seen) bool { return s.Changed }) {
		t.Error("the same told again changed something")
	}
}

// Too far apart, or not standing on it, or too light to be a cause: a fault of its own. What is down hides what lies
// behind it as long as it lasts.
func TestNotTheCause(t *testing.T) {
	partial := fails("gateway", 0, 0)
	partial.Class, partial.Level = symptom.Partial, contract.General
	minor := fails("gateway", 0, 0)
	minor.Class, minor.Level, minor.Rule = symptom.Warning, contract.Minor, "certificate"
	for name, c := range map[string]struct {
		first, then symptom.Symptom
		own         bool
	}{
		"elsewhere":            {fails("gateway", 0, 0), fails("signature", 1, 1), true},
		"within five minutes":  {partial, fails("oa", 5, 5), false},
		"later":                {partial, fails("oa", 5.1, 5.1), true},
		"behind what is down":  {fails("gateway", 0, 0), fails("oa", 40, 40), false},
		"a warning explains":   {minor, fails("oa", 1, 1), true},
		"cause comes too late": {fails("oa", 0, 0), fails("gateway", 5.1, 5.2), true},
		"cause comes in time":  {fails("oa", 0, 0), fails("gateway", 4.9, 30), false},
		"effect is no cause":   {fails("cloud-doc", 0, 0), hostSilent("gw-02", 1, 1), true},
	} {
		t.Run(name, func(t *testing.T) {
			h := townHouse(t)
			h.see(c.first)
			h.see(c.then)
			open, _ := h.List(Filter{State: "open"})
			if (len(open) == 2) != c.own {
				t.Errorf("%d open", len(open))
			}
		})
	}
}

// A graver effect makes its cause as grave; where a person has set the level it is proposed.
func TestEffectRaisesCause(t *testing.T) {
	for _, person := range []bool{false, true} {
		h := townHouse(t)
		s := fails("gateway", 0, 0)
		s.Class, s.Level = symptom.Partial, contract.General
		r := h.see(s)
		if person {
			must(t)(h.SetLevel(r.ID, by("二线", 0.5, "只影响内网"), Grading{Level: contract.General}))
		}
		h.see(fails("cloud-doc", 1, 1))
		if r, _ = h.get(r.ID); (r.Level == contract.Urgent) == person || (r.Proposed == contract.Urgent) != person {
			t.Errorf("person %v: %s, proposed %q", person, r.Level, r.Proposed)
		}
	}
}

// The cause is over; what still fails becomes an incident of its own, whose clocks did not run meanwhile, and whoever took
// the cause on has taken it on. What is good by then ends in silence.
func TestOutlivesItsCause(t *testing.T) {
	h := townHouse(t)
	doc := h.see(fails("cloud-doc", 0, 0))
	must(t)(h.Ack(doc.ID, by("驻点", 1, "")))
	gw := h.see(fails("gateway", 1, 2))
	if !gw.AckAt.Equal(after(1)) || gw.AckBy != "驻点" || !gw.SLAStart.Equal(nine) {
		t.Errorf("the cause was taken on at %v by %q, runs from %v", gw.AckAt, gw.AckBy, gw.SLAStart)
	}
	oa := h.see(fails("oa", 1, 2))
	if c := mustGet(h, doc.ID).Clocks(after(100)); c.Recovery.Net != 2*time.Minute || len(c.Breaches) > 0 {
		t.Errorf("clocks of what is merged: %+v", c)
	}
	h.see(works("gateway", 60))
	h.see(works("oa", 60.5))
	h.tick(75)
	if r := mustGet(h, gw.ID); r.State != Recovered {
		t.Fatalf("cause %s", r.State)
	}
	r := mustGet(h, doc.ID)
	if r.State != Acknowledged || r.Parent != "" || !r.Open() {
		t.Errorf("outlived its cause: %s under %q", r.State, r.Parent)
	}
	if c := r.Clocks(after(80)); c.Recovery.Net != 7*time.Minute || !c.RecoveryDue.Equal(after(240+73)) {
		t.Errorf("its clocks go on: %+v", c)
	}
	if r := mustGet(h, oa.ID); r.State != Merged || r.RecoveredAt.IsZero() {
		t.Errorf("good by then: %s", r.State)
	}
	folded(t, h, doc.ID)
	if got := h.pages(); got != "opened opened merged recovered split" && got != "opened merged opened recovered split" {
		t.Errorf("pages %s", got)
	}
	if r := mustGet(h, gw.ID); slices.Contains(r.Children, doc.ID) || !slices.Contains(r.Children, oa.ID) {
		t.Errorf("children %v", r.Children)
	}
}

func mustGet(h *house, id string) Record { r, _ := h.get(id); return r }

// A check that looks seldom is waited for before its service stands by itself, and a cause that fails again keeps it.
func TestSlowCheckIsWaitedFor(t *testing.T) {
	h := townHouse(t)
	h.Configure(Settings{Services: town, Pace: map[string]time.Duration{"oa": 30 * time.Minute}})
	gw, oa := h.see(fails("gateway", 0, 0)), h.see(fails("oa", 1, 1))
	h.see(works("gateway", 10))
	h.tick(25)
	if r := mustGet(h, oa.ID); r.Parent != gw.ID || !r.LeaveBy.Equal(after(70)) {
		t.Errorf("under %q until %v", r.Parent, r.LeaveBy)
	}
	h.see(fails("gateway", 30, 30))
	if r := mustGet(h, oa.ID); !r.LeaveBy.IsZero() || mustGet(h, gw.ID).State != Detected {
		t.Errorf("the cause fails again: leaves by %v", r.LeaveBy)
	}
	h.see(works("gateway", 40))
	h.tick(55)
	h.tick(101)
	if r := mustGet(h, oa.ID); r.Parent != "" || !r.Open() {
		t.Errorf("never good: %s under %q", r.State, r.Parent)
	}
}

// People merge and split; a machine does not undo what a person split.
func TestMergeAndSplit(t *testing.T) {
	h := townHouse(t)
	sig, gw := h.see(fails("signature", 0, 0)), h.see(fails("gateway", 0, 0))
	var bad *BadAct
	var c *Conflict
	if _, err := h.Merge(sig.ID, by("驻点", 1, "同一交换机"), Merging{sig.ID}); !errors.As(err, &bad) || bad.Field != "into" {
		t.Errorf("into itself: %v", err)
	}
	if _, err := h.Merge(sig.ID, by("驻点", 1, "同一交换机"), Merging{"INC-1"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("into nothing: %v", err)
	}
	r := must(t)(h.Merge(sig.ID, by("驻点", 1, "同一交换机"), Merging{gw.ID}))
	if r.State != Merged || r.Parent != gw.ID || mustGet(h, gw.ID).Children[0] != sig.ID {
		t.Errorf("merged: %+v", r)
	}
	if _, err := h.Ack(sig.ID, by("驻点", 2, "")); !errors.As(err, &c) || c.What != "merged" || c.Other != gw.ID {
		t.Errorf("acknowledged what is merged: %v", err)
	}
	oa := h.see(fails("oa", 2, 2))
	if oa.Parent != gw.ID {
		t.Fatal("not grouped")
	}
	must(t)(h.Split(oa.ID, by("驻点", 3, "另有原因")))
	s := fails("oa", 2, 4)
	s.Class, s.Detail = symptom.Wrong, "other answer"
	if r := h.see(s); r.Parent != "" || !r.Alone || !r.Open() {
		t.Errorf("put back: %+v", r)
	}
	for _, id := range []string{sig.ID, gw.ID, oa.ID} {
		folded(t, h, id)
	}
}

// A deadline that passed while the desk stood still is written down though the first thing after it is done to another incident:
// what is listed under this one is taken away from it.
func TestSplitHidesNoMissedDeadline(t *testing.T) {
	h := townHouse(t)
	for _, s := range []symptom.Symptom{fails("gateway", 0, 0), fails("oa", 0.1, 1)} {
		if _, _, err := h.Observe(after(2), s); err != nil {
			t.Fatal(err)
		}
	}
	failing, err := h.List(Filter{State: "failing"})
	i := slices.IndexFunc(failing, func(r Record) bool { return r.Parent != "" })
	if err != nil || i < 0 {
		t.Fatalf("nothing is listed under another: %v %+v", err, failing)
	}
	oa, gateway := failing[i], failing[i].Parent
	must(t)(h.Split(oa.ID, by("驻点", 90, "另有原因")))
	h.tick(91)
	r, es := h.get(gateway)
	if len(r.Breaches) != 1 || r.Breaches[0].Clock != contract.Response {
		t.Errorf("missed by %s: %+v, %d events", gateway, r.Breaches, len(es))
	}
}

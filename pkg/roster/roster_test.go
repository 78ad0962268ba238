package roster

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"xunjian/pkg/i18n"
	"xunjian/pkg/store"
)

func open(t *testing.T, file string, p *Plan, reg prometheus.Registerer) (*Roster, *store.DB) {
	t.Helper()
	db, err := store.Open(file, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	r, err := Open(db, p, reg)
	if err != nil {
		t.Fatal(err)
	}
	return r, db
}

// What is done at run time lasts over a restart, changes nothing that was, and can be taken back.
func TestChangesLast(t *testing.T) {
	file := filepath.Join(t.TempDir(), "records.db")
	p := newPlan(t, usual(), shanghai)
	r, db := open(t, file, p, nil)
	now := on("2026-03-04 10:00")
	who := func(at time.Time) string { return r.On(at).On(Resident).Person.Name }
	e, err := r.Override(now, "丁", Override{From: on("2026-03-04 08:00"), To: on("2026-03-04 18:00"), Person: "戊", Reason: "病假"})
	if err != nil || e.Seq != 1 {
		t.Fatal(e, err)
	}
	if who(now.Add(-time.Minute)) != "甲" || who(now) != "戊" {
		t.Error("the past changed, or the present did not")
	}
	if _, err := r.Swap(now, "甲", Swap{Give: Stretch{"甲", on("2026-03-05 08:00"), on("2026-03-05 18:00")}, Take: Stretch{"乙", on("2026-03-07 18:00"), on("2026-03-08 18:00")}, Asked: "甲", Agreed: "乙"}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Withdraw(now.Add(2*time.Hour), "丁", 1, "已到岗"); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		if who(on("2026-03-05 09:00")) != "乙" || who(on("2026-03-07 20:00")) != "甲" {
			t.Error("the swap does not hold")
		}
		if who(now.Add(time.Hour)) != "戊" || who(now.Add(2*time.Hour)) != "甲" {
			t.Error("the withdrawal does not hold, or changed the past")
		}
	}
	check()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	r, _ = open(t, file, p, nil)
	check()
	if log := r.Log(10); len(log) != 3 || log[0].Kind != KindWithdrawn || log[2].By != "丁" || log[2].Withdrawn().IsZero() || log[2].Reason != "病假" {
		t.Errorf("log %+v", log)
	}
}

func TestRefused(t *testing.T) {
	r, _ := open(t, filepath.Join(t.TempDir(), "records.db"), newPlan(t, usual(), shanghai), nil)
	now := on("2026-03-04 10:00")
	span := func(person string) Override {
		return Override{From: now, To: now.Add(time.Hour), Person: person, Reason: "x"}
	}
	swap := Swap{Give: Stretch{"甲", now, now.Add(time.Hour)}, Take: Stretch{"戊", now, now.Add(time.Hour)}, Asked: "甲", Agreed: "戊"}
	for name, c := range map[string]struct {
		do    func() error
		field string
	}{
		"stranger":          {func() error { _, err := r.Override(now, "丁", span("陌生人")); return err }, "person"},
		"nobody records":    {func() error { _, err := r.Override(now, "", span("甲")); return err }, "person"},
		"no reason":         {func() error { o := span("甲"); o.Reason = " "; _, err := r.Override(now, "丁", o); return err }, "reason"},
		"over":              {func() error { _, err := r.Override(now.Add(2*time.Hour), "丁", span("甲")); return err }, "to"},
		"wrong way":         {func() error { o := span("甲"); o.To = o.From; _, err := r.Override(now, "丁", o); return err }, "to"},
		"line":              {func() error { o := span("甲"); o.Line = "x"; _, err := r.Override(now, "丁", o); return err }, "line"},
		"no duty to swap":   {func() error { _, err := r.Swap(now, "甲", swap); return err }, "take"},
		"third person":      {func() error { s := swap; s.Take.Person = "甲"; _, err := r.Swap(now, "甲", s); return err }, "agreed"},
		"no watch to sign":  {func() error { _, err := r.SignIn(now, "甲", SignIn{}); return err }, "person"},
		"stranger signs in": {func() error { _, err := r.SignIn(now, "x", SignIn{}); return err }, "person"},
	} {
		err := c.do()
		var bad *Bad
		if !errors.As(err, &bad) || !errors.Is(err, ErrBad) || bad.Field != c.field {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, l := range i18n.Languages {
			if p := i18n.For(l); !p.Has(bad.Key) {
				t.Errorf("%s: no text in %s", name, l)
			}
		}
	}
	if _, err := r.Withdraw(now, "丁", 7, "x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("withdraw: %v", err)
	}
	if len(r.Log(9)) != 0 {
		t.Error("something was recorded")
	}
}

// A shift of an important period is signed in to once, by whoever is there; one that is not is flagged.
func TestSignIn(t *testing.T) {
	c := usual()
	c.Important = []Period{{Name: "两会", From: on("2026-03-04 08:00"), To: on("2026-03-06 08:00"), People: []string{"乙", "甲"}}}
	r, _ := open(t, filepath.Join(t.TempDir(), "records.db"), newPlan(t, c, shanghai), nil)
	if n := len(r.Absent(on("2026-03-04 08:15"))); n != 0 {
		t.Errorf("%d flagged too early", n)
	}
	if ws := r.Absent(on("2026-03-04 08:16")); len(ws) != 1 || ws[0].Person.Name != "乙" {
		t.Errorf("flagged %+v", ws)
	}
	if _, err := r.SignIn(on("2026-03-04 05:59"), "乙", SignIn{}); err == nil {
		t.Error("signed in three hours early")
	}
	if e, err := r.SignIn(on("2026-03-04 07:30"), "乙", SignIn{Handover: "无", Zero: true}); err != nil || !e.SignIn.Shift.Equal(on("2026-03-04 08:00")) {
		t.Fatal(e, err)
	}
	if n := len(r.Absent(on("2026-03-04 09:00"))); n != 0 {
		t.Errorf("%d flagged", n)
	}
	if _, err := r.SignIn(on("2026-03-04 09:00"), "乙", SignIn{}); err == nil {
		t.Error("signed in twice")
	}
	if e, err := r.SignIn(on("2026-03-05 07:00"), "甲", SignIn{}); err != nil || !e.SignIn.Shift.Equal(on("2026-03-05 08:00")) {
		t.Errorf("the next shift: %+v %v", e, err)
	}
}

// The metrics tell a roster with holes from a whole one.
func TestFigures(t *testing.T) {
	c := usual()
	c.Shifts = c.Shifts[:1]
	reg := prometheus.NewRegistry()
	r, _ := open(t, filepath.Join(t.TempDir(), "records.db"), newPlan(t, c, shanghai), reg)
	value := func() map[string]float64 {
		out := map[string]float64{}
		fs, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range fs {
			for _, m := range f.Metric {
				k := f.GetName()
				for _, l := range m.Label {
					k += " " + l.GetValue()
				}
				out[k] = m.Gauge.GetValue()
			}
		}
		return out
	}
	got := value()
	if got["xunjian_roster_gap_seconds resident"] < 3600 || got["xunjian_roster_gap_seconds second"] != 0 || got["xunjian_roster_people"] != 5 {
		t.Errorf("got %v", got)
	}
	r.Configure(newPlan(t, usual(), shanghai))
	if got := value(); got["xunjian_roster_gap_seconds resident"] != 0 {
		t.Errorf("got %v", got)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

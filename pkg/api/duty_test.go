package api

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"xunjian/pkg/access"
	"xunjian/pkg/contract"
	"xunjian/pkg/roster"
	"xunjian/pkg/store"
)

// The roster over the API: who is on duty, an override, its withdrawal, a sign-in, and what is refused.
func TestRoster(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	people := []roster.Person{{Name: "张工", Duty: "resident", Phone: "13800000001"}, {Name: "李工", Duty: "resident"}, {Name: "王经理", Duty: "manager"}, {Name: "the engineer"}, {Name: "the lead"}}
	calendar, err := contract.LoadCalendar(time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := roster.NewPlan(people, roster.Config{
		Shifts:    []roster.Shift{{Name: "白班", People: []string{"张工"}, Start: "2020-01-01", Days: 7}},
		Important: []roster.Period{{Name: "两会", From: now.Add(time.Hour), To: now.Add(25 * time.Hour), Shift: 24 * time.Hour, People: []string{"李工"}}},
	}, calendar, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(filepath.Join(t.TempDir(), "records.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	duty, err := roster.Open(db, plan, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(o *Options) { o.Duty, o.People = duty, duty })
	ctx := t.Context()
	engineer, lead := r.client(access.Engineer), r.client(access.Lead)

	got, err := engineer.Roster(ctx, 2)
	if err != nil || len(got.Now) != 3 || got.Now[0].Person != "张工" || got.Now[0].Phone == "" || got.Now[2].Person != "王经理" || len(got.Watches) == 0 || got.Watches[0].Pace != 2 {
		t.Fatalf("%+v %v", got, err)
	}
	c, err := lead.Override(ctx, Override{Act: Act{Reason: "病假"}, Line: "resident", For: "李工", From: now, To: now.Add(30 * time.Minute)})
	if err != nil || c.By != "the lead" || c.Seq == 0 {
		t.Fatalf("override: %+v %v", c, err)
	}
	if got, err = engineer.Roster(ctx, 0); err != nil || got.Now[0].Person != "李工" || got.Now[0].Reason != "病假" || len(got.Changes) != 1 {
		t.Errorf("after the override: %+v %v", got.Now, err)
	}
	if c, err = lead.Withdraw(ctx, c.Seq, Act{Reason: "已返岗"}); err != nil {
		t.Errorf("withdraw: %v", err)
	}
	if got, err = engineer.Roster(ctx, 0); err != nil || got.Now[0].Person != "张工" || got.Changes[1].Withdrawn.IsZero() {
		t.Errorf("after the withdrawal: %+v %v", got, err)
	}
	if c, err = engineer.SignIn(ctx, SignIn{Zero: true, Handover: "无"}); err != nil || c.SignIn.Period != "两会" || c.SignIn.Person != "the engineer" {
		t.Errorf("sign in: %+v %v", c, err)
	}
	if c, err = engineer.Swap(ctx, Swap{
		Line: "resident", Asked: "张工", Agreed: "李工",
		Give: roster.Stretch{Person: "张工", From: now.AddDate(0, 0, 3), To: now.AddDate(0, 0, 4)},
		Take: roster.Stretch{Person: "李工", From: now.Add(2 * time.Hour), To: now.Add(3 * time.Hour)},
	}); err != nil || c.Swap.Agreed != "李工" {
		t.Errorf("swap: %+v %v", c, err)
	}
	var e *Error
	for field, do := range map[string]func() error{
		"person": func() error {
			_, err := lead.Override(ctx, Override{Act: Act{Reason: "x"}, For: "谁", From: now, To: now.Add(time.Hour)})
			return err
		},
		"reason": func() error {
			_, err := lead.Override(ctx, Override{For: "李工", From: now, To: now.Add(time.Hour)})
			return err
		},
		"to": func() error {
			_, err := lead.Override(ctx, Override{Act: Act{Reason: "x"}, For: "李工", From: now, To: now})
			return err
		},
		"days": func() error { _, err := lead.Roster(ctx, 1000); return err },
	} {
		if err := do(); !errors.As(err, &e) || e.Status != 422 || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	if _, err := lead.Withdraw(ctx, 99, Act{Reason: "x"}); !errors.As(err, &e) || e.Status != 404 {
		t.Errorf("withdraw what is not there: %v", err)
	}
}

// Planned windows over the API: planned, listed, cancelled once; the second time tells who was first.
func TestWindows(t *testing.T) {
	r := newRig(t)
	ctx, lead := t.Context(), r.client(access.Lead)
	now := time.Now()
	var e *Error
	if _, err := lead.Plan(ctx, Planning{Act: Act{Reason: "升级"}, Services: []string{"sms"}, From: now, To: now.Add(time.Hour)}); !errors.As(err, &e) || e.Field != "party_a" {
		t.Errorf("without party A: %v", err)
	}
	w, err := lead.Plan(ctx, Planning{Act: Act{Reason: "升级"}, Services: []string{"sms"}, From: now, To: now.Add(time.Hour), PartyA: "王处"})
	if err != nil || w.By != "the lead" || w.Reason != "升级" {
		t.Fatalf("%+v %v", w, err)
	}
	if got, err := r.client(access.Viewer).Windows(ctx); err != nil || len(got.Windows) != 1 || got.Windows[0].ID != w.ID {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := lead.CancelWindow(ctx, w.ID, Act{Reason: "改期"}); err != nil {
		t.Error(err)
	}
	if _, err := lead.CancelWindow(ctx, w.ID, Act{Reason: "改期"}); !errors.As(err, &e) || e.Status != 409 || e.Person != "the lead" || e.At.IsZero() {
		t.Errorf("twice: %+v", err)
	}
	if _, err := lead.CancelWindow(ctx, "WIN-0", Act{Reason: "改期"}); !errors.As(err, &e) || e.Status != 404 {
		t.Errorf("what is not there: %v", err)
	}
}

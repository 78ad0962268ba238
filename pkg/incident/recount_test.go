package incident

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/i18n"
)

var beijing = time.FixedZone("Asia/Shanghai", 8*3600)

// almanac is the calendar with the notice of 2027, or without.
func almanac(t testing.TB, notice bool) func(time.Time) *contract.Working {
	t.Helper()
	over := fstest.MapFS{}
	if notice {
		over["2027.json"] = &fstest.MapFile{Data: []byte(`{"year":2027,"days":[{"date":"2027-01-01","isOffDay":true},{"date":"2027-01-02","isOffDay":true},{"date":"2027-01-03","isOffDay":true}]}`)}
	}
	c, err := contract.LoadCalendar(beijing, over)
	if err != nil {
		t.Fatal(err)
	}
	office := contract.Office{Hours: contract.Hours{"08:00-12:00", "14:30-17:30"}}
	return func(at time.Time) *contract.Working { return c.Working(office, at) }
}

// officeHouse is a desk whose clocks of general faults run in office hours.
func officeHouse(t testing.TB) *house {
	h := newHouse(t)
	terms := contract.DefaultTerms()
	terms.GeneralInOffice = true
	h.settings = Settings{Services: services, Terms: terms, Working: almanac(t, false)}
	h.reopen()
	return h
}

// yearEnd is so many hours after Thursday, 31 December 2026, 16:00 in Shanghai, in the minutes of after.
func yearEnd(hours float64) float64 {
	return time.Date(2026, 12, 31, 16, 0, 0, 0, beijing).Sub(nine).Minutes() + 60*hours
}

func told2027(es []Event) (out []Event) {
	return slices.DeleteFunc(slices.Clone(es), func(e Event) bool { return e.Kind != EventRecounted })
}

// A general fault of the last afternoon of a year is due on New Year's Day as long as nobody has announced that day to be
// off. When the notice comes, clocks, missed deadlines and what followed from them are those of somebody who knew it.
func TestLateNotice(t *testing.T) {
	for name, restart := range map[string]bool{"reloaded": false, "restarted": true} {
		t.Run(name, func(t *testing.T) {
			h := officeHouse(t)
			id := h.see(slow(yearEnd(0))).ID
			must(t)(h.Ack(id, by("驻点", yearEnd(0.2), "")))
			r, _ := h.get(id)
			if !r.Guesses(r.UpdatedAt) || !r.RecoveryDue.Equal(after(yearEnd(25))) { // 1.5 h on Thursday, 6.5 h on Friday: 17:00
				t.Fatalf("due %v, guessed %v", r.RecoveryDue.In(beijing), r.Guesses(r.UpdatedAt))
			}
			h.tick(yearEnd(26))
			if r, _ = h.get(id); r.Level != contract.Urgent || len(r.Breaches) != 1 {
				t.Fatalf("not missed by the days as guessed: %s, %+v", r.Level, r.Breaches)
			}
			h.settings.Working = almanac(t, true)
			if restart {
				h.reopen()
			} else {
				h.Configure(h.settings)
			}
			h.tick(yearEnd(27))
			r, es := h.get(id)
			folded(t, h, id)
			if due := after(yearEnd(4*24 + 1)); !r.RecoveryDue.Equal(due) || r.Level != contract.General || r.Breached() || r.Guesses(r.UpdatedAt) { // Monday, 17:00
				t.Errorf("due %v, level %s, breaches %+v", r.RecoveryDue.In(beijing), r.Level, r.Breaches)
			}
			if got := told2027(es); len(got) != 1 {
				t.Fatalf("%d events of it", len(got))
			} else {
				text := strings.Join(got[0].Recount.Tell(i18n.For("zh-CN"), beijing), "\n")
				for _, want := range []string{"2027 年节假日通知已到", "恢复截止 2027-01-01 17:00:00 → 2027-01-04 17:00:00", "恢复净用时 27:00:00 → 1:30:00"} {
					if !strings.Contains(text, want) {
						t.Errorf("does not say %q:\n%s", want, text)
					}
				}
				if text := strings.Join(got[0].Recount.Tell(i18n.For("en"), beijing), "\n"); !strings.Contains(text, "recovery due 2027-01-01 17:00:00 → 2027-01-04 17:00:00") {
					t.Error(text)
				}
			}
			h.Configure(h.settings)
			h.tick(yearEnd(28))
			if _, es := h.get(id); len(told2027(es)) != 1 {
				t.Error("counted anew a second time")
			}
			h.tick(yearEnd(4*24 + 1.1))
			if r, _ = h.get(id); len(r.Breaches) != 1 || !r.Breaches[0].At.Equal(after(yearEnd(4*24+1))) || r.Level != contract.Urgent {
				t.Errorf("the true deadline is not missed: %+v, %s", r.Breaches, r.Level)
			}
		})
	}
}

// What is filed is counted anew too: the year's score knows no later day. What rests on no guessed day is left alone.
func TestLateNoticeOfFiled(t *testing.T) {
	h := officeHouse(t)
	early := h.see(slow(yearEnd(-200))).ID
	must(t)(h.Ack(early, by("驻点", yearEnd(-199.9), "")))
	h.see(good(yearEnd(-199)))
	h.tick(yearEnd(-198))
	must(t)(h.Archive(early, by("驻点", yearEnd(-197), ""), Account{Cause: "c", Category: Software, Handling: "h", PartyA: "王主任"}))
	late := h.see(down(yearEnd(0))) // urgent: its clocks run day and night
	general := must(t)(h.Open(by("驻点", yearEnd(0), ""), Opening{Service: "oa", Level: contract.General, Detail: "报表打不开"})).ID
	must(t)(h.Ack(general, by("驻点", yearEnd(0.1), "")))
	must(t)(h.Resolve(general, by("驻点", yearEnd(25.2), ""), Account{Cause: "c", Category: Software, Handling: "h"})) // 17:12 on the holiday
	must(t)(h.Archive(general, by("驻点", yearEnd(25.5), ""), Account{PartyA: "王主任"}))
	if r, _ := h.get(general); r.State != Archived || len(r.Breaches) != 1 {
		t.Fatalf("%s, %+v", r.State, r.Breaches)
	}
	h.settings.Working = almanac(t, true)
	h.reopen()
	h.tick(yearEnd(30))
	r, es := h.get(general)
	if got := told2027(es); r.State != Archived || r.Breached() || len(got) != 1 || got[0].Recount.Was.Recovery != 8*time.Hour+12*time.Minute || got[0].Recount.Now.Recovery != 90*time.Minute {
		t.Errorf("%s, breaches %+v, events %+v", r.State, r.Breaches, got)
	}
	folded(t, h, general)
	for _, id := range []string{early, late.ID} {
		if _, es := h.get(id); len(told2027(es)) != 0 {
			t.Errorf("%s is counted anew", id)
		}
	}
}

// The day on which a recovery counts as confirmed rests on working days under any terms (R10).
func TestLateNoticeMovesConfirmation(t *testing.T) {
	h := officeHouse(t)
	id := h.see(down(yearEnd(0))).ID
	h.see(good(yearEnd(1)))
	h.tick(yearEnd(2))
	guess := time.Date(2027, 1, 6, 0, 0, 0, 0, beijing) // after Friday, Monday and Tuesday
	r, _ := h.get(id)
	if r.State != Recovered || !r.ConfirmDue.Equal(guess) || !r.Guesses(r.UpdatedAt) {
		t.Fatalf("%s, by %v", r.State, r.ConfirmDue.In(beijing))
	}
	h.settings.Working = almanac(t, true)
	h.Configure(h.settings)
	h.tick(yearEnd(24))
	if r, _ = h.get(id); !r.ConfirmDue.Equal(guess.AddDate(0, 0, 1)) || r.Guesses(r.UpdatedAt) {
		t.Errorf("by %v", r.ConfirmDue.In(beijing))
	}
	folded(t, h, id)
	h.tick(guess.Sub(nine).Minutes() + 1)
	if r, _ = h.get(id); r.State != Recovered {
		t.Errorf("confirmed on the guessed day: %s", r.State)
	}
	h.tick(guess.Sub(nine).Minutes() + 24*60)
	if r, _ = h.get(id); r.State != Confirmed || !r.ConfirmedAt.Equal(guess.AddDate(0, 0, 1)) {
		t.Errorf("%s at %v", r.State, r.ConfirmedAt)
	}
}

package contract

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// of2027 is a notice as the State Council might write it; it rules the last day of 2026 too.
const of2027 = `{"year":2027,"days":[{"date":"2026-12-31","isOffDay":true},{"date":"2027-01-01","isOffDay":true},{"date":"2027-01-02","isOffDay":true},
 {"date":"2027-01-03","isOffDay":true},{"date":"2027-01-09","isOffDay":false}]}`

func withNotice(t testing.TB, notice string) *Calendar {
	t.Helper()
	c := calendar(t)
	if err := c.add([]byte(notice)); err != nil {
		t.Fatal(err)
	}
	return c
}

// A late notice fills in what was guessed, and leaves what a notice had ruled: not even a corrected calendar moves that.
func TestAnnounced(t *testing.T) {
	day := moment(t, "2026-12-30 09:00:00")
	kept := calendar(t).Working(office, day)
	if _, ok := kept.Announced(calendar(t).Working(office, day)); ok {
		t.Error("the same calendar tells something new")
	}
	late := withNotice(t, of2027)
	if err := late.add([]byte(`{"year":2026,"days":[{"date":"2026-10-12","isOffDay":true},{"date":"2026-10-17","isOffDay":false}]}`)); err != nil {
		t.Fatal(err)
	}
	other := office
	other.Hours = Hours{"00:00-24:00"}
	now, ok := kept.Announced(late.Working(other, day))
	if !ok || now.Calendar != late.Version() || !cmp.Equal(now.Office, office) {
		t.Errorf("%v, calendar %s, office %v", ok, now.Calendar, now.Office)
	}
	for _, c := range []struct {
		day         string
		work, known bool
	}{
		{"2026-10-12", true, true}, {"2026-10-17", false, true}, // ruled before
		{"2026-12-30", true, true}, {"2026-12-31", false, true}, {"2027-01-01", false, true}, {"2027-01-04", true, true}, {"2027-01-09", true, true},
	} {
		if work, known := now.Workday(moment(t, c.day+" 09:00:00")); work != c.work || known != c.known {
			t.Errorf("%s: working %v, known %v", c.day, work, known)
		}
	}
	if work, known := kept.Workday(moment(t, "2027-01-01 09:00:00")); !work || known {
		t.Error("what was kept before has changed")
	}
}

// Clocks that are counted anew are those of somebody who knew the notice from the start.
func TestCountedAnew(t *testing.T) {
	before, after := calendar(t), withNotice(t, of2027)
	rapid.Check(t, func(t *rapid.T) {
		h := anyHistory(t)
		from := time.Date(2026, 12, 24, 0, 0, 0, 0, shanghai).Add(time.Duration(rapid.IntRange(0, 12*24*3600).Draw(t, "from")) * time.Second)
		h = moved(h, from.Sub(h.Detected))
		terms := DefaultTerms()
		terms.GeneralInOffice = true
		guess, knew := terms, terms
		guess.Working, knew.Working = before.Working(office, from), after.Working(office, from)
		now := from.Add(time.Duration(rapid.IntRange(0, 9*24*3600).Draw(t, "now")) * time.Second)
		want := knew.Assess(h, now)
		first := guess.Assess(h, now)
		again := guess
		again.Working, _ = guess.Working.Announced(knew.Working)
		if got := again.Assess(h, now); !cmp.Equal(got, want) {
			t.Fatalf("counted anew: %s", cmp.Diff(want, got))
		}
		if want.Provisional {
			t.Fatal("provisional although all is known")
		}
		if first.Provisional {
			return
		}
		if !cmp.Equal(first.Response, want.Response) || !cmp.Equal(first.Recovery, want.Recovery) || !cmp.Equal(first.Breaches, want.Breaches) {
			t.Fatalf("not called provisional, and differs: %s", cmp.Diff(want, first))
		}
	})
}

func moved(h History, by time.Duration) History {
	shift := func(t time.Time) time.Time {
		if t.IsZero() {
			return t
		}
		return t.Add(by)
	}
	h.Detected, h.FaultStart, h.Reported = shift(h.Detected), shift(h.FaultStart), shift(h.Reported)
	for i, s := range h.Steps {
		h.Steps[i].At, h.Steps[i].Until = shift(s.At), shift(s.Until)
	}
	return h
}

// Clocks are provisional while they, or a deadline to come, rest on days that are guessed, and only those that run in office hours.
func TestProvisional(t *testing.T) {
	terms := DefaultTerms()
	terms.GeneralInOffice = true
	terms.Working = working(t, "2026-12-30 09:00:00")
	thursday := moment(t, "2026-12-31 09:00:00")
	ack, over := Step{Kind: Acknowledged, At: thursday.Add(time.Minute)}, Step{Kind: Recovered, At: thursday.Add(time.Hour)}
	late := Step{Kind: Graded, Level: General, At: thursday.Add(time.Minute)}
	general := func(day string, then ...StepKind) History { // from 09:00 on, answered, an hour later what came then
		at := moment(t, day+" 09:00:00")
		h := History{Detected: at, Level: General, Steps: []Step{{Kind: Acknowledged, At: at.Add(time.Minute)}}}
		for _, kind := range then {
			h.Steps = append(h.Steps, Step{Kind: kind, At: at.Add(time.Hour)})
		}
		return h
	}
	for name, c := range map[string]struct {
		h    History
		now  string
		want bool
	}{
		"deadline in the new year": {History{Detected: thursday, Level: General, Steps: []Step{ack}}, "2026-12-31 10:00:00", true},       // 8 h: half an hour of them in January
		"over in the old year":     {History{Detected: thursday, Level: General, Steps: []Step{ack, over}}, "2027-02-01 10:00:00", true}, // the day itself may turn out to be off
		"before Christmas":         {general("2026-12-24"), "2026-12-24 10:00:00", false},
		"on the 25th":              {general("2026-12-25"), "2026-12-25 10:00:00", true}, // half an hour of its 8 h is on Monday the 28th
		"on the 25th, over":        {general("2026-12-25", Recovered), "2027-02-01 10:00:00", false},
		"of another year's end":    {general("2025-12-31", Recovered), "2027-02-01 10:00:00", false},
		"nobody has answered":      {History{Detected: thursday, Level: General, Steps: []Step{over}}, "2027-02-01 10:00:00", true},
		"urgent":                   {History{Detected: thursday, Level: Urgent, Steps: []Step{ack}}, "2027-02-01 10:00:00", false},
		"urgent, then general":     {History{Detected: thursday, Level: Urgent, Steps: []Step{ack, late}}, "2027-02-01 10:00:00", true},
		"in November":              {History{Detected: moment(t, "2026-11-23 09:00:00"), Level: General, Steps: []Step{ack}}, "2026-11-23 10:00:00", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := terms.Assess(c.h, moment(t, c.now)).Provisional; got != c.want {
				t.Errorf("provisional %v", got)
			}
		})
	}
}

package contract

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// anyTerms draws terms with each option on or off.
func anyTerms(t *rapid.T, w *Working) Terms {
	terms := DefaultTerms()
	yes := func(name string) bool { return rapid.Bool().Draw(t, name) }
	terms.StartAtFault, terms.GeneralInOffice = yes("start at fault"), yes("general in office")
	if terms.NoPauses = yes("no pauses"); !terms.NoPauses {
		terms.PauseThirdParty, terms.PauseUpstream = yes("third party"), yes("upstream")
	}
	terms.Working = w
	return terms
}

// anyHistory draws steps within three days around a weekend whose Saturday is worked.
func anyHistory(t *rapid.T) History {
	begin := time.Date(2026, 10, 9, 0, 0, 0, 0, time.UTC)
	moment := func(name string) time.Time {
		return begin.Add(time.Duration(rapid.IntRange(0, 3*24*3600).Draw(t, name)) * time.Second)
	}
	h := History{Detected: begin.Add(time.Hour), FaultStart: begin.Add(50 * time.Minute), Level: rapid.SampledFrom(Levels).Draw(t, "level")}
	if rapid.Bool().Draw(t, "agreed") {
		h.Agreed = Limits{Recover: 5 * time.Hour}
	}
	kinds := []StepKind{Graded, Acknowledged, Good, Recovered, Failing, Paused, Resumed, Extended}
	for range rapid.IntRange(0, 8).Draw(t, "steps") {
		h.Steps = append(h.Steps, Step{
			Kind: rapid.SampledFrom(kinds).Draw(t, "kind"), At: moment("at"), Level: rapid.SampledFrom(Levels).Draw(t, "to"),
			Until: moment("until"), Reason: rapid.SampledFrom(Reasons).Draw(t, "reason"),
		})
	}
	return h
}

// What must be true of the clocks of any history under any terms.
func TestClockLaws(t *testing.T) {
	w := working(t, "2026-10-09 09:00:00")
	rapid.Check(t, func(t *rapid.T) {
		terms, h := anyTerms(t, w), anyHistory(t)
		now := h.Detected.Add(time.Duration(rapid.IntRange(-3600, 4*24*3600).Draw(t, "now")) * time.Second)
		c := terms.Assess(h, now)
		if c.Response.Elapsed < 0 || c.Recovery.Raw < 0 || c.Recovery.Paused < 0 || c.Recovery.Net < 0 {
			t.Fatalf("below zero: %+v", c)
		}
		if want := c.Recovery.Raw - c.Recovery.Paused; !terms.NoPauses && c.Recovery.Net != want || terms.NoPauses && c.Recovery.Net != c.Recovery.Raw {
			t.Fatalf("net %v of raw %v and paused %v", c.Recovery.Net, c.Recovery.Raw, c.Recovery.Paused)
		}
		if again := terms.Assess(h, now); !cmp.Equal(c, again) {
			t.Fatalf("asked twice: %+v then %+v", c, again)
		}
		later := now.Add(time.Duration(rapid.IntRange(0, 24*3600).Draw(t, "later")) * time.Second)
		for _, b := range c.Breaches {
			if !slices.Contains(terms.Assess(h, later).Breaches, b) {
				t.Fatalf("breach %+v is gone by %v", b, later)
			}
			if b.At.After(now) {
				t.Fatalf("breach %+v is to come", b)
			}
		}
		more := h
		more.Steps = append(slices.Clone(h.Steps), Step{Kind: rapid.SampledFrom([]StepKind{Graded, Acknowledged, Recovered, Failing, Paused, Resumed}).Draw(t, "more"), At: now.Add(time.Second), Level: Urgent})
		if got := terms.Assess(more, now); !cmp.Equal(c, got) {
			t.Fatalf("a later event changed the past: %+v, was %+v", got, c)
		}
		checkForecast(t, terms, h, now, c)
	})
}

// checkForecast holds the outlook against the clocks that it looks at.
func checkForecast(t *rapid.T, terms Terms, h History, now time.Time, c Clocks) {
	for _, o := range terms.Forecast(h, now, 0) {
		if o.Left != o.Allowed-o.Used || o.Breached != (o.Left < 0) {
			t.Fatalf("outlook %+v does not add up", o)
		}
		for i, w := range o.Warnings {
			passed := o.Used >= o.Allowed/100*time.Duration(w.Share)
			if passed == w.At.After(now) {
				t.Fatalf("warning %+v at %v of %+v", w, now, o)
			}
			if i > 0 && w.At.Before(o.Warnings[i-1].At) {
				t.Fatalf("warnings out of order: %+v", o.Warnings)
			}
		}
		if !o.Breached && !c.Next.IsZero() && !o.Standing && c.Next.Before(now) {
			t.Fatalf("next deadline %v is past at %v", c.Next, now)
		}
	}
}

// slowly counts both clocks second by second from what the rules say, with nothing of the program's own but the list of
// working days.
func slowly(terms Terms, work func(time.Time) bool, h History, now time.Time, clock ClockName) (breached map[Level]bool, used time.Duration) {
	steps := slices.DeleteFunc(slices.Clone(h.Steps), func(s Step) bool { return s.At.After(now) })
	slices.SortStableFunc(steps, func(a, b Step) int { return a.At.Compare(b.At) })
	end, level := now, h.Level
	for _, s := range steps {
		switch {
		case clock == Response && s.Kind == Acknowledged && end.Equal(now):
			end = s.At
		case clock == Recovery && (s.Kind == Good || s.Kind == Recovered):
			end = s.At
		case clock == Recovery && s.Kind == Failing:
			end = now
		}
	}
	limit := func(l Level) time.Duration {
		if clock == Response {
			return terms.Limits(l, h.Agreed).Respond
		}
		return terms.Limits(l, h.Agreed).Recover
	}
	counts := func(l Level, t time.Time) bool { return l != General || !terms.GeneralInOffice || work(t) }
	held, since, spent, waits := map[Level]bool{}, map[Level]bool{}, map[Level]time.Duration{}, map[Reason]bool{}
	breached = map[Level]bool{}
	grade := func(l Level) {
		level, held[l] = l, true
		for _, m := range Levels {
			since[m] = since[m] || !m.Graver(l)
		}
	}
	judge := func() {
		for l := range held {
			if limit(l) > 0 && !l.Graver(level) && spent[l] > limit(l) {
				breached[l] = true
			}
		}
	}
	grade(h.Level)
	at := terms.Start(h)
	apply := func() {
		for len(steps) > 0 && !steps[0].At.After(at) && !steps[0].At.After(end) {
			switch s := steps[0]; {
			case s.Kind == Graded:
				grade(s.Level)
			case s.Kind == Paused && clock == Recovery && (s.Reason == Consent || s.Reason == ThirdParty && terms.PauseThirdParty || s.Reason == Upstream && terms.PauseUpstream):
				waits[s.Reason] = true
			case s.Kind == Resumed:
				delete(waits, s.Reason)
			}
			steps = steps[1:]
			judge()
		}
	}
	apply()
	for at.Before(end) {
		for l := range since {
			if since[l] && (len(waits) == 0 || terms.NoPauses) && counts(l, at) {
				spent[l] += time.Second
			}
		}
		at = at.Add(time.Second)
		judge()
		apply()
	}
	return breached, spent[level]
}

// The clocks are what counting seconds one by one makes of them, in office hours too.
func TestAgainstSeconds(t *testing.T) {
	w := working(t, "2026-10-09 09:00:00")
	cal := calendar(t)
	days := map[int64]bool{}
	for d := moment(t, "2026-10-01 00:00:00"); d.Before(moment(t, "2026-10-31 00:00:00")); d = d.AddDate(0, 0, 1) {
		days[(d.Unix()+8*3600)/86400], _ = cal.Workday(d)
	}
	work := func(t time.Time) bool {
		local := t.Unix() + 8*3600
		minute := local % 86400 / 60
		return days[local/86400] && (minute >= 8*60 && minute < 12*60 || minute >= 14*60+30 && minute < 17*60+30)
	}
	rapid.Check(t, func(t *rapid.T) {
		terms, h := anyTerms(t, w), anyHistory(t)
		h.Steps = slices.DeleteFunc(h.Steps, func(s Step) bool { return s.Kind == Extended })
		now := h.Detected.Add(time.Duration(rapid.IntRange(0, 3*24*3600).Draw(t, "now")) * time.Second)
		c := terms.Assess(h, now)
		for _, clock := range []ClockName{Response, Recovery} {
			want, used := slowly(terms, work, h, now, clock)
			got := map[Level]bool{}
			for _, b := range c.Breaches {
				if b.Clock == clock {
					got[b.Level] = true
				}
			}
			if !cmp.Equal(want, got) {
				t.Fatalf("%s breached %v, want %v", clock, got, want)
			}
			if one := c.Level == h.Level && !slices.ContainsFunc(h.Steps, func(s Step) bool { return s.Kind == Graded }); !one {
				continue // what was used before a level weighed so much is in the clock, and not in the level's own time
			}
			have := c.Recovery.Net
			if clock == Response {
				have = c.Response.Elapsed
			}
			if have != used {
				t.Fatalf("%s used %v, want %v", clock, have, used)
			}
		}
	})
}

// A general fault on a Friday afternoon, by clocks that run in office hours: to the minute.
func TestGeneralInOffice(t *testing.T) {
	terms := DefaultTerms()
	terms.GeneralInOffice = true
	terms.Working = working(t, "2026-11-27 09:00:00")
	friday := moment(t, "2026-11-27 17:15:00")
	h := History{Detected: friday, Level: General}
	c := terms.Assess(h, friday)
	if want := moment(t, "2026-11-30 08:15:00"); !c.ResponseDue.Equal(want) {
		t.Errorf("response due %v, want %v", c.ResponseDue.In(shanghai), want)
	}
	if want := moment(t, "2026-12-01 08:45:00"); !c.RecoveryDue.Equal(want) {
		t.Errorf("recovery due %v, want %v", c.RecoveryDue.In(shanghai), want)
	}
	h.Steps = []Step{{Kind: Acknowledged, At: moment(t, "2026-11-29 10:00:00")}, {Kind: Paused, At: moment(t, "2026-11-30 09:00:00")}, {Kind: Resumed, At: moment(t, "2026-11-30 15:30:00")}}
	c = terms.Assess(h, moment(t, "2026-12-01 09:00:00"))
	if c.Response.Elapsed != 15*time.Minute || !c.Response.Met {
		t.Errorf("answered on Sunday: %+v", c.Response)
	}
	if c.Recovery.Paused != 4*time.Hour || c.Recovery.Raw != 15*time.Minute+8*time.Hour || c.Recovery.Net != 4*time.Hour+15*time.Minute {
		t.Errorf("recovery: %+v", c.Recovery)
	}
	if want := moment(t, "2026-12-01 15:15:00"); !c.RecoveryDue.Equal(want) || c.Provisional {
		t.Errorf("due %v, want %v, provisional %v", c.RecoveryDue.In(shanghai), want, c.Provisional)
	}
	// All of the time is used up at noon; nobody works before half past two, so until then it is met (R4).
	noon := History{Detected: moment(t, "2026-11-26 12:00:00"), Level: General, Steps: []Step{{Kind: Acknowledged, At: moment(t, "2026-11-26 12:00:00")}}}
	noon.Detected = moment(t, "2026-11-26 11:00:00") // 1 + 3 h on Thursday, 4 h on Friday
	if c := terms.Assess(noon, moment(t, "2026-11-27 14:30:00")); c.Recovery.Breached || c.Recovery.Net != 8*time.Hour || !c.RecoveryDue.Equal(moment(t, "2026-11-27 12:00:00")) {
		t.Errorf("in the break: %+v due %v", c.Recovery, c.RecoveryDue.In(shanghai))
	}
	if c := terms.Assess(noon, moment(t, "2026-11-27 14:30:01")); !c.Recovery.Breached {
		t.Errorf("after the break: %+v", c.Recovery)
	}
	h.Detected = moment(t, "2026-12-31 17:00:00")
	if c := terms.Assess(h, moment(t, "2027-01-02 09:00:00")); !c.Provisional {
		t.Error("working time of 2027 is sure although nobody announced its holidays")
	}
	h.Level = Urgent
	if c := terms.Assess(h, h.Detected.Add(time.Hour)); c.Recovery.Raw != time.Hour || c.Provisional {
		t.Errorf("an urgent fault waits for the office: %+v", c)
	}
}

// Terms in records of earlier builds keep their meaning, and new ones survive being stored.
func TestStoredTerms(t *testing.T) {
	const old = `{"urgent":{"respond":600000000000,"recover":14400000000000},"general":{"respond":1800000000000,"recover":28800000000000},"verify":300000000000,"verify_urgent":600000000000,"relapse":1800000000000,"recurrence":2592000000000000,"backdate":86400000000000}`
	var got Terms
	if err := json.Unmarshal([]byte(old), &got); err != nil {
		t.Fatal(err)
	}
	want := DefaultTerms()
	want.EscalateOverdue, want.ConfirmDays, want.Samples = false, 0, 0 // there was none of them
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("old terms (-want +got):\n%s", diff)
	}
	b, err := json.Marshal(got)
	if err != nil || string(b) != old {
		t.Errorf("written again: %s (%v)", b, err)
	}
	terms := DefaultTerms()
	terms.Working, terms.GeneralInOffice = working(t, "2026-10-09 09:00:00"), true
	if b, err = json.Marshal(terms); err != nil || len(b) > 2048 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	var back Terms
	if err := json.Unmarshal(b, &back); err != nil || !cmp.Equal(terms, back) {
		t.Errorf("stored and read: %s (%v)", cmp.Diff(terms, back), err)
	}
}

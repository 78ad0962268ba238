package contract

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var nine = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// at is a time on the day of the tests: at("13:20") or at("09:10:00.001").
func at(clock string) time.Time {
	for _, layout := range []string{"15:04", "15:04:05", "15:04:05.000"} {
		if t, err := time.Parse(layout, clock); err == nil {
			return time.Date(2026, 11, 23, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
		}
	}
	panic(clock)
}

func opened(l Level, steps ...Step) History {
	return History{FaultStart: nine.Add(-time.Minute), Detected: nine, Level: l, Steps: steps}
}

func step(k StepKind, clock string) Step { return Step{Kind: k, At: at(clock)} }
func graded(l Level, clock string) Step  { return Step{Kind: Graded, At: at(clock), Level: l} }

func extended(clock, until string) Step            { return Step{Kind: Extended, At: at(clock), Until: at(until)} }
func missed(c ClockName, l Level, t string) Breach { return Breach{c, l, at(t)} }

// The limits of §4.2 R4 are inclusive to the millisecond.
func TestLimitsAreInclusive(t *testing.T) {
	for name, c := range map[string]struct {
		level    Level
		kind     StepKind
		clock    string
		breaches []Breach
	}{
		"urgent ack at 10:00.000":    {Urgent, Acknowledged, "09:10:00.000", nil},
		"urgent ack at 10:00.001":    {Urgent, Acknowledged, "09:10:00.001", []Breach{missed(Response, Urgent, "09:10")}},
		"general ack at 30:00.000":   {General, Acknowledged, "09:30", nil},
		"general ack at 30:00.001":   {General, Acknowledged, "09:30:00.001", []Breach{missed(Response, General, "09:30")}},
		"urgent recovered at 4 h":    {Urgent, Recovered, "13:00", nil},
		"urgent recovered past 4 h":  {Urgent, Recovered, "13:00:00.001", []Breach{missed(Recovery, Urgent, "13:00")}},
		"general recovered at 8 h":   {General, Recovered, "17:00", nil},
		"general recovered past 8 h": {General, Recovered, "17:00:00.001", []Breach{missed(Recovery, General, "17:00")}},
		"minor never late":           {Minor, Recovered, "23:59", nil},
	} {
		t.Run(name, func(t *testing.T) {
			h := opened(c.level, step(c.kind, c.clock))
			if c.kind == Recovered { // keep the other clock out of it
				h.Steps = append(h.Steps, step(Acknowledged, "09:01"))
			} else {
				h.Steps = append(h.Steps, step(Recovered, "09:01"))
			}
			got := DefaultTerms().Assess(h, at("23:59"))
			if diff := cmp.Diff(c.breaches, got.Breaches); diff != "" {
				t.Errorf("breaches (-want +got):\n%s", diff)
			}
			if met := got.Response.Met && got.Recovery.Met; met != (c.breaches == nil) {
				t.Errorf("met %v", met)
			}
		})
	}
}

// Open 09:00, proposal 09:40, consent 10:10, recovered 13:20: raw 4:20, net 3:50, met; breached if pauses are off (§4.3).
func TestPause(t *testing.T) {
	h := opened(Urgent, step(Acknowledged, "09:02"), step(Paused, "09:40"), step(Resumed, "10:10"), step(Recovered, "13:20"))
	c := DefaultTerms().Assess(h, at("20:00"))
	if c.Recovery.Raw != 4*time.Hour+20*time.Minute || c.Recovery.Net != 3*time.Hour+50*time.Minute || c.Recovery.Paused != 30*time.Minute {
		t.Errorf("raw %v paused %v net %v", c.Recovery.Raw, c.Recovery.Paused, c.Recovery.Net)
	}
	if !c.Recovery.Met || !c.RecoveryDue.Equal(at("13:30")) {
		t.Errorf("met %v, due %v", c.Recovery.Met, c.RecoveryDue)
	}
	strict := DefaultTerms()
	strict.NoPauses = true
	c = strict.Assess(h, at("20:00"))
	if !c.Recovery.Breached || c.Recovery.Net != c.Recovery.Raw || !c.RecoveryDue.Equal(at("13:00")) {
		t.Errorf("without pauses: %+v due %v", c.Recovery, c.RecoveryDue)
	}
	waiting := DefaultTerms().Assess(h, at("10:00"))
	if !waiting.Recovery.Waiting || !waiting.RecoveryDue.Equal(at("13:20")) || !waiting.Next.IsZero() {
		t.Errorf("while waiting: %+v due %v next %v", waiting.Recovery, waiting.RecoveryDue, waiting.Next)
	}
	if r := DefaultTerms().Assess(opened(Urgent, step(Paused, "09:01"), step(Resumed, "09:59")), at("09:30")); !r.ResponseDue.Equal(at("09:10")) {
		t.Errorf("a pause moved the response: %v", r.ResponseDue)
	}
}

func TestStart(t *testing.T) {
	h := History{FaultStart: at("08:50"), Detected: at("09:00"), Reported: at("08:55")}
	strict := DefaultTerms()
	strict.StartAtFault = true
	if got := DefaultTerms().Start(h); !got.Equal(at("08:55")) {
		t.Errorf("report before detection: %v", got)
	}
	if got := strict.Start(h); !got.Equal(at("08:50")) {
		t.Errorf("fault start: %v", got)
	}
	if got := DefaultTerms().Start(History{Detected: at("09:00"), Reported: at("09:05")}); !got.Equal(at("09:00")) {
		t.Errorf("detection before report: %v", got)
	}
}

// R11, and what follows from it when the level changes around a missed deadline (§4.4).
func TestGrading(t *testing.T) {
	ack := step(Acknowledged, "09:05")
	for name, c := range map[string]struct {
		h                  History
		now                string
		response, recovery string // due
		breaches           []Breach
	}{
		"escalated unacknowledged":    {opened(General, graded(Urgent, "09:05")), "09:06", "09:15", "13:05", nil},
		"escalated late keeps old":    {opened(General, graded(Urgent, "09:25")), "09:26", "09:30", "13:25", nil},
		"escalated acknowledged":      {opened(General, ack, graded(Urgent, "10:00")), "10:01", "09:30", "14:00", nil},
		"escalated at 6 h keeps 8 h":  {opened(General, ack, graded(Urgent, "15:00")), "15:01", "09:30", "17:00", nil},
		"what is missed is general's": {opened(General, ack, graded(Urgent, "15:00")), "18:00", "09:30", "17:00", []Breach{missed(Recovery, General, "17:00")}},
		"then urgent's own":           {opened(General, ack, graded(Urgent, "15:00")), "19:01", "09:30", "17:00", []Breach{missed(Recovery, General, "17:00"), missed(Recovery, Urgent, "19:00")}},
		"minor to urgent":             {opened(Minor, graded(Urgent, "12:00")), "12:01", "12:10", "16:00", nil},
		"lowered in time":             {opened(Urgent, ack, graded(General, "10:00")), "16:59", "09:10", "17:00", nil},
		"lowered after the miss":      {opened(Urgent, ack, graded(General, "14:00")), "16:00", "09:10", "17:00", []Breach{missed(Recovery, Urgent, "13:00")}},
		"lowered past the lower":      {opened(Urgent, ack, graded(General, "18:00")), "18:00", "09:10", "17:00", []Breach{missed(Recovery, Urgent, "13:00"), missed(Recovery, General, "17:00")}},
		"minor, urgent, general":      {opened(Minor, ack, graded(Urgent, "12:00"), graded(General, "13:00")), "13:01", "", "20:00", nil},
		"general, urgent, minor":      {opened(General, ack, graded(Urgent, "10:00"), graded(Minor, "11:00")), "23:00", "09:30", "", nil},
		"general, minor, general":     {opened(General, ack, graded(Minor, "10:00"), graded(General, "11:00")), "12:00", "09:30", "17:00", nil},
		"extension in time":           {opened(General, ack, extended("16:00", "20:00")), "19:00", "09:30", "20:00", nil},
		"extension too late":          {opened(General, ack, extended("17:00:00.001", "20:00")), "17:30", "09:30", "17:00", []Breach{missed(Recovery, General, "17:00")}},
		"no extension for urgent":     {opened(Urgent, ack, extended("10:00", "20:00")), "10:01", "09:10", "13:00", nil},
		"no extension once escalated": {opened(General, ack, graded(Urgent, "15:00"), extended("16:00", "20:00")), "16:30", "09:30", "17:00", nil},
		"paused after the miss":       {opened(Urgent, ack, step(Paused, "14:00")), "16:00", "09:10", "13:00", []Breach{missed(Recovery, Urgent, "13:00")}},
		"lowered after a pause":       {opened(Urgent, ack, step(Paused, "10:00"), step(Resumed, "11:00"), graded(General, "12:00")), "12:01", "09:10", "18:00", nil},
		"escalated after recovery":    {opened(General, ack, step(Recovered, "16:00"), graded(Urgent, "16:30")), "23:00", "09:30", "17:00", nil},
		"both limits missed":          {opened(General, ack, graded(Urgent, "09:20")), "23:59", "09:30", "13:20", []Breach{missed(Recovery, Urgent, "13:20"), missed(Recovery, General, "17:00")}},
	} {
		t.Run(name, func(t *testing.T) {
			got := DefaultTerms().Assess(c.h, at(c.now))
			checkDue(t, "response", got.ResponseDue, c.response)
			checkDue(t, "recovery", got.RecoveryDue, c.recovery)
			if diff := cmp.Diff(c.breaches, onRecovery(got.Breaches)); diff != "" {
				t.Errorf("breaches (-want +got):\n%s", diff)
			}
		})
	}
}

func checkDue(t *testing.T, clock string, got time.Time, want string) {
	t.Helper()
	if want == "" && !got.IsZero() || want != "" && !got.Equal(at(want)) {
		t.Errorf("%s due %v, want %q", clock, got, want)
	}
}

func onRecovery(bs []Breach) (out []Breach) {
	for _, b := range bs {
		if b.Clock == Recovery {
			out = append(out, b)
		}
	}
	return out
}

func TestAgreedTimeOfMinor(t *testing.T) {
	h := opened(Minor)
	h.Agreed = Limits{Recover: 2 * time.Hour}
	c := DefaultTerms().Assess(h, at("11:00:00.001"))
	if diff := cmp.Diff([]Breach{missed(Recovery, Minor, "11:00")}, c.Breaches); diff != "" || !c.ResponseDue.IsZero() {
		t.Errorf("response due %v, breaches:\n%s", c.ResponseDue, diff)
	}
}

// Verification costs nothing, and a relapse lets the clock go on from its start as if it had never stopped (R5, R9).
func TestRecovery(t *testing.T) {
	good := opened(Urgent, step(Acknowledged, "09:01"), step(Good, "12:59"))
	c := DefaultTerms().Assess(good, at("13:05"))
	if !c.Recovery.Open || !c.Recovery.Verifying || c.Recovery.Breached || c.Recovery.Met || !c.Next.IsZero() {
		t.Errorf("verifying: %+v, next %v", c.Recovery, c.Next)
	}
	held := opened(Urgent, step(Acknowledged, "09:01"), step(Recovered, "12:59"))
	c = DefaultTerms().Assess(held, at("13:10"))
	if !c.Recovery.Met || c.Recovery.Raw != 3*time.Hour+59*time.Minute {
		t.Errorf("recovered: %+v", c.Recovery)
	}
	held.Steps = append(held.Steps, step(Failing, "13:20"))
	c = DefaultTerms().Assess(held, at("13:20"))
	if !c.Recovery.Open || !c.Recovery.Breached || c.Recovery.Raw != 4*time.Hour+20*time.Minute {
		t.Errorf("relapsed: %+v", c.Recovery)
	}
}

func TestTermsValidate(t *testing.T) {
	var paths []string
	fail := func(path, _ string, _ ...any) { paths = append(paths, path) }
	DefaultTerms().Validate(fail)
	if paths != nil {
		t.Errorf("defaults: %v", paths)
	}
	bad := DefaultTerms()
	bad.Urgent.Respond, bad.General.Recover, bad.Verify, bad.Samples = 0, -time.Hour, -1, MaxSamples+1
	bad.Minor = Limits{Respond: time.Hour, Recover: time.Minute}
	bad.Validate(fail)
	slices.Sort(paths)
	if diff := cmp.Diff([]string{"general.recover", "minor.respond", "urgent", "urgent.respond", "verify", "verify_samples"}, paths); diff != "" {
		t.Error(diff)
	}
}

// histories draws any history with its steps in any order.
func histories(t *rapid.T) History {
	moment := rapid.Custom(func(t *rapid.T) time.Time {
		return nine.Add(time.Duration(rapid.IntRange(0, 20*3600).Draw(t, "s")) * time.Second)
	})
	h := History{Detected: nine, FaultStart: nine.Add(-time.Minute), Level: rapid.SampledFrom(Levels).Draw(t, "level")}
	kinds := []StepKind{Graded, Acknowledged, Good, Recovered, Failing, Paused, Resumed, Extended}
	for range rapid.IntRange(0, 8).Draw(t, "steps") {
		h.Steps = append(h.Steps, Step{
			Kind: rapid.SampledFrom(kinds).Draw(t, "kind"), At: moment.Draw(t, "at"),
			Level: rapid.SampledFrom(Levels).Draw(t, "to"), Until: moment.Draw(t, "until"),
		})
	}
	return h
}

// While nothing happens, clocks only run forward and no breach is taken back.
func TestMonotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := histories(t)
		quiet := nine
		for _, s := range h.Steps {
			quiet = later(quiet, s.At)
		}
		one := quiet.Add(time.Duration(rapid.IntRange(0, 10*3600).Draw(t, "first")) * time.Second)
		two := one.Add(time.Duration(rapid.IntRange(0, 10*3600).Draw(t, "second")) * time.Second)
		terms := DefaultTerms()
		a, b := terms.Assess(h, one), terms.Assess(h, two)
		if b.Response.Elapsed < a.Response.Elapsed || b.Recovery.Raw < a.Recovery.Raw || b.Recovery.Net < a.Recovery.Net || b.Recovery.Paused < a.Recovery.Paused {
			t.Fatalf("a clock ran back: %+v then %+v", a, b)
		}
		for _, br := range a.Breaches {
			if !slices.Contains(b.Breaches, br) {
				t.Fatalf("breach %+v was taken back", br)
			}
		}
		if a.Next.After(one) && a.Next.Before(two) && len(b.Breaches) == len(a.Breaches) {
			t.Fatalf("next breach at %v did not come by %v", a.Next, two)
		}
		if !a.Next.IsZero() && len(terms.Assess(h, a.Next).Breaches) != len(a.Breaches) {
			t.Fatalf("a breach came before it was next")
		}
	})
}

// The order in which facts are stored does not matter, nor when or how often one asks, nor where the day begins.
func TestPureFunction(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, terms := histories(t), DefaultTerms()
		now := nine.Add(time.Duration(rapid.IntRange(0, 30*3600).Draw(t, "now")) * time.Second)
		want := terms.Assess(h, now)
		stored := slices.Clone(h.Steps)
		slices.SortStableFunc(h.Steps, func(a, b Step) int { return a.At.Compare(b.At) })
		if got := terms.Assess(h, now); !cmp.Equal(got, want) {
			t.Fatalf("sorted: %+v, want %+v", got, want)
		}
		h.Steps = slices.Clone(stored)
		terms.Assess(h, now.Add(time.Hour))
		if !cmp.Equal(stored, h.Steps) {
			t.Fatal("asking changed the history")
		}
		shift := time.Duration(rapid.Int64Range(-1e15, 1e15).Draw(t, "shift"))
		moved := History{Detected: h.Detected.Add(shift), FaultStart: h.FaultStart.Add(shift), Level: h.Level}
		for _, s := range h.Steps {
			moved.Steps = append(moved.Steps, Step{s.Kind, s.At.Add(shift), s.Level, s.Until.Add(shift), s.Reason})
		}
		got := terms.Assess(moved, now.Add(shift))
		if got.Response != want.Response || got.Recovery != want.Recovery || len(got.Breaches) != len(want.Breaches) {
			t.Fatalf("moved by %v: %+v, want %+v", shift, got, want)
		}
	})
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// An urgent fault that was general while its urgent deadline passed, and becomes urgent again during a pause, has missed
// that deadline at its own time, however late one asks.
func TestLevelComesBackInAPause(t *testing.T) {
	h := History{Detected: nine, FaultStart: nine, Level: Urgent, Steps: []Step{
		{Kind: Graded, At: nine, Level: General},
		{Kind: Paused, At: nine.Add(4*time.Hour + time.Second)},
		{Kind: Graded, At: nine.Add(4*time.Hour + time.Second), Level: Urgent},
	}}
	want := Breach{Recovery, Urgent, nine.Add(4 * time.Hour)}
	for _, later := range []time.Duration{time.Second, 2 * time.Second, time.Hour} {
		c := DefaultTerms().Assess(h, nine.Add(4*time.Hour+later))
		if !slices.Contains(c.Breaches, want) {
			t.Errorf("asked %v after the deadline: %+v", later, c.Breaches)
		}
	}
}

// While another incident stands for the fault both clocks stand, whatever the terms say of pauses.
func TestJoined(t *testing.T) {
	terms := DefaultTerms()
	terms.NoPauses = true
	h := opened(Urgent, step(Joined, "09:05"))
	if c := terms.Assess(h, at("23:00")); len(c.Breaches) != 0 || !c.Next.IsZero() || c.Response.Elapsed != 5*time.Minute || c.Recovery.Raw != 5*time.Minute {
		t.Errorf("while joined: %+v", c)
	}
	h.Steps = append(h.Steps, step(Left, "11:00"))
	c := terms.Assess(h, at("11:05"))
	if len(c.Breaches) != 0 || !c.ResponseDue.Equal(at("11:05")) || !c.RecoveryDue.Equal(at("14:55")) || c.Recovery.Net != 10*time.Minute {
		t.Errorf("on its own again: %+v", c)
	}
	if c := terms.Assess(h, at("11:06")); len(c.Breaches) != 1 || !c.Breaches[0].At.Equal(at("11:05")) {
		t.Errorf("late: %+v", c.Breaches)
	}
}

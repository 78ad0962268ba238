package contract

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// outlook is the forecast of one clock, or the zero one.
func outlook(t *testing.T, terms Terms, h History, clock ClockName, now string, typical time.Duration) Outlook {
	t.Helper()
	for _, o := range terms.Forecast(h, at(now), typical) {
		if o.Clock == clock {
			return o
		}
	}
	return Outlook{}
}

func warnings(l Level, c ClockName, due string, at2 ...any) (out []Warning) {
	for i := 0; i < len(at2); i += 2 {
		out = append(out, Warning{c, l, at2[i].(int), at(at2[i+1].(string)), at(due)})
	}
	return out
}

// The warnings of R13: half and four fifths of the response, half, three quarters, nine tenths and all of the recovery.
func TestWarnings(t *testing.T) {
	ack := step(Acknowledged, "09:05")
	for name, c := range map[string]struct {
		h     History
		clock ClockName
		now   string
		want  []Warning
	}{
		"urgent response":  {opened(Urgent), Response, "09:01", warnings(Urgent, Response, "09:10", 50, "09:05", 80, "09:08", 100, "09:10")},
		"general response": {opened(General), Response, "09:01", warnings(General, Response, "09:30", 50, "09:15", 80, "09:24", 100, "09:30")},
		"answered":         {opened(Urgent, ack), Response, "09:06", nil},
		"urgent recovery":  {opened(Urgent, ack), Recovery, "09:06", warnings(Urgent, Recovery, "13:00", 50, "11:00", 75, "12:00", 90, "12:36", 100, "13:00")},
		"passed long ago":  {opened(Urgent, ack), Recovery, "20:00", warnings(Urgent, Recovery, "13:00", 50, "11:00", 75, "12:00", 90, "12:36", 100, "13:00")},
		"after a pause": {
			opened(Urgent, ack, step(Paused, "11:30"), step(Resumed, "12:00")), Recovery, "12:01",
			warnings(Urgent, Recovery, "13:30", 50, "11:00", 75, "12:30", 90, "13:06", 100, "13:30"),
		},
		"while it stands": {opened(Urgent, ack, step(Paused, "11:30")), Recovery, "12:00", warnings(Urgent, Recovery, "13:30", 50, "11:00")},
		"verifying":       {opened(Urgent, ack, step(Good, "11:30")), Recovery, "11:35", warnings(Urgent, Recovery, "13:00", 50, "11:00")},
		"extended": {
			opened(General, ack, extended("14:00", "21:00")), Recovery, "14:00",
			warnings(General, Recovery, "21:00", 50, "15:00", 75, "18:00", 90, "19:48", 100, "21:00"),
		},
		"escalated": {
			opened(General, ack, graded(Urgent, "10:00")), Recovery, "10:00",
			warnings(Urgent, Recovery, "14:00", 50, "12:00", 75, "13:00", 90, "13:36", 100, "14:00"),
		},
		"recovered":          {opened(Urgent, ack, step(Recovered, "10:00")), Recovery, "10:30", nil},
		"minor has no limit": {opened(Minor), Recovery, "10:30", nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := outlook(t, DefaultTerms(), c.h, c.clock, c.now, 0).Warnings
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOutlook(t *testing.T) {
	h := opened(Urgent, step(Acknowledged, "09:30"), step(Paused, "10:00"), step(Resumed, "10:30"))
	want := Outlook{Clock: Recovery, Level: Urgent, Due: at("13:30"), Allowed: 4 * time.Hour, Used: 90 * time.Minute, Left: 150 * time.Minute}
	got := outlook(t, DefaultTerms(), h, Recovery, "11:00", 0)
	got.Warnings = nil
	if diff := cmp.Diff(want, got); diff != "" || got.Share() != 0.375 {
		t.Errorf("share %v, outlook (-want +got):\n%s", got.Share(), diff)
	}
	late := outlook(t, DefaultTerms(), opened(Urgent, step(Acknowledged, "09:30")), Recovery, "14:00", 0)
	if !late.Breached || late.AtRisk || late.Left != -time.Hour || !late.Due.Equal(at("13:00")) {
		t.Errorf("missed: %+v", late)
	}
	next, ok := NextWarning(DefaultTerms().Forecast(h, at("11:00"), 0), at("11:00"))
	if !ok || next.Share != 50 || !next.At.Equal(at("11:30")) {
		t.Errorf("next warning %+v, %v", next, ok)
	}
	if next, ok := NextWarning(DefaultTerms().Forecast(h, at("23:00"), 0), at("23:00")); ok {
		t.Errorf("a warning after the last: %+v", next)
	}
}

// A recovery is at risk when similar ones take longer from here than there is time, or three quarters of it are gone.
func TestAtRisk(t *testing.T) {
	taken := opened(Urgent, step(Acknowledged, "09:30"))
	for name, c := range map[string]struct {
		h       History
		now     string
		typical time.Duration
		want    bool
	}{
		"nothing to compare with":         {taken, "11:00", 0, false},
		"nothing, three quarters gone":    {taken, "12:00", 0, true},
		"similar ones take longer":        {taken, "10:00", 5 * time.Hour, true},
		"similar ones are done in time":   {taken, "10:00", 3 * time.Hour, false},
		"begun late, still in time":       {opened(Urgent, step(Acknowledged, "10:30")), "11:00", 150 * time.Minute, false},
		"begun too late":                  {opened(Urgent, step(Acknowledged, "10:31")), "11:00", 150 * time.Minute, true},
		"not begun while it would take":   {opened(Urgent), "11:01", 2 * time.Hour, true},
		"missed is no risk any more":      {taken, "13:01", 5 * time.Hour, false},
		"a pause gives the work its time": {opened(Urgent, step(Acknowledged, "09:30"), step(Paused, "10:00"), step(Resumed, "12:30")), "12:31", 3 * time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := outlook(t, DefaultTerms(), c.h, Recovery, c.now, c.typical); got.AtRisk != c.want {
				t.Errorf("at risk %v: %+v", got.AtRisk, got)
			}
		})
	}
	if o := outlook(t, DefaultTerms(), opened(Urgent), Response, "09:07:59", 0); o.AtRisk {
		t.Error("response at risk too early")
	}
	if o := outlook(t, DefaultTerms(), opened(Urgent), Response, "09:08", 0); !o.AtRisk {
		t.Error("response not at risk")
	}
}

// A general fault becomes urgent at its missed deadline, where the terms say so (R11).
func TestOverdue(t *testing.T) {
	ack := step(Acknowledged, "09:05")
	off := DefaultTerms()
	off.EscalateOverdue = false
	for name, c := range map[string]struct {
		terms Terms
		h     History
		now   string
		want  string
	}{
		"in time":           {DefaultTerms(), opened(General, ack), "17:00", ""},
		"missed":            {DefaultTerms(), opened(General, ack), "17:00:00.001", "17:00"},
		"asked late":        {DefaultTerms(), opened(General, ack), "23:00", "17:00"},
		"extended":          {DefaultTerms(), opened(General, ack, extended("16:00", "20:00")), "19:00", ""},
		"switched off":      {off, opened(General, ack), "23:00", ""},
		"already urgent":    {DefaultTerms(), opened(General, ack, graded(Urgent, "10:00")), "23:00", ""},
		"was urgent before": {DefaultTerms(), opened(Urgent, ack, graded(General, "10:00")), "23:00", ""},
		"recovered":         {DefaultTerms(), opened(General, ack, step(Recovered, "16:00")), "23:00", ""},
		"recovered late":    {DefaultTerms(), opened(General, ack, step(Recovered, "18:00")), "23:00", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := c.terms.Overdue(c.h, at(c.now))
			if ok != (c.want != "") || ok && !got.Equal(at(c.want)) {
				t.Errorf("%v %v, want %q", got, ok, c.want)
			}
		})
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		of   []time.Duration
		want time.Duration
	}{{nil, 0}, {[]time.Duration{7}, 7}, {[]time.Duration{9, 1, 5}, 5}, {[]time.Duration{8, 2, 4, 6}, 5}} {
		if got := Median(c.of); got != c.want {
			t.Errorf("median of %v: %v", c.of, got)
		}
	}
}

package report

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseMonth(t *testing.T) {
	now := at(t, "2026-11-23 10:00:00")
	good := func(in, from, to string) {
		t.Helper()
		m, err := ParseMonth(in, now, shanghai)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			return
		}
		if m.From() != at(t, from) || m.To() != at(t, to) || m.String() != in {
			t.Errorf("%s: %v to %v", in, m.From(), m.To())
		}
	}
	good("2026-11", "2026-11-01 00:00:00", "2026-12-01 00:00:00")
	good("2025-12", "2025-12-01 00:00:00", "2026-01-01 00:00:00")
	good("2024-02", "2024-02-01 00:00:00", "2024-03-01 00:00:00")
	bad := func(in, why string) {
		t.Helper()
		if _, err := ParseMonth(in, now, shanghai); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: error %v, want one with %q", in, err, why)
		}
	}
	bad("2026-12", "has not begun")
	bad("2026-13", "as in 2026-11")
	bad("2026-1", "as in 2026-11")
	bad("2026-11-01", "as in 2026-11")
	bad(" 2026-11", "as in 2026-11")
	bad("２０２６-11", "as in 2026-11")
	bad("", "as in 2026-11")
	bad("0001-01", "before 2000")
}

// The month of people starts eight hours before that of the records' clock.
func TestMonthEdges(t *testing.T) {
	edge := time.Date(2026, 10, 31, 16, 0, 0, 0, time.UTC)
	m := MonthOf(edge, shanghai)
	if m.String() != "2026-11" || !m.Has(edge) || m.Has(edge.Add(-time.Millisecond)) {
		t.Errorf("%v: month %s", edge, m)
	}
	if m.Has(m.To()) || !m.Has(m.To().Add(-time.Nanosecond)) {
		t.Error("the month's end belongs to it")
	}
	if p := MonthOf(time.Date(2026, 1, 15, 0, 0, 0, 0, time.UTC), shanghai).Previous(); p.String() != "2025-12" {
		t.Errorf("before January: %s", p)
	}
	if _, err := ParseMonth("2026-11", edge.Add(-time.Second), shanghai); err == nil {
		t.Error("November accepted while it is October in Shanghai")
	}
	if _, err := ParseMonth("2026-11", edge, shanghai); err != nil {
		t.Error(err)
	}
}

// Months tile time without gap or overlap: through the years in which China had summer time, leap days, and 30 years to
// come, in the zone of the contract and in others. Each second lies in exactly one month, whatever the host's own zone.
func TestMonthsTile(t *testing.T) {
	for _, zone := range []string{"Asia/Shanghai", "UTC", "America/New_York", "Europe/Berlin"} {
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		var months []Month
		for m := MonthOf(time.Date(1985, 1, 15, 0, 0, 0, 0, loc), loc); m.Year < 2057; m = MonthOf(m.To(), loc) {
			if n := len(months); n > 0 && (!months[n-1].To().Equal(m.From()) || m.Previous() != months[n-1]) {
				t.Fatalf("%s: %s ends %v, %s begins %v", zone, months[n-1], months[n-1].To(), m, m.From())
			}
			if d := m.To().Sub(m.From()); d < 28*24*time.Hour-time.Hour || d > 31*24*time.Hour+time.Hour || m.From().Day() != 1 {
				t.Fatalf("%s: %s lasts %v", zone, m, d)
			}
			months = append(months, m)
		}
		if len(months) != 72*12 {
			t.Fatalf("%s: %d months", zone, len(months))
		}
		rapid.Check(t, func(t *rapid.T) {
			at := time.Unix(rapid.Int64Range(months[0].From().Unix(), months[len(months)-1].To().Unix()-1).Draw(t, "second"), 0)
			if rapid.Bool().Draw(t, "edge") { // the second before a month begins, and its first
				at = rapid.SampledFrom(months[1:]).Draw(t, "month").From().Add(time.Duration(rapid.IntRange(-1, 0).Draw(t, "s")) * time.Second)
			}
			in := 0
			for _, m := range months {
				if m.Has(at) {
					in++
					if m != MonthOf(at, loc) {
						t.Fatalf("%v is in %s and of %s", at, m, MonthOf(at, loc))
					}
				}
			}
			if in != 1 {
				t.Fatalf("%v is in %d months", at, in)
			}
		})
	}
}

func FuzzParseMonth(f *testing.F) {
	for _, s := range []string{"2026-11", "2026-00", "99999-01", "2026-11 ", "", "2000-01", "-1-01"} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMonth(s, now, shanghai)
		if err != nil {
			return
		}
		if m.String() != s || m.From().After(now) || !m.From().Before(m.To()) || m.Year < firstYear {
			t.Errorf("%q was taken as %s", s, m)
		}
	})
}

func TestConfigFaults(t *testing.T) {
	faults := func(change func(*Config)) (paths []string) {
		c := DefaultConfig()
		change(&c)
		c.Validate(func(path, _ string, _ ...any) { paths = append(paths, path) })
		return paths
	}
	if got := faults(func(*Config) {}); got != nil {
		t.Errorf("defaults are faulty: %v", got)
	}
	want := func(path string, change func(*Config)) {
		t.Helper()
		if got := faults(change); len(got) != 1 || got[0] != path {
			t.Errorf("faults %v, want %s", got, path)
		}
	}
	want("project", func(c *Config) { c.Project = strings.Repeat("长", maxName+1) })
	want("target", func(c *Config) { c.Target = 99.9 })
	want("gap_limit", func(c *Config) { c.GapLimit = -1 })
	want("confirm", func(c *Config) { c.Confirm = 0 })
	want("hold", func(c *Config) { c.Hold = 0 })
	window := Planned{From: at(t, "2026-11-28 22:00:00"), To: at(t, "2026-11-29 02:00:00"), Reason: "升级"}
	want("planned[0]", func(c *Config) { w := window; w.To = w.From; c.Planned = []Planned{w} })
	want("planned[0].to", func(c *Config) { w := window; w.To = w.From.AddDate(0, 1, 0); c.Planned = []Planned{w} })
	want("planned[0].reason", func(c *Config) { w := window; w.Reason = " "; c.Planned = []Planned{w} })
}

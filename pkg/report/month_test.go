package report

import (
	"strings"
	"testing"
	"time"

	"xunjian/pkg/contract"
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
	want("office_hours", func(c *Config) { c.OfficeHours = nil })
	want("office_hours", func(c *Config) { c.OfficeHours = contract.Hours{"12:00-08:00"} })
	want("office_hours", func(c *Config) { c.OfficeHours = contract.Hours{"08:00-12:00", "11:00-17:00"} })
	want("office_hours", func(c *Config) { c.OfficeHours = contract.Hours{"8-12"} })
	window := Planned{From: at(t, "2026-11-28 22:00:00"), To: at(t, "2026-11-29 02:00:00"), Reason: "升级"}
	want("planned[0]", func(c *Config) { w := window; w.To = w.From; c.Planned = []Planned{w} })
	want("planned[0].to", func(c *Config) { w := window; w.To = w.From.AddDate(0, 1, 0); c.Planned = []Planned{w} })
	want("planned[0].reason", func(c *Config) { w := window; w.Reason = " "; c.Planned = []Planned{w} })
	want("summer_from", func(c *Config) {
		c.SummerHours, c.SummerFrom, c.SummerTo = contract.Hours{"08:00-12:00"}, "02-30", "09-30"
	})
	want("summer_to", func(c *Config) {
		c.SummerHours, c.SummerFrom, c.SummerTo = contract.Hours{"08:00-12:00"}, "09-30", "06-01"
	})
}

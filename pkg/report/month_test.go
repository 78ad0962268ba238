package report

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"
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

func TestCalendar(t *testing.T) {
	c, err := LoadCalendar(shanghai)
	if err != nil {
		t.Fatal(err)
	}
	days := 0
	for d := at(t, "2026-01-01 12:00:00"); d.Year() == 2026; d = d.AddDate(0, 0, 1) {
		work, known := c.Workday(d)
		if !known {
			t.Fatalf("%v is not known", d)
		}
		if work {
			days++
		}
	}
	if days != 248 {
		t.Errorf("2026 has %d working days, want 248", days)
	}
	is := func(day string, want bool) {
		t.Helper()
		if work, _ := c.Workday(at(t, day+" 09:00:00")); work != want {
			t.Errorf("%s: working %v, want %v", day, work, want)
		}
	}
	is("2026-10-01", false) // holiday on a Thursday
	is("2026-10-10", true)  // Saturday made up
	is("2026-09-20", true)  // Sunday made up
	is("2026-02-23", false)
	is("2026-02-24", true)
	is("2026-11-21", false)
	if _, known := c.Workday(at(t, "2027-01-04 09:00:00")); known {
		t.Error("2027 has no notice and is said to be known")
	}
}

func TestCalendarFolder(t *testing.T) {
	over := fstest.MapFS{"2027.json": {Data: []byte(`{"year":2027,"days":[{"name":"元旦","date":"2027-01-01","isOffDay":true},{"name":"元旦","date":"2026-12-26","isOffDay":true}]}`)}}
	c, err := LoadCalendar(shanghai, over)
	if err != nil {
		t.Fatal(err)
	}
	if work, known := c.Workday(at(t, "2027-01-01 00:00:00")); work || !known {
		t.Error("the folder's notice is not heard")
	}
	if work, _ := c.Workday(at(t, "2026-12-26 00:00:00")); work {
		t.Error("a notice rules days of the December before")
	}
	for name, body := range map[string]string{
		"no json":       `{`,
		"wrong year":    `{"year":2027,"days":[{"date":"2029-01-01","isOffDay":true}]}`,
		"no date":       `{"year":2027,"days":[{"date":"soon","isOffDay":true}]}`,
		"far too large": strings.Repeat(" ", maxNotice+1),
	} {
		if _, err := LoadCalendar(shanghai, fstest.MapFS{"x.json": {Data: []byte(body)}}); err == nil || !strings.Contains(err.Error(), "x.json") {
			t.Errorf("%s: error %v does not name the file", name, err)
		}
	}
}

func TestOfficeHours(t *testing.T) {
	c, err := LoadCalendar(shanghai)
	if err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.SummerHours, cfg.SummerFrom, cfg.SummerTo = Hours{"08:00-12:00", "15:00-18:00"}, "06-15", "09-30"
	spans, known, err := c.office(MonthOf(at(t, "2026-06-10 00:00:00"), shanghai), cfg)
	if err != nil || !known {
		t.Fatal(err, known)
	}
	// June 2026: 22 weekdays less Friday the 19th (端午节).
	if len(spans) != 42 {
		t.Errorf("%d spans, want 42", len(spans))
	}
	if got := time.UnixMilli(spans[1].from).In(shanghai).Format(time.DateTime); got != "2026-06-01 14:30:00" {
		t.Errorf("first afternoon starts at %s", got)
	}
	if got := time.UnixMilli(spans[41].to).In(shanghai).Format(time.DateTime); got != "2026-06-30 18:00:00" {
		t.Errorf("last summer afternoon ends at %s", got)
	}
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
	want("office_hours", func(c *Config) { c.OfficeHours = Hours{"12:00-08:00"} })
	want("office_hours", func(c *Config) { c.OfficeHours = Hours{"08:00-12:00", "11:00-17:00"} })
	want("office_hours", func(c *Config) { c.OfficeHours = Hours{"8-12"} })
	want("summer_from", func(c *Config) { c.SummerHours, c.SummerFrom, c.SummerTo = Hours{"08:00-12:00"}, "02-30", "09-30" })
	want("summer_to", func(c *Config) { c.SummerHours, c.SummerFrom, c.SummerTo = Hours{"08:00-12:00"}, "09-30", "06-01" })
}

// A notice that somebody wrote either loads or is refused; it never breaks the question that follows.
func FuzzNotice(f *testing.F) {
	f.Add([]byte(`{"year":2027,"days":[{"name":"元旦","date":"2027-01-01","isOffDay":true}]}`))
	f.Add([]byte(`{"year":-1,"days":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &Calendar{off: map[string]bool{}, years: map[int]bool{}, loc: shanghai}
		if err := c.add(b); err != nil {
			return
		}
		for day := range c.off {
			d, err := time.ParseInLocation(time.DateOnly, day, shanghai)
			if err != nil {
				t.Errorf("day %q was taken", day)
			}
			if work, _ := c.Workday(d); work == c.off[day] {
				t.Errorf("%s: working %v against its notice", day, work)
			}
		}
	})
}

// Office hours that are taken are in order and within a day.
func FuzzHours(f *testing.F) {
	for _, s := range []string{"08:00-12:00", "14:30-24:00", "-", "8-9", "12:00-11:00"} {
		f.Add(s, "14:30-17:30")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		spans, err := Hours{a, b}.spans()
		last := time.Duration(0)
		for _, s := range spans {
			if s.from < last || s.to <= s.from || s.to > 24*time.Hour {
				t.Errorf("%q, %q: %v", a, b, spans)
			}
			last = s.to
		}
		if err == nil && len(spans) != 2 {
			t.Errorf("%d spans of two", len(spans))
		}
	})
}

package contract

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

var shanghai = time.FixedZone("Asia/Shanghai", 8*3600)

// moment reads a moment in Shanghai.
func moment(t testing.TB, s string) time.Time {
	t.Helper()
	out, err := time.ParseInLocation(time.DateTime, s, shanghai)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestCalendar(t *testing.T) {
	c, err := LoadCalendar(shanghai)
	if err != nil {
		t.Fatal(err)
	}
	days := 0
	for d := moment(t, "2026-01-01 12:00:00"); d.Year() == 2026; d = d.AddDate(0, 0, 1) {
		work, known := c.Workday(d)
		if !known && d.Month() != time.December {
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
		if work, _ := c.Workday(moment(t, day+" 09:00:00")); work != want {
			t.Errorf("%s: working %v, want %v", day, work, want)
		}
	}
	is("2026-10-01", false) // holiday on a Thursday
	is("2026-10-10", true)  // Saturday made up
	is("2026-09-20", true)  // Sunday made up
	is("2026-02-23", false)
	is("2026-02-24", true)
	is("2026-11-21", false)
	for day, want := range map[string]bool{"2025-12-31": true, "2026-12-25": true, "2026-12-26": false, "2026-12-31": false, "2027-01-04": false} {
		if _, known := c.Workday(moment(t, day+" 23:59:59")); known != want {
			t.Errorf("%s: known %v, while there is no notice of 2027", day, known)
		}
	}
}

func TestCalendarFolder(t *testing.T) {
	over := fstest.MapFS{"2027.json": {Data: []byte(`{"year":2027,"days":[{"name":"元旦","date":"2027-01-01","isOffDay":true},{"name":"元旦","date":"2026-12-26","isOffDay":true}]}`)}}
	c, err := LoadCalendar(shanghai, over)
	if err != nil {
		t.Fatal(err)
	}
	if work, known := c.Workday(moment(t, "2027-01-01 00:00:00")); work || !known {
		t.Error("the folder's notice is not heard")
	}
	if work, _ := c.Workday(moment(t, "2026-12-26 00:00:00")); work {
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
	office := Office{
		Hours: Hours{"08:00-12:00", "14:30-17:30"}, Summer: Hours{"08:00-12:00", "15:00-18:00"}, SummerFrom: "06-15", SummerTo: "09-30",
	}
	spans, known, err := office.Spans(c, moment(t, "2026-06-01 00:00:00"), moment(t, "2026-07-01 00:00:00"))
	if err != nil || !known {
		t.Fatal(err, known)
	}
	// June 2026: 22 weekdays less Friday the 19th (端午节).
	if len(spans) != 42 {
		t.Errorf("%d spans, want 42", len(spans))
	}
	if got := time.UnixMilli(spans[1].From).In(shanghai).Format(time.DateTime); got != "2026-06-01 14:30:00" {
		t.Errorf("first afternoon starts at %s", got)
	}
	if got := time.UnixMilli(spans[41].To).In(shanghai).Format(time.DateTime); got != "2026-06-30 18:00:00" {
		t.Errorf("last summer afternoon ends at %s", got)
	}
	// A day of which only a part has passed.
	spans, _, err = office.Spans(c, moment(t, "2026-06-02 00:00:00"), moment(t, "2026-06-02 15:00:00"))
	if want := []Span{{moment(t, "2026-06-02 08:00:00").UnixMilli(), moment(t, "2026-06-02 12:00:00").UnixMilli()}, {moment(t, "2026-06-02 14:30:00").UnixMilli(), moment(t, "2026-06-02 15:00:00").UnixMilli()}}; err != nil || !slices.Equal(spans, want) {
		t.Errorf("half a day: %v, want %v (%v)", spans, want, err)
	}
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
		spans, err := Hours{a, b}.parse()
		last := 0
		for _, s := range spans {
			if s.from.minutes() < last || s.to.minutes() <= s.from.minutes() || s.to.minutes() > 24*60 {
				t.Errorf("%q, %q: %v", a, b, spans)
			}
			last = s.to.minutes()
		}
		if err == nil && len(spans) != 2 {
			t.Errorf("%d spans of two", len(spans))
		}
	})
}

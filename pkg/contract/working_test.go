package contract

import (
	"testing"
	"time"

	"github.com/6tail/lunar-go/HolidayUtil"
	"pgregory.net/rapid"
)

func calendar(t testing.TB) *Calendar {
	t.Helper()
	c, err := LoadCalendar(shanghai)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var office = Office{Hours: Hours{"08:00-12:00", "14:30-17:30"}, Summer: Hours{"08:00-12:00", "15:00-18:00"}, SummerFrom: "06-15", SummerTo: "09-30"}

func working(t testing.TB, at string) *Working {
	t.Helper()
	o := office
	o.Summer = nil
	return calendar(t).Working(o, moment(t, at))
}

// Every day of the years that come with the program is what an independent table says, and so is what an incident keeps.
func TestNotices(t *testing.T) {
	c := calendar(t)
	guessed := moment(t, "2026-12-26 00:00:00") // no notice of 2027
	for d := moment(t, "2024-01-01 12:00:00"); d.Year() < 2027; d = d.AddDate(0, 0, 1) {
		want := d.Weekday() != time.Saturday && d.Weekday() != time.Sunday
		if h := HolidayUtil.GetHoliday(d.Format(time.DateOnly)); h != nil {
			want = h.IsWork()
		}
		if got, known := c.Workday(d); got != want || known != d.Before(guessed) {
			t.Errorf("%s: working %v, known %v, want %v", d.Format(time.DateOnly), got, known, want)
		}
		if got, known := c.Working(office, d).Workday(d); got != want || known != d.Before(guessed) {
			t.Errorf("%s: an incident of the day keeps working %v, known %v, want %v", d.Format(time.DateOnly), got, known, want)
		}
	}
}

// No notice of the last quarter of a century has ruled a December day that is taken for known without it.
func TestYearEnd(t *testing.T) {
	first := 32
	for d := moment(t, "2001-12-01 12:00:00"); d.Year() < 2026; d = d.AddDate(0, 0, 1) {
		if d.Month() == time.December && HolidayUtil.GetHoliday(d.Format(time.DateOnly)) != nil {
			t.Log(d.Format(time.DateOnly))
			first = min(first, d.Day())
		}
	}
	if first < yearEnd || first > 31 {
		t.Errorf("the first day that was ruled is %d December", first)
	}
}

// The sums of a man with a calendar in his hand.
func TestAdd(t *testing.T) {
	for _, c := range []struct {
		from string
		d    time.Duration
		want string
	}{
		{"2026-09-30 17:00:00", 4 * time.Hour, "2026-10-08 11:30:00"},
		{"2026-10-09 17:30:00", time.Hour, "2026-10-10 09:00:00"}, // the Saturday is made up
		{"2026-11-23 09:00:00", 3 * time.Hour, "2026-11-23 12:00:00"},
		{"2026-11-23 09:00:00", 3*time.Hour + time.Nanosecond, "2026-11-23 14:30:00.000000001"},
		{"2026-11-23 13:00:00", 0, "2026-11-23 13:00:00"},
		{"2026-11-27 17:00:00", time.Hour, "2026-11-30 08:30:00"},
		{"2026-02-13 17:30:00", 7 * time.Hour, "2026-02-14 17:30:00"}, // before the long holiday, a worked Saturday
		{"2026-02-14 17:30:00", time.Minute, "2026-02-24 08:01:00"},
	} {
		w := working(t, c.from)
		from, want := moment(t, c.from), c.want
		got := w.Add(from, c.d)
		if got.In(shanghai).Format("2006-01-02 15:04:05.999999999") != want {
			t.Errorf("%s + %v = %v, want %s", c.from, c.d, got.In(shanghai), want)
		}
		if back := w.Between(from, got); back != c.d {
			t.Errorf("between %s and %v: %v, want %v", c.from, got, back, c.d)
		}
	}
}

// Three working days after a Friday end with the Wednesday after it; the day itself does not count.
func TestDays(t *testing.T) {
	for _, c := range []struct {
		from string
		n    int
		want string
	}{
		{"2026-11-27 09:00:00", 3, "2026-12-03 00:00:00"},
		{"2026-11-28 23:59:59", 1, "2026-12-01 00:00:00"},
		{"2026-09-30 08:00:00", 3, "2026-10-11 00:00:00"}, // 8th, 9th and the worked Saturday
		{"2026-11-30 10:00:00", 15, "2026-12-22 00:00:00"},
	} {
		if got := working(t, c.from).Days(moment(t, c.from), c.n); !got.Equal(moment(t, c.want)) {
			t.Errorf("%d working days after %s: %v, want %s", c.n, c.from, got.In(shanghai), c.want)
		}
	}
	terms := DefaultTerms()
	if _, ok := terms.ConfirmedBy(nine); ok {
		t.Error("confirmed without a calendar")
	}
	terms.Working = working(t, "2026-11-27 09:00:00")
	if by, ok := terms.ConfirmedBy(moment(t, "2026-11-27 09:00:00")); !ok || !by.Equal(moment(t, "2026-12-03 00:00:00")) {
		t.Errorf("confirmed by %v, %v", by, ok)
	}
	if terms.ConfirmDays = 0; true {
		if _, ok := terms.ConfirmedBy(nine); ok {
			t.Error("confirmed by itself although the terms say never")
		}
	}
}

// Without any hours nothing ever passes, and asking for it ends.
func TestNoHours(t *testing.T) {
	w := calendar(t).Working(Office{}, nine)
	if got := w.Add(nine, time.Hour); got.Before(nine.AddDate(9, 0, 0)) {
		t.Errorf("an hour of nothing passed by %v", got)
	}
	if got := w.Between(nine, nine.AddDate(1, 0, 0)); got != 0 {
		t.Errorf("a year of nothing is %v", got)
	}
}

// Clocks in summer time did not tick evenly in China in 1986 to 1991; hours of a day are those that its people saw.
func TestDaylightSaving(t *testing.T) {
	loc, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		t.Fatal(err)
	}
	w := &Working{Zone: "Asia/Shanghai", Office: Office{Hours: Hours{"00:00-24:00"}}}
	for _, c := range []struct {
		day  string
		want time.Duration
	}{{"1988-04-18", 24 * time.Hour}, {"1990-07-02", 24 * time.Hour}} {
		d, err := time.ParseInLocation(time.DateOnly, c.day, loc)
		if err != nil {
			t.Fatal(err)
		}
		if got := w.Between(d, d.AddDate(0, 0, 1)); got != c.want {
			t.Errorf("%s had %v", c.day, got)
		}
	}
	year := time.Date(1988, 1, 1, 0, 0, 0, 0, loc)
	days := 0
	for d := year; d.Year() == 1988; d = d.AddDate(0, 0, 1) {
		if work, _ := w.Workday(d); work {
			days++
		}
	}
	// Both changes fell on Sundays, so working days kept their 24 hours.
	if got := w.Between(year, year.AddDate(1, 0, 0)); got != time.Duration(days)*24*time.Hour {
		t.Errorf("1988 had %v in %d working days", got, days)
	}
}

// Add and Between undo each other, whatever the moment.
func TestAddBetween(t *testing.T) {
	c := calendar(t)
	rapid.Check(t, func(t *rapid.T) {
		from := time.Unix(rapid.Int64Range(1704038400, 1798732800).Draw(t, "from"), 0) // 2024 to 2026
		w := c.Working(office, from)
		d := time.Duration(rapid.Int64Range(0, 200*3600).Draw(t, "d")) * time.Second
		to := w.Add(from, d)
		if got := w.Between(from, to); got != d {
			t.Fatalf("%v + %v is %v, and between them lie %v", from, d, to, got)
		}
		if d > 0 && w.Between(from, to.Add(-time.Second)) != d-time.Second {
			t.Fatalf("%v + %v is %v, which is not the first such moment", from, d, to)
		}
		until := w.last(from, d)
		if w.Between(from, until) != d || w.Between(from, until.Add(time.Second)) != d+time.Second {
			t.Fatalf("%v is not the last moment with %v since %v", until, d, from)
		}
		middle := from.Add(to.Sub(from) / 3)
		if w.Between(from, middle)+w.Between(middle, to) != d {
			t.Fatal("parts do not add up")
		}
	})
}

// What an incident keeps does not change with the calendar that it came from (FAULTS row 19).
func TestVersion(t *testing.T) {
	before := calendar(t)
	kept := before.Working(office, moment(t, "2026-12-31 09:00:00"))
	after := calendar(t)
	if before.Version() != after.Version() {
		t.Errorf("the same calendar is %s and %s", before.Version(), after.Version())
	}
	if err := after.add([]byte(`{"year":2027,"days":[{"name":"元旦","date":"2027-01-01","isOffDay":true}]}`)); err != nil {
		t.Fatal(err)
	}
	if before.Version() == after.Version() || kept.Calendar != before.Version() {
		t.Errorf("versions %s, %s, kept %s", before.Version(), after.Version(), kept.Calendar)
	}
	day := moment(t, "2027-01-01 09:00:00")
	if work, known := kept.Workday(day); !work || known {
		t.Errorf("the incident's calendar changed: working %v, known %v", work, known)
	}
	if work, known := after.Working(office, moment(t, "2026-12-31 09:00:00")).Workday(day); work || !known {
		t.Errorf("the new calendar does not say so: working %v, known %v", work, known)
	}
}

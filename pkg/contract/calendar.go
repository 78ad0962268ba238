package contract

import (
	"crypto/sha256"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"time"
)

//go:embed calendar/*.json
var notices embed.FS

// Calendar tells working days from days off by the State Council's yearly notices, make-up days (调休) included.
type Calendar struct {
	off   map[string]bool // date → is off; only days that a notice names
	years map[int]bool    // whose notice is known
	loc   *time.Location
}

// maxNotice bounds one notice file.
const maxNotice = 1 << 20

// LoadCalendar reads the notices that come with the program and then every *.json of the given folders, a later one
// winning. All are merged before use, since a notice may rule days of the December before.
func LoadCalendar(loc *time.Location, over ...fs.FS) (*Calendar, error) {
	own, err := fs.Sub(notices, "calendar")
	if err != nil {
		return nil, fmt.Errorf("load calendar: %w", err)
	}
	c := &Calendar{off: map[string]bool{}, years: map[int]bool{}, loc: loc}
	for _, f := range append([]fs.FS{own}, over...) {
		names, err := fs.Glob(f, "*.json")
		if err != nil {
			return nil, fmt.Errorf("load calendar: %w", err)
		}
		for _, n := range names {
			if err := c.read(f, n); err != nil {
				return nil, fmt.Errorf("load calendar %s: %w", path.Base(n), err)
			}
		}
	}
	return c, nil
}

// notice is a year's file in the holiday-cn shape.
type notice struct {
	Year int `json:"year"`
	Days []struct {
		Name string `json:"name"`
		Date string `json:"date"`
		Off  bool   `json:"isOffDay"`
	} `json:"days"`
}

func (c *Calendar) read(f fs.FS, name string) error {
	st, err := fs.Stat(f, name)
	if err != nil {
		return err
	}
	if st.Size() > maxNotice {
		return fmt.Errorf("%d bytes, more than %d", st.Size(), maxNotice)
	}
	b, err := fs.ReadFile(f, name)
	if err != nil {
		return err
	}
	return c.add(b)
}

func (c *Calendar) add(b []byte) error {
	var n notice
	if err := json.Unmarshal(b, &n); err != nil {
		return err
	}
	for _, d := range n.Days {
		t, err := time.Parse(time.DateOnly, d.Date)
		if err != nil || t.Year() < n.Year-1 || t.Year() > n.Year+1 {
			return fmt.Errorf("date %q does not fit the year %d", d.Date, n.Year)
		}
		c.off[d.Date] = d.Off
	}
	if len(n.Days) > 0 {
		c.years[n.Year] = true
	}
	return nil
}

// yearEnd is the day of December from which on the notice of the next year may rule. Of all notices since 2001 the earliest such
// day was the 29th (a make-up day in 2001, 2007 and 2018), before days off on the 30th and 31st; three days more are for one on
// the weekend before.
const yearEnd = 26

// ruled says whether all notices that may rule a day are there: that of its year, and for the last days of December that of
// the next.
func ruled(day time.Time, has func(year int) bool) bool {
	return has(day.Year()) && (day.Month() != time.December || day.Day() < yearEnd || has(day.Year()+1))
}

// Workday answers for the day of t; known is false when a notice that may rule it is missing. What no notice names is Monday
// to Friday.
func (c *Calendar) Workday(t time.Time) (work, known bool) {
	t = t.In(c.loc)
	known = ruled(t, func(year int) bool { return c.years[year] })
	if off, ok := c.off[t.Format(time.DateOnly)]; ok {
		return !off, known
	}
	return t.Weekday() != time.Saturday && t.Weekday() != time.Sunday, known
}

// Year is the calendar's year of a moment.
func (c *Calendar) Year(t time.Time) int { return t.In(c.loc).Year() }

// Missing is the year near a moment that comes after all known notices: this year, or from 1 December on the next, whose
// notice the State Council has given by then.
func (c *Calendar) Missing(now time.Time) (year int, missing bool) {
	now = now.In(c.loc)
	newest := 0
	for y := range c.years {
		newest = max(newest, y)
	}
	switch year = now.Year(); {
	case year > newest:
		return year, true
	case now.Month() == time.December && year+1 > newest:
		return year + 1, true
	}
	return 0, false
}

// Version names what the calendar holds, so that a figure can say by which calendar it was computed: the newest year and
// a digest of all days (2026-3f9c21aa).
func (c *Calendar) Version() string {
	sum := sha256.New()
	for _, day := range slices.Sorted(maps.Keys(c.off)) {
		fmt.Fprintln(sum, day, c.off[day])
	}
	years := slices.Sorted(maps.Keys(c.years))
	fmt.Fprintln(sum, years)
	newest := 0
	if len(years) > 0 {
		newest = years[len(years)-1]
	}
	return fmt.Sprintf("%d-%x", newest, sum.Sum(nil)[:4])
}

// Working is what the calendar says of the year of a moment, the one before and the one after.
func (c *Calendar) Working(o Office, at time.Time) *Working {
	year := at.In(c.loc).Year()
	w := &Working{Calendar: c.Version(), Zone: c.loc.String(), Office: o}
	for y := year - 1; y <= year+1; y++ {
		if c.years[y] {
			w.Years = append(w.Years, y)
		}
	}
	for _, day := range slices.Sorted(maps.Keys(c.off)) {
		t, err := time.ParseInLocation(time.DateOnly, day, c.loc)
		if err != nil || t.Year() < year-1 || t.Year() > year+1 {
			continue
		}
		weekend := t.Weekday() == time.Saturday || t.Weekday() == time.Sunday
		switch {
		case c.off[day] && !weekend:
			w.Off = append(w.Off, day)
		case !c.off[day] && weekend:
			w.On = append(w.On, day)
		}
	}
	return w
}

// Span is a stretch of time in milliseconds since 1970, half-open.
type Span struct{ From, To int64 }

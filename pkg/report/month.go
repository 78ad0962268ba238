package report

import (
	"fmt"
	"time"
)

// Month is a calendar month in the zone of the people who read the report.
type Month struct {
	Year int
	M    time.Month
	loc  *time.Location
}

// firstYear is before any contract that this program may have watched.
const firstYear = 2000

// MonthOf is the month in which t falls in loc.
func MonthOf(t time.Time, loc *time.Location) Month {
	t = t.In(loc)
	return Month{t.Year(), t.Month(), loc}
}

// ParseMonth reads "2026-11" and nothing looser; a month that has not begun at now is refused.
func ParseMonth(s string, now time.Time, loc *time.Location) (Month, error) {
	t, err := time.ParseInLocation("2006-01", s, loc)
	if err != nil || t.Format("2006-01") != s {
		return Month{}, fmt.Errorf("month %q: want year and month as in 2026-11", s)
	}
	if t.Year() < firstYear {
		return Month{}, fmt.Errorf("month %q: before %d", s, firstYear)
	}
	if t.After(now) {
		return Month{}, fmt.Errorf("month %q: has not begun yet (it is %s)", s, now.In(loc).Format(time.DateOnly))
	}
	return MonthOf(t, loc), nil
}

// From is the first moment of the month.
func (m Month) From() time.Time { return time.Date(m.Year, m.M, 1, 0, 0, 0, 0, m.loc) }

// To is the first moment of the next month.
func (m Month) To() time.Time { return m.From().AddDate(0, 1, 0) }

// Previous is the month before.
func (m Month) Previous() Month { return MonthOf(m.From().AddDate(0, -1, 0), m.loc) }

// Has says whether t falls in the month.
func (m Month) Has(t time.Time) bool { return !t.Before(m.From()) && t.Before(m.To()) }

// String is the month as ParseMonth reads it.
func (m Month) String() string { return fmt.Sprintf("%04d-%02d", m.Year, int(m.M)) }

package contract

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Hours are the office hours of a day as "08:00-12:00", in order.
type Hours []string

// Office is when the customer works: the 5×8 of the contract's figures.
type Office struct {
	Hours      Hours  `yaml:"hours" json:"hours"`                                 // of working days
	Summer     Hours  `yaml:"summer,omitempty" json:"summer,omitempty"`           // from SummerFrom to SummerTo; empty: the same all year
	SummerFrom string `yaml:"summer_from,omitempty" json:"summer_from,omitempty"` // "06-01"
	SummerTo   string `yaml:"summer_to,omitempty" json:"summer_to,omitempty"`     // "09-30", inclusive
}

// Spans lists the office hours of [from, to) in order; known is false when some of its days are only guessed, for no notice
// covers their year. From is a midnight.
func (o Office) Spans(c *Calendar, from, to time.Time) (out []Span, known bool, err error) {
	known = true
	for d := from.In(c.loc); d.Before(to); d = d.AddDate(0, 0, 1) {
		work, sure := c.Workday(d)
		known = known && sure
		if !work {
			continue
		}
		spans, err := o.of(d).parse()
		if err != nil {
			return nil, false, err
		}
		for _, s := range spans {
			start, end := s.from.on(d), s.to.on(d)
			if end.After(to) {
				end = to
			}
			if start.Before(end) {
				out = append(out, Span{start.UnixMilli(), end.UnixMilli()})
			}
		}
	}
	return out, known, nil
}

// of are the office hours of a day.
func (o Office) of(day time.Time) Hours {
	if o.isSummer(day) {
		return o.Summer
	}
	return o.Hours
}

func (o Office) isSummer(day time.Time) bool {
	md := day.Format("01-02")
	return len(o.Summer) > 0 && md >= o.SummerFrom && md <= o.SummerTo
}

var monthDay = regexp.MustCompile(`^\d\d-\d\d$`)

// Validate wants hours, and dates for those of the summer.
func (o Office) Validate(fail func(path, format string, args ...any)) {
	if len(o.Hours) == 0 {
		fail("hours", "empty: want spans as in 08:00-12:00")
	}
	if err := o.Hours.Validate(); err != nil {
		fail("hours", "%v", err)
	}
	if err := o.Summer.Validate(); err != nil {
		fail("summer", "%v", err)
	}
	if len(o.Summer) == 0 {
		return
	}
	for _, d := range []struct{ path, day string }{{"summer_from", o.SummerFrom}, {"summer_to", o.SummerTo}} {
		if _, err := time.Parse(time.DateOnly, "2000-"+d.day); err != nil || !monthDay.MatchString(d.day) {
			fail(d.path, "%q: want month and day as in 06-01", d.day)
		}
	}
	if o.SummerFrom > o.SummerTo {
		fail("summer_to", "%s is before %s", o.SummerTo, o.SummerFrom)
	}
}

// clockTime is a time of day.
type clockTime struct{ hour, minute int }

// on is the moment of the time on the day of a midnight, whatever that day's clocks do.
func (c clockTime) on(day time.Time) time.Time {
	y, m, d := day.Date()
	return time.Date(y, m, d, c.hour, c.minute, 0, 0, day.Location())
}

func (c clockTime) minutes() int { return c.hour*60 + c.minute }

// clockSpan is a stretch of a day.
type clockSpan struct{ from, to clockTime }

// Validate wants times of day, in order and without overlap.
func (h Hours) Validate() error {
	_, err := h.parse()
	return err
}

func (h Hours) parse() ([]clockSpan, error) {
	out := make([]clockSpan, 0, len(h))
	for _, s := range h {
		a, b, _ := strings.Cut(s, "-")
		from, err := clock(a)
		if err != nil {
			return nil, fmt.Errorf("office hours %q: %w", s, err)
		}
		to, err := clock(b)
		if err != nil {
			return nil, fmt.Errorf("office hours %q: %w", s, err)
		}
		if to.minutes() <= from.minutes() || len(out) > 0 && from.minutes() < out[len(out)-1].to.minutes() {
			return nil, fmt.Errorf("office hours %q: want them in order and without overlap", s)
		}
		out = append(out, clockSpan{from, to})
	}
	return out, nil
}

func clock(s string) (clockTime, error) {
	if s == "24:00" {
		return clockTime{24, 0}, nil
	}
	t, err := time.Parse("15:04", s)
	if err != nil {
		return clockTime{}, fmt.Errorf("want a time as in 08:00, have %q", s)
	}
	return clockTime{t.Hour(), t.Minute()}, nil
}

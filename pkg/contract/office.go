package contract

import (
	"fmt"
	"strings"
	"time"
)

// Hours are the office hours of a day as "08:00-12:00", in order.
type Hours []string

// Office is when the customer works: the 5×8 of the contract's figures.
type Office struct {
	Hours      Hours  // of working days
	Summer     Hours  // from SummerFrom to SummerTo; empty: the same all year
	SummerFrom string // "06-01"
	SummerTo   string // "09-30", inclusive
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
			start, end := d.Add(s.from), d.Add(s.to)
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
	if md := day.Format("01-02"); len(o.Summer) > 0 && md >= o.SummerFrom && md <= o.SummerTo {
		return o.Summer
	}
	return o.Hours
}

// clockSpan is a stretch of a day.
type clockSpan struct{ from, to time.Duration }

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
		if to <= from || len(out) > 0 && from < out[len(out)-1].to {
			return nil, fmt.Errorf("office hours %q: want them in order and without overlap", s)
		}
		out = append(out, clockSpan{from, to})
	}
	return out, nil
}

func clock(s string) (time.Duration, error) {
	if s == "24:00" {
		return 24 * time.Hour, nil
	}
	t, err := time.Parse("15:04", s)
	if err != nil {
		return 0, fmt.Errorf("want a time as in 08:00, have %q", s)
	}
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, nil
}

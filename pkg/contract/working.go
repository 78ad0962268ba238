package contract

import (
	"slices"
	"sync"
	"time"
)

// Working is when the customer works as one version of the calendar has it, for the years around a moment: all that a
// clock in working time depends on, so that an incident which keeps it is counted the same for ever.
type Working struct {
	Calendar string   `json:"calendar"` // Calendar.Version
	Zone     string   `json:"zone"`     // of the days, as Asia/Shanghai
	Office   Office   `json:"office"`
	Years    []int    `json:"years"`         // whose notice is known
	Off      []string `json:"off,omitempty"` // Mondays to Fridays that are off, in order: 2026-10-01
	On       []string `json:"on,omitempty"`  // Saturdays and Sundays that are worked (调休), in order: 2026-10-10
}

// horizon bounds the search for working time where there is none.
const horizon = 10 * 366

// Workday answers as the calendar did from which it came.
func (w *Working) Workday(t time.Time) (work, known bool) {
	t = t.In(w.location())
	day := t.Format(time.DateOnly)
	known = ruled(t, w.announced)
	if t.Weekday() == time.Saturday || t.Weekday() == time.Sunday {
		_, on := slices.BinarySearch(w.On, day)
		return on, known
	}
	_, off := slices.BinarySearch(w.Off, day)
	return !off, known
}

// Between is the working time from one moment to a later one.
func (w *Working) Between(from, to time.Time) (sum time.Duration) {
	if !from.Before(to) {
		return 0
	}
	p := w.pattern()
	for d := w.midnight(from, 0); d.Before(to); d = w.midnight(d, 1) {
		for _, s := range p.of(d) {
			sum += overlap(s, from, to)
		}
	}
	return sum
}

// Add is the first moment by which d of working time has passed since t.
func (w *Working) Add(t time.Time, d time.Duration) time.Time {
	if d <= 0 {
		return t
	}
	p := w.pattern()
	day := w.midnight(t, 0)
	for range horizon {
		for _, s := range p.of(day) {
			here := overlap(s, t, s.to)
			if here >= d {
				return s.to.Add(d - here)
			}
			d -= here
		}
		day = w.midnight(day, 1)
	}
	return day
}

// last is the last moment by which no more than d of working time has passed since t: where Add ends with the office's
// hours, it is when they go on.
func (w *Working) last(t time.Time, d time.Duration) time.Time {
	t = w.Add(t, d)
	p := w.pattern()
	day := w.midnight(t, 0)
	for range horizon {
		for _, s := range p.of(day) {
			switch {
			case t.Before(s.from):
				return s.from
			case t.Before(s.to):
				return t
			}
		}
		day = w.midnight(day, 1)
	}
	return day
}

// Days is the end of the nth working day after the day of t, which itself does not count; the end is the midnight that
// follows (民法典 第201条, 第203条).
func (w *Working) Days(t time.Time, n int) time.Time {
	day := w.midnight(t, 1)
	for range horizon {
		if work, _ := w.Workday(day); work {
			n--
		}
		if day = w.midnight(day, 1); n <= 0 {
			break
		}
	}
	return day
}

// Known says whether every day from that of one moment to that of another is known.
func (w *Working) Known(from, to time.Time) bool {
	from, to = from.In(w.location()), to.In(w.location())
	for y := from.Year(); y < to.Year(); y++ {
		if !w.announced(y) {
			return false
		}
	}
	return ruled(to, w.announced)
}

func (w *Working) announced(year int) bool { return slices.Contains(w.Years, year) }

// Announced is w with the years that it only guessed and a later calendar knows, false when there are none. Days of years
// whose notice had come stay as they were counted, but for the December before, of which a notice may rule days; the
// office's hours are those of w.
func (w *Working) Announced(later *Working) (*Working, bool) {
	fresh := slices.DeleteFunc(slices.Clone(later.Years), w.announced)
	if len(fresh) == 0 {
		return w, false
	}
	anew := func(day string) bool {
		t, err := time.Parse(time.DateOnly, day)
		return err == nil && (slices.Contains(fresh, t.Year()) || t.Month() == time.December && slices.Contains(fresh, t.Year()+1))
	}
	merge := func(old, of []string) []string {
		out := slices.DeleteFunc(slices.Clone(old), anew)
		for _, day := range of {
			if anew(day) {
				out = append(out, day)
			}
		}
		slices.Sort(out)
		return out
	}
	out := *w
	out.Calendar, out.Years = later.Calendar, slices.Sorted(slices.Values(slices.Concat(w.Years, fresh)))
	out.Off, out.On = merge(w.Off, later.Off), merge(w.On, later.On)
	return &out, true
}

// AllDay is the same working days with all of their hours: what counts hours of working days rather than of the office.
func (w *Working) AllDay() *Working {
	all := *w
	all.Office = Office{Hours: Hours{"00:00-24:00"}}
	return &all
}

// midnight begins the day that is some days after that of t.
func (w *Working) midnight(t time.Time, days int) time.Time {
	loc := w.location()
	y, m, d := t.In(loc).Date()
	return time.Date(y, m, d+days, 0, 0, 0, 0, loc)
}

// zones are those read before: the database is not read for each question.
var zones sync.Map

func (w *Working) location() *time.Location {
	if loc, ok := zones.Load(w.Zone); ok {
		return loc.(*time.Location)
	}
	loc, err := time.LoadLocation(w.Zone)
	if err != nil { // of a fixed zone in tests, or of a database that the program was built without
		loc = time.FixedZone(w.Zone, 8*3600)
	}
	zones.Store(w.Zone, loc)
	return loc
}

// pattern is the office's hours, read once for a question.
type pattern struct {
	w              *Working
	normal, summer []clockSpan
}

func (w *Working) pattern() pattern {
	normal, _ := w.Office.Hours.parse() // seen to be sound by Validate
	summer, _ := w.Office.Summer.parse()
	return pattern{w, normal, summer}
}

// stretch is a half-open stretch of time.
type stretch struct{ from, to time.Time }

// of are the working hours of the day that begins at a midnight.
func (p pattern) of(day time.Time) []stretch {
	if work, _ := p.w.Workday(day); !work {
		return nil
	}
	hours := p.normal
	if p.w.Office.isSummer(day) {
		hours = p.summer
	}
	out := make([]stretch, len(hours))
	for i, h := range hours {
		out[i] = stretch{h.from.on(day), h.to.on(day)}
	}
	return out
}

// overlap is how much of a stretch lies in [from, to).
func overlap(s stretch, from, to time.Time) time.Duration {
	if s.from.After(from) {
		from = s.from
	}
	if s.to.Before(to) {
		to = s.to
	}
	return max(to.Sub(from), 0)
}

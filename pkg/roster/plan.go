package roster

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Calendar tells working days from days off.
type Calendar interface {
	Workday(t time.Time) (work, known bool)
}

// Plan is a configuration made ready to answer. It does not change.
type Plan struct {
	people   []Person
	byName   map[string]Person
	shifts   map[Line][]rotation
	periods  []Period
	changes  []Entry // of the configuration: recorded before all others
	others   bool
	calendar Calendar
	loc      *time.Location
}

// rotation is a shift whose text has been read.
type rotation struct {
	Shift
	start int // day number
	spans []span
}

// span is a stretch of a day from its midnight; one that ends on the next day has an end over 24 hours.
type span struct{ from, to time.Duration }

// NewPlan compiles a configuration that Validate has found good.
func NewPlan(people []Person, c Config, calendar Calendar, loc *time.Location) (*Plan, error) {
	p := &Plan{people: people, byName: map[string]Person{}, shifts: map[Line][]rotation{}, others: c.Others, calendar: calendar, loc: loc}
	for _, x := range people {
		p.byName[x.Name] = x
	}
	c = c.withDefaults()
	for _, s := range c.Shifts {
		start, err := dayOf(s.Start)
		if err != nil {
			return nil, fmt.Errorf("shift %q: %w", s.Name, err)
		}
		spans, err := spansOf(s.Hours)
		if err != nil {
			return nil, fmt.Errorf("shift %q: %w", s.Name, err)
		}
		if len(s.People) == 0 {
			return nil, fmt.Errorf("shift %q: nobody is in it", s.Name)
		}
		p.shifts[s.Line] = append(p.shifts[s.Line], rotation{s, start, spans})
	}
	for _, x := range c.Important {
		if len(x.People) == 0 || x.Shift <= 0 {
			return nil, fmt.Errorf("important period %q: nobody is in it", x.Name)
		}
	}
	p.periods = c.Important
	for i := range c.Overrides {
		p.changes = append(p.changes, Entry{Kind: KindOverride, Override: &c.Overrides[i]})
	}
	for i := range c.Swaps {
		p.changes = append(p.changes, Entry{Kind: KindSwap, Swap: &c.Swaps[i]})
	}
	return p, nil
}

// People are all of them, in the order of the configuration.
func (p *Plan) People() []Person { return p.people }

// Person finds one by name.
func (p *Plan) Person(name string) (Person, bool) {
	x, ok := p.byName[name]
	return x, ok
}

// Turn is who holds a line. Nobody does when Person has no name.
type Turn struct {
	Line      Line
	Person    Person
	Shift     string    // name of the shift or important period; empty: the line has no shifts, and its first person always holds it
	From, To  time.Time // in Duty: of the shift, before any change; in a timeline: of the stretch. Zero: always
	Remote    bool
	Important bool   // of an important period
	Reason    string // of the override or swap that put the person there
	Change    uint64 // its number, 0 for one of the configuration
}

// Held says that somebody is there.
func (t Turn) Held() bool { return t.Person.Name != "" }

// Duty is who is on duty at one moment.
type Duty struct {
	At    time.Time
	Turns [3]Turn // by Lines
}

// On is who holds a line.
func (d Duty) On(l Line) Turn {
	for _, t := range d.Turns {
		if t.Line == l {
			return t
		}
	}
	return Turn{Line: l}
}

// On answers for a moment, given what people have changed, in the order in which it was recorded. It depends on its
// arguments alone.
func (p *Plan) On(at time.Time, changes []Entry) Duty {
	d := Duty{At: at}
	for i, l := range Lines {
		d.Turns[i] = p.turn(l, at, changes)
	}
	return d
}

func (p *Plan) turn(l Line, at time.Time, changes []Entry) Turn {
	t := p.planned(l, at)
	for _, all := range [2][]Entry{p.changes, changes} {
		for _, e := range all {
			if name, reason := e.applied(l, at, t.Person.Name); name != t.Person.Name || reason != "" {
				if who, ok := p.byName[name]; ok { // people who are gone hold nothing
					t.Person, t.Reason, t.Change = who, reason, e.Seq
				}
			}
		}
	}
	return t
}

// planned is what the shifts and important periods say.
func (p *Plan) planned(l Line, at time.Time) Turn {
	if l == Resident {
		for _, x := range p.periods {
			if !at.Before(x.From) && at.Before(x.To) {
				return p.watch(x, at)
			}
		}
	}
	rotations := p.shifts[l]
	for _, r := range rotations {
		if t, ok := p.rotated(r, at); ok {
			return t
		}
	}
	if len(rotations) == 0 {
		if i := slices.IndexFunc(p.people, func(x Person) bool { return x.Duty == string(l) }); i >= 0 {
			return Turn{Line: l, Person: p.people[i]}
		}
	}
	return Turn{Line: l}
}

// watch is the shift of an important period that covers a moment.
func (p *Plan) watch(x Period, at time.Time) Turn {
	n := int(at.Sub(x.From) / x.Shift)
	from := x.From.Add(time.Duration(n) * x.Shift)
	to := from.Add(x.Shift)
	if to.After(x.To) {
		to = x.To
	}
	return Turn{Line: Resident, Person: p.byName[x.People[n%len(x.People)]], Shift: x.Name, From: from, To: to, Important: true}
}

// rotated is the turn of a shift that covers a moment: one that began today, or yesterday and goes past midnight.
// Who has it is decided by the day on which it began.
func (p *Plan) rotated(r rotation, at time.Time) (Turn, bool) {
	today := at.In(p.loc)
	for back := range 2 {
		midnight := time.Date(today.Year(), today.Month(), today.Day()-back, 0, 0, 0, 0, p.loc)
		day := dayNumber(midnight)
		if day < r.start || !p.falls(r, midnight) {
			continue
		}
		for _, s := range r.spans {
			from, to := clockOn(midnight, s.from), clockOn(midnight, s.to)
			if !at.Before(from) && at.Before(to) {
				name := r.People[(day-r.start)/r.Days%len(r.People)]
				return Turn{Line: r.Line, Person: p.byName[name], Shift: r.Name, From: from, To: to, Remote: r.Remote}, true
			}
		}
	}
	return Turn{}, false
}

func (p *Plan) falls(r rotation, midnight time.Time) bool {
	if r.On == "" || r.On == "every" {
		return true
	}
	work, _ := p.calendar.Workday(midnight)
	return work == (r.On == "workdays")
}

// clockOn is a wall-clock time of the day that begins at midnight, or of the next.
func clockOn(midnight time.Time, d time.Duration) time.Time {
	return time.Date(midnight.Year(), midnight.Month(), midnight.Day(), 0, int(d/time.Minute), 0, 0, midnight.Location())
}

// dayNumber counts civil days, whatever the zone does.
func dayNumber(t time.Time) int {
	return int(time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC).Unix() / 86400)
}

func dayOf(s string) (int, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a day: write one as 2026-01-05", s)
	}
	return dayNumber(t), nil
}

// spansOf reads hours of a day; none are the whole day.
func spansOf(hours []string) ([]span, error) {
	if len(hours) == 0 {
		return []span{{0, 24 * time.Hour}}, nil
	}
	var out []span
	for _, h := range hours {
		a, b, found := strings.Cut(h, "-")
		from, err1 := clock(a)
		to, err2 := clock(b)
		if !found || err1 != nil || err2 != nil || from == 24*time.Hour {
			return nil, fmt.Errorf("%q: write hours as 08:00-18:00, or 18:00-08:00 until the next day", h)
		}
		if to <= from {
			to += 24 * time.Hour
		}
		if n := len(out); n > 0 && (from < out[n-1].to || to > out[0].from+24*time.Hour) {
			return nil, fmt.Errorf("%q: want hours in order and without overlap", h)
		}
		out = append(out, span{from, to})
	}
	return out, nil
}

func clock(s string) (time.Duration, error) {
	if s == "24:00" {
		return 24 * time.Hour, nil
	}
	t, err := time.Parse("15:04", s)
	if err != nil {
		return 0, err
	}
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, nil
}

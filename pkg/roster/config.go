package roster

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"xunjian/pkg/check"
)

// Config is the roster as it is planned. What people change at run time is kept with the records and comes after it.
type Config struct {
	Shifts    []Shift    `yaml:"shifts,omitempty"`    // of each line the first that covers a moment decides
	Overrides []Override `yaml:"overrides,omitempty"` // the later one wins
	Swaps     []Swap     `yaml:"swaps,omitempty"`
	Important []Period   `yaml:"important,omitempty"` // 重要时期: their people are the first line
	Others    bool       `yaml:"others,omitempty"`    // acts in names that are not in people are taken, too
}

// Shift is a rotation of people over hours of days.
type Shift struct {
	Name   string   `yaml:"name"`
	Line   Line     `yaml:"line,omitempty"`   // default: resident
	People []string `yaml:"people"`           // in turn
	Start  string   `yaml:"start"`            // 2026-01-05: first day of the first person's first turn; the shift is not there before
	Days   int      `yaml:"days,omitempty"`   // of a turn; default 7
	Hours  []string `yaml:"hours,omitempty"`  // 08:00-18:00; 18:00-08:00 ends on the next day; default: the whole day
	On     string   `yaml:"on,omitempty"`     // workdays, restdays, or every (default), by the holiday calendar
	Remote bool     `yaml:"remote,omitempty"` // 远程 rather than on site
}

// Override puts a person on a line for a while, whatever the shifts say.
type Override struct {
	Line   Line      `yaml:"line,omitempty" json:"line"` // default: resident
	From   time.Time `yaml:"from" json:"from"`
	To     time.Time `yaml:"to" json:"to"`
	Person string    `yaml:"person" json:"person"`
	Reason string    `yaml:"reason" json:"reason"`
}

// Swap is two people who take over from each other: Take's person what Give's has in its time, and the reverse.
type Swap struct {
	Line   Line    `yaml:"line,omitempty" json:"line"` // default: resident
	Give   Stretch `yaml:"give" json:"give"`
	Take   Stretch `yaml:"take" json:"take"`
	Asked  string  `yaml:"asked" json:"asked"`   // who of the two asked for it
	Agreed string  `yaml:"agreed" json:"agreed"` // and who agreed
	Reason string  `yaml:"reason,omitempty" json:"reason,omitempty"`
}

// Stretch is what one person has on the roster in a time.
type Stretch struct {
	Person string    `yaml:"person" json:"person"`
	From   time.Time `yaml:"from" json:"from"`
	To     time.Time `yaml:"to" json:"to"`
}

// Period is an important period (重要时期): somebody is there around the clock and signs in for each shift (R19).
type Period struct {
	Name   string        `yaml:"name"`
	From   time.Time     `yaml:"from"`
	To     time.Time     `yaml:"to"`
	Shift  time.Duration `yaml:"shift,omitempty"` // how long one lasts; default 24h
	Pace   int           `yaml:"pace,omitempty"`  // checks are asked so many times as often; default 2, 1: as ever
	People []string      `yaml:"people"`          // in turn
}

// Bounds on one roster.
const (
	maxShifts  = 100
	maxChanges = 1000
	maxSpan    = 400 * 24 * time.Hour // of an override, a swap or a period
)

// withDefaults is the configuration with nothing left to guess.
func (c Config) withDefaults() Config {
	c.Shifts, c.Overrides, c.Swaps, c.Important = slices.Clone(c.Shifts), slices.Clone(c.Overrides), slices.Clone(c.Swaps), slices.Clone(c.Important)
	for i := range c.Shifts {
		s := &c.Shifts[i]
		s.Line = lineOr(s.Line)
		if s.Days == 0 {
			s.Days = 7
		}
	}
	for i := range c.Overrides {
		c.Overrides[i].Line = lineOr(c.Overrides[i].Line)
	}
	for i := range c.Swaps {
		c.Swaps[i].Line = lineOr(c.Swaps[i].Line)
	}
	for i := range c.Important {
		if c.Important[i].Shift == 0 {
			c.Important[i].Shift = 24 * time.Hour
		}
		c.Important[i].Pace = cmp.Or(c.Important[i].Pace, 2)
	}
	return c
}

// Paces are the important periods as checks know them, those in which they are asked as ever left out.
func (c Config) Paces() (out []check.Period) {
	for _, p := range c.withDefaults().Important {
		if p.Pace > 1 {
			out = append(out, check.Period{From: p.From.UTC(), To: p.To.UTC(), Times: p.Pace})
		}
	}
	return out
}

func lineOr(l Line) Line {
	if l == "" {
		return Resident
	}
	return l
}

// checker finds what a roster of these people cannot mean.
type checker struct {
	people map[string]bool
	fail   func(path, format string, args ...any)
}

// Validate reports every fault, given the people that there are.
func (c Config) Validate(people []Person, fail func(path, format string, args ...any)) {
	k := checker{map[string]bool{}, fail}
	for _, p := range people {
		k.people[p.Name] = true
	}
	if len(c.Shifts) > maxShifts || len(c.Overrides)+len(c.Swaps)+len(c.Important) > maxChanges {
		fail("", "at most %d shifts, and %d overrides, swaps and important periods", maxShifts, maxChanges)
		return
	}
	c = c.withDefaults()
	names := map[string]bool{}
	for i, s := range c.Shifts {
		at := fmt.Sprintf("shifts[%d]", i)
		if s.Name == "" || names[s.Name] {
			fail(at+".name", "%q: give each shift a name of its own", s.Name)
		}
		names[s.Name] = true
		k.shift(at, s)
	}
	for i, o := range c.Overrides {
		at := fmt.Sprintf("overrides[%d]", i)
		k.line(at, o.Line)
		k.span(at, o.From, o.To)
		k.person(at+".person", o.Person)
		if strings.TrimSpace(o.Reason) == "" {
			fail(at+".reason", "missing: say why, for the record")
		}
	}
	for i, s := range c.Swaps {
		k.swap(fmt.Sprintf("swaps[%d]", i), s)
	}
	k.periods(c.Important)
}

func (k checker) shift(at string, s Shift) {
	k.line(at, s.Line)
	k.persons(at, s.People)
	if _, err := dayOf(s.Start); err != nil {
		k.fail(at+".start", "%q is not a day: write one as 2026-01-05", s.Start)
	}
	if s.Days < 1 || s.Days > 366 {
		k.fail(at+".days", "%d: want 1 to 366", s.Days)
	}
	if _, err := spansOf(s.Hours); err != nil {
		k.fail(at+".hours", "%v", err)
	}
	switch s.On {
	case "", "every", "workdays", "restdays":
	default:
		k.fail(at+".on", "%q: want workdays, restdays or every", s.On)
	}
}

func (k checker) swap(at string, s Swap) {
	k.line(at, s.Line)
	for _, x := range []struct {
		path string
		of   Stretch
	}{{at + ".give", s.Give}, {at + ".take", s.Take}} {
		k.person(x.path+".person", x.of.Person)
		k.span(x.path, x.of.From, x.of.To)
	}
	if !s.parties() {
		k.fail(at+".agreed", "of %q and %q one must have asked and the other agreed", s.Give.Person, s.Take.Person)
	}
}

// parties says whether the two people of a swap are those who asked and agreed.
func (s Swap) parties() bool {
	a, b := s.Give.Person, s.Take.Person
	return a != b && (s.Asked == a && s.Agreed == b || s.Asked == b && s.Agreed == a)
}

func (k checker) periods(all []Period) {
	for i, p := range all {
		at := fmt.Sprintf("important[%d]", i)
		if p.Name == "" {
			k.fail(at+".name", "missing: name the period, as 两会保障")
		}
		k.persons(at, p.People)
		k.span(at, p.From, p.To)
		if p.Shift < time.Hour || p.Shift > 24*time.Hour {
			k.fail(at+".shift", "%v: want 1h to 24h", p.Shift)
		}
		if p.Pace < 1 || p.Pace > check.MaxTimes {
			k.fail(at+".pace", "%d: want 2 for checks twice as often, 1 for as ever, at most %d", p.Pace, check.MaxTimes)
		}
		for _, q := range all[:i] {
			if p.From.Before(q.To) && q.From.Before(p.To) {
				k.fail(at+".from", "overlaps %q: one period at a time has the first line", q.Name)
			}
			if p.Name == q.Name {
				k.fail(at+".name", "%q is taken by another period", p.Name)
			}
		}
	}
}

func (k checker) line(at string, l Line) {
	if !slices.Contains(Lines, l) {
		k.fail(at+".line", "%q: want resident, second or manager", l)
	}
}

func (k checker) span(at string, from, to time.Time) {
	switch {
	case from.IsZero():
		k.fail(at+".from", "missing: write a time as 2026-12-01T09:00:00+08:00")
	case !to.After(from):
		k.fail(at+".to", "is not after from")
	case to.Sub(from) > maxSpan:
		k.fail(at+".to", "is more than 400 days after from")
	}
}

func (k checker) persons(at string, names []string) {
	if len(names) == 0 {
		k.fail(at+".people", "missing: nobody would be on duty")
	}
	for i, n := range names {
		k.person(fmt.Sprintf("%s.people[%d]", at, i), n)
	}
}

func (k checker) person(path, name string) {
	if !k.people[name] {
		k.fail(path, "%q is nobody in people: add the person there, or correct the name", name)
	}
}

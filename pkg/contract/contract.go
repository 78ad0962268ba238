package contract

import (
	"slices"
	"time"
)

// Contract is one contract: what it promises in its own words, how its clocks run, how a year is scored and paid.
type Contract struct {
	Terms `yaml:",inline"`

	Title          string           `yaml:"title"`
	Period         Period           `yaml:"period"`          // 维护服务期
	Support        Support          `yaml:"support"`         // when whom can be had
	Wording        Wording          `yaml:"wording"`         // of the levels
	Office         Office           `yaml:"office"`          // the hours of 5×8
	CalendarFolder string           `yaml:"calendar_folder"` // holiday notices laid over those that come with the program
	Outage         map[string]Level `yaml:"outage"`          // level of an outage of a service, where a site sees it otherwise than its checks
	Requests       Requests         `yaml:"requests"`
	Assessment     Assessment       `yaml:"assessment"`
	Payment        Payment          `yaml:"payment"`
}

// Support is the contract's word on when people are there.
type Support struct {
	OnSite string `yaml:"on_site"`
	Remote string `yaml:"remote"`
}

// Wording is the table of levels in the contract's words (二、服务响应要求).
type Wording struct {
	Urgent  Words `yaml:"urgent"`
	General Words `yaml:"general"`
	Minor   Words `yaml:"minor"`
}

// Words are one row of it.
type Words struct {
	Name     string `yaml:"name"`     // 故障级别
	Features string `yaml:"features"` // 故障主要特征
	Respond  string `yaml:"respond"`  // 响应时间
	Recover  string `yaml:"recover"`  // 恢复时间
}

// Of is the row of a level.
func (w Wording) Of(l Level) Words {
	switch l {
	case Urgent:
		return w.Urgent
	case General:
		return w.General
	}
	return w.Minor
}

// Period is when the service is owed, whole days, the last one included; empty: not told.
type Period struct {
	From string `yaml:"from"` // 2026-01-01
	To   string `yaml:"to"`   // 2026-12-31
}

// Span is the period as moments, half-open; false when it is not told.
func (p Period) Span(loc *time.Location) (from, to time.Time, ok bool) {
	from, err := time.ParseInLocation(time.DateOnly, p.From, loc)
	if err != nil {
		return time.Time{}, time.Time{}, false
	}
	if to, err = time.ParseInLocation(time.DateOnly, p.To, loc); err != nil {
		return time.Time{}, time.Time{}, false
	}
	return from, to.AddDate(0, 0, 1), true
}

// Validate reports each value that no contract can mean.
func (c *Contract) Validate(fail func(path, format string, args ...any)) {
	c.Terms.Validate(fail)
	c.Period.validate(under(fail, "period"))
	c.Office.Validate(under(fail, "office"))
	c.Requests.Validate(under(fail, "requests"))
	for service, l := range c.Outage {
		if _, err := ParseLevel(string(l)); err != nil {
			fail("outage."+service, "%v", err)
		}
	}
	c.Assessment.validate(under(fail, "assessment"))
	c.Payment.validate(under(fail, "payment"))
}

func under(fail func(path, format string, args ...any), prefix string) func(path, format string, args ...any) {
	return func(path, format string, args ...any) { fail(prefix+"."+path, format, args...) }
}

func (p Period) validate(fail func(path, format string, args ...any)) {
	if p == (Period{}) {
		return
	}
	from, ferr := time.Parse(time.DateOnly, p.From)
	to, terr := time.Parse(time.DateOnly, p.To)
	switch {
	case ferr != nil:
		fail("from", "%q is no day: write one as 2026-01-01", p.From)
	case terr != nil:
		fail("to", "%q is no day: write one as 2026-12-31", p.To)
	case to.Before(from):
		fail("to", "%s is before %s", p.To, p.From)
	}
}

func (a Assessment) validate(fail func(path, format string, args ...any)) {
	seen, sum := map[string]bool{}, Points(0)
	for _, r := range a.Rows {
		if r.ID == "" || seen[r.ID] {
			fail("rows", "id %q: want one of its own for each row", r.ID)
		}
		if r.Each > r.Points {
			fail("rows", "%s takes %s each time of %s points", r.ID, r.Each, r.Points)
		}
		seen[r.ID] = true
		sum += r.Points
	}
	if !seen[ResponseRow] {
		fail("rows", "no row has the id %s, which incidents are scored by", ResponseRow)
	}
	if sum != 10000 {
		fail("rows", "add up to %s points, want 100", sum)
	}
	if d := a.Deductions; d.Urgent < d.General || d.General < d.Minor {
		fail("deduct", "a graver level costs less than a lighter one")
	}
	for _, e := range a.Deductions.Excluded {
		if !slices.Contains(Exclusions, e) {
			fail("deduct.excluded", "%q: want of %v", e, Exclusions)
		}
	}
	if len(a.Tiers) == 0 {
		fail("tiers", "empty: want what is paid from which score on")
	}
	for i, t := range a.Tiers {
		if t.From > 10000 || t.Pay < 0 || t.Pay > 100 {
			fail("tiers", "from %s pay %d: want points and per cent of at most 100", t.From, t.Pay)
		}
		if i > 0 && (t.From >= a.Tiers[i-1].From || t.Pay > a.Tiers[i-1].Pay) {
			fail("tiers", "from %s pay %d: want the best first", t.From, t.Pay)
		}
	}
}

func (p Payment) validate(fail func(path, format string, args ...any)) {
	for _, v := range []struct {
		path string
		n    int
	}{{"advance", p.Advance}, {"penalty", p.Penalty}} {
		if v.n < 0 || v.n > 100 {
			fail(v.path, "%d: want 0 to 100 per cent", v.n)
		}
	}
	if p.Within < 0 || p.Within > 250 {
		fail("within", "%d: want 0 to 250 working days", p.Within)
	}
}

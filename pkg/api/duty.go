package api

import (
	"net/http"
	"strconv"
	"time"

	"xunjian/pkg/roster"
)

// Bounds on what is told of a roster.
const (
	maxDays  = 92
	shownLog = 200
)

// Turn is who holds a line, and for how long. Without a person nobody does.
type Turn struct {
	Line      string    `json:"line"`
	Person    string    `json:"person,omitempty"`
	Phone     string    `json:"phone,omitempty"`
	Shift     string    `json:"shift,omitempty"`
	From      time.Time `json:"from,omitzero"`
	To        time.Time `json:"to,omitzero"`
	Remote    bool      `json:"remote,omitempty"`
	Important bool      `json:"important,omitempty"` // of an important period
	Reason    string    `json:"reason,omitempty"`    // of the override or swap that put the person there
	Change    uint64    `json:"change,omitempty"`    // its number
}

// Gap is a time in which nobody holds a line.
type Gap struct {
	Line string    `json:"line"`
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Watch is a shift of an important period, to which its person signs in.
type Watch struct {
	Period   string    `json:"period"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Person   string    `json:"person,omitempty"`
	Pace     int       `json:"pace,omitempty"` // checks are asked so many times as often
	SignedIn time.Time `json:"signed_in,omitzero"`
	Handover string    `json:"handover,omitempty"`
	Zero     bool      `json:"zero,omitempty"` // nothing happened (零报告)
}

// Change is an override, a swap, a sign-in or a withdrawal that somebody recorded.
type Change struct {
	roster.Entry
	Withdrawn time.Time `json:"withdrawn,omitzero"`
}

// Roster is the answer to GET roster.
type Roster struct {
	Now     []Turn   `json:"now"`   // by line
	Turns   []Turn   `json:"turns"` // of all lines, from now on
	Gaps    []Gap    `json:"gaps,omitempty"`
	Watches []Watch  `json:"watches,omitempty"`
	Changes []Change `json:"changes,omitempty"` // the newest first
}

// Override puts somebody on a line for a time.
type Override struct {
	Act
	Line string    `json:"line"`
	For  string    `json:"for"` // who is put there
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Swap lets two people take over from each other.
type Swap struct {
	Act
	Line   string         `json:"line"`
	Give   roster.Stretch `json:"give"`
	Take   roster.Stretch `json:"take"`
	Asked  string         `json:"asked"`
	Agreed string         `json:"agreed"`
}

// SignIn says that a person is there for the shift of an important period.
type SignIn struct {
	Act
	Handover string `json:"handover,omitempty"`
	Zero     bool   `json:"zero,omitempty"`
}

func turnOf(t roster.Turn) Turn {
	return Turn{
		Line: string(t.Line), Person: t.Person.Name, Phone: t.Person.Phone, Shift: t.Shift, From: t.From.UTC(), To: t.To.UTC(),
		Remote: t.Remote, Important: t.Important, Reason: t.Reason, Change: t.Change,
	}
}

func (s *server) getRoster(c *call) (answer, error) {
	q, err := c.query("days")
	if err != nil {
		return answer{}, err
	}
	days := 14
	if q["days"] != "" {
		if days, err = strconv.Atoi(q["days"]); err != nil || days < 1 || days > maxDays {
			return answer{}, invalid("days", "days", "most", strconv.Itoa(maxDays))
		}
	}
	if s.Duty == nil {
		return answer{}, errNotRunning
	}
	out, to := Roster{Now: []Turn{}, Turns: []Turn{}}, c.now.AddDate(0, 0, days)
	for _, t := range s.Duty.On(c.now).Turns {
		out.Now = append(out.Now, turnOf(t))
	}
	for _, l := range roster.Lines {
		for _, t := range s.Duty.Timeline(l, c.now, to) {
			out.Turns = append(out.Turns, turnOf(t))
		}
	}
	for _, g := range s.Duty.Gaps(c.now, to) {
		out.Gaps = append(out.Gaps, Gap{string(g.Line), g.From.UTC(), g.To.UTC()})
	}
	for _, w := range s.Duty.Watches(c.now, to) {
		v := Watch{Period: w.Period, From: w.From.UTC(), To: w.To.UTC(), Person: w.Person.Name, Pace: w.Pace}
		if w.SignedIn != nil {
			v.SignedIn, v.Handover, v.Zero = w.SignedIn.At, w.SignedIn.SignIn.Handover, w.SignedIn.SignIn.Zero
		}
		out.Watches = append(out.Watches, v)
	}
	for _, e := range s.Duty.Log(shownLog) {
		out.Changes = append(out.Changes, Change{e, e.Withdrawn()})
	}
	return answer{json: out}, nil
}

// rostering reads a change, finds out who makes it, and answers with what was recorded.
func rostering[T any](s *server, c *call, base func(*T) *Act, do func(by, note string, in T) (roster.Entry, error)) (answer, error) {
	var in T
	if err := c.read(&in); err != nil {
		return answer{}, err
	}
	if s.Duty == nil {
		return answer{}, errNotRunning
	}
	a, err := s.act(c, *base(&in))
	if err != nil {
		return answer{}, err
	}
	e, err := do(a.Person, a.Note, in)
	if err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusCreated, json: Change{e, e.Withdrawn()}}, nil
}

func (s *server) overrideDuty(c *call) (answer, error) {
	return rostering(s, c, func(o *Override) *Act { return &o.Act }, func(by, note string, o Override) (roster.Entry, error) {
		return s.Duty.Override(c.now, by, roster.Override{Line: roster.Line(o.Line), From: o.From, To: o.To, Person: o.For, Reason: note})
	})
}

func (s *server) swapDuty(c *call) (answer, error) {
	return rostering(s, c, func(w *Swap) *Act { return &w.Act }, func(by, note string, w Swap) (roster.Entry, error) {
		return s.Duty.Swap(c.now, by, roster.Swap{Line: roster.Line(w.Line), Give: w.Give, Take: w.Take, Asked: w.Asked, Agreed: w.Agreed, Reason: note})
	})
}

func (s *server) signInDuty(c *call) (answer, error) {
	return rostering(s, c, func(i *SignIn) *Act { return &i.Act }, func(by, _ string, i SignIn) (roster.Entry, error) {
		return s.Duty.SignIn(c.now, by, roster.SignIn{Person: by, Handover: i.Handover, Zero: i.Zero})
	})
}

func (s *server) withdrawDuty(c *call) (answer, error) {
	seq, err := strconv.ParseUint(c.PathValue("id"), 10, 64)
	if err != nil {
		seq = 0 // no entry has this number
	}
	return rostering(s, c, func(a *Act) *Act { return a }, func(by, note string, _ Act) (roster.Entry, error) {
		return s.Duty.Withdraw(c.now, by, seq, note)
	})
}

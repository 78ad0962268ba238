package roster

import (
	"slices"
	"time"
)

// maxTimeline bounds what is worked out at once.
const maxTimeline = 400 * 24 * time.Hour

// Timeline lists who holds a line from one time to another, without holes: where nobody does stands a turn of nobody.
// Neighbours differ in person, shift or reason. At most 400 days are answered.
func (p *Plan) Timeline(l Line, from, to time.Time, changes []Entry) []Turn {
	if to.Sub(from) > maxTimeline {
		to = from.Add(maxTimeline)
	}
	var out []Turn
	edges := p.edges(l, from, to, changes)
	for i, at := range edges[:max(len(edges)-1, 0)] {
		t := p.turn(l, at, changes)
		t.From, t.To = at, edges[i+1]
		if n := len(out); n > 0 && same(out[n-1], t) {
			out[n-1].To = t.To
			continue
		}
		out = append(out, t)
	}
	return out
}

func same(a, b Turn) bool {
	return a.Person.Name == b.Person.Name && a.Shift == b.Shift && a.Reason == b.Reason && a.Remote == b.Remote && a.Change == b.Change
}

// edges are the times in order at which a line may change hands, from and to included.
func (p *Plan) edges(l Line, from, to time.Time, changes []Entry) []time.Time {
	if !to.After(from) {
		return nil
	}
	at := []time.Time{from, to}
	add := func(t time.Time) {
		if t.After(from) && t.Before(to) {
			at = append(at, t)
		}
	}
	first, last := from.In(p.loc), to.In(p.loc)
	for _, r := range p.shifts[l] {
		for d := time.Date(first.Year(), first.Month(), first.Day()-1, 0, 0, 0, 0, p.loc); !d.After(last); d = d.AddDate(0, 0, 1) {
			for _, s := range r.spans {
				add(clockOn(d, s.from))
				add(clockOn(d, s.to))
			}
		}
	}
	for _, x := range p.periods {
		for t := x.From; t.Before(x.To); t = t.Add(x.Shift) {
			add(t)
		}
		add(x.To)
	}
	for _, e := range slices.Concat(p.changes, changes) {
		for _, t := range e.edges() {
			add(t)
		}
	}
	slices.SortFunc(at, time.Time.Compare)
	return slices.CompactFunc(at, time.Time.Equal)
}

// Gap is a time in which nobody holds a line that is to be held.
type Gap struct {
	Line     Line
	From, To time.Time
}

// Gaps lists them. A line that nobody was ever named for is no gap, except the first.
func (p *Plan) Gaps(from, to time.Time, changes []Entry) (out []Gap) {
	if len(p.people) == 0 {
		return nil
	}
	for _, l := range Lines {
		if l != Resident && len(p.shifts[l]) == 0 && !slices.ContainsFunc(p.people, func(x Person) bool { return x.Duty == string(l) }) {
			continue
		}
		for _, t := range p.Timeline(l, from, to, changes) {
			if !t.Held() {
				out = append(out, Gap{l, t.From, t.To})
			}
		}
	}
	return out
}

// Watch is one shift of an important period.
type Watch struct {
	Period   string
	From, To time.Time
	Person   Person // after overrides and swaps; whoever has it at its beginning
	Pace     int    // checks are asked so many times as often
	SignedIn *Entry // nil: not yet
}

// signInEarly is how long before its beginning a shift may be signed in to.
const signInEarly = 2 * time.Hour

// Watches lists the shifts of important periods that touch [from, to), with their sign-ins.
func (p *Plan) Watches(from, to time.Time, log []Entry) (out []Watch) {
	for _, x := range p.periods {
		for start := x.From; start.Before(x.To) && start.Before(to); start = start.Add(x.Shift) {
			t := p.turn(Resident, start, log)
			w := Watch{Period: x.Name, From: start, To: p.watch(x, start).To, Person: t.Person, Pace: x.Pace}
			if !w.To.After(from) {
				continue
			}
			for i := range log {
				if s := log[i].SignIn; s != nil && s.Period == x.Name && s.Shift.Equal(start) {
					w.SignedIn = &log[i]
					break
				}
			}
			out = append(out, w)
		}
	}
	return out
}

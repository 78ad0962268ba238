package pager

import (
	"slices"
	"time"

	"xunjian/pkg/incident"
	"xunjian/pkg/roster"
)

// Waits between rounds over all channels of a person whom none has reached.
const (
	firstAgain = 30 * time.Second
	longAgain  = 5 * time.Minute
)

// situation is all that the next calls about an incident depend on.
type situation struct {
	now    time.Time
	rec    incident.Record
	ended  incident.PageKind // how it ended, once it has
	calls  []Call            // all of the incident's, in order
	news   []news            // pages of which people must hear by name
	duty   roster.Duty
	people []roster.Person
	by     []string // channels that reach people, in order
	reach  func(channel string, person roster.Person) bool
	tells  func(channel string) bool // is told of ends
}

// news is a page of which people must hear by name.
type news struct {
	page uint64
	kind incident.PageKind
}

// decision is what follows from a situation: calls to make (with step, repeat, kind, person, channel), calls to try again,
// calls that are not wanted any more, and when to look again, zero: not before something happens.
type decision struct {
	fresh []Call
	again []int // numbers
	drop  []int
	next  time.Time
}

// due decides. It depends on its arguments alone: asking late, twice or after a restart makes no call a second time.
func (p policy) due(s situation) (d decision) {
	if !s.rec.Open() {
		s.end(&d)
		return d
	}
	if !s.rec.AckAt.IsZero() {
		d.drop = s.unsent(func(c Call) bool { return c.Step > 0 })
		s.tell(&d)
		return d
	}
	s.tell(&d)
	plan := p.schedule(s.rec)
	var early time.Time // when the step before turned out to reach nobody
	for i, st := range plan {
		at := st.at
		if !early.IsZero() && early.Before(at) {
			at = early
		}
		if at.After(s.now) {
			d.wake(at)
			break
		}
		early = s.take(&d, st, at, plan[i+1:])
	}
	return d
}

func (d *decision) wake(at time.Time) {
	if !at.IsZero() && (d.next.IsZero() || at.Before(d.next)) {
		d.next = at
	}
}

// take makes what calls a step still needs. It returns since when the step is known to reach nobody, zero: it may.
func (s situation) take(d *decision, st timed, at time.Time, later []timed) time.Time {
	lost, reached := at, false
	for _, person := range s.resolve(st.Who) {
		if s.calledLater(st, later, person) {
			reached = true
			continue
		}
		failed, ok := s.pursue(d, st, person)
		reached = reached || ok
		if failed.After(lost) {
			lost = failed
		}
	}
	if reached {
		return time.Time{}
	}
	return lost
}

// calledLater says whether a step that is due as well, but later, calls this person: one call is enough then.
func (s situation) calledLater(st timed, later []timed, person roster.Person) bool {
	return slices.ContainsFunc(later, func(l timed) bool {
		return l.plain.After(st.plain) && !l.at.After(s.now) && len(s.ways(l, person)) > 0 &&
			slices.ContainsFunc(s.resolve(l.Who), func(p roster.Person) bool { return p.Name == person.Name })
	})
}

// ways are the channels over which a step reaches a person, the first to be tried first.
func (s situation) ways(st timed, person roster.Person) (out []string) {
	by := st.By
	if len(by) == 0 {
		by = s.by
	}
	for _, c := range by {
		if s.reach(c, person) {
			out = append(out, c)
		}
	}
	return out
}

// pursue goes on with one person of a step: the first channel, the next one when one has failed, all of them again after
// a while, and the whole anew where the step repeats. Reached is false once every channel has failed.
func (s situation) pursue(d *decision, st timed, person roster.Person) (failed time.Time, reached bool) {
	ways := s.ways(st, person)
	if len(ways) == 0 {
		return time.Time{}, false
	}
	mine := s.callsTo(st, person)
	call := func(way string, repeat int) {
		d.fresh = append(d.fresh, Call{Step: st.number, Repeat: repeat, Kind: s.kind(), Level: s.rec.Level, Person: person.Name, Channel: way})
	}
	if len(mine) == 0 {
		call(ways[0], 0)
		return time.Time{}, true
	}
	last := mine[len(mine)-1]
	if i := slices.IndexFunc(mine, func(c Call) bool { return c.Repeat == last.Repeat && !c.SentAt.IsZero() }); i >= 0 {
		if st.Repeat > 0 {
			if at := last.At.Add(st.Repeat); at.After(s.now) {
				d.wake(at)
			} else {
				call(ways[0], last.Repeat+1)
			}
		}
		return time.Time{}, true
	}
	tried := map[string]Call{}
	for _, c := range mine {
		if c.Repeat == last.Repeat {
			tried[c.Channel] = c
		}
	}
	for _, way := range ways {
		c, ok := tried[way]
		if !ok {
			call(way, last.Repeat)
			return time.Time{}, true
		}
		if c.waiting() {
			return time.Time{}, c.Tries == 0 || anySent(mine)
		}
	}
	return s.again(d, tried[ways[0]], tried), false
}

// kind says why somebody is called now.
func (s situation) kind() incident.PageKind {
	since := relapsed(s.rec)
	switch {
	case slices.ContainsFunc(s.calls, func(c Call) bool { return s.rec.Level.Graver(c.Level) && !c.ends() && !c.At.Before(since) }):
		return incident.PageEscalated
	case !since.IsZero():
		return incident.PageReopened
	}
	return incident.PageOpened
}

// again plans another try of the first channel, once all have failed.
func (s situation) again(d *decision, first Call, tried map[string]Call) (failed time.Time) {
	for _, c := range tried {
		if c.FailedAt.After(failed) {
			failed = c.FailedAt
		}
	}
	oldest := first
	for _, c := range tried { // in turn: the one that was tried longest ago
		if c.FailedAt.Before(oldest.FailedAt) && !c.FailedAt.IsZero() {
			oldest = c
		}
	}
	if s.now.Sub(first.At) >= Patience {
		return failed
	}
	at := failed.Add(min(firstAgain<<min(max(oldest.Tries-1, 0), 8), longAgain))
	if at.After(s.now) {
		d.wake(at)
	} else {
		d.again = append(d.again, oldest.N)
	}
	return failed
}

func anySent(cs []Call) bool {
	return slices.ContainsFunc(cs, func(c Call) bool { return !c.SentAt.IsZero() })
}

// callsTo are the calls of a step to a person since the fault last came back.
func (s situation) callsTo(st timed, person roster.Person) (out []Call) {
	since := relapsed(s.rec)
	for _, c := range s.calls {
		if c.Step == st.number && c.Person == person.Name && !c.At.Before(since) && c.DroppedAt.IsZero() && c.Level == s.rec.Level {
			out = append(out, c)
		}
	}
	return out
}

// resolve names the people behind the words of a step, each once. Where nobody is on duty on a line, all of the line are.
func (s situation) resolve(who []string) (out []roster.Person) {
	add := func(p roster.Person) {
		if !slices.ContainsFunc(out, func(q roster.Person) bool { return q.Name == p.Name }) {
			out = append(out, p)
		}
	}
	for _, w := range who {
		l, line := lines[w]
		held := line && s.duty.On(l).Held()
		if held {
			add(s.duty.On(l).Person)
		}
		for _, p := range s.people {
			if !line && p.Name == w || line && !held && p.Duty == string(l) {
				add(p)
			}
		}
	}
	return out
}

// tell brings the news of pages to who is on the incident, or else on duty, and a missed deadline to the manager too.
func (s situation) tell(d *decision) {
	who := []string{s.rec.AckBy}
	if len(s.resolve(who)) == 0 {
		who = []string{whoDuty}
	}
	for _, n := range s.news {
		to := who
		if n.kind == incident.PageBreached {
			to = append(slices.Clone(who), whoManager)
		}
		for _, person := range s.resolve(to) {
			s.inform(d, n, person)
		}
	}
}

func (s situation) inform(d *decision, n news, person roster.Person) {
	tried := map[string]Call{}
	for _, c := range s.calls {
		if c.Page == n.page && c.Person == person.Name {
			if !c.SentAt.IsZero() || c.waiting() {
				return
			}
			tried[c.Channel] = c
		}
	}
	ways := s.ways(timed{}, person)
	for _, way := range ways {
		if _, ok := tried[way]; !ok {
			d.fresh = append(d.fresh, Call{Page: n.page, Kind: n.kind, Level: s.rec.Level, Person: person.Name, Channel: way})
			return
		}
	}
	if len(ways) > 0 {
		s.again(d, tried[ways[0]], tried)
	}
}

// end tells everybody who was reached that it is over, and drops what was not sent.
func (s situation) end(d *decision) {
	d.drop = s.unsent(func(c Call) bool { return !c.ends() })
	reached := map[string][]string{} // person → channels, since the last end
	var order []string
	for _, c := range s.calls {
		switch {
		case c.ends():
			delete(reached, c.Person)
			if c.waiting() || !c.SentAt.IsZero() {
				continue
			}
			if at := c.FailedAt.Add(min(firstAgain<<min(max(c.Tries-1, 0), 8), longAgain)); s.now.Sub(c.At) >= Patience {
				continue
			} else if at.After(s.now) {
				d.wake(at)
			} else {
				d.again = append(d.again, c.N)
			}
		case !c.SentAt.IsZero():
			if reached[c.Person] == nil {
				order = append(order, c.Person)
			}
			reached[c.Person] = append(reached[c.Person], c.Channel)
		}
	}
	for _, person := range order {
		ways := reached[person]
		delete(reached, person)
		if i := slices.IndexFunc(ways, s.tells); i >= 0 {
			d.fresh = append(d.fresh, Call{Kind: s.ended, Level: s.rec.Level, Person: person, Channel: ways[i]})
		}
	}
}

func (s situation) unsent(which func(Call) bool) (out []int) {
	for _, c := range s.calls {
		if c.SentAt.IsZero() && c.DroppedAt.IsZero() && which(c) {
			out = append(out, c.N)
		}
	}
	return out
}

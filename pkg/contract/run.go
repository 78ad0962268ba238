package contract

import (
	"slices"
	"time"
)

// run moves one clock from step to step. Each level that the incident has held allows its own time, counted from when the
// incident first weighed that much; those of the present level and of the lighter ones held bind, and the earliest
// deadline of them is due. That is "min(old deadline, escalation + limit)" (R11), and what is missed has a level.
type run struct {
	terms Terms
	clock ClockName
	given Limits // agreed for a minor fault

	at       time.Time
	level    Level
	waits    []Reason            // why the clock is paused
	ran      []stretch           // when time counted
	stood    []stretch           // when the clock was paused, whether that counts or not
	joined   bool                // another incident stands for the fault
	away     []stretch           // when one did
	since    map[Level]time.Time // when the incident first weighed at least that much
	allowed  map[Level]time.Duration
	breaches []Breach
}

// run walks one clock of a history to its end.
func (t Terms) run(h History, clock ClockName, end time.Time) *run {
	r := &run{
		terms: t, clock: clock, given: h.Agreed, at: t.Start(h),
		since: map[Level]time.Time{}, allowed: map[Level]time.Duration{},
	}
	r.grade(h.Level)
	for _, s := range h.Steps {
		if s.At.After(end) {
			break
		}
		r.advance(s.At)
		switch s.Kind {
		case Graded:
			r.grade(s.Level)
		case Paused:
			r.pause(s.Reason)
		case Resumed:
			r.waits = slices.DeleteFunc(r.waits, func(w Reason) bool { return w == s.Reason })
		case Extended:
			r.extend(s)
		case Joined, Left:
			r.joined = s.Kind == Joined
		}
		r.judge() // a level that comes back brings its old deadline, which may be behind the clock
	}
	r.advance(end)
	slices.SortStableFunc(r.breaches, func(a, b Breach) int { return a.At.Compare(b.At) })
	return r
}

// advance lets the clock run, or stand, until to.
func (r *run) advance(to time.Time) {
	if r.at.Before(to) {
		s := stretch{r.at, to}
		switch {
		case r.joined:
			r.away = join(r.away, s)
		case r.paused():
			r.stood = join(r.stood, s)
		}
		if r.running() {
			r.ran = join(r.ran, s)
		}
		r.at = to
	}
	r.judge()
}

func join(list []stretch, s stretch) []stretch {
	if n := len(list); n > 0 && list[n-1].to.Equal(s.from) {
		list[n-1].to = s.to
		return list
	}
	return append(list, s)
}

func (r *run) paused() bool  { return len(r.waits) > 0 }
func (r *run) running() bool { return !r.joined && (!r.paused() || r.terms.NoPauses) }

// pause stops the recovery clock; the response clock never pauses (R7).
func (r *run) pause(why Reason) {
	if r.clock == Recovery && r.terms.pauses(why) && !slices.Contains(r.waits, why) {
		r.waits = append(r.waits, why)
	}
}

// judge notes the deadlines behind the clock. Limits are inclusive: one is missed only once more time is used (R4).
func (r *run) judge() {
	for _, l := range Levels {
		if r.binds(l) && !r.missed(l) && r.used(l) > r.allowed[l] {
			r.breaches = append(r.breaches, Breach{r.clock, l, r.dueOf(l)})
		}
	}
}

func (r *run) grade(l Level) {
	for _, held := range Levels {
		if _, ok := r.since[held]; !ok && !held.Graver(l) {
			r.since[held] = r.at
		}
	}
	r.level = l
	if _, ok := r.allowed[l]; ok {
		return
	}
	limits := r.terms.Limits(l, r.given)
	r.allowed[l] = limits.Recover
	if r.clock == Response {
		r.allowed[l] = limits.Respond
	}
}

// extend grants more time to a general fault's recovery, if it was asked before the old deadline passed (R8).
func (r *run) extend(s Step) {
	if r.clock != Recovery || r.level != General || r.allowed[General] == 0 || r.used(General) > r.allowed[General] {
		return
	}
	if s.Until.After(r.dueOf(General)) {
		r.allowed[General] = r.used(General) + r.terms.measure(General, r.at, s.Until)
	}
}

// used is how much of its own time a level has used up.
func (r *run) used(l Level) (sum time.Duration) {
	for _, s := range r.ran {
		sum += r.measured(l, s)
	}
	return sum
}

func (r *run) measured(l Level, s stretch) time.Duration {
	if since := r.since[l]; s.from.Before(since) {
		s.from = since
	}
	return r.terms.measure(l, s.from, s.to)
}

// binds says whether a level's deadline counts: it has one, it was held, and it is not graver than the present level.
func (r *run) binds(l Level) bool { return r.allowed[l] > 0 && !l.Graver(r.level) }

func (r *run) missed(l Level) bool {
	return slices.ContainsFunc(r.breaches, func(b Breach) bool { return b.Level == l })
}

// dueOf is a level's deadline if nothing happens before: the end of its time. While the clock is paused it moves on with it.
func (r *run) dueOf(l Level) time.Time {
	if r.used(l) == r.allowed[l] && !r.running() {
		return r.at
	}
	return r.moment(l, r.allowed[l], r.used(l) > r.allowed[l])
}

// moment is when a level has used up some of its time, or more than that.
func (r *run) moment(l Level, d time.Duration, more bool) time.Time {
	if rest := d - r.used(l); rest > 0 {
		return r.terms.add(l, r.at, rest)
	}
	for _, s := range r.ran {
		part := r.measured(l, s)
		if d < part || d == part && !more {
			return r.terms.add(l, latest(s.from, r.since[l]), d)
		}
		d -= part
	}
	return r.at
}

func (r *run) due() time.Time {
	var due time.Time
	for _, l := range Levels {
		if r.binds(l) {
			due = earlier(due, r.dueOf(l))
		}
	}
	return due
}

// next is the last moment before the earliest deadline that is still to be missed passes.
func (r *run) next() time.Time {
	var next time.Time
	for _, l := range Levels {
		if r.binds(l) && !r.missed(l) {
			next = earlier(next, r.terms.last(l, r.at, r.allowed[l]-r.used(l)))
		}
	}
	return next
}

// earlier is the earlier of two times of which zero means none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// state is what is known of something over a stretch of time. Absent is before it existed: not counted at all.
type state int8

const (
	unknown state = iota
	up
	down
	absent
)

// stretch is a run of equal results: [from, to) in milliseconds, and how many results said so.
type stretch struct {
	span
	state   state
	results int
}

// timeline is the history of one vantage (one check from one agent) as stretches in order; what lies between them is
// unknown. It grows with changes of state, not with samples.
type timeline struct {
	every int64 // ms between results
	hold  int64 // ms for which a result stands when no other follows
	runs  []stretch
	first int64 // time of the oldest result
	last  int64 // time of the newest result
	seen  bool
	phase int64 // of the grid, from the newest result
}

func newTimeline(every time.Duration, hold int) *timeline {
	ms := max(every.Milliseconds(), 1)
	return &timeline{every: ms, hold: ms * int64(hold)}
}

// add takes the result at t: it holds until the next one, at most for hold. NaN is a round that could not run: unknown.
func (l *timeline) add(t int64, v float64) error {
	if l.seen && t < l.last {
		return fmt.Errorf("sample at %d after one at %d", t, l.last)
	}
	if l.seen && t == l.last {
		return nil
	}
	if !l.seen {
		l.first = t
	}
	l.close(t)
	l.last, l.seen, l.phase = t, true, t%l.every
	s := unknown
	switch {
	case v > 0:
		s = up
	case !math.IsNaN(v):
		s = down
	}
	if n := len(l.runs); n > 0 && l.runs[n-1].state == s && l.runs[n-1].to == t {
		l.runs[n-1].results++
		return nil
	}
	l.runs = append(l.runs, stretch{span{t, t}, s, 1})
	return nil
}

// close ends what the newest result says at t or when it has held for long enough.
func (l *timeline) close(t int64) {
	if n := len(l.runs); n > 0 {
		l.runs[n-1].to = min(t, l.last+l.hold)
	}
}

// at is the state at t, looking from stretch i on, and where it was found; callers go forward in time.
func (l *timeline) at(t int64, i int) (state, int) {
	for i < len(l.runs) && l.runs[i].to <= t {
		i++
	}
	if i < len(l.runs) && l.runs[i].from <= t {
		return l.runs[i].state, i
	}
	return unknown, i
}

// ticks counts the grid's ticks in the span.
func (l *timeline) ticks(s span) int64 {
	if s.to <= s.from {
		return 0
	}
	before := func(t int64) int64 { return int64(math.Ceil(float64(t-l.phase) / float64(l.every))) }
	return before(s.to) - before(s.from)
}

// lane is one check as the service sees it: the timelines of its vantages, and since when it exists.
type lane struct {
	exists   span
	vantages []*timeline
}

// stateAt is what the vantages of a check agree on: up when one of them is, down when all that know anything are down.
func (n lane) stateAt(t int64, cursors []int) state {
	if t < n.exists.from || t >= n.exists.to {
		return absent
	}
	out := unknown
	for i, v := range n.vantages {
		var s state
		s, cursors[i] = v.at(t, cursors[i])
		if s == up {
			out = up
		}
		if s == down && out == unknown {
			out = down
		}
	}
	return out
}

// combine lays the checks of a service over each other: it is down while any of them is down, else unknown while any of
// them is unknown, else up. Stretches without any check are absent and left out.
func combine(lanes []lane, window span) []stretch {
	var out []stretch
	cursors := make([][]int, len(lanes))
	for i, n := range lanes {
		cursors[i] = make([]int, len(n.vantages))
	}
	marks := boundaries(lanes, window)
	for i := 0; i+1 < len(marks); i++ {
		from, to := marks[i], marks[i+1]
		s := absent
		for j, n := range lanes {
			s = worse(s, n.stateAt(from, cursors[j]))
		}
		if s == absent {
			continue
		}
		if k := len(out); k > 0 && out[k-1].state == s && out[k-1].to == from {
			out[k-1].to = to
			continue
		}
		out = append(out, stretch{span: span{from, to}, state: s})
	}
	return out
}

func worse(a, b state) state {
	rank := [...]int{unknown: 2, up: 1, down: 3, absent: 0}
	if rank[b] > rank[a] {
		return b
	}
	return a
}

// boundaries are all moments of the window at which something may change, its ends included.
func boundaries(lanes []lane, window span) []int64 {
	out := []int64{window.from, window.to}
	add := func(t int64) {
		if t > window.from && t < window.to {
			out = append(out, t)
		}
	}
	for _, n := range lanes {
		add(n.exists.from)
		add(n.exists.to)
		for _, v := range n.vantages {
			for _, r := range v.runs {
				add(r.from)
				add(r.to)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// tally is time by state.
type tally struct{ up, down, unknown int64 }

func (t *tally) add(s state, ms int64) {
	switch s {
	case up:
		t.up += ms
	case down:
		t.down += ms
	case unknown:
		t.unknown += ms
	}
}

// share is up / (up + down); nothing known, nothing said.
func (t tally) share() Maybe[float64] { return ratio(t.up, t.up+t.down) }

// within is the part of the stretches that falls into the spans, both in order.
func within(runs []stretch, spans []span) (t tally) {
	i := 0
	for _, r := range runs {
		for i > 0 && spans[i-1].to > r.from {
			i--
		}
		for ; i < len(spans) && spans[i].from < r.to; i++ {
			if d := min(r.to, spans[i].to) - max(r.from, spans[i].from); d > 0 {
				t.add(r.state, d)
			}
		}
	}
	return t
}

// outage is one confirmed interruption; down is its time known to be down.
type outage struct {
	from, down int64
	ended      bool
}

// outages are the stretches of down from the first failing result to the next good one; unknown time in between neither
// ends an outage nor counts as down. Those that confirmed does not know are left out: one failed request is no outage.
func outages(runs []stretch, confirmed func(span) bool) (out []outage) {
	var open *outage
	sure := false
	flush := func(ended bool) {
		if open != nil && sure {
			open.ended = ended
			out = append(out, *open)
		}
		open, sure = nil, false
	}
	for _, r := range runs {
		switch r.state {
		case down:
			if open == nil {
				open = &outage{from: r.from}
			}
			open.down += r.to - r.from
			sure = sure || confirmed(r.span)
		case up:
			flush(true)
		}
	}
	flush(false)
	return out
}

// touches says whether any of the spans, which are in order and do not overlap, meets s.
func touches(spans []span, s span) bool {
	i, _ := slices.BinarySearchFunc(spans, s.from, func(x span, from int64) int { return cmp.Compare(x.to, from+1) })
	return i < len(spans) && spans[i].from < s.to
}

package measure

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// span is a stretch of time in milliseconds, half-open.
type span struct{ from, to int64 }

// state is what is known of something over a stretch of time. Absent is while it did not exist or was not to be asked: not
// counted at all.
type state int8

const (
	unknown state = iota
	up
	down
	absent
	planned // a planned window: counted beside all else
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
	pace  pace
	hold  int64 // intervals for which a result stands when no other follows
	runs  []stretch
	first int64 // time of the oldest result
	last  int64 // time of the newest result
	seen  bool
	phase map[int64]int64 // of the grid of each interval, from the newest result
}

func newTimeline(p pace, hold int) *timeline {
	return &timeline{pace: p, hold: int64(hold), phase: map[int64]int64{}}
}

// says is what a sample says. NaN is a round that could not run: unknown.
func says(v float64) state {
	switch {
	case v > 0:
		return up
	case math.IsNaN(v):
		return unknown
	}
	return down
}

// add takes the result at t: it holds until the next one, at most for hold.
func (l *timeline) add(t int64, s state) error {
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
	every := l.pace.at(t)
	l.last, l.seen, l.phase[every] = t, true, t%every
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
		l.runs[n-1].to = min(t, l.last+l.hold*l.pace.at(l.last))
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

// ticks counts how often the check was due in the span.
func (l *timeline) ticks(s span) (n int64) {
	for _, p := range l.pace.within(s) {
		before := func(t int64) int64 { return int64(math.Ceil(float64(t-l.phase[p.every]) / float64(p.every))) }
		n += before(p.to) - before(p.from)
	}
	return n
}

// lane is one check as the service sees it: the timelines of its vantages, and when it was there to be asked.
type lane struct {
	exists   []span // in order
	planned  set
	vantages []*timeline
}

// stateAt is what the vantages of a check agree on: down when all that know anything are, or when two are at least and more than
// are up, as a fault is told.
func (n lane) stateAt(t int64, cursors []int) state {
	if !slices.ContainsFunc(n.exists, func(s span) bool { return t >= s.from && t < s.to }) {
		return absent
	}
	if n.planned.has(t) {
		return planned
	}
	var says [planned + 1]int
	for i, v := range n.vantages {
		var s state
		s, cursors[i] = v.at(t, cursors[i])
		says[s]++
	}
	switch {
	case says[down] > 1 && says[down] > says[up], says[down] > 0 && says[up] == 0:
		return down
	case says[up] > 0:
		return up
	case says[absent] > 0:
		return absent
	}
	return unknown
}

// combine lays the checks of a service over each other: it is down while any of them is down, else unknown while any of
// them is unknown, else up while any of them is, else planned. Stretches without any check are absent and left out.
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
	rank := [...]int{absent: 0, planned: 1, up: 2, unknown: 3, down: 4}
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
		for _, s := range slices.Concat(n.exists, n.planned) {
			add(s.from)
			add(s.to)
		}
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

// without is the spans but for the parts that lie in the holes; both are in order.
func without(spans, holes []span) (out []span) {
	for _, s := range spans {
		for _, h := range holes {
			if h.to <= s.from || h.from >= s.to {
				continue
			}
			if h.from > s.from {
				out = append(out, span{s.from, h.from})
			}
			s.from = min(h.to, s.to)
		}
		if s.from < s.to {
			out = append(out, s)
		}
	}
	return out
}

// clip is the part of the stretches that falls into the spans, both in order.
func clip(runs []stretch, spans []span) (out []stretch) {
	i := 0
	for _, r := range runs {
		for i > 0 && spans[i-1].to > r.from {
			i--
		}
		for ; i < len(spans) && spans[i].from < r.to; i++ {
			if from, to := max(r.from, spans[i].from), min(r.to, spans[i].to); from < to {
				out = append(out, stretch{span{from, to}, r.state, r.results})
			}
		}
	}
	return out
}

// touches says whether any of the spans, which are in order and do not overlap, meets s.
func touches(spans []span, s span) bool {
	i, _ := slices.BinarySearchFunc(spans, s.from, func(x span, from int64) int { return cmp.Compare(x.to, from+1) })
	return i < len(spans) && spans[i].from < s.to
}

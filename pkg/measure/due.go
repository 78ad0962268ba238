package measure

import "math"

var always = span{math.MinInt64, math.MaxInt64}

// due counts the rounds that were due: for each agent that the check names, and for each other that was heard that day; of a
// check that some agents make in turn, those of whoever made it.
func (r *reading) due(vs []*vantage, calendar set) (n int64) {
	if r.Vantages > 0 || r.Gone {
		return r.dueInTurn(vs, calendar)
	}
	heard := map[string]*vantage{}
	for _, v := range vs {
		heard[v.agent] = v
	}
	for _, a := range r.Agents {
		grid := newTimeline(r.pace, 1)
		if v := heard[a]; v != nil {
			grid = v.timeline
		}
		n += r.ticks(grid, always, calendar)
		delete(heard, a)
	}
	if len(r.Agents) == 0 && len(vs) == 0 {
		n += r.ticks(newTimeline(r.pace, 1), always, calendar) // nobody was heard, but somebody was to look
	}
	for _, v := range heard {
		life := always
		if len(r.Agents) > 0 {
			life = span{v.first, v.last + v.pace.at(v.last)}
		}
		n += r.ticks(v.timeline, life, calendar)
	}
	return n
}

// dueInTurn counts for each agent while it made the check, for one that stands by is not heard; and for one while none did.
func (r *reading) dueInTurn(vs []*vantage, calendar set) (n int64) {
	nobody := []span{always}
	for _, v := range vs {
		heard := v.heard()
		nobody = without(nobody, heard)
		for _, s := range heard {
			n += r.ticks(v.timeline, s, calendar)
		}
	}
	for _, s := range nobody {
		n += r.ticks(newTimeline(r.pace, 1), s, calendar)
	}
	return n
}

// ticks counts those of a grid within a span, while the check existed.
func (r *reading) ticks(l *timeline, within span, calendar set) (n int64) {
	for _, e := range r.exists {
		for _, c := range calendar {
			s := span{max(e.from, c.from, within.from), min(e.to, c.to, within.to)}
			if s.from < s.to {
				n += l.ticks(s)
			}
		}
	}
	return n
}

// heard are the stretches in which one result came while the one before it held, each until the next would have come.
func (l *timeline) heard() (out []span) {
	for i, r := range l.runs {
		if n := len(out); n > 0 && l.runs[i-1].to == r.from {
			out[n-1].to = r.to
			continue
		}
		out = append(out, r.span)
	}
	for i := range out {
		end := out[i].to
		if i == len(out)-1 {
			out[i].to = min(end, l.last+l.pace.at(l.last))
			continue
		}
		out[i].to = end - (l.hold-1)*l.pace.at(end)
	}
	return out
}

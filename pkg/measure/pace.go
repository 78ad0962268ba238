package measure

import (
	"time"

	"xunjian/pkg/check"
)

// pace is at which interval something is due, in the order of time; equal neighbours are one.
type pace []shift

// shift is a stretch of one interval in milliseconds.
type shift struct {
	span
	every int64
}

// defaultEvery stands for an interval that nobody gave.
const defaultEvery = 10 * time.Second

// steady is one interval for all time.
func steady(every time.Duration) pace {
	if every <= 0 {
		every = defaultEvery
	}
	return pace{{span{0, 1 << 62}, max(every.Milliseconds(), 1)}}
}

// paceOf follows the hours of a check, and the periods in which it is asked more often, over a window; stretches in which it is not asked are left out.
func paceOf(s check.Spec, window span, loc *time.Location) pace {
	if s.Hours == (check.Hours{}) && s.Even(time.UnixMilli(window.from), time.UnixMilli(window.to)) {
		return steady(s.Every)
	}
	var out pace
	const minute = 60_000
	for t := window.from - window.from%minute; t < window.to; t += minute {
		every := s.Pace(time.UnixMilli(t).In(loc)).Milliseconds()
		if every == 0 {
			continue
		}
		if n := len(out); n > 0 && out[n-1].every == every && out[n-1].to == t {
			out[n-1].to = t + minute
			continue
		}
		out = append(out, shift{span{t, t + minute}, every})
	}
	if len(out) == 0 { // never asked in this window: what is there all the same counts as if asked at its usual pace
		return steady(s.Every)
	}
	return out
}

func (p pace) longest() (out int64) {
	for _, s := range p {
		out = max(out, s.every)
	}
	return out
}

// at is the interval in force at t, or the last one before it.
func (p pace) at(t int64) int64 {
	every := p[0].every
	for _, s := range p {
		if s.from > t {
			break
		}
		every = s.every
	}
	return every
}

// within is the part that lies in the span.
func (p pace) within(s span) (out pace) {
	for _, x := range p {
		if from, to := max(x.from, s.from), min(x.to, s.to); from < to {
			out = append(out, shift{span{from, to}, x.every})
		}
	}
	return out
}

// spans are the stretches in which something is due at all, within the window.
func (p pace) spans(window span) (out []span) {
	for _, x := range p.within(window) {
		if n := len(out); n > 0 && out[n-1].to == x.from {
			out[n-1].to = x.to
			continue
		}
		out = append(out, x.span)
	}
	return out
}

package measure

import (
	"slices"
	"time"

	"xunjian/pkg/contract"
)

// Figures are what a service or a step did over a span of time, under one calendar (DOMAIN 1.0). Those of neighbouring spans
// add up, in the order of time. Times are in milliseconds.
type Figures struct {
	Up      int64 `json:"up"`
	Down    int64 `json:"down"`
	Unknown int64 `json:"unknown"` // nobody could look: neither up nor down
	Planned int64 `json:"planned"` // planned windows: in neither, whatever happened in them

	Due    int64 `json:"due"`  // rounds
	Done   int64 `json:"done"` // rounds with a verdict
	Passed int64 `json:"passed"`
	Slow   int64 `json:"slow"` // of those passed

	Latency Sketch   `json:"latency"` // of good answers, in seconds
	Outages []Outage `json:"outages,omitempty"`
	FirstUp int64    `json:"first_up,omitempty"` // when it was first up, 0 when never
	Worst   Hour     `json:"worst,omitzero"`     // the hour of the lowest share of passed rounds, the first of several
}

// Outage runs from the first failing result to the next good one; unknown time in between neither ends it nor counts as down.
type Outage struct {
	From  int64 `json:"from"`
	To    int64 `json:"to"`   // of the good result; while it lasts, the end of what is known
	Down  int64 `json:"down"` // of it known to be down
	Ended bool  `json:"ended"`
	Sure  bool  `json:"sure"` // enough failing results in a row, or an incident says so: one failed request is no outage
}

// Hour counts the rounds of an hour of the clock.
type Hour struct {
	At     int64 `json:"at,omitempty"`
	Done   int64 `json:"done,omitempty"`
	Passed int64 `json:"passed,omitempty"`
}

// Success is the share of passed rounds.
func (h Hour) Success() Maybe[float64] { return Ratio(h.Passed, h.Done) }

// flapWithin is how soon an outage must be over to be a flap (DOMAIN 1.0: up-down-up in 30 min).
const flapWithin = 30 * time.Minute

// take adds up the stretches, which are in order.
func (f *Figures) take(runs []stretch, confirmed func(span) bool) {
	var open *Outage
	for _, r := range runs {
		length := r.to - r.from
		switch r.state {
		case unknown:
			f.Unknown += length
		case planned:
			f.Planned += length
		case down:
			f.Down += length
			if open == nil {
				f.Outages = append(f.Outages, Outage{From: r.from})
				open = &f.Outages[len(f.Outages)-1]
			}
			open.Down += length
			open.To = r.to
			open.Sure = open.Sure || confirmed(r.span)
		case up:
			f.Up += length
			if f.FirstUp == 0 {
				f.FirstUp = r.from
			}
			if open != nil {
				open.Ended, open.To = true, r.from
			}
			open = nil
		}
	}
}

// Add appends the figures of the span that follows: an outage that lasted goes on there or ends.
func (f *Figures) Add(next *Figures) {
	outages := next.Outages
	if n := len(f.Outages); n > 0 && !f.Outages[n-1].Ended {
		open := &f.Outages[n-1]
		if len(outages) > 0 && (next.FirstUp == 0 || outages[0].From < next.FirstUp) {
			o := outages[0]
			open.To, open.Ended, open.Sure, open.Down = o.To, o.Ended, open.Sure || o.Sure, open.Down+o.Down
			outages = outages[1:]
		} else if next.FirstUp != 0 {
			open.To, open.Ended = next.FirstUp, true
		}
	}
	f.Outages = append(f.Outages, outages...)
	if f.FirstUp == 0 {
		f.FirstUp = next.FirstUp
	}
	f.Up, f.Down, f.Unknown, f.Planned = f.Up+next.Up, f.Down+next.Down, f.Unknown+next.Unknown, f.Planned+next.Planned
	f.Due, f.Done, f.Passed, f.Slow = f.Due+next.Due, f.Done+next.Done, f.Passed+next.Passed, f.Slow+next.Slow
	f.Latency.merge(&next.Latency)
	f.Worst = worseHour(f.Worst, next.Worst)
}

func worseHour(a, b Hour) Hour {
	if a.Done == 0 || b.Done > 0 && b.Passed*a.Done < a.Passed*b.Done {
		return b
	}
	return a
}

// Confirm makes sure of the outages that an incident speaks of: agents ask again within a second, so an outage may be
// confirmed though it lasted for a single round.
func (f *Figures) Confirm(incidents []contract.Span) {
	for i, o := range f.Outages {
		f.Outages[i].Sure = o.Sure || slices.ContainsFunc(incidents, func(s contract.Span) bool { return s.From < o.To && o.From < s.To })
	}
}

// Interruptions are the outages that are sure.
func (f *Figures) Interruptions() (out []Outage) {
	for _, o := range f.Outages {
		if o.Sure {
			out = append(out, o)
		}
	}
	return out
}

// Availability is up / (up + down).
func (f *Figures) Availability() Maybe[float64] { return Ratio(f.Up, f.Up+f.Down) }

// Success is the share of the rounds with a verdict that passed.
func (f *Figures) Success() Maybe[float64] { return Ratio(f.Passed, f.Done) }

// SlowShare is the share of the passed rounds that were late.
func (f *Figures) SlowShare() Maybe[float64] { return Ratio(f.Slow, f.Passed) }

// Variation is how far the slow answers lie from the usual: p95 / p50.
func (f *Figures) Variation() Maybe[float64] {
	usual, slow := f.Latency.Quantile(0.5), f.Latency.Quantile(0.95)
	if !usual.Known || usual.Value <= 0 {
		return Maybe[float64]{}
	}
	return Known(slow.Value.Seconds() / usual.Value.Seconds())
}

// Longest is the longest interruption by its time down; missing when there was none.
func (f *Figures) Longest() (out Maybe[time.Duration]) {
	for _, o := range f.Interruptions() {
		if d := millis(o.Down); !out.Known || d > out.Value {
			out = Known(d)
		}
	}
	return out
}

// MTTR is the mean time down of the interruptions that ended.
func (f *Figures) MTTR() Maybe[time.Duration] {
	var sum, n int64
	for _, o := range f.Interruptions() {
		if o.Ended {
			sum, n = sum+o.Down, n+1
		}
	}
	if n == 0 {
		return Maybe[time.Duration]{}
	}
	return Known(millis(sum / n))
}

// MTBF is the time up for each interruption; missing when there was none.
func (f *Figures) MTBF() Maybe[time.Duration] {
	n := int64(len(f.Interruptions()))
	if n == 0 {
		return Maybe[time.Duration]{}
	}
	return Known(millis(f.Up / n))
}

// Flaps counts the interruptions that were over within half an hour.
func (f *Figures) Flaps() (n int64) {
	for _, o := range f.Interruptions() {
		if o.Ended && o.To-o.From <= flapWithin.Milliseconds() {
			n++
		}
	}
	return n
}

// Lasting says that the last interruption has not ended.
func (f *Figures) Lasting() bool {
	n := len(f.Outages)
	return n > 0 && f.Outages[n-1].Sure && !f.Outages[n-1].Ended
}

func millis(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

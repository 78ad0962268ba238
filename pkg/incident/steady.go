package incident

import (
	"fmt"
	"time"

	"xunjian/pkg/store"
)

// The wall clock may be set while people's clocks run: NTP after a start, a person, a host that wakes. What has really
// passed is known all the same, for the machine's monotonic clock does not step. Each look at both finds a step, and every
// incident of which more is to come keeps it as an event: its times go on as if nobody had touched the clock, while new
// incidents bear the new time. So no duration in an incident is ever longer or shorter for it.

// Jump is a step of the wall clock.
type Jump struct {
	From time.Time     `json:"from"` // what the clock would have said
	To   time.Time     `json:"to"`   // what it said instead
	By   time.Duration `json:"by"`
}

const (
	leastJump  = 500 * time.Millisecond // less is a clock that is made to run faster or slower
	restartGap = 2 * time.Second        // a clock that is so far behind its own past was set back while nothing ran
	maxJumps   = 16                     // that are remembered, to read times of before
)

// absurd is a time at which this program was not there yet: the clock of a machine without a battery.
var absurd = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

var (
	jumps = store.NewTable[Jump]("incident_jumps")
	marks = store.NewTable[time.Time]("incident_clock") // the wall clock at the last write
)

const lastMark = "last"

// steady watches the wall clock against what has really passed.
type steady struct {
	read   func() (wall time.Time, passed time.Duration)
	wall   time.Time
	passed time.Duration
	lag    time.Duration // added to a wall clock that is out of all reason
	jumps  []Jump        // the latest
	due    []Jump        // found and not written yet
}

// systemClock is the machine's.
func systemClock() func() (time.Time, time.Duration) {
	start := time.Now()
	return func() (time.Time, time.Duration) {
		now := time.Now()
		return clean(now), now.Sub(start)
	}
}

// begin compares the clock with the last that is known of it.
func (s *steady) begin(mark time.Time) {
	s.wall, s.passed = s.read()
	if mark.IsZero() || s.wall.After(mark.Add(-restartGap)) {
		return
	}
	if s.wall.Before(absurd) && mark.After(absurd) {
		s.lag = mark.Sub(s.wall)
		return
	}
	s.due = append(s.due, Jump{From: mark, To: s.wall, By: s.wall.Sub(mark)})
}

// look finds out whether the wall clock has stepped since the last look.
func (s *steady) look() {
	wall, passed := s.read()
	by := wall.Sub(s.wall) - (passed - s.passed)
	if by.Abs() >= leastJump {
		if s.lag > 0 { // it comes to its senses
			rest := max(s.lag-by, 0)
			s.lag, by = rest, by-(s.lag-rest)
		}
		if by.Abs() >= leastJump {
			to := wall.Add(s.lag)
			s.due = append(s.due, Jump{From: to.Add(-by), To: to, By: by})
		}
	}
	s.wall, s.passed = wall, passed
}

// now is a reading of the wall clock in the desk's time: that of the clock as it is set now.
func (s *steady) now(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return clean(t).Add(s.lag)
}

// past is the desk's time of a moment that was read off the wall clock at some time up to now, maybe before it was set.
func (s *steady) past(t, now time.Time) time.Time {
	if t.IsZero() || len(s.jumps) == 0 {
		return t
	}
	until, shift := now, time.Duration(0)
	for i := len(s.jumps) - 1; i >= 0; i-- {
		j := s.jumps[i]
		if !t.Before(j.To) && !t.After(until) || t.After(until) && t.After(j.From) {
			break
		}
		shift += j.By
		until = j.From
	}
	return t.Add(shift)
}

// readClock takes up the watch where the last process left it.
func (d *Desk) readClock(tx *store.Tx) error {
	mark, err := marks.Get(tx, lastMark)
	if ignoreMissing(err) != nil {
		return err
	}
	d.clock.begin(mark)
	return nil
}

// watchClock writes down the steps of the wall clock that have been found. Nothing else is written while it cannot:
// it would bear a wrong time. The caller holds mu.
func (d *Desk) watchClock() error {
	d.clock.look()
	for len(d.clock.due) > 0 {
		j := d.clock.due[0]
		if err := d.jump(j); err != nil {
			return fmt.Errorf("write down that the clock was set by %v: %w", j.By, err)
		}
		d.clock.due = d.clock.due[1:]
		d.clock.jumps = append(d.clock.jumps[max(0, len(d.clock.jumps)-maxJumps+1):], j)
		d.metrics.jumps.Inc()
		d.o.Logger.Warn("wall clock was set; clocks of open incidents go on as before", "by", j.By, "from", j.From, "to", j.To)
	}
	return nil
}

func (d *Desk) jump(j Jump) error {
	b := d.blankBatch(j.To)
	for id, l := range d.unclosed {
		w := &draft{b: b, base: l.Version, rec: l.Record, now: later(j.From.Add(-l.Skew), l.UpdatedAt)}
		b.drafts[id] = w
		b.order = append(b.order, w)
		w.add(Event{Kind: EventStepped, Skew: l.Skew + j.By})
	}
	b.jump = &j
	return b.commit()
}

// desk is the desk's time of a time in the record.
func (r Record) desk(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(r.Skew)
}

// own is the record's time of a time of the desk.
func (r Record) own(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(-r.Skew)
}

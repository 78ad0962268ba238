package incident

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Tick writes down what time alone has brought by now: recoveries that held, deadlines that were missed, each at its
// own true time however late the tick comes (R16). It may run as often as one likes.
func (d *Desk) Tick(now time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.watchClock(); err != nil {
		return fmt.Errorf("tick incidents: %w", err)
	}
	reached := d.clock.now(now)
	if err := d.release(reached); err != nil {
		return fmt.Errorf("tick incidents: %w", err)
	}
	if d.newCalendar {
		if err := d.recountAll(now); err != nil {
			return fmt.Errorf("tick incidents: %w", err)
		}
	}
	due := d.ranked(func(l live) bool { return !l.due.IsZero() && !l.due.After(reached) })
	for some := range slices.Chunk(due, 256) { // what one transaction holds
		b, err := d.batch(now)
		if err != nil {
			return fmt.Errorf("tick incidents: %w", err)
		}
		for _, r := range some {
			w, err := b.draft(r.ID)
			if err != nil {
				return fmt.Errorf("tick incidents: %w", err)
			}
			w.settle(w.now)
		}
		if err := b.save(); err != nil {
			return fmt.Errorf("tick incidents: %w", err)
		}
	}
	return nil
}

// ranked are the incidents that are not filed and match, the gravest and oldest first, so that their pages go first.
func (d *Desk) ranked(match func(live) bool) (out []Record) {
	for _, l := range d.unclosed {
		if match(l) {
			out = append(out, l.Record)
		}
	}
	slices.SortFunc(out, func(a, b Record) int {
		return cmp.Or(byGravity(a, b), strings.Compare(a.ID, b.ID))
	})
	return out
}

// Next is when Tick will next have something to write, if nothing happens before; false when nothing is pending.
func (d *Desk) Next() (time.Time, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var first time.Time
	for _, l := range d.unclosed {
		if !l.due.IsZero() && (first.IsZero() || l.due.Before(first)) {
			first = l.due
		}
	}
	for _, h := range d.held {
		first = earlier(first, d.windows[h.Window].end())
	}
	if first.IsZero() {
		return first, false
	}
	return first.Add(-d.clock.lag), true
}

// Gap says that nobody watched between two moments: good runs that span it do not count as recoveries and start anew
// with the next good sample (R5, R16). The collector tells it at start, before the first Tick; a gap under a minute
// is a restart and breaks nothing.
func (d *Desk) Gap(from, to time.Time) error {
	if to.Sub(from) < time.Minute {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	b, err := d.batch(to)
	if err != nil {
		return fmt.Errorf("note a gap in watching: %w", err)
	}
	from = d.clock.past(d.clock.now(from), b.now)
	for _, r := range d.ranked(func(l live) bool { return !l.VerifyingSince.IsZero() }) {
		w, err := b.draft(r.ID)
		if err != nil {
			return fmt.Errorf("note a gap in watching: %w", err)
		}
		from := w.rec.own(from)
		w.settle(from)
		if !w.rec.VerifyingSince.IsZero() {
			w.add(Event{Kind: EventGap, Of: from})
		}
	}
	if err := b.save(); err != nil {
		return fmt.Errorf("note a gap in watching: %w", err)
	}
	return nil
}

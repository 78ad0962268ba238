package incident

import (
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
	var drafts []*draft
	due := func(l live) bool { return !l.due.IsZero() && !l.due.After(now) }
	for _, r := range d.ranked(due) {
		w := newDraft(r, now)
		if w.settle(w.now); len(w.events) > 0 {
			drafts = append(drafts, w)
		}
	}
	for len(drafts) > 0 {
		n := min(len(drafts), 256) // what one transaction holds
		if err := d.save(drafts[:n]...); err != nil {
			return fmt.Errorf("tick incidents: %w", err)
		}
		drafts = drafts[n:]
	}
	return nil
}

// ranked are the incidents that are not closed and match, the gravest and oldest first, so that their pages go first.
func (d *Desk) ranked(match func(live) bool) (out []Record) {
	for _, l := range d.unclosed {
		if match(l) {
			out = append(out, l.Record)
		}
	}
	slices.SortFunc(out, func(a, b Record) int {
		switch {
		case a.Level.Graver(b.Level):
			return -1
		case b.Level.Graver(a.Level):
			return 1
		}
		return strings.Compare(a.ID, b.ID)
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
	return first, !first.IsZero()
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
	var drafts []*draft
	for _, r := range d.ranked(func(l live) bool { return !l.VerifyingSince.IsZero() }) {
		w := newDraft(r, to)
		w.settle(from)
		if !w.rec.VerifyingSince.IsZero() {
			w.add(Event{Kind: EventGap, Of: from})
		}
		drafts = append(drafts, w)
	}
	if len(drafts) == 0 {
		return nil
	}
	if err := d.save(drafts...); err != nil {
		return fmt.Errorf("note a gap in watching: %w", err)
	}
	return nil
}

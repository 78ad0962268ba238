package incident

import (
	"fmt"
	"maps"
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
	for _, r := range d.ranked() {
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

// ranked are the incidents that are not closed, the gravest and oldest first, so that their pages go first.
func (d *Desk) ranked() []Record {
	return slices.SortedFunc(maps.Values(d.unclosed), func(a, b Record) int {
		switch {
		case a.Level.Graver(b.Level):
			return -1
		case b.Level.Graver(a.Level):
			return 1
		}
		return strings.Compare(a.ID, b.ID)
	})
}

// Next is when Tick will next have something to write, if nothing happens before; false when nothing is pending.
func (d *Desk) Next(now time.Time) (time.Time, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var first time.Time
	for _, r := range d.unclosed {
		if at, ok := next(r, now); ok && (first.IsZero() || at.Before(first)) {
			first = at
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
	for _, r := range d.ranked() {
		if r.VerifyingSince.IsZero() {
			continue
		}
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

package pager

import (
	"cmp"
	"slices"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/incident"
)

const (
	storm    = 10              // pages at hand that make one message instead of so many
	absence  = 5 * time.Minute // a receiver that was away for longer gets one message of what it has missed
	absentee = 2               // pages from which that is one
)

// item is a page that a worker is not done with.
type item struct {
	seq      uint64
	incident string
	level    contract.Level
	page     *incident.Page // nil: read it again
	attempt
	delivered string // key under which the receiver has said yes, though the store does not know it yet
	foreign   bool   // not for this channel: of another level
}

func (it *item) settled() bool { return !it.SettledAt.IsZero() }

// ready are the pages whose turn it may be, gravest incident first, in each the oldest first; else how long until there is
// one, 0: not until something changes. A page that waits by itself holds up those of its incident alone.
func (w *worker) ready(now time.Time) (out []*item, wait time.Duration) {
	blocked, grave := map[string]bool{}, map[string]contract.Level{}
	order := map[string]uint64{}
	for _, it := range w.queue {
		if it.settled() || blocked[it.incident] {
			continue
		}
		if d := it.NextTry.Sub(now); d > 0 {
			blocked[it.incident] = true
			if wait == 0 || d < wait {
				wait = d
			}
			continue
		}
		if it.level.Graver(grave[it.incident]) {
			grave[it.incident] = it.level
		}
		if order[it.incident] == 0 {
			order[it.incident] = it.seq
		}
		out = append(out, it)
	}
	slices.SortStableFunc(out, func(a, b *item) int {
		switch {
		case grave[a.incident].Graver(grave[b.incident]):
			return -1
		case grave[b.incident].Graver(grave[a.incident]):
			return 1
		}
		return cmp.Or(cmp.Compare(order[a.incident], order[b.incident]), cmp.Compare(a.seq, b.seq))
	})
	return out, wait
}

// away says whether the receiver has failed for long.
func (w *worker) away(now time.Time) bool {
	return !w.awaySince.IsZero() && now.Sub(w.awaySince) >= absence
}

// foremost are the ready pages of urgent incidents, which come first, or else all: those that go one by one when there is room.
func foremost(ready []*item) (front []*item, urgent bool) {
	n := len(ready)
	for n > 0 && ready[n-1].level != contract.Urgent {
		n--
	}
	if n == 0 {
		return ready, false
	}
	return ready[:n], true
}

// batch is what the next message holds: one page, or several when there are too many to go one by one, or when the
// receiver was away. A page that may have arrived goes again by itself, under its own key.
func (w *worker) batch(ready []*item, few bool, now time.Time) []*item {
	missed := len(ready) >= absentee && (w.away(now) || ready[0].seq <= w.missedTo)
	if ready[0].Unsure || !missed && few {
		return ready[:1]
	}
	var out []*item
	skipped := map[string]bool{}
	for _, it := range ready {
		if skipped[it.incident] = skipped[it.incident] || it.Unsure; skipped[it.incident] {
			continue
		}
		if out = append(out, it); len(out) == min(maxDigest, w.mostMerged) {
			break
		}
	}
	return out
}

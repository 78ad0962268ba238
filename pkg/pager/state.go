package pager

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"xunjian/pkg/incident"
	"xunjian/pkg/store"
)

// cursor is where a channel stands: it is done with every page up to a number.
type cursor struct {
	Done uint64 `json:"done"`
}

// attempt is what is known of one page on one channel, kept from the first failure until the cursor has passed it.
type attempt struct {
	Tries     int       `json:"tries"`
	LastTry   time.Time `json:"last_try"`
	NextTry   time.Time `json:"next_try,omitzero"`
	Answer    string    `json:"answer,omitempty"`
	Unsure    bool      `json:"unsure,omitempty"`    // the last try may have arrived: it goes again under its own key
	SettledAt time.Time `json:"settled_at,omitzero"` // delivered or given up while an earlier page is still being tried
	Key       string    `json:"key,omitempty"`       // under which it was delivered: its own or a digest's
}

// merged is a digest under way.
type merged struct {
	Key   string    `json:"key"`
	Pages []uint64  `json:"pages"` // numbers, in its order
	At    time.Time `json:"at"`

	unsure bool // it may have arrived
}

// The tables. Only this package writes them.
var (
	cursors = store.NewTable[cursor]("pager_channels")
	tries   = store.NewTable[attempt]("pager_tries") // <channel>/<number>
	given   = store.NewTable[Pending]("pager_lost")  // given up: <channel>/<number>
	digests = store.NewTable[merged]("pager_digests")
)

// maxLost bounds the list of given-up pages of a channel; the oldest leave it.
const maxLost = 1000

func key(channel string, seq uint64) string { return fmt.Sprintf("%s/%016x", channel, seq) }

func (p *Pager) cursor(channel string) (c cursor, err error) {
	err = p.db.View(func(tx *store.Tx) (err error) {
		c, err = cursors.Get(tx, channel)
		return err
	})
	return c, err
}

// underWay is the digest that was being sent when the process ended, nil: none was.
func (p *Pager) underWay(channel string) (m *merged, err error) {
	err = p.db.View(func(tx *store.Tx) error {
		got, err := digests.Get(tx, channel)
		if m = nil; errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrCorrupt) { // a damaged one must not keep pages from being sent
			return nil
		}
		m, got.unsure = &got, true
		return err
	})
	return m, err
}

// restore gives new channels a cursor at the end of the outbox and forgets those that are no longer configured.
func (p *Pager) restore(configured map[string]bool) error {
	end, err := p.desk.LastPage()
	if err != nil {
		return err
	}
	var gone map[string]uint64
	err = p.db.Update(func(tx *store.Tx) error {
		gone = map[string]uint64{}
		all, err := cursors.All(tx)
		if err != nil {
			return err
		}
		known := map[string]bool{}
		for _, e := range all {
			known[e.Key] = true
			if !configured[e.Key] {
				gone[e.Key] = max(end, e.Value.Done) - e.Value.Done
				if err := errors.Join(cursors.Delete(tx, e.Key), digests.Delete(tx, e.Key)); err != nil {
					return err
				}
			}
		}
		for name, wanted := range configured {
			if known[name] || !wanted {
				continue
			}
			if err := cursors.Put(tx, name, cursor{end}); err != nil {
				return err
			}
		}
		return nil
	})
	delete(gone, followed)
	for name, n := range gone {
		p.o.Logger.Warn("paging channel is no longer configured", "channel", name, "undelivered", n)
		p.metrics.gaveUp.WithLabelValues(name).Add(float64(n))
	}
	return err
}

// stale is the age from which a page that waited in a backup is not sent after the restore: it most likely was delivered
// after the copy was made, and hours of them at once would hide what is new.
const stale = time.Hour

func (p *Pager) outdated(page incident.Page) bool {
	r := p.desk.Restored()
	return !r.At.IsZero() && page.Seq <= r.LastPage && page.At.Before(r.At.Add(-stale))
}

// tried reads what is known of the pages of a channel that its cursor has not passed.
func (p *Pager) tried(channel string) (map[uint64]attempt, error) {
	out := map[uint64]attempt{}
	err := p.db.View(func(tx *store.Tx) error {
		return each(tx, tries, channel, func(seq uint64, t attempt) bool {
			out[seq] = t
			return true
		})
	})
	return out, err
}

// each walks a channel's rows in a table until fn has enough.
func each[V any](tx *store.Tx, t store.Table[V], channel string, fn func(seq uint64, v V) bool) error {
	for e, err := range t.Under(tx, channel+"/") {
		if err != nil {
			return err
		}
		rest, seq := strings.TrimPrefix(e.Key, channel+"/"), uint64(0)
		if _, err := fmt.Sscanf(rest, "%016x", &seq); err != nil {
			return fmt.Errorf("page number %q: %w", rest, err)
		}
		if !fn(seq, e.Value) {
			return nil
		}
	}
	return nil
}

// outcome is what one try changes in the store.
type outcome struct {
	cursor  uint64
	passed  []uint64 // pages that the cursor moved over
	keeps   []kept1  // of pages that it did not
	lost    *Pending // was given up
	merged  *merged  // a digest is about to be sent
	unmerge bool     // none is under way any more
}

type kept1 struct {
	seq     uint64
	attempt attempt
}

func (p *Pager) keep(channel string, o outcome) error {
	return p.db.Update(func(tx *store.Tx) error {
		for _, k := range o.keeps {
			if err := tries.Put(tx, key(channel, k.seq), k.attempt); err != nil {
				return err
			}
		}
		if o.merged != nil {
			if err := digests.Put(tx, channel, *o.merged); err != nil {
				return err
			}
		}
		if o.unmerge {
			if err := digests.Delete(tx, channel); err != nil {
				return err
			}
		}
		if o.lost != nil {
			if err := lose(tx, channel, *o.lost); err != nil {
				return err
			}
		}
		for _, seq := range o.passed {
			if err := tries.Delete(tx, key(channel, seq)); err != nil {
				return err
			}
		}
		if len(o.passed) == 0 {
			return nil
		}
		return cursors.Put(tx, channel, cursor{o.cursor})
	})
}

func lose(tx *store.Tx, channel string, lost Pending) error {
	n, oldest := 0, uint64(0)
	err := each(tx, given, channel, func(seq uint64, _ Pending) bool {
		if n == 0 {
			oldest = seq
		}
		n++
		return true
	})
	if err != nil {
		return err
	}
	if n >= maxLost {
		if err := given.Delete(tx, key(channel, oldest)); err != nil {
			return err
		}
	}
	return given.Put(tx, key(channel, lost.Page.Seq), lost)
}

func (p *Pager) lost(channel string, limit int) (out []Pending, err error) {
	err = p.db.View(func(tx *store.Tx) error {
		out = nil
		return each(tx, given, channel, func(_ uint64, l Pending) bool {
			out = append(out, l)
			return len(out) < limit
		})
	})
	return out, err
}

func (p *Pager) waiting(channel string, limit int) ([]Pending, error) {
	c, err := p.cursor(channel)
	if err != nil {
		return nil, err
	}
	known, err := p.tried(channel)
	if err != nil {
		return nil, err
	}
	pages, err := p.desk.Outbox(c.Done, limit)
	if err != nil {
		return nil, err
	}
	var out []Pending
	for _, page := range pages {
		if t := known[page.Seq]; t.SettledAt.IsZero() {
			out = append(out, pending(channel, page, t))
		}
	}
	return out, nil
}

func pending(channel string, page incident.Page, t attempt) Pending {
	return Pending{Channel: channel, Page: page, Tries: t.Tries, LastTry: t.LastTry, NextTry: t.NextTry, Answer: t.Answer}
}

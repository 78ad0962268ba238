package incident

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/store"
)

// batch is all that one transaction will change: drafts of records that see each other before anything is written. It
// lives while the desk's mu is held.
type batch struct {
	d      *Desk
	now    time.Time
	drafts map[string]*draft
	order  []*draft
	keys   map[string]string   // the newest incident of a key, where this batch opened it
	opened map[string]int      // new incidents by day
	held   map[string]*held    // symptoms that windows keep from being incidents; nil: no longer
	after  string              // the window at whose end a symptom still fires
	jump   *Jump               // a step of the wall clock
	places map[string][]string // incidents that this batch opened, by node
}

// batch begins at a reading of the wall clock.
func (d *Desk) batch(now time.Time) (*batch, error) {
	if err := d.watchClock(); err != nil {
		return nil, err
	}
	now = d.clock.now(now)
	return d.blankBatch(d.clock.past(now, d.clock.now(d.clock.wall))), nil
}

func (d *Desk) blankBatch(now time.Time) *batch {
	return &batch{d: d, now: now, drafts: map[string]*draft{}, keys: map[string]string{}, opened: map[string]int{}, places: map[string][]string{}, held: map[string]*held{}}
}

// draft is an incident's draft in this batch, begun when it is first asked for.
func (b *batch) draft(id string) (*draft, error) {
	if w := b.drafts[id]; w != nil {
		return w, nil
	}
	r, err := b.d.find(id)
	if err != nil {
		return nil, err
	}
	return b.add(newDraft(r, b.now)), nil
}

func (b *batch) add(w *draft) *draft {
	w.b = b
	b.drafts[w.rec.ID] = w
	b.order = append(b.order, w)
	return w
}

// latest is the draft of the newest incident of a key, nil when there is none.
func (b *batch) latest(key string) (*draft, error) {
	id := b.keys[key]
	if id == "" {
		id = b.d.keyed[key]
	}
	if id == "" {
		err := b.d.db.View(func(tx *store.Tx) (err error) {
			id, err = keys.Get(tx, key)
			return ignoreMissing(err)
		})
		if id == "" || err != nil {
			return nil, err
		}
	}
	w, err := b.draft(id)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return w, err
}

// blank is the draft of a new incident that has nothing but its number: the day where people live, and a count from 1.
func (b *batch) blank() (*draft, error) {
	d := b.d
	if n := len(d.unclosed) + len(b.keys); n >= d.o.MaxOpen {
		d.metrics.refused.Inc()
		return nil, fmt.Errorf("%w: %d; archive those that are over", ErrFull, n)
	}
	day := b.now.In(d.o.Location).Format("20060102")
	n := 0
	err := d.db.View(func(tx *store.Tx) (err error) {
		n, err = days.Get(tx, day)
		return ignoreMissing(err)
	})
	if err != nil {
		return nil, err
	}
	b.opened[day]++
	return b.add(newDraft(Record{ID: fmt.Sprintf("INC-%s-%04d", day, n+b.opened[day])}, b.now)), nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// changed are the drafts that have something to write.
func (b *batch) changed() []*draft {
	return slices.DeleteFunc(slices.Clone(b.order), func(w *draft) bool { return len(w.events) == 0 })
}

// save lets the drafts take notice of each other and makes the batch durable: records, events and pages in one transaction. The gravest pages go first.
func (b *batch) save() error {
	if err := b.relate(); err != nil {
		return err
	}
	return b.commit()
}

func (b *batch) commit() error {
	d, list := b.d, b.changed()
	if len(list) == 0 && b.jump == nil && len(b.held) == 0 {
		return nil
	}
	opened := 0
	for _, w := range list {
		if w.base == 0 && w.rec.Parent == "" {
			opened++
		}
	}
	storm := d.storm.with(b.now, opened)
	err := d.db.Update(func(tx *store.Tx) error {
		for day, n := range b.opened {
			was, err := days.Get(tx, day)
			if ignoreMissing(err) != nil {
				return err
			}
			if err := days.Put(tx, day, was+n); err != nil {
				return err
			}
		}
		for _, w := range list {
			if err := w.write(tx); err != nil {
				return err
			}
		}
		if err := b.writeHeld(tx); err != nil {
			return err
		}
		if b.jump != nil {
			if err := jumps.Put(tx, b.jump.To.Format(time.RFC3339Nano), *b.jump); err != nil {
				return err
			}
		}
		if err := marks.Put(tx, lastMark, d.clock.wall.Add(d.clock.lag)); err != nil {
			return err
		}
		return writePages(tx, list, storm, d.restored.At)
	})
	if err != nil {
		return err
	}
	for _, w := range list {
		d.hold(w.rec)
		d.metrics.count(w)
		if slices.ContainsFunc(w.events, func(e Event) bool { return e.Kind == EventRecovered }) {
			d.learn(w.rec)
		}
	}
	d.storm.add(b.now, opened)
	for key, h := range b.held {
		if delete(d.held, key); h != nil {
			d.held[key] = *h
		}
	}
	d.wake()
	return nil
}

// wake tells everybody who waits that something has changed. The caller holds mu.
func (d *Desk) wake() {
	for c := range d.waiting {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

func (w *draft) write(tx *store.Tx) error {
	id := w.rec.ID
	stored, err := records.Get(tx, id)
	if ignoreMissing(err) != nil {
		return err
	}
	if stored.Version != w.base {
		return &Conflict{What: "changed", Incident: id, At: stored.UpdatedAt, Version: stored.Version}
	}
	for _, e := range w.events {
		if err := events.Put(tx, fmt.Sprintf("%s/%08d", id, e.N), e); err != nil {
			return err
		}
	}
	if w.rec.Failing() {
		if err := keys.Put(tx, w.rec.Key, id); err != nil {
			return err
		}
	}
	return records.Put(tx, id, w.rec)
}

func writePages(tx *store.Tx, list []*draft, storm int, restored time.Time) (err error) {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b *draft) int { return byGravity(a.rec, b.rec) })
	for _, w := range list {
		for _, p := range w.pages {
			if p.Seq, err = outbox.NextSequence(tx); err != nil {
				return err
			}
			p.After, p.Storm = restored, storm
			if err := outbox.Put(tx, outboxKey(p.Seq), p); err != nil {
				return err
			}
		}
	}
	return nil
}

// byGravity puts the graver incident first.
func byGravity(a, b Record) int {
	return cmp.Compare(slices.Index(contract.Levels, a.Level), slices.Index(contract.Levels, b.Level))
}

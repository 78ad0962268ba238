package alertapi

import (
	"errors"
	"fmt"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/store"
)

// post is one call's alerts on their way to the disk.
type post struct {
	alerts []Alert
	err    error
	done   bool
}

// Put takes alerts in: they are on disk when it returns nil. Those that find no room are refused with ErrFull, the others
// of the same call are kept. Calls that come at the same time share one transaction.
func (b *Book) Put(alerts []Alert) error {
	p := &post{alerts: alerts}
	b.queue.Lock()
	b.posted = append(b.posted, p)
	b.queue.Unlock()
	b.writing.Lock()
	defer b.writing.Unlock()
	if p.done {
		return p.err
	}
	b.queue.Lock()
	all := b.posted
	b.posted = nil
	b.queue.Unlock()
	b.write(all)
	b.stir()
	return p.err
}

// write makes posts durable and then true. The caller holds writing.
func (b *Book) write(posts []*post) {
	next, changed := map[string]Alert{}, map[string]Alert{}
	b.mu.Lock()
	size := b.bytes
	for _, p := range posts {
		p.done = true
		for _, a := range p.alerts {
			fp := a.fingerprint()
			old, known := next[fp]
			if e := b.alerts[fp]; !known && e != nil {
				old, known = e.Alert, true
			}
			switch {
			case known:
				a = a.after(old)
			case a.Over(a.UpdatedAt):
				b.metrics.received.WithLabelValues("unknown_end").Inc()
				continue // the end of something that is not open here
			case len(b.alerts)+len(next) >= b.cfg.Max || size+a.size() > maxBytes:
				b.metrics.refused.WithLabelValues("full").Inc()
				p.err = ErrFull
				continue
			default:
				size += a.size()
			}
			if next[fp] = a; !known || weighty(old, a, b.cfg.ResolveTimeout) {
				changed[fp] = a
			}
		}
	}
	b.mu.Unlock()
	if err := b.store(changed); err != nil {
		for _, p := range posts {
			p.err = errors.Join(p.err, err)
		}
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for fp, a := range next {
		state := "firing"
		if a.Over(a.UpdatedAt) {
			state = "resolved"
		}
		b.metrics.received.WithLabelValues(state).Inc()
		b.keep(fp, a)
	}
}

// weighty says whether a telling must be on disk. One that only says that the alert goes on need not be: after a restart
// every alert has as long as a sender needs to send it again.
func weighty(old, a Alert, resolve time.Duration) bool {
	over := a.Over(a.UpdatedAt)
	return over != old.Over(a.UpdatedAt) || over && !a.EndsAt.Equal(old.EndsAt) || !a.StartsAt.Equal(old.StartsAt) ||
		a.EndsAt.Sub(a.UpdatedAt) > resolve && a.EndsAt.Sub(old.EndsAt).Abs() > time.Minute
}

func (b *Book) store(changed map[string]Alert) error {
	if len(changed) == 0 {
		return nil
	}
	err := b.db.Update(func(tx *store.Tx) error {
		for fp, a := range changed {
			r, err := rows.Get(tx, fp)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			r.Alert = a
			if err := rows.Put(tx, fp, r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("keep alerts: %w", err)
	}
	return nil
}

// settle writes down what the desk has been told, and forgets the alerts that are over.
func (b *Book) settle(now time.Time, done []change) error {
	if len(done) == 0 {
		return nil
	}
	mark, gone := map[string]contract.Level{}, []string{}
	b.mu.Lock()
	for _, c := range done {
		delete(b.orphan, c.key)
		if c.symptom.Firing {
			b.told[c.key] = c.symptom.Level
			b.metrics.told.WithLabelValues("opened").Inc()
		} else {
			delete(b.told, c.key)
			b.metrics.told.WithLabelValues("ended").Inc()
		}
		for fp := range b.groups[c.key] {
			switch {
			case c.symptom.Firing:
				mark[fp] = c.symptom.Level
			case b.alerts[fp].Over(now):
				gone = append(gone, fp)
			}
		}
	}
	b.mu.Unlock()
	err := b.db.Update(func(tx *store.Tx) error {
		for fp, level := range mark {
			r, err := rows.Get(tx, fp)
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			r.Told = level
			if err := rows.Put(tx, fp, r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("mark alerts as told: %w", err)
	}
	return b.forget(gone)
}

// forget lets go of alerts that are over, unless they have come again meanwhile.
func (b *Book) forget(gone []string) error {
	if len(gone) == 0 {
		return nil
	}
	b.writing.Lock() // nothing comes in between the look and the deletion
	defer b.writing.Unlock()
	now := b.now()
	b.mu.Lock()
	var over []string
	for _, fp := range gone {
		if e := b.alerts[fp]; e != nil && e.Over(now) {
			over = append(over, fp)
		}
	}
	b.mu.Unlock()
	err := b.db.Update(func(tx *store.Tx) error {
		for _, fp := range over {
			if err := rows.Delete(tx, fp); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("forget alerts: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, fp := range over {
		b.drop(fp)
	}
	return nil
}

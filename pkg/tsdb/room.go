package tsdb

import (
	"errors"
	"fmt"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"xunjian/pkg/store"
)

// ErrNoSpace refuses reports while the disk takes no writes. Nothing of them is kept, and the store goes on by itself
// when there is room: they are to be sent again later.
var ErrNoSpace = store.ErrNoSpace

// tryAgain is how long the store waits after a write that found no room.
const tryAgain = time.Second

// room remembers which file the disk had no room for.
type room struct {
	ask func() error // Options.Room

	mu            sync.Mutex
	journal, data error // of the last write of each, nil when it went well
	next          time.Time
}

// update runs a write transaction of one of the two files. After ErrNoSpace the caller may try again later; after any
// other error the store has failed.
func (db *DB) update(b *bolt.DB, fn func(*bolt.Tx) error) error {
	written := &db.written.data
	if b == db.jdb {
		written = &db.written.journal
	}
	err := store.Update(b, func(tx *bolt.Tx) error {
		tx.OnCommit(func() { // bbolt writes each page that it takes once, and a page that leads to them
			stats := tx.Stats()
			written.Add(stats.GetPageAlloc() + int64(b.Info().PageSize))
		})
		return fn(tx)
	})
	if err != nil && !errors.Is(err, ErrNoSpace) {
		return err
	}
	r := &db.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if b == db.jdb {
		r.journal = err
	} else {
		r.data = err
	}
	if err != nil {
		r.next = time.Now().Add(tryAgain)
	}
	return err
}

// refusal is why no report is taken just now. A full data.db does not matter as long as blocks may wait in memory, and
// a full journal is tried again after a while.
func (db *DB) refusal(now time.Time) error {
	if err := db.room.short(); err != nil {
		return err
	}
	r := &db.room
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.data != nil && db.unflushed.Load() >= 2*int64(db.o.FlushBytes):
		return fmt.Errorf("%s: %w", dataFile, r.data)
	case r.journal != nil && now.Before(r.next):
		return fmt.Errorf("%s: %w", journalFile, r.journal)
	}
	return nil
}

// short asks who watches the disk.
func (r *room) short() error {
	if r.ask == nil {
		return nil
	}
	if err := r.ask(); err != nil {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return nil
}

// NoSpace is why the disk took the last write of a file not, or nil. Reads go on meanwhile.
func (db *DB) NoSpace() error {
	if err := db.room.short(); err != nil {
		return err
	}
	db.room.mu.Lock()
	defer db.room.mu.Unlock()
	return errors.Join(db.room.journal, db.room.data)
}

// undo takes back what planGroup and write have booked for a group of which nothing is on disk.
func (db *DB) undo(g *commitGroup, next uint64) {
	db.journal.next = next
	for _, s := range g.schemas {
		delete(db.schemaWritten, s.id)
	}
	for _, s := range g.streams {
		s.journaled = false
	}
	booked := map[*stream]bool{}
	for _, p := range g.reports {
		if p == nil || p.outcome != Stored {
			continue
		}
		booked[p.stream] = true
		for _, sealed := range []bool{p.place.sealFirst, p.place.sealAfter} {
			if sealed {
				p.stream.seals--
			}
		}
	}
	for s := range booked {
		s.replan()
	}
}

// replan makes the committer's view of the lanes again out of the open segments, which it mirrors between commits.
func (s *stream) replan() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for lane, g := range s.open {
		p := &s.plan[lane]
		if g == nil {
			*p = lanePlan{stamps: p.stamps[:0]}
			continue
		}
		*p = lanePlan{schema: g.schema.id, n: len(g.stamps), lo: g.lo, hi: g.hi, stamps: append(p.stamps[:0], g.stamps...), used: g.number}
	}
}

package tsdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"xunjian/pkg/store"
)

// RawSince is the time (ms) up to which samples may have been dropped: older ones live on in aggregates only.
func (db *DB) RawSince() int64 { return db.rawSince.Load() }

// Retention is how long samples are kept, and how long their aggregates.
func (db *DB) Retention() (samples, aggregates time.Duration) { return db.o.Retain, db.o.RetainRollup }

// isDropped reports whether a row of that time would be of a day that retention has dropped, if it dropped any.
func (db *DB) isDropped(ms int64) bool {
	since := db.RawSince()
	return since > 0 && ms <= since
}

// loadRawSince finds where the samples begin in a store that was opened: a day that has aggregates alone was dropped,
// and so may be all that is too old now.
func (db *DB) loadRawSince(tx *bolt.Tx) {
	if tx.Bucket(bucketDay) == nil || tx.Bucket(bucketRollup) == nil {
		return
	}
	rollups := tx.Bucket(bucketRollup).Cursor()
	before, _ := rollups.Last()
	if oldest, _ := tx.Bucket(bucketDay).Cursor().First(); oldest != nil {
		before, _ = rollups.Seek(oldest)
		if before != nil {
			before, _ = rollups.Prev()
		}
	}
	if len(before) == 4 {
		db.rawSince.Store(dayEnd(keyDay(before)))
	}
}

// tooOld is the newest day of which nothing is kept for so long, by the newest sample, not by the clock alone: one that
// jumps ahead must not empty the store.
func (db *DB) tooOld(keep time.Duration) uint32 {
	return dropBefore(time.UnixMilli(min(db.newest(), db.o.Now().UnixMilli())), keep)
}

// retain drops the days that are too old, a transaction each.
func (m *merger) retain(ctx context.Context) error {
	db := m.db
	raw := min(db.tooOld(db.o.Retain), db.firstUnmerged()-1) // aggregates hold all that was stored of a day
	db.rawSince.Store(max(db.rawSince.Load(), dayEnd(raw)))
	return errors.Join(m.drop(ctx, bucketDay, raw), m.drop(ctx, bucketRollup, db.tooOld(db.o.RetainRollup)))
}

// firstUnmerged is the oldest day that has rows outside its block.
func (db *DB) firstUnmerged() uint32 {
	first := uint32(1<<32 - 1)
	for _, s := range db.catalog.allStreams() {
		s.mu.Lock()
		for _, h := range s.hot {
			first = min(first, h.day())
		}
		for _, g := range slices.Concat(s.sealed, s.open[:]) {
			if g != nil {
				first = min(first, dayOf(g.lo))
			}
		}
		s.mu.Unlock()
	}
	return max(first, 1)
}

// dropBefore is the newest day whose every stamp is older than a span.
func dropBefore(now time.Time, span time.Duration) uint32 {
	ms := now.Add(-span).UnixMilli()
	if ms <= 0 {
		return 0
	}
	return uint32(ms / dayMS)
}

// drop drops a day after the other. The pages of an old one are in no cache and lie all over the file, so they are read
// before the transaction that frees them.
func (m *merger) drop(ctx context.Context, bucket []byte, upTo uint32) error {
	for ctx.Err() == nil {
		start, oldest, there := time.Now(), uint32(0), false
		done := Drop{Aggregates: bytes.Equal(bucket, bucketRollup)}
		err := view(m.db.ddb, func(tx *bolt.Tx) error {
			k, _ := tx.Bucket(bucket).Cursor().First()
			if len(k) != 4 || keyDay(k) > upTo {
				return nil
			}
			oldest, there = keyDay(k), true
			if err := store.Warm(tx.Bucket(bucket).Bucket(k)); err != nil {
				return fmt.Errorf("drop %s of day %d: %w", bucket, oldest, err)
			}
			return nil
		})
		if err != nil || !there {
			return err
		}
		begin := time.Now()
		err = m.db.update(m.db.ddb, func(tx *bolt.Tx) error {
			tx.OnCommit(func() { stats := tx.Stats(); done.Disk = stats.GetWriteTime() })
			return tx.Bucket(bucket).DeleteBucket(key32(oldest))
		})
		if errors.Is(err, ErrNoSpace) {
			return err
		}
		if err != nil {
			m.db.fail(fmt.Errorf("drop %s of day %d: %w", bucket, oldest, err))
			return m.db.Err()
		}
		done.Read, done.Took = begin.Sub(start), time.Since(begin)
		m.stats.Drops = append(m.stats.Drops, done)
	}
	return ctx.Err()
}

// newest is the time of the newest row of all, 0 when there is none.
func (db *DB) newest() (ms int64) {
	for _, s := range db.catalog.allStreams() {
		_, last := s.span()
		ms = max(ms, last)
	}
	return ms
}

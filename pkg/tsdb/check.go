package tsdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"xunjian/pkg/store"
)

// freshDays are the days, back from the newest, whose blocks are checked before the store opens. Older ones are checked
// while it runs: a year of samples would take too long to wait for.
const freshDays = 30

// checkers is how many goroutines check values at the start.
const checkers = 2

// scrubRate bounds the check of old days in bytes a second, scrubEvery is how often all days are checked again.
const (
	scrubRate  = 32 << 20
	scrubEvery = 7 * 24 * time.Hour
	scrubAtime = 256 // values of one transaction
)

// valuePaths are the buckets of data.db that hold values, with day and r5 by the day.
type valuePaths struct{ fresh, old [][][]byte }

func pathsOf(tx *bolt.Tx) (p valuePaths, err error) {
	for _, name := range [][]byte{bucketStreams, bucketSchemas, bucketSeen, bucketHot} {
		p.fresh = append(p.fresh, [][]byte{name})
	}
	for _, name := range [][]byte{bucketDay, bucketRollup} {
		top := tx.Bucket(name)
		if top == nil {
			continue // made with the first day
		}
		last, _ := top.Cursor().Last()
		err = errors.Join(err, top.ForEachBucket(func(k []byte) error {
			if len(k) != 4 {
				return fmt.Errorf("%s %x is no day: %w", name, k, ErrCorrupt)
			}
			path := [][]byte{name, append([]byte(nil), k...)}
			if keyDay(k)+freshDays > keyDay(last) {
				p.fresh = append(p.fresh, path)
			} else {
				p.old = append(p.old, path)
			}
			return nil
		}))
	}
	return p, err
}

func bucketAt(tx *bolt.Tx, path [][]byte) *bolt.Bucket {
	b := tx.Bucket(path[0])
	if b != nil && len(path) > 1 {
		b = b.Bucket(path[1])
	}
	return b
}

func placeOf(path [][]byte, key []byte) string {
	if len(path) > 1 {
		return fmt.Sprintf("bucket %s of day %d, key %x", path[0], keyDay(path[1]), key)
	}
	if string(path[0]) == string(bucketSeen) {
		return fmt.Sprintf("bucket %s, key %q", path[0], key)
	}
	return fmt.Sprintf("bucket %s, key %x", path[0], key)
}

// verifyAt checks one value and names its place when it is damaged.
func verifyAt(path [][]byte, key, raw []byte) error {
	if raw == nil {
		return fmt.Errorf("%s: a bucket where a value should be: %w", placeOf(path, key), ErrCorrupt)
	}
	if err := verifyValue(path, key, raw); err != nil {
		return fmt.Errorf("%s: %w", placeOf(path, key), err)
	}
	return nil
}

// valueCheck verifies the checksums of all values in some buckets.
type valueCheck struct {
	db    *bolt.DB
	log   *slog.Logger
	bytes atomic.Int64
	bad   atomic.Bool
	ended chan struct{} // closed when the checkers are through
}

// checkAhead is how far ahead of the checkers the disk is read.
const checkAhead = 64 << 20

// run shares the values out among the checkers and returns the first fault of each.
func (c *valueCheck) run(paths [][][]byte) error {
	var faults [checkers]error
	var wg, reading sync.WaitGroup
	c.ended = make(chan struct{})
	reading.Go(func() { _ = view(c.db, func(tx *bolt.Tx) error { c.readAhead(tx, paths); return nil }) }) // whoever checks says what is wrong
	defer reading.Wait()
	defer close(c.ended)
	for w := range checkers {
		wg.Go(func() {
			faults[w] = view(c.db, func(tx *bolt.Tx) error { return c.share(tx, paths, w) })
			if faults[w] != nil {
				c.bad.Store(true)
			}
		})
	}
	wg.Wait()
	return errors.Join(faults[:]...)
}

// readAhead walks the values before the checkers come to them and asks the kernel for each as a whole, so that a disk is
// read at its own pace and not page by page. What is in memory already costs next to nothing.
func (c *valueCheck) readAhead(tx *bolt.Tx, paths [][][]byte) {
	asked := int64(0)
	for _, path := range paths {
		b := bucketAt(tx, path)
		if b == nil {
			return
		}
		cur := b.Cursor()
		for k, v := cur.First(); k != nil; k, v = cur.Next() {
			willNeed(v)
			for asked += int64(len(v)); asked > c.bytes.Load()+checkAhead; {
				select {
				case <-c.ended:
					return
				case <-time.After(time.Millisecond):
				}
			}
		}
	}
}

// share checks every checkers'th value, so that none waits for another one's big bucket.
func (c *valueCheck) share(tx *bolt.Tx, paths [][][]byte, mine int) error {
	told, n := time.Now(), 0
	for _, path := range paths {
		b := bucketAt(tx, path)
		if b == nil {
			return fmt.Errorf("no bucket %s: %w", path[0], ErrCorrupt)
		}
		cur := b.Cursor()
		for k, v := cur.First(); k != nil; k, v = cur.Next() {
			if n++; n%checkers != mine {
				continue
			}
			if err := verifyAt(path, k, v); err != nil {
				return err
			}
			c.bytes.Add(int64(len(v)))
			if n%1024 == mine && c.bad.Load() {
				return nil // the other one has found something
			}
			if mine == 0 && time.Since(told) > 5*time.Second {
				told = time.Now()
				c.log.Info("checking samples", "mib", c.bytes.Load()>>20, "of_mib", fileSize(c.db)>>20)
			}
		}
	}
	return nil
}

// check verifies what data.db holds before anything is made of it, old days apart.
func (db *DB) check() error { return db.checkValues(false) }

// checkAll leaves nothing out.
func (db *DB) checkAll() error { return db.checkValues(true) }

func (db *DB) checkValues(old bool) error {
	start := time.Now()
	c := valueCheck{db: db.ddb, log: db.o.Logger}
	var paths valuePaths
	err := view(db.ddb, func(tx *bolt.Tx) (err error) {
		paths, err = pathsOf(tx)
		return err
	})
	list := paths.fresh
	if old {
		list = append(list, paths.old...)
	}
	if err == nil {
		err = c.run(list)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", db.ddb.Path(), err)
	}
	if took := time.Since(start); took > time.Second {
		db.o.Logger.Info("samples checked", "mib", c.bytes.Load()>>20, "took", took.Round(time.Millisecond))
	}
	return nil
}

// scrub checks old days after a start, and all of them from time to time, without being in anybody's way.
func (db *DB) scrub(ctx context.Context) {
	for old := true; ctx.Err() == nil; old = false {
		if err := db.scrubOnce(ctx, old); err != nil && ctx.Err() == nil {
			db.o.Logger.Error("old samples cannot be checked", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(scrubEvery):
		}
	}
}

func (db *DB) scrubOnce(ctx context.Context, onlyOld bool) error {
	var paths valuePaths
	err := view(db.ddb, func(tx *bolt.Tx) (err error) {
		paths, err = pathsOf(tx)
		return err
	})
	if err != nil {
		return err
	}
	list := paths.old
	if !onlyOld {
		list = append(list, paths.fresh...)
	}
	for _, path := range list {
		for next := []byte{}; next != nil; {
			n := int64(0)
			if n, next, err = db.scrubSome(path, next); err != nil {
				return err
			}
			db.metrics.scrubbed.Add(float64(n))
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Duration(float64(n) / scrubRate * float64(time.Second))):
			}
		}
	}
	return nil
}

// scrubSome checks a few values from a key on; next is where to go on, nil at the end.
func (db *DB) scrubSome(path [][]byte, from []byte) (n int64, next []byte, err error) {
	err = view(db.ddb, func(tx *bolt.Tx) error {
		b := bucketAt(tx, path)
		if b == nil {
			return nil // dropped meanwhile
		}
		cur, count := b.Cursor(), 0
		for k, v := cur.Seek(from); k != nil; k, v = cur.Next() {
			if count++; count > scrubAtime || n > scrubRate/8 {
				next = append([]byte{}, k...)
				return nil
			}
			if err := verifyAt(path, k, v); err != nil {
				db.damaged(placeOf(path, k), err)
			}
			n += int64(len(v))
		}
		return nil
	})
	return n, next, err
}

// damaged tells of a place once.
func (db *DB) damaged(place string, err error) {
	if _, again := db.damage.LoadOrStore(place, true); again {
		return
	}
	db.metrics.damaged.Inc()
	err = fmt.Errorf("%s: %w; %s", db.ddb.Path(), err, store.Remedy(db.dir))
	db.o.Logger.Error("samples are damaged", "error", err)
	if db.o.Damaged != nil {
		db.o.Damaged(err)
	}
}

package tsdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	bolt "go.etcd.io/bbolt"

	"xunjian/pkg/store"
)

// mayGrow is how much longer data.db may become while it is copied: pages that are freed meanwhile cannot be used again
// before the copy ends, so that a slow copy of a busy store makes the file grow.
func mayGrow(before int64) int64 { return max(256<<20, before/4) }

// Backup copies both files into a folder that is there, the store at work or not. The two are of one moment: the
// journal's is the older one, so that a report which moves to data.db in between is in both, and none is in neither;
// the numbers in them tell doubles apart.
func (db *DB) Backup(ctx context.Context, dir string, c *store.Copying) ([]store.CopiedFile, error) {
	return db.backup(ctx, dir, c, func() {})
}

// backup calls between after the first of its two looks; the store may do anything there.
func (db *DB) backup(ctx context.Context, dir string, c *store.Copying, between func()) (files []store.CopiedFile, err error) {
	journal, err := db.jdb.Begin(false)
	if err != nil {
		return nil, fmt.Errorf("back up samples: %w", err)
	}
	between()
	data, err := db.ddb.Begin(false)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("back up samples: %w", err), journal.Rollback())
	}
	defer func() { err = errors.Join(err, data.Rollback()) }()
	one, err := c.Snapshot(ctx, filepath.Join(dir, journalFile), journal)
	// the journal is short, and its pages are needed again soonest: it is let go of before the long copy
	if err = errors.Join(err, journal.Rollback()); err != nil {
		return nil, fmt.Errorf("back up samples: %w", err)
	}
	before := fileSize(db.ddb)
	guarded := c.Check
	c.Check = func() error {
		if now := fileSize(db.ddb); now > before+mayGrow(before) {
			return fmt.Errorf("%s has grown by %d MiB meanwhile: give a higher rate", dataFile, (now-before)>>20)
		}
		if guarded != nil {
			return guarded()
		}
		return nil
	}
	defer func() { c.Check = guarded }()
	two, err := c.Snapshot(ctx, filepath.Join(dir, dataFile), data)
	if err != nil {
		return nil, fmt.Errorf("back up samples: %w", err)
	}
	one.Name, two.Name = journalFile, dataFile
	return []store.CopiedFile{one, two}, nil
}

// BackupSize is how much a backup copies now.
func (db *DB) BackupSize() (n int64) {
	for _, b := range []*bolt.DB{db.jdb, db.ddb} {
		_ = view(b, func(tx *bolt.Tx) error { n += tx.Size(); return nil })
	}
	return n
}

// ID is the store's own, the same in both files and in every copy of them.
func (db *DB) ID() (id string) {
	_ = view(db.ddb, func(tx *bolt.Tx) error { id = string(tx.Bucket(bucketMeta).Get(metaStore)); return nil })
	return id
}

// format is the number that the file itself bears.
func (db *DB) format() (n int) {
	_ = view(db.ddb, func(tx *bolt.Tx) (err error) {
		n, err = strconv.Atoi(string(tx.Bucket(bucketMeta).Get(metaFormat)))
		return err
	})
	return n
}

// Verified is what Verify found.
type Verified struct {
	Format                   int
	Store                    string
	Streams, Series, Schemas int
	Newest                   time.Time // of all samples
}

// Verify checks a store that nobody has open in full: every page, every value, every record of the journal, and that
// the two files fit together. It changes nothing.
func Verify(dir string, log *slog.Logger) (v Verified, err error) {
	o := Options{Logger: log, BlockSpan: 1}.withDefaults() // as short as can be: a longer one would be noted in the file
	f := files{dir: dir, lock: o.LockTimeout, mmap: 1 << 30, readOnly: true}
	for _, name := range []string{journalFile, dataFile} {
		if _, err := os.Stat(f.path(name)); err != nil {
			return v, fmt.Errorf("verify samples: %w", err)
		}
	}
	jdb, ddb, err := f.openBoth()
	if err != nil {
		return v, err
	}
	db := newDB(dir, o, jdb, ddb)
	defer func() { err = errors.Join(err, jdb.Close(), ddb.Close()) }()
	if err := db.checkAll(); err != nil {
		return v, fmt.Errorf("verify samples: %w", err)
	}
	if err := db.recover(); err != nil {
		return v, fmt.Errorf("verify samples in %s: %w", dir, err)
	}
	db.metrics = newMetrics(nil, db.Stats)
	s := db.Stats()
	v = Verified{Format: db.format(), Store: db.ID(), Streams: s.Streams, Series: s.Series, Schemas: s.Schemas}
	if ms := db.newest(); ms > 0 {
		v.Newest = time.UnixMilli(ms)
	}
	return v, nil
}

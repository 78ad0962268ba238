package tsdb

import (
	"crypto/rand"
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

// Format is the number of the layout that this program writes; files with a higher one are refused.
const Format = 2

const (
	journalFile = "journal.db"
	dataFile    = "data.db"
	newSuffix   = ".new" // while a store is made
)

// The buckets of the two files.
var (
	bucketMeta    = []byte("meta")
	bucketJournal = []byte("j")
	bucketStreams = []byte("streams")
	bucketSchemas = []byte("schemas")
	bucketSeen    = []byte("seen")
	bucketHot     = []byte("hot")
	bucketDay     = []byte("day")
	bucketRollup  = []byte("r5")

	metaFormat  = []byte("format")
	metaStore   = []byte("store")
	metaCreated = []byte("created")
	metaNext    = []byte("next")    // journal.db: no number below this is to be given again
	metaSpan    = []byte("span_ms") // data.db: the longest block
)

// files opens one store's pair of files.
type files struct {
	dir  string
	lock time.Duration
	mmap int

	readOnly bool
	log      *slog.Logger // nil: files are left as long as they are
	above    int64        // Options.CompactAbove
}

// open opens both files or makes both; a lone one is refused, for the other half is lost.
func (f files) open() (journal, data *bolt.DB, err error) {
	if err := f.prepare(); err != nil {
		return nil, nil, err
	}
	return f.openBoth()
}

func (f files) openBoth() (journal, data *bolt.DB, err error) {
	if journal, err = f.openShrunk(journalFile); err != nil {
		return nil, nil, err
	}
	if data, err = f.openShrunk(dataFile); err != nil {
		return nil, nil, errors.Join(err, journal.Close())
	}
	format, err := f.sameStore(journal, data)
	if err == nil && format < Format && !f.readOnly {
		err = f.migrate(journal, data, format)
	}
	if err != nil {
		return nil, nil, errors.Join(err, data.Close(), journal.Close())
	}
	return journal, data, nil
}

// prepare makes a new store under other names and renames the journal first, so that a crash
// in between leaves a state that can be told from a lost file.
func (f files) prepare() error {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return fmt.Errorf("open samples: %w", err)
	}
	journal, err := exists(f.path(journalFile))
	if err != nil {
		return err
	}
	data, err := exists(f.path(dataFile))
	if err != nil {
		return err
	}
	switch {
	case journal && data:
		return nil
	case !journal && !data:
		if err := f.makeStore(); err != nil {
			return err
		}
	case journal:
		if made, err := exists(f.path(dataFile + newSuffix)); err != nil || !made {
			return errors.Join(err, f.lost(dataFile, journalFile))
		}
	default:
		return f.lost(journalFile, dataFile)
	}
	if err := os.Rename(f.path(dataFile+newSuffix), f.path(dataFile)); err != nil {
		return fmt.Errorf("open samples: %w", err)
	}
	return store.SyncDir(f.dir)
}

func (f files) lost(missing, there string) error {
	return fmt.Errorf("open samples: %s is there but %s is not: %w; restore both from one backup, or move %s away to start anew",
		f.path(there), f.path(missing), ErrCorrupt, f.path(there))
}

func (f files) makeStore() error {
	id := rand.Text()
	for _, name := range []string{dataFile, journalFile} {
		if err := f.makeOne(name, id); err != nil {
			return err
		}
	}
	if err := os.Rename(f.path(journalFile+newSuffix), f.path(journalFile)); err != nil {
		return fmt.Errorf("make store: %w", err)
	}
	return store.SyncDir(f.dir)
}

func (f files) makeOne(name, id string) error {
	path := f.path(name) + newSuffix
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("make store: %w", err)
	}
	db, err := bolt.Open(path, 0o600, f.options(name))
	if err != nil {
		return fmt.Errorf("make store: %w", err)
	}
	buckets := [][]byte{bucketStreams, bucketSchemas, bucketSeen, bucketHot, bucketDay, bucketRollup}
	if name == journalFile {
		buckets = [][]byte{bucketJournal}
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, b := range buckets {
			if _, err := tx.CreateBucket(b); err != nil {
				return err
			}
		}
		m, err := tx.CreateBucket(bucketMeta)
		if err != nil {
			return err
		}
		return errors.Join(
			m.Put(metaFormat, []byte(strconv.Itoa(Format))),
			m.Put(metaStore, []byte(id)),
			m.Put(metaCreated, []byte(time.Now().UTC().Format(time.RFC3339))))
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("make store: %w", err)
	}
	return nil
}

func (f files) path(name string) string { return filepath.Join(f.dir, name) }

// options: the journal's free list churns with every commit and is not worth storing; that of the data file
// stays small, and storing it spares a walk over the whole file on opening.
//
// The data file takes free pages from the lowest place where they fit. bbolt's faster list takes them out of any longer run:
// small blocks then cut up the room that a dropped day left, the next day's blocks find no place in it, and the file grows by
// 16 % in half a year that it should not grow in.
func (f files) options(name string) *bolt.Options {
	free := bolt.FreelistArrayType
	if name == journalFile {
		free = bolt.FreelistMapType
	}
	return &bolt.Options{
		Timeout: f.lock, PageSize: 4096, InitialMmapSize: f.mmap,
		ReadOnly: f.readOnly, NoFreelistSync: name == journalFile, FreelistType: free,
	}
}

func (f files) openShrunk(name string) (*bolt.DB, error) {
	b, err := f.openOne(name)
	if err == nil && f.log != nil {
		return f.shrink(b, name, f.log)
	}
	return b, err
}

func (f files) openOne(name string) (*bolt.DB, error) {
	db, err := store.OpenBolt(f.path(name), *f.options(name))
	if errors.Is(err, ErrCorrupt) {
		return nil, fmt.Errorf("open samples: %w; both files of the store belong together: %s", err, store.Remedy(f.dir))
	}
	if err != nil {
		return nil, fmt.Errorf("open samples: %w", err)
	}
	return db, nil
}

// sameStore checks format and identity of both files, and returns the older format of the two.
func (f files) sameStore(journal, data *bolt.DB) (format int, err error) {
	format = Format
	var ids [2]string
	for i, db := range []*bolt.DB{journal, data} {
		err := view(db, func(tx *bolt.Tx) error {
			m := tx.Bucket(bucketMeta)
			if m == nil {
				return fmt.Errorf("no meta bucket: %w", ErrCorrupt)
			}
			n, err := strconv.Atoi(string(m.Get(metaFormat)))
			if err != nil {
				return fmt.Errorf("format number %q: %w", m.Get(metaFormat), ErrCorrupt)
			}
			if n > Format {
				return fmt.Errorf("format %d, this program knows up to %d: %w; run the newer program", n, Format, ErrNewer)
			}
			format = min(format, n)
			ids[i] = string(m.Get(metaStore))
			return nil
		})
		if err != nil {
			return 0, fmt.Errorf("open samples %s: %w", db.Path(), err)
		}
	}
	if ids[0] != ids[1] {
		return 0, fmt.Errorf("open samples: %s and %s belong to different stores: %w; restore both from one backup",
			journal.Path(), data.Path(), ErrCorrupt)
	}
	return format, nil
}

// view runs fn in a read transaction; what bbolt or the memory map throws at damage becomes ErrCorrupt.
func view(db *bolt.DB, fn func(*bolt.Tx) error) error { return store.View(db, fn) }

func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open samples: %w", err)
	}
	return true, nil
}

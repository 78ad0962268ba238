package tsdb

import (
	"errors"
	"fmt"
	"log/slog"

	bolt "go.etcd.io/bbolt"

	"xunjian/pkg/store"
)

// Compacted is what became of one file.
type Compacted struct {
	Name          string
	Before, After int64
}

// Compact makes both files of a store that nobody has open anew, without their free pages.
func Compact(dir string) (out []Compacted, err error) {
	o := Options{}.withDefaults()
	f := files{dir: dir, lock: o.LockTimeout, mmap: 1 << 30}
	for _, name := range []string{journalFile, dataFile} {
		before, after, err := store.Compact(f.path(name), *f.options(name))
		if err != nil {
			return out, err
		}
		out = append(out, Compacted{name, before, after})
	}
	return out, nil
}

// shrink compacts an open file when it is worth it, and opens it again. Without room for that it stays as it is.
func (f files) shrink(b *bolt.DB, name string, log *slog.Logger) (*bolt.DB, error) {
	if !store.Wasteful(b, f.above) {
		return b, nil
	}
	if err := b.Close(); err != nil {
		return nil, fmt.Errorf("open samples: %w", err)
	}
	log.Info("making a file anew, for more than half of it is free", "file", f.path(name))
	before, after, err := store.Compact(f.path(name), *f.options(name))
	switch {
	case errors.Is(err, ErrNoSpace):
		log.Warn("no room to make it anew", "error", err)
		return f.openOne(name)
	case err != nil:
		return nil, fmt.Errorf("open samples: %w", err)
	}
	log.Info("made anew", "file", f.path(name), "mib_before", before>>20, "mib_after", after>>20)
	return f.openOne(name)
}

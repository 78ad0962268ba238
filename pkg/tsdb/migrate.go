package tsdb

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	bolt "go.etcd.io/bbolt"

	"xunjian/pkg/store"
)

// Format 1 had no days: its blocks may run over the end of one, have keys that round down, and no checksum for each
// column. Journal records of both formats are read as they are: in the first, every NaN was an absent value.

// migrateBytes bounds one transaction of a migration.
const migrateBytes = 16 << 20

// migrate brings a store of format 1 to this program's. It first copies both files, and may be cut short anywhere: the
// next start goes on where it was, for the number changes last.
func (f files) migrate(journal, data *bolt.DB, from int) error {
	log := f.log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if err := checkOf(data, log); err != nil { // or the copy would be of a damaged store
		return fmt.Errorf("migrate samples: %s: %w; %s", data.Path(), err, store.Remedy(f.dir))
	}
	aside := f.path(fmt.Sprintf("before-format-%d", Format))
	log.Info("store is of an older format: copying it before it is changed", "format", from, "to", Format, "copy", aside)
	if err := f.copyAside(aside, journal, data); err != nil {
		return fmt.Errorf("migrate samples: %w", err)
	}
	m := migration{db: data}
	for more := true; more; {
		var err error
		if more, err = m.some(migrateBytes); err != nil {
			return fmt.Errorf("migrate samples: %w; the store as it was is in %s", err, aside)
		}
	}
	for _, b := range []*bolt.DB{data, journal} { // the journal's last: a store is new when both say so
		if err := store.Update(b, func(tx *bolt.Tx) error { return f.renumber(tx, b == data) }); err != nil {
			return fmt.Errorf("migrate samples: %w", err)
		}
	}
	log.Info("store is of this program's format now", "blocks", m.blocks, "copy", aside)
	return nil
}

// checkOf verifies every value of a data.db.
func checkOf(data *bolt.DB, log *slog.Logger) error {
	c := valueCheck{db: data, log: log}
	return view(data, func(tx *bolt.Tx) error {
		paths, err := pathsOf(tx)
		if err != nil {
			return err
		}
		return c.run(append(paths.fresh, paths.old...))
	})
}

func (f files) renumber(tx *bolt.Tx, data bool) error {
	for _, name := range [][]byte{bucketDay, bucketRollup} {
		if !data {
			break
		}
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	return tx.Bucket(bucketMeta).Put(metaFormat, []byte(strconv.Itoa(Format)))
}

// copyAside makes a whole copy of both files under a name that it has only when it was compared with them.
func (f files) copyAside(aside string, journal, data *bolt.DB) error {
	if made, err := exists(aside); made || err != nil {
		return err
	}
	part := aside + ".part"
	if err := errors.Join(os.RemoveAll(part), os.Mkdir(part, 0o700)); err != nil {
		return err
	}
	for name, b := range map[string]*bolt.DB{journalFile: journal, dataFile: data} {
		if err := copyOne(filepath.Join(part, name), b, *f.options(name)); err != nil {
			return errors.Join(fmt.Errorf("copy %s: %w", name, err), os.RemoveAll(part))
		}
	}
	return errors.Join(store.SyncDir(part), os.Rename(part, aside), store.SyncDir(f.dir))
}

func copyOne(path string, b *bolt.DB, o bolt.Options) (err error) {
	var c store.Copying
	if err := view(b, func(tx *bolt.Tx) error {
		_, err := c.Snapshot(context.Background(), path, tx)
		return err
	}); err != nil {
		return err
	}
	o.ReadOnly = true
	made, err := store.OpenBolt(path, o)
	if err != nil {
		return err
	}
	return errors.Join(store.SameContents(b, made), made.Close())
}

// migration rewrites hot blocks.
type migration struct {
	db     *bolt.DB
	from   []byte // the next key to look at
	blocks int
	dec    blockDecoder
	enc    blockEncoder
}

// keyed is a value of the bucket of hot blocks.
type keyed struct{ key, raw []byte }

// some rewrites blocks of at most so many bytes in one transaction, and says whether there are more.
func (m *migration) some(limit int) (more bool, err error) {
	var old []keyed
	err = view(m.db, func(tx *bolt.Tx) error {
		size := 0
		c := tx.Bucket(bucketHot).Cursor()
		for k, v := c.Seek(m.from); k != nil; k, v = c.Next() {
			if size > limit {
				m.from, more = bytes.Clone(k), true
				return nil
			}
			old = append(old, keyed{bytes.Clone(k), bytes.Clone(v)})
			size += len(v)
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	return more, store.Update(m.db, func(tx *bolt.Tx) error {
		hot := tx.Bucket(bucketHot)
		for _, o := range old {
			fresh, err := m.rewrite(o)
			if err != nil {
				return err
			}
			if fresh == nil {
				continue
			}
			m.blocks++
			if err := hot.Delete(o.key); err != nil {
				return err
			}
			for _, n := range fresh {
				if err := hot.Put(n.key, n.raw); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// rewrite makes blocks of this format out of an older one, one for each day; nil when it is as it should be.
func (m *migration) rewrite(o keyed) (out []keyed, err error) {
	if len(o.key) != 16 {
		return nil, fmt.Errorf("block key %x: %w", o.key, ErrCorrupt)
	}
	b, err := openBlock(o.key, o.raw)
	if err != nil {
		return nil, err
	}
	stamps, err := m.dec.stamps(nil, &b)
	if err != nil {
		return nil, err
	}
	if !b.whole {
		return nil, nil // of this format, from a migration that was cut short
	}
	columns := make([][]float64, b.columns)
	for c := range columns {
		if columns[c], err = m.dec.values(nil, &b, c); err != nil {
			return nil, err
		}
	}
	stream, number := binary.BigEndian.Uint32(o.key[4:]), binary.BigEndian.Uint64(o.key[8:])
	for from := 0; from < len(stamps); {
		day := dayOf(stamps[from])
		to := from + 1
		for to < len(stamps) && dayOf(stamps[to]) == day {
			to++
		}
		m.enc.begin()
		for _, column := range columns {
			m.enc.add(column[from:to])
		}
		g := segment{lo: stamps[from], hi: stamps[to-1], number: number}
		key := g.ref().key(stream)
		out = append(out, keyed{key, slices.Clone(m.enc.finish(key, &b.shape, 0, stamps[from:to]))})
		from = to
	}
	return out, nil
}

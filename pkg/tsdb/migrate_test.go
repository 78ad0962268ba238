package tsdb

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"xunjian/pkg/store"
)

// older unpacks the store that a program of format 1 wrote, and what that program read from it.
//
// It holds two agents' reports every 30 s around a midnight, on a grid and with jitter, with three schemas, gaps, Inf
// and -0, a backlog of two days, a refused report, and rows that are in the journal only.
func older(t *testing.T) (dir, values string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range []string{journalFile, dataFile, "values.txt"} {
		f, err := os.Open(filepath.Join("testdata/format-1", name+".gz"))
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(z)
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		if name == "values.txt" {
			values = strings.TrimSpace(string(b))
		} else if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir, values
}

// numbers is all that a store holds but the markers of series that end, which format 1 did not know.
func numbers(t *testing.T, db *DB) string {
	t.Helper()
	var lines []string
	for s, err := range db.Select(t.Context(), 0, math.MaxInt64) {
		if err != nil {
			t.Fatal(err)
		}
		for i := range s.T {
			if !IsStale(s.V[i]) {
				lines = append(lines, fmt.Sprintf("%s %d %016x", s.Series, s.T[i], math.Float64bits(s.V[i])))
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func formatOf(t *testing.T, path string) (format string) {
	t.Helper()
	b, err := store.OpenBolt(path, bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.View(func(tx *bolt.Tx) error { format = string(tx.Bucket(bucketMeta).Get(metaFormat)); return nil }); err != nil {
		t.Fatal(err)
	}
	return format
}

// future is when the fixture's reports are a few days old.
func future(o Options) Options {
	o.Now = func() time.Time { return time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC) }
	o.BlockRows, o.BlockSpan = 240, 2*time.Hour
	return o
}

// TestOlderStoreIsMigrated compares every value with what the older program read, before and after the days are merged.
func TestOlderStoreIsMigrated(t *testing.T) {
	dir, want := older(t)
	db, stop := running(t, dir, future(small()))
	if got := numbers(t, db); got != want {
		t.Fatalf("the migrated store differs: %d bytes, want %d", len(got), len(want))
	}
	if err := view(db.ddb, func(tx *bolt.Tx) error {
		return tx.Bucket(bucketHot).ForEach(func(k, v []byte) error {
			b, err := openBlock(k, v)
			if err != nil {
				return err
			}
			stamps, err := new(blockDecoder).stamps(nil, &b)
			if first, last := stamps[0], stamps[len(stamps)-1]; b.whole || dayOf(first) != dayOf(last) || err != nil {
				t.Errorf("block %x of rows from %d to %d was not rewritten (%v)", k, first, last, err)
			}
			return nil
		})
	}); err != nil {
		t.Fatal(err)
	}
	if s, err := db.Merge(t.Context()); err != nil || s.Days == 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	if got := numbers(t, db); got != want {
		t.Fatal("the merged store differs")
	}
	// what the older program acknowledged is known, also the report that it refused
	r := report(9, 1, time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC), 1)
	wantOutcomes(t, appendAll(t, db, r), Duplicate)
	stop()
	for _, name := range []string{journalFile, dataFile} {
		if got := formatOf(t, filepath.Join(dir, name)); got != fmt.Sprint(Format) {
			t.Errorf("%s is of format %s", name, got)
		}
		if got := formatOf(t, filepath.Join(dir, "before-format-2", name)); got != "1" {
			t.Errorf("the copy of %s is of format %s", name, got)
		}
	}
	if v, err := Verify(filepath.Join(dir, "before-format-2"), nil); err != nil || v.Format != 1 {
		t.Errorf("the copy: %+v, %v", v, err)
	}
}

// TestMigrationCutShort: whatever is done when the machine stops, the next start goes on, and the copy is the old store.
func TestMigrationCutShort(t *testing.T) {
	for name, before := range map[string]func(f files, journal, data *bolt.DB) error{
		"a copy half made": func(f files, _, _ *bolt.DB) error { return os.Mkdir(f.path("before-format-2.part"), 0o700) },
		"copied":           func(f files, j, d *bolt.DB) error { return f.copyAside(f.path("before-format-2"), j, d) },
		"some blocks rewritten": func(f files, j, d *bolt.DB) error {
			err := f.copyAside(f.path("before-format-2"), j, d)
			m := migration{db: d}
			for range 3 {
				_, e := m.some(1)
				err = errors.Join(err, e)
			}
			if m.blocks == 0 {
				err = errors.Join(err, errors.New("nothing was rewritten"))
			}
			return err
		},
		"data.db renumbered": func(f files, j, d *bolt.DB) error {
			m := migration{db: d}
			_, e := m.some(1 << 30)
			return errors.Join(f.copyAside(f.path("before-format-2"), j, d), e, d.Update(func(tx *bolt.Tx) error { return f.renumber(tx, true) }))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, want := older(t)
			f := files{dir: dir, lock: time.Second, mmap: 1 << 20}
			journal, err := f.openOne(journalFile)
			if err != nil {
				t.Fatal(err)
			}
			data, err := f.openOne(dataFile)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(before(f, journal, data), data.Close(), journal.Close()); err != nil {
				t.Fatal(err)
			}
			db := mustOpen(t, dir, future(small()))
			got := numbers(t, db)
			db.Close()
			if got != want {
				t.Error("the migrated store differs")
			}
			if v, err := Verify(filepath.Join(dir, "before-format-2"), nil); err != nil || v.Format != 1 {
				t.Errorf("the copy: %+v, %v", v, err)
			}
		})
	}
}

// TestDamagedOlderStoreIsNotMigrated: what is damaged is refused as it is.
func TestDamagedOlderStoreIsNotMigrated(t *testing.T) {
	dir, _ := older(t)
	spoil(t, dir, bucketHot, nil)
	_, err := Open(dir, future(small()))
	if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "bucket hot") {
		t.Errorf("opened with %v", err)
	}
	if made, _ := exists(filepath.Join(dir, "before-format-2")); made || formatOf(t, filepath.Join(dir, dataFile)) != "1" {
		t.Error("something was changed")
	}
}

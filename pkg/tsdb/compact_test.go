package tsdb

import (
	"fmt"
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

// allText is everything that a store holds, sorted.
func allText(t testing.TB, db *DB) string {
	t.Helper()
	var lines []string
	for s, err := range db.Select(t.Context(), 0, math.MaxInt64) {
		if err != nil {
			t.Fatal(err)
		}
		for i := range s.T {
			lines = append(lines, fmt.Sprintf("%s %d %016x", s.Series, s.T[i], math.Float64bits(s.V[i])))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestCompactKeepsEverything(t *testing.T) {
	dir, o := agedStore(t)
	db := mustOpen(t, dir, o)
	want, next := allText(t, db), db.journal.next
	db.Close()
	got, err := Compact(dir)
	if err != nil || len(got) != 2 || got[1].After > got[1].Before {
		t.Fatalf("%+v, %v", got, err)
	}
	db = mustOpen(t, dir, o)
	defer db.Close()
	if allText(t, db) != want || db.journal.next != next {
		t.Errorf("something else is in it, or numbers went from %d to %d", next, db.journal.next)
	}
}

// TestWastefulFilesAreMadeAnewAtTheStart fills both files with what is then deleted.
func TestWastefulFilesAreMadeAnewAtTheStart(t *testing.T) {
	dir, o := agedStore(t)
	for _, name := range []string{journalFile, dataFile} {
		b, err := bolt.Open(filepath.Join(dir, name), 0o600, &bolt.Options{NoFreelistSync: name == journalFile})
		if err != nil {
			t.Fatal(err)
		}
		update(t, b, func(tx *bolt.Tx) error {
			in, err := tx.CreateBucket([]byte("ballast"))
			if err != nil {
				return err
			}
			return in.Put([]byte("x"), make([]byte, 8<<20))
		})
		update(t, b, func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte("ballast")) })
		b.Close()
	}
	long := func() (n int64) {
		for _, name := range []string{journalFile, dataFile} {
			st, err := os.Stat(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			n = max(n, st.Size())
		}
		return n
	}
	o.MmapSize = 1 << 20 // or growing rounds sizes up
	db := mustOpen(t, dir, o)
	want, next := allText(t, db), db.journal.next
	db.Close()
	if n := long(); n < 8<<20 {
		t.Fatalf("%d bytes: made anew below the limit", n)
	}
	o.CompactAbove = 4 << 20
	db = mustOpen(t, dir, o)
	defer db.Close()
	if n := long(); n > 4<<20 {
		t.Errorf("%d bytes still", n)
	}
	if allText(t, db) != want || db.journal.next != next {
		t.Error("something else is in it")
	}
}

// TestNumbersGoOnBehindAnEmptyJournal: a journal of which nothing is needed still knows which number comes next.
func TestNumbersGoOnBehindAnEmptyJournal(t *testing.T) {
	dir := t.TempDir()
	db, stop := running(t, dir, Options{Linger: -1, MmapSize: 1 << 30})
	appendAll(t, db, report(1, 1, time.Now().Add(-time.Minute), 1))
	next := db.journal.next
	stop()
	b, err := bolt.Open(filepath.Join(dir, journalFile), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	update(t, b, func(tx *bolt.Tx) error {
		if _, err := cutJournal(tx, next); err != nil {
			return err
		}
		return tx.Bucket(bucketMeta).Put(metaNext, key64(next+5))
	})
	b.Close()
	if _, err := Compact(dir); err != nil {
		t.Fatal(err)
	}
	db = mustOpen(t, dir, small())
	defer db.Close()
	if db.journal.next != next+5 {
		t.Errorf("next is %d after %d", db.journal.next, next+5)
	}
}

// TestCutNotesTheNextNumber: whoever cuts the journal leaves word in the same transaction.
func TestCutNotesTheNextNumber(t *testing.T) {
	db, commit, base := idle(t)
	commit(report(1, 1, base, 1))
	db.journal.next = 40_000 // a bucket further
	commit(report(1, 2, base.Add(time.Second), 1))
	for _, s := range db.catalog.allStreams() {
		for lane := range s.open {
			s.open[lane] = nil
		}
	}
	db.persisted.Store(db.journal.next - 1)
	db.cut()
	var noted []byte
	if err := store.View(db.jdb, func(tx *bolt.Tx) error {
		noted = slices.Clone(tx.Bucket(bucketMeta).Get(metaNext))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(noted, key64(db.journal.next)) || buckets(t, db) != 0 {
		t.Errorf("noted %x with next %d, %d buckets left", noted, db.journal.next, buckets(t, db))
	}
}

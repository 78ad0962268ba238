package tsdb

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"xunjian/pkg/store"
)

// agedStore holds days of long ago, of lately and of now: merged ones, hot blocks and all kinds of records.
func agedStore(t testing.TB) (dir string, o Options) {
	t.Helper()
	dir = t.TempDir()
	o = small()
	o.Linger, o.MaxAge = -1, 100*24*time.Hour
	db, stop := running(t, dir, o)
	seq := uint64(0)
	for _, age := range []time.Duration{60, 45, 3, 2, 0} {
		base := time.Now().Add(-age*24*time.Hour - time.Hour).Truncate(time.Second)
		for i := range 40 {
			seq++
			appendAll(t, db, report(1, seq, base.Add(time.Duration(i)*15*time.Second), float64(i), float64(seq), 0.5))
		}
	}
	stop()
	quick := o
	quick.BlockSpan, quick.FlushEvery = 50*time.Millisecond, 20*time.Millisecond
	db, stop = running(t, dir, quick)
	defer stop()
	await(t, "the flush", func() bool { return db.Stats().HeadRows == 0 && db.Stats().UnflushedBytes == 0 })
	if _, err := db.Merge(t.Context()); err != nil {
		t.Fatal(err)
	}
	return dir, o
}

// spoil flips a bit in the middle of the first value of a bucket; day picks the oldest or newest bucket within it.
func spoil(t *testing.T, dir string, bucket []byte, day func(*bolt.Cursor) ([]byte, []byte)) {
	t.Helper()
	b, err := bolt.Open(filepath.Join(dir, dataFile), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	update(t, b, func(tx *bolt.Tx) error {
		in := tx.Bucket(bucket)
		if day != nil {
			k, _ := day(in.Cursor())
			in = in.Bucket(k)
		}
		k, v := in.Cursor().First()
		v = bytes.Clone(v)
		v[len(v)/2] ^= 4
		return in.Put(bytes.Clone(k), v)
	})
}

// TestEveryValueIsCheckedAtTheStart damages a value of each kind: the store is refused, and place and backup are named.
func TestEveryValueIsCheckedAtTheStart(t *testing.T) {
	good, o := agedStore(t)
	mustOpen(t, copyStore(t, good), o).Close()
	for name, c := range map[string]struct {
		bucket []byte
		day    func(*bolt.Cursor) ([]byte, []byte)
	}{
		"streams": {bucketStreams, nil}, "schemas": {bucketSchemas, nil}, "seen": {bucketSeen, nil}, "hot": {bucketHot, nil},
		"day": {bucketDay, (*bolt.Cursor).Last}, "r5": {bucketRollup, (*bolt.Cursor).Last},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyStore(t, good)
			spoil(t, dir, c.bucket, c.day)
			if err := store.WriteNote(dir, store.Note{Path: "/backups/20261123", At: time.Now()}); err != nil {
				t.Fatal(err)
			}
			_, err := Open(dir, o)
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("opened with %v", err)
			}
			for _, want := range []string{filepath.Join(dir, dataFile), "bucket " + name, "key", "/backups/20261123"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

// TestOldDaysAreCheckedWhileTheStoreRuns: damage of long ago does not keep the store from opening, and is told once.
func TestOldDaysAreCheckedWhileTheStoreRuns(t *testing.T) {
	dir, o := agedStore(t)
	spoil(t, dir, bucketDay, (*bolt.Cursor).First)
	told := make(chan error, 10)
	o.Damaged = func(err error) { told <- err }
	db, stop := running(t, dir, o)
	err := <-told
	if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "bucket day of day") {
		t.Errorf("told %v", err)
	}
	if err := db.scrubOnce(context.Background(), false); err != nil {
		t.Error(err)
	}
	stop()
	if len(told) > 0 {
		t.Errorf("told again: %v", <-told)
	}
}

// TestScrubGoesOnWhereItWas: a bucket is checked whole in small steps, and one that was dropped meanwhile is no damage.
func TestScrubGoesOnWhereItWas(t *testing.T) {
	dir, o := agedStore(t)
	db := mustOpen(t, dir, o)
	defer db.Close()
	var whole int64
	for from := []byte{}; from != nil; {
		n, next, err := db.scrubSome([][]byte{bucketHot}, from)
		if err != nil {
			t.Fatal(err)
		}
		whole, from = whole+n, next
	}
	var want int64
	if err := view(db.ddb, func(tx *bolt.Tx) error {
		return tx.Bucket(bucketHot).ForEach(func(_, v []byte) error { want += int64(len(v)); return nil })
	}); err != nil {
		t.Fatal(err)
	}
	if whole != want || whole == 0 {
		t.Errorf("%d bytes checked of %d", whole, want)
	}
	if n, next, err := db.scrubSome([][]byte{bucketDay, key32(1)}, []byte{}); n != 0 || next != nil || err != nil {
		t.Errorf("a day that is gone: %d %x %v", n, next, err)
	}
}

// BenchmarkCheckAtStart tells what the check of a store costs before it opens, in seconds a GB.
func BenchmarkCheckAtStart(b *testing.B) {
	dir := b.TempDir()
	db := mustOpen(b, dir, Options{MmapSize: 1 << 32})
	var enc blockEncoder
	rnd := rand.New(rand.NewPCG(1, 2))
	stamps, rows := make([]int64, 120), make([]float64, 120*60)
	var size int64
	for n := uint64(1); size < 512<<20; {
		update(b, db.ddb, func(tx *bolt.Tx) error {
			hot := tx.Bucket(bucketHot)
			hot.FillPercent = 1
			for range 200 {
				for i := range stamps {
					stamps[i] = int64(n)*1000 + int64(i)*15_000
				}
				for i := range rows {
					rows[i] = rnd.NormFloat64()
				}
				key := hotKey(uint32(n), 1, n)
				v := enc.encode(key, 1, stamps, rows)
				size += int64(len(v))
				n++
				if err := hot.Put(key, v); err != nil {
					return err
				}
			}
			return nil
		})
	}
	f, err := os.Open(filepath.Join(dir, dataFile))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := errors.Join(store.CheckPages(f, st.Size()), db.check()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)/(float64(size)/1e9), "s/GB")
	db.Close()
}

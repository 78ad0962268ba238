package tsdb

import (
	"math"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// TestGrowthDoesNotWaitForReaders: bbolt remaps a file that outgrows its map, and waits for every reader to do so; the
// address space set aside at the start spares that. A reader is open here while both files grow sixteenfold.
func TestGrowthDoesNotWaitForReaders(t *testing.T) {
	db := mustOpen(t, t.TempDir(), Options{})
	defer db.Close()
	for _, file := range []*bolt.DB{db.jdb, db.ddb} {
		reader, err := file.Begin(false)
		if err != nil {
			t.Fatal(err)
		}
		grown := make(chan error, 1)
		go func() {
			grown <- file.Update(func(tx *bolt.Tx) error {
				b, err := tx.CreateBucket([]byte("big"))
				for i := uint64(0); err == nil && i < 4; i++ {
					err = b.Put(key64(i), make([]byte, 8<<20))
				}
				return err
			})
		}()
		select {
		case err := <-grown:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Errorf("%s cannot grow beside a reader", file.Path())
		}
		if err := reader.Rollback(); err != nil {
			t.Error(err)
		}
	}
}

// TestNoTransactionWhileTheCallerWorks: an open one would keep every page that is freed meanwhile, and a caller may
// take its time, or append.
func TestNoTransactionWhileTheCallerWorks(t *testing.T) {
	o := small()
	o.ReadWorkers = 1
	db, _ := running(t, t.TempDir(), o)
	base := time.Now().Add(-time.Hour)
	seq := uint64(0)
	for ; seq < 40; seq++ {
		appendAll(t, db, report(1, seq+1, base.Add(time.Duration(seq)*time.Second), 1, 2, 3))
	}
	open := func() int { return db.ddb.Stats().OpenTxN + db.jdb.Stats().OpenTxN }
	n := 0
	for s, err := range db.Select(t.Context(), 0, math.MaxInt64) {
		if err != nil || open() != 0 {
			t.Fatalf("%d transactions are open while %s is handed over: %v", open(), s.Series, err)
		}
		seq++
		appendAll(t, db, report(1, seq, base.Add(time.Duration(seq)*time.Second), 1, 2, 3))
		n++
	}
	for w, err := range db.Rollup(t.Context(), 0, time.Now().UnixMilli()) {
		if err != nil || open() != 0 {
			t.Fatalf("%d transactions are open while %s is handed over: %v", open(), w.Series, err)
		}
		n++
	}
	if n != 6 {
		t.Errorf("%d series", n)
	}
}

// TestStoppedReaderLetsGo: a caller that has seen enough leaves no goroutine and no transaction behind, however many
// workers read for it.
func TestStoppedReaderLetsGo(t *testing.T) {
	o := small()
	o.ReadWorkers = 4
	db, _ := running(t, t.TempDir(), o)
	for i := range 20 {
		r := report(1, 1, time.Now().Add(-time.Hour), 1, 2, 3)
		r.Agent += string(rune('a' + i))
		appendAll(t, db, r)
	}
	for range 50 {
		for _, err := range db.Select(t.Context(), 0, math.MaxInt64) {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		if n := db.ddb.Stats().OpenTxN; n != 0 {
			t.Fatalf("%d transactions are open", n)
		}
	}
}

// TestRepeatAfterItsSegmentWasSealed: what was seen must outlive the segment, or a report that is sent again at the seam
// is stored twice.
func TestRepeatAfterItsSegmentWasSealed(t *testing.T) {
	db, stop := running(t, t.TempDir(), small())
	base := time.Now().Add(-time.Hour).Truncate(time.Second)
	var all []int
	for i := range 30 {
		appendAll(t, db, report(1, uint64(i+1), base.Add(time.Duration(i)*time.Second), float64(i)))
		all = append(all, i)
	}
	for _, i := range all {
		wantOutcomes(t, appendAll(t, db, report(1, uint64(i+1), base.Add(time.Duration(i)*time.Second), 99)), Duplicate)
	}
	if got := points(t, db, base, "a"); len(got) != 30 {
		t.Errorf("%d samples of 30", len(got))
	}
	stop()
}

// TestBackwardClock: an agent whose clock is set back starts a segment of its own and loses nothing; what was stored for
// a time first stays.
func TestBackwardClock(t *testing.T) {
	db, _ := running(t, t.TempDir(), small())
	base := time.Now().Add(-time.Hour).Truncate(time.Second)
	for i := range 10 {
		wantOutcomes(t, appendAll(t, db, report(1, uint64(i+1), base.Add(time.Duration(i)*time.Minute), float64(i))), Stored)
	}
	for i := range 10 { // half an hour back, between the old stamps and beyond
		wantOutcomes(t, appendAll(t, db, report(1, uint64(i+11), base.Add(time.Duration(i-30)*time.Minute+time.Second), float64(100+i))), Stored)
	}
	for s, err := range db.Select(t.Context(), 0, math.MaxInt64) {
		if err != nil || len(s.T) != 20 || !rising(s.T) {
			t.Errorf("%v, %v", s, err)
		}
	}
}

// TestFaultInAReaderIsAnError: whichever goroutine throws, the caller hears of it and the process lives.
func TestFaultInAReaderIsAnError(t *testing.T) {
	for workers := 1; workers <= 3; workers++ {
		var got error
		each(t.Context(), workers, 5, func() func(int) ([]int, error) {
			return func(i int) ([]int, error) {
				if i == 3 {
					panic("no such row")
				}
				return []int{i}, nil
			}
		}, func(_ int, err error) bool { got = err; return err == nil })
		if got == nil || !strings.Contains(got.Error(), "no such row") {
			t.Errorf("%d workers: %v", workers, got)
		}
	}
}

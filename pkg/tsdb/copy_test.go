package tsdb

import (
	"context"
	"errors"
	"flag"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"xunjian/pkg/store"
)

var hotCopies = flag.Int("copies", 15, "copies of the test that copies a store at work")

// busyStore is a store that reports stream into without end, while its days are merged and dropped.
type busyStore struct {
	workload
	dir   string
	db    *DB
	clock atomic.Uint64
	stop  func()

	mu    sync.Mutex
	acked map[uint64]bool
}

func startBusy(t *testing.T) *busyStore {
	b := &busyStore{workload: workload{Base: workBase(), Out: 40}, dir: t.TempDir(), acked: map[uint64]bool{}}
	var end func()
	b.db, end = running(t, b.dir, b.options(b.clock.Load))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { b.append(ctx, t) })
	wg.Go(func() {
		for ctx.Err() == nil {
			if _, err := b.db.Merge(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	b.stop = sync.OnceFunc(func() { cancel(); wg.Wait(); end() })
	t.Cleanup(b.stop)
	return b
}

func (b *busyStore) append(ctx context.Context, t *testing.T) {
	room := make(chan struct{}, b.Out)
	for n := uint64(1); ctx.Err() == nil; n++ {
		room <- struct{}{}
		b.clock.Store(n)
		s, r := b.report(n)
		if err := b.db.Append(ctx, s, r, func(o Outcome, err error) {
			if o == Stored && err == nil {
				b.mu.Lock()
				b.acked[n] = true
				b.mu.Unlock()
			}
			<-room
		}); err != nil {
			if ctx.Err() == nil {
				t.Error(err)
			}
			<-room
		}
	}
	for range b.Out {
		room <- struct{}{}
	}
}

// known is the ledger as it is now.
func (b *busyStore) known() *ledger {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &ledger{workload: b.workload, acked: maps.Clone(b.acked)}
}

// TestHotCopies copies a store at work again and again; each copy has all that was acked before it began, and nothing
// that was sent after it ended.
func TestHotCopies(t *testing.T) {
	b := startBusy(t)
	for i := range *hotCopies {
		for before := b.clock.Load(); b.clock.Load() < before+200 && b.db.Err() == nil; {
			_, _ = b.db.Merge(t.Context())
		}
		dir, l := t.TempDir(), b.known()
		if _, err := b.db.Backup(t.Context(), dir, &store.Copying{}); err != nil {
			t.Fatal(err)
		}
		l.sent = b.clock.Load()
		if _, err := Verify(dir, nil); err != nil {
			t.Fatalf("copy %d: %v", i, err)
		}
		db := mustOpen(t, dir, l.options(func() uint64 { return l.sent }))
		stored, err := l.lost(db)
		if err = errors.Join(err, db.Close()); err != nil {
			t.Fatalf("copy %d: %v", i, err)
		}
		for n := range stored {
			if n > l.sent {
				t.Fatalf("copy %d holds number %d, which was sent when it had ended", i, n)
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d copies while %d reports came in", *hotCopies, b.clock.Load())
}

// TestBackupLooksAtTheJournalFirst moves all reports from the journal into data.db just between a backup's two looks. With
// the older look at the journal they are in both files of the copy; the other way round they would be in neither.
func TestBackupLooksAtTheJournalFirst(t *testing.T) {
	db, commit, base := idle(t)
	const rows = 8
	for i := range rows {
		wantOutcomes(t, commit(report(1, uint64(i+1), base.Add(time.Duration(i)*time.Second), float64(i))), Stored)
	}
	if n := buckets(t, db); n == 0 {
		t.Fatal("the journal holds nothing")
	}
	dir := t.TempDir()
	if _, err := db.backup(t.Context(), dir, &store.Copying{}, func() {
		s := &sealer{db: db}
		db.sealOld(time.Now().Add(time.Hour))
		for len(db.sealQueue) > 0 {
			s.encode(<-db.sealQueue)
		}
		s.flush()
		db.cut()
		if n := buckets(t, db); n != 0 {
			t.Errorf("%d buckets of the journal are left, so the test shows nothing", n)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(dir, nil); err != nil {
		t.Fatal(err)
	}
	copied := mustOpen(t, dir, small())
	defer copied.Close()
	m, err := NewMatcher(Equal, NameLabel, "a")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for s, err := range copied.Select(t.Context(), 0, math.MaxInt64, m) {
		if err != nil {
			t.Fatal(err)
		}
		n += len(s.V)
	}
	if n != rows {
		t.Errorf("the copy has %d rows of %d", n, rows)
	}
}

// TestPlainCopyIsUnsafe copies the files of a store at work as cp does, from front to back while they change: some such
// copies are refused or lack what was acked. That is why there is a command for it.
func TestPlainCopyIsUnsafe(t *testing.T) {
	b := startBusy(t)
	bad := 0
	for try := 0; try < 50 && bad == 0; try++ {
		dir, l := t.TempDir(), b.known()
		for _, name := range []string{dataFile, journalFile} {
			b.plainCopy(t, name, dir)
		}
		l.sent = b.clock.Load()
		db, err := Open(dir, l.options(func() uint64 { return l.sent }))
		if err != nil {
			bad++
			continue
		}
		if _, err := l.lost(db); err != nil {
			bad++
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if bad == 0 {
		t.Error("every plain copy was good: this test does not show why they are unsafe")
	}
}

// plainCopy reads a file piece by piece, and the store goes on between the pieces.
func (b *busyStore) plainCopy(t *testing.T, name, dir string) {
	t.Helper()
	from, err := os.Open(filepath.Join(b.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	var raw []byte
	for piece := make([]byte, 8192); ; {
		n, err := io.ReadFull(from, piece)
		raw = append(raw, piece[:n]...)
		if err != nil {
			break
		}
		if len(raw) <= 64<<10 {
			for before := b.clock.Load(); b.clock.Load() < before+100 && b.db.Err() == nil; {
				_, _ = b.db.Merge(t.Context())
			}
		}
	}
	if err := os.WriteFile(filepath.Join(dir, name), raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

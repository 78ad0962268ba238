package tsdb

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"xunjian/pkg/disk/disktest"
	"xunjian/pkg/metric"
)

// planned is all that the committer books ahead of a commit.
type planned struct {
	Next      uint64
	Schemas   map[uint32]bool
	Plans     map[string][laneCount]lanePlan
	Seals     map[string]int
	Journaled map[string]bool
}

func plansOf(db *DB) planned {
	p := planned{db.journal.next, maps.Clone(db.schemaWritten), map[string][laneCount]lanePlan{}, map[string]int{}, map[string]bool{}}
	for _, s := range db.catalog.allStreams() {
		key, plan := s.def.key(), s.plan
		for i := range plan {
			if plan[i].n == 0 {
				plan[i] = lanePlan{}
			} else {
				plan[i].stamps = slices.Clone(plan[i].stamps)
			}
		}
		p.Plans[key], p.Seals[key], p.Journaled[key] = plan, s.seals, s.journaled
	}
	return p
}

// idle is a store without a run, whose groups the test commits itself.
func idle(t *testing.T) (db *DB, commit func(reports ...metric.Report) []Outcome, base time.Time) {
	t.Helper()
	o := small()
	o.BlockSpan = time.Minute
	db = mustOpen(t, t.TempDir(), o)
	t.Cleanup(func() { db.Close() })
	return db, func(reports ...metric.Report) []Outcome {
		out := make([]Outcome, len(reports))
		db.commit(queued(t, db, func(i int, o Outcome, err error) {
			if err != nil {
				t.Errorf("report %d: %v", i, err)
			}
			out[i] = o
		}, reports...))
		return out
	}, time.Now().Add(-time.Hour).Truncate(time.Second)
}

// queued takes reports through Append up to the committer.
func queued(t *testing.T, db *DB, durable func(int, Outcome, error), reports ...metric.Report) (group []*pending) {
	t.Helper()
	for i, r := range reports {
		if err := db.Append(t.Context(), streamOf(r), r, func(o Outcome, err error) { durable(i, o, err) }); err != nil {
			t.Fatal(err)
		}
		group = append(group, <-db.queue)
	}
	return group
}

// TestUndoTakesBackEveryBooking: a group that found no room leaves no trace, whatever it would have done.
func TestUndoTakesBackEveryBooking(t *testing.T) {
	for name, next := range map[string]func(base time.Time) []metric.Report{
		"rows in an open segment": func(b time.Time) []metric.Report {
			return []metric.Report{report(1, 100, b.Add(10*time.Second), 1), report(1, 101, b.Add(11*time.Second), 1)}
		},
		"a segment that fills up": func(b time.Time) (out []metric.Report) {
			for i := range 20 {
				out = append(out, report(1, uint64(100+i), b.Add(time.Duration(10+i)*time.Second), 1))
			}
			return out
		},
		"a segment that is closed first": func(b time.Time) []metric.Report {
			return []metric.Report{report(1, 100, b.Add(10*time.Minute), 1)}
		},
		"a new stream": func(b time.Time) []metric.Report {
			r := report(1, 1, b, 1)
			r.Agent = "web2"
			return []metric.Report{r}
		},
		"a new schema": func(b time.Time) []metric.Report {
			return []metric.Report{report(1, 100, b.Add(10*time.Second), 1, 2, 3)}
		},
		"lanes for old rows": func(b time.Time) (out []metric.Report) {
			for i := range 6 {
				out = append(out, report(1, uint64(100+i), b.Add(-time.Duration(3+i*7)*time.Minute), 1))
			}
			return out
		},
		"refused reports": func(b time.Time) []metric.Report {
			return []metric.Report{report(1, 100, b.Add(-365*24*time.Hour), 1), report(1, 101, b, 1), report(1, 1, b, 1)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			db, commit, base := idle(t)
			wantOutcomes(t, commit(report(1, 1, base, 5), report(1, 2, base.Add(time.Second), 6)), Stored, Stored)
			group := queued(t, db, nil, next(base)...)
			before := plansOf(db)
			g, err := db.planGroup(group)
			if err != nil {
				t.Fatal(err)
			}
			_, g.first, g.zipped = db.journal.layOut(g.records)
			if reflect.DeepEqual(before, plansOf(db)) {
				t.Fatal("the group books nothing, so the test shows nothing")
			}
			db.undo(&g, before.Next)
			if after := plansOf(db); !reflect.DeepEqual(before, after) {
				t.Errorf("before\n%+v\nafter\n%+v", before, after)
			}
			want := map[bool]Outcome{true: TooOld, false: Stored}[name == "refused reports"]
			if got := commit(next(base)...); got[0] != want {
				t.Errorf("the group afterwards: %v", got)
			}
		})
	}
}

// TestRoomIsAskedBeforeEachCommit: who watches the disk can stop the taking of reports, and let it go on.
func TestRoomIsAskedBeforeEachCommit(t *testing.T) {
	db, commit, base := idle(t)
	var low error
	db.room.ask = func() error { return low }
	low = errors.New("3 % free")
	var told error
	db.commit(queued(t, db, func(_ int, _ Outcome, err error) { told = err }, report(1, 1, base, 5)))
	if !errors.Is(told, ErrNoSpace) || !errors.Is(told, low) || !db.Stats().NoSpace || db.Err() != nil {
		t.Errorf("told %v, failed %v", told, db.Err())
	}
	low = nil
	wantOutcomes(t, commit(report(1, 1, base, 5)), Stored)
	if db.Stats().NoSpace {
		t.Error("no space still")
	}
}

// TestMuchUnflushedRefuses: blocks that data.db has no room for wait in bounded memory.
func TestMuchUnflushedRefuses(t *testing.T) {
	db, _, _ := idle(t)
	db.room.data = ErrNoSpace
	if err := db.refusal(time.Now()); err != nil {
		t.Errorf("refused with room in memory: %v", err)
	}
	db.unflushed.Store(2 * int64(db.o.FlushBytes))
	if err := db.refusal(time.Now()); !errors.Is(err, ErrNoSpace) {
		t.Errorf("taken with full memory: %v", err)
	}
}

// sender sends reports until they are acked, as agents do, and knows which were.
type sender struct {
	t    *testing.T
	db   *DB
	base time.Time

	mu      sync.Mutex
	acked   map[uint64]bool
	refused int
}

func (s *sender) report(seq uint64) metric.Report {
	values := make([]float64, 40)
	for i := range values {
		values[i] = math.Sqrt(float64(seq*100 + uint64(i)))
	}
	values[0] = float64(seq)
	return report(1, seq, s.base.Add(time.Duration(seq)*time.Second), values...)
}

// send sends one report until it is acked or ctx ends, and says whether it was.
func (s *sender) send(ctx context.Context, seq uint64) bool {
	for ctx.Err() == nil {
		told := make(chan error, 1)
		r := s.report(seq)
		if err := s.db.Append(ctx, streamOf(r), r, func(_ Outcome, err error) { told <- err }); err != nil {
			return false
		}
		err := <-told
		s.mu.Lock()
		if err == nil {
			s.acked[seq] = true
		} else {
			s.refused++
		}
		s.mu.Unlock()
		if err == nil {
			return true
		}
		if !errors.Is(err, ErrNoSpace) {
			if ctx.Value(mayFail{}) == nil {
				s.t.Errorf("report %d: %v", seq, err)
			}
			return false
		}
		time.Sleep(5 * time.Millisecond)
	}
	return false
}

// mayFail is in the context of senders whose store may fail for good.
type mayFail struct{}

// run sends on ten goroutines until ctx ends.
func (s *sender) run(ctx context.Context) (wait func()) {
	var wg sync.WaitGroup
	for k := range uint64(10) {
		wg.Go(func() {
			for seq := k + 1; s.send(ctx, seq); seq += 10 {
			}
		})
	}
	return wg.Wait
}

func (s *sender) counts() (acked, refused int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.acked), s.refused
}

// holds sees that every acked report is there once and right.
func (s *sender) holds(db *DB) {
	s.t.Helper()
	s.mu.Lock()
	want := slices.Sorted(maps.Keys(s.acked))
	s.mu.Unlock()
	there := map[uint64]bool{}
	m, _ := NewMatcher(Equal, NameLabel, "a")
	for got, err := range db.Select(context.Background(), 0, math.MaxInt64, m) {
		if err != nil {
			s.t.Fatal(err)
		}
		for i, v := range got.V {
			if at := s.report(uint64(v)).At.UnixMilli(); at != got.T[i] || there[uint64(v)] {
				s.t.Fatalf("%v at %d, or twice", v, got.T[i])
			}
			there[uint64(v)] = true
		}
	}
	for _, seq := range want {
		if !there[seq] {
			s.t.Fatalf("report %d was acked and is gone", seq)
		}
	}
}

func await(t testing.TB, what string, is func() bool) {
	t.Helper()
	for begin := time.Now(); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > time.Minute {
			t.Fatal("waited in vain for " + what)
		}
	}
}

func TestDiskFullTmpfs(t *testing.T) {
	if disktest.Apart(t) {
		diskFull(t, disktest.Tmpfs(t, 24))
	}
}

func TestDiskFullExt4(t *testing.T) {
	if disktest.Apart(t) {
		dir, _ := disktest.Ext4(t, 48, "")
		diskFull(t, dir)
	}
}

// diskFull fills the disk under a store that is written to, sees it refuse and read, makes room twice, and sees it go on.
func diskFull(t *testing.T, disk string) {
	o := Options{BlockRows: 32, Linger: time.Millisecond, FlushEvery: 50 * time.Millisecond, MmapSize: 1 << 30}
	dir := filepath.Join(disk, "series")
	db, stop := running(t, dir, o)
	s := &sender{t: t, db: db, base: time.Now().Add(-6 * 24 * time.Hour).Truncate(time.Second), acked: map[uint64]bool{}}
	ctx, cancel := context.WithCancel(t.Context())
	wait := s.run(ctx)
	await(t, "acks", func() bool { n, _ := s.counts(); return n > 500 })
	for round := range 2 {
		ballast := disktest.Fill(t, disk, 100<<10)
		_, before := s.counts()
		await(t, "refusals", func() bool { _, n := s.counts(); return n > before+100 && db.Stats().NoSpace })
		s.holds(db)
		acked, _ := s.counts()
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		freed := time.Now()
		await(t, "acks again", func() bool { n, _ := s.counts(); return n > acked+500 && !db.Stats().NoSpace })
		t.Logf("round %d: %d acked before, going on %v after there was room", round, acked, time.Since(freed).Round(time.Millisecond))
		if err := db.Err(); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	wait()
	stop()
	again := mustOpen(t, dir, o)
	defer again.Close()
	s.holds(again)
	n, refused := s.counts()
	t.Logf("%d acked, %d refusals, 0 lost", n, refused)
}

// TestReadOnlyExt4: a file system that turns read-only after an error of its own takes no reports, gives what it has,
// and loses nothing that was acked.
func TestReadOnlyExt4(t *testing.T) {
	if !disktest.Apart(t) {
		return
	}
	disk, image := disktest.Ext4(t, 64, "errors=remount-ro")
	trigger := filepath.Join("/sys/fs/ext4", disktest.Device(t, disk), "trigger_fs_error")
	if _, err := os.Stat(trigger); err != nil {
		t.Skip(err)
	}
	o := Options{BlockRows: 32, Linger: time.Millisecond, FlushEvery: 50 * time.Millisecond, MmapSize: 1 << 30}
	db := mustOpen(t, filepath.Join(disk, "series"), o)
	ran := make(chan error, 1)
	go func() { ran <- db.Run(context.Background()) }()
	s := &sender{t: t, db: db, base: time.Now().Add(-6 * 24 * time.Hour).Truncate(time.Second), acked: map[uint64]bool{}}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), mayFail{}, true))
	wait := s.run(ctx)
	await(t, "acks", func() bool { n, _ := s.counts(); return n > 500 })
	if err := os.WriteFile(trigger, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	await(t, "refusals", func() bool { return db.Err() != nil || db.NoSpace() != nil })
	before, _ := s.counts()
	time.Sleep(100 * time.Millisecond)
	if after, _ := s.counts(); after > before {
		t.Errorf("%d reports acked on a read-only disk", after-before)
	}
	s.holds(db)
	t.Logf("%d acked; then %v / %v", before, db.Err(), db.NoSpace())
	cancel()
	wait()
	_ = db.Close()
	<-ran
	disktest.Unmount(t, disk)
	again := mustOpen(t, filepath.Join(disktest.Mount(t, image, ""), "series"), o)
	defer again.Close()
	s.holds(again)
}

// TestFlushWithoutRoomForgetsNothing: what only the journal knows must be in the next flush, and until then the journal
// may not be cut.
func TestFlushWithoutRoomForgetsNothing(t *testing.T) {
	db, commit, base := idle(t)
	commit(report(1, 1, base, 1))
	before := db.takeDirty()
	if len(before.agents) != 1 || len(before.streams) != 1 || len(before.schemas) != 1 {
		t.Fatalf("%+v", before)
	}
	second := report(1, 1, base, 2)
	second.Agent = "web2"
	commit(second) // while the flush is under way
	db.giveBackDirty(before)
	after := db.takeDirty()
	if len(after.agents) != 2 || len(after.streams) != 2 || len(after.schemas) != 1 || after.upTo <= before.upTo {
		t.Errorf("%+v", after)
	}
	if db.persisted.Load() != 0 {
		t.Errorf("persisted up to %d", db.persisted.Load())
	}
}

// TestWrittenCountsPages: what a transaction writes are the pages of the file that it changes.
func TestWrittenCountsPages(t *testing.T) {
	const page = 4096
	db, err := Open(t.TempDir(), Options{MmapSize: 1 << 24})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for i, size := range []int{100, 20_000, 300_000, 100} {
		before, err := os.ReadFile(db.ddb.Path())
		if err != nil {
			t.Fatal(err)
		}
		start := db.Stats()
		value := make([]byte, size)
		for at := range value {
			value[at] = byte(i + at%251 + 1)
		}
		if err := db.update(db.ddb, func(tx *bolt.Tx) error { return tx.Bucket(bucketHot).Put([]byte{byte(i)}, value) }); err != nil {
			t.Fatal(err)
		}
		after, err := os.ReadFile(db.ddb.Path())
		if err != nil {
			t.Fatal(err)
		}
		before = append(before, make([]byte, max(0, len(after)-len(before)))...)
		var changed int64
		for at := 0; at < len(after); at += page {
			if !bytes.Equal(before[at:at+page], after[at:at+page]) {
				changed++
			}
		}
		now := db.Stats()
		// the list of free pages is given a page too many at times
		if written := now.DataWritten - start.DataWritten; written%page != 0 || written/page < changed || written/page > changed+1 {
			t.Errorf("%d bytes: %d pages have changed, %d bytes were written", size, changed, written)
		}
		if now.JournalWritten != start.JournalWritten {
			t.Error("nothing went to the journal")
		}
	}
}

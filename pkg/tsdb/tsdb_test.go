package tsdb

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"xunjian/pkg/metric"
	"xunjian/pkg/store"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := childMain(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// small is a store with blocks so short that every test sees many.
func small() Options {
	return Options{BlockRows: 8, FlushEvery: time.Second, Linger: 10 * time.Millisecond, MmapSize: 1 << 30}
}

func mustOpen(t testing.TB, dir string, o Options) *DB {
	t.Helper()
	db, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// running opens a store and runs it; stop ends the run and closes it, also at the end of the test.
func running(t testing.TB, dir string, o Options) (db *DB, stop func()) {
	t.Helper()
	db = mustOpen(t, dir, o)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := db.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return db, stop
}

// report makes a reading of one series per value, named a, b, c, ….
func report(boot, seq uint64, at time.Time, values ...float64) metric.Report {
	r := metric.Report{Agent: "web1", Boot: boot, Seq: seq, Kind: metric.KindHost, Every: 15 * time.Second, At: at}
	for i, v := range values {
		r.Samples = append(r.Samples, metric.Sample{Series: metric.New(string(rune('a' + i))), Value: v})
	}
	return r
}

func streamOf(r metric.Report) Stream {
	return Stream{Agent: r.Agent, Kind: r.Kind, Every: r.Every, Labels: []metric.Label{{Name: "instance", Value: r.Agent}}}
}

// appendAll queues reports and waits for all outcomes.
func appendAll(t testing.TB, db *DB, reports ...metric.Report) []Outcome {
	t.Helper()
	out := make([]Outcome, len(reports))
	var wg sync.WaitGroup
	for i, r := range reports {
		wg.Add(1)
		err := db.Append(t.Context(), streamOf(r), r, func(o Outcome, err error) {
			if err != nil {
				t.Errorf("report %d: %v", r.Seq, err)
			}
			out[i] = o
			wg.Done()
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	return out
}

func wantOutcomes(t testing.TB, got []Outcome, want ...Outcome) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("outcomes %v, want %v", got, want)
	}
}

// points reads a whole series as "ms:value" relative to a base.
func points(t testing.TB, db *DB, base time.Time, name string) []string {
	t.Helper()
	m, err := NewMatcher(Equal, NameLabel, name)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	n := 0
	for s, err := range db.Select(t.Context(), 0, math.MaxInt64, m) {
		if err != nil {
			t.Fatal(err)
		}
		for i, at := range s.T {
			text := fmt.Sprint(s.V[i])
			if IsStale(s.V[i]) {
				text = "end"
			}
			out = append(out, fmt.Sprintf("%d:%s", (at-base.UnixMilli())/1000, text))
		}
		n++
	}
	if n > 1 {
		t.Errorf("%s came %d times", name, n)
	}
	return out
}

func wantPoints(t testing.TB, db *DB, base time.Time, name string, want ...string) {
	t.Helper()
	if got := points(t, db, base, name); !slices.Equal(got, want) {
		t.Errorf("%s is %v, want %v", name, got, want)
	}
}

func TestAppendIsReadBackBeforeAndAfterReopening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, base := t.TempDir(), time.Now().Add(-time.Hour).Truncate(time.Second)
		db, stop := running(t, dir, small())
		var want []string
		for i := range 100 {
			at := base.Add(time.Duration(i) * 15 * time.Second)
			wantOutcomes(t, appendAll(t, db, report(1, uint64(i+1), at, float64(i), math.NaN())), Stored)
			want = append(want, fmt.Sprintf("%d:%d", i*15, i))
		}
		wantPoints(t, db, base, "a", want...)
		wantPoints(t, db, base, "b")
		time.Sleep(2 * time.Second)
		if s := db.Stats(); s.HotBlocks < 10 || s.HeadRows > 16 {
			t.Errorf("after flushing: %+v", s)
		}
		wantPoints(t, db, base, "a", want...)
		stop()
		db, _ = running(t, dir, small())
		wantPoints(t, db, base, "a", want...)
		if s := db.Stats(); s.HeadRows > 16 {
			t.Errorf("rows that are in blocks came back from the journal: %+v", s)
		}
	})
}

func TestAckComesAfterTheLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, _ := running(t, t.TempDir(), Options{MmapSize: 1 << 30})
		at := time.Now()
		appendAll(t, db, report(1, 1, at, 1))
		if d := time.Since(at); d != 250*time.Millisecond {
			t.Errorf("acked after %v, want the linger", d)
		}
		at = time.Now()
		r := report(1, 2, at.Add(time.Second), 1)
		s := streamOf(r)
		s.Urgent = true
		done := make(chan Outcome, 1)
		if err := db.Append(t.Context(), s, r, func(o Outcome, _ error) { done <- o }); err != nil {
			t.Fatal(err)
		}
		if o := <-done; o != Stored || time.Since(at) != 0 {
			t.Errorf("urgent: %v after %v", o, time.Since(at))
		}
		var many []metric.Report
		for i := range 100 {
			many = append(many, report(1, uint64(10+i), at.Add(time.Duration(i+2)*time.Second), 1))
		}
		at = time.Now()
		appendAll(t, db, many...)
		if d := time.Since(at); d != 0 {
			t.Errorf("100 waiting reports were acked after %v", d)
		}
	})
}

func TestExactlyOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, base := t.TempDir(), time.Now().Truncate(time.Second).Add(-time.Hour)
		rep := func(seq uint64) metric.Report {
			return report(7, seq, base.Add(time.Duration(seq)*time.Second), float64(seq))
		}
		db, stop := running(t, dir, small())
		wantOutcomes(t, appendAll(t, db, rep(151), rep(152), rep(152)), Stored, Stored, Duplicate)
		wantOutcomes(t, appendAll(t, db, rep(101), rep(151), rep(102)), Stored, Duplicate, Stored)
		for range 2 { // the second time from data.db, where the flush at the end put it
			stop()
			db, stop = running(t, dir, small())
			wantOutcomes(t, appendAll(t, db, rep(101), rep(102), rep(151), rep(152)), Duplicate, Duplicate, Duplicate, Duplicate)
		}
		wantOutcomes(t, appendAll(t, db, rep(103)), Stored)
		other := rep(102)
		other.Boot, other.At = 8, base.Add(500*time.Second)
		wantOutcomes(t, appendAll(t, db, other), Stored)
		wantPoints(t, db, base, "a", "101:101", "102:102", "103:103", "151:151", "152:152", "500:102")
	})
}

func TestRefusalsAreCountedAndDoneWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, now := t.TempDir(), time.Now()
		o := small()
		o.Limits = Limits{ReportSeries: 3, AgentSeries: 5, Series: 100, Streams: 3, LabelBytes: 8}
		db, stop := running(t, dir, o)
		long := report(1, 5, now, 1)
		long.Samples[0].Series = metric.New("a", "l", "123456789")
		doubled := report(1, 6, now.Add(time.Second), 1, 2)
		doubled.Samples[1] = doubled.Samples[0]
		reports := []metric.Report{
			report(1, 1, now.Add(-8*24*time.Hour), 1), report(1, 2, now.Add(6*time.Minute), 1),
			report(1, 3, now, 1), report(1, 4, now, 2), long, doubled, report(1, 7, now.Add(2*time.Second), 1, 2, 3, 4),
		}
		wantOutcomes(t, appendAll(t, db, reports...), TooOld, Future, Stored, SameTime, BadSeries, Stored, Stored)
		got := map[Outcome]uint64{}
		db.Refused(func(agent string, o Outcome, n uint64) { got[o] += n })
		if fmt.Sprint(got) != fmt.Sprint(map[Outcome]uint64{TooOld: 1, Future: 1, SameTime: 1, BadSeries: 1}) {
			t.Errorf("counted %v", got)
		}
		stop()
		db, _ = running(t, dir, o)
		for i, o := range appendAll(t, db, reports...) {
			if o != Duplicate {
				t.Errorf("report %d after reopening: %v, want it done with", i+1, o)
			}
		}
		base := now.Truncate(time.Millisecond)
		wantPoints(t, db, base, "a", "0:1", "1:1", "2:1")
		wantPoints(t, db, base, "c", "2:3")
		wantPoints(t, db, base, "d")
		wantPoints(t, db, base, OverflowSeries, "1:1", "2:1")
	})
}

func TestLimitsOfSeriesAndStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := small()
		o.Limits = Limits{ReportSeries: 3, AgentSeries: 4, Series: 6, Streams: 4}
		db, _ := running(t, t.TempDir(), o)
		seq := uint64(0)
		send := func(agent, kind string, names ...string) Outcome {
			seq++
			r := report(1, seq, time.Now().Add(time.Duration(seq)*time.Millisecond))
			r.Agent, r.Kind = agent, kind
			for _, n := range names {
				r.Samples = append(r.Samples, metric.Sample{Series: metric.New(n), Value: 1})
			}
			return appendAll(t, db, r)[0]
		}
		for i, c := range []struct {
			agent, kind, names string
			want               Outcome
		}{
			{"w1", "host", "abc", Stored},
			{"w1", "host", "abd", Stored},
			{"w1", "host", "abe", Stored}, // without e
			{"w1", "host", "abd", Stored},
			{"w2", "host", "ab", Stored},
			{"w2", "host", "c", SeriesLimit}, // nothing of it is left
			{"w3", "host", "a", SeriesLimit},
			{"w1", "host", "abc", Stored},
			{"w3", "host", "", Stored},
			{"w3", "x", "", Stored},
			{"w3", "y", "", StreamLimit},
		} {
			if got := send(c.agent, c.kind, splitNames(c.names)...); got != c.want {
				t.Errorf("step %d: %s %s %s: %v, want %v", i, c.agent, c.kind, c.names, got, c.want)
			}
		}
		db.Dropped(func(agent string, samples uint64, last time.Time) {
			if agent != "w1" || samples != 1 || last.Before(time.Now().Add(-time.Second)) {
				t.Errorf("%s lost %d samples at %v", agent, samples, last)
			}
		})
		if n := len(db.Series(0, math.MaxInt64, matcher(t, Equal, NameLabel, OverflowSeries))); n != 1 {
			t.Errorf("%d overflow series", n)
		}
		if err := db.Append(t.Context(), Stream{Agent: "w4", Kind: "host"}, report(1, 1, time.Now()), nil); err != nil {
			t.Error(err)
		}
		if err := db.Append(t.Context(), Stream{Agent: "w5", Kind: "host"}, report(1, 1, time.Now()), nil); !errors.Is(err, ErrLimit) {
			t.Errorf("a fifth agent: %v", err)
		}
		if err := db.Append(t.Context(), Stream{Kind: "host"}, report(1, 1, time.Now()), nil); err == nil {
			t.Error("an agent without a name was taken")
		}
	})
}

func splitNames(s string) (out []string) {
	for _, r := range s {
		out = append(out, string(r))
	}
	return out
}

func TestBackPressureAndStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := mustOpen(t, t.TempDir(), small())
		defer db.Close()
		told := 0
		fill := func(ctx context.Context, seq int) error {
			r := report(1, uint64(seq+1), time.Now().Add(time.Duration(seq)*time.Millisecond), 1)
			return db.Append(ctx, streamOf(r), r, func(o Outcome, err error) {
				if !errors.Is(err, ErrClosed) {
					t.Errorf("told %v, %v", o, err)
				}
				told++
			})
		}
		for i := range queueLimit {
			if err := fill(t.Context(), i); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := fill(ctx, queueLimit); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a full queue gave %v", err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		if told != queueLimit {
			t.Errorf("%d of %d were told", told, queueLimit)
		}
		if err := fill(t.Context(), 0); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		if err := db.Run(t.Context()); err == nil {
			t.Error("ran after Close")
		}
	})
}

func TestRunCommitsWhatIsQueuedBeforeItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, base := t.TempDir(), time.Now().Truncate(time.Second)
		db := mustOpen(t, dir, small())
		var outs []Outcome
		for i := range 5 {
			r := report(1, uint64(i+1), base.Add(time.Duration(i)*time.Second), float64(i))
			if err := db.Append(t.Context(), streamOf(r), r, func(o Outcome, _ error) { outs = append(outs, o) }); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := db.Run(ctx); err != nil {
			t.Fatal(err)
		}
		wantOutcomes(t, outs, Stored, Stored, Stored, Stored, Stored)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db, _ = running(t, dir, small())
		wantPoints(t, db, base, "a", "0:0", "1:1", "2:2", "3:3", "4:4")
	})
}

// TestFailureStopsAcks closes the journal under the committer, as a failed fsync would leave it.
func TestFailureStopsAcks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, base := t.TempDir(), time.Now().Truncate(time.Second)
		db := mustOpen(t, dir, small())
		defer db.Close()
		ran := make(chan error, 1)
		go func() { ran <- db.Run(context.Background()) }()
		appendAll(t, db, report(1, 1, base, 1))
		if err := db.jdb.Close(); err != nil {
			t.Fatal(err)
		}
		r := report(1, 2, base.Add(time.Second), 2)
		told := make(chan error, 1)
		if err := db.Append(t.Context(), streamOf(r), r, func(o Outcome, err error) { told <- err }); err != nil {
			t.Fatal(err)
		}
		if err := <-told; !errors.Is(err, ErrFailed) {
			t.Errorf("the report was told %v", err)
		}
		if err := <-ran; !errors.Is(err, ErrFailed) {
			t.Errorf("Run ended with %v", err)
		}
		if err := db.Append(t.Context(), streamOf(r), r, nil); !errors.Is(err, ErrFailed) {
			t.Errorf("Append after it: %v", err)
		}
		if !errors.Is(db.Err(), ErrFailed) {
			t.Errorf("Err is %v", db.Err())
		}
		wantPoints(t, db, base, "a", "0:1")
	})
}

// copyStore copies both files as they are at some moment, without the pages that bbolt has set aside.
// The journal comes first: what moves to the data file in between is then in both, not in neither.
func copyStore(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	for _, name := range []string{journalFile, dataFile} {
		if err := os.WriteFile(filepath.Join(to, name), readUsed(t, filepath.Join(from, name)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

func readUsed(t testing.TB, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, err := store.Used(f)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, n)
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

package tsdb

import (
	"context"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	bolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"xunjian/pkg/metric"
)

// model is what a store must hold, in plain maps.
type model struct {
	values map[string]map[int64]float64 // by series with labels
	stream map[string]string            // of each series
	rows   map[string]map[int64]bool    // by stream
	done   map[string]bool              // agent, boot, seq
}

func newModel() *model {
	return &model{map[string]map[int64]float64{}, map[string]string{}, map[string]map[int64]bool{}, map[string]bool{}}
}

// points are a series within [from, to]: where a row lacks it after one that had it, its end.
func (m *model) points(name string, from, to int64) (out []point) {
	had := false
	for _, ms := range slices.Sorted(maps.Keys(m.rows[m.stream[name]])) {
		if ms < from || ms > to {
			continue
		}
		v, has := m.values[name][ms]
		if has {
			out = append(out, point{ms, math.Float64bits(v)})
		} else if had {
			out = append(out, point{ms, staleBits})
		}
		had = has
	}
	return out
}

type point struct {
	ms   int64
	bits uint64
}

func reportKey(r metric.Report) string { return fmt.Sprint(r.Agent, "/", r.Boot, "/", r.Seq) }
func streamKey(r metric.Report) string { return r.Agent + "/" + r.Kind }

// take books a report with the outcome that the store gave it and says when that is wrong.
func (m *model) take(r metric.Report, got Outcome, now time.Time, o Options) error {
	ms, want := r.At.UnixMilli(), Stored
	collides := m.rows[streamKey(r)][ms]
	switch {
	case m.done[reportKey(r)]:
		want = Duplicate
	case r.At.Before(now.Add(-o.MaxAge)):
		want = TooOld
	case r.At.After(now.Add(o.MaxAhead)):
		want = Future
	case collides && got == SameTime:
		want = SameTime // allowed, while the first row is in an open segment
	}
	if got != want {
		return fmt.Errorf("report %s at %v: %v, want %v", reportKey(r), r.At.Sub(now), got, want)
	}
	m.done[reportKey(r)] = true
	if got == Stored {
		m.store(r, ms)
	}
	return nil
}

func (m *model) store(r metric.Report, ms int64) {
	if m.rows[streamKey(r)] == nil {
		m.rows[streamKey(r)] = map[int64]bool{}
	}
	m.rows[streamKey(r)][ms] = true
	for _, s := range r.Samples {
		name := withLabels(s.Series, streamOf(r).Labels).String()
		if m.values[name] == nil {
			m.values[name] = map[int64]float64{}
			m.stream[name] = streamKey(r)
		}
		if _, there := m.values[name][ms]; !there && !math.IsNaN(s.Value) {
			m.values[name][ms] = s.Value
		}
	}
}

// compare reads everything in [from, to] and says what differs.
func (m *model) compare(db *DB, from, to int64) error {
	left := map[string]bool{}
	for name, points := range m.values {
		for ms := range points {
			if ms >= from && ms <= to {
				left[name] = true
			}
		}
	}
	for s, err := range db.Select(context.Background(), from, to) {
		if err != nil {
			return err
		}
		name := s.Series.String()
		if !left[name] {
			return fmt.Errorf("%s is not wanted, or came twice", name)
		}
		delete(left, name)
		var got []point
		for i, ms := range s.T {
			got = append(got, point{ms, math.Float64bits(s.V[i])})
		}
		if want := m.points(name, from, to); !slices.Equal(got, want) {
			return fmt.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("missing: %v", left)
	}
	return nil
}

// machine is one store under test with its model.
type machine struct {
	t     *testing.T
	rt    *rapid.T
	o     Options
	dir   string
	db    *DB
	end   func()
	m     *model
	fresh int64 // a stamp that nobody had
	dirs  int
	root  string
}

func (x *machine) open(dir string) {
	db, err := Open(dir, x.o)
	if err != nil {
		x.rt.Fatal(err)
	}
	x.o = db.o
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := db.Run(ctx); err != nil {
			x.t.Error(err)
		}
	})
	x.dir, x.db = dir, db
	x.end = func() {
		cancel()
		wg.Wait()
		if err := db.Close(); err != nil {
			x.rt.Fatal(err)
		}
	}
}

// snapshot writes what a power cut would leave: the committed state of both files, the journal's first.
func (x *machine) snapshot() string {
	x.dirs++
	dir := filepath.Join(x.root, fmt.Sprint(x.dirs))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		x.rt.Fatal(err)
	}
	err := x.db.jdb.View(func(j *bolt.Tx) error {
		return x.db.ddb.View(func(d *bolt.Tx) error {
			if err := j.CopyFile(filepath.Join(dir, journalFile), 0o600); err != nil {
				return err
			}
			return d.CopyFile(filepath.Join(dir, dataFile), 0o600)
		})
	})
	if err != nil {
		x.rt.Fatal(err)
	}
	return dir
}

func drawValue(t *rapid.T) float64 {
	return rapid.OneOf(
		rapid.SampledFrom([]float64{math.NaN(), math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), 0, 1<<53 + 2, 1e308, 5e-324}),
		rapid.Map(rapid.IntRange(0, 1000), func(i int) float64 { return float64(i) / 8 }),
		rapid.Float64(),
	).Draw(t, "value")
}

func (x *machine) drawReport(at time.Time) metric.Report {
	t := x.rt
	r := metric.Report{
		Agent: rapid.SampledFrom([]string{"w1", "w2"}).Draw(t, "agent"), Kind: rapid.SampledFrom([]string{"host", "probe/a"}).Draw(t, "kind"),
		Boot: rapid.Uint64Range(1, 2).Draw(t, "boot"), Seq: rapid.Uint64Range(1, 300).Draw(t, "seq"), Every: 15 * time.Second, At: at,
	}
	schemas := [][]string{{"a", "b"}, {"b", "a"}, {"a", "b", "c"}, {"d"}}
	for _, name := range rapid.SampledFrom(schemas).Draw(t, "schema") {
		r.Samples = append(r.Samples, metric.Sample{Series: metric.New(r.Kind[:4]+"_"+name, "device", "x"), Value: drawValue(t)})
	}
	return r
}

func (x *machine) drawTime() time.Time {
	back := rapid.OneOf(
		rapid.IntRange(0, 40),                       // the last ten minutes, in any order
		rapid.IntRange(40, 4000),                    // today
		rapid.IntRange(4*60*24*6, 4*60*24*7+20_000), // about a week ago and beyond
		rapid.IntRange(-40, 0),                      // ahead
	).Draw(x.rt, "back")
	return time.Now().Truncate(15 * time.Second).Add(-time.Duration(back) * 15 * time.Second)
}

// send appends and waits for the outcomes.
func (x *machine) send(reports []metric.Report) {
	outs := make([]Outcome, len(reports))
	now := time.Now()
	for i, o := range x.queue(reports, outs) {
		if err := <-o; err != nil {
			x.rt.Fatal(err)
		}
		if err := x.m.take(reports[i], outs[i], now, x.o); err != nil {
			x.rt.Fatal(err)
		}
	}
}

func (x *machine) queue(reports []metric.Report, outs []Outcome) []chan error {
	acks := make([]chan error, len(reports))
	for i, r := range reports {
		acks[i] = make(chan error, 1)
		err := x.db.Append(context.Background(), streamOf(r), r, func(o Outcome, err error) {
			outs[i] = o
			acks[i] <- err
		})
		if err != nil {
			x.rt.Fatal(err)
		}
	}
	return acks
}

// crash takes the disk's state while reports are on their way, opens that, and sends them all again.
func (x *machine) crash() {
	var reports []metric.Report
	for range rapid.IntRange(0, 12).Draw(x.rt, "under way") {
		x.fresh++
		r := x.drawReport(time.UnixMilli(time.Now().UnixMilli() - 3600_000 + x.fresh))
		r.Boot, r.Seq = 9, uint64(x.fresh)
		reports = append(reports, r)
	}
	outs := make([]Outcome, len(reports))
	acks := x.queue(reports, outs)
	time.Sleep(time.Duration(rapid.IntRange(0, 20).Draw(x.rt, "ms")) * time.Millisecond)
	acked := make([]bool, len(reports))
	for i := range acks {
		select {
		case <-acks[i]:
			acked[i] = true
		default:
		}
	}
	dir := x.snapshot()
	x.end()
	x.open(dir)
	again := make([]Outcome, len(reports))
	for i, ack := range x.queue(reports, again) {
		if err := <-ack; err != nil {
			x.rt.Fatal(err)
		}
		if acked[i] && again[i] != Duplicate {
			x.rt.Fatalf("report %d was acked and then taken again: %v", i, again[i])
		}
		if again[i] != Duplicate && again[i] != Stored {
			x.rt.Fatalf("report %d again: %v", i, again[i])
		}
		x.m.done[reportKey(reports[i])] = true
		x.m.store(reports[i], reports[i].At.UnixMilli())
	}
}

// inBubble runs fn with fake time and lets what it panics with out of the bubble, for that is how rapid fails.
func inBubble(t *testing.T, fn func(*testing.T)) {
	var thrown any
	synctest.Test(t, func(t *testing.T) {
		defer func() { thrown = recover() }()
		fn(t)
	})
	if thrown != nil {
		panic(thrown)
	}
}

// TestAgainstModel appends at random, out of order and twice, restarts, crashes, and reads, beside a model.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		inBubble(t, func(t *testing.T) {
			root := t.TempDir()
			defer os.RemoveAll(root)
			x := &machine{t: t, rt: rt, root: root, m: newModel()}
			x.o = Options{
				BlockRows: rapid.IntRange(1, 9).Draw(rt, "rows"), BlockSpan: 10 * time.Minute, FlushEvery: 20 * time.Second,
				Linger: 5 * time.Millisecond, MmapSize: 1 << 28,
			}
			x.open(filepath.Join(root, "0"))
			defer func() { x.end() }()
			rt.Repeat(map[string]func(*rapid.T){
				"append": func(rt *rapid.T) {
					x.rt = rt
					var batch []metric.Report
					for range rapid.IntRange(1, 6).Draw(rt, "reports") {
						batch = append(batch, x.drawReport(x.drawTime()))
					}
					x.send(batch)
				},
				"backlog": func(rt *rapid.T) {
					x.rt = rt
					at := x.drawTime()
					r := x.drawReport(at)
					var batch []metric.Report
					for i := range rapid.IntRange(60, 130).Draw(rt, "reports") {
						r.Seq, r.At = uint64(1000+i), at.Add(time.Duration(i)*time.Second)
						batch = append(batch, r)
					}
					x.send(batch)
				},
				"wait": func(rt *rapid.T) {
					time.Sleep(time.Duration(rapid.IntRange(1, 3600).Draw(rt, "seconds")) * time.Second)
				},
				"merge": func(rt *rapid.T) {
					if _, err := x.db.Merge(t.Context()); err != nil {
						rt.Fatal(err)
					}
				},
				"restart": func(rt *rapid.T) { x.rt = rt; x.end(); x.open(x.dir) },
				"crash":   func(rt *rapid.T) { x.rt = rt; x.crash() },
				"read part": func(rt *rapid.T) {
					from, to := x.drawTime().UnixMilli(), x.drawTime().UnixMilli()
					if err := x.m.compare(x.db, from, to); err != nil {
						rt.Fatal(err)
					}
				},
				"": func(rt *rapid.T) {
					if err := x.m.compare(x.db, 0, math.MaxInt64); err != nil {
						rt.Fatal(err)
					}
				},
			})
		})
	})
}

package tsdb

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	bolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"xunjian/pkg/metric"
)

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
	times []time.Time
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
		rapid.SampledFrom([]float64{math.NaN(), math.NaN(), staleMarker, Absent, math.Inf(1), math.Inf(-1), math.Copysign(0, -1), 0, 1<<53 + 2, 1e308, 5e-324}),
		rapid.Map(rapid.IntRange(0, 1000), func(i int) float64 { return float64(i) / 8 }),
		rapid.Float64(),
	).Draw(t, "value")
}

func (x *machine) drawReport(at time.Time) metric.Report {
	t := x.rt
	r := metric.Report{
		Agent: rapid.SampledFrom([]string{"w1", "w2"}).Draw(t, "agent"), Kind: rapid.SampledFrom([]string{"host", "probe/a", "rule"}).Draw(t, "kind"),
		Boot: rapid.Uint64Range(1, 2).Draw(t, "boot"), Seq: rapid.Uint64Range(1, 300).Draw(t, "seq"), Every: 15 * time.Second, At: at,
	}
	schemas := [][]string{{"a", "b_total"}, {"b_total", "a"}, {"a", "b_total", "c"}, {"d"}, {}}
	if r.Kind == "rule" {
		schemas = schemas[:2] // as their senders do: a sparse stream's series stay the same
	}
	for _, name := range rapid.SampledFrom(schemas).Draw(t, "schema") {
		r.Samples = append(r.Samples, metric.Sample{Series: metric.New(r.Kind[:4]+"_"+name, "device", "x"), Value: drawValue(t)})
	}
	return r
}

func (x *machine) drawTime() time.Time {
	now := time.Now().Truncate(15 * time.Second)
	steps := func(lo, hi int) *rapid.Generator[time.Time] {
		return rapid.Map(rapid.IntRange(lo, hi), func(n int) time.Time { return now.Add(-time.Duration(n) * 15 * time.Second) })
	}
	midnight := now.Truncate(24 * time.Hour)
	any := []*rapid.Generator[time.Time]{
		steps(0, 40),                 // the last ten minutes, in any order
		steps(40, 4000),              // today
		steps(4*60*24, 4*60*24*3+20), // on days that are merged, and just too old
		steps(4*60*24*4, 4*60*24*7),  // on days that are dropped
		steps(-40, 0),                // ahead
		rapid.Map(rapid.Int64Range(-1, 1), func(ms int64) time.Time { return midnight.Add(time.Duration(ms) * time.Millisecond) }),
	}
	if len(x.times) > 0 {
		any = append(any, rapid.SampledFrom(x.times)) // once more a time that was there before
	}
	at := rapid.OneOf(any...).Draw(x.rt, "at")
	if x.times = append(x.times, at); len(x.times) > 30 {
		x.times = x.times[1:]
	}
	return at
}

// send appends and waits for the outcomes.
func (x *machine) send(reports []metric.Report) {
	outs := make([]Outcome, len(reports))
	now, since := time.Now(), x.db.RawSince()
	for i, o := range x.queue(reports, outs) {
		if err := <-o; err != nil {
			x.rt.Fatal(err)
		}
		if err := x.m.take(reports[i], outs[i], now, since, x.o); err != nil {
			x.rt.Fatal(err)
		}
	}
}

func (x *machine) queue(reports []metric.Report, outs []Outcome) []chan error {
	acks := make([]chan error, len(reports))
	for i, r := range reports {
		acks[i] = make(chan error, 1)
		err := x.db.Append(context.Background(), modelStream(r), r, func(o Outcome, err error) {
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
	merging := make(chan struct{})
	go func() {
		defer close(merging)
		_, _ = x.db.Merge(context.Background())
	}()
	dir := x.snapshot()
	<-merging
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

// merge merges by hand what Run merges from time to time.
func (x *machine) merge() {
	if _, err := x.db.Merge(context.Background()); err != nil {
		x.rt.Fatal(err)
	}
}

func (x *machine) compare(from, to int64) {
	since, due := x.db.RawSince(), x.m.dropped(time.Now(), x.o.Retain)
	if since > due {
		x.rt.Fatalf("raw samples before %d are dropped, want %d", since, due)
	}
	x.m.rawGone = since
	if err := x.m.compare(x.db, from, to); err != nil {
		x.rt.Fatal(err)
	}
	if to < math.MaxInt64/2 {
		to = windowEnd(to)
	} else {
		to = math.MaxInt64 / RollupStep * RollupStep
	}
	if err := x.m.compareRollup(x.db, windowEnd(from), to, x.m.dropped(time.Now(), x.o.RetainRollup)); err != nil {
		x.rt.Fatal(err)
	}
}

// TestAgainstModel appends at random, out of order, late and twice, restarts, crashes, merges days, drops old ones, and
// reads samples and aggregates, beside a model.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		inBubble(t, func(t *testing.T) {
			root := t.TempDir()
			defer os.RemoveAll(root)
			x := &machine{t: t, rt: rt, root: root, m: newModel()}
			x.o = Options{
				BlockRows: rapid.IntRange(1, 40).Draw(rt, "rows"), BlockSpan: rapid.SampledFrom([]time.Duration{10 * time.Minute, 2 * time.Hour}).Draw(rt, "span"),
				FlushEvery: 20 * time.Second, Linger: 5 * time.Millisecond, MmapSize: 1 << 28,
				MaxAge: time.Duration(rapid.IntRange(3, 7).Draw(rt, "days")) * 24 * time.Hour, Retain: 5 * 24 * time.Hour, RetainRollup: 8 * 24 * time.Hour,
			}
			x.open(filepath.Join(root, "0"))
			defer func() { x.end() }()
			rt.Repeat(x.actions())
		})
	})
}

func (x *machine) actions() map[string]func(*rapid.T) {
	steps := map[string]func(){
		"append": func() {
			var batch []metric.Report
			for range rapid.IntRange(1, 6).Draw(x.rt, "reports") {
				batch = append(batch, x.drawReport(x.drawTime()))
			}
			x.send(batch)
		},
		"backlog": func() {
			at := x.drawTime()
			r := x.drawReport(at)
			var batch []metric.Report
			for i := range rapid.IntRange(60, 130).Draw(x.rt, "reports") {
				r.Seq, r.At = uint64(1000+i), at.Add(time.Duration(i)*time.Second)
				batch = append(batch, r)
			}
			x.send(batch)
		},
		"wait": func() { time.Sleep(time.Duration(rapid.IntRange(1, 7200).Draw(x.rt, "seconds")) * time.Second) },
		"wait days": func() {
			x.end() // its timers would cost more than all else
			time.Sleep(time.Duration(rapid.IntRange(3, 60).Draw(x.rt, "hours")) * time.Hour)
			x.open(x.dir)
		},
		"merge":     x.merge,
		"restart":   func() { x.end(); x.open(x.dir) },
		"crash":     x.crash,
		"read part": func() { x.compare(x.drawTime().UnixMilli(), x.drawTime().UnixMilli()) },
		"":          func() { x.compare(0, math.MaxInt64) },
	}
	out := map[string]func(*rapid.T){}
	for name, step := range steps {
		out[name] = func(rt *rapid.T) { x.rt = rt; step() }
	}
	return out
}

package tsdb

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"xunjian/pkg/metric"
)

// everything reads the whole store as text, by series.
func everything(t testing.TB, db *DB) map[string]string {
	t.Helper()
	out := map[string]string{}
	for s, err := range db.Select(t.Context(), 0, math.MaxInt64) {
		if err != nil {
			t.Fatal(err)
		}
		text := ""
		for i, at := range s.T {
			text += fmt.Sprintf("%d:%x ", at, math.Float64bits(s.V[i]))
		}
		if out[s.Series.String()] != "" {
			t.Errorf("%s came twice", s.Series)
		}
		out[s.Series.String()] = text
	}
	return out
}

func sameEverything(t testing.TB, when string, got, want map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			t.Errorf("%s: %s is\n%.300s, want\n%.300s", when, name, got[name], want[name])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d series, want %d", when, len(got), len(want))
	}
}

// allWindows reads all aggregates as text, by series.
func allWindows(t testing.TB, db *DB, from, to int64) map[string]string {
	t.Helper()
	out := map[string]string{}
	for w, err := range db.Rollup(t.Context(), from, to) {
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprint(w.Raw)
		for i, at := range w.At {
			if w.Raw {
				text += fmt.Sprintf(" %d:%v,%v", at, w.Count[i], w.Last[i])
			} else {
				text += fmt.Sprintf(" %d:%v,%.9g,%v,%v", at, w.Count[i], w.Sum[i], w.Min[i], w.Max[i])
			}
		}
		out[w.Series.String()] = text
	}
	return out
}

// fewDays fills a store with three days of a host whose disks come and go, a check that fails at times, and a
// stream that is sparse; time stands two hours into the fourth day then.
func fewDays(t testing.TB, db *DB) {
	t.Helper()
	start := time.Now()
	var reports []metric.Report
	for i := range 3 * 24 * 12 {
		at := start.Add(time.Duration(i) * 5 * time.Minute)
		r := metric.Report{Agent: "web1", Boot: 1, Seq: uint64(i + 1), Kind: metric.KindHost, Every: 5 * time.Minute, At: at}
		r.Samples = append(r.Samples, metric.Sample{Series: metric.New("node_load1"), Value: float64(i%7) / 4},
			metric.Sample{Series: metric.New("node_cpu_seconds_total", "cpu", "0", "mode", "idle"), Value: float64(i * 13)})
		if i%100 < 50 {
			r.Samples = append(r.Samples, metric.Sample{Series: metric.New("node_filesystem_avail_bytes", "mountpoint", "/usb"), Value: float64(i) * 4096})
		}
		if i%9 == 0 {
			r.Samples[0].Value = math.NaN()
		}
		reports = append(reports, r)
		p := r
		p.Kind, p.Seq = metric.KindProbe+"login", r.Seq+100_000
		p.Samples = []metric.Sample{{Series: metric.New("probe_success"), Value: float64(i % 2)}}
		reports = append(reports, p)
	}
	for _, batch := range slices.Collect(slices.Chunk(reports, 24)) {
		time.Sleep(time.Until(batch[len(batch)-1].At))
		appendAll(t, db, batch...)
	}
	time.Sleep(time.Until(start.Add(3*24*time.Hour + 4*time.Hour)))
}

// fromMidnight starts a bubble's clock at a day's beginning.
func fromMidnight(t *testing.T, fn func(*testing.T)) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now().UTC()
		time.Sleep(now.Truncate(24 * time.Hour).Add(24*time.Hour + time.Second).Sub(now))
		fn(t)
	})
}

func TestMergedDaysReadTheSame(t *testing.T) {
	fromMidnight(t, func(t *testing.T) {
		dir, o := t.TempDir(), small()
		o.MergeAfter = 1000 * time.Hour // not by itself
		db, stop := running(t, dir, o)
		fewDays(t, db)
		want, from, to := everything(t, db), time.Now().Add(-80*time.Hour).Truncate(5*time.Minute).UnixMilli(), time.Now().UnixMilli()
		windows := allWindows(t, db, from, to)
		hot := db.Stats().HotBlocks
		stop()

		o.MergeAfter = 2 * time.Hour
		db, stop = running(t, dir, o)
		stats, err := db.Merge(t.Context())
		if err != nil || stats.Days != 6 || stats.HotBlocks != hot-db.Stats().HotBlocks || db.Stats().HotBlocks > 4 {
			t.Errorf("merged %+v of %d blocks, %d are left: %v", stats, hot, db.Stats().HotBlocks, err)
		}
		sameEverything(t, "merged", everything(t, db), want)
		sameEverything(t, "aggregates", allWindows(t, db, from, to), windows)
		last := map[string]float64{}
		if err := db.Last(func(s metric.Series, _ int64, v float64) { last[s.String()] = v }); err != nil || len(last) < 3 {
			t.Errorf("newest values %v, %v", last, err)
		}
		if again, err := db.Merge(t.Context()); err != nil || again.Days != 0 {
			t.Errorf("merged again: %+v, %v", again, err)
		}
		stop()

		db, _ = running(t, dir, o)
		sameEverything(t, "opened again", everything(t, db), want)
		sameEverything(t, "aggregates opened again", allWindows(t, db, from, to), windows)
		again := map[string]float64{}
		if err := db.Last(func(s metric.Series, _ int64, v float64) { again[s.String()] = v }); err != nil || !maps.Equal(last, again) {
			t.Errorf("newest values %v, want %v: %v", again, last, err)
		}
	})
}

// TestLateRowsJoinTheirDay: what comes after the merge is merged in, and repeats change nothing.
func TestLateRowsJoinTheirDay(t *testing.T) {
	fromMidnight(t, func(t *testing.T) {
		o := small()
		db, _ := running(t, t.TempDir(), o)
		base := time.Now().Truncate(time.Second)
		time.Sleep(time.Hour)
		for i := range 20 {
			appendAll(t, db, report(1, uint64(i+1), base.Add(time.Duration(i)*time.Minute), float64(i)))
		}
		time.Sleep(27 * time.Hour)
		if s := db.Stats(); s.HotBlocks != 0 {
			t.Fatalf("%d blocks are not merged", s.HotBlocks)
		}
		late := []metric.Report{
			report(1, 100, base.Add(90*time.Second), 1.5),
			report(1, 101, base.Add(2*time.Minute), 99), // of a time that has a row: the first one stays
			report(1, 102, base.Add(30*time.Minute), 30, 7),
		}
		wantOutcomes(t, appendAll(t, db, late...), Stored, Stored, Stored)
		check := func(when string) {
			t.Helper()
			var want []string
			for i := range 20 {
				want = append(want, fmt.Sprintf("%d:%d", 60*i, i))
				if i == 1 {
					want = append(want, "90:1.5")
				}
			}
			wantPoints(t, db, base, "a", append(want, "1800:30")...)
			wantPoints(t, db, base, "b", "1800:7")
			if t.Failed() {
				t.Fatal(when)
			}
		}
		check("in memory")
		time.Sleep(3 * time.Hour) // until they are sealed by age, and merged
		if s := db.Stats(); s.HotBlocks != 0 || s.HeadRows != 0 {
			t.Fatalf("not merged: %+v", s)
		}
		check("merged")
		wantOutcomes(t, appendAll(t, db, late...), Duplicate, Duplicate, Duplicate)
	})
}

func TestDayOfManyRowsHasParts(t *testing.T) {
	fromMidnight(t, func(t *testing.T) {
		db, _ := running(t, t.TempDir(), small())
		db.merger.most = 50
		base, want := time.Now().Truncate(time.Second), []string(nil)
		for i := range 120 {
			appendAll(t, db, report(1, uint64(i+1), base.Add(time.Duration(i)*time.Second), float64(i)))
			want = append(want, fmt.Sprintf("%d:%d", i, i))
		}
		windows := allWindows(t, db, 0, math.MaxInt64-RollupStep)
		time.Sleep(27 * time.Hour)
		wantPoints(t, db, base, "a", want...)
		sameEverything(t, "aggregates", allWindows(t, db, 0, math.MaxInt64-RollupStep), windows)
		appendAll(t, db, report(1, 999, base.Add(200*time.Second), 200))
		time.Sleep(4 * time.Hour)
		wantPoints(t, db, base, "a", append(want, "200:200")...)
	})
}

// TestRollupIsExact compares windows with what the rows say, at windows' edges, too.
func TestRollupIsExact(t *testing.T) {
	fromMidnight(t, func(t *testing.T) {
		db, _ := running(t, t.TempDir(), small())
		fewDays(t, db) // every row lies on a window's end
		from, to := int64(0), time.Now().UnixMilli()
		n := 0
		for w, err := range db.Rollup(t.Context(), from, to) {
			if err != nil {
				t.Fatal(err)
			}
			n++
			if w.Raw != (w.Series.Name == "node_cpu_seconds_total") {
				t.Errorf("%s: raw is %v", w.Series, w.Raw)
			}
			checkWindows(t, db, w)
		}
		if n != 4 {
			t.Errorf("%d series", n)
		}
	})
}

func checkWindows(t *testing.T, db *DB, w Windows) {
	t.Helper()
	for s, err := range db.Select(t.Context(), 0, math.MaxInt64, matcher(t, Equal, NameLabel, w.Series.Name)) {
		if err != nil {
			t.Fatal(err)
		}
		total := 0.0
		for i, end := range w.At {
			lo := sort.Search(len(s.T), func(k int) bool { return s.T[k] > end-RollupStep })
			sum, most, least, count, last := 0.0, math.Inf(-1), math.Inf(1), 0.0, 0.0
			for k := lo; k < len(s.T) && s.T[k] <= end; k++ {
				if !IsStale(s.V[k]) {
					sum, most, least, count, last = sum+s.V[k], max(most, s.V[k]), min(least, s.V[k]), count+1, s.V[k]
				}
			}
			total += count
			if end%RollupStep != 0 || w.Count[i] != count || w.Raw && w.Last[i] != last || !w.Raw && (w.Min[i] != least || w.Max[i] != most || math.Abs(w.Sum[i]-sum) > 1e-9) {
				t.Fatalf("%s window %d: %+v, want count %v sum %v", w.Series, end, w, count, sum)
			}
		}
		stale := 0
		for _, v := range s.V {
			if IsStale(v) {
				stale++
			}
		}
		if int(total) != len(s.T)-stale {
			t.Errorf("%s: windows hold %v samples of %d", w.Series, total, len(s.T)-stale)
		}
	}
}

func TestRetentionDropsDays(t *testing.T) {
	fromMidnight(t, func(t *testing.T) {
		o := small()
		o.Retain, o.RetainRollup, o.MergeAfter = 48*time.Hour, 96*time.Hour, 2*time.Hour
		db, _ := running(t, t.TempDir(), o)
		start := time.Now().Truncate(time.Second)
		send := func(hours int) {
			at := start.Add(time.Duration(hours) * time.Hour)
			time.Sleep(time.Until(at))
			appendAll(t, db, report(1, uint64(hours+1), at, float64(hours)))
		}
		for h := range 7 * 24 {
			send(h)
		}
		oldest := int64(math.MaxInt64)
		for s, err := range db.Select(t.Context(), 0, math.MaxInt64) {
			if err != nil {
				t.Fatal(err)
			}
			oldest = min(oldest, s.T[0])
		}
		now := time.Now().UnixMilli()
		if age := time.Duration(now-oldest) * time.Millisecond; age < 47*time.Hour || age > 73*time.Hour || oldest <= db.RawSince() {
			t.Errorf("the oldest sample is %v old, kept since %d", age, db.RawSince())
		}
		for w, err := range db.Rollup(t.Context(), 0, now) {
			if err != nil {
				t.Fatal(err)
			}
			if age := time.Duration(now-w.At[0]) * time.Millisecond; age < 95*time.Hour || age > 121*time.Hour {
				t.Errorf("the oldest window is %v old", age)
			}
		}
		// a clock that jumps ahead must not empty the store
		time.Sleep(1000 * time.Hour)
		if _, err := db.Merge(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := points(t, db, start, "a"); len(got) < 47 {
			t.Errorf("%d samples are left", len(got))
		}
	})
}

// TestOldStreamsAreForgotten: a host that has long gone leaves the index when the store is opened, with its schemas.
func TestOldStreamsAreForgotten(t *testing.T) {
	fromMidnight(t, func(t *testing.T) {
		dir, o := t.TempDir(), small()
		o.Retain, o.RetainRollup = 24*time.Hour, 48*time.Hour
		db, stop := running(t, dir, o)
		gone, stays := report(1, 1, time.Now(), 1, 2), report(1, 2, time.Now(), 1)
		gone.Agent = "gone"
		wantOutcomes(t, appendAll(t, db, gone, stays), Stored, Stored)
		for i := range 5 {
			time.Sleep(24 * time.Hour)
			if i == 1 {
				stop()
				if db, stop = running(t, dir, o); db.Stats().Streams != 2 {
					t.Error("forgotten while its aggregates are kept")
				}
			}
			appendAll(t, db, report(1, uint64(i+3), time.Now(), float64(i)))
		}
		stop()
		db, _ = running(t, dir, o)
		if s := db.Stats(); s.Streams != 1 || s.Series != 1 || s.Schemas != 1 {
			t.Errorf("%+v", s)
		}
		wantOutcomes(t, appendAll(t, db, report(1, 99, time.Now().Add(time.Second), 1, 2, 3)), Stored)
	})
}

// TestForgettingSparesTheJournal: what the journal speaks of keeps its number.
func TestForgettingSparesTheJournal(t *testing.T) {
	db := mustOpen(t, t.TempDir(), small())
	defer db.Close()
	c := db.catalog
	spoken, old, fresh := c.addStream(1, streamDef{Agent: "a"}), c.addStream(2, streamDef{Agent: "b"}), c.addStream(3, streamDef{Agent: "c"})
	db.dirty.streams[spoken] = true
	now := time.Now().UnixMilli()
	uses := map[*stream][]schemaUse{spoken: {{1, 5, 6}}, old: {{1, 5, 6}}, fresh: {{1, now, now}}}
	if err := db.forgetOld(uses); err != nil || c.byID[1] == nil || c.byID[2] != nil || c.byID[3] == nil || len(uses) != 2 {
		t.Errorf("left %v, %v: %v", c.byID, uses, err)
	}
}

// TestReadersSeeDaysMerge reads without a pause while days are merged; nothing may be missing or doubled.
func TestReadersSeeDaysMerge(t *testing.T) {
	o := small()
	o.MergeAfter = time.Second
	db, _ := running(t, t.TempDir(), o)
	db.merger.mu.Lock() // until the readers are at work
	base := time.Now().UTC().Truncate(24 * time.Hour).Add(-72 * time.Hour)
	n := 0
	var reports []metric.Report
	for day := range 3 {
		for i := range 100 {
			n++
			at := base.Add(time.Duration(day)*24*time.Hour + time.Duration(i+1)*time.Minute)
			reports = append(reports, report(1, uint64(n), at, float64(n)))
		}
	}
	appendAll(t, db, reports...)
	appendAll(t, db, report(2, 1, time.Now(), 0)) // closes the last segment of the third day
	n++
	for s := db.Stats(); s.UnflushedBytes > 0 || s.HeadRows > 1; s = db.Stats() {
		time.Sleep(10 * time.Millisecond)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if got := points(t, db, base, "a"); len(got) != n {
					t.Errorf("%d samples of %d", len(got), n)
					return
				}
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	db.merger.mu.Unlock()
	if s, err := db.Merge(t.Context()); err != nil {
		t.Errorf("%+v, %v", s, err)
	}
	time.Sleep(20 * time.Millisecond)
	cancel()
	wg.Wait()
	if s := db.Stats(); s.HotBlocks > 1 {
		t.Errorf("%d blocks are not merged", s.HotBlocks)
	}
}

// TestDayIsSmall logs what a day of real data costs with all that belongs to it.
func TestDayIsSmall(t *testing.T) {
	rec := loadRecording(t)
	for name, c := range map[string]struct {
		rec    recording
		jitter int64
	}{"second by second": {rec, 0}, "jitter": {rec, 3}, "each 15th second": {rec.every(15), 0}} {
		var day blockEncoder
		var roll rollupEncoder
		n := min(5760, len(c.rec.rows))
		stamps := make([]int64, n)
		for i := range stamps {
			stamps[i] = 1_700_006_400_000 + int64(i+1)*15_000
			if c.jitter > 0 {
				stamps[i] += int64(i*i*7919) % (c.jitter + 1)
			}
		}
		sh := oneSchema(1, len(c.rec.series))
		day.begin()
		roll.start(stamps)
		column := make([]float64, n)
		for k, s := range c.rec.series {
			for i := range column {
				column[i] = c.rec.rows[i][k]
			}
			day.add(column)
			roll.series(s.Name, column)
		}
		samples := float64(n * len(column) / n * len(c.rec.series))
		raw, agg := float64(len(day.finish(nil, &sh, 0, stamps))), float64(len(roll.done(nil, &sh)))
		t.Logf("%s: %d rows, %.3f B a sample, aggregates %.3f", name, n, raw/samples, agg/samples)
		if agg > 0.45*raw {
			t.Errorf("%s: aggregates are %.2f of the samples", name, agg/raw)
		}
	}
}

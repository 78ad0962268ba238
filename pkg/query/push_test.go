package query

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"pgregory.net/rapid"

	"xunjian/pkg/metric"
	"xunjian/pkg/tsdb"
)

// TestPushedEqualsPlain draws data and queries, and holds what is worked out at the store against Prometheus' engine.
func TestPushedEqualsPlain(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		db := drawn(t, rt)
		base := New(Options{Store: db})
		plain := base.prom.(pusher).QueryEngine
		for range 20 {
			a := drawAsk(rt)
			want, werr := a.run(t.Context(), plain, base.q)
			got, gerr := a.run(t.Context(), base.prom, base.q)
			if (werr == nil) != (gerr == nil) {
				rt.Fatalf("%s: error %v, want %v", a, gerr, werr)
			}
			if d := different(got, want); werr == nil && d != "" {
				rt.Fatalf("%s: %s\ngot  %v\nwant %v", a, d, got, want)
			}
		}
	})
}

// grid is where the drawn data begins: an end of a window of aggregates, an hour before a day ends that is over for long.
var grid = start.Truncate(24 * time.Hour).Add(-25 * time.Hour)

// drawn is a store with hosts that report a gauge and a counter, with gaps, lost series and strange values, and with a
// series of a rule.
func drawn(t *testing.T, rt *rapid.T) *tsdb.DB {
	db := openedFor(rt)
	w := writer{t: t, db: db}
	rows := rapid.IntRange(1, 200).Draw(rt, "rows")
	every := time.Duration(rapid.SampledFrom([]int{7_001, 15_000, 60_000}).Draw(rt, "every")) * time.Millisecond
	odd := rapid.Bool().Draw(rt, "odd values")
	for h := range rapid.IntRange(1, 3).Draw(rt, "hosts") {
		count, agent := 0.0, fmt.Sprintf("web-%d", h)
		for i := range rows {
			if rapid.IntRange(0, 19).Draw(rt, "row") == 0 {
				continue
			}
			if count += float64(rapid.IntRange(0, 9).Draw(rt, "rise")); rapid.IntRange(0, 49).Draw(rt, "reset") == 0 {
				count = 0
			}
			g := sample("g", drawValue(rt, odd))
			if rapid.IntRange(0, 9).Draw(rt, "there") == 0 {
				g.Value = math.NaN() // absent
			}
			w.put(agent, metric.KindHost, i, grid.Add(time.Duration(i)*every), g, sample("c_total", count))
		}
	}
	w.done.Wait()
	a := NewAppendable(AppendOptions{Store: db})
	for i := range rapid.IntRange(0, 20).Draw(rt, "recorded") {
		v := drawValue(rt, odd)
		switch rapid.IntRange(0, 9).Draw(rt, "kind") {
		case 0:
			v = math.Float64frombits(value.StaleNaN)
		case 1:
			v = math.Float64frombits(value.NormalNaN)
		}
		if err := appendAll(t, a, grid.Add(time.Duration(i)*time.Minute), v, toLabels(metric.New("g", "agent", "rule"))); err != nil {
			rt.Fatal(err)
		}
	}
	if rapid.Bool().Draw(rt, "merged") {
		if _, err := db.Merge(t.Context()); err != nil {
			rt.Fatal(err)
		}
	}
	return db
}

func drawValue(rt *rapid.T, odd bool) float64 {
	if odd && rapid.IntRange(0, 4).Draw(rt, "odd") == 0 {
		return rapid.SampledFrom([]float64{math.Inf(1), math.Inf(-1), 1e308, -1e308, 1e-300, 0, math.Copysign(0, -1)}).Draw(rt, "value")
	}
	return float64(rapid.IntRange(-1000, 1000).Draw(rt, "value")) / 4
}

// ask is a drawn query.
type ask struct {
	expr       string
	start, end time.Time
	step       time.Duration // 0: at start only
}

func (a ask) String() string {
	return fmt.Sprintf("%s at %s … %s, step %s", a.expr, a.start.Sub(grid), a.end.Sub(grid), a.step)
}

func drawAsk(rt *rapid.T) ask {
	even := rapid.Bool().Draw(rt, "even") // on the grid of aggregates
	span := func(name string, least, most int) time.Duration {
		if even {
			return time.Duration(rapid.IntRange((least+4)/5, most/5).Draw(rt, name)) * 5 * time.Minute
		}
		return time.Duration(rapid.IntRange(least*60_000, most*60_000).Draw(rt, name)) * time.Millisecond
	}
	name := rapid.SampledFrom([]string{
		"avg_over_time", "sum_over_time", "min_over_time", "max_over_time", "count_over_time", "present_over_time",
		"last_over_time", "stddev_over_time", "stdvar_over_time", "quantile_over_time",
		"rate", "increase", "delta", "irate", "resets", "changes",
	}).Draw(rt, "function")
	sel := rapid.SampledFrom([]string{"g", "c_total", `{agent=~".+"}`, `g{agent="rule"}`, "nothing"}).Draw(rt, "series")
	sel += "[" + model.Duration(max(span("range", 0, 200), time.Millisecond)).String() + "]"
	if offset := span("offset", -30, 60); offset != 0 {
		sel += " offset " + strings.Repeat("-", map[bool]int{true: 1}[offset < 0]) + model.Duration(offset.Abs()).String()
	}
	call := name + "(" + sel + ")"
	if name == "quantile_over_time" {
		call = fmt.Sprintf("%s(%v, %s)", name, rapid.SampledFrom([]float64{0, 0.25, 0.5, 0.9, 0.95, 1}).Draw(rt, "φ"), sel)
	}
	around := rapid.SampledFrom([]string{"%s", "%s", "sum by (agent) (%s)", "%s > 0", "absent(%s)", "timestamp(%s)", "max_over_time(%s[10m:2m])", "- %s"})
	a := ask{expr: fmt.Sprintf(around.Draw(rt, "around"), call)}
	a.start = grid.Add(span("start", 0, 180))
	a.end = a.start
	if rapid.Bool().Draw(rt, "steps") {
		a.step = max(span("step", 0, 60), time.Second)
		a.end = a.start.Add(time.Duration(rapid.IntRange(0, 30).Draw(rt, "count")) * a.step)
	}
	return a
}

func (a ask) run(ctx context.Context, e promql.QueryEngine, q queryable) (promql.Matrix, error) {
	open := func() (promql.Query, error) { return e.NewInstantQuery(ctx, q, nil, a.expr, a.start) }
	if a.step > 0 {
		open = func() (promql.Query, error) { return e.NewRangeQuery(ctx, q, nil, a.expr, a.start, a.end, a.step) }
	}
	query, err := open()
	if err != nil {
		return nil, err
	}
	defer query.Close()
	res := query.Exec(ctx)
	switch v := keep(res.Value).(type) {
	case promql.Matrix:
		return v, res.Err
	case promql.Vector:
		var m promql.Matrix
		for _, s := range v {
			m = append(m, promql.Series{Metric: s.Metric, Floats: []promql.FPoint{{T: s.T, F: s.F}}})
		}
		slices.SortFunc(m, func(a, b promql.Series) int { return strings.Compare(a.Metric.String(), b.Metric.String()) })
		return m, res.Err
	}
	return nil, res.Err
}

// different says where two answers differ by more than sums do when they are added up in another order.
func different(got, want promql.Matrix) string {
	if len(got) != len(want) {
		return fmt.Sprintf("%d series, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i].Metric.String() != want[i].Metric.String() || len(got[i].Floats) != len(want[i].Floats) {
			return fmt.Sprintf("%s has %d points, want %s with %d", got[i].Metric, len(got[i].Floats), want[i].Metric, len(want[i].Floats))
		}
		for j, g := range got[i].Floats {
			if w := want[i].Floats[j]; g.T != w.T || !near(g.F, w.F) {
				return fmt.Sprintf("%s is %v at %d, want %v at %d", got[i].Metric, g.F, g.T, w.F, w.T)
			}
		}
	}
	return ""
}

func near(a, b float64) bool {
	return a == b || math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) <= 1e-9*max(math.Abs(a), math.Abs(b), 1e-3)
}

// openedFor is a store for one drawing.
func openedFor(rt *rapid.T) *tsdb.DB {
	dir, err := os.MkdirTemp("", "query")
	if err != nil {
		rt.Fatal(err)
	}
	db, err := tsdb.Open(dir, tsdb.Options{
		Linger: -1, MmapSize: 1 << 26, BlockRows: rapid.SampledFrom([]int{4, 50, 0}).Draw(rt, "block"), FlushEvery: time.Millisecond, FlushBytes: 1,
	})
	if err != nil {
		rt.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = db.Run(ctx) })
	rt.Cleanup(func() {
		cancel()
		wg.Wait()
		_ = db.Close()
		_ = os.RemoveAll(dir)
	})
	return db
}

// TestQuantile holds selection against sorting, as the engine does it.
func TestQuantile(t *testing.T) {
	var s scratch
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.SampledFrom([]int{1, 2, 3, 10, 2047, 2048, 2049, 10_000}).Draw(rt, "n")
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
		kinds := []func(i int) float64{
			func(int) float64 { return rnd.NormFloat64() },
			func(int) float64 { return float64(rnd.IntN(3)) },
			func(i int) float64 { return float64(i) },
			func(i int) float64 { return float64(i % 256) }, // in step with the sample
			func(int) float64 { return 7 },
			func(i int) float64 { return []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1}[rnd.IntN(4)] },
			func(i int) float64 {
				if i%100 == 7 {
					return math.NaN()
				}
				return rnd.Float64()
			},
		}
		kind, v := rapid.SampledFrom(kinds).Draw(rt, "kind"), make([]float64, n)
		for i := range v {
			v[i] = kind(i)
		}
		before, sorted := slices.Clone(v), slices.Sorted(slices.Values(v)) // NaN first
		for _, phi := range []float64{0, 0.01, 0.5, 0.9, 0.95, 0.99, 1, rapid.Float64Range(0, 1).Draw(rt, "φ")} {
			rank := phi * float64(n-1)
			want := sorted[int(rank)]
			if w := rank - math.Floor(rank); w > 0 {
				want = want*(1-w) + sorted[int(rank)+1]*w
			}
			if got := s.quantile(phi, v); math.Float64bits(got) != math.Float64bits(want) && !(math.IsNaN(got) && math.IsNaN(want)) {
				rt.Fatalf("φ %v of %d: got %v, want %v", phi, n, got, want)
			}
		}
		if !slices.EqualFunc(v, before, func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }) {
			rt.Fatal("the values were changed: they are not ours alone")
		}
	})
}

// TestNthAgainstUs: no order of values makes the selection slow.
func TestNthAgainstUs(t *testing.T) {
	v := make([]float64, 200_000)
	for i := range v { // organ pipes
		v[i] = float64(min(i, len(v)-i))
	}
	sorted := slices.Sorted(slices.Values(v))
	for _, k := range []int{0, 1, 100_000, 190_000, 199_999} {
		if got := nth(slices.Clone(v), k); got != sorted[k] {
			t.Errorf("the %d-th is %v, want %v", k, got, sorted[k])
		}
	}
}

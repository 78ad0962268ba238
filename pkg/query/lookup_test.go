package query

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"pgregory.net/rapid"
)

// TestLookupEqualsPlain draws data and selectors, and holds what is looked up here against Prometheus' engine: to the bit,
// and with the same statistics.
func TestLookupEqualsPlain(t *testing.T) {
	taken, left := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		db := drawn(t, rt)
		if rapid.IntRange(0, 3).Draw(rt, "histograms") == 0 {
			app := NewAppendable(AppendOptions{Store: db}).AppenderV2(t.Context())
			_, err := app.Append(0, labels.FromStrings("__name__", "g", "agent", "histogram"), 0, grid.Add(10*time.Minute).UnixMilli(), 0, counts, nil, storage.AppendV2Options{})
			if err != nil || app.Commit() != nil {
				rt.Fatal("no histogram")
			}
		}
		base := New(Options{Store: db})
		for range 20 {
			l := drawLook(rt)
			want, _ := l.exec(t, base.prom.(pusher).QueryEngine, base.q)
			got, here := l.exec(t, base.prom, base.q)
			if got != want {
				rt.Fatalf("%s, lookback %s:\ngot  %s\nwant %s", l.ask, l.lookback, got, want)
			}
			if here {
				taken++
			} else {
				left++
			}
		}
	})
	if taken == 0 || left == 0 {
		t.Errorf("%d queries were answered here, and %d by the engine: both are to be tried", taken, left)
	}
}

// look is a drawn query of a selector.
type look struct {
	ask
	lookback time.Duration // 0: the engine's
}

// drawLook draws times on the seconds on which samples lie, and next to them, so that edges are met.
func drawLook(rt *rapid.T) (l look) {
	near := func(name string, least, most int) time.Duration {
		return time.Duration(rapid.IntRange(least, most).Draw(rt, name))*15*time.Second + time.Duration(rapid.IntRange(-1, 1).Draw(rt, "beside"))*time.Millisecond
	}
	l.expr = rapid.SampledFrom([]string{"g", "c_total", `{agent=~".+"}`, `g{agent="rule"}`, `g{agent!="histogram"}`, "nothing", `g{agent="web-0"}`}).Draw(rt, "series")
	l.start = grid.Add(near("start", -20, 800))
	l.end = l.start
	if rapid.IntRange(0, 2).Draw(rt, "range") == 0 {
		l.expr += "[" + model.Duration(max(near("span", 0, 400), time.Millisecond)).String() + "]"
	} else {
		l.step = max(near("step", 0, 30), time.Millisecond)
		l.end = l.start.Add(time.Duration(rapid.IntRange(0, 300).Draw(rt, "steps")) * l.step)
	}
	switch rapid.IntRange(0, 5).Draw(rt, "modifier") {
	case 0:
		l.expr += " @ start()"
	case 1:
		l.expr += " @ end()"
	case 2:
		l.expr += fmt.Sprintf(" @ %.3f", float64(grid.Add(near("at", -20, 800)).UnixMilli())/1000)
	}
	if offset := near("offset", -100, 100); offset > 0 && rapid.Bool().Draw(rt, "with offset") {
		l.expr += " offset " + model.Duration(offset).String()
	} else if offset < 0 {
		l.expr += " offset -" + model.Duration(-offset).String()
	}
	if rapid.Bool().Draw(rt, "own lookback") {
		l.lookback = max(near("lookback", 0, 40), time.Millisecond)
	}
	return l
}

// exec tells all that can be seen of an answer, and whether it was looked up.
func (l look) exec(t *testing.T, e promql.QueryEngine, q queryable) (told string, here bool) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	opts := promql.NewPrometheusQueryOpts(false, l.lookback, nil)
	query, err := e.NewInstantQuery(ctx, q, opts, l.expr, l.start)
	if l.step > 0 {
		query, err = e.NewRangeQuery(ctx, q, opts, l.expr, l.start, l.end, l.step)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer query.Close()
	res := query.Exec(ctx)
	if own, ok := query.(lookupQuery); ok {
		here = own.answer != nil
	}
	m, err := res.Matrix()
	told = fmt.Sprintf("%v, warnings %v\n", err, res.Warnings)
	for _, s := range m {
		told += s.Metric.String()
		for _, p := range s.Floats {
			told += fmt.Sprintf(" %d:%x", p.T-grid.UnixMilli(), math.Float64bits(p.F))
		}
		told += fmt.Sprintln(s.Histograms)
	}
	z := query.Stats().Samples
	return told + fmt.Sprintf("%d samples, peak %d, read %d, of %d series", z.TotalSamples, z.PeakSamples, z.SamplesRead, z.TotalSeries), here
}

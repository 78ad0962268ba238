package query

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"xunjian/pkg/metric"
	"xunjian/pkg/tsdb"
)

// appendAll appends one sample of each series in one transaction.
func appendAll(t *testing.T, a *Appendable, at time.Time, v float64, series ...labels.Labels) error {
	t.Helper()
	app := a.AppenderV2(t.Context())
	for _, ls := range series {
		if _, err := app.Append(0, ls, 0, at.UnixMilli(), v, nil, nil, storage.AppendV2Options{}); err != nil {
			return err
		}
	}
	return app.Commit()
}

func TestAppendable(t *testing.T) {
	db := opened(t)
	reg := prometheus.NewRegistry()
	a := NewAppendable(AppendOptions{Store: db, MaxSeries: 2, Registerer: reg})
	one := labels.FromStrings("__name__", "ALERTS", "alertname", "Down", "instance", "web-1")
	two := labels.FromStrings("__name__", "job:up:sum", "job", "a")
	for i := range 3 {
		if err := appendAll(t, a, start.Add(time.Duration(i)*time.Minute), float64(i), one, two); err != nil {
			t.Fatal(err)
		}
	}
	if err := appendAll(t, a, start.Add(3*time.Minute), math.Float64frombits(value.StaleNaN), one); err != nil {
		t.Fatal(err)
	}
	err := appendAll(t, a, start, 1, labels.FromStrings("__name__", "third"))
	if !errors.Is(err, ErrTooManyKept) {
		t.Errorf("third of two series: %v", err)
	}
	e := New(Options{Store: db})
	for _, tc := range []struct {
		expr, want string
		at         time.Duration
	}{
		{`ALERTS`, `ALERTS{alertname="Down", instance="web-1"} 2`, 2*time.Minute + 59*time.Second},
		{`ALERTS`, ``, 3 * time.Minute}, // the marker ends it at once
		{`job:up:sum`, `job:up:sum{job="a"} 2`, 3 * time.Minute},
		{`sum_over_time(ALERTS[5m])`, `{alertname="Down", instance="web-1"} 3`, 3 * time.Minute},
		{`third`, ``, 3 * time.Minute},
	} {
		got, err := e.Instant(t.Context(), tc.expr, start.Add(tc.at))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(tc.want, text(got)); d != "" {
			t.Errorf("%s at %s (-want +got):\n%s", tc.expr, tc.at, d)
		}
	}
	for name, want := range map[string]float64{"stored": 7, "refused": 1, "failed": 0} {
		c := map[string]prometheus.Counter{"stored": a.metrics.stored, "refused": a.metrics.refused, "failed": a.metrics.failed}[name]
		if got := testutil.ToFloat64(c); got != want {
			t.Errorf("%s %v samples, want %v", name, got, want)
		}
	}
}

// TestAppendableFailure: what the store says comes back to the rule.
func TestAppendableFailure(t *testing.T) {
	db := opened(t)
	a := NewAppendable(AppendOptions{Store: db})
	ls := labels.FromStrings("__name__", "x")
	if err := appendAll(t, a, start.Add(-30*24*time.Hour), 1, ls); !errors.Is(err, storage.ErrTooOldSample) {
		t.Errorf("a sample of last month: %v", err)
	}
	if err := appendAll(t, a, time.Now().Add(time.Hour), 1, ls); !errors.Is(err, storage.ErrOutOfBounds) {
		t.Errorf("a sample of the next hour: %v", err)
	}
	if err := appendAll(t, a, start, 1, labels.FromStrings("job", "nameless")); err == nil {
		t.Error("a series without a name was taken")
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := appendAll(t, a, start, 1, ls); !errors.Is(err, tsdb.ErrClosed) {
		t.Errorf("a closed store: %v", err)
	}
}

// TestAppendableLimits: rules have a share of the store of their own, and a histogram is kept whole or not at all.
func TestAppendableLimits(t *testing.T) {
	db := openedWith(t, tsdb.Options{Linger: -1, Limits: tsdb.Limits{AgentSeries: 2, Streams: 6, Series: 12}})
	a, w := NewAppendable(AppendOptions{Store: db}), writer{t: t, db: db}
	for i := range 6 {
		if i == 1 {
			for _, kind := range []string{"a", "b", "c", "d", "e"} {
				w.put("web-"+kind, kind, 0, start, sample("g", 1))
			}
			w.done.Wait()
		}
		if err := appendAll(t, a, start, 1, labels.FromStrings("__name__", "r", "i", fmt.Sprint(i))); err != nil {
			t.Fatalf("series %d of a rule: %v", i, err)
		}
	}
	if err := appendAll(t, a, start, 1, labels.FromStrings("__name__", "r", "i", "6")); err == nil {
		t.Error("a seventh stream was taken")
	}
	app := a.AppenderV2(t.Context())
	if _, err := app.Append(0, labels.FromStrings("__name__", "r", "i", "0"), 0, start.UnixMilli()+1, 0, counts, nil, storage.AppendV2Options{}); err != nil {
		t.Fatal(err)
	}
	if err := app.Commit(); err == nil {
		t.Error("a histogram was taken, and there is room for one of its parts")
	}
	got, err := New(Options{Store: db}).Instant(t.Context(), `count({__name__=~".+"})`, start.Add(time.Second))
	if err != nil || text(got) != "{} 11" {
		t.Errorf("kept %s series, %v; want 11", text(got), err)
	}
}

// TestManyRecorded: series of rules have no aggregates, few or many, alone or among others that have.
func TestManyRecorded(t *testing.T) {
	db := opened(t)
	w := writer{t: t, db: db}
	w.put("web-1", metric.KindHost, 0, grid.Add(time.Minute), sample("g", 1))
	w.done.Wait()
	a := NewAppendable(AppendOptions{Store: db})
	var all []labels.Labels
	for i := range 2 * oneByOne {
		all = append(all, labels.FromStrings("__name__", "r", "i", fmt.Sprint(i)))
	}
	if err := appendAll(t, a, grid.Add(time.Minute), 2, all...); err != nil {
		t.Fatal(err)
	}
	e := New(Options{Store: db})
	for expr, want := range map[string]string{
		`sum(sum_over_time({__name__=~"r|g"}[1h]))`:           "{} 257",
		`sum(sum_over_time({__name__=~"r|g",i=~"|..?"}[1h]))`: "{} 201",
		`sum(sum_over_time(r[1h]))`:                           "{} 256",
		`sum(sum_over_time({__name__=~"r|g",i=~"|.?"}[1h]))`:  "{} 21",
	} {
		if got, err := e.Instant(t.Context(), expr, grid.Add(time.Hour)); err != nil || text(got) != want {
			t.Errorf("%s is %s, %v; want %s", expr, text(got), err, want)
		}
	}
}

// silent takes reports and never tells what became of them.
type silent struct{}

func (silent) Append(context.Context, tsdb.Stream, metric.Report, func(tsdb.Outcome, error)) error {
	return nil
}

func TestAppendableCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	app := NewAppendable(AppendOptions{Store: silent{}}).AppenderV2(ctx)
	if _, err := app.Append(0, labels.FromStrings("__name__", "x"), 0, 1, 1, nil, nil, storage.AppendV2Options{}); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := app.Commit(); !errors.Is(err, context.Canceled) {
		t.Errorf("commit without an answer: %v", err)
	}
}

var (
	counts = &histogram.Histogram{
		Schema: 1, ZeroThreshold: 0.001, ZeroCount: 2, Count: 14, Sum: 18.4,
		PositiveSpans: []histogram.Span{{Offset: -2, Length: 2}, {Offset: 3, Length: 1}}, PositiveBuckets: []int64{3, -1, 2},
		NegativeSpans: []histogram.Span{{Offset: 0, Length: 2}}, NegativeBuckets: []int64{1, 1},
	}
	floats = &histogram.FloatHistogram{
		CounterResetHint: histogram.GaugeType, Schema: histogram.CustomBucketsSchema, Count: 3.5, Sum: 7,
		PositiveSpans: []histogram.Span{{Length: 3}}, PositiveBuckets: []float64{1.5, 0, 2}, CustomValues: []float64{1, 2.5},
	}
)

// TestHistograms keeps integer, float and custom histograms, numbers, markers and start stamps in one series.
func TestHistograms(t *testing.T) {
	db := opened(t)
	a := NewAppendable(AppendOptions{Store: db})
	ls := labels.FromStrings("__name__", "h", "job", "a")
	app := a.AppenderV2(t.Context())
	ms := start.UnixMilli()
	stale := math.Float64frombits(value.StaleNaN)
	put := func(i int, st int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram) {
		t.Helper()
		if _, err := app.Append(0, ls, st, ms+int64(i)*1000, v, h, fh, storage.AppendV2Options{}); err != nil {
			t.Fatal(err)
		}
	}
	put(0, 5, 1.5, nil, nil)
	put(1, 7, 0, counts, nil)
	put(2, 0, 0, counts, nil)
	put(3, 0, 0, nil, floats)
	put(4, 0, 0, &histogram.Histogram{Sum: stale}, nil)
	put(5, 0, stale, nil, nil)
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	q, err := New(Options{Store: db}).Queryable().Querier(ms, ms+10_000)
	if err != nil {
		t.Fatal(err)
	}
	set := q.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchEqual, "__name__", "h"))
	if !set.Next() {
		t.Fatalf("no series: %v", set.Err())
	}
	if got := set.At().Labels(); !labels.Equal(got, ls) {
		t.Errorf("labels %s, want %s", got, ls)
	}
	it := set.At().Iterator(nil)
	follows := counts.Copy()
	follows.CounterResetHint = histogram.NotCounterReset
	reused, reusedFloat := counts.Copy(), counts.ToFloat(nil)
	checkNumber(t, it, 1.5, 5)
	for _, want := range []*histogram.Histogram{counts, follows} {
		if got := it.Next(); got != chunkenc.ValHistogram {
			t.Fatalf("type %s, want a histogram", got)
		}
		if _, h := it.AtHistogram(nil); !h.Equals(want) || h.CounterResetHint != want.CounterResetHint {
			t.Errorf("got %s %v, want %s %v", h, h.CounterResetHint, want, want.CounterResetHint)
		}
		if _, h := it.AtHistogram(reused); h != reused || !h.Equals(want) {
			t.Errorf("in place: got %s, want %s", h, want)
		}
		if _, h := it.AtFloatHistogram(reusedFloat); h != reusedFloat || !h.Equals(want.ToFloat(nil)) {
			t.Errorf("as floats: got %s, want %s", h, want)
		}
	}
	if got := it.Next(); got != chunkenc.ValFloatHistogram {
		t.Fatalf("type %s, want a float histogram", got)
	}
	if _, h := it.AtFloatHistogram(reusedFloat); h != reusedFloat || !h.Equals(floats) || h.CounterResetHint != histogram.GaugeType {
		t.Errorf("got %s, want %s", h, floats)
	}
	if got := it.Next(); got != chunkenc.ValHistogram {
		t.Fatalf("type %s, want a histogram", got)
	}
	if _, h := it.AtFloatHistogram(nil); !value.IsStaleNaN(h.Sum) {
		t.Errorf("sum %v, want a stale marker", h.Sum)
	}
	checkNumber(t, it, stale, 0)
	if got := it.Next(); got != chunkenc.ValNone || set.Next() {
		t.Errorf("%s after the last sample, or another series", got)
	}
}

func checkNumber(t *testing.T, it chunkenc.Iterator, want float64, start int64) {
	t.Helper()
	if got := it.Next(); got != chunkenc.ValFloat {
		t.Fatalf("type %s, want a number", got)
	}
	if _, v := it.At(); math.Float64bits(v) != math.Float64bits(want) || it.AtST() != start {
		t.Errorf("got %v since %d, want %v since %d", v, it.AtST(), want, start)
	}
}

// TestPartsAreHidden: nobody sees of what a histogram is made.
func TestPartsAreHidden(t *testing.T) {
	db := opened(t)
	a := NewAppendable(AppendOptions{Store: db})
	app := a.AppenderV2(t.Context())
	if _, err := app.Append(0, labels.FromStrings("__name__", "h", "job", "a"), 1, start.UnixMilli(), 0, counts, nil, storage.AppendV2Options{}); err != nil {
		t.Fatal(err)
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	q, err := New(Options{Store: db}).Queryable().Querier(0, endOfTime)
	if err != nil {
		t.Fatal(err)
	}
	all := labels.MustNewMatcher(labels.MatchRegexp, "__name__", ".+")
	if names, _, _ := q.LabelNames(t.Context(), nil, all); !slices.Equal(names, []string{"__name__", "job"}) {
		t.Errorf("label names %v", names)
	}
	if values, _, _ := q.LabelValues(t.Context(), PartLabel, nil); len(values) > 0 {
		t.Errorf("label values %v", values)
	}
	for name, m := range map[string]*labels.Matcher{
		"all":       all,
		"no part":   labels.MustNewMatcher(labels.MatchEqual, PartLabel, ""),
		"some part": labels.MustNewMatcher(labels.MatchEqual, PartLabel, "sum"),
	} {
		want := 1
		if name == "some part" {
			want = 0
		}
		for _, hints := range []*storage.SelectHints{nil, {Start: 0, End: endOfTime, Func: "series"}} {
			n := 0
			for set := q.Select(t.Context(), true, hints, m, labels.MustNewMatcher(labels.MatchEqual, "job", "a")); set.Next(); n++ {
				if set.At().Labels().Has(PartLabel) {
					t.Errorf("%s: %s", name, set.At().Labels())
				}
			}
			if n != want {
				t.Errorf("%s: %d series, want %d", name, n, want)
			}
		}
	}
}

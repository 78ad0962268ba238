package query

import (
	"context"
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"

	"xunjian/pkg/metric"
	"xunjian/pkg/tsdb"
)

// Store is the part of tsdb.DB that queries read.
type Store interface {
	Select(ctx context.Context, from, to int64, matchers ...tsdb.Matcher) iter.Seq2[tsdb.Samples, error]
	Series(from, to int64, matchers ...tsdb.Matcher) []metric.Series
	LabelNames(from, to int64, matchers ...tsdb.Matcher) []string
	LabelValues(name string, from, to int64, matchers ...tsdb.Matcher) []string
}

// queryable makes the store readable for Prometheus' engine, rules and API handlers.
type queryable struct {
	db  Store
	max int // samples that one querier may load
}

// Querier reads [mint, maxt]. What it selects is copied out of the store before the caller goes on, so no transaction
// is ever held while the engine works.
func (q queryable) Querier(mint, maxt int64) (storage.Querier, error) {
	return &querier{db: q.db, from: mint, to: maxt, left: q.max}, nil
}

// querier serves one query, in one goroutine.
type querier struct {
	db       Store
	from, to int64
	left     int // samples that may still be loaded
}

func (*querier) Close() error { return nil }

// Select loads the matching series. Two streams that hold the same series (an agent renewed, a kind renamed) come out
// as one. Reports without the series in question (NaN) end it there and then; a silent kind ends by lookback.
func (q *querier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	ms, err := convert(matchers)
	if err != nil {
		return storage.ErrSeriesSet(err)
	}
	from, to := q.from, q.to
	if hints != nil {
		from, to = max(from, hints.Start), min(to, hints.End)
		if hints.Func == "series" {
			return q.names(from, to, hints.Limit, ms)
		}
	}
	var all []*series
	at := map[string]int{} // by String, the place in all
	for s, err := range q.db.Select(ctx, from, to, ms...) {
		if err != nil {
			return storage.ErrSeriesSet(fmt.Errorf("select samples: %w", err))
		}
		if q.left -= len(s.T); q.left < 0 {
			return storage.ErrSeriesSet(promql.ErrTooManySamples("query execution"))
		}
		key := s.Series.String()
		if i, ok := at[key]; ok {
			all[i].merge(s.T, s.V)
			continue
		}
		at[key] = len(all)
		all = append(all, &series{labels: toLabels(s.Series), t: s.T, v: s.V})
	}
	if sorted {
		slices.SortFunc(all, func(a, b *series) int { return labels.Compare(a.labels, b.labels) })
	}
	return &set{all: all, i: -1}
}

// names lists series without their samples.
func (q *querier) names(from, to int64, limit int, ms []tsdb.Matcher) storage.SeriesSet {
	found := q.db.Series(from, to, ms...)
	if limit > 0 && len(found) > limit {
		found = found[:limit]
	}
	all := make([]*series, len(found))
	for i, s := range found {
		all[i] = &series{labels: toLabels(s)}
	}
	return &set{all: all, i: -1}
}

func (q *querier) LabelNames(_ context.Context, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	ms, err := convert(matchers)
	if err != nil {
		return nil, nil, err
	}
	return limited(q.db.LabelNames(q.from, q.to, ms...), hints), nil, nil
}

func (q *querier) LabelValues(_ context.Context, name string, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	ms, err := convert(matchers)
	if err != nil {
		return nil, nil, err
	}
	return limited(q.db.LabelValues(name, q.from, q.to, ms...), hints), nil, nil
}

func limited(s []string, hints *storage.LabelHints) []string {
	if hints != nil && hints.Limit > 0 && len(s) > hints.Limit {
		return s[:hints.Limit]
	}
	return s
}

var matchTypes = map[labels.MatchType]tsdb.MatchType{
	labels.MatchEqual:     tsdb.Equal,
	labels.MatchNotEqual:  tsdb.NotEqual,
	labels.MatchRegexp:    tsdb.Regexp,
	labels.MatchNotRegexp: tsdb.NotRegexp,
}

func convert(matchers []*labels.Matcher) ([]tsdb.Matcher, error) {
	out := make([]tsdb.Matcher, len(matchers))
	for i, m := range matchers {
		t, ok := matchTypes[m.Type]
		if !ok {
			return nil, fmt.Errorf("matcher %s: unknown type", m)
		}
		var err error
		if out[i], err = tsdb.NewMatcher(t, m.Name, m.Value); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func toLabels(s metric.Series) labels.Labels {
	b := labels.NewScratchBuilder(len(s.Labels) + 1)
	b.Add(labels.MetricName, s.Name)
	for _, l := range s.Labels {
		b.Add(l.Name, l.Value)
	}
	b.Sort()
	return b.Labels()
}

// series is one series' samples within the query's range.
type series struct {
	labels labels.Labels
	t      []int64
	v      []float64
}

func (s *series) Labels() labels.Labels { return s.labels }

func (s *series) Iterator(it chunkenc.Iterator) chunkenc.Iterator {
	if old, ok := it.(*cursor); ok {
		*old = cursor{s: s, i: -1}
		return old
	}
	return &cursor{s: s, i: -1}
}

// merge joins samples of the same series from another stream; where both have one, a number stands before a NaN.
func (s *series) merge(t []int64, v []float64) {
	mt, mv := make([]int64, 0, len(s.t)+len(t)), make([]float64, 0, len(s.t)+len(t))
	i, j := 0, 0
	for i < len(s.t) || j < len(t) {
		switch {
		case j == len(t) || i < len(s.t) && s.t[i] < t[j]:
			mt, mv, i = append(mt, s.t[i]), append(mv, s.v[i]), i+1
		case i == len(s.t) || t[j] < s.t[i]:
			mt, mv, j = append(mt, t[j]), append(mv, v[j]), j+1
		default:
			x := s.v[i]
			if math.IsNaN(x) {
				x = v[j]
			}
			mt, mv, i, j = append(mt, t[j]), append(mv, x), i+1, j+1
		}
	}
	s.t, s.v = mt, mv
}

// set walks loaded series.
type set struct {
	all []*series
	i   int
}

func (s *set) Next() bool                        { s.i++; return s.i < len(s.all) }
func (s *set) At() storage.Series                { return s.all[s.i] }
func (s *set) Err() error                        { return nil }
func (s *set) Warnings() annotations.Annotations { return nil }

// millis is the engine's time. The alias keeps vet from taking Seek for that of io.Seeker.
type millis = int64

// cursor walks one series; there are no histograms in this store.
type cursor struct {
	s *series
	i int
}

func (c *cursor) Next() chunkenc.ValueType { return c.to(c.i + 1) }

func (c *cursor) Seek(t millis) chunkenc.ValueType {
	i, _ := slices.BinarySearch(c.s.t, t)
	return c.to(max(i, c.i))
}

func (c *cursor) to(i int) chunkenc.ValueType {
	c.i = min(i, len(c.s.t))
	if c.i == len(c.s.t) {
		return chunkenc.ValNone
	}
	return chunkenc.ValFloat
}

func (c *cursor) At() (int64, float64) {
	v := c.s.v[c.i]
	if math.IsNaN(v) {
		v = math.Float64frombits(value.StaleNaN)
	}
	return c.s.t[c.i], v
}

func (c *cursor) AtT() int64 { return c.s.t[c.i] }
func (*cursor) AtST() int64  { return 0 }
func (*cursor) Err() error   { return nil }
func (*cursor) AtHistogram(*histogram.Histogram) (int64, *histogram.Histogram) {
	panic("no histograms here")
}
func (*cursor) AtFloatHistogram(*histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	panic("no histograms here")
}

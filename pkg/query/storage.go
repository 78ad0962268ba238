package query

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"

	"xunjian/pkg/metric"
	"xunjian/pkg/tsdb"
)

const (
	stretch   = 6 * 60 * 60 * 1000 // ms asked of the store at one time
	endOfTime = 1 << 48            // ms, in the year 10889
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

// Select loads the matching series. A series ends by lookback when its reports stop or no longer hold it.
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
	all, err := q.load(ctx, from, to, ms)
	if err != nil {
		return storage.ErrSeriesSet(err)
	}
	if sorted {
		slices.SortFunc(all, func(a, b *series) int { return labels.Compare(a.labels, b.labels) })
	}
	return &set{all: all, i: -1}
}

// load reads one stretch of time after the other, so that a query that asks for too much is stopped before the store
// has read much more than it may have.
func (q *querier) load(ctx context.Context, from, to int64, ms []tsdb.Matcher) (all []*series, err error) {
	place := map[string]int{} // in all, by the series' text
	from, to = q.narrow(from, to, ms)
	for ; from <= to; from += stretch {
		for s, err := range q.db.Select(ctx, from, min(to, from+stretch-1), ms...) {
			if err != nil {
				return nil, fmt.Errorf("select samples: %w", err)
			}
			if q.left -= len(s.T); q.left < 0 {
				return nil, promql.ErrTooManySamples("query execution")
			}
			key := s.Series.String()
			i, ok := place[key]
			if !ok {
				i, place[key] = len(all), len(all)
				all = append(all, &series{labels: toLabels(s.Series)})
			}
			all[i].add(s.T, s.V)
		}
	}
	return all, nil
}

// narrow cuts halves without data off a range that is much longer than what is kept, as [100y] or the beginning of time.
func (q *querier) narrow(from, to int64, ms []tsdb.Matcher) (int64, int64) {
	from, to = max(from, 0), min(to, endOfTime)
	for to-from > 32*stretch {
		mid := from + (to-from)/2
		switch {
		case len(q.db.Series(from, mid, ms...)) == 0:
			from = mid + 1
		case len(q.db.Series(mid+1, to, ms...)) == 0:
			to = mid
		default:
			return from, to
		}
	}
	return from, to
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
	b.Add(model.MetricNameLabel, s.Name)
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

func (s *series) add(t []int64, v []float64) {
	if s.t == nil { // the store's slices are ours to keep
		s.t, s.v = t, v
		return
	}
	s.t, s.v = append(s.t, t...), append(s.v, v...)
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

func (c *cursor) At() (int64, float64) { return c.s.t[c.i], c.s.v[c.i] }
func (c *cursor) AtT() int64           { return c.s.t[c.i] }
func (*cursor) AtST() int64            { return 0 }
func (*cursor) Err() error             { return nil }
func (*cursor) AtHistogram(*histogram.Histogram) (int64, *histogram.Histogram) {
	panic("no histograms here")
}

func (*cursor) AtFloatHistogram(*histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	panic("no histograms here")
}

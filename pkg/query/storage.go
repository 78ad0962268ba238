package query

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"xunjian/pkg/metric"
	"xunjian/pkg/tsdb"
)

const endOfTime = 1 << 48 // ms, in the year 10889

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

// Select loads the matching series. A series ends by lookback when its reports stop.
func (q *querier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	ms, ok, err := convert(matchers)
	if err != nil {
		return storage.ErrSeriesSet(err)
	}
	if !ok {
		return storage.EmptySeriesSet()
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

// load reads series by series, so that a query that asks for too much is stopped before the store has read much more
// than it may have.
func (q *querier) load(ctx context.Context, from, to int64, ms []tsdb.Matcher) (all []*series, err error) {
	parts := parted{}
	for s, err := range q.db.Select(ctx, max(from, 0), min(to, endOfTime), ms...) {
		if err != nil {
			return nil, fmt.Errorf("select samples: %w", err)
		}
		if q.left -= len(s.T); q.left < 0 {
			return nil, promql.ErrTooManySamples("query execution")
		}
		if !parts.take(s) {
			all = append(all, &series{labels: toLabels(s.Series), t: s.T, v: s.V}) // the store's slices are ours to keep
		}
	}
	return parts.join(all), nil
}

// names lists series without their samples, each once.
func (q *querier) names(from, to int64, limit int, ms []tsdb.Matcher) storage.SeriesSet {
	found := q.db.Series(from, to, ms...)
	seen := make(map[string]bool, len(found))
	var all []*series
	for _, s := range found {
		if limit > 0 && len(all) == limit {
			break
		}
		if s.Get(PartLabel) != "" {
			s = without(s)
		}
		if text := s.String(); !seen[text] {
			seen[text] = true
			all = append(all, &series{labels: toLabels(s)})
		}
	}
	return &set{all: all, i: -1}
}

func (q *querier) LabelNames(_ context.Context, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	ms, ok, err := convert(matchers)
	if err != nil || !ok {
		return nil, nil, err
	}
	found := slices.DeleteFunc(q.db.LabelNames(q.from, q.to, ms...), func(s string) bool { return s == PartLabel })
	return limited(found, hints), nil, nil
}

func (q *querier) LabelValues(_ context.Context, name string, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	ms, ok, err := convert(matchers)
	if err != nil || !ok || name == PartLabel {
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

// convert turns matchers into the store's. The hidden label is one that no series has: ok is false when a matcher wants it.
func convert(matchers []*labels.Matcher) (out []tsdb.Matcher, ok bool, err error) {
	for _, m := range matchers {
		if m.Name == PartLabel {
			if !m.Matches("") {
				return nil, false, nil
			}
			continue
		}
		t, known := matchTypes[m.Type]
		if !known {
			return nil, false, fmt.Errorf("matcher %s: unknown type", m)
		}
		sm, err := tsdb.NewMatcher(t, m.Name, m.Value)
		if err != nil {
			return nil, false, err
		}
		out = append(out, sm)
	}
	return out, true, nil
}

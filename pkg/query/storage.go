package query

import (
	"context"
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
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
	Rollup(ctx context.Context, from, to int64, matchers ...tsdb.Matcher) iter.Seq2[tsdb.Windows, error]
	Sketches(ctx context.Context, from, to int64, matchers ...tsdb.Matcher) iter.Seq2[tsdb.DaySketch, error]
	RawSince() int64
}

// queryable makes the store readable for Prometheus' engine, rules and API handlers.
type queryable struct {
	db     Store
	limits limits
}

// Querier reads [mint, maxt]. What it selects is copied out of the store before the caller goes on, so no transaction
// is ever held while the engine works.
func (q queryable) Querier(mint, maxt int64) (storage.Querier, error) {
	return q.querier(mint, maxt), nil
}

func (q queryable) querier(mint, maxt int64) *querier {
	return &querier{db: q.db, from: mint, to: maxt, budget: newBudget(q.limits)}
}

// querier serves one query.
type querier struct {
	db       Store
	from, to int64
	budget   *budget
	windows  map[*labels.Matcher]window // functions to be worked out, by the first matcher of their selectors
	lookup   *lookup                    // to be answered; nil: none
}

func (*querier) Close() error { return nil }

// Select loads the matching series. A series ends by lookback when its reports stop, and at once when they go on without it.
// The engine asks outside the guard under which it evaluates, so a panic is caught here.
func (q *querier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) (found storage.SeriesSet) {
	defer func() {
		if p := recover(); p != nil {
			found = storage.ErrSeriesSet(unexpected(p))
		}
	}()
	ms, ok, err := convert(matchers)
	if err != nil {
		return storage.ErrSeriesSet(err)
	}
	if !ok {
		return storage.EmptySeriesSet()
	}
	if len(matchers) > 0 {
		if w, ok := q.windows[matchers[0]]; ok {
			return q.overTime(ctx, w, ms)
		}
	}
	from, to := q.from, q.to
	if hints != nil {
		from, to = max(from, hints.Start), min(to, hints.End)
		if hints.Func == "series" {
			return q.names(from, to, hints.Limit, ms)
		}
	}
	all, warnings, err := q.load(ctx, from, to, ms)
	if err == nil {
		err = checkRoom(len(all), hints, q.budget.limits.samples)
	}
	if err == nil && q.lookup != nil {
		var taken bool
		if taken, err = q.lookup.take(ctx, all); taken {
			all = nil
		}
	}
	if err != nil {
		return storage.ErrSeriesSet(err)
	}
	if sorted {
		slices.SortFunc(all, func(a, b *series) int { return labels.Compare(a.labels, b.labels) })
	}
	return &set{all: all, i: -1, warnings: warnings}
}

// load reads series by series, so that a query that asks for too much is stopped before the store has read much more
// than it may have. Ahead of the samples that are kept it reads the points of aggregates.
func (q *querier) load(ctx context.Context, from, to int64, ms []tsdb.Matcher) (all []*series, warnings annotations.Annotations, err error) {
	h := heads{by: map[string]*head{}}
	if kept := q.rawSince(); from <= kept {
		if err := q.older(ctx, from-1, min(to, kept), ms, &h); err != nil {
			return nil, nil, err
		}
		if len(h.by) > 0 {
			warnings.Add(dropped(kept))
		}
	}
	parts := parted{}
	for s, err := range q.sel(ctx, from, to, ms) {
		if err == nil {
			err = q.budget.load(len(s.T) + perSeries)
		}
		if err != nil {
			return nil, nil, err
		}
		if parts.take(s) {
			continue
		}
		one := &series{labels: toLabels(s.Series), t: s.T, v: s.V} // never changed: series may share their times
		if len(h.by) > 0 {
			p := h.take(s.Series)
			one.t, one.v = slices.Concat(p.t, s.T), slices.Concat(p.v, s.V)
		}
		all = append(all, one)
	}
	for _, e := range h.by {
		all = append(all, &series{labels: toLabels(e.series), t: e.points.t, v: e.points.v})
	}
	return parts.join(all), warnings, nil
}

// older reads aggregates as samples: of a gauge the mean, of a counter the last value of each window.
func (q *querier) older(ctx context.Context, from, to int64, ms []tsdb.Matcher, h *heads) error {
	for w, err := range q.rollup(ctx, from, to, ms) {
		if err == nil {
			err = q.budget.load(len(w.At) + perSeries)
		}
		if err != nil {
			return err
		}
		if len(w.At) > 0 {
			h.put(w.Series, aggregates(&w).single())
		}
	}
	return nil
}

// names lists series without their samples, each once, and no more than maxListed.
func (q *querier) names(from, to int64, limit int, ms []tsdb.Matcher) storage.SeriesSet {
	found := q.db.Series(from, to, ms...)
	seen := make(map[string]bool, len(found))
	out := &set{i: -1}
	for _, s := range found {
		if limit > 0 && len(out.all) == limit {
			break
		}
		if len(out.all) == maxListed {
			out.warnings.Add(errListed)
			break
		}
		if s.Get(PartLabel) != "" {
			s = without(s)
		}
		if text := s.String(); !seen[text] {
			seen[text] = true
			out.all = append(out.all, &series{labels: toLabels(s)})
		}
	}
	return out
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

// rawSince is the time up to which samples were dropped, before all time when none were.
func (q *querier) rawSince() int64 {
	if since := q.db.RawSince(); since > 0 {
		return since
	}
	return math.MinInt64
}

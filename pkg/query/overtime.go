package query

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
	"golang.org/x/sync/errgroup"

	"xunjian/pkg/metric"
	"xunjian/pkg/tsdb"
)

// manyWindows is the length of a range, in ms, from which on a single one is put together from aggregates and the
// samples at its ends.
const manyWindows = 12 * tsdb.RollupStep

// overTime answers a rewritten selector with the virtual series of its window.
func (q *querier) overTime(ctx context.Context, w window, ms []tsdb.Matcher) storage.SeriesSet {
	r := &reducer{q: q, w: w, ms: ms, work: make(chan job)}
	group, ctx := errgroup.WithContext(ctx)
	for range min(4, runtime.GOMAXPROCS(0)) {
		group.Go(guarded(func() error { return r.reduce(ctx) }))
	}
	group.Go(guarded(func() error {
		defer close(r.work)
		return r.read(ctx)
	}))
	if err := group.Wait(); err != nil {
		return storage.ErrSeriesSet(err)
	}
	return &set{all: r.done, i: -1, warnings: r.warnings}
}

// guarded makes a panic the query's own end, as the engine does on its goroutine: on another it would end the collector.
func guarded(work func() error) func() error {
	return func() (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = unexpected(p)
			}
		}()
		return work()
	}
}

func unexpected(p any) error { return fmt.Errorf("unexpected error: %v", p) }

// reducer reads series and works their windows out, a handful at a time.
type reducer struct {
	q    *querier
	w    window
	ms   []tsdb.Matcher
	work chan job // no room: reading waits for the workers

	warnings annotations.Annotations // of read

	mu   sync.Mutex
	done []*series
}

// job is one series with all its points.
type job struct {
	series metric.Series
	points points
}

func (r *reducer) reduce(ctx context.Context) error {
	var s scratch
	for j := range r.work {
		t, v, err := r.w.reduce(ctx, j.points, &s)
		if err != nil {
			return fmt.Errorf("work out %s: %w", j.series.Name, err)
		}
		if len(t) == 0 {
			continue
		}
		r.mu.Lock()
		err = r.q.budget.load(len(t) + perSeries)
		r.done = append(r.done, &series{labels: toLabels(j.series), t: t, v: v})
		r.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *reducer) submit(ctx context.Context, s metric.Series, p points) error {
	if len(p.t) == 0 {
		return nil
	}
	select {
	case r.work <- job{s, p}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// read chooses where from: aggregates, where they say the same as the samples or are all that is left; else samples.
func (r *reducer) read(ctx context.Context) error {
	from, to, kept := r.w.from(), r.w.last, r.q.rawSince()
	switch {
	case r.w.fn.fromAggregates() && r.w.aligned():
		return r.fromAggregates(ctx)
	case from <= kept:
		return r.pieced(ctx, from-1, min(to, kept))
	case r.w.fn.fromAggregates() && r.w.first == r.w.last && r.w.span >= manyWindows:
		return r.pieced(ctx, roundUp(from-1), roundDown(to))
	}
	return r.fromSamples(ctx, from, to, r.ms, nil)
}

func roundDown(t int64) int64 { return roundUp(t - tsdb.RollupStep + 1) }

func roundUp(t int64) int64 {
	if t <= 0 {
		return t / tsdb.RollupStep * tsdb.RollupStep
	}
	return (t + tsdb.RollupStep - 1) / tsdb.RollupStep * tsdb.RollupStep
}

// fromSamples reads samples; before are earlier points of a series, by its text.
func (r *reducer) fromSamples(ctx context.Context, from, to int64, ms []tsdb.Matcher, before *heads) error {
	for s, err := range r.q.sel(ctx, from, to, ms) {
		if err != nil {
			return err
		}
		p := samples(s.T, s.V)
		if before != nil {
			if before.raw[s.Series.String()] != nil {
				continue
			}
			p = before.take(s.Series).join(p)
		}
		if err := r.submit(ctx, s.Series, p); err != nil {
			return err
		}
	}
	return nil
}

// fromAggregates reads nothing but aggregates, and the samples of series that have none of the kind wanted.
func (r *reducer) fromAggregates(ctx context.Context) error {
	h := heads{raw: map[string]*metric.Series{}}
	whole := true
	for w, err := range r.q.rollup(ctx, r.w.from()-1, r.w.last, r.ms) {
		if err != nil {
			return err
		}
		if !r.w.exact(&w) {
			h.raw[w.Series.String()] = &w.Series
			continue
		}
		whole = false
		if err := r.submit(ctx, w.Series, aggregates(&w)); err != nil {
			return err
		}
	}
	from, to, kept := r.w.from(), r.w.last, r.q.rawSince()
	switch {
	case len(h.raw) > 0 && from <= kept:
		return r.pieced(ctx, from-1, min(to, kept))
	case len(h.raw) > 0 && whole:
		return r.fromSamples(ctx, from, to, r.ms, nil)
	}
	return r.rawOnly(ctx, h)
}

// heads are points of series that samples will follow.
type heads struct {
	by  map[string]*head
	raw map[string]*metric.Series // without aggregates: read them on their own
}

type head struct {
	series metric.Series
	points points
}

func (h *heads) put(s metric.Series, p points) {
	text := s.String()
	if h.by[text] == nil {
		h.by[text] = &head{series: s}
	}
	h.by[text].points = h.by[text].points.join(p)
}

func (h *heads) take(s metric.Series) points {
	text := s.String()
	e := h.by[text]
	if e == nil {
		return points{}
	}
	delete(h.by, text)
	return e.points
}

// pieced puts aggregates of (a, b] between samples before and behind them. Where samples that the function needs are no
// longer kept, it says so.
func (r *reducer) pieced(ctx context.Context, a, b int64) error {
	from, to, kept := r.w.from(), r.w.last, r.q.rawSince()
	h := heads{by: map[string]*head{}, raw: map[string]*metric.Series{}}
	old := from <= kept
	if !old {
		if err := r.left(ctx, from, a, &h); err != nil {
			return err
		}
	}
	days, err := r.sketches(ctx, old, a, b)
	if err != nil {
		return err
	}
	for w, err := range r.q.rollup(ctx, a, b, r.ms) {
		if err != nil {
			return err
		}
		switch {
		case old && len(w.At) > 0, r.w.exact(&w):
			if old && w.At[0]-tsdb.RollupStep < kept {
				r.warnings.Add(dropped(kept))
			}
			h.put(w.Series, spread(aggregates(&w), days[w.Series.String()]))
		case !old:
			h.raw[w.Series.String()] = &w.Series
		}
		if err := r.q.budget.load(3 * len(w.At)); err != nil {
			return err
		}
	}
	if err := r.fromSamples(ctx, b+1, to, r.ms, &h); err != nil {
		return err
	}
	for text, e := range h.by {
		if h.raw[text] != nil {
			continue
		}
		if err := r.submit(ctx, e.series, e.points); err != nil {
			return err
		}
	}
	return r.rawOnly(ctx, h)
}

// left reads the samples ahead of the aggregates.
func (r *reducer) left(ctx context.Context, from, to int64, h *heads) error {
	for s, err := range r.q.sel(ctx, from, to, r.ms) {
		if err != nil {
			return err
		}
		if err := r.q.budget.load(len(s.T)); err != nil {
			return err
		}
		h.put(s.Series, samples(s.T, s.V))
	}
	return nil
}

// oneByOne is how many series are asked for by their names; more are picked out of all that match.
const oneByOne = 64

// rawOnly reads the series for which there are no aggregates.
func (r *reducer) rawOnly(ctx context.Context, h heads) error {
	if len(h.raw) > oneByOne {
		return r.pick(ctx, r.ms, func(text string) bool { return h.raw[text] != nil })
	}
	for text, s := range h.raw {
		ms, err := exactly(*s)
		if err != nil {
			return err
		}
		if err := r.pick(ctx, ms, func(t string) bool { return t == text }); err != nil { // not one with more labels
			return err
		}
	}
	return nil
}

func (r *reducer) pick(ctx context.Context, ms []tsdb.Matcher, wanted func(text string) bool) error {
	for s, err := range r.q.sel(ctx, r.w.from(), r.w.last, ms) {
		if err != nil {
			return err
		}
		if !wanted(s.Series.String()) {
			continue
		}
		if err := r.submit(ctx, s.Series, samples(s.T, s.V)); err != nil {
			return err
		}
	}
	return nil
}

func exactly(s metric.Series) ([]tsdb.Matcher, error) {
	ms := make([]tsdb.Matcher, 1, len(s.Labels)+1)
	var err error
	if ms[0], err = tsdb.NewMatcher(tsdb.Equal, tsdb.NameLabel, s.Name); err != nil {
		return nil, err
	}
	for _, l := range s.Labels {
		m, err := tsdb.NewMatcher(tsdb.Equal, l.Name, l.Value)
		if err != nil {
			return nil, err
		}
		ms = append(ms, m)
	}
	return ms, nil
}

// dropped is the warning of answers that samples no longer kept would have made finer.
func dropped(kept int64) error {
	return fmt.Errorf("%w: raw samples before %s are no longer kept: 5-minute aggregates were read", annotations.PromQLWarning,
		time.UnixMilli(kept).UTC().Format(time.DateOnly))
}

// sel is the store's Select within the query's bounds.
func (q *querier) sel(ctx context.Context, from, to int64, ms []tsdb.Matcher) iter.Seq2[tsdb.Samples, error] {
	return func(yield func(tsdb.Samples, error) bool) {
		for s, err := range q.db.Select(ctx, max(from, 0), min(to, endOfTime), ms...) {
			if err == nil {
				err = q.budget.scan(ctx, len(s.T))
			} else {
				err = fmt.Errorf("select samples: %w", err)
			}
			if err != nil {
				yield(tsdb.Samples{}, err)
				return
			}
			if !yield(s, nil) {
				return
			}
		}
	}
}

// rollup is the store's Rollup within the query's bounds.
func (q *querier) rollup(ctx context.Context, from, to int64, ms []tsdb.Matcher) iter.Seq2[tsdb.Windows, error] {
	return func(yield func(tsdb.Windows, error) bool) {
		for w, err := range q.db.Rollup(ctx, max(from, 0), min(to, endOfTime), ms...) {
			if err == nil {
				err = q.budget.scan(ctx, len(w.At))
			} else {
				err = fmt.Errorf("select aggregates: %w", err)
			}
			if err != nil {
				yield(tsdb.Windows{}, err)
				return
			}
			if !yield(w, nil) {
				return
			}
		}
	}
}

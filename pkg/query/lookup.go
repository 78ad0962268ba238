package query

import (
	"context"
	"slices"
	"sort"
	"sync"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/stats"

	"xunjian/pkg/tsdb"
)

// lookup is a query of nothing but a selector: the samples themselves of x[1d], or at each step of x the newest one, if it
// is young enough. The engine would ask an iterator for each sample, which takes longer than reading them. Here it is given
// no series at all, so that it keeps its books, its clock and its errors; Select leaves the answer in the lookup, found in
// one pass over the samples of each series.
type lookup struct {
	first, last, step int64  // ms, of the steps
	at                *int64 // ms: the time that all steps ask for; nil: their own
	offset            int64  // ms, by which they ask for what was before
	lookback          int64  // ms
	whole             bool   // all samples of a range, not the newest at each step

	most   int // points of the answer
	stats  *stats.QuerySamples
	answer promql.Matrix // nil: the engine has the series
}

// lookupOf says what a statement looks up, if that is all it does.
func lookupOf(stmt *parser.EvalStmt, s *stats.QuerySamples, most int) *lookup {
	if s == nil || s.StepTrackingEnabled() {
		return nil
	}
	l := &lookup{
		first: stmt.Start.UnixMilli(), last: stmt.End.UnixMilli(), step: max(stmt.Interval.Milliseconds(), 1),
		lookback: stmt.LookbackDelta.Milliseconds(), most: most, stats: s,
	}
	expr := stmt.Expr
	if fixed, ok := expr.(*parser.StepInvariantExpr); ok {
		expr = fixed.Expr
	}
	if m, ok := expr.(*parser.MatrixSelector); ok {
		l.whole, expr = true, m.VectorSelector
	}
	vs, ok := expr.(*parser.VectorSelector)
	if !ok || vs.Anchored || vs.Smoothed || !l.whole && stmt.Interval <= 0 {
		return nil // an instant vector is one step of the engine
	}
	l.at, l.offset = vs.Timestamp, vs.OriginalOffset.Milliseconds()
	return l
}

// take answers from the series that the selector found; false leaves them to the engine, which knows histograms.
func (l *lookup) take(ctx context.Context, all []*series) (bool, error) {
	if slices.ContainsFunc(all, func(s *series) bool { return s.h != nil }) {
		return false, nil
	}
	l.answer = make(promql.Matrix, 0, len(all))
	points := 0
	for _, s := range all {
		if err := ctx.Err(); err != nil {
			return true, err
		}
		find := l.newest
		if l.whole {
			find = l.samples
		}
		found := find(s)
		if points += len(found); points > l.most {
			return true, promql.ErrTooManySamples("query execution")
		}
		if len(found) > 0 {
			l.answer = append(l.answer, promql.Series{Metric: s.labels, Floats: found})
		}
	}
	sort.Sort(l.answer)
	l.count(len(all), points)
	return true, nil
}

// count enters into the query's statistics what the engine would have.
func (l *lookup) count(series, points int) {
	read := points
	if l.at != nil && !l.whole {
		read = len(l.answer) // one sample of each for all steps
	}
	l.stats.IncrementSeries(int64(series))
	l.stats.IncrementSamplesAtStep(0, int64(points))
	l.stats.IncrementSamplesReadAtStep(0, int64(read))
	l.stats.UpdatePeak(points)
}

// samples are those of a range, all that was read for it.
func (*lookup) samples(s *series) []promql.FPoint {
	out := room(len(s.t))
	for i, v := range s.v {
		if !tsdb.IsStale(v) {
			out = append(out, promql.FPoint{T: s.t[i], F: v})
		}
	}
	return out
}

// newest are the values at the steps: a sample counts until another comes, a stale marker among them, or it is too old.
func (l *lookup) newest(s *series) []promql.FPoint {
	out := room(int((l.last-l.first)/l.step) + 1)
	next := 0 // the first sample that is later than the step
	for step := l.first; step <= l.last; step += l.step {
		at := step - l.offset
		if l.at != nil {
			at = *l.at - l.offset
		}
		for next < len(s.t) && s.t[next] <= at {
			next++
		}
		if i := next - 1; i >= 0 && s.t[i] > at-l.lookback && !tsdb.IsStale(s.v[i]) {
			out = append(out, promql.FPoint{T: step, F: s.v[i]})
		}
	}
	return out
}

// rooms are those of answers that were closed, for the next.
var rooms sync.Pool

const maxRoom = 16 << 10 // points; greater rooms are not kept

// room is an empty slice for so many points, or for fewer when they may not all come.
func room(points int) []promql.FPoint {
	if r, ok := rooms.Get().(*[]promql.FPoint); ok {
		return (*r)[:0]
	}
	return make([]promql.FPoint, 0, min(points, maxRoom))
}

// lookupQuery is a query of the engine whose answer the lookup has.
type lookupQuery struct {
	promql.Query
	*lookup
}

func (q lookupQuery) Exec(ctx context.Context) *promql.Result {
	res := q.Query.Exec(ctx)
	if res.Err == nil && q.answer != nil {
		res.Value = q.answer
	}
	return res
}

func (q lookupQuery) Close() {
	for _, s := range q.answer {
		if cap(s.Floats) <= maxRoom {
			rooms.Put(&s.Floats)
		}
	}
	q.answer = nil
	q.Query.Close()
}

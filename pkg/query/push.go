package query

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"

	"xunjian/pkg/tsdb"
)

// pusher is Prometheus' engine, but functions over long ranges are worked out at the store, series by series, instead of
// in the engine, which would hold all their samples. Of each such call it makes
//
//	avg_over_time(x[30d])  →  max_over_time(x'[1ms])
//
// where x' is a virtual series: the querier gives it one sample at each step that has any in its range, and that sample
// is the function's value. So labels, names, order, offsets and bounds stay the engine's own affair.
type pusher struct{ promql.QueryEngine }

// planner is a store that can work functions out.
type planner interface{ plan() *plan }

func (p pusher) NewInstantQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, expr string, at time.Time) (promql.Query, error) {
	return push(q, func(q storage.Queryable) (promql.Query, error) {
		return p.QueryEngine.NewInstantQuery(ctx, q, opts, expr, at)
	})
}

func (p pusher) NewRangeQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, expr string, start, end time.Time, step time.Duration) (promql.Query, error) {
	return push(q, func(q storage.Queryable) (promql.Query, error) {
		return p.QueryEngine.NewRangeQuery(ctx, q, opts, expr, start, end, step)
	})
}

func push(q storage.Queryable, open func(storage.Queryable) (promql.Query, error)) (promql.Query, error) {
	able, ok := q.(planner)
	if !ok {
		return open(q)
	}
	plan := able.plan()
	query, err := open(plan)
	if err != nil {
		return nil, err
	}
	stmt, ok := query.Statement().(*parser.EvalStmt)
	if !ok {
		return query, nil
	}
	plan.rewrite(stmt)
	if plan.lookup = lookupOf(stmt, query.Stats().Samples, plan.limits.samples); plan.lookup != nil {
		query = lookupQuery{query, plan.lookup}
	}
	return query, nil
}

// plan is the store for one query, with the functions that it has taken over.
type plan struct {
	queryable
	windows map[*labels.Matcher]window // by the first matcher of the rewritten selector
	lookup  *lookup                    // nil: the query is more than that
}

func (q queryable) plan() *plan { return &plan{queryable: q, windows: map[*labels.Matcher]window{}} }

// Querier serves the one query, which asks for one.
func (p *plan) Querier(mint, maxt int64) (storage.Querier, error) {
	q := p.querier(mint, maxt)
	q.windows, q.lookup = p.windows, p.lookup
	return q, nil
}

// rewrite changes the calls that can be worked out here. Within a subquery the steps are not the query's, and info looks
// at its selectors itself: there nothing is changed.
func (p *plan) rewrite(stmt *parser.EvalStmt) {
	parser.Inspect(stmt.Expr, func(node parser.Node, path []parser.Node) error {
		call, ok := node.(*parser.Call)
		if !ok || slices.ContainsFunc(path, stepsAside) {
			return nil
		}
		if w, sel, ok := windowOf(stmt, call); ok {
			p.take(w, sel, call)
		}
		return nil
	})
}

func stepsAside(n parser.Node) bool {
	switch n := n.(type) {
	case *parser.SubqueryExpr:
		return true
	case *parser.Call:
		return n.Func.Name == "info"
	}
	return false
}

// windowOf says what a call computes, when it is one of those that can be taken over: of a plain selector with a range.
func windowOf(stmt *parser.EvalStmt, call *parser.Call) (w window, sel *parser.MatrixSelector, ok bool) {
	if w.fn, ok = functions[call.Func.Name]; !ok || len(call.Args) == 0 {
		return w, nil, false
	}
	if w.fn == quantileOf {
		phi, ok := call.Args[0].(*parser.NumberLiteral)
		if !ok || !(phi.Val >= 0 && phi.Val <= 1) {
			return w, nil, false
		}
		w.phi = phi.Val
	}
	if sel, ok = call.Args[len(call.Args)-1].(*parser.MatrixSelector); !ok || sel.Range < time.Millisecond {
		return w, nil, false
	}
	vs, ok := sel.VectorSelector.(*parser.VectorSelector)
	if !ok || vs.Timestamp != nil || vs.StartOrEnd != 0 || vs.Anchored || vs.Smoothed || len(vs.LabelMatchers) == 0 {
		return w, nil, false
	}
	if (w.fn == rateOf || w.fn == increaseOf) && !looksLikeCounter(vs.LabelMatchers) {
		return w, nil, false
	}
	offset := vs.OriginalOffset.Milliseconds()
	w.span, w.step = sel.Range.Milliseconds(), max(stmt.Interval.Milliseconds(), 1)
	w.first, w.last = stmt.Start.UnixMilli()-offset, stmt.End.UnixMilli()-offset
	return w, sel, true
}

// take puts the virtual series in the call's place, unless histograms are among those that it matches.
func (p *plan) take(w window, sel *parser.MatrixSelector, call *parser.Call) {
	vs, ok := sel.VectorSelector.(*parser.VectorSelector)
	if !ok {
		return
	}
	ms, ok, err := convert(vs.LabelMatchers)
	if !ok || err != nil {
		return
	}
	parts, err := tsdb.NewMatcher(tsdb.NotEqual, PartLabel, "")
	if err != nil || len(p.db.Series(w.first-w.span, w.last, append(ms, parts)...)) > 0 {
		return
	}
	p.windows[vs.LabelMatchers[0]] = w
	as := "max_over_time" // of one sample: that sample
	if w.fn == lastOf || w.fn == firstOf {
		as = "last_over_time" // keeps the name
	}
	call.Func = parser.Functions[as]
	call.Args = parser.Expressions{&parser.MatrixSelector{VectorSelector: vs, Range: time.Millisecond, EndPos: sel.EndPos}}
}

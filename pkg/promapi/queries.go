package promapi

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/stats"

	"xunjian/pkg/query"
)

const (
	maxPoints = 11_000 // steps of a range query, for each series
	maxExpr   = 16 << 10
)

// queryData is a query's answer.
type queryData struct {
	value parser.Value
	stats stats.QueryStats
}

func (d queryData) stream(s *sink) error {
	s.buf = append(s.buf, `{"resultType":"`+string(d.value.Type())+`","result":`...)
	if err := encodeValue(s, d.value); err != nil {
		return err
	}
	if d.stats != nil {
		s.buf = append(s.buf, `,"stats":`...)
		if err := encodeJSON(s, d.stats); err != nil {
			return err
		}
	}
	s.buf = append(s.buf, '}')
	return nil
}

func (a *api) query(c *call) reply {
	limit := c.limit()
	q := query.Ask{Expr: c.Get("query"), Start: c.time("time", c.now)}
	return a.evaluate(c, q, limit)
}

func (a *api) queryRange(c *call) reply {
	limit := c.limit()
	q := query.Ask{Expr: c.Get("query"), Start: c.needTime("start"), End: c.needTime("end")}
	if q.End.Before(q.Start) {
		c.bad("end", errors.New("end timestamp must not be before start time"))
	}
	var err error
	if q.Step, err = parseDuration(c.Get("step")); err != nil {
		c.bad("step", err)
	} else if q.Step <= 0 {
		c.bad("step", errors.New("zero or negative query resolution step widths are not accepted. Try a positive integer"))
	} else if q.End.Sub(q.Start)/q.Step > maxPoints && c.fault == nil {
		c.fault = bad("exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)")
	}
	if q.Step < time.Millisecond { // Prometheus' engine divides by it
		c.bad("step", fmt.Errorf("%s is shorter than a millisecond", q.Step))
	}
	return a.evaluate(c, q, limit)
}

// evaluate answers a query, if its parameters were good.
func (a *api) evaluate(c *call, q query.Ask, limit int) reply {
	most := c.timeout()
	q.Lookback, q.PerStep = c.lookback(), c.Get("stats") == "all"
	if c.fault != nil {
		return fails(c.fault)
	}
	ctx := c.Context()
	if most <= 0 || most > a.Bounds.Timeout {
		most = a.Bounds.Timeout
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	leave, err := a.queries.enter(ctx, network(c.RemoteAddr))
	if err != nil {
		cancel()
		if errors.Is(err, context.Canceled) {
			return fails(faultOf(promql.ErrQueryCanceled("query queue")))
		}
		return fails(faultOf(promql.ErrQueryTimeout("query queue")))
	}
	found, err := a.Engine.Open(ctx, q)
	if err != nil {
		cancel()
		leave()
		return fails(faultOf(err))
	}
	p := reply{notes: found.Warnings, expr: q.Expr, close: func() { found.Close(); leave(); cancel() }}
	value, cut := shorten(found.Value, limit)
	if cut {
		p.notes = truncated(p.notes)
	}
	d := queryData{value: value}
	if s := c.Get("stats"); s != "" {
		d.stats = stats.NewQueryStats(found.Query.Stats())
		if s != "true" && s != "all" {
			p.notes = p.notes.Add(fmt.Errorf("value %q for parameter \"stats\" is deprecated and will be rejected in the next major release, use \"true\" or \"all\"", s))
		}
	}
	p.data = d
	return p
}

// shorten keeps at most limit series.
func shorten(v parser.Value, limit int) (_ parser.Value, cut bool) {
	switch v := v.(type) {
	case promql.Matrix:
		if limit > 0 && len(v) > limit {
			return v[:limit], true
		}
	case promql.Vector:
		if limit > 0 && len(v) > limit {
			return v[:limit], true
		}
	}
	return v, false
}

// parse reads an expression that is only to be shown. Printing grows with the square of the depth, which is therefore bounded.
func (c *call) parse() parser.Expr {
	text := c.Get("query")
	if len(text) > maxExpr {
		c.bad("query", fmt.Errorf("expression of %d bytes is longer than %d", len(text), maxExpr))
		return nil
	}
	expr, err := promParser.ParseExpr(text)
	if err == nil && deeper(expr, maxDepth) {
		err = fmt.Errorf("expression is nested more than %d deep", maxDepth)
	}
	if err != nil {
		c.bad("query", err)
	}
	return expr
}

func deeper(n parser.Node, than int) bool {
	if than == 0 {
		return true
	}
	for child := range parser.ChildrenIter(n) {
		if deeper(child, than-1) {
			return true
		}
	}
	return false
}

func (a *api) formatQuery(c *call) reply {
	expr := c.parse()
	if c.fault != nil {
		return fails(c.fault)
	}
	return reply{data: expr.Pretty(0)}
}

func (a *api) parseQuery(c *call) reply {
	expr := c.parse()
	if c.fault != nil {
		return fails(c.fault)
	}
	return reply{data: tree(expr)}
}

// exemplars are not kept, so there are none of any series.
func (a *api) exemplars(c *call) reply {
	start, end := c.time("start", minTime), c.time("end", maxTime)
	if end.Before(start) && c.fault == nil {
		c.fault = bad("end timestamp must not be before start timestamp")
	}
	expr := c.parse()
	switch {
	case c.fault != nil:
		return fails(c.fault)
	case len(parser.ExtractSelectors(expr)) == 0:
		return reply{}
	}
	return reply{data: []struct{}{}}
}

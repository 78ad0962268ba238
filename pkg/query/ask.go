package query

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/prometheus/promql"
)

// Ask is one query as Prometheus' HTTP API has it. Without a Step it is for the instant Start.
type Ask struct {
	Expr       string
	Start, End time.Time
	Step       time.Duration
	Lookback   time.Duration // 0: the engine's own
	PerStep    bool          // count samples for each step
}

// Answer is a query's result in the engine's own memory, which Close takes back together with the turn.
type Answer struct {
	*promql.Result
	Query promql.Query
	close func()
}

// Close may be called more than once.
func (a *Answer) Close() { a.close() }

// Open waits for a turn and evaluates. The caller holds the turn, and so bounds what answers keep in memory, until it
// calls Close. Errors are those of Prometheus' engine (promql.ErrQueryTimeout, …); queries that cannot begin are ErrBad.
func (e *Engine) Open(ctx context.Context, a Ask) (*Answer, error) {
	if err := checkText(a.Expr); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	turn, err := e.lanes.take(ctx)
	if err != nil {
		defer cancel()
		if errors.Is(err, context.Canceled) {
			return nil, promql.ErrQueryCanceled("query queue")
		}
		e.metrics.queueTimeouts.Inc()
		return nil, promql.ErrQueryTimeout("query queue")
	}
	ctx = context.WithValue(ctx, turnKey{}, turn)
	kept := false
	release := func() { turn.leave(); cancel() }
	defer func() {
		if !kept { // also when something below panics
			release()
		}
	}()
	q, err := e.begin(ctx, a)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBad, err)
	}
	out := &Answer{Query: q, close: sync.OnceFunc(func() { q.Close(); release() })}
	if err := e.check(q); err != nil {
		q.Close()
		return nil, err
	}
	if out.Result = q.Exec(ctx); out.Err != nil {
		q.Close()
		return nil, out.Err
	}
	kept = true
	return out, nil
}

func (e *Engine) begin(ctx context.Context, a Ask) (promql.Query, error) {
	opts := promql.NewPrometheusQueryOpts(a.PerStep, a.Lookback, nil)
	if a.Step == 0 {
		return e.prom.NewInstantQuery(ctx, e.q, opts, a.Expr, a.Start)
	}
	return e.prom.NewRangeQuery(ctx, e.q, opts, a.Expr, a.Start, a.End, a.Step)
}

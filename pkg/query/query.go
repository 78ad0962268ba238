// Package query answers PromQL over the stored samples with Prometheus' own engine.
package query

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"

	"xunjian/pkg/config"
)

// Bounds on what is asked.
const (
	maxExpr   = 16 << 10 // bytes of an expression
	maxPoints = 11_000   // steps of a range query, as Prometheus allows
)

// ErrBad is in the chain of errors that are the asker's own: an expression that does not parse, a range that is too long.
var ErrBad = errors.New("bad query")

// Config bounds queries.
type Config struct {
	MaxSamples  int           `yaml:"max_samples"` // that one query may load or hold, 16 bytes each
	MaxScan     int           `yaml:"max_scan"`    // that one query may read to work out functions over ranges, without holding them
	Timeout     time.Duration `yaml:"timeout"`     // of one query, its wait for a turn included
	Concurrency int           `yaml:"concurrency"` // small queries of people and dashboards at one time, beside a large one
	Lookback    time.Duration `yaml:"lookback"`    // age at which the last sample is no longer the present
}

// DefaultConfig holds a query to 80 MB and 30 s, in which it may read what 100 hosts say of one thing in a year and more.
func DefaultConfig() Config {
	return Config{MaxSamples: 5_000_000, MaxScan: 300_000_000, Timeout: 30 * time.Second, Concurrency: 4, Lookback: 5 * time.Minute}
}

// Validate checks the bounds.
func (c Config) Validate(fail config.Fail) {
	if c.MaxSamples < 1000 || c.MaxSamples > 100_000_000 {
		fail("max_samples", "%d is not between 1000 and 100000000", c.MaxSamples)
	}
	if c.MaxScan < c.MaxSamples || c.MaxScan > 10_000_000_000 {
		fail("max_scan", "%d is not between max_samples, %d, and 10000000000", c.MaxScan, c.MaxSamples)
	}
	if c.Timeout < time.Second || c.Timeout > 10*time.Minute {
		fail("timeout", "%s is not between 1s and 10m", c.Timeout)
	}
	if c.Concurrency < 1 || c.Concurrency > 64 {
		fail("concurrency", "%d is not between 1 and 64", c.Concurrency)
	}
	if c.Lookback < 30*time.Second || c.Lookback > time.Hour {
		fail("lookback", "%s is not between 30s and 1h", c.Lookback)
	}
}

// Options are what an Engine stands on.
type Options struct {
	Store      Store
	Config     Config
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Engine evaluates PromQL. Queries of people wait for one of Config.Concurrency turns, large ones for each other; rules
// never wait behind them.
type Engine struct {
	prom    promql.QueryEngine
	q       queryable
	lanes   *lanes
	timeout time.Duration
	most    int // samples of a query
	metrics *metrics
}

// New makes an engine; a zero Config stands for the default.
func New(o Options) *Engine {
	if o.Config == (Config{}) {
		o.Config = DefaultConfig()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	return &Engine{
		prom:    pusher{promql.NewEngine(engineOptions(o))},
		q:       queryable{o.Store, limits{o.Config.MaxSamples, max(o.Config.MaxScan, o.Config.MaxSamples)}},
		lanes:   newLanes(o.Config.Concurrency),
		timeout: o.Config.Timeout,
		most:    o.Config.MaxSamples,
		metrics: newMetrics(o.Registerer),
	}
}

// engineOptions are Prometheus' defaults for users: no experimental functions.
func engineOptions(o Options) promql.EngineOpts {
	return promql.EngineOpts{
		Logger:                   o.Logger,
		Reg:                      o.Registerer,
		MaxSamples:               o.Config.MaxSamples,
		Timeout:                  o.Config.Timeout,
		LookbackDelta:            o.Config.Lookback,
		NoStepSubqueryIntervalFn: func(int64) int64 { return subqueryStep.Milliseconds() },
		EnableAtModifier:         true,
		EnableNegativeOffset:     true,
		Parser:                   parser.NewParser(parser.Options{}),
	}
}

// Queryable is the store as Prometheus' packages read it.
func (e *Engine) Queryable() storage.Queryable { return e.q }

// QueryFunc evaluates for rules, past the queue in which people's queries wait.
func (e *Engine) QueryFunc() rules.QueryFunc { return rules.EngineQueryFunc(e.prom, e.q) }

// Result is a query's answer; it stays valid.
type Result struct {
	Value    parser.Value // promql.Vector, Matrix, Scalar or String
	Warnings []string
	Infos    []string
}

// Instant evaluates at one time.
func (e *Engine) Instant(ctx context.Context, expr string, at time.Time) (Result, error) {
	if err := checkText(expr); err != nil {
		return Result{}, err
	}
	return e.run(ctx, expr, func(ctx context.Context) (promql.Query, error) {
		return e.prom.NewInstantQuery(ctx, e.q, nil, expr, at)
	})
}

// Range evaluates at start, start+step, … up to end.
func (e *Engine) Range(ctx context.Context, expr string, r Span) (Result, error) {
	if err := errors.Join(r.check(), checkText(expr)); err != nil {
		return Result{}, err
	}
	return e.run(ctx, expr, func(ctx context.Context) (promql.Query, error) {
		return e.prom.NewRangeQuery(ctx, e.q, nil, expr, r.Start, r.End, r.Step)
	})
}

// Span is the time that a range query covers, in at most 11,000 steps.
type Span struct {
	Start, End time.Time
	Step       time.Duration
}

func (s Span) check() error {
	switch {
	case s.Step < time.Millisecond:
		return fmt.Errorf("%w: step %s is under a millisecond", ErrBad, s.Step)
	case s.End.Before(s.Start):
		return fmt.Errorf("%w: end is before start", ErrBad)
	case s.End.Sub(s.Start)/s.Step >= maxPoints:
		return fmt.Errorf("%w: more than %d points per series: use a longer step", ErrBad, maxPoints)
	}
	return nil
}

// run waits for a turn, evaluates, and copies the answer out of the engine's pooled memory.
func (e *Engine) run(ctx context.Context, expr string, open func(context.Context) (promql.Query, error)) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	turn, err := e.lanes.take(ctx)
	if err != nil {
		e.metrics.queueTimeouts.Inc()
		return Result{}, fmt.Errorf("wait for a turn to query: %w", err)
	}
	defer turn.leave()
	ctx = context.WithValue(ctx, turnKey{}, turn)
	q, err := open(ctx)
	if err != nil {
		return Result{}, fmt.Errorf("%w: %w", ErrBad, err)
	}
	defer q.Close()
	if err := e.check(q); err != nil {
		return Result{}, err
	}
	res := q.Exec(ctx)
	if res.Err != nil {
		return Result{}, res.Err
	}
	out := Result{Value: keep(res.Value)}
	out.Warnings, out.Infos = res.Warnings.AsStrings(expr, 10, 10)
	return out, nil
}

// keep copies what q.Close would give back to the engine.
func keep(v parser.Value) parser.Value {
	m, ok := v.(promql.Matrix)
	if !ok {
		return v
	}
	out := make(promql.Matrix, len(m))
	for i, s := range m {
		out[i] = s
		out[i].Floats = append([]promql.FPoint(nil), s.Floats...)
		out[i].Histograms = append([]promql.HPoint(nil), s.Histograms...)
	}
	return out
}

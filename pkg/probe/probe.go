// Package probe asks services whether they work: one attempt on time, two more at once when it is not ok.
package probe

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/flow"
	"xunjian/pkg/metric"
)

// Kind is one way to ask.
type Kind struct {
	New    func(check.Spec, Env) (Asker, error) // compiles once what each attempt would compile again
	Series func(check.Spec) []metric.Series     // of its own, which an attempt's Values belong to; nil for none
	Steps  func(check.Spec) []string            // names of an attempt's steps; nil for none
	InTurn bool                                 // never asked twice at a time: it writes, or spends
}

// Kinds lists what can be asked; one more kind is one file and one line here.
var Kinds = map[string]Kind{
	"cmpp":       {New: newCMPP, Series: smsSeries, Steps: smsSteps, InTurn: true},
	"dns":        {New: newDNS, Series: dnsSeries},
	"flow":       {New: newFlow, Steps: flowSteps, InTurn: true},
	"grpc":       {New: newGRPC, Series: grpcSeries},
	"http":       {New: newHTTP, Series: httpSeries},
	"icmp":       {New: newICMP, Series: icmpSeries},
	"onlyoffice": {New: newDocument, Steps: documentSteps, InTurn: true},
	"seal":       {New: newSeal, Series: sealSeries, Steps: flowSteps, InTurn: true},
	"smpp":       {New: newSMPP, Series: smsSeries, Steps: smsSteps, InTurn: true},
	"tcp":        {New: newTCP, Series: netSeries},
	"tlcp":       {New: newTLCP, Series: tlcpSeries},
	"wopi":       {New: newDocument, Steps: documentSteps, InTurn: true},
	"wps":        {New: newDocument, Steps: documentSteps, InTurn: true},
	"tls":        {New: newTLS, Series: netSeries},
}

// Asker makes attempts at one target; safe for concurrent use.
type Asker interface {
	// Ask ends when ctx does. Fresh forbids a kept connection. It leaves Start and Slow to its caller, and
	// Duration unless the attempt was over before it had tidied up.
	Ask(ctx context.Context, fresh bool) check.Attempt
	// Close gives back a kept connection.
	Close() error
}

// Resolver looks names up; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Env is what askers reach the world through.
type Env struct {
	Dial      func(ctx context.Context, network, addr string) (net.Conn, error) // addr is always an IP address and a port
	Resolver  Resolver
	FullEvery time.Duration                   // a kept connection is used no longer than this
	Secret    func(check.Ref) (string, error) // reads a secret on this host
	State     string                          // folder in which kinds keep what a restart must not forget; empty: nothing is kept
	Trace     func(flow.Event)                // told of each step of a flow; nil for none
}

// Options are a prober's surroundings; the zero value is the real world.
type Options struct {
	Dial      func(ctx context.Context, network, addr string) (net.Conn, error)
	Resolver  Resolver
	Logger    *slog.Logger
	FullEvery time.Duration    // pace of full connections (name, connect, TLS) while all is well; default 60 s
	Secrets   string           // folder of the secrets that checks refer to by file; empty: none may
	State     string           // folder in which checks keep what a restart must not forget; empty: nothing is kept
	Trace     func(flow.Event) // told of each step of a flow, masked; nil for none
}

// Prober runs one check, round by round.
type Prober struct {
	spec   check.Spec
	asker  Asker
	logger *slog.Logger
	schema schema
	target string // without secrets
	again  int    // how often a round asks again
	inTurn bool
	sound  atomic.Bool // the last scheduled attempt was ok; after any other the connection is made anew
}

// New compiles the check. On error, Refused makes the prober that reports it.
func New(spec check.Spec, o Options) (*Prober, error) {
	spec = spec.WithDefaults()
	kind, ok := Kinds[spec.Kind]
	if !ok {
		return nil, fmt.Errorf("check %s: this agent knows no kind %q", spec.Name, spec.Kind)
	}
	asker, err := kind.New(spec, o.env())
	if err != nil {
		return nil, fmt.Errorf("check %s: %w", spec.Name, err)
	}
	return newProber(spec, asker, o), nil
}

// Refused is a prober whose every round is Unknown for the reason given: a check that cannot run is a gap, never silence.
func Refused(spec check.Spec, reason error) *Prober {
	return newProber(spec.WithDefaults(), refusal{reason}, Options{})
}

func newProber(spec check.Spec, asker Asker, o Options) *Prober {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Prober{
		spec:   spec,
		asker:  asker,
		logger: o.Logger.With("check", spec.Name),
		schema: newSchema(spec),
		target: maskTarget(spec.Target),
		again:  again(spec),
		inTurn: Kinds[spec.Kind].InTurn,
	}
}

func again(spec check.Spec) int {
	if spec.Again == nil {
		return check.DefaultAgain
	}
	return *spec.Again
}

func (o Options) env() Env {
	e := Env{Dial: o.Dial, Resolver: o.Resolver, FullEvery: o.FullEvery, Secret: secretsIn(o.Secrets), State: o.State, Trace: o.Trace}
	if e.Dial == nil {
		e.Dial = plainDialer.DialContext
	}
	if e.Resolver == nil {
		e.Resolver = net.DefaultResolver
	}
	if e.FullEvery == 0 {
		e.FullEvery = time.Minute
	}
	return e
}

// Run makes one round and blocks until its verdict; at is the planned tick. Samples keep their order and number from round
// to round, NaN for what this one lacks.
func (p *Prober) Run(ctx context.Context, at time.Time) (check.Result, []metric.Sample) {
	return p.RunAtMost(ctx, at, p.again+1)
}

// RunAtMost is Run with at most so many attempts, at least one: what is left of a budget.
func (p *Prober) RunAtMost(ctx context.Context, at time.Time, attempts int) (check.Result, []metric.Sample) {
	r := p.result(at, p.round(ctx, min(p.again, max(attempts-1, 0)))...)
	return r, p.schema.samples(r)
}

func (p *Prober) result(at time.Time, attempts ...check.Attempt) check.Result {
	r := check.Result{Check: p.spec.Name, Service: p.spec.Service, Target: p.target, At: at, Attempts: attempts}
	if p.again != check.DefaultAgain {
		r.Again = p.again
	}
	return r
}

// Skip is the round that was not made since the day's budget is spent, in the words given: a gap that is told.
func (p *Prober) Skip(at time.Time, reason error) (check.Result, []metric.Sample) {
	a := setup(reason)
	a.Start, a.Class, a.Reason = at, check.ClassBudget, clip(a.Reason)
	r := p.result(at, a)
	return r, p.schema.samples(r)
}

// Blind are the samples of a round that said nothing of its target, for this host reaches nothing: those of one that could not
// run, so that no figure takes it for an outage.
func (p *Prober) Blind(r check.Result) []metric.Sample {
	seen := r.Attempts
	r.Attempts = make([]check.Attempt, len(seen))
	for i, a := range seen {
		r.Attempts[i] = check.Attempt{Start: a.Start, Duration: a.Duration, Outcome: check.Unknown}
	}
	return p.schema.samples(r)
}

// Attempts is how many attempts a round makes at most.
func (p *Prober) Attempts() int { return p.again + 1 }

// Close gives back what the prober keeps between rounds.
func (p *Prober) Close() error { return p.asker.Close() }

// Spec is the check, defaults filled in.
func (p *Prober) Spec() check.Spec { return p.spec }

// attempt asks once and grades the answer by the time it took.
func (p *Prober) attempt(ctx context.Context, fresh bool) check.Attempt {
	a := p.guarded(ctx, p.spec.Timeout, func(ctx context.Context) check.Attempt { return p.asker.Ask(ctx, fresh) })
	if a.Outcome == check.OK && a.Duration > p.spec.Slow {
		a.Outcome = check.Slow
		a.Reason = fmt.Sprintf("answered after %v, slow from %v", round(a.Duration), p.spec.Slow)
	}
	return a
}

// guarded times what a kind does and ends it in time. A panic in a kind costs that attempt, not the agent.
func (p *Prober) guarded(ctx context.Context, timeout time.Duration, ask func(context.Context) check.Attempt) (a check.Attempt) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			p.logger.Error("probe panicked", "panic", v, "stack", string(debug.Stack()))
			a = setup(fmt.Errorf("the probe itself broke: %v", v))
		}
		if a.Start = start; a.Duration == 0 {
			a.Duration = time.Since(start)
		}
		a.Reason = clip(a.Reason)
		for i := range a.Steps {
			a.Steps[i].Reason = clip(a.Steps[i].Reason)
		}
		for i := range a.Findings {
			a.Findings[i].Reason = clip(a.Findings[i].Reason)
		}
	}()
	return ask(ctx)
}

type refusal struct{ reason error }

func (r refusal) Ask(context.Context, bool) check.Attempt { return setup(r.reason) }
func (r refusal) Close() error                            { return nil }

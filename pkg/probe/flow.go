package probe

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"sync"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/flow"
)

// sweepEvery is the pace at which a flow removes what runs that were cut off left behind.
const sweepEvery = 24 * time.Hour

// flowAsker runs a flow. Kinds that are made of a flow put it into the spec and use this asker.
type flowAsker struct {
	spec    check.Spec
	env     Env
	program *flow.Program
	tls     *tls.Config
	account *account
	after   func(*flow.Run) // looks at what came of a run that is over; nil for none
	memory  *smsMemory      // of the messages that its steps send; nil where none does

	mu    sync.Mutex
	swept time.Time
}

// controlled is a flow that can show that it tells bad from good.
type controlled struct{ *flowAsker }

func newFlow(spec check.Spec, env Env) (Asker, error) {
	f, err := newFlowAsker(spec, env)
	if err != nil {
		return nil, err
	}
	return f.asker(), nil
}

// asker has a negative control only where the flow has one.
func (f *flowAsker) asker() Asker {
	if f.program.HasControl() {
		return controlled{f}
	}
	return f
}

func newFlowAsker(spec check.Spec, env Env) (*flowAsker, error) {
	if spec.Flow == nil {
		return nil, fmt.Errorf("check %s has no flow", spec.Name)
	}
	u, err := url.Parse(spec.Target)
	if err != nil || u.Hostname() == "" {
		return nil, fmt.Errorf("target %s: not an http or https URL", maskTarget(spec.Target))
	}
	program, err := flow.Compile(spec.Flow, flow.Options{Target: spec.Target, Secrets: slices.Collect(maps.Keys(spec.Secrets))})
	if err != nil {
		return nil, err
	}
	config, err := clientTLS(spec, u.Hostname()) // also for http targets: a redirect may lead to https
	if err != nil {
		return nil, err
	}
	config.NextProtos = []string{"http/1.1"}
	text, err := json.Marshal(spec.Flow)
	if err != nil {
		return nil, fmt.Errorf("encode flow: %w", err)
	}
	f := &flowAsker{spec: spec, env: env, program: program, tls: config, account: openAccount(spec, env.State, text)}
	if slices.ContainsFunc(spec.Flow.Steps, func(s check.FlowStep) bool { return s.Message != "" }) {
		f.memory = &smsMemory{}
		f.memory.recall(env.State, spec.Name, spec.Kind+" "+spec.Target)
	}
	return f, nil
}

func flowSteps(spec check.Spec) []string { return flow.StepNames(spec.Flow) }

// Ask runs the flow once, unless its account is in danger of being locked.
func (f *flowAsker) Ask(ctx context.Context, _ bool) check.Attempt {
	return f.run(ctx, f.program.Run, f.sweepDue())
}

// Control runs it with what must be refused.
func (c controlled) Control(ctx context.Context) check.Attempt {
	return c.run(ctx, c.program.Control, false)
}

func (f *flowAsker) run(ctx context.Context, run func(context.Context, flow.Call) flow.Run, sweep bool) check.Attempt {
	secrets, err := f.secrets()
	if err != nil {
		return setup(err)
	}
	if a, locked := f.account.locked(secrets, time.Now()); locked {
		return a
	}
	b := newBrowser(f.spec, f.env, f.tls)
	defer b.close()
	call := flow.Call{Doer: b, Secrets: secrets, Sweep: sweep, Trace: f.env.Trace}
	if f.memory != nil {
		call.Weigh = f.memory.weigh
	}
	r := run(ctx, call)
	if r.Swept { // else the next run looks again: what failed may have left something behind, too
		f.mu.Lock()
		f.swept = time.Now()
		f.mu.Unlock()
	}
	f.account.learn(&r, secrets, time.Now())
	if b.last != nil {
		b.last.tell(&r.Attempt, f.spec.TLS.Expiry.WithDefaults())
	}
	if f.after != nil {
		f.after(&r)
	}
	return r.Attempt
}

// secrets are read anew for each run, so that a changed file is used.
func (f *flowAsker) secrets() (map[string]string, error) {
	out := make(map[string]string, len(f.spec.Secrets))
	for name, ref := range f.spec.Secrets {
		v, err := f.env.Secret(ref)
		if err != nil {
			return nil, err
		}
		if v == "" {
			return nil, fmt.Errorf("secret %s is empty on this host", name)
		}
		out[name] = v
	}
	return out, nil
}

func (f *flowAsker) sweepDue() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Since(f.swept) >= sweepEvery
}

// Close has nothing to give back: connections end with their run.
func (f *flowAsker) Close() error { return nil }

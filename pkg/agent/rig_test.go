package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/test/bufconn"

	"xunjian/pkg/check"
	"xunjian/pkg/fleet"
	"xunjian/pkg/metric"
	"xunjian/pkg/probe"
	"xunjian/pkg/store"
	"xunjian/pkg/uplink"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is the collector's end over a listener in memory, and the services that agents ask.
type rig struct {
	testing.TB
	fleet  *fleet.Registry
	plans  *plans
	inbox  *inbox
	mu     sync.Mutex
	line   *bufconn.Listener // nil while the collector is away
	server *uplink.Server
	served chan error
	dials  map[string]int // by the services' addresses
	slow   time.Duration  // until a service answers
	self   SelfCheck      // of the agents' own connectivity; well unless said otherwise
}

func newRig(t testing.TB) *rig {
	t.Helper()
	dir := t.TempDir()
	db, err := store.Open(filepath.Join(dir, "records.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{TB: t, plans: &plans{changed: make(chan struct{})}, inbox: &inbox{}, dials: map[string]int{}, self: SelfCheck{Gateway: fine, Names: fine}}
	if r.fleet, err = fleet.New(db, fleet.Options{Dir: dir, Config: fleet.Config{Names: []string{"127.0.0.1"}}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	r.up()
	return r
}

func fine(context.Context) error { return nil }

// up starts the collector's end; down ends it.
func (r *rig) up() {
	r.Helper()
	s, err := uplink.NewServer(uplink.ServerOptions{Receiver: r.inbox, Planner: r.plans, Enroller: r.fleet, Certs: func() (tls.Certificate, *x509.CertPool, error) {
		return r.fleet.Certificate()
	}})
	if err != nil {
		r.Fatal(err)
	}
	l := bufconn.Listen(1 << 16)
	r.mu.Lock()
	r.server, r.line, r.served = s, l, make(chan error, 1)
	r.mu.Unlock()
	go func() { r.served <- s.Serve(l) }()
}

func (r *rig) down() {
	r.Helper()
	r.mu.Lock()
	s, served := r.server, r.served
	r.line = nil
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	s.Stop(ctx)
	if err := <-served; err != nil {
		r.Error(err)
	}
}

func (r *rig) dial(ctx context.Context, _ string) (net.Conn, error) {
	r.mu.Lock()
	l := r.line
	r.mu.Unlock()
	if l == nil {
		return nil, errors.New("connection refused")
	}
	return l.DialContext(ctx)
}

// ask is the services' network: every address answers, after slow.
func (r *rig) ask(ctx context.Context, _, addr string) (net.Conn, error) {
	r.mu.Lock()
	r.dials[addr]++
	slow := r.slow
	r.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	here, there := net.Pipe()
	there.Close()
	return here, nil
}

func (r *rig) token(name string) string {
	r.Helper()
	text, _, err := r.fleet.CreateToken(time.Now(), fleet.TokenRequest{Agent: name, By: "tester"})
	if err != nil {
		r.Fatal(err)
	}
	return text
}

func (r *rig) options(state, token string) Options {
	c := DefaultConfig()
	c.Collector, c.Name, c.State, c.Token = "127.0.0.1:9481", "host-1", state, token
	return Options{Config: c, Version: "test", Dial: r.dial, Probe: probe.Options{Dial: r.ask}, Self: r.self}
}

// start runs an agent; stop ends it and waits.
func (r *rig) start(state, token string) (a *Agent, stop func()) {
	r.Helper()
	a, err := New(context.Background(), r.options(state, token))
	if err != nil {
		r.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	return a, func() {
		r.Helper()
		cancel()
		if err := <-done; err != nil {
			r.Error(err)
		}
	}
}

// tcp is a check of an address; every ten seconds unless said otherwise.
func tcp(name string, every time.Duration) check.Spec {
	target := "192.0.2.1:" + map[string]string{"a": "1", "b": "2", "c": "3"}[name]
	return check.Spec{Name: name, Service: "sms", Kind: "tcp", Target: target, Every: every}.WithDefaults()
}

// plans is the planner; every agent gets the same.
type plans struct {
	mu      sync.Mutex
	plan    check.Plan
	changed chan struct{}
}

func (p *plans) set(hostEvery time.Duration, checks ...check.Spec) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.plan = check.Plan{HostEvery: hostEvery, Checks: checks}
	p.plan.Stamp()
	close(p.changed)
	p.changed = make(chan struct{})
}

// in is set with the time zone of the checks' hours, and without readings of the host.
func (p *plans) in(zone string, checks ...check.Spec) {
	p.set(0)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.plan = check.Plan{Location: zone, Checks: checks}
	p.plan.Stamp()
	close(p.changed)
	p.changed = make(chan struct{})
}

// during is in with important periods.
func (p *plans) during(periods []check.Period, checks ...check.Spec) {
	p.set(0)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.plan = check.Plan{Location: "Asia/Shanghai", Periods: periods, Checks: checks}
	p.plan.Stamp()
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *plans) Plan(string) (check.Plan, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.plan, p.changed
}

// inbox is the receiver. While deaf, it takes batches and never says that they are durable.
type inbox struct {
	mu      sync.Mutex
	deaf    bool
	reports []metric.Report
	results []check.Result
}

func (i *inbox) Receive(_ context.Context, _ string, b uplink.Batch, durable func(error)) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.deaf {
		return nil
	}
	i.reports = append(i.reports, b.Reports...)
	i.results = append(i.results, b.Results...)
	durable(nil)
	return nil
}

func (i *inbox) setDeaf(deaf bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.deaf = deaf
}

// rounds are the results of a check so far, and forget begins anew.
func (i *inbox) rounds(name string) (out []check.Result) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, r := range i.results {
		if r.Check == name {
			out = append(out, r)
		}
	}
	return out
}

func (i *inbox) kind(kind string) (out []metric.Report) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, r := range i.reports {
		if r.Kind == kind {
			out = append(out, r)
		}
	}
	return out
}

func (i *inbox) forget() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.reports, i.results = nil, nil
}

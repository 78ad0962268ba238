package uplink

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
	"google.golang.org/grpc/test/bufconn"

	"xunjian/pkg/check"
	"xunjian/pkg/metric"
	"xunjian/pkg/spool"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("UPLINK_TEST_CHILD"); dir != "" {
		childAgent(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// testCA signs whatever a test wants.
type testCA struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newTestCA() *testCA {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(1000 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	return &testCA{key, must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key))))}
}

// leaf signs a certificate after a change to the usual template; pub nil makes a new key.
func (ca *testCA) leaf(pub any, usage x509.ExtKeyUsage, change func(*x509.Certificate)) tls.Certificate {
	var key *ecdsa.PrivateKey
	if pub == nil {
		key = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
		pub = key.Public()
	}
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber: must(rand.Int(rand.Reader, big.NewInt(1<<60))), NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(100 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}
	if change != nil {
		change(tmpl)
	}
	der := must(x509.CreateCertificate(rand.Reader, tmpl, ca.cert, pub, ca.key))
	return tls.Certificate{Certificate: [][]byte{der, ca.cert.Raw}, PrivateKey: key, Leaf: must(x509.ParseCertificate(der))}
}

func (ca *testCA) server() tls.Certificate { return ca.leaf(nil, x509.ExtKeyUsageServerAuth, nil) }

func (ca *testCA) source() CertSource {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	server := ca.server()
	return func() (tls.Certificate, *x509.CertPool, error) { return server, pool, nil }
}

func named(name string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.Subject.CommonName, c.URIs = name, []*url.URL{AgentURI(name)}
	}
}

// identity is an enrolled agent's.
func (ca *testCA) identity(name string) Identity {
	c := ca.leaf(nil, x509.ExtKeyUsageClientAuth, named(name))
	return must(newIdentity(must(x509.MarshalPKCS8PrivateKey(c.PrivateKey)), c.Certificate[0], [][]byte{ca.cert.Raw}))
}

// receiver is a collector's memory: what is durable in it stays, and it knows duplicates as the real one does.
type receiver struct {
	mu        sync.Mutex
	seen      map[string]metric.Report // by agent, boot and sequence
	order     []string
	results   []check.Result
	twice     int
	rounds    map[time.Time]bool // of checks that Receive was given, stored or not
	calls     int
	life      int // of the collector; what was not durable at its end is lost
	heard     []Hello
	left      []leave
	slow      time.Duration     // until durable
	busy      bool              // nothing can be stored
	seenNames map[string]int    // agents that were told to come back later
	refuse    func(Batch) error // may panic
	before    func(b Batch)     // called in Receive, may block
	wait      sync.WaitGroup    // of timers
}

func newReceiver() *receiver {
	return &receiver{seen: make(map[string]metric.Report), seenNames: make(map[string]int), rounds: make(map[time.Time]bool)}
}

func (r *receiver) Seen(agent string, _ time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seenNames[agent]++
}

func (r *receiver) Receive(ctx context.Context, agent string, b Batch, durable func(error)) error {
	r.mu.Lock()
	r.calls++
	for _, x := range b.Results {
		r.rounds[x.At] = true
	}
	refuse, before, slow, life, busy := r.refuse, r.before, r.slow, r.life, r.busy
	r.mu.Unlock()
	if busy {
		durable(fmt.Errorf("%w: %w", ErrBusy, errFull))
		return nil
	}
	b.Reports = slices.Clone(b.Reports) // the samples are the decoder's once this returns
	for i := range b.Reports {
		b.Reports[i].Samples = slices.Clone(b.Reports[i].Samples)
	}
	if before != nil {
		before(b)
	}
	if refuse != nil {
		if err := refuse(b); err != nil {
			return err
		}
	}
	if slow == 0 {
		r.keep(agent, b)
		durable(nil)
		return nil
	}
	r.wait.Add(1)
	time.AfterFunc(slow, func() {
		defer r.wait.Done()
		if r.alive(life) {
			r.keep(agent, b)
			durable(nil)
		}
	})
	return nil
}

func (r *receiver) alive(life int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.life == life
}

func (r *receiver) keep(agent string, b Batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range b.Reports {
		if x.Agent != agent {
			panic("report of " + x.Agent + " from " + agent)
		}
		key := fmt.Sprintf("%s/%x/%d", agent, x.Boot, x.Seq)
		if _, ok := r.seen[key]; ok {
			r.twice++
			continue
		}
		r.seen[key] = x
		r.order = append(r.order, key)
	}
	r.results = append(r.results, b.Results...)
}

func (r *receiver) Heard(agent string, h Hello) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard = append(r.heard, h)
}

func (r *receiver) hellos() []Hello {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.heard)
}

func (r *receiver) set(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seen)
}

func (r *receiver) judged() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.rounds)
}

func (r *receiver) reports() (out []metric.Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.order {
		out = append(out, r.seen[k])
	}
	return out
}

// rig is a collector's end that can be taken away and brought back, and agents' ends.
type rig struct {
	t      testing.TB
	ca     *testCA
	recv   *receiver
	opts   ServerOptions
	mu     sync.Mutex
	pipe   *bufconn.Listener // nil while the collector is away
	conns  []net.Conn
	server *Server
	served chan error
	log    *slog.Logger
}

func newRig(t testing.TB, change func(*ServerOptions)) *rig {
	t.Helper()
	r := &rig{t: t, ca: newTestCA(), recv: newReceiver(), log: slog.New(slog.DiscardHandler)}
	if os.Getenv("UPLINK_TEST_LOG") != "" {
		r.log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	r.opts = ServerOptions{Receiver: r.recv, Certs: r.ca.source(), Logger: r.log}
	if change != nil {
		change(&r.opts)
	}
	r.up()
	return r
}

// up brings the collector back, with all that it had stored.
func (r *rig) up() {
	s, err := NewServer(r.opts)
	if err != nil {
		r.t.Fatal(err)
	}
	pipe, served := bufconn.Listen(64<<10), make(chan error, 1)
	go func() { served <- s.Serve(pipe) }()
	r.mu.Lock()
	r.server, r.pipe, r.served = s, pipe, served
	r.mu.Unlock()
}

// down takes the collector away: at once, or after it has finished what it read.
func (r *rig) down(gently bool) {
	r.mu.Lock()
	s, served := r.server, r.served
	r.pipe, r.server = nil, nil
	r.mu.Unlock()
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	if !gently {
		r.recv.set(func() { r.recv.life++ })
		cancel()
	}
	s.Stop(ctx)
	cancel()
	if err := <-served; err != nil {
		r.t.Error(err)
	}
}

func (r *rig) dial(ctx context.Context, _ string) (net.Conn, error) {
	r.mu.Lock()
	pipe := r.pipe
	r.mu.Unlock()
	if pipe == nil {
		return nil, fmt.Errorf("connection refused")
	}
	c, err := pipe.DialContext(ctx)
	if err == nil {
		r.mu.Lock()
		r.conns = append(r.conns, c)
		r.mu.Unlock()
	}
	return c, err
}

// cut breaks all connections.
func (r *rig) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		c.Close()
	}
	r.conns = nil
}

// agent runs a client until the test stops it.
type agentRig struct {
	*Client
	stop func()
}

func (r *rig) agent(name string, change func(*ClientOptions)) *agentRig {
	r.t.Helper()
	o := ClientOptions{Address: "collector:7443", TLS: must(r.ca.identity(name).TLS()), Dial: r.dial, Logger: r.log}
	if change != nil {
		change(&o)
	}
	c, err := NewClient(o)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	return &agentRig{c, sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
	})}
}

func testSpool(t testing.TB) *spool.Queue {
	t.Helper()
	q, err := spool.Open(spool.Options{Dir: t.TempDir(), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q
}

// report is a reading of a kind with values that the number n decides.
func report(kind string, n int) metric.Report {
	r := metric.Report{Kind: kind, Every: 15 * time.Second, At: time.UnixMilli(1_800_000_000_000 + int64(n)*15000).UTC()}
	for i := range 5 {
		r.Samples = append(r.Samples, metric.Sample{Series: metric.New("m", "i", fmt.Sprint(i), "kind", kind), Value: float64(n*i) / 100})
	}
	return r
}

func host(n int) Batch { return Batch{Reports: []metric.Report{report(metric.KindHost, n)}} }

// probe is a check's report and result at one tick.
func probe(name string, n int, outcome check.Outcome) Batch {
	r := report(metric.KindProbe+name, n)
	a := check.Attempt{
		Start: r.At.Add(1234 * time.Microsecond), Duration: time.Duration(5000+n%7) * time.Microsecond, Outcome: outcome, Status: 200, Bytes: 150,
		Phases: []check.Phase{{Name: "connect", Duration: 300 * time.Microsecond}, {Name: "processing", Duration: time.Duration(4000+n%5) * time.Microsecond}},
	}
	if outcome != check.OK {
		a.Class, a.Reason, a.Status = check.ClassConnect, "connection refused", 0
	}
	return Batch{
		Reports: []metric.Report{r},
		Results: []check.Result{{Check: name, Service: "gateway", Target: "http://gateway/health", At: r.At, Attempts: []check.Attempt{a}}},
	}
}

// seqs is the sequence numbers in the order of their arrival.
func (r *receiver) seqs() (out []uint64) {
	for _, x := range r.reports() {
		out = append(out, x.Seq)
	}
	return out
}

func wantSeqs(t testing.TB, got []uint64, n int) {
	t.Helper()
	sorted := slices.Sorted(slices.Values(got))
	for i := range sorted {
		if sorted[i] != uint64(i+1) {
			t.Fatalf("sequences %v, want 1 to %d", got, n)
		}
	}
	if len(sorted) != n {
		t.Fatalf("%d reports, want %d: %v", len(sorted), n, got)
	}
}

type ctxT = context.Context

// cmpReports is empty when two reports are the same, NaN included.
func cmpReports(want, got metric.Report) string {
	return cmp.Diff(want, got, cmpopts.EquateNaNs(), cmpopts.EquateEmpty())
}

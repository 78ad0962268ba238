package probe

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"xunjian/pkg/check"
)

func TestMain(m *testing.M) {
	if serveForBenchmarks() {
		return
	}
	goleak.VerifyTestMain(m)
}

// The margin that a verdict may take beyond the timeout.
const margin = 500 * time.Millisecond

// ample is time enough for anything on loopback, however busy the machine is.
const ample = 20 * time.Second

// patient is a check of a loopback server that is never slow.
func patient(target string) check.Spec {
	return check.Spec{Name: "test", Service: "svc", Kind: "http", Target: target, Every: 10 * time.Second, Timeout: ample, Slow: ample}
}

func patientTCP(target string, tcp check.TCP) check.Spec {
	spec := patient(target)
	spec.Kind, spec.TCP = "tcp", tcp
	return spec
}

func newTestProber(t testing.TB, spec check.Spec, o Options) *Prober {
	t.Helper()
	p, err := New(spec, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// ask makes one attempt on a fresh connection.
func ask(t testing.TB, spec check.Spec) check.Attempt {
	t.Helper()
	return newTestProber(t, spec, Options{}).attempt(t.Context(), true)
}

func wantAttempt(t testing.TB, a check.Attempt, outcome check.Outcome, class check.Class, reason string) {
	t.Helper()
	if a.Outcome != outcome || a.Class != class || !strings.Contains(a.Reason, reason) {
		t.Errorf("%s %q %q, want %s %q and …%s…", a.Outcome, a.Class, a.Reason, outcome, class, reason)
	}
	if len(a.Reason) > maxReason {
		t.Errorf("a reason of %d bytes", len(a.Reason))
	}
}

// rawServer hands each connection to serve and waits for all of them at the end.
func rawServer(t testing.TB, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[conn] = true
			mu.Unlock()
			wg.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for conn := range open {
			conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}

// readRequest takes a request off the connection.
func readRequest(conn net.Conn) {
	req, err := http.ReadRequest(bufio.NewReader(conn))
	if err == nil {
		req.Body.Close()
	}
}

// closedPort is an address at which nobody listens.
func closedPort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// testCA issues certificates for 127.0.0.1.
type testCA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newTestCA(t testing.TB) *testCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(240 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return &testCA{c, key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
}

func (ca *testCA) issue(t testing.TB, until time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"svc.example"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, ca.cert, &key.PublicKey, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestNewRefusesWhatItCannotRun(t *testing.T) {
	tests := map[string]func(*check.Spec){
		"unknown kind": func(s *check.Spec) { s.Kind = "gopher" },
		"bad CA":       func(s *check.Spec) { s.TLS.CA = "none" },
		"bad URL":      func(s *check.Spec) { s.Target = "https://u:geheim@h/%zz" },
		"bad regexp":   func(s *check.Spec) { s.HTTP.Expect = []check.Expect{{Body: true, Match: "("}} },
		"bad refusal":  func(s *check.Spec) { s.HTTP.Expect = []check.Expect{{Body: true, Refuse: "("}} },
		"bad method":   func(s *check.Spec) { s.HTTP.Method = "G T" },
		"tcp target":   func(s *check.Spec) { s.Kind = "tcp" },
		"tcp regexp":   func(s *check.Spec) { s.Kind, s.Target, s.TCP.Expect = "tcp", "h:1", "(" },
		"tcp CA":       func(s *check.Spec) { s.Kind, s.Target, s.TCP.TLS, s.TLS.CA = "tcp", "h:1", true, "none" },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			spec := patient("https://127.0.0.1/")
			spoil(&spec)
			p, err := New(spec, Options{})
			if err == nil {
				p.Close()
				t.Fatal("compiled")
			}
			if strings.Contains(err.Error(), "geheim") {
				t.Errorf("the error tells the password: %v", err)
			}
			r, samples := Refused(spec, err).Run(t.Context(), time.Now())
			if len(r.Attempts) != 1 {
				t.Errorf("%d attempts of a check that cannot run", len(r.Attempts))
			}
			wantAttempt(t, r.First(), check.Unknown, check.ClassSetup, "check test")
			if v := value(t, samples, "probe_success", ""); v == v {
				t.Errorf("probe_success %v, want NaN: neither up nor down", v)
			}
		})
	}
}

func TestKindsAreTheOnesThatChecksMayName(t *testing.T) {
	for _, k := range check.Kinds() {
		if Kinds[k].New == nil {
			t.Errorf("check names kind %s, probe does not have it", k)
		}
	}
	if len(Kinds) != len(check.Kinds()) {
		t.Errorf("probe has %d kinds, check names %v", len(Kinds), check.Kinds())
	}
}

// askerFunc is an asker for what no real one does.
type askerFunc func(ctx context.Context, fresh bool) check.Attempt

func (f askerFunc) Ask(ctx context.Context, fresh bool) check.Attempt { return f(ctx, fresh) }
func (f askerFunc) Close() error                                      { return nil }

func TestPanicCostsOneAttempt(t *testing.T) {
	p := newProber(patient("http://h/"), askerFunc(func(context.Context, bool) check.Attempt { panic("nil map") }), Options{})
	r, _ := p.Run(t.Context(), time.Now())
	if len(r.Attempts) != 1 {
		t.Errorf("%d attempts", len(r.Attempts))
	}
	wantAttempt(t, r.First(), check.Unknown, check.ClassSetup, "nil map")
}

func TestShutdownIsNoFailure(t *testing.T) {
	addr := rawServer(t, func(conn net.Conn) { readRequest(conn); conn.Read(make([]byte, 1)) })
	for name, spec := range map[string]check.Spec{
		"http": patient("http://" + addr),
		"tcp":  patientTCP(addr, check.TCP{Expect: "x"}),
	} {
		t.Run(name, func(t *testing.T) {
			p := newTestProber(t, spec, Options{})
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(50*time.Millisecond, func() { cancel(errors.New("agent stops")) })
			r, _ := p.Run(ctx, time.Now())
			wantAttempt(t, r.First(), check.Unknown, check.ClassSetup, "called off")
			if len(r.Attempts) != 1 {
				t.Errorf("%d attempts", len(r.Attempts))
			}
		})
	}
}

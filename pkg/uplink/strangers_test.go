package uplink

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "xunjian/proto/uplink/v1"
)

func TestRevokedAgentIsCut(t *testing.T) {
	known := &roll{}
	bubble(t, func(o *ServerOptions) { o.Enroller = known }, func(t *testing.T, r *rig) {
		c := r.greeted(t, "srv-1", 1, "")
		known.set(errors.New("revoked"))
		start := time.Now()
		if _, _, err := c.end(); status.Code(err) != codes.PermissionDenied || time.Since(start) > time.Minute {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		x := r.caller(t, must(r.ca.identity("srv-1").TLS()))
		if _, _, err := x.end(); status.Code(err) != codes.PermissionDenied {
			t.Errorf("a revoked agent comes back: %v", err)
		}
		if n := r.server.Stats().Rejected["unknown_agent"]; n != 2 {
			t.Errorf("%d counted", n)
		}
	})
}

type roll struct {
	mu      sync.Mutex
	unknown error
	enroll  func(token string, csr []byte) ([]byte, []byte, error)
}

func (r *roll) set(err error) { r.mu.Lock(); r.unknown = err; r.mu.Unlock() }

func (r *roll) Known(agent, serial string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.unknown
}

func (r *roll) Enroll(_ context.Context, token string, csr []byte, addr string) (cert, chain []byte, err error) {
	return r.enroll(token, csr)
}

func TestExpiryEndsALiveStream(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		cert := r.ca.leaf(nil, x509.ExtKeyUsageClientAuth, func(c *x509.Certificate) {
			named("srv-1")(c)
			c.NotAfter = time.Now().Add(10 * time.Minute)
		})
		c := r.caller(t, clientTLS(r.ca, cert))
		c.hello(1, "")
		start := time.Now()
		if _, _, err := c.end(); status.Code(err) != codes.Unauthenticated || time.Since(start) < 10*time.Minute || time.Since(start) > 11*time.Minute {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

func clientTLS(ca *testCA, certs ...tls.Certificate) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: certs, InsecureSkipVerify: true, VerifyConnection: verifyCollector(pool)}
}

func TestStrangers(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		other := newTestCA()
		client := x509.ExtKeyUsageClientAuth
		with := func(ca *testCA, usage x509.ExtKeyUsage, change func(*x509.Certificate)) []tls.Certificate {
			return []tls.Certificate{ca.leaf(nil, usage, func(c *x509.Certificate) { named("srv-1")(c); change(c) })}
		}
		nothing := func(*x509.Certificate) {}
		for name, c := range map[string]struct {
			certs   []tls.Certificate
			counter string
		}{
			"none":          {nil, "no_identity"},
			"unknown CA":    {with(other, client, nothing), "unknown_ca"},
			"expired":       {with(r.ca, client, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }), "expired"},
			"not yet valid": {with(r.ca, client, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }), "expired"},
			"wrong usage":   {with(r.ca, x509.ExtKeyUsageServerAuth, nothing), "wrong_usage"},
			"no name":       {with(r.ca, client, func(c *x509.Certificate) { c.URIs = nil }), "no_identity"},
			"other name":    {with(r.ca, client, func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "spiffe", Host: "x"}} }), "no_identity"},
			"bad name":      {with(r.ca, client, func(c *x509.Certificate) { c.URIs = []*url.URL{AgentURI("a/../b")} }), "no_identity"},
		} {
			before := r.server.Stats()
			x := r.refusedCaller(t, clientTLS(r.ca, c.certs...))
			if code := status.Code(x); code != codes.Unauthenticated && code != codes.Unavailable {
				t.Errorf("%s: %v", name, x)
			}
			time.Sleep(time.Second)
			after := r.server.Stats()
			if after.Handshakes[c.counter]+after.Rejected[c.counter] != before.Handshakes[c.counter]+before.Rejected[c.counter]+1 {
				t.Errorf("%s: not counted as %s: %v %v", name, c.counter, after.Handshakes, after.Rejected)
			}
			if after.Opened != 0 {
				t.Errorf("%s: got in", name)
			}
		}
		if n := r.server.Stats().Addresses["bufconn"]; n != 4 {
			t.Errorf("%d counted by address, want 4", n)
		}
	})
}

func (r *rig) refusedCaller(t *testing.T, config *tls.Config) error {
	conn, err := newConn("collector:7443", credentials.NewTLS(config), r.dial)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stream, err := pb.NewUplinkClient(conn).Stream(t.Context())
	if err != nil {
		return err
	}
	stream.Send(&pb.Up{Body: &pb.Up_Hello{Hello: &pb.Hello{Protocol: protocol, Boot: 1}}})
	_, err = stream.Recv()
	return err
}

func TestAgentKnowsItsCollector(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		for name, ca := range map[string]*testCA{"other CA": newTestCA()} {
			a := r.agent("srv-1", func(o *ClientOptions) { o.TLS = must(ca.identity("srv-1").TLS()) })
			time.Sleep(10 * time.Second)
			if st := a.Stats(); st.Connected || !strings.Contains(st.LastError, "certificate") {
				t.Errorf("%s: %+v", name, st)
			}
			a.stop()
		}
		r.down(true)
		r.opts.Certs = func() (tls.Certificate, *x509.CertPool, error) { // an agent that plays the collector
			_, pool, _ := r.ca.source()()
			return r.ca.leaf(nil, x509.ExtKeyUsageClientAuth, named("srv-9")), pool, nil
		}
		r.up()
		a := r.agent("srv-1", nil)
		defer a.stop()
		time.Sleep(10 * time.Second)
		if st := a.Stats(); st.Connected || !strings.Contains(st.LastError, "usage") {
			t.Errorf("agent as collector: %+v", st)
		}
	})
}

func TestCrowd(t *testing.T) {
	bubble(t, func(o *ServerOptions) { o.AdmitRate = 5 }, func(t *testing.T, r *rig) {
		const n = 100
		var agents []*agentRig
		for i := range n {
			agents = append(agents, r.agent(fmt.Sprint("srv-", i), nil))
		}
		in := make(map[int]int)
		start := time.Now()
		for r.server.Stats().Streams < n && time.Since(start) < 5*time.Minute {
			time.Sleep(time.Second)
			in[int(time.Since(start).Seconds())] = r.server.Stats().Streams
		}
		took := time.Since(start)
		if took > 2*time.Minute || took < 15*time.Second {
			t.Errorf("all in after %v: %v", took, in)
		}
		for s := 1; s < len(in); s++ {
			if in[s+1]-in[s] > 10 {
				t.Errorf("%d let in during second %d", in[s+1]-in[s], s)
			}
		}
		if st := r.server.Stats(); st.Rejected["overload"] == 0 {
			t.Errorf("%+v", st)
		}
		for _, a := range agents {
			a.stop()
		}
	})
}

func TestTooManyStreams(t *testing.T) {
	bubble(t, func(o *ServerOptions) { o.MaxStreams = 2 }, func(t *testing.T, r *rig) {
		a, b := r.greeted(t, "srv-1", 1, ""), r.greeted(t, "srv-2", 1, "")
		if err := r.refusedCaller(t, must(r.ca.identity("srv-3").TLS())); status.Code(err) != codes.ResourceExhausted {
			t.Errorf("a third agent: %v", err)
		}
		c := r.greeted(t, "srv-1", 2, "") // who is in may come again
		for _, x := range []*caller{a, b, c} {
			x.conn.Close()
		}
	})
}

func TestTooManyConnections(t *testing.T) {
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	var away []string
	b := &boundedListener{Listener: l, most: 2, turnedAway: func(addr string) { away = append(away, addr) }}
	dial := func() net.Conn { return must(net.Dial("tcp", l.Addr().String())) }
	accepted := make(chan net.Conn, 5)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := b.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	conns := []net.Conn{dial(), dial(), dial()}
	first, second := <-accepted, <-accepted
	if _, err := conns[2].Read(make([]byte, 1)); err == nil {
		t.Error("a third connection is served")
	}
	first.Close()
	first.Close() // twice is once
	conns = append(conns, dial())
	third := <-accepted
	conns = append(conns, dial())
	if _, err := conns[4].Read(make([]byte, 1)); err == nil {
		t.Error("a third connection is served after one ended")
	}
	second.Close()
	third.Close()
	for _, c := range conns {
		c.Close()
	}
	l.Close()
	<-done
	if len(away) != 2 {
		t.Errorf("turned away %v", away)
	}
}

func TestCountsAreBounded(t *testing.T) {
	c := newCounts(3)
	for i := range 10 {
		c.add(fmt.Sprint(i))
	}
	c.add("1")
	if got := c.snapshot(); len(got) != 4 || got["1"] != 2 || got[others] != 7 {
		t.Errorf("%v", got)
	}
}

func enrollWord(t *testing.T, conn *grpc.ClientConn, wall time.Time) string {
	t.Helper()
	csr := must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "srv-1"}}, newTestCA().key))
	var trailer metadata.MD
	_, err := pb.NewUplinkClient(conn).Enroll(t.Context(), &pb.EnrollRequest{Csr: csr, WallMs: wall.UnixMilli()}, grpc.Trailer(&trailer))
	if err == nil {
		return ""
	}
	return strings.Join(trailer.Get(reasonKey), " ")
}

// TestUnwelcomeComesSeldom: an agent that was removed does not hammer, and is let in soon after it is known again.
func TestUnwelcomeComesSeldom(t *testing.T) {
	known := &roll{unknown: errors.New("removed")}
	bubble(t, func(o *ServerOptions) { o.Enroller = known }, func(t *testing.T, r *rig) {
		dials := make(chan time.Time, 1000)
		a := r.agent("srv-1", func(o *ClientOptions) {
			o.Dial = func(ctx ctxT, addr string) (net.Conn, error) {
				dials <- time.Now()
				return r.dial(ctx, addr)
			}
		})
		defer a.stop()
		time.Sleep(time.Hour)
		last := <-dials
		for len(dials) > 0 {
			next := <-dials
			if gap := next.Sub(last); gap < retryCap/2 || gap > retryCap+time.Second {
				t.Errorf("came back after %v", gap)
			}
			last = next
		}
		if st := a.Stats(); st.Connected || st.Reconnects < 100 || !strings.Contains(st.LastError, "removed") {
			t.Errorf("%+v", st)
		}
		known.set(nil)
		time.Sleep(time.Minute)
		if !a.Stats().Connected {
			t.Error("not back after a minute")
		}
	})
}

package probe

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"xunjian/pkg/check"
)

// healthServer is gRPC's own, with services in every state; without a name it serves.
func healthServer(t testing.TB, config *tls.Config, register bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	options := []grpc.ServerOption{grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		if v := md.Get("want"); len(v) > 0 && v[0] == "sleep" {
			<-ctx.Done()
		}
		return next(ctx, req)
	})}
	if config != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(config)))
	}
	s := grpc.NewServer(options...)
	if register {
		h := health.NewServer()
		h.SetServingStatus("up", healthv1.HealthCheckResponse_SERVING)
		h.SetServingStatus("down", healthv1.HealthCheckResponse_NOT_SERVING)
		healthv1.RegisterHealthServer(s, h)
	}
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return l.Addr().String()
}

func patientGRPC(target string, g check.GRPC) check.Spec {
	spec := patient(target)
	spec.Kind, spec.GRPC = "grpc", g
	return spec
}

func TestGRPCVerdicts(t *testing.T) {
	addr := healthServer(t, nil, true)
	tests := map[string]struct {
		target  string
		grpc    check.GRPC
		outcome check.Outcome
		class   check.Class
		reason  string
		code    float64
		status  int // index of the status that is 1, -1 for none
	}{
		"the server":        {addr, check.GRPC{}, check.OK, "", "", 0, 1},
		"serves":            {addr, check.GRPC{Service: "up"}, check.OK, "", "", 0, 1},
		"does not serve":    {addr, check.GRPC{Service: "down"}, check.Fail, check.ClassContent, "health is NOT_SERVING", 0, 2},
		"unknown service":   {addr, check.GRPC{Service: strings.Repeat("x", 300)}, check.Fail, check.ClassStatus, "gRPC status 5", 5, -1},
		"no health":         {healthServer(t, nil, false), check.GRPC{}, check.Fail, check.ClassStatus, "gRPC status 12", 12, -1},
		"does not answer":   {addr, check.GRPC{Metadata: map[string]string{"want": "sleep"}}, check.Fail, check.ClassTimeout, "no answer in time", 14, -1},
		"wants TLS":         {healthServer(t, &tls.Config{Certificates: []tls.Certificate{newTestCA(t).issue(t, time.Now().Add(time.Hour))}}, true), check.GRPC{}, check.Fail, "", "", 14, -1},
		"does not speak it": {rawServer(t, func(c net.Conn) { readRequest(c); io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }), check.GRPC{}, check.Fail, "", "ask for health", 14, -1},
		"nobody":            {closedPort(t), check.GRPC{}, check.Fail, check.ClassConnect, "refused", 2, -1},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			spec := patientGRPC(tc.target, tc.grpc)
			if tc.class == check.ClassTimeout {
				spec = hasty(spec)
			}
			a := ask(t, spec)
			if tc.class == "" && tc.outcome == check.Fail {
				tc.class = a.Class
			}
			wantAttempt(t, a, tc.outcome, tc.class, tc.reason)
			if a.Values[1] != tc.code {
				t.Errorf("status code %v, want %v", a.Values[1], tc.code)
			}
			for i, v := range a.Values[2:6] {
				if (v == 1) != (i == tc.status) {
					t.Errorf("%s is %v", servingStatus[i], v)
				}
			}
		})
	}
}

func TestGRPCOverTLS(t *testing.T) {
	ca := newTestCA(t)
	addr := healthServer(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, time.Now().Add(90*24*time.Hour))}}, true)
	spec := patientGRPC(addr, check.GRPC{Service: "up", TLS: true})
	spec.TLS.CA = ca.pem
	a := ask(t, spec)
	wantAttempt(t, a, check.OK, "", "")
	if len(a.Findings) != 1 || a.Findings[0].Level != "" || a.CertExpiry.IsZero() {
		t.Errorf("findings %+v, want one that tells that all is well", a.Findings)
	}
}

// HTTP/2 servers that are bad in their own way.
func TestHostileHTTP2(t *testing.T) {
	framed := func(serve func(c net.Conn, f *http2.Framer)) func(net.Conn) {
		return func(c net.Conn) {
			io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
			f := http2.NewFramer(c, c)
			f.WriteSettings()
			go io.Copy(io.Discard, c)
			serve(c, f)
		}
	}
	tests := map[string]struct {
		serve func(net.Conn)
		hangs bool
	}{
		"hangs":   {hang, true},
		"resets":  {reset, false},
		"garbage": {func(c net.Conn) { drip(c, strings.Repeat("x", 4096), 0) }, false},
		"drips":   {func(c net.Conn) { drip(c, "\x00", 10*time.Millisecond) }, true},
		"settings forever": {framed(func(_ net.Conn, f *http2.Framer) {
			endlessly(func() error { return f.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 20}) })
		}), false},
		"pings forever": {framed(func(_ net.Conn, f *http2.Framer) { endlessly(func() error { return f.WritePing(false, [8]byte{}) }) }), false},
		"headers forever": {framed(func(_ net.Conn, f *http2.Framer) {
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x88}})
			endlessly(func() error { return f.WriteContinuation(1, false, []byte(strings.Repeat("\x40\x01a\x01b", 1000))) })
		}), false},
		"body forever": {framed(func(_ net.Conn, f *http2.Framer) {
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x88}, EndHeaders: true})
			endlessly(func() error { return f.WriteData(1, false, make([]byte, 1000)) })
		}), false},
		"goes away": {framed(func(_ net.Conn, f *http2.Framer) { f.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, nil) }), false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			spec := patientGRPC(rawServer(t, tc.serve), check.GRPC{})
			if tc.hangs {
				spec = hasty(spec)
			}
			var eaten appetite
			p := newTestProber(t, spec, Options{Dial: eaten.dial})
			before, start := allocated(), time.Now()
			a := p.attempt(t.Context(), true)
			if n := eaten.read.Load(); n > 1<<20 {
				t.Errorf("read %d bytes", n)
			}
			if took := time.Since(start); took > spec.Timeout+margin {
				t.Errorf("verdict after %v", took)
			}
			if got := allocated() - before; got > 16<<20 {
				t.Errorf("allocated %d KiB", got>>10)
			}
			if a.Outcome != check.Fail {
				t.Errorf("%+v", a)
			}
		})
	}
}

func endlessly(do func() error) {
	for do() == nil {
	}
}

func TestHealthRequest(t *testing.T) {
	for service, want := range map[string]string{"": "\x00\x00\x00\x00\x00", "up": "\x00\x00\x00\x00\x04\x0a\x02up"} {
		if got := string(healthRequest(service)); got != want {
			t.Errorf("%q: %q, want %q", service, got, want)
		}
	}
}

func FuzzHealthStatus(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x02\x08\x01"))
	f.Add([]byte("\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x00\x00\x00\x06\x12\x02ab\x08\x02"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := healthStatus(b); err == nil && (s < 0 || len(b) < 5) {
			t.Errorf("%q is %d", b, s)
		}
	})
}

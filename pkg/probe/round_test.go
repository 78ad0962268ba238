package probe

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"xunjian/pkg/check"
	"xunjian/pkg/metric"
)

// pipes is a server on pipes inside a synctest bubble: requests are numbered from 0 in the order in which they come.
type pipes struct {
	answer   func(n int64) (after time.Duration, status string)
	requests atomic.Int64
	dials    atomic.Int64
	wg       sync.WaitGroup
}

func (s *pipes) dial(context.Context, string, string) (net.Conn, error) {
	s.dials.Add(1)
	client, server := net.Pipe()
	s.wg.Go(func() {
		defer server.Close()
		s.serve(server)
	})
	return client, nil
}

func (s *pipes) serve(conn net.Conn) {
	r := bufio.NewReader(conn)
	for {
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		after, status := s.answer(s.requests.Add(1) - 1)
		gone := make(chan struct{})
		if after > 0 {
			go func() { // a pipe tells that the other end is closed only to who reads
				defer close(gone)
				r.Peek(1)
			}()
			select {
			case <-time.After(after):
				if status != "" {
					io.WriteString(conn, "HTTP/1.1 "+status+"\r\nContent-Length: 0\r\n\r\n")
				}
			case <-gone:
			}
			conn.Close()
			<-gone
			return
		}
		if _, err := io.WriteString(conn, "HTTP/1.1 "+status+"\r\nContent-Length: 0\r\n\r\n"); err != nil {
			return
		}
	}
}

const forever = 24 * time.Hour

func outcomes(r check.Result) []check.Outcome {
	var out []check.Outcome
	for _, a := range r.Attempts {
		out = append(out, a.Outcome)
	}
	return out
}

func classes(r check.Result) []check.Class {
	var out []check.Class
	for _, a := range r.Attempts {
		out = append(out, a.Class)
	}
	return out
}

func TestRounds(t *testing.T) {
	const ok, broken = "200 OK", "500 No"
	const none = check.Class("")
	always := func(after time.Duration, status string) func(int64) (time.Duration, string) {
		return func(int64) (time.Duration, string) { return after, status }
	}
	// once is bad in the first request only.
	once := func(after time.Duration, status string) func(int64) (time.Duration, string) {
		return func(n int64) (time.Duration, string) {
			if n == 0 {
				return after, status
			}
			return 0, ok
		}
	}
	tests := map[string]struct {
		answer    func(int64) (time.Duration, string)
		change    func(*check.Spec)
		outcomes  []check.Outcome
		classes   []check.Class
		confirmed bool
		took      time.Duration
	}{
		"ok is asked once": {
			answer: always(0, ok), outcomes: []check.Outcome{check.OK}, classes: []check.Class{none},
		},
		"500 is confirmed after the gap": {
			answer: always(0, broken), outcomes: []check.Outcome{check.Fail, check.Fail, check.Fail},
			classes: []check.Class{check.ClassStatus, check.ClassStatus, check.ClassStatus}, confirmed: true, took: 300 * time.Millisecond,
		},
		"one 500 is a blip": {
			answer: once(0, broken), outcomes: []check.Outcome{check.Fail, check.OK, check.OK},
			classes: []check.Class{check.ClassStatus, none, none}, took: 300 * time.Millisecond,
		},
		"every other fails": {
			answer: func(n int64) (time.Duration, string) {
				if n%2 == 0 {
					return 0, broken
				}
				return 0, ok
			},
			outcomes: []check.Outcome{check.Fail, check.OK, check.Fail}, classes: []check.Class{check.ClassStatus, none, check.ClassStatus}, took: 300 * time.Millisecond,
		},
		"a hang is confirmed just after the timeout": {
			answer: always(forever, ""), outcomes: []check.Outcome{check.Fail, check.Fail, check.Fail},
			classes: []check.Class{check.ClassTimeout, check.ClassTimeout, check.ClassTimeout}, confirmed: true, took: 2100 * time.Millisecond,
		},
		"one hang is a blip": {
			answer: once(forever, ""), outcomes: []check.Outcome{check.Fail, check.OK, check.OK},
			classes: []check.Class{check.ClassTimeout, none, none}, took: 2 * time.Second,
		},
		"slow but whole": {
			answer: always(1500*time.Millisecond, ok), outcomes: []check.Outcome{check.Slow, check.Slow, check.Slow},
			classes: []check.Class{none, none, none}, confirmed: true, took: 2100 * time.Millisecond,
		},
		"just slow, all answers are waited for": {
			answer: always(1050*time.Millisecond, ok), outcomes: []check.Outcome{check.Slow, check.Slow, check.Slow},
			classes: []check.Class{none, none, none}, confirmed: true, took: 2100 * time.Millisecond,
		},
		"slow once": {
			answer: once(1500*time.Millisecond, ok), outcomes: []check.Outcome{check.Slow, check.OK, check.OK},
			classes: []check.Class{none, none, none}, took: 1500 * time.Millisecond,
		},
		"slower than the timeout": {
			answer: always(5*time.Second, ok), outcomes: []check.Outcome{check.Fail, check.Fail, check.Fail},
			classes: []check.Class{check.ClassTimeout, check.ClassTimeout, check.ClassTimeout}, confirmed: true, took: 2100 * time.Millisecond,
		},
		"fails late": {
			answer: always(1500*time.Millisecond, broken), outcomes: []check.Outcome{check.Fail, check.Fail, check.Fail},
			classes: []check.Class{check.ClassStatus, check.ClassTimeout, check.ClassTimeout}, confirmed: true, took: 2100 * time.Millisecond,
		},
		"fails at once, then hangs: one more timeout": {
			answer: func(n int64) (time.Duration, string) {
				if n == 0 {
					return 0, broken
				}
				return forever, ""
			},
			outcomes: []check.Outcome{check.Fail, check.Fail, check.Fail}, classes: []check.Class{check.ClassStatus, check.ClassTimeout, check.ClassTimeout},
			confirmed: true, took: 2300 * time.Millisecond,
		},
		"at a second's pace": {
			answer: always(forever, ""), change: func(s *check.Spec) { s.Every, s.Timeout, s.Slow = time.Second, 0, 0 },
			outcomes: []check.Outcome{check.Fail, check.Fail, check.Fail}, classes: []check.Class{check.ClassTimeout, check.ClassTimeout, check.ClassTimeout},
			confirmed: true, took: 525 * time.Millisecond,
		},
		"500 at a second's pace": {
			answer: always(0, broken), change: func(s *check.Spec) { s.Every, s.Timeout, s.Slow = time.Second, 0, 0 },
			outcomes: []check.Outcome{check.Fail, check.Fail, check.Fail}, classes: []check.Class{check.ClassStatus, check.ClassStatus, check.ClassStatus},
			confirmed: true, took: 200 * time.Millisecond,
		},
		"slow only at the timeout doubles the wait": {
			answer: always(forever, ""), change: func(s *check.Spec) { s.Slow = s.Timeout },
			outcomes: []check.Outcome{check.Fail, check.Fail, check.Fail}, classes: []check.Class{check.ClassTimeout, check.ClassTimeout, check.ClassTimeout},
			confirmed: true, took: 4 * time.Second,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &pipes{answer: tc.answer}
				spec := check.Spec{Name: "c", Service: "s", Kind: "http", Target: "http://192.0.2.1/", Every: 10 * time.Second, Timeout: 2 * time.Second, Slow: time.Second}
				if tc.change != nil {
					tc.change(&spec)
				}
				p, err := New(spec, Options{Dial: s.dial})
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				r, _ := p.Run(t.Context(), start)
				took := time.Since(start)
				if diff := cmp.Diff(tc.outcomes, outcomes(r)); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff(tc.classes, classes(r)); diff != "" {
					t.Error(diff)
				}
				if got := s.dials.Load(); got != int64(len(r.Attempts)) {
					t.Errorf("%d connections for %d attempts, want each on its own", got, len(r.Attempts))
				}
				if r.Confirmed() != tc.confirmed {
					t.Errorf("confirmed %v", r.Confirmed())
				}
				if took < tc.took || took > tc.took+110*time.Millisecond {
					t.Errorf("took %v, want %v", took, tc.took)
				}
				p.Close()
				s.wg.Wait()
			})
		})
	}
}

// A kept connection saves work while all is well; a full one comes at its pace and at once after trouble.
func TestPaceOfFullConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		s := &pipes{answer: func(int64) (time.Duration, string) {
			if broken.Load() {
				return 0, "500 No"
			}
			return 0, "200 OK"
		}}
		spec := check.Spec{Name: "c", Service: "s", Kind: "http", Target: "http://192.0.2.1/"}
		p, err := New(spec, Options{Dial: s.dial})
		if err != nil {
			t.Fatal(err)
		}
		rounds := func(n int) int64 {
			before := s.dials.Load()
			for range n {
				p.Run(t.Context(), time.Now())
				time.Sleep(10 * time.Second)
			}
			return s.dials.Load() - before
		}
		if got := rounds(60); got != 10 {
			t.Errorf("%d full connections in 10 minutes, want one a minute", got)
		}
		broken.Store(true)
		if got := rounds(1); got < 2 {
			t.Errorf("%d dials for a failed round, want its re-probes on fresh connections", got)
		}
		if got := rounds(1); got != 3 {
			t.Errorf("%d dials in the round after a failure, want 3", got)
		}
		broken.Store(false)
		if got := rounds(1); got != 1 {
			t.Errorf("%d dials at recovery, want 1", got)
		}
		if got := rounds(1); got != 0 {
			t.Errorf("%d dials once well again, want 0", got)
		}
		p.Close()
		s.wg.Wait()
	})
}

func TestFullConnectionAfterABlip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &pipes{answer: func(n int64) (time.Duration, string) {
			if n == 0 {
				return 0, "500 No"
			}
			return 0, "200 OK"
		}}
		p, err := New(check.Spec{Name: "c", Service: "s", Kind: "http", Target: "http://192.0.2.1/"}, Options{Dial: s.dial})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []int64{3, 4, 4} {
			p.Run(t.Context(), time.Now())
			if got := s.dials.Load(); got != want {
				t.Errorf("round %d: %d connections so far, want %d", i, got, want)
			}
		}
		p.Close()
		s.wg.Wait()
	})
}

// An address that swallows packets leaves time for the next one.
func TestDeadAddressLeavesTimeForTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &pipes{answer: func(int64) (time.Duration, string) { return 0, "200 OK" }}
		dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == "192.0.2.1:80" {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return s.dial(ctx, network, addr)
		}
		two := names{addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}}
		spec := check.Spec{Name: "c", Service: "s", Kind: "http", Target: "http://svc.example/", Timeout: 2 * time.Second, Slow: 2 * time.Second}
		p, err := New(spec, Options{Dial: dial, Resolver: two})
		if err != nil {
			t.Fatal(err)
		}
		a := p.attempt(t.Context(), true)
		wantAttempt(t, a, check.OK, "", "")
		if a.Duration != time.Second {
			t.Errorf("took %v, want half the timeout for the dead one", a.Duration)
		}
		p.Close()
		s.wg.Wait()
	})
}

func TestShutdownEndsARound(t *testing.T) {
	for name, at := range map[string]time.Duration{"before slow": 500 * time.Millisecond, "among the re-probes": 1050 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &pipes{answer: func(int64) (time.Duration, string) { return forever, "" }}
				p, err := New(check.Spec{Name: "c", Service: "s", Kind: "http", Target: "http://192.0.2.1/"}, Options{Dial: s.dial})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeoutCause(t.Context(), at, context.Canceled)
				defer cancel()
				start := time.Now()
				r, _ := p.Run(ctx, start)
				if took := time.Since(start); took != at {
					t.Errorf("stopped after %v, want %v", took, at)
				}
				if diff := cmp.Diff([]check.Outcome{check.Unknown}, outcomes(r)); diff != "" {
					t.Error(diff)
				}
				s.wg.Wait()
			})
		})
	}
}

func value(t testing.TB, samples []metric.Sample, name, phase string) float64 {
	t.Helper()
	for _, s := range samples {
		if s.Series.Name == name && s.Series.Get("phase") == phase {
			return s.Value
		}
	}
	t.Fatalf("no sample %s %s", name, phase)
	return 0
}

func TestSamplesKeepTheirSchema(t *testing.T) {
	var status atomic.Value
	status.Store("200 OK")
	addr := rawServer(t, func(conn net.Conn) {
		readRequest(conn)
		io.WriteString(conn, "HTTP/1.1 "+status.Load().(string)+"\r\nConnection: close\r\n\r\nhello")
	})
	spec := patient("http://" + addr)
	spec.Labels = map[string]string{"site": "fuzhou"}
	p := newTestProber(t, spec, Options{})
	_, good := p.Run(t.Context(), time.Now())
	status.Store("500 No")
	_, bad := p.Run(t.Context(), time.Now())
	if diff := cmp.Diff(series(good), series(bad)); diff != "" {
		t.Error(diff)
	}
	if len(good) > 21 {
		t.Errorf("%d series", len(good))
	}
	want := `probe_success{check="test",instance="http://` + addr + `",service="svc",site="fuzhou"}`
	if got := good[0].Series.String(); got != want {
		t.Errorf("series %s, want %s", got, want)
	}
	for name, want := range map[string][2]float64{
		"probe_success": {1, 0}, "probe_http_status_code": {200, 500}, "probe_http_uncompressed_body_length": {5, 5},
		"probe_failed_due_to_regex": {0, 0}, "xunjian_probe_attempts": {1, 3}, "xunjian_probe_failures": {0, 3}, "xunjian_probe_slow": {0, 0},
	} {
		if got := [2]float64{value(t, good, name, ""), value(t, bad, name, "")}; got != want {
			t.Errorf("%s %v, want %v", name, got, want)
		}
	}
	if v := value(t, good, "probe_http_duration_seconds", "tls"); v == v {
		t.Errorf("tls phase %v of a plain connection, want NaN", v)
	}
	for _, phase := range []string{"resolve", "connect", "processing", "transfer"} {
		if v := value(t, good, "probe_http_duration_seconds", phase); !(v >= 0) {
			t.Errorf("phase %s is %v", phase, v)
		}
	}
}

func series(samples []metric.Sample) []string {
	var out []string
	for _, s := range samples {
		out = append(out, s.Series.String())
	}
	return out
}

func TestSamplesOfTCPAndTLS(t *testing.T) {
	tcp := check.Spec{Name: "c", Service: "s", Kind: "tcp", Target: "h:1"}
	if n := len(newSchema(tcp)); n != 9 {
		t.Errorf("%d series of a tcp check", n)
	}
	tcp.TCP.TLS = true
	r := check.Result{Attempts: []check.Attempt{{Outcome: check.OK, Duration: 1234567, CertExpiry: time.Unix(2000, 0), Phases: []check.Phase{{Name: "resolve", Duration: 1499}}}}}
	s := newSchema(tcp).samples(r)
	for name, want := range map[string]float64{"probe_ssl_earliest_cert_expiry": 2000, "probe_dns_lookup_time_seconds": 1e-6, "probe_duration_seconds": 0.001235} {
		if got := value(t, s, name, ""); got != want {
			t.Errorf("%s %v, want %v", name, got, want)
		}
	}
	r.Attempts[0].Outcome = check.Slow
	if s := newSchema(tcp).samples(r); value(t, s, "xunjian_probe_slow", "") != 1 || value(t, s, "probe_success", "") != 1 {
		t.Error("a slow answer is a success that is slow")
	}
	https := check.Spec{Name: "c", Service: "s", Kind: "http", Target: "https://h/"}
	if n := len(newSchema(https)); n > 25 {
		t.Errorf("%d series of an https check", n)
	}
	for _, c := range append(newSchema(https), newSchema(tcp)...) {
		if _, ok := metric.Describe(c.series.Name); !ok {
			t.Errorf("the catalogue does not have %s", c.series.Name)
		}
	}
}

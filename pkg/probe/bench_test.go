package probe

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"xunjian/pkg/check"
)

// The benchmarks' server runs in a process of its own, so that the processor time counted is the probe's alone.
const benchServer = "XUNJIAN_BENCH_SERVER"

type benchAddrs struct{ HTTP, HTTPS, CA string }

func serveForBenchmarks() bool {
	if os.Getenv(benchServer) == "" {
		return false
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"code":0,"message":"SUCCESS","result":{"status":"valid"}}`)
	})
	ca := newTestCA(&testing.B{})
	plain, secure := httptest.NewServer(h), httptest.NewUnstartedServer(h)
	secure.TLS = &tls.Config{Certificates: []tls.Certificate{ca.issue(&testing.B{}, time.Now().Add(time.Hour))}}
	secure.StartTLS()
	json.NewEncoder(os.Stdout).Encode(benchAddrs{plain.URL, secure.URL, ca.pem})
	io.Copy(io.Discard, os.Stdin) // until the benchmark is over
	return true
}

func startBenchServer(b *testing.B) benchAddrs {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), benchServer+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	var a benchAddrs
	if err := json.NewDecoder(bufio.NewReader(stdout)).Decode(&a); err != nil {
		b.Fatal(err)
	}
	return a
}

func processorTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkPlainClient is what the same costs with net/http's own client, to compare with in the same run.
func BenchmarkPlainClient(b *testing.B) {
	a := startBenchServer(b)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(a.CA))
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true, TLSClientConfig: &tls.Config{RootCAs: pool}}}
	for name, url := range map[string]string{"http": a.HTTP, "https": a.HTTPS} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			before := processorTime()
			for b.Loop() {
				req, _ := http.NewRequestWithContext(httptrace.WithClientTrace(b.Context(), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {}}), "GET", url, nil)
				resp, err := client.Do(req)
				if err != nil {
					b.Fatal(err)
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			b.ReportMetric(float64((processorTime()-before).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

func BenchmarkProbe(b *testing.B) {
	a := startBenchServer(b)
	judged := check.HTTP{Expect: []check.Expect{{JSON: "code", Equals: new("0")}, {JSON: "result.status", Equals: new("valid")}}}
	https := check.Spec{Kind: "http", Target: a.HTTPS, HTTP: judged, TLS: check.TLS{CA: a.CA}}
	for _, bench := range []struct {
		name  string
		spec  check.Spec
		fresh bool
	}{
		{"http/new", check.Spec{Kind: "http", Target: a.HTTP}, true},
		{"http/kept", check.Spec{Kind: "http", Target: a.HTTP}, false},
		{"http+json/new", check.Spec{Kind: "http", Target: a.HTTP, HTTP: judged}, true},
		{"https+json/new", https, true},
		{"https+json/kept", https, false},
		{"tcp", check.Spec{Kind: "tcp", Target: a.HTTP[len("http://"):]}, true},
	} {
		b.Run(bench.name, func(b *testing.B) {
			bench.spec.Name, bench.spec.Service = "bench", "svc"
			p := newTestProber(b, bench.spec, Options{FullEvery: time.Hour})
			b.ReportAllocs()
			before := processorTime()
			for b.Loop() {
				if bench.fresh {
					p.sound.Store(false)
				}
				r, _ := p.Run(b.Context(), time.Time{})
				if r.Outcome() != check.OK {
					b.Fatal(fmt.Sprint(r.Attempts))
				}
			}
			b.ReportMetric(float64((processorTime()-before).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

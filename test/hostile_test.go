package test

import (
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// serveBadly hands each connection to serve.
func serveBadly(t *testing.T, serve func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
	return l.Addr().String()
}

func pour(c net.Conn, text string, every time.Duration) {
	for {
		if _, err := io.WriteString(c, text); err != nil {
			return
		}
		time.Sleep(every)
	}
}

func afterRequest(then func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) {
		if _, err := c.Read(make([]byte, 4096)); err == nil {
			then(c)
		}
	}
}

// hostileTargets are those of the catalogue of faults: kind, target prefix, server.
func hostileTargets(t *testing.T) map[string]struct {
	check string // the check's kind and own section
	serve func(net.Conn)
} {
	const ok = "HTTP/1.1 200 OK\r\n"
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	for range 256 {
		z.Write(make([]byte, 1<<20))
	}
	z.Close()
	http1 := "kind: http, target: 'http://%s/'"
	expired := expiredCertificate(t)
	return map[string]struct {
		check string
		serve func(net.Conn)
	}{
		"endless-body": {http1 + ", http: {expect: [{body: true, match: nothing}]}", afterRequest(func(c net.Conn) { io.WriteString(c, ok+"\r\n"); pour(c, strings.Repeat("y", 64<<10), 0) })},
		"endless-chunks": {http1, afterRequest(func(c net.Conn) {
			io.WriteString(c, ok+"Transfer-Encoding: chunked\r\n\r\n")
			pour(c, "1;"+strings.Repeat("e", 900)+"\r\ny\r\n", 0)
		})},
		"endless-headers": {http1, afterRequest(func(c net.Conn) { io.WriteString(c, ok); pour(c, strings.Repeat("X: y\r\n", 100), 0) })},
		"huge-header":     {http1, afterRequest(func(c net.Conn) { io.WriteString(c, ok+"X: "); pour(c, strings.Repeat("y", 4096), 0) })},
		"slow-head":       {http1, afterRequest(func(c net.Conn) { pour(c, "H", 50*time.Millisecond) })},
		"slow-body":       {http1, afterRequest(func(c net.Conn) { io.WriteString(c, ok+"\r\n"); pour(c, "x", 50*time.Millisecond) })},
		"gzip-bomb": {http1 + ", http: {compression: gzip, expect: [{body: true, match: nothing}]}", afterRequest(func(c net.Conn) {
			fmt.Fprintf(c, "%sContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", ok, bomb.Len(), bomb.Bytes())
		})},
		"redirect-loop": {http1 + ", http: {redirects: 10}", afterRequest(func(c net.Conn) { io.WriteString(c, "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n") })},
		"redirect-metadata": {http1 + ", http: {redirects: 10}", afterRequest(func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n")
		})},
		"bad-framing":       {http1, afterRequest(func(c net.Conn) { io.WriteString(c, ok+"Content-Length: 4\r\nContent-Length: 5\r\n\r\ntrue") })},
		"expired":           {"kind: http, target: 'https://%s/', tls: {skip_verify: false}", func(c net.Conn) { s := tls.Server(c, expired); s.Handshake(); io.Copy(io.Discard, s) }},
		"silent":            {http1, func(c net.Conn) { io.Copy(io.Discard, c) }},
		"tls-garbage":       {"kind: tls, target: '%s'", func(c net.Conn) { pour(c, "\x16\x03\x01\xff\xff", 0) }},
		"tcp-endless-line":  {"kind: tcp, target: '%s', tcp: {query_response: [{expect: never}]}", func(c net.Conn) { pour(c, strings.Repeat("x", 4096), 0) }},
		"tcp-endless-lines": {"kind: tcp, target: '%s', tcp: {query_response: [{expect: never}]}", func(c net.Conn) { pour(c, strings.Repeat("x\n", 2048), 0) }},
		"starttls-endless":  {"kind: tls, target: '%s', tls: {starttls: smtp}", func(c net.Conn) { pour(c, "220-more\r\n", 0) }},
		"dns-garbage":       {"kind: dns, target: '%s', dns: {query_name: a.example, transport_protocol: tcp}", func(c net.Conn) { pour(c, "\xff\xff"+strings.Repeat("x", 65535), 0) }},
		"grpc-pings": {"kind: grpc, target: '%s'", func(c net.Conn) {
			f := http2.NewFramer(c, c)
			f.WriteSettings()
			for f.WritePing(false, [8]byte{}) == nil {
			}
		}},
		"grpc-headers": {"kind: grpc, target: '%s'", func(c net.Conn) {
			f := http2.NewFramer(c, c)
			f.WriteSettings()
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x88}})
			for f.WriteContinuation(1, false, []byte(strings.Repeat("\x40\x01a\x01b", 1000))) == nil {
			}
		}},
	}
}

func expiredCertificate(t *testing.T) *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// Three agents ask hostile targets, several at the same time each, and one asks a good one: every target is told of in time, and
// none of the three ever holds 16 MiB more than the other.
func TestHostileTargets(t *testing.T) {
	dir := t.TempDir()
	web, uplink := freeAddr(t), freeAddr(t)
	good := serveBadly(t, afterRequest(func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") }))
	var text strings.Builder
	fmt.Fprintf(&text, "data: %s/data\nhttp: {listen: '%s'}\nuplink: {listen: '%s'}\nfleet: {names: [127.0.0.1]}\nhost: {every: 0s}\nservices: [{name: s}]\nchecks:\n", dir, web, uplink)
	fmt.Fprintf(&text, "- {name: good, service: s, agents: [floor, bad0, bad1, bad2], every: 2s, timeout: 1s, kind: http, target: 'http://%s/'}\n", good)
	targets := hostileTargets(t)
	for i, name := range slices.Sorted(maps.Keys(targets)) {
		h := targets[name]
		fmt.Fprintf(&text, "- {name: %s, service: s, agents: [bad%d], every: 2s, timeout: 1s, %s}\n", name, i%3, fmt.Sprintf(h.check, serveBadly(t, h.serve)))
	}
	config := filepath.Join(dir, "collector.yml")
	if err := os.WriteFile(config, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, dir, "collector", "serve", "--config", config)
	eventually(t, "the collector", func() error { return call("GET", "http://"+web+"/-/ready", "", nil, nil) })
	agents := map[string]*proc{}
	for _, name := range []string{"floor", "bad0", "bad1", "bad2"} {
		token := mustRun(t, "collector", "token", "create", "--config", config, "--agent", name, "--by", "test")
		agents[name] = start(t, dir, "agent", "run", "--collector", uplink, "--name", name, "--token", token, "--state", filepath.Join(dir, name))
	}
	const rounds = 5
	query := func(q string) (map[string]float64, error) { return byCheck("http://"+web, q) }
	eventually(t, "rounds of every hostile target", func() error {
		n, err := query(`count_over_time(xunjian_probe_attempts{agent=~"bad."}[5m])`)
		for name := range targets {
			if n[name] < rounds {
				return errors.Join(err, fmt.Errorf("%s was asked %v times", name, n[name]))
			}
		}
		return err
	})
	floor := mostHeld(t, agents["floor"])
	for _, name := range []string{"bad0", "bad1", "bad2"} {
		held := mostHeld(t, agents[name])
		t.Logf("at most %.1f MiB held with a good target, %.1f MiB with hostile ones", floor, held)
		if held > floor+16 {
			t.Errorf("%.1f MiB held, %.1f more than the floor", held, held-floor)
		}
	}
	took, err := query(`max_over_time(probe_duration_seconds{agent=~"bad."}[5m])`)
	if err != nil {
		t.Fatal(err)
	}
	passed, err := query(`max_over_time(probe_success{agent=~"bad."}[5m])`)
	if err != nil {
		t.Fatal(err)
	}
	for name := range targets {
		if took[name] > 1.5 {
			t.Errorf("%s: verdict after %v s, the timeout is 1 s", name, took[name])
		}
		if passed[name] == 1 {
			t.Errorf("%s was found to be well", name)
		}
	}
}

// byCheck asks for a value of each check.
func byCheck(collector, query string) (map[string]float64, error) {
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := call("GET", collector+"/api/v1/query?query="+url.QueryEscape(query), "", nil, &answer); err != nil {
		return nil, err
	}
	out := map[string]float64{}
	for _, r := range answer.Data.Result {
		v, err := strconv.ParseFloat(r.Value[1].(string), 64)
		if err != nil {
			return nil, err
		}
		out[r.Metric["check"]] = v
	}
	return out, nil
}

// mostHeld is the most memory that a process has had, in MiB.
func mostHeld(t *testing.T, p *proc) float64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib / 1024
}

// A plan of 5,000 checks asks all of them, no more than so many at a time. (Their series are more than a stream may have: the
// collector tells of that.)
func TestThousandsOfChecks(t *testing.T) {
	const checks, most = 5000, 3 * 128 // a round is one attempt, and two more when it is not ok
	var now, peak, asked atomic.Int64
	slow := serveBadly(t, func(c net.Conn) {
		n := now.Add(1)
		asked.Add(1)
		for p := peak.Load(); n > p && !peak.CompareAndSwap(p, n); p = peak.Load() {
		}
		time.Sleep(20 * time.Millisecond)
		now.Add(-1)
		io.WriteString(c, "220 ready\n")
	})
	dir := t.TempDir()
	web, uplink := freeAddr(t), freeAddr(t)
	var text strings.Builder
	fmt.Fprintf(&text, "data: %s/data\nhttp: {listen: '%s'}\nuplink: {listen: '%s'}\nfleet: {names: [127.0.0.1]}\nhost: {every: 0s}\nservices: [{name: s}]\nchecks:\n", dir, web, uplink)
	for i := range checks {
		fmt.Fprintf(&text, "- {name: c%d, service: s, every: 30s, timeout: 20s, kind: tcp, target: '%s', tcp: {expect: '^220'}}\n", i, slow)
	}
	config := filepath.Join(dir, "collector.yml")
	if err := os.WriteFile(config, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, dir, "collector", "serve", "--config", config)
	eventually(t, "the collector", func() error { return call("GET", "http://"+web+"/-/ready", "", nil, nil) })
	token := mustRun(t, "collector", "token", "create", "--config", config, "--agent", "many", "--by", "test")
	agent := start(t, dir, "agent", "run", "--collector", uplink, "--name", "many", "--token", token, "--state", filepath.Join(dir, "many"))
	eventually(t, "so many questions", func() error {
		if n := asked.Load(); n < checks {
			return fmt.Errorf("%d of %d", n, checks)
		}
		return nil
	})
	t.Logf("at most %d connections at a time, %.1f MiB held", peak.Load(), mostHeld(t, agent))
	if peak.Load() > most {
		t.Errorf("%d connections at a time, want at most %d", peak.Load(), most)
	}
}

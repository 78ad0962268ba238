package probe

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/metric"
)

// oracle is blackbox_exporter, whose names and meanings our samples carry.
type oracle struct{ addr string }

// modules are the oracle's settings; ours are built beside them in the test.
const modules = `
modules:
  plain: {prober: http, timeout: 20s, http: {follow_redirects: false, preferred_ip_protocol: ip4, tls_config: {ca_file: %[1]q}}}
  hasty: {prober: http, timeout: 0.8s, http: {preferred_ip_protocol: ip4}}
  wants401: {prober: http, timeout: 20s, http: {follow_redirects: false, preferred_ip_protocol: ip4, valid_status_codes: [401]}}
  wantsTrue: {prober: http, timeout: 20s, http: {preferred_ip_protocol: ip4, fail_if_body_not_matches_regexp: ["^true$"]}}
  refusesError: {prober: http, timeout: 20s, http: {preferred_ip_protocol: ip4, fail_if_body_matches_regexp: ["error"]}}
  wantsHeader: {prober: http, timeout: 20s, http: {preferred_ip_protocol: ip4, fail_if_header_not_matches: [{header: X-Route, regexp: "^echo$"}]}}
  post: {prober: http, timeout: 20s, http: {preferred_ip_protocol: ip4, method: POST, body: "{}"}}
  tcp: {prober: tcp, timeout: 20s, tcp: {preferred_ip_protocol: ip4}}
  banner: {prober: tcp, timeout: 20s, tcp: {preferred_ip_protocol: ip4, query_response: [{expect: "^220 "}]}}
  tcpTLS: {prober: tcp, timeout: 20s, tcp: {preferred_ip_protocol: ip4, tls: true, tls_config: {ca_file: %[1]q}}}
`

// startOracle fails when the oracle is not installed: a comparison that is silently left out compares nothing.
func startOracle(t *testing.T, ca string) *oracle {
	t.Helper()
	path, err := exec.LookPath("prometheus-blackbox-exporter")
	if err != nil {
		if os.Getenv("XUNJIAN_WITHOUT_PEERS") != "" {
			t.Skip("XUNJIAN_WITHOUT_PEERS is set and prometheus-blackbox-exporter is not installed")
		}
		t.Fatal("prometheus-blackbox-exporter is not installed (apt install it, or set XUNJIAN_WITHOUT_PEERS to do without)")
	}
	dir := t.TempDir()
	caFile, config := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "blackbox.yml")
	write(t, caFile, ca)
	write(t, config, fmt.Sprintf(modules, caFile))
	o := &oracle{closedPort(t)}
	cmd := exec.Command(path, "--config.file="+config, "--web.listen-address="+o.addr, "--log.level=error")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", o.addr)
		if err == nil {
			conn.Close()
			return o
		}
		if time.Now().After(deadline) {
			t.Fatalf("blackbox_exporter does not listen: %v", err)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// probe is the oracle's samples by series.
func (o *oracle) probe(t *testing.T, module, target string) map[string]float64 {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + o.addr + "/probe?module=" + module + "&target=" + url.QueryEscape(target))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	out := map[string]float64{}
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		name, text, ok := strings.Cut(s.Text(), " ")
		if v, err := strconv.ParseFloat(text, 64); ok && err == nil {
			out[name] = v
		}
	}
	if len(out) == 0 {
		t.Fatalf("the oracle says nothing: %s", resp.Status)
	}
	return out
}

// ours is our samples under the oracle's names, without the labels that tell checks apart.
func ours(samples []metric.Sample) map[string]float64 {
	out := map[string]float64{}
	for _, s := range samples {
		name := s.Series.Name
		if p := s.Series.Get("phase"); p != "" {
			name += `{phase="` + p + `"}`
		}
		if s.Value == s.Value {
			out[name] = s.Value
		}
	}
	return out
}

// reached are the phases that took time: the oracle writes 0 for those that an attempt did not come to.
func reached(samples map[string]float64) []string {
	var out []string
	for _, p := range phases[1:] { // resolve of an address takes no time worth comparing
		if samples[`probe_http_duration_seconds{phase="`+p+`"}`] > 0 {
			out = append(out, p)
		}
	}
	return out
}

func TestAgreesWithBlackboxExporter(t *testing.T) {
	ca := newTestCA(t)
	o := startOracle(t, ca.pem)
	mux := http.NewServeMux()
	mux.HandleFunc("/true", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "true") })
	mux.HandleFunc("/false", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "false error") })
	mux.HandleFunc("/empty", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/500", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "broken", 500) })
	mux.HandleFunc("/401", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "who", http.StatusUnauthorized) })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/true", http.StatusMovedPermanently)
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Route", "echo") })
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 300_000)) })
	mux.HandleFunc("/hang", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("POST /post", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	plain := httptest.NewServer(mux)
	defer plain.Close()
	secure := func(issuer *testCA, until time.Time) string {
		s := httptest.NewUnstartedServer(mux)
		s.TLS = &tls.Config{Certificates: []tls.Certificate{issuer.issue(t, until)}}
		s.Config.ErrorLog = discardLog
		s.StartTLS()
		t.Cleanup(s.Close)
		return s.URL
	}
	good, expired, foreign := secure(ca, time.Now().Add(99*time.Hour)), secure(ca, time.Now().Add(-time.Hour)), secure(newTestCA(t), time.Now().Add(time.Hour))
	banner := rawServer(t, func(c net.Conn) { io.WriteString(c, "220 ready\r\n"); hang(c) })
	other := rawServer(t, func(c net.Conn) { io.WriteString(c, "554 no\r\n") })
	cut := "http://" + rawServer(t, func(c net.Conn) { readRequest(c); reset(c) })
	nobody := closedPort(t)
	trust := check.TLS{CA: ca.pem}
	body := func(match, refuse string) check.HTTP {
		return check.HTTP{Expect: []check.Expect{{Body: true, Match: match, Refuse: refuse}}}
	}

	for _, tc := range []struct {
		module, target string
		spec           check.Spec
	}{
		{"plain", plain.URL + "/true", check.Spec{}},
		{"plain", plain.URL + "/empty", check.Spec{}},
		{"plain", plain.URL + "/500", check.Spec{}},
		{"plain", plain.URL + "/401", check.Spec{}},
		{"plain", plain.URL + "/nowhere", check.Spec{}},
		{"plain", plain.URL + "/moved", check.Spec{}},
		{"plain", plain.URL + "/large", check.Spec{}},
		{"hasty", plain.URL + "/hang", check.Spec{Timeout: 200 * time.Millisecond}},
		{"plain", "http://" + nobody, check.Spec{}},
		{"plain", cut, check.Spec{}},
		{"plain", good + "/true", check.Spec{TLS: trust}},
		{"plain", good + "/500", check.Spec{TLS: trust}},
		{"plain", expired + "/true", check.Spec{TLS: trust}},
		{"plain", foreign + "/true", check.Spec{TLS: trust}},
		{"wants401", plain.URL + "/401", check.Spec{HTTP: check.HTTP{Status: []int{401}}}},
		{"wants401", plain.URL + "/true", check.Spec{HTTP: check.HTTP{Status: []int{401}}}},
		{"wantsTrue", plain.URL + "/true", check.Spec{HTTP: body("^true$", "")}},
		{"wantsTrue", plain.URL + "/false", check.Spec{HTTP: body("^true$", "")}},
		{"refusesError", plain.URL + "/true", check.Spec{HTTP: body("", "error")}},
		{"refusesError", plain.URL + "/false", check.Spec{HTTP: body("", "error")}},
		{"wantsHeader", plain.URL + "/echo", check.Spec{HTTP: check.HTTP{Expect: []check.Expect{{Header: "X-Route", Match: "^echo$"}}}}},
		{"wantsHeader", plain.URL + "/true", check.Spec{HTTP: check.HTTP{Expect: []check.Expect{{Header: "X-Route", Match: "^echo$"}}}}},
		{"post", plain.URL + "/post", check.Spec{HTTP: check.HTTP{Method: "POST", Body: "{}"}}},
		{"post", plain.URL + "/nowhere", check.Spec{HTTP: check.HTTP{Method: "POST", Body: "{}"}}},
		{"tcp", banner, check.Spec{}},
		{"tcp", nobody, check.Spec{}},
		{"banner", banner, check.Spec{TCP: check.TCP{Expect: "^220 "}}},
		{"banner", other, check.Spec{TCP: check.TCP{Expect: "^220 "}}},
		{"tcpTLS", strings.TrimPrefix(good, "https://"), check.Spec{TCP: check.TCP{TLS: true}, TLS: trust}},
		{"tcpTLS", strings.TrimPrefix(expired, "https://"), check.Spec{TCP: check.TCP{TLS: true}, TLS: trust}},
	} {
		path := "/"
		if u, err := url.Parse(tc.target); err == nil {
			path = u.Path
		}
		t.Run(tc.module+path, func(t *testing.T) { agree(t, o, tc.module, tc.target, tc.spec) })
	}
}

func agree(t *testing.T, o *oracle, module, target string, spec check.Spec) {
	spec.Name, spec.Service, spec.Target, spec.Kind = "c", "s", target, "tcp"
	spec.Timeout = cmp.Or(spec.Timeout, ample)
	spec.Slow = spec.Timeout
	if strings.HasPrefix(target, "http") {
		spec.Kind = "http"
	}
	p := newTestProber(t, spec, Options{})
	a := p.attempt(context.Background(), true)
	got := ours(p.schema.samples(check.Result{Attempts: []check.Attempt{a}}))
	want := o.probe(t, module, target)
	names := []string{"probe_success", "probe_http_status_code"}
	if want["probe_success"] == 1 {
		names = append(names, "probe_failed_due_to_regex", "probe_http_uncompressed_body_length", "probe_ssl_earliest_cert_expiry")
	}
	for _, name := range names {
		if w, ok := want[name]; ok && got[name] != w {
			t.Errorf("%s is %v, the oracle says %v (%s %s)", name, got[name], w, a.Class, a.Reason)
		}
	}
	if want["probe_http_status_code"] == 0 {
		return // where no answer comes the oracle leaves out the phase that failed, which we time
	}
	if g, w := strings.Join(reached(got), " "), strings.Join(reached(want), " "); g != w {
		t.Errorf("phases %s, the oracle has %s", g, w)
	}
}

package probe

import (
	"bufio"
	"cmp"
	"compress/flate"
	"compress/gzip"
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

	"xunjian/pkg/blackbox"
	"xunjian/pkg/check"
	"xunjian/pkg/metric"
)

// oracle is blackbox_exporter, whose names and meanings our samples carry.
type oracle struct {
	addr    string
	modules blackbox.Modules
	ca      string
}

// modules are read by the oracle and by us.
const modules = `
modules:
  plain: {prober: http, timeout: 20s, http: {follow_redirects: false, preferred_ip_protocol: ip4, tls_config: {ca_file: %[1]q}}}
  follows: {prober: http, timeout: 20s, http: {preferred_ip_protocol: ip4, tls_config: {ca_file: %[1]q}}}
  hasty: {prober: http, timeout: 0.8s, http: {preferred_ip_protocol: ip4}}
  wants401: {prober: http, timeout: 20s, http: {follow_redirects: false, preferred_ip_protocol: ip4, valid_status_codes: [401]}}
  wantsTrue: {prober: http, timeout: 20s, http: {preferred_ip_protocol: ip4, fail_if_body_not_matches_regexp: ["^true$"]}}
  refusesError: {prober: http, timeout: 20s, http: {preferred_ip_protocol: ip4, fail_if_body_matches_regexp: ["error"]}}
  wantsHeader: {prober: http, timeout: 20s, http: {preferred_ip_protocol: ip4, fail_if_header_not_matches: [{header: X-Route, regexp: "^echo$"}]}}
  mayHaveHeader: {prober: http, timeout: 20s, http: {preferred_ip_protocol: ip4, fail_if_header_not_matches: [{header: X-Route, regexp: "^other$", allow_missing: true}]}}
  refusesHeader: {prober: http, timeout: 20s, http: {preferred_ip_protocol: ip4, fail_if_header_matches: [{header: X-Route, regexp: "^echo$"}]}}
  refusesHeaderIfThere: {prober: http, timeout: 20s, http: {preferred_ip_protocol: ip4, fail_if_header_matches: [{header: X-Route, regexp: "^echo$", allow_missing: true}]}}
  post: {prober: http, timeout: 20s, http: {preferred_ip_protocol: ip4, method: POST, body: "{}", headers: {Content-Type: application/json}}}
  gzip: {prober: http, timeout: 20s, http: {preferred_ip_protocol: ip4, compression: gzip, fail_if_body_not_matches_regexp: ["^packed"]}}
  small: {prober: http, timeout: 20s, http: {preferred_ip_protocol: ip4, body_size_limit: 1KB}}
  onlyTLS: {prober: http, timeout: 20s, http: {preferred_ip_protocol: ip4, fail_if_not_ssl: true, tls_config: {ca_file: %[1]q}}}
  neverTLS: {prober: http, timeout: 20s, http: {preferred_ip_protocol: ip4, fail_if_ssl: true, tls_config: {insecure_skip_verify: true}}}
  version10: {prober: http, timeout: 20s, http: {preferred_ip_protocol: ip4, valid_http_versions: ["HTTP/1.0"]}}
  version11: {prober: http, timeout: 20s, http: {preferred_ip_protocol: ip4, valid_http_versions: ["HTTP/1.1", "HTTP/2.0"]}}
  head: {prober: http, timeout: 20s, http: {preferred_ip_protocol: ip4, method: HEAD}}
  repeats: {prober: http, timeout: 20s, http: {preferred_ip_protocol: ip4, method: POST, body: "again", fail_if_body_not_matches_regexp: ["^again$"]}}
  deflate: {prober: http, timeout: 20s, http: {preferred_ip_protocol: ip4, compression: deflate, fail_if_body_not_matches_regexp: ["^packed"]}}
  wantsMoved: {prober: http, timeout: 20s, http: {preferred_ip_protocol: ip4, valid_status_codes: [301, 302]}}
  stays: {prober: http, timeout: 20s, http: {preferred_ip_protocol: ip4, follow_redirects: false, valid_status_codes: [301], fail_if_header_not_matches: [{header: location, regexp: "^/true$"}]}}
  asksHost: {prober: http, timeout: 20s, http: {preferred_ip_protocol: ip4, headers: {host: localhost}, fail_if_body_not_matches_regexp: ["^localhost "], tls_config: {ca_file: %[1]q}}}
  otherName: {prober: http, timeout: 20s, http: {preferred_ip_protocol: ip4, tls_config: {ca_file: %[1]q, server_name: localhost}}}
  foreignName: {prober: http, timeout: 20s, http: {preferred_ip_protocol: ip4, tls_config: {ca_file: %[1]q, server_name: other.example}}}
  onlyTLS12: {prober: http, timeout: 20s, http: {preferred_ip_protocol: ip4, tls_config: {ca_file: %[1]q, max_version: TLS12}}}
  two: {prober: http, timeout: 20s, http: {preferred_ip_protocol: ip4, fail_if_header_matches: [{header: X-Two, regexp: "^b$"}]}}
  twoNot: {prober: http, timeout: 20s, http: {preferred_ip_protocol: ip4, fail_if_header_not_matches: [{header: x-two, regexp: "^b$"}]}}
  onlyIPv6: {prober: http, timeout: 20s, http: {ip_protocol_fallback: false}}
  asWritten: {prober: http, timeout: 20s, http: {fail_if_ssl: false, enable_http2: false, oauth2: }}
  tcp: {prober: tcp, timeout: 20s, tcp: {preferred_ip_protocol: ip4}}
  later: {prober: tcp, timeout: 20s, tcp: {preferred_ip_protocol: ip4, query_response: [{expect: "ready$"}]}}
  tcpName: {prober: tcp, timeout: 20s, tcp: {preferred_ip_protocol: ip4, tls: true, tls_config: {ca_file: %[1]q, server_name: other.example}}}
  tcpNoIPv4: {prober: tcp, timeout: 20s, tcp: {preferred_ip_protocol: ip6, ip_protocol_fallback: false}}
  banner: {prober: tcp, timeout: 20s, tcp: {preferred_ip_protocol: ip4, query_response: [{expect: "^220 "}]}}
  dialogue: {prober: tcp, timeout: 20s, tcp: {preferred_ip_protocol: ip4, query_response: [{send: "NICK p"}, {expect: "PING :([^ ]+)", send: "PONG ${1}"}, {expect: "^:[^ ]+ 001"}]}}
  starttls: {prober: tcp, timeout: 20s, tcp: {preferred_ip_protocol: ip4, query_response: [{expect: "^220"}, {send: "STARTTLS\r"}, {expect: "^220"}, {starttls: true}, {expect: "^secret"}], tls_config: {ca_file: %[1]q}}}
  tcpTLS: {prober: tcp, timeout: 20s, tcp: {preferred_ip_protocol: ip4, tls: true, tls_config: {ca_file: %[1]q}}}
  tls13: {prober: tcp, timeout: 20s, tcp: {preferred_ip_protocol: ip4, tls: true, tls_config: {ca_file: %[1]q, min_version: TLS13}}}
  dns: {prober: dns, timeout: 20s, dns: {preferred_ip_protocol: ip4, query_name: svc.example, query_type: A}}
  dnsTCP: {prober: dns, timeout: 20s, dns: {preferred_ip_protocol: ip4, query_name: svc.example, query_type: A, transport_protocol: tcp}}
  dnsSOA: {prober: dns, timeout: 20s, dns: {preferred_ip_protocol: ip4, query_name: svc.example, query_type: SOA}}
  dnsNone: {prober: dns, timeout: 20s, dns: {preferred_ip_protocol: ip4, query_name: other.example, query_type: A}}
  dnsWantsNone: {prober: dns, timeout: 20s, dns: {preferred_ip_protocol: ip4, query_name: other.example, query_type: A, valid_rcodes: [NXDOMAIN]}}
  dnsMatch: {prober: dns, timeout: 20s, dns: {preferred_ip_protocol: ip4, query_name: svc.example, query_type: A, validate_answer_rrs: {fail_if_not_matches_regexp: ["192.0.2.1$"]}}}
  dnsContain: {prober: dns, timeout: 20s, dns: {preferred_ip_protocol: ip4, query_name: svc.example, query_type: A, validate_answer_rrs: {fail_if_none_matches_regexp: ["192.0.2.1$"]}}}
  dnsAll: {prober: dns, timeout: 20s, dns: {preferred_ip_protocol: ip4, query_name: svc.example, query_type: A, validate_answer_rrs: {fail_if_all_match_regexp: ["192.0.2.1$"]}}}
  dnsRefuse: {prober: dns, timeout: 20s, dns: {preferred_ip_protocol: ip4, query_name: svc.example, query_type: A, validate_additional_rrs: {fail_if_matches_regexp: ["192.0.2.53"]}}}
  dnsCase: {prober: dns, timeout: 20s, dns: {preferred_ip_protocol: ip4, query_name: SVC.Example., query_type: A}}
  dnsAlone: {prober: dns, timeout: 20s, dns: {preferred_ip_protocol: ip4, query_name: svc.example, query_type: A, recursion_desired: false, query_class: IN, valid_rcodes: [NOERROR, SERVFAIL]}}
  icmp: {prober: icmp, timeout: 20s, icmp: {preferred_ip_protocol: ip4}}
  icmpNear: {prober: icmp, timeout: 20s, icmp: {preferred_ip_protocol: ip4, ttl: 1}}
  icmpLarge: {prober: icmp, timeout: 20s, icmp: {preferred_ip_protocol: ip4, payload_size: 2000, dont_fragment: true}}
  grpc: {prober: grpc, timeout: 20s, grpc: {preferred_ip_protocol: ip4}}
  grpcUp: {prober: grpc, timeout: 20s, grpc: {preferred_ip_protocol: ip4, service: up}}
  grpcDown: {prober: grpc, timeout: 20s, grpc: {preferred_ip_protocol: ip4, service: down}}
  grpcUnknown: {prober: grpc, timeout: 20s, grpc: {preferred_ip_protocol: ip4, service: unknown}}
  grpcTLS: {prober: grpc, timeout: 20s, grpc: {preferred_ip_protocol: ip4, tls: true, tls_config: {ca_file: %[1]q}}}
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
	ways, err := blackbox.Load(config, nil)
	if err != nil {
		t.Fatal(err)
	}
	o := &oracle{closedPort(t), ways, ca}
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
		for _, label := range []string{"phase", "version", "serving_status"} {
			if v := s.Series.Get(label); v != "" {
				name += "{" + label + `="` + v + `"}`
			}
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
	mux := oracleSite()
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
	config := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, time.Now().Add(time.Hour))}}
	mail := rawServer(t, starter(config, false, "220 ready\r\n", "220 go\r\n"))
	old := tlsServer(t, &tls.Config{Certificates: config.Certificates, MaxVersion: tls.VersionTLS12})
	cut := "http://" + rawServer(t, func(c net.Conn) { readRequest(c); reset(c) })
	nobody := closedPort(t)
	names, health, secureHealth := nameServer(t, nil), healthServer(t, nil, true), healthServer(t, config, true)
	bare := func(url string) string { return strings.TrimPrefix(url, "https://") }

	for _, tc := range []struct{ module, target string }{
		{"plain", plain.URL + "/true"},
		{"plain", plain.URL + "/empty"},
		{"plain", plain.URL + "/500"},
		{"plain", plain.URL + "/401"},
		{"plain", plain.URL + "/nowhere"},
		{"plain", plain.URL + "/moved"},
		{"plain", plain.URL + "/large"},
		{"plain", bare(strings.TrimPrefix(plain.URL, "http://")) + "/true"},
		{"hasty", plain.URL + "/hang"},
		{"plain", "http://" + nobody},
		{"plain", cut},
		{"plain", good + "/true"},
		{"plain", good + "/500"},
		{"plain", expired + "/true"},
		{"plain", foreign + "/true"},
		{"follows", plain.URL + "/moved"},
		{"follows", plain.URL + "/moved?to=/moved"},
		{"follows", plain.URL + "/moved?to=/500"},
		{"follows", plain.URL + "/loop"},
		{"follows", plain.URL + "/moved?to=" + url.QueryEscape(good+"/true")},
		{"follows", plain.URL + "/moved?to=" + url.QueryEscape("http://"+nobody)},
		{"follows", plain.URL + "/moved?to=" + url.QueryEscape(expired+"/true")},
		{"follows", plain.URL + "/cookie"},
		{"wants401", plain.URL + "/401"},
		{"wants401", plain.URL + "/true"},
		{"wantsTrue", plain.URL + "/true"},
		{"wantsTrue", plain.URL + "/false"},
		{"refusesError", plain.URL + "/true"},
		{"refusesError", plain.URL + "/false"},
		{"wantsHeader", plain.URL + "/echo"},
		{"wantsHeader", plain.URL + "/true"},
		{"mayHaveHeader", plain.URL + "/echo"},
		{"mayHaveHeader", plain.URL + "/true"},
		{"refusesHeader", plain.URL + "/echo"},
		{"refusesHeader", plain.URL + "/true"},
		{"refusesHeaderIfThere", plain.URL + "/echo"},
		{"refusesHeaderIfThere", plain.URL + "/true"},
		{"post", plain.URL + "/post"},
		{"post", plain.URL + "/nowhere"},
		{"gzip", plain.URL + "/gzip"},
		{"gzip", plain.URL + "/true"},
		{"small", plain.URL + "/true"},
		{"small", plain.URL + "/large"},
		{"onlyTLS", plain.URL + "/true"},
		{"onlyTLS", good + "/true"},
		{"neverTLS", plain.URL + "/true"},
		{"neverTLS", good + "/true"},
		{"version10", plain.URL + "/true"},
		{"version11", plain.URL + "/true"},
		{"head", plain.URL + "/true"},
		{"head", plain.URL + "/moved"},
		{"repeats", plain.URL + "/post"},
		{"repeats", plain.URL + "/temporary"},
		{"repeats", plain.URL + "/moved?to=/post"},
		{"deflate", plain.URL + "/deflate"},
		{"deflate", plain.URL + "/gzip"},
		{"wantsMoved", plain.URL + "/moved"},
		{"wantsMoved", plain.URL + "/loop"},
		{"stays", plain.URL + "/moved"},
		{"stays", plain.URL + "/moved?to=/500"},
		{"asksHost", plain.URL + "/host"},
		{"asksHost", good + "/host"},
		{"otherName", good + "/true"},
		{"foreignName", good + "/true"},
		{"onlyTLS12", good + "/true"},
		{"two", plain.URL + "/two"},
		{"two", plain.URL + "/true"},
		{"twoNot", plain.URL + "/two"},
		{"twoNot", plain.URL + "/true"},
		{"onlyIPv6", plain.URL + "/true"},
		{"asWritten", plain.URL + "/true"},
		{"asWritten", strings.TrimPrefix(plain.URL, "http://") + "/true?next=https://other.example/"},
		{"follows", plain.URL + "/cookies"},
		{"later", rawServer(t, func(c net.Conn) { io.WriteString(c, "hello\n"+strings.Repeat("x", 20_000)+" ready\n"); hang(c) })},
		{"later", rawServer(t, func(c net.Conn) { io.WriteString(c, strings.Repeat("x", 5000)+"\nnot yet") })},
		{"tcpName", bare(good)},
		{"tcpNoIPv4", banner},
		{"tcp", banner},
		{"tcp", nobody},
		{"banner", banner},
		{"banner", other},
		{"dialogue", rawServer(t, irc)},
		{"dialogue", other},
		{"starttls", mail},
		{"tcpTLS", bare(good)},
		{"tcpTLS", bare(expired)},
		{"tcpTLS", old},
		{"tls13", old},
		{"dns", names},
		{"dnsTCP", names},
		{"dnsSOA", names},
		{"dnsNone", names},
		{"dnsWantsNone", names},
		{"dnsMatch", names},
		{"dnsContain", names},
		{"dnsAll", names},
		{"dnsRefuse", names},
		{"dnsCase", names},
		{"dnsAlone", names},
		{"dns", nobody},
		{"icmp", "127.0.0.1"},
		{"icmpNear", "127.0.0.1"},
		{"icmpLarge", "127.0.0.1"},
		{"grpc", health},
		{"grpcUp", health},
		{"grpcDown", health},
		{"grpcUnknown", health},
		{"grpcTLS", secureHealth},
		{"grpc", nobody},
		{"grpc", secureHealth},
	} {
		path := "/" + tc.target
		if u, err := url.Parse(tc.target); err == nil {
			path = u.Path + "?" + u.RawQuery
		}
		t.Run(tc.module+path, func(t *testing.T) { agree(t, o, tc.module, tc.target) })
	}
}

func oracleSite() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/true", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Last-Modified", "Tue, 24 Nov 2026 00:00:00 GMT")
		io.WriteString(w, "true")
	})
	mux.HandleFunc("/false", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "false error") })
	mux.HandleFunc("/empty", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/500", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "broken", 500) })
	mux.HandleFunc("/401", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "who", http.StatusUnauthorized) })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) {
		to := r.URL.Query().Get("to")
		http.Redirect(w, r, cmp.Or(to, "/true"), http.StatusMovedPermanently)
	})
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/cookie", func(w http.ResponseWriter, r *http.Request) {
		if _, err := r.Cookie("seen"); err == nil {
			return
		}
		http.SetCookie(w, &http.Cookie{Name: "seen", Value: "1"})
		http.Redirect(w, r, "/cookie", http.StatusFound)
	})
	mux.HandleFunc("/cookies", func(w http.ResponseWriter, r *http.Request) {
		first, err1 := r.Cookie("first")
		second, err2 := r.Cookie("second")
		switch {
		case err1 != nil:
			http.SetCookie(w, &http.Cookie{Name: "first", Value: "1"})
		case err2 != nil:
			http.SetCookie(w, &http.Cookie{Name: "second", Value: "2"})
		default:
			fmt.Fprint(w, first.Value, second.Value)
			return
		}
		http.Redirect(w, r, "/cookies", http.StatusFound)
	})
	mux.HandleFunc("/temporary", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/post", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/host", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s %t", r.Host, r.TLS != nil) })
	mux.HandleFunc("/two", func(w http.ResponseWriter, _ *http.Request) { w.Header()["X-Two"] = []string{"a", "b"} })
	mux.HandleFunc("/deflate", func(w http.ResponseWriter, _ *http.Request) {
		z, _ := flate.NewWriter(w, flate.BestSpeed)
		io.WriteString(z, "packed "+strings.Repeat("x", 5000))
		z.Close()
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Route", "echo") })
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 300_000)) })
	mux.HandleFunc("/hang", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("POST /post", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	mux.HandleFunc("/gzip", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		io.WriteString(z, "packed "+strings.Repeat("x", 5000))
		z.Close()
	})
	return mux
}

// timeless are the series whose values depend on nothing but the target.
var timeless = []string{
	"probe_ip_protocol", "probe_ip_addr_hash", "probe_failed_due_to_regex",
	"probe_http_uncompressed_body_length", "probe_http_content_length", "probe_http_redirects", "probe_http_version", "probe_http_ssl",
	"probe_http_last_modified_timestamp_seconds", "probe_ssl_earliest_cert_expiry", "probe_ssl_last_chain_expiry_timestamp_seconds",
	`probe_tls_version_info{version="TLS 1.2"}`, `probe_tls_version_info{version="TLS 1.3"}`,
	"probe_dns_answer_rrs", "probe_dns_authority_rrs", "probe_dns_additional_rrs", "probe_dns_query_succeeded", "probe_dns_serial",
	"probe_icmp_reply_hop_limit", "probe_grpc_ssl", "probe_grpc_status_code",
	`probe_grpc_healthcheck_response{serving_status="SERVING"}`, `probe_grpc_healthcheck_response{serving_status="NOT_SERVING"}`,
	`probe_grpc_healthcheck_response{serving_status="UNKNOWN"}`, `probe_grpc_healthcheck_response{serving_status="SERVICE_UNKNOWN"}`,
}

func agree(t *testing.T, o *oracle, module, target string) {
	spec := check.Spec{Name: "c", Service: "s", Target: target, Module: module}
	spec = o.modules.Apply(spec, func(path, format string, args ...any) { t.Errorf(path+": "+format, args...) })
	spec.Slow, spec.TLS.CA = spec.Timeout, o.ca
	if spec.TLS.SkipVerify {
		spec.TLS.CA = ""
	}
	p := newTestProber(t, spec, Options{})
	a := p.attempt(context.Background(), true)
	if strings.Contains(a.Reason, notAllowed) {
		t.Skip(a.Reason)
	}
	got := ours(p.schema.samples(check.Result{Attempts: []check.Attempt{a}}))
	want := o.probe(t, module, target)
	names := []string{"probe_success", "probe_http_status_code", "probe_dns_query_succeeded"}
	if want["probe_success"] == 1 {
		names = append(names, timeless...)
	}
	for _, name := range names {
		if name == "probe_http_uncompressed_body_length" && int(want["probe_http_status_code"])/100 == 3 {
			continue // of a redirect that is not followed the oracle reads no body
		}
		if w, ok := want[name]; ok && got[name] != w {
			t.Errorf("%s is %v, the oracle says %v (%s %s)", name, got[name], w, a.Class, a.Reason)
		}
	}
	if _, ours := got["probe_http_version"]; !ours || want["probe_http_status_code"] == 0 {
		return // where no answer comes the oracle leaves out the phase that failed, which we time
	}
	if g, w := strings.Join(reached(got), " "), strings.Join(reached(want), " "); g != w {
		t.Errorf("phases %s, the oracle has %s", g, w)
	}
}

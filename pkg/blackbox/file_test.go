package blackbox

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xunjian/pkg/check"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The example file that comes with blackbox_exporter is read whole; what of it cannot be honoured is in the golden file.
func TestExample(t *testing.T) {
	const name = "testdata/example.yml"
	_, err := Load(name, nil)
	if err == nil {
		t.Fatal("everything was honoured, proxies and scripts included")
	}
	golden := "testdata/example.faults"
	got := err.Error() + "\n"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
	// Used alone, the modules without a fault are read.
	fine := []string{
		"http_2xx_example", "http_post_2xx", "http_custom_ca_example", "http_gzip", "tls_connect", "tcp_connect_example", "imap_starttls", "smtp_starttls",
		"irc_banner_example", "rabbitmq", "rabbitmq_insecure", "dns_udp_example", "dns_soa", "dns_tcp_example", "postgresql",
	}
	m, err := Load(name, fine)
	if err != nil {
		t.Fatal(err)
	}
	if len(m) != len(fine) {
		t.Errorf("read %v", slices.Sorted(maps.Keys(m)))
	}
	for _, n := range fine {
		spec := check.Spec{Name: "c", Service: "s", Module: n, Target: "svc.example:25", Every: time.Minute}
		spec = m.Apply(spec, func(path, format string, args ...any) {
			t.Errorf("%s: %s: "+format, append([]any{n, path}, args...)...)
		})
		if spec.TLS.CAFile != "" {
			if want := "/"; !strings.HasPrefix(spec.TLS.CAFile, want) {
				t.Errorf("CA %s", spec.TLS.CAFile)
			}
		}
		spec.Validate(func(path, format string, args ...any) {
			t.Errorf("%s: %s: "+format, append([]any{n, path}, args...)...)
		})
	}
}

func TestConversion(t *testing.T) {
	folder := t.TempDir()
	write(t, filepath.Join(folder, "body.txt"), "hello")
	m := load(t, filepath.Join(folder, "blackbox.yml"), `
modules:
  web:
    prober: http
    timeout: 5s
    http:
      method: POST
      body_file: body.txt
      headers: {X-A: b}
      http_headers: {X-C: {values: [d]}}
      valid_status_codes: [200, 302]
      valid_http_versions: ["HTTP/1.1", "HTTP/2.0"]
      fail_if_body_matches_regexp: [bad]
      fail_if_body_not_matches_regexp: [good]
      fail_if_header_matches: [{header: Set-Cookie, regexp: x, allow_missing: true}]
      fail_if_header_not_matches: [{header: Server, regexp: nginx}]
      tls_config: {ca_file: ca.pem, server_name: svc.example, min_version: TLS12}
      preferred_ip_protocol: ip4
      ip_protocol_fallback: false
      compression: gzip
      body_size_limit: 64KB
      follow_redirects: false
      enable_http2: true
  plain: {prober: http}
  mail: {prober: tcp, tcp: {query_response: [{expect: "^220", send: "QUIT\r"}, {starttls: true}]}}
  name: {prober: dns, dns: {query_name: a.example, valid_rcodes: [NXDOMAIN], validate_answer_rrs: {fail_if_matches_regexp: [x]}}}
  ping: {prober: icmp, icmp: {payload_size: 100, ttl: 5, dont_fragment: true}}
  health: {prober: grpc, grpc: {service: up, tls: true, tls_config: {insecure_skip_verify: true, ca_file: x}, metadata: {k: [v]}}}
`)
	no := false
	want := Modules{
		"web": {
			Kind: "http", Timeout: 5 * time.Second, IPProtocol: "ip4", IPFallback: &no,
			TLS: check.TLS{CAFile: filepath.Join(folder, "ca.pem"), ServerName: "svc.example", MinVersion: "TLS12"},
			HTTP: check.HTTP{
				Method: "POST", Body: "hello", Headers: map[string]string{"X-A": "b", "X-C": "d"}, Status: []int{200, 302},
				Versions: []string{"HTTP/1.1"}, Compression: "gzip", MaxBody: 64 << 10,
				Expect: []check.Expect{
					{Header: "Set-Cookie", Refuse: "x"},
					{Header: "Server", Match: "nginx"},
					{Body: true, Refuse: "bad"},
					{Body: true, Match: "good"},
				},
			},
		},
		"plain":  {Kind: "http", IPProtocol: "ip6", HTTP: check.HTTP{Method: "GET", Redirects: 10}},
		"mail":   {Kind: "tcp", IPProtocol: "ip6", TCP: check.TCP{Dialogue: []check.Exchange{{Expect: "^220", Send: "QUIT\r"}, {StartTLS: true}}}},
		"name":   {Kind: "dns", IPProtocol: "ip6", DNS: check.DNS{Name: "a.example", Type: "ANY", Rcodes: []string{"NXDOMAIN"}, Answer: check.Records{Refuse: []string{"x"}}}},
		"ping":   {Kind: "icmp", IPProtocol: "ip6", ICMP: check.ICMP{PayloadSize: 100, TTL: 5, DontFragment: true}},
		"health": {Kind: "grpc", IPProtocol: "ip6", TLS: check.TLS{SkipVerify: true}, GRPC: check.GRPC{Service: "up", TLS: true, Metadata: map[string]string{"k": "v"}}},
	}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Error(diff)
	}
}

func TestFaultsNameFileLineAndKey(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"unknown key":     {"modules:\n  a:\n    prober: http\n    http:\n      methd: GET\n", `blackbox.yml:5: modules.a.http.methd: unknown key "methd"`},
		"password":        {"modules:\n  a:\n    prober: http\n    http:\n      basic_auth:\n        username: u\n        password: geheim\n", "blackbox.yml:5: modules.a.http.basic_auth: cannot be honoured: secrets stay"},
		"proxy":           {"modules:\n  a:\n    prober: http\n    http:\n      proxy_url: http://p\n", "blackbox.yml:5: modules.a.http.proxy_url: cannot be honoured: checks ask without a proxy"},
		"HTTP/2 only":     {"modules:\n  a:\n    prober: http\n    http:\n      valid_http_versions: [HTTP/2.0]\n", "blackbox.yml:5: modules.a.http.valid_http_versions: [HTTP/2.0] cannot be honoured"},
		"prober":          {"modules:\n  a:\n    prober: unix\n", `blackbox.yml:3: modules.a.prober: "unix" cannot be honoured`},
		"source":          {"modules:\n  a:\n    prober: icmp\n    icmp:\n      source_ip_address: 127.0.0.1\n", "blackbox.yml:5: modules.a.icmp.source_ip_address: cannot be honoured"},
		"key":             {"modules:\n  a:\n    prober: tcp\n    tcp:\n      tls_config:\n        key_file: k\n", "blackbox.yml:6: modules.a.tcp.tls_config.key_file: cannot be honoured"},
		"large":           {"modules:\n  a:\n    prober: http\n    http:\n      body_size_limit: 10MB\n", "blackbox.yml:5: modules.a.http.body_size_limit: 10MB cannot be honoured"},
		"brotli":          {"modules:\n  a:\n    prober: http\n    http:\n      compression: br\n", "blackbox.yml:5: modules.a.http.compression"},
		"labels":          {"modules:\n  a:\n    prober: tcp\n    tcp:\n      query_response:\n      - expect: x\n        labels: [{name: a, value: b}]\n", "blackbox.yml:7: modules.a.tcp.query_response[0].labels: cannot be honoured"},
		"two bodies":      {"modules:\n  a:\n    prober: http\n    http:\n      body: x\n      body_file: /dev/null\n", "blackbox.yml:6: modules.a.http.body_file: body is given too"},
		"two of metadata": {"modules:\n  a:\n    prober: grpc\n    grpc:\n      metadata: {k: [a, b]}\n", "blackbox.yml:5: modules.a.grpc.metadata.k: cannot be honoured"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse("blackbox.yml", []byte(tc.text))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %s", err, tc.want)
			}
			if err != nil && strings.Contains(err.Error(), "geheim") {
				t.Error("the fault tells the password")
			}
		})
	}
}

// What is written out and says no more than its absence is no fault.
func TestDefaultsWrittenOut(t *testing.T) {
	m := load(t, filepath.Join(t.TempDir(), "blackbox.yml"), `
modules:
  web:
    prober: http
    http:
      proxy_url: ""
      proxy_from_environment: false
      proxy_connect_header: {}
      enable_http3: false
      basic_auth:
      body_size_limit: 0
      compression: GZIP
      tls_config: {cert_file: "", key_file: ""}
      follow_redirects: false
      no_follow_redirects: false
  tcp: {prober: tcp, tcp: {source_ip_address: "", query_response: [{expect: a, labels: []}]}}
`)
	want := Modules{
		"web": {Kind: "http", IPProtocol: "ip6", HTTP: check.HTTP{Method: "GET", Redirects: 10, Compression: "gzip"}},
		"tcp": {Kind: "tcp", IPProtocol: "ip6", TCP: check.TCP{Dialogue: []check.Exchange{{Expect: "a"}}}},
	}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Error(diff)
	}
}

// A module that no check uses is not complained of.
func TestUnusedModules(t *testing.T) {
	path := filepath.Join(t.TempDir(), "blackbox.yml")
	write(t, path, "modules: {a: {prober: http}, b: {prober: unix}}")
	if m, err := Load(path, []string{"a"}); err != nil || len(m) != 1 {
		t.Errorf("%v %v", m, err)
	}
}

func TestApply(t *testing.T) {
	m := Modules{
		"web":    {Kind: "http", Timeout: time.Second, HTTP: check.HTTP{Method: "GET"}},
		"health": {Kind: "grpc", GRPC: check.GRPC{TLS: true}},
	}
	for name, tc := range map[string]struct {
		spec  check.Spec
		want  check.Spec
		fault string
	}{
		"target without a scheme": {check.Spec{Module: "web", Target: "svc.example"}, check.Spec{Module: "web", Kind: "http", Target: "http://svc.example", Timeout: time.Second, HTTP: check.HTTP{Method: "GET"}}, ""},
		"an address in the query": {check.Spec{Module: "web", Target: "h/?u=http://x"}, check.Spec{Module: "web", Kind: "http", Target: "http://h/?u=http://x", Timeout: time.Second, HTTP: check.HTTP{Method: "GET"}}, ""},
		"own timeout and secret": {
			check.Spec{Module: "web", Target: "https://h", Timeout: 2 * time.Second, HTTP: check.HTTP{Bearer: "t"}, TLS: check.TLS{Names: []string{"a"}}},
			check.Spec{Module: "web", Kind: "http", Target: "https://h", Timeout: 2 * time.Second, HTTP: check.HTTP{Method: "GET", Bearer: "t"}, TLS: check.TLS{Names: []string{"a"}}},
			"",
		},
		"port of gRPC":   {check.Spec{Module: "health", Target: "https://h"}, check.Spec{Module: "health", Kind: "grpc", Target: "h:443", GRPC: check.GRPC{TLS: true}}, ""},
		"no such module": {check.Spec{Module: "x"}, check.Spec{Module: "x"}, `module: "x" is not in the module files`},
		"said twice":     {check.Spec{Module: "web", Target: "http://h", HTTP: check.HTTP{Status: []int{200}}}, check.Spec{}, "http: the module web says this"},
		"another kind":   {check.Spec{Module: "web", Target: "http://h", Kind: "tcp"}, check.Spec{}, "kind: tcp, but the module web is of kind http"},
	} {
		t.Run(name, func(t *testing.T) {
			var faults []string
			got := m.Apply(tc.spec, func(path, format string, args ...any) {
				faults = append(faults, path+": "+fmt.Sprintf(format, args...))
			})
			if all := strings.Join(faults, "\n"); !strings.Contains(all, tc.fault) || (tc.fault == "") != (all == "") {
				t.Errorf("faults %q, want %q", all, tc.fault)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" && tc.fault == "" {
				t.Error(diff)
			}
		})
	}
}

func load(t *testing.T, path, text string) Modules {
	t.Helper()
	write(t, path, text)
	m, err := Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Whatever a module file holds, it is read or refused; what is read can be asked with, or is refused by the check's own rules.
func FuzzModules(f *testing.F) {
	if b, err := os.ReadFile("testdata/example.yml"); err == nil {
		f.Add(b)
	}
	f.Add([]byte("modules: {a: {prober: http, http: {body_size_limit: 1e9MB, valid_status_codes: [1]}}}"))
	f.Add([]byte("modules: {a: {prober: dns, dns: {query_name: a}}, b: {prober: tcp, tcp: {query_response: [{send: !!binary AAAA}]}}}"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		if strings.Contains(string(b), "body_file") { // reads files
			return
		}
		m, err := parse("blackbox.yml", b)
		if err != nil {
			return
		}
		for name := range m {
			m.Apply(check.Spec{Name: "c", Service: "s", Module: name, Target: "h:1"}, func(string, string, ...any) {}).Validate(func(string, string, ...any) {})
		}
	})
}

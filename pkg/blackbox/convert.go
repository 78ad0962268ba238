package blackbox

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"xunjian/pkg/check"
	"xunjian/pkg/config"
)

// followed is how many redirects blackbox_exporter follows.
const followed = 10

// refuse tells of keys that are given and cannot be honoured. What is written out and says no more than its absence is fine.
func refuse(fail config.Fail, why string, keys map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		switch v := reflect.ValueOf(keys[key]); {
		case !v.IsValid() || v.IsZero():
		case (v.Kind() == reflect.Map || v.Kind() == reflect.Slice) && v.Len() == 0:
		default:
			fail(key, "cannot be honoured: %s", why)
		}
	}
}

// spec is the check that the module makes, but for its name, service, target and pace.
func (m module) spec(dir string, fail config.Fail) check.Spec {
	s := check.Spec{Kind: m.Prober, Timeout: m.Timeout}
	at := config.Under(fail, m.Prober)
	switch m.Prober {
	case "http":
		m.HTTP.into(&s, dir, at)
	case "tcp":
		m.TCP.into(&s, dir, at)
	case "icmp":
		m.ICMP.family.into(&s)
		refuse(at, noSource, map[string]any{"source_ip_address": m.ICMP.Source})
		s.ICMP = check.ICMP{PayloadSize: m.ICMP.PayloadSize, DontFragment: m.ICMP.DontFragment, TTL: m.ICMP.TTL}
	case "dns":
		m.DNS.into(&s, dir, at)
	case "grpc":
		m.GRPC.into(&s, dir, at)
	default:
		fail("prober", "%q cannot be honoured: checks ask with http, tcp, icmp, dns and grpc", m.Prober)
	}
	return s
}

// into keeps blackbox_exporter's default, IPv6 first.
func (f family) into(s *check.Spec) {
	s.IPProtocol, s.IPFallback = cmp.Or(f.Preferred, "ip6"), f.Fallback
}

const (
	noSource = "the system chooses the address from which a check asks"
	noSecret = "secrets stay on the agent's host: give the check secrets, and http.basic_auth or http.bearer beside its module"
	noProxy  = "checks ask without a proxy"
	noCEL    = "use http.expect with json in a check of its own"
	noCert   = "checks show no certificate of their own"
)

func (t tlsConfig) into(s *check.Spec, dir string, fail config.Fail) {
	refuse(fail, noCert, map[string]any{"cert": t.Cert, "cert_file": t.CertFile, "cert_ref": t.CertRef, "key": t.Key, "key_file": t.KeyFile, "key_ref": t.KeyRef})
	refuse(fail, "write ca or ca_file", map[string]any{"ca_ref": t.CARef})
	s.TLS = check.TLS{CA: t.CA, ServerName: t.ServerName, SkipVerify: t.Insecure, MinVersion: t.MinVersion, MaxVersion: t.MaxVersion}
	if t.CAFile != "" {
		s.TLS.CAFile = within(dir, t.CAFile)
	}
	if t.Insecure { // then whom to trust means nothing
		s.TLS.CA, s.TLS.CAFile = "", ""
	}
}

func within(dir, file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(dir, file)
}

func (h httpProbe) into(s *check.Spec, dir string, fail config.Fail) {
	h.family.into(s)
	h.TLS.into(s, dir, config.Under(fail, "tls_config"))
	refuse(fail, noSecret, map[string]any{"basic_auth": h.BasicAuth, "authorization": h.Authorization, "bearer_token": h.Bearer, "bearer_token_file": h.BearerFile, "oauth2": h.OAuth2})
	refuse(fail, noProxy, map[string]any{"proxy_url": h.Proxy, "proxy_from_environment": h.ProxyEnv, "proxy_connect_header": h.ProxyHeader})
	refuse(fail, noCEL, map[string]any{"fail_if_body_json_matches_cel": h.CEL, "fail_if_body_json_not_matches_cel": h.NotCEL})
	if h.HTTP3 {
		fail("enable_http3", "cannot be honoured: checks speak HTTP/1.1")
	}
	s.HTTP = check.HTTP{
		Method: cmp.Or(h.Method, "GET"), Headers: h.headers(fail), Body: h.body(dir, fail), Status: h.Status, Versions: h.versions(fail),
		FailIfSSL: h.SSL, FailIfNotSSL: h.NotSSL, Expect: h.expect(), MaxBody: h.limit(fail), Redirects: followed,
	}
	if !h.follows() {
		s.HTTP.Redirects = 0
	}
	switch c := strings.ToLower(h.Compression); c {
	case "", "identity":
	case "gzip", "deflate":
		s.HTTP.Compression = c
	default:
		fail("compression", "%q cannot be honoured: want gzip, deflate or identity", h.Compression)
	}
}

// follows says that redirects are followed; of the two keys the old one decides.
func (h httpProbe) follows() bool {
	if h.NoFollow != nil {
		return !*h.NoFollow
	}
	return h.Follow == nil || *h.Follow
}

func (h httpProbe) headers(fail config.Fail) map[string]string {
	out := maps.Clone(h.Headers)
	for _, name := range slices.Sorted(maps.Keys(h.HTTPHeaders)) {
		l := h.HTTPHeaders[name]
		refuse(config.Under(fail, "http_headers."+name), noSecret, map[string]any{"secrets": l.Secrets, "files": l.Files})
		if len(l.Values) > 1 {
			fail("http_headers."+name, "cannot be honoured: a check sends one value of a header")
		}
		if len(l.Values) == 1 {
			if out == nil {
				out = map[string]string{}
			}
			out[name] = l.Values[0]
		}
	}
	return out
}

func (h httpProbe) body(dir string, fail config.Fail) string {
	if h.BodyFile == "" {
		return h.Body
	}
	if h.Body != "" {
		fail("body_file", "body is given too: want one of the two")
	}
	b, err := os.ReadFile(within(dir, h.BodyFile))
	if err != nil {
		fail("body_file", "%v", err)
	}
	return string(b)
}

// versions keeps those that checks speak; a module that wants none of them can never be well.
func (h httpProbe) versions(fail config.Fail) (out []string) {
	for _, v := range h.Versions {
		if v == "HTTP/1.0" || v == "HTTP/1.1" {
			out = append(out, v)
		}
	}
	if len(h.Versions) > 0 && len(out) == 0 {
		fail("valid_http_versions", "%v cannot be honoured: checks speak HTTP/1.1", h.Versions)
	}
	return out
}

func (h httpProbe) expect() (out []check.Expect) {
	for _, m := range h.HeaderHas {
		out = append(out, check.Expect{Header: m.Header, Refuse: m.Regexp, Exists: !m.Missing})
	}
	for _, m := range h.HeaderLacks {
		out = append(out, check.Expect{Header: m.Header, Match: m.Regexp, Missing: m.Missing})
	}
	for _, re := range h.BodyHas {
		out = append(out, check.Expect{Body: true, Refuse: re})
	}
	for _, re := range h.BodyLacks {
		out = append(out, check.Expect{Body: true, Match: re})
	}
	return out
}

// limit reads a size as 10MB or 64KiB, where K is 1024 either way.
func (h httpProbe) limit(fail config.Fail) int {
	if h.BodyLimit == "" || h.BodyLimit == "0" {
		return 0
	}
	digits := strings.TrimRight(h.BodyLimit, "KMGTPEiB")
	unit, ok := map[string]int{"": 1, "B": 1, "KB": 1 << 10, "KiB": 1 << 10, "MB": 1 << 20, "MiB": 1 << 20}[h.BodyLimit[len(digits):]]
	n, err := strconv.ParseFloat(digits, 64)
	switch size := n * float64(unit); {
	case err == nil && ok && size > 0 && size <= 1<<20:
		return int(size)
	case err == nil && !ok || err == nil && size > 1<<20:
		fail("body_size_limit", "%s cannot be honoured: checks read at most 1MiB", h.BodyLimit)
	default:
		fail("body_size_limit", "%q: want a size as 64KB", h.BodyLimit)
	}
	return 0
}

func (t tcpProbe) into(s *check.Spec, dir string, fail config.Fail) {
	t.family.into(s)
	t.TLS.into(s, dir, config.Under(fail, "tls_config"))
	refuse(fail, noSource, map[string]any{"source_ip_address": t.Source})
	s.TCP.TLS = t.UseTLS
	for i, q := range t.Turns {
		refuse(config.Under(fail, fmt.Sprintf("query_response[%d]", i)), "what is heard becomes no series", map[string]any{"labels": q.Labels})
		s.TCP.Dialogue = append(s.TCP.Dialogue, check.Exchange{Expect: q.Expect, ExpectBytes: q.ExpectBytes, Send: q.Send, StartTLS: q.StartTLS})
	}
}

func (d dnsProbe) into(s *check.Spec, dir string, fail config.Fail) {
	d.family.into(s)
	d.TLS.into(s, dir, config.Under(fail, "tls_config"))
	refuse(fail, noSource, map[string]any{"source_ip_address": d.Source})
	s.DNS = check.DNS{
		Name: d.Name, Type: cmp.Or(d.Type, "ANY"), Class: d.Class, Recursion: d.Recursion, Transport: d.Transport, TLS: d.UseTLS,
		Rcodes: d.Rcodes, Answer: d.Answer, Authority: d.Authority, Additional: d.Additional,
	}
}

func (g grpcProbe) into(s *check.Spec, dir string, fail config.Fail) {
	g.family.into(s)
	g.TLS.into(s, dir, config.Under(fail, "tls_config"))
	s.GRPC = check.GRPC{Service: g.Service, TLS: g.UseTLS}
	for _, name := range slices.Sorted(maps.Keys(g.Metadata)) {
		if len(g.Metadata[name]) != 1 {
			fail("metadata."+name, "cannot be honoured: a check sends one value of a key")
			continue
		}
		if s.GRPC.Metadata == nil {
			s.GRPC.Metadata = map[string]string{}
		}
		s.GRPC.Metadata[name] = g.Metadata[name][0]
	}
}

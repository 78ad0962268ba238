package probe

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/check"
)

func TestRedirects(t *testing.T) {
	ca := newTestCA(t)
	mux := http.NewServeMux()
	plain := httptest.NewServer(mux)
	defer plain.Close()
	secure := httptest.NewUnstartedServer(mux)
	secure.TLS = serverTLS(ca.issue(t, time.Now().Add(99*24*time.Hour)))
	secure.Config.ErrorLog = discardLog
	secure.StartTLS()
	defer secure.Close()
	to := func(path string, code int, location string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "seen", Value: "1"})
			w.Header().Set("Location", location)
			w.WriteHeader(code)
		})
	}
	mux.HandleFunc("/end", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		cookie, _ := r.Cookie("seen")
		fmt.Fprintf(w, "%s %s auth=%s cookie=%v", r.Method, body, r.Header.Get("Authorization"), cookie != nil)
	})
	to("/1", 302, "/end")
	to("/307", 307, "/end")
	to("/2", 301, "/1")
	to("/secure", 302, secure.URL+"/end")
	to("/loop", 302, "/loop")
	to("/metadata", 302, "http://169.254.169.254/latest")
	to("/rebound", 302, "http://rebound.example:"+strings.TrimPrefix(plain.URL, "http://127.0.0.1:")+"/end")
	to("/file", 302, "file:///etc/passwd")
	to("/away", 302, "/cas/login?service=x")
	to("/nowhere", 302, "http://"+closedPort(t)+"/")
	tests := map[string]struct {
		path    string
		follow  int
		method  string
		outcome check.Outcome
		class   check.Class
		reason  string
		body    string  // that must come
		hops    float64 // the one that was not followed included
	}{
		"not followed":        {"/1", 0, "GET", check.Fail, check.ClassStatus, "302 Found to /end", "", 1},
		"one":                 {"/1", 1, "GET", check.OK, "", "", "GET  auth=Basic dTpwdw== cookie=true", 1},
		"two":                 {"/2", 5, "GET", check.OK, "", "", "GET ", 2},
		"two, one allowed":    {"/2", 1, "GET", check.Fail, check.ClassStatus, "302 Found to /end", "", 2},
		"POST becomes GET":    {"/1", 5, "POST", check.OK, "", "", "GET  ", 1},
		"POST is repeated":    {"/307", 5, "POST", check.OK, "", "", "POST hello ", 1},
		"to TLS, no password": {"/secure", 5, "GET", check.OK, "", "", "auth= cookie=true", 1},
		"loop":                {"/loop", 10, "GET", check.Fail, check.ClassStatus, "302", "", 11},
		"to metadata":         {"/metadata", 5, "GET", check.Unknown, check.ClassSetup, "refused to connect", "", 1},
		"rebound to metadata": {"/rebound", 5, "GET", check.Unknown, check.ClassSetup, "refused to connect", "", 1},
		"to a file":           {"/file", 5, "GET", check.Fail, check.ClassStatus, "cannot be followed", "", 1},
		"to a login page":     {"/away", 5, "GET", check.Fail, check.ClassAuth, "login page /cas/login", "", 1},
		"to nobody":           {"/nowhere", 5, "GET", check.Fail, check.ClassConnect, "refused", "", 1},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			spec := patient(strings.Replace(plain.URL, "http://", "http://u:pw@", 1) + tc.path)
			spec.TLS.CA = ca.pem
			spec.HTTP = check.HTTP{Redirects: tc.follow, Method: tc.method, Body: map[string]string{"POST": "hello"}[tc.method]}
			if tc.body != "" {
				spec.HTTP.Expect = []check.Expect{{Body: true, Match: regexpOf(tc.body)}}
			}
			p := newTestProber(t, spec, Options{Resolver: names{addrs: []netip.Addr{netip.MustParseAddr("169.254.169.254")}}})
			a := p.attempt(t.Context(), true)
			wantAttempt(t, a, tc.outcome, tc.class, tc.reason)
			if a.Values[0] != tc.hops {
				t.Errorf("%v redirects, want %v", a.Values[0], tc.hops)
			}
			if name == "to TLS, no password" && (a.CertExpiry.IsZero() || a.Values[1] != 1) {
				t.Errorf("nothing told of TLS: %+v", a)
			}
		})
	}
}

func TestAllowedNetworks(t *testing.T) {
	var asked string
	dial := func(_ context.Context, _, addr string) (net.Conn, error) {
		asked = addr
		return nil, os.ErrDeadlineExceeded
	}
	for _, tc := range []struct {
		host  string
		allow []string
		dials bool
	}{
		{"169.254.10.1", nil, false},
		{"169.254.10.1", []string{"169.254.10.0/24"}, true},
		{"[::ffff:169.254.10.1]", []string{"169.254.10.0/24"}, true},
		{"169.254.169.254", []string{"169.254.10.0/24"}, false},
		{"[fe80::1]", []string{"fe80::/64"}, true},
	} {
		for _, kind := range []string{"http", "tcp", "tls", "dns", "grpc"} {
			asked = ""
			spec := patient("http://" + tc.host + ":80/")
			spec.Allow = tc.allow
			if spec.Kind = kind; kind != "http" {
				spec.Target = tc.host + ":80"
			}
			spec.DNS.Name = "a.example"
			newTestProber(t, spec, Options{Dial: dial}).attempt(t.Context(), true)
			if (asked != "") != tc.dials {
				t.Errorf("%s %s allowing %v: asked %q", kind, tc.host, tc.allow, asked)
			}
		}
	}
	spec := patient("http://127.0.0.1/")
	spec.Allow = []string{"nonsense"}
	if _, err := New(spec, Options{}); err == nil {
		t.Error("compiled")
	}
}

func TestAddressFamily(t *testing.T) {
	four, six := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	no := false
	for name, tc := range map[string]struct {
		protocol string
		fallback *bool
		addrs    []netip.Addr
		dialled  string
		class    check.Class
	}{
		"as they come":       {"", nil, []netip.Addr{six, four}, "[2001:db8::1]:1", check.ClassTimeout},
		"prefers 4":          {"ip4", nil, []netip.Addr{six, four}, "192.0.2.1:1", check.ClassTimeout},
		"prefers 6, has 4":   {"ip6", nil, []netip.Addr{four}, "192.0.2.1:1", check.ClassTimeout},
		"only 6, has only 4": {"ip6", &no, []netip.Addr{four}, "", check.ClassDNS},
	} {
		t.Run(name, func(t *testing.T) {
			var first string
			dial := func(_ context.Context, _, addr string) (net.Conn, error) {
				if first == "" {
					first = addr
				}
				return nil, os.ErrDeadlineExceeded
			}
			spec := patientTCP("svc.example:1", check.TCP{})
			spec.IPProtocol, spec.IPFallback = tc.protocol, tc.fallback
			a := newTestProber(t, spec, Options{Dial: dial, Resolver: names{addrs: tc.addrs}}).attempt(t.Context(), true)
			if first != tc.dialled || a.Class != tc.class {
				t.Errorf("dialled %q, %s %s", first, a.Class, a.Reason)
			}
		})
	}
}

func TestCompression(t *testing.T) {
	pack := func(w io.WriteCloser, b *bytes.Buffer, text string) string {
		io.WriteString(w, text)
		w.Close()
		return b.String()
	}
	gzipped := func(text string) string { var b bytes.Buffer; return pack(gzip.NewWriter(&b), &b, text) }
	deflated := func(text string) string {
		var b bytes.Buffer
		w, _ := flate.NewWriter(&b, 5)
		return pack(w, &b, text)
	}
	for name, tc := range map[string]struct {
		compression string
		body        string
		expect      []check.Expect
		outcome     check.Outcome
		reason      string
		length      int64
	}{
		"gzip":              {"gzip", gzipped("true"), []check.Expect{{Body: true, Equals: new("true")}}, check.OK, "", 4},
		"deflate":           {"deflate", deflated("true"), []check.Expect{{Body: true, Equals: new("true")}}, check.OK, "", 4},
		"not compressed":    {"gzip", "true, and more of it than a head", nil, check.Fail, "read body: gzip: invalid header", 0},
		"cut short":         {"gzip", gzipped(strings.Repeat("true", 1000))[:30], nil, check.Fail, "read body", 0},
		"bomb":              {"gzip", gzipped(strings.Repeat("\x00", 64<<20)), nil, check.Fail, "body over 1048576 bytes", maxBody},
		"bomb that is read": {"gzip", gzipped(strings.Repeat("\x00", 64<<20)), []check.Expect{{Body: true, Match: "x"}}, check.Fail, "body over 1048576 bytes", maxBody},
		"large":             {"gzip", gzipped(strings.Repeat("x", 900_000)), nil, check.OK, "", 900_000},
	} {
		t.Run(name, func(t *testing.T) {
			addr := rawServer(t, func(c net.Conn) {
				req := make([]byte, 4096)
				n, _ := c.Read(req)
				if !strings.Contains(string(req[:n]), "Accept-Encoding: "+tc.compression+"\r\n") {
					io.WriteString(c, "HTTP/1.1 400 No\r\n\r\n")
				}
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(tc.body), tc.body)
			})
			spec := patient("http://" + addr)
			spec.HTTP.Compression, spec.HTTP.Expect = tc.compression, tc.expect
			p := newTestProber(t, spec, Options{})
			before := allocated()
			a := p.attempt(t.Context(), true)
			if got := allocated() - before; got > 8<<20 {
				t.Errorf("allocated %d KiB", got>>10)
			}
			class := check.Class("")
			if tc.outcome == check.Fail {
				class = a.Class
			}
			wantAttempt(t, a, tc.outcome, class, tc.reason)
			if tc.length > 0 && a.Bytes != tc.length {
				t.Errorf("length %d, want %d", a.Bytes, tc.length)
			}
		})
	}
}

func TestCredentialsComeFromTheHost(t *testing.T) {
	const password = "geheim-9f2c"
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "pw"), []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "who is "+r.Header.Get("Authorization"), http.StatusForbidden)
	}))
	defer echo.Close()
	for name, tc := range map[string]struct {
		http check.HTTP
		want string // of the header as sent
	}{
		"basic":  {check.HTTP{BasicAuth: &check.BasicAuth{Username: "u", Password: "pw"}}, "Basic dTpnZWhlaW0tOWYyYw=="},
		"bearer": {check.HTTP{Bearer: "pw"}, "Bearer " + password},
	} {
		t.Run(name, func(t *testing.T) {
			var got string
			seen := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Get("Authorization") }))
			defer seen.Close()
			spec := patient(seen.URL)
			spec.HTTP, spec.Secrets = tc.http, map[string]check.Ref{"pw": {File: "pw"}}
			o := Options{Secrets: folder}
			wantAttempt(t, newTestProber(t, spec, o).attempt(t.Context(), true), check.OK, "", "")
			if got != tc.want {
				t.Errorf("sent %q, want %q", got, tc.want)
			}
			spec.Target = echo.URL
			a := newTestProber(t, spec, o).attempt(t.Context(), true)
			wantAttempt(t, a, check.Fail, check.ClassStatus, "403")
			if strings.Contains(a.Reason, "geheim") || strings.Contains(a.Reason, "dTpn") {
				t.Errorf("the reason tells: %s", a.Reason)
			}
			spec.Secrets["pw"] = check.Ref{File: "none"}
			wantAttempt(t, newTestProber(t, spec, o).attempt(t.Context(), true), check.Unknown, check.ClassSetup, "secret")
		})
	}
}

func TestHTTPWords(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Last-Modified", "Tue, 24 Nov 2026 00:00:00 GMT")
		io.WriteString(w, "0123456789")
	}))
	defer s.Close()
	for name, tc := range map[string]struct {
		http    check.HTTP
		outcome check.Outcome
		reason  string
	}{
		"version":          {check.HTTP{Versions: []string{"HTTP/1.1"}}, check.OK, ""},
		"other version":    {check.HTTP{Versions: []string{"HTTP/1.0"}}, check.Fail, "answer of HTTP/1.1"},
		"must be TLS":      {check.HTTP{FailIfNotSSL: true}, check.Fail, "without TLS"},
		"must not be TLS":  {check.HTTP{FailIfSSL: true}, check.OK, ""},
		"small enough":     {check.HTTP{MaxBody: 10}, check.OK, ""},
		"too large":        {check.HTTP{MaxBody: 9}, check.Fail, "body over 9 bytes"},
		"missing is fine":  {check.HTTP{Expect: []check.Expect{{Header: "X-A", Match: "b", Missing: true}}}, check.OK, ""},
		"missing is not":   {check.HTTP{Expect: []check.Expect{{Header: "X-A", Match: "b"}}}, check.Fail, "missing"},
		"there but not so": {check.HTTP{Expect: []check.Expect{{Header: "Last-Modified", Match: "Mon", Missing: true}}}, check.Fail, "want a match"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := patient(s.URL)
			spec.HTTP = tc.http
			a := ask(t, spec)
			class := check.Class("")
			if tc.outcome == check.Fail {
				class = check.ClassContent
			}
			wantAttempt(t, a, tc.outcome, class, tc.reason)
			if a.Values[2] != 1.1 || a.Values[3] != 10 || a.Values[4] != 1795478400 {
				t.Errorf("version, length, modified: %v", a.Values[2:5])
			}
		})
	}
}

func serverTLS(c tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{c}} }

func regexpOf(text string) string { return regexp.QuoteMeta(text) }

package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"xunjian/pkg/check"
)

func TestHTTPVerdicts(t *testing.T) {
	const form = `<html><title>门户</title><form><input name=u><input class="x" type='password'></form></html>`
	reply := func(status int, kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.Header().Set("X-Route", "echo")
			w.Header().Set("X-Token", "geheim-wort")
			w.WriteHeader(status)
			io.WriteString(w, body)
		}
	}
	redirect := func(to string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusFound)
		}
	}
	const json = `{"code":0,"result":{"seal":"监测专用章","status":"valid","n":null},"token":"geheim-wort"}`
	jsonReply := reply(200, "application/json", json)
	tests := map[string]struct {
		handler http.HandlerFunc
		http    check.HTTP
		outcome check.Outcome
		class   check.Class
		reason  string
	}{
		"200":                       {reply(200, "text/plain", "true"), check.HTTP{}, check.OK, "", ""},
		"204":                       {reply(204, "", ""), check.HTTP{}, check.OK, "", ""},
		"500":                       {reply(500, "text/plain", "broken"), check.HTTP{}, check.Fail, check.ClassStatus, "500 Internal Server Error, want 2xx: broken"},
		"500 page is not quoted":    {reply(500, "text/html", "<b>broken</b>"), check.HTTP{}, check.Fail, check.ClassStatus, "want 2xx"},
		"route lost":                {reply(404, "application/json", `{"message":"no Route matched with those values"}`), check.HTTP{}, check.Fail, check.ClassStatus, "no Route matched"},
		"401 wanted":                {reply(401, "application/json", `{"message":"No API key found in request"}`), check.HTTP{Status: []int{401}}, check.OK, "", ""},
		"200 where 401 is wanted":   {reply(200, "text/plain", ""), check.HTTP{Status: []int{401}}, check.Fail, check.ClassStatus, "want one of [401]"},
		"unknown status":            {reply(599, "text/html", ""), check.HTTP{}, check.Fail, check.ClassStatus, "599"},
		"redirect":                  {redirect("https://h/new?token=geheim"), check.HTTP{}, check.Fail, check.ClassStatus, "302 Found to https://h/new, want 2xx"},
		"redirect wanted":           {redirect("/cas/login"), check.HTTP{Status: []int{302}}, check.OK, "", ""},
		"redirect to login":         {redirect("/cas/login;jsessionid=99?ticket=geheim"), check.HTTP{}, check.Fail, check.ClassAuth, "302 Found to the login page /cas/login"},
		"redirect to an SSO host":   {redirect("https://sso.example.gov.cn/index"), check.HTTP{}, check.Fail, check.ClassAuth, "sso.example.gov.cn"},
		"login page":                {reply(200, "text/html", form), check.HTTP{}, check.Fail, check.ClassAuth, "login page"},
		"login page for JSON":       {reply(200, "text/html", form), check.HTTP{Expect: []check.Expect{{JSON: "code", Exists: true}}}, check.Fail, check.ClassAuth, "login page"},
		"login page is wanted":      {reply(200, "text/html", form), check.HTTP{Expect: []check.Expect{{Body: true, Match: "门户"}}}, check.OK, "", ""},
		"header alone is no wish":   {reply(200, "text/html", form), check.HTTP{Expect: []check.Expect{{Header: "X-Route", Exists: true}}}, check.Fail, check.ClassAuth, "login page"},
		"body equals":               {reply(200, "text/plain", "true"), check.HTTP{Expect: []check.Expect{{Body: true, Equals: new("true")}}}, check.OK, "", ""},
		"200 that says false":       {reply(200, "text/plain", "false"), check.HTTP{Expect: []check.Expect{{Body: true, Equals: new("true")}}}, check.Fail, check.ClassContent, `body is "false", want "true"`},
		"body wants a match":        {reply(200, "text/plain", "abc"), check.HTTP{Expect: []check.Expect{{Body: true, Match: "^x"}}}, check.Fail, check.ClassContent, "want a match of ^x"},
		"body refused":              {reply(200, "text/plain", "a fatal error"), check.HTTP{Expect: []check.Expect{{Body: true, Refuse: "fatal"}}}, check.Fail, check.ClassContent, "refused by fatal"},
		"empty body is refused too": {reply(200, "text/plain", ""), check.HTTP{Expect: []check.Expect{{Body: true, Refuse: "^$"}}}, check.Fail, check.ClassContent, "refused by"},
		"body is missing":           {reply(200, "text/plain", ""), check.HTTP{Expect: []check.Expect{{Body: true, Exists: true}}}, check.Fail, check.ClassContent, "body is missing"},
		"JSON holds":                {jsonReply, check.HTTP{Expect: []check.Expect{{JSON: "code", Equals: new("0")}, {JSON: "result.status", Match: "^valid$"}, {JSON: "result.n", Exists: true}}}, check.OK, "", ""},
		"JSON differs":              {jsonReply, check.HTTP{Expect: []check.Expect{{JSON: "result.status", Equals: new("revoked")}}}, check.Fail, check.ClassContent, `json result.status is "valid", want "revoked"`},
		"JSON path is missing":      {jsonReply, check.HTTP{Expect: []check.Expect{{JSON: "result.balance", Match: "."}}}, check.Fail, check.ClassContent, "json result.balance is missing"},
		"JSON path to refuse":       {jsonReply, check.HTTP{Expect: []check.Expect{{JSON: "result.balance", Refuse: "."}}}, check.OK, "", ""},
		"not JSON":                  {reply(200, "application/json", "{oops"), check.HTTP{Expect: []check.Expect{{JSON: "a", Exists: true}}}, check.Fail, check.ClassContent, "body is not JSON"},
		"JSON secret is not shown":  {jsonReply, check.HTTP{Expect: []check.Expect{{JSON: "token", Equals: new("other")}}}, check.Fail, check.ClassContent, "json token is ***, want ***"},
		"header holds":              {jsonReply, check.HTTP{Expect: []check.Expect{{Header: "x-route", Equals: new("echo")}}}, check.OK, "", ""},
		"header differs":            {jsonReply, check.HTTP{Expect: []check.Expect{{Header: "X-Route", Equals: new("other")}}}, check.Fail, check.ClassContent, `header X-Route is "echo"`},
		"header secret":             {jsonReply, check.HTTP{Expect: []check.Expect{{Header: "X-Token", Equals: new("other")}}}, check.Fail, check.ClassContent, "header X-Token is ***"},
		"header is missing":         {jsonReply, check.HTTP{Expect: []check.Expect{{Header: "X-None", Exists: true}}}, check.Fail, check.ClassContent, "header X-None is missing"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(tc.handler)
			defer server.Close()
			spec := patient(server.URL)
			spec.HTTP = tc.http
			a := ask(t, spec)
			wantAttempt(t, a, tc.outcome, tc.class, tc.reason)
			if strings.Contains(a.Reason, "geheim") {
				t.Errorf("the reason tells a secret: %s", a.Reason)
			}
			if len(a.Phases) != 4 {
				t.Errorf("phases %v, want resolve, connect, processing, transfer", a.Phases)
			}
		})
	}
}

func TestRequestIsSentAsWritten(t *testing.T) {
	type seen struct{ method, host, agent, auth, query, header, body string }
	got := make(chan seen, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		user, password, _ := r.BasicAuth()
		got <- seen{r.Method, r.Host, r.UserAgent(), user + "/" + password, r.URL.Query().Get("n"), r.Header.Get("X-Nonce"), string(b)}
		fmt.Fprintf(w, `{"echo":%q}`, r.URL.Query().Get("n"))
	}))
	defer server.Close()
	spec := patient(strings.Replace(server.URL, "http://", "http://u:p@", 1) + "/a?n={nonce}")
	spec.HTTP = check.HTTP{
		Method: "POST", Headers: map[string]string{"Host": "svc.example", "X-Nonce": "{nonce}"}, Body: `{"id":"{nonce}"}`,
		Expect: []check.Expect{{JSON: "echo", Equals: new("{nonce}")}},
	}
	p := newTestProber(t, spec, Options{})
	nonces := map[string]bool{}
	for range 2 {
		wantAttempt(t, p.attempt(t.Context(), true), check.OK, "", "")
		s := <-got
		want := seen{"POST", "svc.example", "Xunjian-Probe/1", "u/p", s.query, s.query, `{"id":"` + s.query + `"}`}
		if s != want || len(s.query) != 16 {
			t.Errorf("sent %+v, want %+v", s, want)
		}
		nonces[s.query] = true
	}
	if len(nonces) != 2 {
		t.Error("the nonce is the same in two attempts")
	}
}

func TestCachedAnswerIsFoundOut(t *testing.T) {
	var first atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first.CompareAndSwap(nil, r.URL.Query().Get("n"))
		io.WriteString(w, first.Load().(string))
	}))
	defer server.Close()
	spec := patient(server.URL + "/?n={nonce}")
	spec.HTTP.Expect = []check.Expect{{Body: true, Equals: new("{nonce}")}}
	p := newTestProber(t, spec, Options{})
	wantAttempt(t, p.attempt(t.Context(), true), check.OK, "", "")
	wantAttempt(t, p.attempt(t.Context(), true), check.Fail, check.ClassContent, "body is")
}

func TestHead(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
	}))
	defer server.Close()
	spec := patient(server.URL)
	spec.HTTP.Method = "HEAD"
	p := newTestProber(t, spec, Options{})
	for range 3 {
		wantAttempt(t, p.attempt(t.Context(), false), check.OK, "", "")
	}
}

func TestTLSVerdicts(t *testing.T) {
	ca, other := newTestCA(t), newTestCA(t)
	until := time.Now().Add(100 * time.Hour).Truncate(time.Second)
	gone := time.Now().Add(-time.Hour).Truncate(time.Second)
	tests := map[string]struct {
		tls     check.TLS
		until   time.Time
		outcome check.Outcome
		class   check.Class
		reason  string
	}{
		"trusted":       {check.TLS{CA: ca.pem}, until, check.OK, "", ""},
		"expired":       {check.TLS{CA: ca.pem}, gone, check.Fail, check.ClassTLS, "expired"},
		"untrusted":     {check.TLS{CA: other.pem}, until, check.Fail, check.ClassTLS, "unknown authority"},
		"system's CAs":  {check.TLS{}, until, check.Fail, check.ClassTLS, "unknown authority"},
		"other name":    {check.TLS{CA: ca.pem, ServerName: "other.example"}, until, check.Fail, check.ClassTLS, "other.example"},
		"named":         {check.TLS{CA: ca.pem, ServerName: "svc.example"}, until, check.OK, "", ""},
		"trusts anyone": {check.TLS{SkipVerify: true}, gone, check.OK, "", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "true") }))
			server.TLS = &tls.Config{Certificates: []tls.Certificate{ca.issue(t, tc.until)}}
			server.Config.ErrorLog = discardLog
			server.StartTLS()
			defer server.Close()
			spec := patient(server.URL)
			spec.TLS = tc.tls
			a := ask(t, spec)
			wantAttempt(t, a, tc.outcome, tc.class, tc.reason)
			if !a.CertExpiry.Equal(tc.until) {
				t.Errorf("expiry %v, want %v whatever the verdict", a.CertExpiry, tc.until)
			}
		})
	}
}

func TestHostHeaderNamesTheCertificate(t *testing.T) {
	ca := newTestCA(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{ca.issue(t, time.Now().Add(time.Hour))}}
	server.Config.ErrorLog = discardLog
	server.StartTLS()
	defer server.Close()
	spec := patient(server.URL)
	spec.TLS.CA = ca.pem
	for host, outcome := range map[string]check.Outcome{"svc.example:443": check.OK, "svc.example": check.OK, "other.example": check.Fail} {
		spec.HTTP.Headers = map[string]string{"host": host}
		if a := ask(t, spec); a.Outcome != outcome {
			t.Errorf("host %s: %s %s", host, a.Outcome, a.Reason)
		}
	}
}

// counting is a dialer that counts.
type counting struct{ n atomic.Int64 }

func (c *counting) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c.n.Add(1)
	return plainDialer.DialContext(ctx, network, addr)
}

func TestKeptConnection(t *testing.T) {
	var closeNow, cutNow atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if cutNow.Swap(false) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
			return
		}
		if closeNow.Load() {
			w.Header().Set("Connection", "close")
		}
		io.WriteString(w, "true")
	}))
	defer server.Close()
	var dials counting
	p := newTestProber(t, patient(server.URL), Options{Dial: dials.dial})
	step := func(what string, fresh bool, dialled int64, phases int) {
		t.Helper()
		before := dials.n.Load()
		a := p.attempt(t.Context(), fresh)
		wantAttempt(t, a, check.OK, "", "")
		if got := dials.n.Load() - before; got != dialled || len(a.Phases) != phases {
			t.Errorf("%s: %d dials and phases %v, want %d dials and %d phases", what, got, a.Phases, dialled, phases)
		}
	}
	step("first", false, 1, 4)
	step("second", false, 0, 2)
	step("when told so", true, 1, 4)
	step("on the fresh one", false, 0, 2)
	cutNow.Store(true)
	step("cut just as it is used again", false, 1, 4)
	server.CloseClientConnections()
	step("after the peer hung up", false, 1, 4)
	closeNow.Store(true)
	step("peer announces the end", false, 0, 2)
	step("which is then respected", false, 1, 4)
}

// A word out of turn on an idle connection is no answer to the next request.
func TestKeptConnectionIsLookedAt(t *testing.T) {
	spoke := make(chan struct{}, 10)
	addr := rawServer(t, func(conn net.Conn) {
		readRequest(conn)
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		time.Sleep(20 * time.Millisecond)
		io.WriteString(conn, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
		spoke <- struct{}{}
		readRequest(conn)
	})
	p := newTestProber(t, patient("http://"+addr), Options{})
	for range 3 {
		a := p.attempt(t.Context(), false)
		if wantAttempt(t, a, check.OK, "", ""); t.Failed() {
			return
		}
		<-spoke
	}
}

// An answer that breaks off is a failure on a kept connection too; only one that never began is asked for anew.
func TestBrokenAnswerOnKeptConnection(t *testing.T) {
	addr := rawServer(t, func(conn net.Conn) {
		readRequest(conn)
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		readRequest(conn)
		io.WriteString(conn, "HTTP/1.1 2")
	})
	p := newTestProber(t, patient("http://"+addr), Options{})
	wantAttempt(t, p.attempt(t.Context(), false), check.OK, "", "")
	wantAttempt(t, p.attempt(t.Context(), false), check.Fail, check.ClassReset, "connection broke")
}

func TestKeptConnectionEndsWithItsCertificate(t *testing.T) {
	ca := newTestCA(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{ca.issue(t, time.Now().Add(time.Hour))}}
	server.StartTLS()
	defer server.Close()
	spec := patient(server.URL)
	spec.TLS.CA = ca.pem
	var dials counting
	p := newTestProber(t, spec, Options{Dial: dials.dial})
	wantAttempt(t, p.attempt(t.Context(), false), check.OK, "", "")
	p.asker.(*httpAsker).kept.shown.expiry = time.Now().Add(-time.Second)
	wantAttempt(t, p.attempt(t.Context(), false), check.OK, "", "")
	if dials.n.Load() != 2 {
		t.Error("went on over a connection whose certificate has run out")
	}
}

func TestNothingIsKeptAfterClose(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	p := newTestProber(t, patient(server.URL), Options{})
	wantAttempt(t, p.attempt(t.Context(), false), check.OK, "", "")
	kept := p.asker.(*httpAsker).kept
	p.Close()
	if _, err := kept.raw.Write(nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the kept connection is open after Close: %v", err)
	}
	wantAttempt(t, p.attempt(t.Context(), false), check.OK, "", "")
	if p.asker.(*httpAsker).kept != nil {
		t.Error("an attempt that outlived Close keeps its connection")
	}
}

func TestPostIsNeverSentTwice(t *testing.T) {
	var posts atomic.Int64
	addr := rawServer(t, func(conn net.Conn) {
		for r := bufio.NewReader(conn); ; {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			io.Copy(io.Discard, req.Body)
			if posts.Add(1) > 1 {
				return // hang up instead of answering
			}
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	spec := patient("http://" + addr)
	spec.HTTP.Method, spec.HTTP.Body = "POST", "one message"
	p := newTestProber(t, spec, Options{})
	wantAttempt(t, p.attempt(t.Context(), false), check.OK, "", "")
	wantAttempt(t, p.attempt(t.Context(), false), check.Fail, check.ClassReset, "")
	if posts.Load() != 2 {
		t.Errorf("%d posts, want 2", posts.Load())
	}
}

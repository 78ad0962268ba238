package probe

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"xunjian/pkg/check"
)

// What an answer may cost at most.
const (
	maxHead  = 64 << 10 // status line and headers
	maxBody  = 1 << 20  // all that is read of a connection, and again of a body when uncompressed
	maxEarly = 5        // answers 1xx before the real one
)

// httpAsker speaks HTTP/1.1 on connections of its own: every byte is read by the goroutine that asks, under one deadline,
// and it alone decides whether a connection is kept.
type httpAsker struct {
	dialer
	request  *http.Request // for reading the answer
	wire     []byte        // the request as sent
	hole     []byte        // where the nonce goes, nil when the check has none
	body     string        // as configured, for a redirect that repeats it
	judge    judge
	secrets  secrets
	refs     httpSecrets
	keepable bool
	series   bool        // of TLS, too
	hopTLS   *tls.Config // of redirects, with the name of each hop's host
	follow   int         // redirects that are followed

	mu     sync.Mutex
	kept   *link
	closed bool
}

func newHTTP(spec check.Spec, env Env) (Asker, error) {
	u, err := url.Parse(spec.Target)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("target %s: not an http or https URL", maskTarget(spec.Target))
	}
	h := &httpAsker{body: spec.HTTP.Body, series: overTLS(spec), follow: spec.HTTP.Redirects}
	if h.dialer, err = newDialer(spec, env, u.Hostname(), portOf(u)); err != nil {
		return nil, err
	}
	if h.hopTLS, err = tlsConfig(spec, cmp.Or(hostHeader(spec), u.Hostname())); err != nil {
		return nil, err
	}
	if h.hopTLS != nil {
		h.hopTLS.NextProtos = []string{"http/1.1"}
	}
	if u.Scheme == "https" {
		h.tls = h.hopTLS
	}
	if h.judge, err = newJudge(spec); err != nil {
		return nil, err
	}
	if err := h.write(spec); err != nil {
		return nil, err
	}
	h.refs = newHTTPSecrets(spec, env)
	h.keepable = spec.Every < env.FullEvery && (h.request.Method == "GET" || h.request.Method == "HEAD")
	return h, nil
}

func portOf(u *url.URL) string {
	return cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
}

// hostHeader is the name that the check asks for when it differs from the one it connects to.
func hostHeader(spec check.Spec) string {
	for name, value := range spec.HTTP.Headers {
		if strings.EqualFold(name, "Host") {
			host, _, err := net.SplitHostPort(value)
			if err != nil {
				return value
			}
			return host
		}
	}
	return ""
}

// write renders the request once; a nonce is later put in place of a mark of the same length.
func (h *httpAsker) write(spec check.Spec) error {
	mark := newNonce()
	fill := func(s string) string { return strings.ReplaceAll(s, check.Nonce, mark) }
	req, err := http.NewRequest(spec.HTTP.Method, fill(spec.Target), strings.NewReader(fill(spec.HTTP.Body)))
	if err != nil {
		return fmt.Errorf("request: %w", err)
	}
	req.Header.Set("User-Agent", "Xunjian-Probe/1")
	if spec.HTTP.Compression != "" {
		req.Header.Set("Accept-Encoding", spec.HTTP.Compression)
	}
	if u := req.URL.User; u != nil {
		password, _ := u.Password()
		req.SetBasicAuth(u.Username(), password)
		h.secrets.add(password)
	}
	for name, value := range spec.HTTP.Headers {
		if strings.EqualFold(name, "Host") {
			req.Host = fill(value)
			continue
		}
		req.Header.Set(name, fill(value))
	}
	h.learnSecrets(req)
	var b bytes.Buffer
	if err := req.Write(&b); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	req.Body = nil
	h.request, h.wire = req, b.Bytes()
	if bytes.Contains(h.wire, []byte(mark)) {
		h.hole = []byte(mark)
	}
	return nil
}

func (h *httpAsker) learnSecrets(req *http.Request) {
	for name := range req.Header {
		if value := req.Header.Get(name); isSecretName(name) {
			h.secrets.add(value)
			_, bare, _ := strings.Cut(value, " ") // Bearer …
			h.secrets.add(bare)
		}
	}
	for name, values := range req.URL.Query() {
		if isSecretName(name) {
			h.secrets.add(values[0])
			h.secrets.add(url.QueryEscape(values[0]))
		}
	}
}

// Ask sends the request on the kept connection when there is one and it may be used, else on a new one.
func (h *httpAsker) Ask(ctx context.Context, fresh bool) check.Attempt {
	s := shot{hop: hop{request: h.request, wire: h.wire}}
	if err := h.arm(&s); err != nil {
		return setup(err)
	}
	if l := h.take(fresh); l != nil {
		s.watch = startWatch()
		stale := h.exchange(ctx, l, &s)
		if !stale {
			return h.end(ctx, &s)
		}
		// The peer hung up on an idle connection just as it was used again: that says nothing of its health.
		s.bad = nil
	}
	s.watch = startWatch()
	if s.link, s.bad = h.open(ctx, s.watch); s.bad == nil {
		h.exchange(ctx, s.link, &s)
	}
	return h.end(ctx, &s)
}

// shot is one attempt under way: the hop that it is at, and what came of it so far.
type shot struct {
	hop
	secrets   secrets // of this attempt alone
	watch     *stopwatch
	link      *link // of the last hop
	kept      bool  // that link was shaken hands on before
	resp      *http.Response
	body      body
	redirects int
	jar       jar
	bad       *fault
	elsewhere bool // the last answer is a redirect that is to be followed
}

// hop is one request.
type hop struct {
	request *http.Request
	wire    []byte
	nonce   string
}

// arm puts nonce and secrets into the request.
func (h *httpAsker) arm(s *shot) error {
	if h.hole != nil {
		s.nonce = newNonce()
		s.wire = bytes.ReplaceAll(s.wire, h.hole, []byte(s.nonce))
	}
	header, found, err := h.refs.header()
	if err != nil || header == "" {
		return err
	}
	s.secrets = found
	// Before the blank line that ends the head.
	head, rest, _ := bytes.Cut(s.wire, []byte("\r\n\r\n"))
	s.wire = bytes.Join([][]byte{head, []byte("\r\nAuthorization: " + header + "\r\n\r\n"), rest}, nil)
	return nil
}

// end follows what redirects are left to follow, and makes the attempt of it.
func (h *httpAsker) end(ctx context.Context, s *shot) check.Attempt {
	for s.elsewhere && s.bad == nil {
		h.goElsewhere(ctx, s)
	}
	defer s.body.release()
	a := verdict(s.bad)
	a.Reason = s.secrets.hide(h.secrets.hide(a.Reason))
	a.Phases = s.watch.phases
	if s.resp != nil {
		a.Status, a.Bytes = s.resp.StatusCode, s.body.length
	}
	a.Values = netValues(httpValues(s), s.link, h.series)
	if s.kept {
		a.CertExpiry = s.link.shown.expiry
	} else {
		s.link.tell(&a, h.expiry)
	}
	return a
}

// exchange sends, reads and judges, and keeps the connection if it may. Stale says that a kept connection ended before the
// answer's first byte.
func (h *httpAsker) exchange(ctx context.Context, l *link, s *shot) (stale bool) {
	s.link, s.kept = l, l.used
	l.used = true
	stop := l.endWith(ctx)
	keep := false
	defer func() {
		if unharmed := stop(); keep && unharmed {
			h.put(l)
		} else {
			l.raw.Close()
		}
	}()
	s.resp, s.bad = s.converse(ctx, l) //nolint:bodyclose // the body is read off our own connection, which put or Close ends
	s.watch.lap("processing")
	if s.bad != nil {
		return s.kept && s.bad.class == check.ClassReset && l.meter.left == maxHead
	}
	if s.elsewhere = s.redirects < h.follow && leadsElsewhere(s.resp); s.elsewhere {
		return false
	}
	var badBody *fault
	s.body, badBody = h.judge.read(ctx, s.resp)
	s.watch.lap("transfer")
	s.bad = h.judge.judge(ctx, answer{s.resp, s.body.bytes(), s.nonce, l.Conn != l.raw}, badBody)
	keep = s.bad == nil && s.redirects == 0 && !s.resp.Close && l.reader.Buffered() == 0
	return false
}

// converse ends at the headers of the answer.
func (h *hop) converse(ctx context.Context, l *link) (*http.Response, *fault) {
	l.meter.left = maxHead
	if _, err := l.Write(h.wire); err != nil {
		return nil, blame(ctx, "send request", err, check.ClassReset)
	}
	for range maxEarly {
		resp, err := http.ReadResponse(l.reader, h.request)
		if err != nil {
			return nil, l.blameHead(ctx, err)
		}
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			l.meter.left += maxBody - maxHead
			return resp, nil
		}
	}
	return nil, failed(check.ClassContent, "read answer: more than %d interim answers", maxEarly)
}

// blameHead looks at the connection before it believes the parser, to which a head cut short is only a malformed one.
func (l *link) blameHead(ctx context.Context, err error) *fault {
	switch {
	case l.meter.left <= 0:
		return failed(check.ClassContent, "read answer: headers over %d KiB", maxHead>>10)
	case l.meter.ended:
		err = io.ErrUnexpectedEOF
	}
	return blame(ctx, "read answer", err, check.ClassContent)
}

// take is the kept connection if it is young, quiet and not past its certificate.
func (h *httpAsker) take(fresh bool) *link {
	h.mu.Lock()
	l := h.kept
	h.kept = nil
	h.mu.Unlock()
	if l == nil {
		return nil
	}
	now := time.Now()
	expired := !l.shown.expiry.IsZero() && !now.Before(l.shown.expiry)
	if fresh || expired || now.Sub(l.opened) >= h.env.FullEvery || !alive(l.raw) {
		l.raw.Close()
		return nil
	}
	l.renew()
	return l
}

// put keeps at most one connection.
func (h *httpAsker) put(l *link) {
	if !h.keepable {
		l.raw.Close()
		return
	}
	h.mu.Lock()
	out := h.kept
	if h.closed {
		out = l
	} else {
		h.kept = l
	}
	h.mu.Unlock()
	if out != nil {
		out.raw.Close()
	}
}

// Close gives back the kept connection; attempts still under way end without keeping theirs.
func (h *httpAsker) Close() error {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.take(true)
	return nil
}

package probe

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"xunjian/pkg/check"
)

// What an answer may cost at most.
const (
	maxHead  = 64 << 10 // status line and headers
	maxBody  = 1 << 20
	maxExtra = 1 << 20 // framing around the body: chunk sizes, trailers
	maxEarly = 5       // answers 1xx before the real one
)

// httpAsker speaks HTTP/1.1 on connections of its own: every byte is read by the goroutine that asks, under one deadline,
// and it alone decides whether a connection is kept.
type httpAsker struct {
	dialer
	request  *http.Request // for reading the answer
	wire     []byte        // the request as sent
	hole     []byte        // where the nonce goes, nil when the check has none
	judge    judge
	secrets  secrets
	keepable bool

	mu     sync.Mutex
	kept   *link
	closed bool
}

func newHTTP(spec check.Spec, env Env) (Asker, error) {
	u, err := url.Parse(spec.Target)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("target %s: not an http or https URL", maskTarget(spec.Target))
	}
	h := &httpAsker{dialer: dialer{env: env, host: u.Hostname(), port: u.Port()}}
	if h.port == "" {
		h.port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	if h.tls, err = tlsConfig(spec, cmp.Or(hostHeader(spec), u.Hostname())); err != nil {
		return nil, err
	}
	if h.tls != nil {
		h.tls.NextProtos = []string{"http/1.1"}
	}
	if h.judge, err = newJudge(spec); err != nil {
		return nil, err
	}
	if err := h.write(spec); err != nil {
		return nil, err
	}
	h.keepable = spec.Every < env.FullEvery && (h.request.Method == "GET" || h.request.Method == "HEAD")
	return h, nil
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

func newNonce() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// Ask sends the request on the kept connection when there is one and it may be used, else on a new one.
func (h *httpAsker) Ask(ctx context.Context, fresh bool) check.Attempt {
	if l := h.take(fresh); l != nil {
		a, stale := h.exchange(ctx, l, startWatch())
		if !stale {
			return a
		}
		// The peer hung up on an idle connection just as it was used again: that says nothing of its health.
	}
	w := startWatch()
	l, bad := h.open(ctx, w)
	if bad != nil {
		a := check.Attempt{Phases: w.phases}
		if l != nil {
			a.CertExpiry = l.expiry
		}
		return h.verdict(a, bad)
	}
	a, _ := h.exchange(ctx, l, w)
	return a
}

func (h *httpAsker) verdict(a check.Attempt, bad *fault) check.Attempt {
	a.Outcome = check.OK
	if bad != nil {
		a.Outcome, a.Class, a.Reason = bad.outcome, bad.class, h.secrets.hide(bad.reason)
	}
	return a
}

// exchange sends, reads and judges. Stale says that a kept connection ended before the answer's first byte.
func (h *httpAsker) exchange(ctx context.Context, l *link, w *stopwatch) (a check.Attempt, stale bool) {
	used := l.used
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
	nonce, resp, bad := h.converse(ctx, l) //nolint:bodyclose // the body is read off our own connection, which put or Close ends
	w.lap("processing")
	a = check.Attempt{Phases: w.phases, CertExpiry: l.expiry}
	if bad != nil {
		return h.verdict(a, bad), used && bad.class == check.ClassReset && l.meter.left == maxHead
	}
	body, badBody := readBody(ctx, resp)
	defer body.release()
	w.lap("transfer")
	a.Phases, a.Status, a.Bytes = w.phases, resp.StatusCode, int64(len(body.bytes()))
	bad = h.judge.judge(answer{resp, body.bytes(), nonce}, badBody)
	keep = bad == nil && !resp.Close && l.reader.Buffered() == 0
	return h.verdict(a, bad), false
}

// converse ends at the headers of the answer.
func (h *httpAsker) converse(ctx context.Context, l *link) (string, *http.Response, *fault) {
	wire, nonce := h.wire, ""
	if h.hole != nil {
		nonce = newNonce()
		wire = bytes.ReplaceAll(wire, h.hole, []byte(nonce))
	}
	l.meter.left = maxHead
	if _, err := l.Write(wire); err != nil {
		return nonce, nil, blame(ctx, "send request", err, check.ClassReset)
	}
	for range maxEarly {
		resp, err := http.ReadResponse(l.reader, h.request)
		if err != nil {
			return nonce, nil, l.blameHead(ctx, err)
		}
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			l.meter.left = maxBody + maxExtra
			return nonce, resp, nil
		}
	}
	return nonce, nil, failed(check.ClassContent, "read answer: more than %d interim answers", maxEarly)
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
	expired := !l.expiry.IsZero() && !now.Before(l.expiry)
	if fresh || expired || now.Sub(l.opened) >= h.env.FullEvery || !alive(l.raw) {
		l.raw.Close()
		return nil
	}
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

// body is what was read of an answer's body, in a buffer that is used again.
type body struct{ buf *bytes.Buffer }

// maxPooled keeps the buffers of a few large answers from staying for ever.
const maxPooled = 64 << 10

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (b body) bytes() []byte { return b.buf.Bytes() }

func (b body) release() {
	if b.buf.Cap() <= maxPooled {
		b.buf.Reset()
		buffers.Put(b.buf)
	}
}

// readBody reads to the end or the cap, compressed bodies as they are.
func readBody(ctx context.Context, resp *http.Response) (body, *fault) {
	b := body{buffers.Get().(*bytes.Buffer)}
	n, err := b.buf.ReadFrom(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case n > maxBody, errors.Is(err, errTooMuch):
		b.buf.Truncate(int(min(n, maxBody)))
		return b, failed(check.ClassContent, "body over %d bytes", maxBody)
	case err != nil:
		return b, blame(ctx, "read body", err, check.ClassContent)
	}
	return b, nil
}

func formatStatus(code int) string {
	if text := http.StatusText(code); text != "" {
		return strconv.Itoa(code) + " " + text
	}
	return strconv.Itoa(code)
}

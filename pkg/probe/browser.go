package probe

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/url"

	"xunjian/pkg/check"
	"xunjian/pkg/flow"
)

// browser makes the exchanges of one run of a flow: HTTP/1.1 on connections that are kept within the run, each opened through
// the guarded dialer, wherever a redirect leads. Only the run's own goroutine uses it.
type browser struct {
	spec check.Spec
	env  Env
	home string      // host of the target
	tls  *tls.Config // with the name of the target
	idle map[string]*link
	last *link // the newest connection to the target, for what it showed
}

// maxIdle bounds the connections that a run keeps.
const maxIdle = 8

func newBrowser(spec check.Spec, env Env, tls *tls.Config) *browser {
	b := &browser{spec: spec, env: env, tls: tls, idle: map[string]*link{}}
	if u, err := url.Parse(spec.Target); err == nil {
		b.home = u.Hostname()
	}
	return b
}

// Do makes one exchange. A kept connection carries only what may be asked twice: whether the other side has hung up in this
// very moment cannot be known.
func (b *browser) Do(ctx context.Context, r *flow.Request) (*flow.Answer, error) {
	req, wire, err := render(r)
	if err != nil {
		return nil, flowFault(failed(check.ClassContent, "request: %v", err))
	}
	w := startWatch()
	key := r.URL.Scheme + "://" + r.URL.Host
	if l := b.idle[key]; l != nil {
		delete(b.idle, key)
		if (r.Method == http.MethodGet || r.Method == http.MethodHead) && alive(l.raw) {
			l.renew()
			a, bad := b.exchange(ctx, l, w, key, &hop{request: req, wire: wire})
			if bad == nil || bad.class != check.ClassReset || l.meter.left != maxHead {
				return a, flowFault(bad)
			}
			w = startWatch()
		} else {
			l.raw.Close()
		}
	}
	l, bad := b.open(ctx, w, r.URL)
	if bad != nil {
		return nil, flowFault(bad)
	}
	a, bad := b.exchange(ctx, l, w, key, &hop{request: req, wire: wire})
	return a, flowFault(bad)
}

// render is the request as it is sent, and as the answer's reader wants it.
func render(r *flow.Request) (*http.Request, []byte, error) {
	req, err := http.NewRequest(r.Method, r.URL.String(), bytes.NewReader(r.Body))
	if err != nil {
		return nil, nil, err
	}
	req.Header = r.Header.Clone()
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	if u := r.URL.User; u != nil && req.Header.Get("Authorization") == "" {
		password, _ := u.Password()
		req.SetBasicAuth(u.Username(), password)
	}
	var b bytes.Buffer
	if err := req.Write(&b); err != nil {
		return nil, nil, err
	}
	req.Body = nil
	return req, b.Bytes(), nil
}

func (b *browser) open(ctx context.Context, w *stopwatch, u *url.URL) (*link, *fault) {
	d, err := newDialer(b.spec, b.env, u.Hostname(), portOf(u))
	if err != nil {
		return nil, unable(check.ClassSetup, "%v", err)
	}
	if u.Scheme == "https" {
		d.tls = b.tls.Clone()
		if d.host != b.home {
			d.tls.ServerName, d.names = d.host, nil
		}
	}
	l, bad := d.open(ctx, w)
	if d.host == b.home && l != nil {
		b.last = l
	}
	return l, bad
}

// exchange sends, reads all, and keeps the connection if it may.
func (b *browser) exchange(ctx context.Context, l *link, w *stopwatch, key string, h *hop) (*flow.Answer, *fault) {
	stop := l.endWith(ctx)
	keep := false
	defer func() {
		if unharmed := stop(); keep && unharmed && len(b.idle) < maxIdle {
			b.idle[key] = l
		} else {
			l.raw.Close()
		}
	}()
	resp, bad := h.converse(ctx, l) //nolint:bodyclose // the body is read off our own connection, which is kept or closed
	w.lap("processing")
	if bad != nil {
		return nil, bad
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	w.lap("transfer")
	switch {
	case len(body) > maxBody, errors.Is(err, errTooMuch):
		return nil, failed(check.ClassContent, "body over %d bytes", maxBody)
	case err != nil:
		return nil, blame(ctx, "read body", err, check.ClassContent)
	}
	keep = !resp.Close && resp.StatusCode != http.StatusSwitchingProtocols && l.reader.Buffered() == 0
	return &flow.Answer{Status: resp.StatusCode, Header: resp.Header, Body: body, Phases: w.phases, Expiry: l.shown.expiry}, nil
}

func (b *browser) close() {
	for _, l := range b.idle {
		l.raw.Close()
	}
}

// flowFault is nil for nil.
func flowFault(bad *fault) error {
	if bad == nil {
		return nil
	}
	return &flow.Fault{Outcome: bad.outcome, Class: bad.class, Reason: bad.reason}
}

package channel

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/proxy"
)

const maxAnswer = 64 << 10

// dial opens a connection, through the proxy when one is configured.
type dial func(ctx context.Context, network, addr string) (net.Conn, error)

// wiring is how a channel reaches the other side.
type wiring struct {
	dial   dial // goes through the proxy
	tls    *tls.Config
	client *http.Client
}

func newWiring(s Settings, direct dial) (wiring, error) {
	if direct == nil {
		direct = (&net.Dialer{Timeout: s.Timeout}).DialContext
	}
	w := wiring{dial: direct, tls: &tls.Config{MinVersion: tls.VersionTLS12}}
	if s.CAFile != "" {
		pem, err := os.ReadFile(s.CAFile)
		if err != nil {
			return w, fmt.Errorf("channel %s: %w", s.Name, err)
		}
		w.tls.RootCAs = x509.NewCertPool()
		if !w.tls.RootCAs.AppendCertsFromPEM(pem) {
			return w, fmt.Errorf("channel %s: no certificate in %s", s.Name, s.CAFile)
		}
	}
	t := &http.Transport{
		DialContext: direct, TLSClientConfig: w.tls, MaxIdleConnsPerHost: 1, MaxConnsPerHost: 8, IdleConnTimeout: 90 * time.Second, MaxResponseHeaderBytes: maxAnswer,
	}
	if s.Proxy != "" {
		u, err := url.Parse(s.Proxy)
		if err != nil {
			return w, fmt.Errorf("channel %s: proxy: %w", s.Name, err)
		}
		t.Proxy = http.ProxyURL(u)
		w.dial = through(u, direct)
	}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // a login page is no receiver
	w.client = &http.Client{Transport: t, CheckRedirect: stay}
	return w, nil
}

// through opens connections of any protocol over a proxy.
func through(u *url.URL, direct dial) dial {
	addr := u.Host
	if u.Port() == "" {
		addr = net.JoinHostPort(u.Hostname(), map[string]string{"https": "443", "socks5": "1080"}[u.Scheme])
		if u.Scheme == "http" {
			addr = net.JoinHostPort(u.Hostname(), "80")
		}
	}
	if u.Scheme == "socks5" {
		return func(ctx context.Context, network, to string) (net.Conn, error) {
			d, err := proxy.SOCKS5(network, addr, nil, dialer(direct))
			if err != nil {
				return nil, err
			}
			return d.(proxy.ContextDialer).DialContext(ctx, network, to)
		}
	}
	return func(ctx context.Context, network, to string) (net.Conn, error) {
		conn, err := direct(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		if u.Scheme == "https" {
			conn = tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname()})
		}
		stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
		defer stop()
		if err := connect(conn, to); err != nil {
			conn.Close()
			return nil, err
		}
		return conn, nil
	}
}

type dialer dial

func (d dialer) Dial(network, addr string) (net.Conn, error) {
	return d(context.Background(), network, addr)
}

func (d dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return d(ctx, network, addr)
}

// connect asks an HTTP proxy for a way through. Nothing follows its answer before we speak, so nothing is read too much
// unless the server speaks first: then the proxy has sent it behind the answer, and it is read a byte at a time.
func connect(conn net.Conn, to string) error {
	if _, err := fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", to, to); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(single{conn}, 16), nil) //nolint:bodyclose // what follows is the server's
	if err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("proxy: HTTP %d", resp.StatusCode)
	}
	return nil
}

// single reads one byte at a time.
type single struct{ io.Reader }

func (s single) Read(b []byte) (int, error) { return s.Reader.Read(b[:min(1, len(b))]) }

// request is one message over HTTP.
type request struct {
	method, url, contentType string
	header                   map[string]string
	body                     []byte
	key                      string // tells receivers, and net/http itself, that it may arrive twice
	user, token              string
}

// answer is what came back, cut to what fits.
type answer struct {
	status int
	body   []byte
	text   string // shortened, in one line, for people
	header http.Header
	at     time.Time
}

// send makes one try within the timeout. An error hides the address, which may hold secrets.
func (w wiring) send(ctx context.Context, timeout time.Duration, r request) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, cmp.Or(r.method, http.MethodPost), r.url, bytes.NewReader(r.body))
	if err != nil {
		return answer{}, withoutURL(err)
	}
	if r.contentType != "" {
		req.Header.Set("Content-Type", r.contentType)
	}
	req.Header.Set("User-Agent", "Xunjian")
	req.Header.Set("Idempotency-Key", r.key)
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	if r.user != "" {
		req.SetBasicAuth(r.user, r.token)
	} else if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return answer{}, sent(withoutURL(err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return answer{}, &afterSending{fmt.Errorf("read the receiver's answer: %w", withoutURL(err))}
	}
	return answer{resp.StatusCode, body, shorten(string(body)), resp.Header, time.Now()}, nil
}

// sent tells errors before the message was on its way from those after.
func sent(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return err
	}
	return &afterSending{err}
}

// withoutURL drops the address from an error: addresses of receivers hold secrets.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// shorten is an answer as people are shown it.
func shorten(s string) string { return Clip(oneLine(Clip(s, 4<<10)), 200) }

// pageFaults are the statuses that speak of the message itself; all others speak of the receiver.
var pageFaults = []int{
	http.StatusBadRequest, http.StatusNotAcceptable, http.StatusConflict, http.StatusRequestEntityTooLarge,
	http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity,
}

// refused is nil for a 2xx.
func (a answer) refused() *Refusal {
	if a.status >= 200 && a.status <= 299 {
		return nil
	}
	r := &Refusal{
		Status: a.status, Text: a.text, PageOnly: slices.Contains(pageFaults, a.status), RetryAfter: retryAfter(a.header.Get("Retry-After"), a.at),
		Cause: CauseReceiver,
	}
	switch {
	case a.status == http.StatusTooManyRequests:
		r.Cause = CauseLimit
	case a.status == http.StatusUnauthorized, a.status == http.StatusForbidden:
		r.Cause = CauseCredentials
	case a.status >= 300 && a.status <= 399:
		r.Cause = CauseRedirect
	case r.PageOnly:
		r.Cause = CauseContent
	}
	return r
}

// retryAfter reads seconds or a date; anything else says nothing.
func retryAfter(v string, now time.Time) time.Duration {
	if n, err := strconv.Atoi(v); err == nil {
		return time.Duration(min(max(n, 0), 1<<20)) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// ahead is how far this host's clock is before the receiver's by the answer's own date; false without one.
func (a answer) ahead() (time.Duration, bool) {
	at, err := http.ParseTime(a.header.Get("Date"))
	return a.at.Sub(at), err == nil
}

// post sends a value as JSON.
func (w wiring) post(ctx context.Context, timeout time.Duration, r request, v any) (answer, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return answer{}, fmt.Errorf("encode message: %w", err)
	}
	r.body, r.contentType = body, "application/json; charset=utf-8"
	return w.send(ctx, timeout, r)
}

// without hides secrets that a receiver repeats.
func without(s string, secrets ...string) string {
	for _, secret := range secrets {
		if len(secret) >= 4 {
			s = strings.ReplaceAll(s, secret, "<secret>")
		}
	}
	return s
}

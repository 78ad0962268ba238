package channel

import (
	"bytes"
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
)

const (
	defaultTimeout = 10 * time.Second
	maxAnswer      = 64 << 10
)

// webhook posts pages as Alertmanager does.
type webhook struct {
	Webhook
	client    *http.Client
	transport *http.Transport
}

func newWebhook(w Webhook) (*webhook, error) {
	if w.Timeout == 0 {
		w.Timeout = defaultTimeout
	}
	t := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: w.Timeout}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		MaxIdleConnsPerHost:    1,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: maxAnswer,
	}
	if w.CAFile != "" {
		pem, err := os.ReadFile(w.CAFile)
		if err != nil {
			return nil, fmt.Errorf("webhook %s: %w", w.Name, err)
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("webhook %s: no certificate in %s", w.Name, w.CAFile)
		}
	}
	if w.Proxy != "" {
		u, err := url.Parse(w.Proxy)
		if err != nil {
			return nil, fmt.Errorf("webhook %s: proxy: %w", w.Name, err)
		}
		t.Proxy = http.ProxyURL(u)
	}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // a login page is no receiver
	return &webhook{w, &http.Client{Transport: t, CheckRedirect: stay}, t}, nil
}

// Name is the configured one.
func (w *webhook) Name() string { return w.Webhook.Name }

// Send makes one try. The key tells receivers, and net/http itself, that it may arrive twice.
func (w *webhook) Send(ctx context.Context, m Message) (Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, w.Timeout)
	defer cancel()
	body, err := json.Marshal(m.Payload)
	if err != nil {
		return Receipt{}, fmt.Errorf("encode page: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(body))
	if err != nil {
		return Receipt{}, withoutURL(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Xunjian")
	req.Header.Set("Idempotency-Key", m.Key)
	token, err := w.token()
	if err != nil {
		return Receipt{}, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return Receipt{}, withoutURL(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return Receipt{}, fmt.Errorf("read the receiver's answer: %w", withoutURL(err))
	}
	return judge(resp, answer, time.Now())
}

// withoutURL drops the address from an error: addresses of receivers hold secrets.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func (w *webhook) token() (string, error) {
	switch {
	case w.TokenFile != "":
		b, err := os.ReadFile(w.TokenFile)
		if err != nil {
			return "", fmt.Errorf("read token: %w", err)
		}
		return strings.TrimSpace(string(b)), nil
	case w.TokenEnv != "":
		v, ok := os.LookupEnv(w.TokenEnv)
		if !ok {
			return "", fmt.Errorf("read token: environment variable %s is not set", w.TokenEnv)
		}
		return strings.TrimSpace(v), nil
	}
	return "", nil
}

// pageFaults are the statuses that speak of the message itself; all others speak of the receiver.
var pageFaults = []int{
	http.StatusBadRequest, http.StatusNotAcceptable, http.StatusConflict, http.StatusRequestEntityTooLarge,
	http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity,
}

// judge takes a 2xx for a yes, unless its body holds the error code of an instant messenger's robot.
func judge(resp *http.Response, answer []byte, now time.Time) (Receipt, error) {
	text := Clip(strings.ToValidUTF8(strings.Join(strings.Fields(string(answer)), " "), "?"), 200)
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return Receipt{}, &Refusal{
			Status: resp.StatusCode, Text: text, PageOnly: slices.Contains(pageFaults, resp.StatusCode),
			RetryAfter: retryAfter(resp.Header.Get("Retry-After"), now),
		}
	}
	var robot struct {
		ErrCode json.Number `json:"errcode"`
	}
	if json.Unmarshal(answer, &robot) == nil && robot.ErrCode != "" && robot.ErrCode != "0" {
		return Receipt{}, &Refusal{Status: resp.StatusCode, Text: text}
	}
	return Receipt{Answer: text}, nil
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

// Package heartbeat tells receivers outside, again and again, that the collector works: when it falls silent they raise the alarm.
package heartbeat

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"xunjian/pkg/config"
)

// Receiver is one place that misses the heartbeat when it stops.
type Receiver struct {
	Name    string        `yaml:"name"`
	Kind    string        `yaml:"kind"` // http (default): the URL is called; alertmanager: an alert that always fires is posted to its API
	URL     string        `yaml:"url"`
	Method  string        `yaml:"method"` // of kind http: POST (default), GET, HEAD
	Every   time.Duration `yaml:"every"`  // default 60s
	Token   config.Secret `yaml:"token"`  // sent as a bearer token; none: no header
	Proxy   string        `yaml:"proxy"`
	CAFile  string        `yaml:"ca_file"`
	Timeout time.Duration `yaml:"timeout"` // default 10s
}

// The kinds of receivers.
const (
	HTTP         = "http"
	Alertmanager = "alertmanager"
)

// Alert is the name of the alert that an Alertmanager gets, on which its receivers rely.
const Alert = "XunjianHeartbeat"

// maxReceivers bounds the list.
const maxReceivers = 8

func (r Receiver) withDefaults() Receiver {
	if r.Kind == "" {
		r.Kind = HTTP
	}
	if r.Method == "" {
		r.Method = http.MethodPost
	}
	if r.Every == 0 {
		r.Every = time.Minute
	}
	if r.Timeout == 0 {
		r.Timeout = 10 * time.Second
	}
	return r
}

// Validate finds receivers that could never miss a beat.
func Validate(list []Receiver, fail config.Fail) {
	if len(list) > maxReceivers {
		fail("", "%d receivers: want at most %d", len(list), maxReceivers)
	}
	seen := map[string]bool{}
	for i, r := range list {
		r = r.withDefaults()
		at := config.Under(fail, fmt.Sprintf("[%d]", i))
		switch {
		case r.Name == "" || len(r.Name) > 63:
			at("name", "%q: want a name of 1 to 63 characters", r.Name)
		case seen[r.Name]:
			at("name", "%q is there twice", r.Name)
		}
		seen[r.Name] = true
		if r.Kind != HTTP && r.Kind != Alertmanager {
			at("kind", "%q: want http or alertmanager", r.Kind)
		}
		if u, err := url.Parse(r.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			at("url", "not a URL of a receiver: write http://host/path or https://host/path")
		}
		if !slices.Contains([]string{http.MethodPost, http.MethodGet, http.MethodHead}, r.Method) {
			at("method", "%q: want POST, GET or HEAD", r.Method)
		}
		if r.Every < time.Second || r.Every > time.Hour {
			at("every", "%v: want 1s to 1h", r.Every)
		}
		if r.Timeout < 100*time.Millisecond || r.Timeout > time.Minute {
			at("timeout", "%v: want 100ms to 1m", r.Timeout)
		}
		if u, err := url.Parse(r.Proxy); r.Proxy != "" && (err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "socks5"}, u.Scheme)) {
			at("proxy", "not a proxy: write http://host:3128 or socks5://host:1080")
		}
		r.Token.Validate(config.Under(at, "token"))
	}
}

// Options are the surroundings of Hearts.
type Options struct {
	Receivers  []Receiver
	Instance   string       // what this collector is called at an Alertmanager
	Healthy    func() error // nil error: beat; it is asked before each beat
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Hearts beats for all receivers, each by itself: one that hangs delays no other.
type Hearts struct {
	o       Options
	log     *slog.Logger
	metrics *metrics
	changed chan struct{} // holds one

	mu        sync.Mutex
	receivers []Receiver
	states    map[string]State // of those that were tried
}

// New starts nothing.
func New(o Options) *Hearts {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Hearts{o: o, log: o.Logger, metrics: newMetrics(o.Registerer), changed: make(chan struct{}, 1), receivers: o.Receivers, states: map[string]State{}}
}

// Configure takes other receivers over.
func (h *Hearts) Configure(list []Receiver) {
	h.mu.Lock()
	h.receivers = list
	h.mu.Unlock()
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// Run beats until ctx is done, and begins anew when the receivers change.
func (h *Hearts) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		h.mu.Lock()
		list := h.receivers
		clear(h.states)
		h.mu.Unlock()
		h.metrics.begin(list)
		round, stop := context.WithCancel(ctx)
		var wg sync.WaitGroup
		for _, r := range list {
			wg.Go(func() { h.beats(round, r.withDefaults()) })
		}
		select {
		case <-ctx.Done():
		case <-h.changed:
		}
		stop()
		wg.Wait()
	}
	return nil
}

// beats is one receiver's heart.
func (h *Hearts) beats(ctx context.Context, r Receiver) {
	client, err := r.client()
	tick := time.NewTicker(r.Every)
	defer tick.Stop()
	for {
		h.once(ctx, client, err, r)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// client has connections of its own: nothing that it watches can take them away.
func (r Receiver) client() (*http.Client, error) {
	t := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, MaxConnsPerHost: 2, MaxIdleConnsPerHost: 1, IdleConnTimeout: 90 * time.Second, MaxResponseHeaderBytes: 64 << 10}
	if r.CAFile != "" {
		pem, err := os.ReadFile(r.CAFile)
		if err != nil {
			return nil, fmt.Errorf("heartbeat %s: %w", r.Name, err)
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("heartbeat %s: no certificate in %s", r.Name, r.CAFile)
		}
	}
	if r.Proxy != "" {
		u, err := url.Parse(r.Proxy)
		if err != nil {
			return nil, fmt.Errorf("heartbeat %s: proxy: %w", r.Name, err)
		}
		t.Proxy = http.ProxyURL(u)
	}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // a login page is no receiver
	return &http.Client{Transport: t, CheckRedirect: stay, Timeout: r.Timeout}, nil
}

// beat is one beat; only an answer of 2xx is a yes. Errors never hold the URL, which may be a secret.
func (h *Hearts) beat(ctx context.Context, client *http.Client, r Receiver) error {
	req, err := h.request(ctx, r)
	if err != nil {
		return err
	}
	if r.Token.Set() {
		token, err := r.Token.Read()
		if err != nil {
			return &fault{err, Unusable}
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return err
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // the status is the answer; the body only helps people
	if resp.StatusCode/100 != 2 {
		said := strings.TrimSuffix(fmt.Sprintf("HTTP %d: %.200s", resp.StatusCode, bytes.TrimSpace(answer)), ": ")
		return &fault{errors.New(said), Refused}
	}
	return nil
}

func (h *Hearts) request(ctx context.Context, r Receiver) (*http.Request, error) {
	if r.Kind != Alertmanager {
		req, err := http.NewRequestWithContext(ctx, r.Method, r.URL, nil)
		if err != nil {
			return nil, errors.New("the receiver's URL cannot be used")
		}
		return req, nil
	}
	now := time.Now().UTC()
	body, err := json.Marshal([]map[string]any{{
		"labels":      map[string]string{"alertname": Alert, "severity": "none", "instance": h.o.Instance},
		"annotations": map[string]string{"summary": "The collector works. Its silence is the alarm."},
		"startsAt":    now.Format(time.RFC3339), "endsAt": now.Add(3 * r.Every).Format(time.RFC3339),
	}})
	if err != nil {
		return nil, fmt.Errorf("write heartbeat: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(r.URL, "/")+"/api/v2/alerts", bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the receiver's URL cannot be used")
	}
	req.Header.Set("Content-Type", "application/json")
	return req, nil
}

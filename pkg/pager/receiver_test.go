package pager

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"xunjian/pkg/channel"
	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/incident"
	"xunjian/pkg/store"
	"xunjian/pkg/symptom"
)

// call is one request that a receiver got.
type call struct {
	key     string
	at      time.Time
	auth    string
	refused bool // with a plain no
	payload channel.Payload
}

// pages are the keys of the pages that a call brings: its own, or those of its digest, each incident's in order.
func (c call) pages() (keys []string) {
	if !strings.HasPrefix(c.key, "digest.") {
		return []string{c.key}
	}
	for _, a := range c.payload.Alerts {
		keys = append(keys, strings.Fields(a.Annotations["pages"])...)
	}
	return keys
}

// answer is what a receiver does with its n-th request, from 0.
type answer func(n int, w http.ResponseWriter, r *http.Request)

func yes(int, http.ResponseWriter, *http.Request) {}

func status(code int) answer {
	return func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func body(text string) answer {
	return func(_ int, w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
}

func hang(_ int, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// hangInBody says 200 and never ends its body.
func hangInBody(_ int, w http.ResponseWriter, r *http.Request) {
	fmt.Fprint(w, "{")
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

func reset(int, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// first does the given things with the first requests and says yes to the rest.
func first(as ...answer) answer {
	return func(n int, w http.ResponseWriter, r *http.Request) {
		if n < len(as) {
			as[n](n, w, r)
		}
	}
}

// receiver is an HTTP server over pipes, so that it can stand in a bubble where time jumps.
type receiver struct {
	server *http.Server
	conns  chan net.Conn
	done   chan struct{}
	close  sync.Once

	mu    sync.Mutex
	does  answer
	calls []call
}

func newReceiver(t *testing.T, does answer) *receiver {
	r := &receiver{conns: make(chan net.Conn), done: make(chan struct{}), does: does}
	r.server = &http.Server{Handler: r, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	go func() {
		defer close(r.done)
		r.server.Serve(r)
	}()
	t.Cleanup(func() { r.server.Close(); <-r.done })
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	c := call{key: req.Header.Get("Idempotency-Key"), auth: req.Header.Get("Authorization"), at: time.Now()}
	b, _ := io.ReadAll(req.Body)
	if err := json.Unmarshal(b, &c.payload); err != nil {
		panic(err)
	}
	r.mu.Lock()
	n, does := len(r.calls), r.does
	r.calls = append(r.calls, c)
	r.mu.Unlock()
	does(n, &noting{w, r, n}, req)
}

// noting sees what a call is answered.
type noting struct {
	http.ResponseWriter
	r *receiver
	n int
}

func (w *noting) WriteHeader(code int) {
	w.no(code > 299)
	w.ResponseWriter.WriteHeader(code)
}

func (w *noting) Write(b []byte) (int, error) {
	w.no(strings.Contains(string(b), `"errcode":1`))
	return w.ResponseWriter.Write(b)
}

func (w *noting) Flush() { w.ResponseWriter.(http.Flusher).Flush() }

func (w *noting) no(refused bool) {
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	w.r.calls[w.n].refused = w.r.calls[w.n].refused || refused
}

func (r *receiver) all() []call {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]call(nil), r.calls...)
}

func (r *receiver) set(does answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.does = does
}

// kinds are the distinct pages in the order of their first arrival.
func (r *receiver) kinds() string {
	var out []string
	seen := map[string]bool{}
	for _, c := range r.all() {
		if !seen[c.key] {
			out = append(out, strings.SplitN(c.key, ".", 3)[2])
		}
		seen[c.key] = true
	}
	return strings.Join(out, " ")
}

// Accept, Close and Addr make the receiver its own listener.
func (r *receiver) Accept() (net.Conn, error) {
	c, ok := <-r.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (r *receiver) Close() error {
	r.close.Do(func() { close(r.conns) })
	return nil
}

func (r *receiver) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (r *receiver) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case r.conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// channel is a webhook to the receiver.
func (r *receiver) channel(t *testing.T, name string) channel.Channel {
	t.Helper()
	channels, err := channel.Config{Webhooks: []channel.Webhook{{Name: name, URL: "http://receiver/hook"}}, Dial: r.dial}.Channels()
	if err != nil {
		t.Fatal(err)
	}
	return channels[0]
}

// house is a desk and a pager on one store that can be stopped and started again.
type house struct {
	t        *testing.T
	path     string
	db       *store.DB
	desk     *incident.Desk
	pager    *Pager
	channels []channel.Channel
	roster   Roster
	steps    []Step
	registry prometheus.Registerer
	stop     func()
}

func newHouse(t *testing.T, channels ...channel.Channel) *house {
	h := &house{t: t, path: filepath.Join(t.TempDir(), "records.db"), channels: channels}
	h.start()
	t.Cleanup(func() { h.halt() })
	return h
}

func (h *house) start() {
	h.t.Helper()
	var err error
	if h.db, err = store.Open(h.path, store.Options{}); err != nil {
		h.t.Fatal(err)
	}
	services := []check.Service{{Name: "signature", ZH: "签章服务", EN: "Signature service", Key: true}}
	if h.desk, err = incident.New(h.db, incident.Options{Settings: incident.Settings{Services: services}}); err != nil {
		h.t.Fatal(err)
	}
	if h.pager, err = New(h.desk, h.db, Options{Channels: h.channels, Roster: h.roster, Steps: h.steps, ExternalURL: "https://xunjian.example/", Registerer: h.registry}); err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.pager.Run(ctx) }()
	h.stop = func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Errorf("run ended with %v", err)
		}
	}
}

func (h *house) halt() {
	if h.stop == nil {
		return
	}
	h.stop()
	h.stop = nil
	h.db.Close()
}

func (h *house) restart() { h.halt(); h.start() }

// observe tells of a fault or its end, now.
func (h *house) observe(service string, firing bool) incident.Record {
	h.t.Helper()
	r, _, err := h.desk.Observe(time.Now(), outage(service, firing))
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

func outage(service string, firing bool) symptom.Symptom {
	now := time.Now()
	return symptom.Symptom{
		Source: symptom.FromProbe, Service: service, Class: symptom.Down, Level: contract.Urgent, Detail: "502 from the gateway", Firing: firing, Since: now, At: now,
	}
}

// recover ends a fault and lets the verification pass.
func (h *house) recover(service string) {
	h.t.Helper()
	h.observe(service, false)
	h.holds()
}

// holds lets the verification of a recovery pass.
func (h *house) holds() {
	h.t.Helper()
	time.Sleep(10 * time.Minute)
	if err := h.desk.Tick(time.Now()); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) undelivered() []Pending {
	h.t.Helper()
	ps, err := h.pager.Undelivered(100)
	if err != nil {
		h.t.Fatal(err)
	}
	return ps
}

// inBubble runs a test where time jumps; everything that it starts ends in it.
func inBubble(t *testing.T, fn func(t *testing.T)) { synctest.Test(t, fn) }

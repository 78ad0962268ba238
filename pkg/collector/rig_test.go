package collector

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"xunjian/pkg/check"
	"xunjian/pkg/incident"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if blankDir != "" {
			os.RemoveAll(blankDir)
		}
		os.Exit(code)
	}))
}

// patience bounds every wait; it is generous, for a busy machine must not fail a test.
const patience = time.Minute

// rig is one collector on loopback, with its file.
type rig struct {
	testing.TB
	dir, file string
	*Collector
	log  *journal
	stop func() // ends Run and closes
}

// plain is a configuration of one service with one check; sections says what else is in it.
func plain(sections string) string {
	return `
http: {listen: '127.0.0.1:0'}
uplink: {listen: '127.0.0.1:0'}
fleet: {names: [127.0.0.1]}
services: [{name: sms, zh: 短信服务, key: true}]
checks: [{name: balance, service: sms, kind: tcp, target: '127.0.0.1:1'}]
` + sections
}

// newRig writes the file and loads it; start does the rest.
func newRig(t testing.TB, text string) *rig {
	t.Helper()
	dir := t.TempDir()
	r := &rig{TB: t, dir: dir, file: filepath.Join(dir, "collector.yml"), log: &journal{}}
	r.write(text)
	return r
}

func (r *rig) write(text string) {
	r.Helper()
	if err := os.WriteFile(r.file, []byte(text), 0o600); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) options() Options {
	r.Helper()
	cfg, err := LoadConfig(r.file)
	if err != nil {
		r.Fatal(err)
	}
	return Options{Config: cfg, File: r.file, Version: "test", Logger: slog.New(slog.NewTextHandler(r.log, nil))}
}

func (r *rig) start() *rig { r.Helper(); return r.startWith(r.options()) }

func (r *rig) startWith(o Options) *rig {
	r.Helper()
	c, err := New(o)
	if err != nil {
		r.Fatal(err)
	}
	r.Collector = c
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	var once sync.Once
	r.stop = func() {
		r.Helper()
		once.Do(func() {
			cancel()
			if err := errors.Join(<-done, c.Close()); err != nil {
				r.Error(err)
			}
		})
	}
	r.Cleanup(r.stop)
	r.eventually("ready", func() error {
		if status, text := r.ask("GET", "/-/ready"); status != http.StatusOK {
			return fmt.Errorf("%d %s", status, text)
		}
		_, err := os.Stat(filepath.Join(c.o.Config.Data, "control.json"))
		return err
	})
	return r
}

func (r *rig) eventually(what string, ask func() error) {
	r.Helper()
	var err error
	for begin := time.Now(); time.Since(begin) < patience; time.Sleep(10 * time.Millisecond) {
		if err = ask(); err == nil {
			return
		}
	}
	r.Fatalf("%s: %v", what, err)
}

// ask makes one request in the name of the command line.
func (r *rig) ask(method, path string) (status int, text string) {
	r.Helper()
	req, err := http.NewRequest(method, "http://"+r.doors.http.Addr().String()+path, nil)
	if err != nil {
		r.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.ControlToken())
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(b)
}

// metric is the value of a series in /metrics as text, empty when it is not there.
func (r *rig) metric(series string) string {
	r.Helper()
	_, text := r.ask("GET", "/metrics")
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// round makes an agent's word on a check known, as ingest does.
func (r *rig) round(name, service string, o check.Outcome) {
	now := time.Now()
	res := check.Result{Check: name, Service: service, Target: "x", At: now}
	for range 3 {
		a := check.Attempt{Start: now, Duration: time.Millisecond, Outcome: o}
		if o == check.Fail {
			a.Class, a.Reason = check.ClassConnect, "refused"
		}
		res.Attempts = append(res.Attempts, a)
	}
	r.teller.tell(context.Background(), r.board.Observe(now, "host-1", res))
}

func (r *rig) incidents(state string) []incident.Record {
	r.Helper()
	got, err := r.desk.List(incident.Filter{State: state})
	if err != nil {
		r.Fatal(err)
	}
	return got
}

// journal is a log that can be read while it is written.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) has(text string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !strings.Contains(j.b.String(), text) {
		return fmt.Errorf("the log does not say %q:\n%s", text, j.b.String())
	}
	return nil
}

// phone is a receiver of pages.
type phone struct {
	*httptest.Server
	mu   sync.Mutex
	keys map[string]int      // times that each key came
	what map[string][]string // status, service and incident of each page in it, by key
}

func newPhone(t testing.TB) *phone {
	p := &phone{keys: map[string]int{}, what: map[string][]string{}}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *phone) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var body struct {
		Alerts []struct {
			Status string            `json:"status"`
			Labels map[string]string `json:"labels"`
		} `json:"alerts"`
	}
	if err := json.NewDecoder(req.Body).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	key := req.Header.Get("Idempotency-Key")
	p.keys[key]++
	p.what[key] = nil
	for _, a := range body.Alerts {
		p.what[key] = append(p.what[key], a.Status+" "+a.Labels["service"]+" "+a.Labels["incident"])
	}
}

// told is in which messages each page came.
func (p *phone) told() map[string][]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string][]string{}
	for key, all := range p.what {
		for _, what := range all {
			out[what] = append(out[what], key)
		}
	}
	return out
}

// listener is a port of loopback that is taken.
func listener(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

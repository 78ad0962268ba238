package heartbeat

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"xunjian/pkg/config"
)

// place is a receiver that keeps what it gets and answers as it is told.
type place struct {
	*httptest.Server
	mu     sync.Mutex
	heard  []string // method, path, authorization, body
	status atomic.Int32
}

func newPlace(t *testing.T) *place {
	p := &place{}
	p.status.Store(200)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		p.mu.Lock()
		p.heard = append(p.heard, strings.Join([]string{r.Method, r.URL.Path, r.Header.Get("Authorization"), string(b)}, " "))
		p.mu.Unlock()
		w.WriteHeader(int(p.status.Load()))
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *place) all() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.heard)
}

// beat runs hearts until the end of the test.
func beat(t *testing.T, o Options) *Hearts {
	t.Helper()
	if o.Healthy == nil {
		o.Healthy = func() error { return nil }
	}
	h := New(o)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := h.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { stop(); <-done })
	return h
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 500 {
		if ok() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("not within 10 s: %s", what)
}

func TestHTTP(t *testing.T) {
	p := newPlace(t)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("geheim\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	beat(t, Options{Receivers: []Receiver{{Name: "a", URL: p.URL + "/beat", Every: time.Second, Token: config.Secret{File: file}}}})
	eventually(t, "two beats", func() bool { return len(p.all()) >= 2 })
	if got := p.all()[0]; got != "POST /beat Bearer geheim " {
		t.Errorf("heard %q", got)
	}
}

// What an Alertmanager gets is an alert that outlives two missed beats, and no more.
func TestAlertmanager(t *testing.T) {
	p := newPlace(t)
	beat(t, Options{Instance: "ops", Receivers: []Receiver{{Name: "a", Kind: Alertmanager, URL: p.URL + "/am/", Every: time.Minute}}})
	eventually(t, "a beat", func() bool { return len(p.all()) == 1 })
	body, ok := strings.CutPrefix(p.all()[0], "POST /am/api/v2/alerts  ")
	var alerts []struct {
		Labels           map[string]string
		StartsAt, EndsAt time.Time
	}
	if err := json.Unmarshal([]byte(body), &alerts); !ok || err != nil || len(alerts) != 1 {
		t.Fatalf("heard %q: %v", p.all()[0], err)
	}
	a := alerts[0]
	if a.Labels["alertname"] != Alert || a.Labels["instance"] != "ops" || a.EndsAt.Sub(a.StartsAt) != 3*time.Minute {
		t.Errorf("alert %+v", a)
	}
}

// A collector that is not well keeps silent, and says so to nobody but its log; well again, it beats again.
func TestIll(t *testing.T) {
	p := newPlace(t)
	var ill atomic.Bool
	ill.Store(true)
	reg := prometheus.NewRegistry()
	h := beat(t, Options{Registerer: reg, Receivers: []Receiver{{Name: "a", URL: p.URL, Every: time.Second}}, Healthy: func() error {
		if ill.Load() {
			return errors.New("disk is full")
		}
		return nil
	}})
	eventually(t, "withheld beats", func() bool { return testutil.ToFloat64(h.metrics.withheld.WithLabelValues("a")) >= 2 })
	if got := p.all(); len(got) != 0 {
		t.Errorf("an ill collector beats: %q", got)
	}
	ill.Store(false)
	eventually(t, "a beat", func() bool { return len(p.all()) > 0 })
}

// A receiver that hangs or refuses is named, and delays no other; one that takes the beat again is not named any more.
func TestFailing(t *testing.T) {
	good, bad := newPlace(t), newPlace(t)
	bad.status.Store(503)
	release := make(chan struct{})
	hangs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer hangs.Close()
	defer close(release)
	h := beat(t, Options{Receivers: []Receiver{
		{Name: "hangs", URL: hangs.URL, Every: time.Second, Timeout: 200 * time.Millisecond},
		{Name: "refuses", URL: bad.URL, Every: time.Second},
		{Name: "redirects", URL: redirect(t), Every: time.Second},
		{Name: "no certificate", URL: good.URL, CAFile: "none.pem", Every: time.Second},
		{Name: "good", URL: good.URL, Every: time.Second},
	}})
	eventually(t, "four failures", func() bool { return len(h.Failing()) == 4 })
	if got := h.Failing(); !slices.Equal(got, []string{"hangs", "no certificate", "redirects", "refuses"}) {
		t.Errorf("failing %v", got)
	}
	eventually(t, "beats of the good one", func() bool { return len(good.all()) >= 2 })
	bad.status.Store(204)
	eventually(t, "the refusing one is well", func() bool { return !slices.Contains(h.Failing(), "refuses") })
	h.Configure([]Receiver{{Name: "good", URL: good.URL, Every: time.Second}})
	eventually(t, "the others are forgotten", func() bool { return len(h.Failing()) == 0 })
}

// redirect is a receiver that sends on to a login page.
func redirect(t *testing.T) string {
	s := httptest.NewServer(http.RedirectHandler("/login", http.StatusFound))
	t.Cleanup(s.Close)
	return s.URL
}

// Errors do not show the URL: it may hold a key.
func TestErrorsHideTheURL(t *testing.T) {
	h := New(Options{})
	r := Receiver{Name: "a", URL: "http://127.0.0.1:1/key-geheim", Timeout: time.Second}.withDefaults()
	client, err := r.client()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.beat(t.Context(), client, r); err == nil || strings.Contains(err.Error(), "geheim") {
		t.Errorf("told %v", err)
	}
}

func TestValidate(t *testing.T) {
	var paths []string
	Validate([]Receiver{
		{Name: "a", URL: "https://x/y"},
		{Name: "a", Kind: "pigeon", URL: "x", Method: "DELETE", Every: time.Millisecond, Timeout: time.Hour, Proxy: "y", Token: config.Secret{File: "f", Env: "E"}},
		{URL: "https://x/y"},
	}, func(path, _ string, _ ...any) { paths = append(paths, path) })
	slices.Sort(paths)
	want := []string{"[1].every", "[1].kind", "[1].method", "[1].name", "[1].proxy", "[1].timeout", "[1].token", "[1].url", "[2].name"}
	if !slices.Equal(paths, want) {
		t.Errorf("faults %v, want %v", paths, want)
	}
}

// A beat out of turn goes where it is sent, in a person's name; a collector that is not well sends none for anybody.
func TestNow(t *testing.T) {
	good, bad := newPlace(t), newPlace(t)
	bad.status.Store(503)
	var ill atomic.Bool
	var log strings.Builder
	h := New(Options{
		Logger:    slog.New(slog.NewTextHandler(&log, nil)),
		Receivers: []Receiver{{Name: "good", URL: good.URL}, {Name: "bad", Kind: Alertmanager, URL: bad.URL}},
		Healthy: func() error {
			if ill.Load() {
				return errors.New("disk is full")
			}
			return nil
		},
	})
	words := func(all []State) (out []string) {
		for _, s := range all {
			out = append(out, s.Name+" "+s.Word())
		}
		return out
	}
	if got := words(h.States()); !slices.Equal(got, []string{"good waiting", "bad waiting"}) {
		t.Errorf("before the first beat: %q", got)
	}
	got, err := h.Now(t.Context(), "good", "张三")
	if err != nil || !slices.Equal(words(got), []string{"good taken"}) || got[0].Taken.IsZero() || len(good.all()) != 1 || len(bad.all()) != 0 {
		t.Errorf("for one: %+v %v", got, err)
	}
	if !strings.Contains(log.String(), "person=张三") {
		t.Errorf("the log names nobody: %s", log.String())
	}
	got, err = h.Now(t.Context(), "", "张三")
	if err != nil || !slices.Equal(words(got), []string{"good taken", "bad refused"}) || !strings.Contains(got[1].Error, "503") {
		t.Errorf("for all: %+v %v", got, err)
	}
	if _, err := h.Now(t.Context(), "nobody", "张三"); !errors.Is(err, ErrUnknown) {
		t.Errorf("for nobody: %v", err)
	}
	ill.Store(true)
	sent := len(good.all())
	got, err = h.Now(t.Context(), "good", "张三")
	if err != nil || !slices.Equal(words(got), []string{"good withheld"}) || got[0].Error != "disk is full" || len(good.all()) != sent {
		t.Errorf("while the collector is not well: %+v %v", got, err)
	}
	if got := h.Failing(); !slices.Equal(got, []string{"bad"}) {
		t.Errorf("failing %q", got)
	}
}

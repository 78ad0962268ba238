package promapi

import (
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"xunjian/pkg/metric"
	"xunjian/pkg/query"
	"xunjian/pkg/rule"
	"xunjian/pkg/tsdb"
)

var update = flag.Bool("update", false, "rewrite golden files")

var _ Lasts = (*tsdb.DB)(nil)

type lasts []last

func (l lasts) Last(fn func(metric.Series, int64, float64)) error {
	for _, s := range l {
		fn(s.series, s.at, s.value)
	}
	return nil
}

// fixed is a fleet of two hosts with everything awkward in it, and a small registry of the collector's own.
func fixed(now time.Time) (lasts, *prometheus.Registry) {
	at := now.Add(-3 * time.Second).UnixMilli()
	own := prometheus.NewRegistry()
	mine := prometheus.NewCounter(prometheus.CounterOpts{Name: "xunjian_ingest_reports_total", Help: "Reports taken."})
	both := prometheus.NewGauge(prometheus.GaugeOpts{Name: "process_open_fds", Help: "Open files."})
	clash := prometheus.NewCounter(prometheus.CounterOpts{Name: "process_cpu_seconds_total", Help: "Processor time."})
	own.MustRegister(mine, both, clash)
	mine.Add(7)
	both.Set(12)
	return lasts{
		{metric.New("node_load1", "instance", "web-2"), at, 0.5},
		{metric.New("node_load1", "instance", "web-1"), at, 1.25},
		{metric.New("node_load1", "instance", "web-1"), at - 10_000, 9}, // the same series from an older stream
		{metric.New("node_boot_time_seconds", "instance", "web-1"), at, 1.7e9},
		{metric.New("node_filesystem_readonly", "instance", "web-1", "mountpoint", "/数据 \"a\"\\b\nc"), at, 0},
		{metric.New("probe_ssl_earliest_cert_expiry", "instance", "web-1"), at, math.Inf(1)},
		{metric.New("node_load5", "instance", "web-1"), now.Add(-staleAfter - time.Second).UnixMilli(), 1}, // silent
		{metric.New("node_load15", "instance", "web-1"), at, math.NaN()},
		{metric.New("node_time_seconds"), at, 1}, // belongs to nobody
		{metric.New("process_open_fds", "instance", "web-1"), at, 3},
		{metric.New("process_cpu_seconds_total", "instance", "web-1"), at, 3}, // a gauge here, a counter of our own
	}, own
}

func render(t *testing.T, accept string) string {
	t.Helper()
	l, own := fixed(time.Now())
	h := Metrics(Options{Lasts: l, Own: own, Registerer: own})
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return "# " + w.Header().Get("Content-Type") + "\n" + w.Body.String()
}

func TestExposition(t *testing.T) {
	for name, accept := range map[string]string{
		"text":        "",
		"openmetrics": "application/openmetrics-text;version=1.0.0",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // the bubble's clock makes the stamps the same each time
				golden(t, "testdata/"+name+".golden", render(t, accept))
			})
		})
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got, -update rewrites it):\n%s", file, d)
	}
}

func TestOmittedSeriesAreCounted(t *testing.T) {
	l, own := fixed(time.Now())
	h := Metrics(Options{Lasts: l, Own: own, Registerer: own})
	get(t, h, "")
	body := get(t, h, "").Body.String()
	for _, want := range []string{
		`xunjian_promapi_series_omitted_total{reason="no_instance"} 2`,
		`xunjian_promapi_series_omitted_total{reason="type_clash"} 1`, // found after the own metrics were read
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in\n%s", want, body)
		}
	}
}

func get(t *testing.T, h http.Handler, encoding string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept-Encoding", encoding)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestGzip(t *testing.T) {
	l, own := fixed(time.Now())
	h := Metrics(Options{Lasts: l, Own: own, Registerer: own})
	for encoding, want := range map[string]bool{"": false, "gzip": true, "deflate, gzip;q=0.5": true, "gzip;q=0": false, "br": false} {
		w := get(t, h, encoding)
		body := w.Body.Bytes()
		if got := w.Header().Get("Content-Encoding") == "gzip"; got != want {
			t.Errorf("Accept-Encoding %q: gzip is %v, want %v", encoding, got, want)
		}
		if want {
			z, err := gzip.NewReader(bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if body, err = io.ReadAll(z); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Contains(body, []byte(`node_load1{instance="web-1"} 1.25`)) {
			t.Errorf("Accept-Encoding %q: %s", encoding, body)
		}
	}
}

// blocked is a fleet that takes its time.
type blocked chan struct{}

func (b blocked) Last(func(metric.Series, int64, float64)) error { <-b; return nil }

func TestScrapesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, own := make(blocked), prometheus.NewRegistry()
		h := Metrics(Options{Lasts: b, Own: own, Registerer: own})
		codes := make(chan int, maxScrapes)
		for range maxScrapes {
			go func() { codes <- get(t, h, "").Code }()
		}
		synctest.Wait()
		if w := get(t, h, ""); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("one scrape too many is answered %d, want 503", w.Code)
		}
		close(b)
		for range maxScrapes {
			if c := <-codes; c != http.StatusOK {
				t.Errorf("a scrape within the bound is answered %d", c)
			}
		}
		if w := get(t, h, ""); !strings.Contains(w.Body.String(), `xunjian_promapi_scrapes_refused_total{reason="busy"} 1`) {
			t.Errorf("afterwards: %d\n%s", w.Code, w.Body)
		}
	})
}

func TestOnlyReading(t *testing.T) {
	own := prometheus.NewRegistry()
	w := httptest.NewRecorder()
	Metrics(Options{Lasts: lasts{}, Own: own, Registerer: own}).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/metrics", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST is answered %d", w.Code)
	}
}

// TestHalfAnAnswerIsNoAnswer: a peer that stops reading must not be left with something that looks complete.
func TestHalfAnAnswerIsNoAnswer(t *testing.T) {
	l, own := fixed(time.Now())
	h := Metrics(Options{Lasts: l, Own: own, Registerer: own})
	defer func() {
		p := recover()
		if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
			t.Errorf("recovered %v, want http.ErrAbortHandler", p)
		}
	}()
	h.ServeHTTP(&deaf{httptest.NewRecorder()}, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	t.Error("the handler returned")
}

type deaf struct{ *httptest.ResponseRecorder }

func (*deaf) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// catalogued is one host that sends every name of the catalogue.
func catalogued(now time.Time) (out lasts) {
	for i, name := range metric.Names() {
		out = append(out, last{metric.New(name, "instance", "db-1"), now.Add(-time.Second).UnixMilli(), float64(i)})
	}
	return append(out, last{metric.New("node_load1", "instance", "db-1"), now.Add(-time.Second).UnixMilli(), 0.75})
}

// TestPromtoolAccepts lints the whole exposition, so also the collector's own names and the catalogue's, with the real tool.
func TestPromtoolAccepts(t *testing.T) {
	tool := peer(t, "promtool")
	own := NewRegistry()
	engine := query.New(query.Options{Registerer: own})
	if _, err := rule.New(rule.Options{Queryable: engine.Queryable(), Query: engine.QueryFunc(), Registerer: own}); err != nil {
		t.Fatal(err)
	}
	w := get(t, Metrics(Options{Lasts: catalogued(time.Now()), Own: own, Registerer: own}), "")
	cmd := exec.Command(tool, "check", "metrics")
	cmd.Stdin = w.Body
	out, err := cmd.CombinedOutput()
	if err == nil {
		return
	}
	for line := range strings.Lines(string(out)) {
		if !nodeExporters.MatchString(line) {
			t.Errorf("promtool check metrics: %v: %s", err, line)
		}
	}
}

// nodeExporters is the complaint that promtool has of node_exporter's own names.
var nodeExporters = regexp.MustCompile(`^node_memory_\w+ metric names should be written in 'snake_case' not 'camelCase'\n$`)

// peer is the path of a program that the tests need.
func peer(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("XUNJIAN_WITHOUT_PEERS") != "" {
			t.Skipf("XUNJIAN_WITHOUT_PEERS is set and %s is not installed", name)
		}
		t.Fatalf("%v: install it, or set XUNJIAN_WITHOUT_PEERS to go without", err)
	}
	return path
}

// BenchmarkScrape shows a fleet of 200 hosts with 500 series each.
func BenchmarkScrape(b *testing.B) {
	at := time.Now().UnixMilli()
	var l lasts
	for h := range 200 {
		for s := range 500 {
			l = append(l, last{metric.New(fmt.Sprintf("node_m%d", s%50), "instance", fmt.Sprintf("web-%d", h), "device", fmt.Sprintf("d%d", s)), at, float64(s)})
		}
	}
	own := prometheus.NewRegistry()
	e := Metrics(Options{Lasts: l, Own: own, Registerer: own, Logger: slog.New(slog.DiscardHandler)}).(*exposition)
	b.ReportAllocs()
	for b.Loop() {
		if err := e.write(io.Discard, expfmt.NewFormat(expfmt.TypeTextPlain), time.UnixMilli(at)); err != nil {
			b.Fatal(err)
		}
	}
}

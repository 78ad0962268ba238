package promapi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"xunjian/pkg/metric"
)

// present is a fleet whose readings are always of now.
type present struct{}

func (present) Last(fn func(metric.Series, int64, float64)) error {
	at := time.Now().Truncate(time.Second).UnixMilli()
	fn(metric.New("node_load1", "instance", "web-1"), at, 1.25)
	fn(metric.New("node_load1", "instance", "web-2"), at, 0.5)
	fn(metric.New("node_filesystem_avail_bytes", "instance", "web-1", "mountpoint", `/数据 "a"\b`), at, 4096)
	return nil
}

// TestPrometheusScrapes lets a real Prometheus scrape with honor_labels and asks it for what it has.
func TestPrometheusScrapes(t *testing.T) {
	program := peer(t, "prometheus")
	own := NewRegistry()
	mine := prometheus.NewGauge(prometheus.GaugeOpts{Name: "xunjian_test_alive", Help: "One of the collector's own."})
	mine.Set(1)
	own.MustRegister(mine)
	server := httptest.NewServer(Metrics(Options{Lasts: present{}, Own: own, Registerer: own}))
	defer server.Close()
	target := server.Listener.Addr().String()

	api := startPrometheus(t, program, fmt.Sprintf(`
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
- job_name: xunjian
  honor_labels: true
  static_configs: [{targets: [%q]}]
`, target))

	want := map[string]string{
		"node_load1": `web-1=1.25 web-2=0.5`,
		`node_filesystem_avail_bytes{mountpoint="/数据 \"a\"\\b"}`: `web-1=4096`,
		"xunjian_test_alive":                  target + "=1",
		`go_goroutines > bool 0`:              target + "=1",
		`process_start_time_seconds > bool 0`: target + "=1",
		`scrape_samples_scraped == bool scrape_samples_post_metric_relabeling`: target + "=1",
	}
	got := map[string]string{}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		for q := range want {
			got[q] = ask(t, api, q)
		}
		if cmp.Equal(want, got) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("Prometheus has (-want +got):\n%s", cmp.Diff(want, got))
		}
	}
}

// startPrometheus runs one on a free loopback port until the test ends and returns its address.
func startPrometheus(t *testing.T, program, config string, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, append(args, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+addr, "--log.level=warn")...)
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // interrupted
		if t.Failed() {
			t.Logf("prometheus:\n%s", log.String())
		}
	})
	return "http://" + addr
}

// ask is an instant query's answer as "instance=value …", or why there is none.
func ask(t *testing.T, api, query string) string {
	t.Helper()
	res, err := http.Get(api + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err.Error()
	}
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return string(body)
	}
	var out []string
	for _, r := range answer.Data.Result {
		out = append(out, fmt.Sprintf("%s=%v", r.Metric["instance"], r.Value[1]))
	}
	return strings.Join(out, " ")
}

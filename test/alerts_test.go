package test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestPrometheusAlerts lets a real Prometheus use the collector as its Alertmanager: its alert opens an incident, goes on
// over a kill -9, and ends.
func TestPrometheusAlerts(t *testing.T) {
	t.Parallel()
	bin, err := exec.LookPath("prometheus")
	if err != nil {
		if os.Getenv("XUNJIAN_WITHOUT_PEERS") != "" {
			t.Skip("XUNJIAN_WITHOUT_PEERS is set and prometheus is not installed")
		}
		t.Fatalf("%v: install it, or set XUNJIAN_WITHOUT_PEERS to go without", err)
	}
	r := newRigOn(t, filepath.Join(t.TempDir(), "data"), "alerts: {level: {priority: {P1: urgent}}}\n")
	var on atomic.Int64
	on.Store(1)
	r.startPrometheus(bin, switchable(t, &on))

	external := func() (out []incidentJSON, err error) {
		all, err := incidents(r.url(), r.token, "state=all")
		for _, i := range all {
			if i.Source == "external" {
				out = append(out, i)
			}
		}
		return out, err
	}
	var first incidentJSON
	eventually(t, "incident", func() error {
		got, err := external()
		if err != nil || len(got) != 1 {
			return errors.Join(err, fmt.Errorf("%d incidents", len(got)))
		}
		first = got[0]
		return nil
	})
	if first.Level != "urgent" || first.Service != "sms" || first.State != "detected" || first.Rule != "SwitchOn" {
		t.Errorf("incident is %+v", first)
	}
	sent := func() float64 { return r.metric(`xunjian_alertapi_alerts_received_total{state="firing"}`) }
	before := sent()
	eventually(t, "refreshes", func() error {
		if n := sent() - before; n < 3 {
			return fmt.Errorf("%v refreshes", n)
		}
		return nil
	})
	r.collector.kill()
	time.Sleep(time.Second)
	r.startCollector()
	eventually(t, "refresh after the kill", func() error {
		if n := sent(); n < 2 {
			return fmt.Errorf("%v refreshes", n)
		}
		return nil
	})
	if got, err := external(); err != nil || len(got) != 1 || got[0].ID != first.ID || !got[0].Verifying.IsZero() || got[0].State != "detected" {
		t.Errorf("after the kill: %v %+v", err, got)
	}
	on.Store(0)
	eventually(t, "end", func() error {
		got, err := external()
		if err != nil || len(got) != 1 || got[0].Verifying.IsZero() {
			return errors.Join(err, fmt.Errorf("%+v", got))
		}
		return nil
	})
}

// switchable is a target with one metric that the test sets.
func switchable(t *testing.T, on *atomic.Int64) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "switch %d\n", on.Load()) })}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close() })
	return l.Addr().String()
}

// startPrometheus makes it scrape a target and send its alerts to the collector, with a token as an operator would.
func (r *killRig) startPrometheus(bin, target string) {
	r.t.Helper()
	dir := r.t.TempDir()
	for name, text := range map[string]string{
		"prometheus.yml": `
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules.yml]
scrape_configs: [{job_name: switch, static_configs: [{targets: ['` + target + `']}]}]
alerting:
  alertmanagers:
  - basic_auth: {username: prometheus, password: '` + r.token + `'}
    static_configs: [{targets: ['` + r.web + `']}]
`,
		"rules.yml": `
groups:
- name: switch
  rules:
  - {alert: SwitchOn, expr: 'switch == 1', labels: {priority: P1, service: sms}, annotations: {summary: '{{ $labels.instance }} is on'}}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
	cmd := exec.Command(bin, "--config.file", filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path", filepath.Join(dir, "data"),
		"--web.listen-address", freeAddr(r.t), "--rules.alert.resend-delay=2s")
	log, err := os.Create(filepath.Join(r.dir, "prometheus.log"))
	if err != nil {
		r.t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		(&proc{Cmd: cmd, name: "prometheus", log: log}).show(r.t)
	})
}

// metric is one of the collector's own, 0 while it is not there.
func (r *killRig) metric(series string) float64 {
	text, err := r.prometheus("GET", "/../../metrics", "")
	if err != nil {
		return 0
	}
	for line := range strings.SplitSeq(text, "\n") {
		if value, found := strings.CutPrefix(line, series+" "); found {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				r.t.Fatalf("%s: %v", line, err)
			}
			return n
		}
	}
	return 0
}

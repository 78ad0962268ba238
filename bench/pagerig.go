package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"xunjian/pkg/simulator"
)

// The watchers, by the path at which they ask and the path at which they page.
const (
	oursDefault   = "ours-default"
	oursFast      = "ours-fast"
	promDefault   = "prometheus"
	promDebounced = "prometheus_debounced"
	promImmediate = "prometheus_immediate"
	promFast      = "prometheus_fast" // asks for both of the above
)

// pageRig is simulated services, a receiver, and all who watch the one and page the other.
type pageRig struct {
	dir, bin string
	sites    []*agentRig
	sim      *simulator.Simulator
	hook     *pageHook
	webs     map[string]string // of our collectors, by watcher
	end      func() error
}

func newPageRig(o options, services int) (*pageRig, error) {
	dir, err := os.MkdirTemp("", "xunjian-bench-")
	if err != nil {
		return nil, err
	}
	r := &pageRig{dir: dir, bin: o.bin, webs: map[string]string{}}
	if r.sim, err = simulator.New(simulator.Options{Folder: dir, Plain: services}); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.sim.Run(ctx) }()
	r.hook = newPageHook()
	r.end = func() error { cancel(); return <-done }
	return r, nil
}

func (r *pageRig) close() error {
	for _, s := range r.sites {
		s.close()
	}
	r.hook.Close()
	err := r.end()
	os.RemoveAll(r.dir)
	return err
}

func (r *pageRig) logs() string {
	var b strings.Builder
	for _, s := range r.sites {
		b.WriteString(s.logs())
	}
	return b.String()
}

func (r *pageRig) site(name string) (*agentRig, error) {
	s := &agentRig{dir: filepath.Join(r.dir, name), bin: r.bin}
	r.sites = append(r.sites, s)
	return s, os.MkdirAll(s.dir, 0o700)
}

// write puts a configuration into a watcher's folder.
func write(s *agentRig, name, text string) (string, error) {
	file := filepath.Join(s.dir, name)
	return file, os.WriteFile(file, []byte(text), 0o600)
}

// fastChecks ask as often as the peers at 1 s, and wait as long for an answer; slow is half of it, as the defaults have it.
const fastChecks = "every: 1s, timeout: 800ms, slow: 400ms, "

// hurriedClocks are for one fault of a service after the other: a recovery stands at once, and what comes after it is new.
const hurriedClocks = "contract: {verify: 0s, verify_urgent: 0s, verify_samples: 0, relapse: 0s, recurrence: 0s}\n"

// The resident who answers our pages, with a token of this rig's own.
const (
	resident      = "people: [{name: 值班, role: engineer, token: {file: resident.token}}]\n"
	residentToken = "xunjian-bench-resident"
)

// startOurs starts a collector and its agents; keys stand in each check, more at the end of the configuration.
func (r *pageRig) startOurs(ctx context.Context, watcher, keys, more string, services []string, agents int) error {
	s, err := r.site(watcher)
	if err != nil {
		return err
	}
	web, err := freeAddr()
	if err != nil {
		return err
	}
	if s.collectorGRPC, err = freeAddr(); err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "data: %s\nhttp: {listen: '%s'}\nuplink: {listen: '%s'}\nfleet: {names: [127.0.0.1]}\nservices:\n", filepath.Join(s.dir, "data"), web, s.collectorGRPC)
	for _, name := range services {
		fmt.Fprintf(&b, "- {name: %s, zh: %s, en: %s, key: true}\n", name, name, name)
	}
	b.WriteString("checks:\n")
	for _, name := range services {
		fmt.Fprintf(&b, "- {name: %s, service: %s, kind: http, target: '%s/%s', %stls: {ca_file: '%s'}}\n",
			name, name, r.sim.URL(name), watcher, keys, filepath.Join(r.dir, "ca.pem"))
	}
	fmt.Fprintf(&b, "pages: {webhooks: [{name: bench, url: '%s'}]}\n%s%s", r.hook.of(watcher), resident, more)
	if _, err := write(s, "resident.token", residentToken); err != nil {
		return err
	}
	if s.config, err = write(s, "collector.yml", b.String()); err != nil {
		return err
	}
	r.webs[watcher] = web
	if _, err := s.spawn("collector", "serve", "--config", s.config); err != nil {
		return err
	}
	if err := await(ctx, func() error { return getJSON(ctx, "http://"+web+"/-/ready", nil) }); err != nil {
		return fmt.Errorf("collector: %w", err)
	}
	for i := range agents {
		if _, err := (&probeRig{}).startAgentOf(ctx, s, "agent", fmt.Sprintf("agent-%d", i+1)); err != nil {
			return err
		}
	}
	return nil
}

// peersOfPages are Debian's Prometheus, blackbox_exporter and Alertmanager, which together do what we do.
type peersOfPages struct {
	watcher  string // its path at the services
	every    time.Duration
	timeout  string // of a probe; empty is blackbox_exporter's own
	rules    string // of the one group
	route    string // Alertmanager's waits
	profiles []string
}

// peerRules at default settings: one for failures and the usual one for slowness.
const peerRules = `
  - {alert: ProbeFailed, expr: probe_success == 0, for: 1m, labels: {profile: prometheus}}
  - {alert: SlowProbe, expr: probe_duration_seconds > 1, for: 1m, labels: {profile: prometheus}}
`

// peerFastRules make both settings of one scrape, which costs the peers less than two of them would.
const peerFastRules = `
  - {alert: ProbeFailed, expr: probe_success == 0, for: 2s, labels: {profile: prometheus_debounced}}
  - {alert: ProbeFailed, expr: probe_success == 0, for: 0s, labels: {profile: prometheus_immediate}}
`

var (
	peersAtDefault = peersOfPages{promDefault, 15 * time.Second, "", peerRules, "  group_wait: 30s\n  group_interval: 5m\n", []string{promDefault}}
	peersAtOnce    = peersOfPages{promFast, time.Second, "timeout: 500ms, ", peerFastRules, "  group_wait: 0s\n  group_interval: 1s\n", []string{promDebounced, promImmediate}}
)

func (r *pageRig) startPeers(ctx context.Context, p peersOfPages, services []string) error {
	s, err := r.site(p.watcher)
	if err != nil {
		return err
	}
	var at [3]string // blackbox_exporter, Alertmanager, Prometheus
	for i := range at {
		if at[i], err = freeAddr(); err != nil {
			return err
		}
	}
	box, err := write(s, "blackbox.yml", fmt.Sprintf("modules: {web: {prober: http, %shttp: {preferred_ip_protocol: ip4, tls_config: {ca_file: '%s'}}}}\n",
		p.timeout, filepath.Join(r.dir, "ca.pem")))
	if err != nil {
		return err
	}
	alertmanager, err := write(s, "alertmanager.yml", r.alertmanagerConfig(p))
	if err != nil {
		return err
	}
	if _, err := write(s, "rules.yml", "groups:\n- name: probes\n  rules:"+p.rules); err != nil {
		return err
	}
	prometheus, err := write(s, "prometheus.yml", r.prometheusConfig(p, services, at[0], at[1]))
	if err != nil {
		return err
	}
	for _, c := range []struct {
		program, ready string
		args           []string
	}{
		{"prometheus-blackbox-exporter", at[0] + "/-/healthy", []string{"--config.file=" + box, "--web.listen-address=" + at[0], "--log.level=error"}},
		{"prometheus-alertmanager", at[1] + "/-/ready", []string{"--config.file=" + alertmanager, "--web.listen-address=" + at[1], "--cluster.listen-address=", "--storage.path=" + filepath.Join(s.dir, "am")}},
		{"/usr/bin/prometheus", at[2] + "/-/ready", []string{"--config.file=" + prometheus, "--web.listen-address=" + at[2], "--storage.tsdb.path=" + filepath.Join(s.dir, "tsdb"), "--log.level=warn"}},
	} {
		if _, err := s.spawn(c.program, c.args...); err != nil {
			return err
		}
		if err := await(ctx, func() error { return answers(ctx, "http://"+c.ready) }); err != nil {
			return fmt.Errorf("%s: %w", c.program, err)
		}
	}
	return nil
}

func (r *pageRig) alertmanagerConfig(p peersOfPages) string {
	var routes, receivers strings.Builder
	for _, profile := range p.profiles {
		fmt.Fprintf(&routes, "  - {matchers: [profile=%s], receiver: %s}\n", profile, profile)
		fmt.Fprintf(&receivers, "- {name: %s, webhook_configs: [{url: '%s'}]}\n", profile, r.hook.of(profile))
	}
	return fmt.Sprintf("route:\n  receiver: %s\n  group_by: [alertname, service, profile]\n%s  routes:\n%sreceivers:\n%s", p.profiles[0], p.route, routes.String(), receivers.String())
}

func (r *pageRig) prometheusConfig(p peersOfPages, services []string, box, alertmanager string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "global: {scrape_interval: %v, evaluation_interval: %v}\nrule_files: [rules.yml]\n", p.every, p.every)
	fmt.Fprintf(&b, "alerting: {alertmanagers: [{static_configs: [{targets: ['%s']}]}]}\n", alertmanager)
	fmt.Fprintf(&b, "scrape_configs:\n- job_name: probes\n  metrics_path: /probe\n  params: {module: [web]}\n  relabel_configs:\n"+
		"  - {source_labels: [__address__], target_label: __param_target}\n  - {target_label: __address__, replacement: '%s'}\n  static_configs:\n", box)
	for _, name := range services {
		fmt.Fprintf(&b, "  - {targets: ['%s/%s'], labels: {service: %s, instance: %s}}\n", r.sim.URL(name), p.watcher, name, name)
	}
	return b.String()
}

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// probeArea compares what checks cost. Targets are served by this process, which is not measured. Four agents ask 20 targets
// each second, four blackbox_exporters are scraped for the same targets at the same pace: over HTTP and HTTPS as shipped, where
// the agent keeps a connection for up to a minute, and at targets that close it, where each check is a connection and a full
// handshake for both. The agents' time includes sending all results over mutual TLS, the exporters' serving the scrapes. A fifth
// agent reads its host and runs 20 checks each 10 s, to be held against our own limits. At last an agent and its collector stand
// beside Debian's Prometheus and blackbox_exporter: 4 HTTPS checks each second, stored by both.
func probeArea(ctx context.Context, o options) ([]figure, error) {
	dir, err := os.MkdirTemp("", "xunjian-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	p := &probeRig{dir: dir, bin: o.bin}
	defer p.close()
	if err := p.serve(); err != nil {
		return nil, err
	}
	for _, start := range []func(context.Context) error{p.startChecks, p.startTwenty, p.startWhole} {
		if err := start(ctx); err != nil {
			return nil, fmt.Errorf("%w\n%s", err, p.logs())
		}
	}
	return p.measure(ctx, o)
}

type probeRig struct {
	dir, bin string
	sites    []*agentRig // each with a folder of its own
	servers  []*httptest.Server
	targets  map[string]string // URL by what it is

	checks map[string]*versus
	twenty *child
	whole  struct{ ours, theirs []*child }
}

// versus is one agent beside one exporter.
type versus struct {
	agent, exporter *child
	rig             *agentRig // that scrapes the exporter
}

func (p *probeRig) close() {
	for _, s := range p.sites {
		s.close()
	}
	for _, s := range p.servers {
		s.CloseClientConnections()
		s.Close()
	}
}

func (p *probeRig) logs() string {
	var b strings.Builder
	for _, s := range p.sites {
		b.WriteString(s.logs())
	}
	return b.String()
}

func (p *probeRig) site(name string, every time.Duration) (*agentRig, error) {
	r := &agentRig{dir: filepath.Join(p.dir, name), bin: p.bin, every: every}
	p.sites = append(p.sites, r)
	return r, os.MkdirAll(r.dir, 0o700)
}

// serve opens the targets: a small JSON answer, with and without TLS, from servers that keep connections and that close them.
func (p *probeRig) serve() error {
	cert, ca, err := benchCertificate()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(p.dir, "ca.pem"), ca, 0o600); err != nil {
		return err
	}
	p.targets = map[string]string{}
	for _, kind := range []string{"http", "https", "http-new", "https-new"} {
		closes := strings.HasSuffix(kind, "-new")
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if closes {
				w.Header().Set("Connection", "close")
			}
			_, _ = io.WriteString(w, `{"code":0,"message":"SUCCESS","result":{"status":"valid"}}`) // a client that left misses nothing
		}))
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		if strings.HasPrefix(kind, "https") {
			s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
			s.StartTLS()
		} else {
			s.Start()
		}
		p.servers = append(p.servers, s)
		p.targets[kind] = s.URL + "/status"
	}
	return nil
}

// benchCertificate is one for 127.0.0.1 and the CA behind it.
func benchCertificate() (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	now := time.Now()
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(2000 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "target"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(2000 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	root, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	own, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{own}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root}), err
}

// benchCheck is one check of a collector's configuration.
func (p *probeRig) benchCheck(name, agent, kind string, every time.Duration) string {
	return fmt.Sprintf("- {name: %s, service: s, kind: http, target: '%s', every: %v, timeout: 900ms, slow: 900ms, agents: [%s], tls: {ca_file: '%s'}}\n",
		name, p.targets[kind], every, agent, filepath.Join(p.dir, "ca.pem"))
}

// startCollectorWith starts a collector with the given checks and pace of host readings, and returns what starts its agents.
func (p *probeRig) startCollectorWith(ctx context.Context, r *agentRig, host time.Duration, checks string) (*child, error) {
	web, err := freeAddr()
	if err != nil {
		return nil, err
	}
	if r.collectorGRPC, err = freeAddr(); err != nil {
		return nil, err
	}
	text := fmt.Sprintf("data: %s\nhttp: {listen: '%s'}\nuplink: {listen: '%s'}\nfleet: {names: [127.0.0.1]}\nhost: {every: %v}\nservices:\n- {name: s, zh: 服务, en: s, key: true}\nchecks:\n%s",
		filepath.Join(r.dir, "data"), web, r.collectorGRPC, host, checks)
	r.config = filepath.Join(r.dir, "collector.yml")
	if err := os.WriteFile(r.config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	c, err := r.spawn("collector", "serve", "--config", r.config)
	if err != nil {
		return nil, err
	}
	return c, await(ctx, func() error { return getJSON(ctx, "http://"+web+"/-/ready", nil) })
}

func (p *probeRig) startAgentOf(ctx context.Context, r *agentRig, program, name string) (*child, error) {
	token, err := exec.CommandContext(ctx, filepath.Join(r.bin, "collector"), "token", "create", "--config", r.config, "--agent", name, "--by", "bench").Output()
	if err != nil {
		return nil, fmt.Errorf("make token: %w", err)
	}
	return r.spawn(program, "run", "--collector", r.collectorGRPC, "--name", name, "--token", strings.TrimSpace(string(token)), "--state", filepath.Join(r.dir, "state-"+name))
}

// startExporter starts a blackbox_exporter, and returns its address.
func (p *probeRig) startExporter(r *agentRig) (*child, string, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, "", err
	}
	box := filepath.Join(r.dir, "blackbox.yml")
	text := fmt.Sprintf("modules:\n  web:\n    prober: http\n    timeout: 900ms\n    http: {preferred_ip_protocol: ip4, tls_config: {ca_file: '%s'}}\n", filepath.Join(p.dir, "ca.pem"))
	if err := os.WriteFile(box, []byte(text), 0o600); err != nil {
		return nil, "", err
	}
	c, err := r.spawn("prometheus-blackbox-exporter", "--config.file="+box, "--web.listen-address="+addr)
	return c, addr, err
}

const benchChecks = 20

func (p *probeRig) startChecks(ctx context.Context) error {
	p.checks = map[string]*versus{}
	r, err := p.site("checks", time.Second)
	if err != nil {
		return err
	}
	var text strings.Builder
	for kind := range p.targets {
		for i := range benchChecks {
			text.WriteString(p.benchCheck(fmt.Sprintf("%s-%d", kind, i), kind, kind, time.Second))
		}
	}
	if _, err := p.startCollectorWith(ctx, r, 0, text.String()); err != nil {
		return err
	}
	for kind, target := range p.targets {
		v := &versus{}
		p.checks[kind] = v
		if v.agent, err = p.startAgentOf(ctx, r, "agent", kind); err != nil {
			return err
		}
		if v.rig, err = p.site("exporter-"+kind, time.Second); err != nil {
			return err
		}
		var addr string
		if v.exporter, addr, err = p.startExporter(v.rig); err != nil {
			return err
		}
		if err := await(ctx, func() error { return getPage(ctx, "http://"+addr+"/-/healthy") }); err != nil {
			return err
		}
		var scraping context.Context
		scraping, v.rig.stopScrapes = context.WithCancel(ctx)
		for range benchChecks {
			v.rig.scrape(scraping, "http://"+addr+"/probe?module=web&target="+url.QueryEscape(target))
		}
	}
	return nil
}

// startTwenty starts the agent that reads its host and runs 20 checks each 10 s.
func (p *probeRig) startTwenty(ctx context.Context) error {
	r, err := p.site("twenty", 10*time.Second)
	if err != nil {
		return err
	}
	var text strings.Builder
	for i, kind := range []string{"http", "https", "http-new", "https-new"} {
		for j := range benchChecks / 4 {
			text.WriteString(p.benchCheck(fmt.Sprintf("c%d-%d", i, j), "twenty", kind, 10*time.Second))
		}
	}
	if _, err := p.startCollectorWith(ctx, r, 15*time.Second, text.String()); err != nil {
		return err
	}
	// Its program is a copy, for pages that are shared with the other agents would not count as its own.
	program, err := os.ReadFile(filepath.Join(p.bin, "agent"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(r.dir, "agent"), program, 0o700); err != nil {
		return err
	}
	p.twenty, err = p.startAgentOf(ctx, r, filepath.Join(r.dir, "agent"), "twenty")
	return err
}

// startWhole starts agent and collector, and Prometheus and blackbox_exporter, with 4 HTTPS checks each second.
func (p *probeRig) startWhole(ctx context.Context) error {
	r, err := p.site("whole", time.Second)
	if err != nil {
		return err
	}
	var text strings.Builder
	for i := range 4 {
		text.WriteString(p.benchCheck(fmt.Sprintf("c%d", i), "whole", "https", time.Second))
	}
	collector, err := p.startCollectorWith(ctx, r, 0, text.String())
	if err != nil {
		return err
	}
	agent, err := p.startAgentOf(ctx, r, "agent", "whole")
	if err != nil {
		return err
	}
	peers, err := p.site("prometheus", time.Second)
	if err != nil {
		return err
	}
	exporter, addr, err := p.startExporter(peers)
	if err != nil {
		return err
	}
	prometheus, err := p.startPrometheus(peers, addr)
	p.whole.ours, p.whole.theirs = []*child{agent, collector}, []*child{prometheus, exporter}
	return err
}

func (p *probeRig) startPrometheus(r *agentRig, exporter string) (*child, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	var targets []string
	for i := range 4 { // the query tells the four apart
		targets = append(targets, fmt.Sprintf("'%s?%d'", p.targets["https"], i))
	}
	config := filepath.Join(r.dir, "prometheus.yml")
	text := fmt.Sprintf(`global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
- job_name: blackbox
  metrics_path: /probe
  params: {module: [web]}
  static_configs: [{targets: [%s]}]
  relabel_configs:
  - {source_labels: [__address__], target_label: __param_target}
  - {source_labels: [__param_target], target_label: instance}
  - {target_label: __address__, replacement: '%s'}
`, strings.Join(targets, ", "), exporter)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	program, err := exec.LookPath("prometheus")
	if err != nil {
		return nil, fmt.Errorf("%w (make setup installs the peers as root)", err)
	}
	return r.spawn(program, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(r.dir, "tsdb"), "--web.listen-address="+addr)
}

func getPage(ctx context.Context, page string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// measure counts processor time over one window for all of them.
func (p *probeRig) measure(ctx context.Context, o options) ([]figure, error) {
	if err := sleep(ctx, o.warm); err != nil {
		return nil, err
	}
	for _, v := range p.checks {
		v.rig.mu.Lock()
		v.rig.scraped, v.rig.scrapeErr = 0, 0
		v.rig.mu.Unlock()
	}
	before, err := p.usages()
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, p.logs())
	}
	begin := time.Now()
	var pss, n float64
	for time.Since(begin) < o.window {
		if err := sleep(ctx, min(5*time.Second, o.window-time.Since(begin))); err != nil {
			return nil, err
		}
		u, err := p.twenty.usage()
		if err != nil {
			return nil, fmt.Errorf("%w\n%s", err, p.logs())
		}
		pss, n = pss+float64(u.pss), n+1
	}
	took := time.Since(begin).Seconds()
	after, err := p.usages()
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, p.logs())
	}
	cpu := func(what string) float64 { return (after[what].cpu - before[what].cpu).Seconds() }
	var out []figure
	for _, kind := range []string{"http", "https", "http-new", "https-new"} {
		v := p.checks[kind]
		v.rig.mu.Lock()
		bad, all, last := v.rig.scrapeErr, v.rig.scraped, v.rig.lastErr
		v.rig.mu.Unlock()
		if bad > all/20 {
			return nil, fmt.Errorf("%d of %d scrapes of the exporter failed, the last with: %w", bad, all, last)
		}
		each := 1e6 / took / benchChecks
		out = append(out, figure{"probe." + kind, "µs", "blackbox_exporter", cpu("agent-"+kind) * each, cpu("exporter-"+kind) * each})
	}
	return append(out,
		figure{"probe.20-checks.pss", "MiB", "limit", pss / n / (1 << 20), 25},
		figure{"probe.20-checks.core", "%", "limit", cpu("twenty") / took * 100, 0.5},
		figure{"probe.4-https-1s", "ms/s", "prometheus+blackbox_exporter", cpu("ours") * 1e3 / took, cpu("theirs") * 1e3 / took},
		figure{"probe.4-https-1s.agent", "ms/s", "", cpu("ours-agent") * 1e3 / took, 0},
		figure{"probe.4-https-1s.collector", "ms/s", "", cpu("ours-collector") * 1e3 / took, 0},
		figure{"probe.4-https-1s.blackbox_exporter", "ms/s", "", cpu("theirs-exporter") * 1e3 / took, 0},
	), nil
}

func (p *probeRig) usages() (map[string]usage, error) {
	groups := map[string][]*child{
		"twenty": {p.twenty}, "ours": p.whole.ours, "theirs": p.whole.theirs,
		"ours-agent": p.whole.ours[:1], "ours-collector": p.whole.ours[1:], "theirs-exporter": p.whole.theirs[1:],
	}
	for kind, v := range p.checks {
		groups["agent-"+kind], groups["exporter-"+kind] = []*child{v.agent}, []*child{v.exporter}
	}
	out := map[string]usage{}
	for name, children := range groups {
		u, err := sum(children)
		if err != nil {
			return nil, err
		}
		out[name] = u
	}
	return out, nil
}

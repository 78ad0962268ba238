package main

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// agentArea compares our agent with Debian's node_exporter (cpu, memory, disk collectors) and blackbox_exporter together:
// host metrics and four HTTPS checks each 15 s. Ours sends to a real collector over mutual TLS; theirs are scraped
// in plain text over kept connections with gzip, as Prometheus does. Both probe the same four simulated services.
func agentArea(ctx context.Context, o options) ([]figure, error) {
	dir, err := os.MkdirTemp("", "xunjian-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	r := &agentRig{dir: dir, bin: o.bin, every: 15 * time.Second}
	defer r.close()
	for _, start := range []func(context.Context) error{r.startServices, r.startCollector, r.startAgent, r.startPair} {
		if err := start(ctx); err != nil {
			return nil, fmt.Errorf("%w\n%s", err, r.logs())
		}
	}
	return r.measure(ctx, o)
}

type agentRig struct {
	dir, bin string
	every    time.Duration
	children []*child

	targets            []string
	collectorGRPC      string
	config             string
	agent              *child
	node, blackbox     *child
	uplink             *relay
	nodeWire, boxWire  *relay
	scrapes            sync.WaitGroup
	stopScrapes        context.CancelFunc
	scraped, scrapeErr int
	lastErr            error
	mu                 sync.Mutex
}

func (r *agentRig) close() {
	if r.stopScrapes != nil {
		r.stopScrapes()
		r.scrapes.Wait()
	}
	for i := len(r.children) - 1; i >= 0; i-- {
		r.children[i].stop()
	}
}

func (r *agentRig) spawn(program string, args ...string) (*child, error) {
	if !strings.Contains(program, "/") && !strings.HasPrefix(program, "prometheus-") {
		program = filepath.Join(r.bin, program)
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, fmt.Errorf("%w (make setup installs the peers as root)", err)
	}
	c, err := spawn(r.dir, path, args...)
	if err == nil {
		r.children = append(r.children, c)
	}
	return c, err
}

func (r *agentRig) logs() string {
	var b strings.Builder
	for _, c := range r.children {
		text, err := os.ReadFile(filepath.Join(r.dir, c.name+".log"))
		if err == nil {
			fmt.Fprintf(&b, "--- %s\n%s", c.name, text[max(0, len(text)-1000):])
		}
	}
	return b.String()
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func port(addr string) string { _, p, _ := net.SplitHostPort(addr); return p }

func (r *agentRig) startServices(ctx context.Context) error {
	control, err := freeAddr()
	if err != nil {
		return err
	}
	if _, err := r.spawn("simulator", "--folder", r.dir, "--control="+port(control), "--webhook=0", "--cloud-doc=0", "--signature=0", "--sms=0", "--gateway=0", "--pages", filepath.Join(r.dir, "pages")); err != nil {
		return err
	}
	var got []struct{ Name, URL string }
	if err := await(ctx, func() error { return getJSON(ctx, "http://"+control+"/services", &got) }); err != nil {
		return err
	}
	paths := map[string]string{"cloud-doc": "/healthcheck", "signature": "/api/v1/status", "sms": "/balance", "gateway": "/get/echo"}
	for _, s := range got {
		r.targets = append(r.targets, s.URL+paths[s.Name])
	}
	return nil
}

func (r *agentRig) startCollector(ctx context.Context) error {
	web, err := freeAddr()
	if err != nil {
		return err
	}
	if r.collectorGRPC, err = freeAddr(); err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "data: %s\nhttp: {listen: '%s'}\nuplink: {listen: '%s'}\nfleet: {names: [127.0.0.1]}\nhost: {every: 15s}\n", filepath.Join(r.dir, "data"), web, r.collectorGRPC)
	fmt.Fprintf(&b, "services:\n- {name: s, zh: 服务, en: s, key: true}\nchecks:\n")
	for i, t := range r.targets {
		fmt.Fprintf(&b, "- {name: c%d, service: s, kind: http, target: '%s', every: 15s, tls: {ca_file: '%s'}}\n", i, t, filepath.Join(r.dir, "ca.pem"))
	}
	r.config = filepath.Join(r.dir, "collector.yml")
	if err := os.WriteFile(r.config, []byte(b.String()), 0o600); err != nil {
		return err
	}
	if _, err := r.spawn("collector", "serve", "--config", r.config); err != nil {
		return err
	}
	return await(ctx, func() error { return getJSON(ctx, "http://"+web+"/-/ready", nil) })
}

func (r *agentRig) startAgent(ctx context.Context) (err error) {
	token, err := exec.CommandContext(ctx, filepath.Join(r.bin, "collector"), "token", "create", "--config", r.config, "--agent", "bench", "--by", "bench").Output()
	if err != nil {
		return fmt.Errorf("make token: %w", err)
	}
	if r.uplink, err = newRelay(r.collectorGRPC); err != nil {
		return err
	}
	r.agent, err = r.spawn("agent", "run", "--collector", r.uplink.Addr().String(), "--name", "bench", "--token", strings.TrimSpace(string(token)), "--state", filepath.Join(r.dir, "agent"))
	return err
}

func (r *agentRig) startPair(ctx context.Context) (err error) {
	nodeAddr, err := freeAddr()
	if err != nil {
		return err
	}
	boxAddr, err := freeAddr()
	if err != nil {
		return err
	}
	r.node, err = r.spawn("prometheus-node-exporter", "--web.listen-address="+nodeAddr, "--collector.disable-defaults",
		"--collector.cpu", "--collector.meminfo", "--collector.filesystem", "--collector.diskstats", "--collector.loadavg")
	if err != nil {
		return err
	}
	box := filepath.Join(r.dir, "blackbox.yml")
	text := fmt.Sprintf("modules:\n  https:\n    prober: http\n    timeout: 2s\n    http: {preferred_ip_protocol: ip4, tls_config: {ca_file: '%s'}}\n", filepath.Join(r.dir, "ca.pem"))
	if err := os.WriteFile(box, []byte(text), 0o600); err != nil {
		return err
	}
	if r.blackbox, err = r.spawn("prometheus-blackbox-exporter", "--config.file="+box, "--web.listen-address="+boxAddr); err != nil {
		return err
	}
	if r.nodeWire, err = newRelay(nodeAddr); err != nil {
		return err
	}
	if r.boxWire, err = newRelay(boxAddr); err != nil {
		return err
	}
	ctx, r.stopScrapes = context.WithCancel(ctx)
	r.scrape(ctx, "http://"+r.nodeWire.Addr().String()+"/metrics")
	for _, t := range r.targets {
		r.scrape(ctx, "http://"+r.boxWire.Addr().String()+"/probe?module=https&target="+url.QueryEscape(t))
	}
	return nil
}

// scrape fetches a page each interval over a connection of its own, as Prometheus does.
func (r *agentRig) scrape(ctx context.Context, page string) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConns: 1, IdleConnTimeout: 5 * time.Minute, DisableCompression: true}}
	r.scrapes.Go(func() {
		tick := time.NewTicker(r.every)
		defer tick.Stop()
		for {
			err := fetch(ctx, client, page)
			r.mu.Lock()
			r.scraped++
			if err != nil && ctx.Err() == nil {
				r.scrapeErr++
				r.lastErr = err
			}
			r.mu.Unlock()
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
}

func fetch(ctx context.Context, client *http.Client, page string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "text/plain;version=0.0.4;q=1,*/*;q=0.1")
	req.Header.Set("Accept-Encoding", "gzip")
	req.Header.Set("User-Agent", "Prometheus/2.42.0")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body := io.Reader(resp.Body)
	if resp.Header.Get("Content-Encoding") == "gzip" {
		if body, err = gzip.NewReader(resp.Body); err != nil {
			return err
		}
	}
	text, err := io.ReadAll(io.LimitReader(body, 16<<20))
	if err != nil {
		return err
	}
	if strings.Contains(page, "/probe?") && !strings.Contains(string(text), "probe_success 1") {
		return fmt.Errorf("probe of %s: not successful", page)
	}
	return nil
}

// measure takes CPU and bytes over the window and the mean of the PSS within it.
func (r *agentRig) measure(ctx context.Context, o options) ([]figure, error) {
	if err := sleep(ctx, o.warm); err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.scraped, r.scrapeErr = 0, 0 // what failed while they started does not count
	r.mu.Unlock()
	ours, pair := []*child{r.agent}, []*child{r.node, r.blackbox}
	a0, err := sum(ours)
	if err != nil {
		return nil, err
	}
	p0, err := sum(pair)
	if err != nil {
		return nil, err
	}
	aw0, pw0, begin := r.uplink.bytes.Load(), r.nodeWire.bytes.Load()+r.boxWire.bytes.Load(), time.Now()
	var aPSS, pPSS, n float64
	var a, p usage
	for time.Since(begin) < o.window {
		if err := sleep(ctx, min(r.every, o.window-time.Since(begin))); err != nil {
			return nil, err
		}
		if a, err = sum(ours); err != nil {
			return nil, fmt.Errorf("%w\n%s", err, r.logs())
		}
		if p, err = sum(pair); err != nil {
			return nil, err
		}
		aPSS, pPSS, n = aPSS+float64(a.pss), pPSS+float64(p.pss), n+1
	}
	rounds := time.Since(begin).Seconds() / r.every.Seconds()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.scrapeErr > r.scraped/20 {
		return nil, fmt.Errorf("%d of %d scrapes of the peers failed, the last with: %w", r.scrapeErr, r.scraped, r.lastErr)
	}
	wire := float64(r.uplink.bytes.Load() - aw0)
	if wire == 0 {
		return nil, fmt.Errorf("the agent sent nothing\n%s", r.logs())
	}
	const peer = "exporters"
	return []figure{
		{"agent.cpu", "ms", peer, (a.cpu - a0.cpu).Seconds() * 1e3 / rounds, (p.cpu - p0.cpu).Seconds() * 1e3 / rounds},
		{"agent.pss", "MiB", peer, aPSS / n / (1 << 20), pPSS / n / (1 << 20)},
		{"agent.wire", "B", peer, wire / rounds, float64(r.nodeWire.bytes.Load()+r.boxWire.bytes.Load()-pw0) / rounds},
	}, nil
}

func sum(cs []*child) (u usage, err error) {
	for _, c := range cs {
		one, err := c.usage()
		if err != nil {
			return u, err
		}
		u.cpu += one.cpu
		u.pss += one.pss
	}
	return u, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func await(ctx context.Context, ask func() error) error {
	var err error
	for range 300 {
		if err = ask(); err == nil {
			return nil
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return err
}

func getJSON(ctx context.Context, page string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", page, resp.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(into)
}

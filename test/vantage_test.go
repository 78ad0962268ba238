package test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// twoPlaces is a collector, three services, and two agents: one beside the collector and one in a network of its own, which
// reaches the collector at all times and the services as long as its routes say so.
type twoPlaces struct {
	t         *testing.T
	space     string
	url       string
	token     string
	addresses []string // of the services
	services  []*http.Server
}

// in runs ip, within the other network when asked to.
func (p *twoPlaces) ip(within bool, args ...string) {
	p.t.Helper()
	if within {
		args = append([]string{"netns", "exec", p.space, "ip"}, args...)
	}
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		p.t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func newTwoPlaces(t *testing.T) *twoPlaces {
	t.Helper()
	p := &twoPlaces{t: t, space: fmt.Sprint("xunjian-", os.Getpid())}
	if out, err := exec.Command("ip", "netns", "add", p.space).CombinedOutput(); err != nil {
		t.Skipf("no network of one's own here: %v %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "del", p.space).CombinedOutput(); err != nil {
			t.Errorf("%v %s", err, out)
		}
	})
	here := fmt.Sprintf("xj%d", os.Getpid()%100_000)
	const net10 = "10.213.77."
	p.ip(false, "link", "add", here, "type", "veth", "peer", "name", "up0", "netns", p.space)
	p.ip(false, "addr", "add", net10+"1/24", "dev", here)
	p.ip(false, "link", "set", here, "up")
	p.ip(true, "addr", "add", net10+"2/30", "dev", "up0")
	p.ip(true, "link", "set", "up0", "up")
	p.ip(true, "link", "set", "lo", "up")
	p.ip(true, "route", "add", "default", "via", net10+"1")
	dir := t.TempDir()
	uplink := listen(t, net10+"1:0")
	uplink.Close()
	web := freeAddr(t)
	var b strings.Builder
	fmt.Fprintf(&b, "data: %s\nhttp: {listen: '%s'}\nuplink: {listen: '%s'}\n", filepath.Join(dir, "data"), web, uplink.Addr())
	fmt.Fprintf(&b, "fleet: {names: [127.0.0.1, %s1], agents: [{name: here, labels: {site: hq}}, {name: there, labels: {site: cloud}}]}\nservices:\n", net10)
	checks := "checks:\n"
	for i := range 3 {
		address := fmt.Sprint(net10, 9+i)
		p.ip(false, "addr", "add", address+"/24", "dev", here)
		l := listen(t, address+":0")
		s := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
		go s.Serve(l)
		t.Cleanup(func() { s.Close() })
		p.addresses, p.services = append(p.addresses, address), append(p.services, s)
		fmt.Fprintf(&b, "- {name: s%d, zh: 服务%d, key: true}\n", i, i)
		checks += fmt.Sprintf("- {name: c%d, service: s%d, kind: http, target: 'http://%s/', every: 1s, timeout: 500ms, vantages: 1}\n", i, i, l.Addr())
		// The check of which the agent there is one of two on time, so that it sees the fault by itself.
		checks += fmt.Sprintf("- {name: d%d, service: s%d, kind: http, target: 'http://%s/', every: 1s, timeout: 500ms}\n", i, i, l.Addr())
	}
	config := filepath.Join(dir, "collector.yml")
	if err := os.WriteFile(config, []byte(b.String()+checks), 0o600); err != nil {
		t.Fatal(err)
	}
	p.url = "http://" + web
	start(t, dir, "collector", "serve", "--config", config)
	eventually(t, "collector", func() error { return call("GET", p.url+"/-/ready", "", nil, nil) })
	p.token = mustRun(t, "collector", "token", "api", "--config", config, "--name", "test", "--role", "engineer", "--person", "tester")
	for _, name := range []string{"here", "there"} {
		token := mustRun(t, "collector", "token", "create", "--config", config, "--agent", name, "--by", "test")
		args := []string{"run", "--collector", uplink.Addr().String(), "--name", name, "--token", token, "--state", filepath.Join(dir, name)}
		if name == "here" {
			start(t, dir, "agent", args...)
		} else {
			p.startThere(dir, args)
		}
	}
	eventually(t, "both agents to see all services", func() error { return p.wantSeen(12 - 3) })
	return p
}

// startThere starts the agent in the other network; ip becomes the agent.
func (p *twoPlaces) startThere(dir string, args []string) {
	log, err := os.Create(filepath.Join(dir, "there.log"))
	if err != nil {
		p.t.Fatal(err)
	}
	a := &proc{Cmd: exec.Command("ip", append([]string{"netns", "exec", p.space, filepath.Join(bin, "agent")}, args...)...), name: "there", log: log, done: make(chan struct{})}
	a.Stdout, a.Stderr = log, log
	a.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := a.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() { a.err = a.Wait(); log.Close(); close(a.done) }()
	p.t.Cleanup(func() { a.kill(); a.show(p.t) })
}

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// wantSeen wants so many checks that an agent has seen well, the ones that stand by left out.
func (p *twoPlaces) wantSeen(n int) error {
	var got struct {
		Services []struct {
			State  string
			Checks []struct{ Check, Agent, Outcome, Reason string }
		}
	}
	if err := call("GET", p.url+"/api/xunjian/v1/services", p.token, nil, &got); err != nil {
		return err
	}
	well := 0
	for _, s := range got.Services {
		for _, c := range s.Checks {
			if c.Outcome == "ok" {
				well++
			}
		}
	}
	if well < n {
		return fmt.Errorf("%d checks are well, want %d: %+v", well, n, got)
	}
	return nil
}

// told lists all incidents so far as service and class.
func (p *twoPlaces) told() (out []string, err error) {
	all, err := incidents(p.url, p.token, "")
	for _, r := range all {
		out = append(out, r.Service+" "+r.Class+" "+r.Level)
	}
	slices.Sort(out)
	return out, err
}

func (p *twoPlaces) eventually(what string, want ...string) {
	p.t.Helper()
	eventually(p.t, what, func() error {
		got, err := p.told()
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("told %q, want %q", got, want)
		}
		return err
	})
}

// route takes the way to a service away from the agent there, or gives it back.
func (p *twoPlaces) route(service int, open bool) {
	p.t.Helper()
	if open {
		p.ip(true, "route", "del", "unreachable", p.addresses[service])
	} else {
		p.ip(true, "route", "add", "unreachable", p.addresses[service])
	}
}

// A network fault between one of two agents and a service is a partial one; between it and all services it is the agent
// that sees nothing; and a service that is down for both is down.
func TestTwoVantages(t *testing.T) {
	p := newTwoPlaces(t)
	p.route(0, false)
	p.eventually("a partial fault", "s0 partial general")
	p.route(0, true)
	eventually(t, "all to be well again", func() error { return p.wantSeen(9) })

	for i := range p.services {
		p.route(i, false)
	}
	p.eventually("a lost vantage", "host unknown minor", "s0 partial general")
	for i := range p.services {
		p.route(i, true)
	}
	eventually(t, "all to be well again", func() error { return p.wantSeen(9) })

	p.services[1].Close()
	p.eventually("an outage", "host unknown minor", "s0 partial general", "s1 down urgent")
}

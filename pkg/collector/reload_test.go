package collector

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/config"
)

const reloadedMetric = "xunjian_config_last_reload_successful"

// inForce is what shows of a configuration: services, the plan's checks and interval, rules, channels, and a contract's limit.
func (r *rig) inForce() string {
	r.Helper()
	var b strings.Builder
	for _, s := range r.board.Services(time.Now()) {
		fmt.Fprintf(&b, "service %s %s %v\n", s.Service.Name, s.Service.ZH, s.Service.Key)
	}
	plan, _ := r.plans.Plan("host-1")
	for _, s := range plan.Checks {
		fmt.Fprintf(&b, "check %s %v\n", s.Name, s.Every)
	}
	for _, name := range []string{"OldRule", "NewRule"} {
		if r.shows("prometheus_rule_group_rules{", name) {
			fmt.Fprintf(&b, "rule %s\n", name)
		}
	}
	r.mu.Lock()
	cfg := r.cfg
	r.mu.Unlock()
	fmt.Fprintf(&b, "host %v urgent %v recover_after %d silence %v pages %d", plan.HostEvery, cfg.Contract.Urgent.Respond, cfg.Inspect.RecoverAfter, cfg.Fleet.Silence, len(cfg.Pages.Webhooks))
	return b.String()
}

// shows says whether some line of /metrics that begins so mentions a text.
func (r *rig) shows(prefix, text string) bool {
	_, all := r.ask("GET", "/metrics")
	for line := range strings.Lines(all) {
		if strings.HasPrefix(line, prefix) && strings.Contains(line, text) {
			return true
		}
	}
	return false
}

func (r *rig) rules(name, alert string) {
	r.Helper()
	text := fmt.Sprintf("groups: [{name: %[1]s, rules: [{alert: %[1]s, expr: 'vector(0) > 1', labels: {level: urgent}, annotations: {summary: s}}]}]\n", alert)
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
		r.Fatal(err)
	}
}

// newConfig differs from plain in everything that a reload can change.
const newConfig = `
http: {listen: '127.0.0.1:0'}
uplink: {listen: '127.0.0.1:0'}
fleet: {names: [127.0.0.1], silence: 5m}
host: {every: 30s}
contract: {urgent: {respond: 5m, recover: 2h}}
inspect: {recover_after: 4}
services: [{name: sms, zh: 短信网关, key: true}, {name: gateway, zh: 网关服务}]
checks:
- {name: balance, service: sms, kind: tcp, target: '127.0.0.1:1', every: 20s}
- {name: port, service: gateway, kind: tcp, target: '127.0.0.1:2'}
rules: {files: [new.yml]}
pages: {webhooks: [{name: desk, url: 'http://127.0.0.1:1/'}]}
`

// A good file changes everything it may change, at once.
func TestReload(t *testing.T) {
	r := newRig(t, plain("rules: {files: [old.yml]}\n"))
	r.rules("old.yml", "OldRule")
	r.rules("new.yml", "NewRule")
	r.start()
	p := newPhone(t)
	_, changed := r.plans.Plan("host-1")
	r.write(strings.Replace(newConfig, "http://127.0.0.1:1/", p.URL, 1))
	if status, text := r.ask("POST", "/-/reload"); status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	want := "service sms 短信网关 true\nservice gateway 网关服务 false\ncheck balance 20s\ncheck port 10s\nrule NewRule\nhost 30s urgent 5m0s recover_after 4 silence 5m0s pages 1"
	r.eventually("new configuration", func() error {
		if got := r.inForce(); got != want {
			return fmt.Errorf("in force:\n%s\nwant:\n%s", got, want)
		}
		return nil
	})
	select {
	case <-changed:
	default:
		t.Error("agents are not told of the new plan")
	}
	if got := r.metric(reloadedMetric); got != "1" {
		t.Errorf("%s is %q", reloadedMetric, got)
	}
	if !r.shows("xunjian_page", `channel="desk"`) {
		t.Error("the new receiver has no series")
	}
	r.round("port", "gateway", check.Fail)
	got := r.incidents("open")
	if len(got) != 1 || got[0].ServiceZH != "网关服务" || got[0].Terms.Urgent.Respond != 5*time.Minute {
		t.Errorf("an incident of the new service under the new contract: %+v", got)
	}
	r.eventually("a page to the new receiver", func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.keys) != 1 {
			return fmt.Errorf("%d pages", len(p.keys))
		}
		return nil
	})
}

// A bad file changes nothing at all, and everybody who should know is told what is wrong with it.
func TestReloadBadFile(t *testing.T) {
	r := newRig(t, plain("rules: {files: [old.yml]}\n"))
	r.rules("old.yml", "OldRule")
	r.rules("new.yml", "NewRule")
	if err := os.WriteFile(filepath.Join(r.dir, "bad.yml"), []byte("groups: [{name: x, rules: [{alert: X, expr: 'sum(('}]}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.start()
	var before string
	r.eventually("the rule in force", func() error {
		if before = r.inForce(); !strings.Contains(before, "rule OldRule") {
			return fmt.Errorf("in force:\n%s", before)
		}
		return nil
	})
	for name, c := range map[string]struct {
		text string
		say  []string
	}{
		"unknown key":      {newConfig + "colour: red\n", []string{r.file + ":", `unknown key "colour"`}},
		"everything wrong": {newConfig + "language: klingon\nlocation: Mars\n", []string{"language", "location"}},
		"bad rules":        {strings.Replace(newConfig, "new.yml", "bad.yml", 1), []string{"bad.yml"}},
		"missing rules":    {strings.Replace(newConfig, "new.yml", "none.yml", 1), []string{"none.yml"}},
		"missing CA":       {strings.Replace(newConfig, "127.0.0.1:1/'", "127.0.0.1:1/', ca_file: none.pem", 1), []string{"pages.webhooks[0].ca_file", "none.pem"}},
		"doubled receiver": {strings.Replace(newConfig, "webhooks: [", "webhooks: [{name: desk, url: 'http://127.0.0.1:3/'}, ", 1), []string{"desk"}},
		"empty":            {"", []string{"file is empty"}},
		"another door":     {strings.Replace(newConfig, "http: {listen: '127.0.0.1:0'}", "http: {listen: '127.0.0.1:9'}", 1), []string{"http.listen: changed: this needs a restart of the collector"}},
		"several such": {
			strings.Replace(newConfig, "uplink: {listen: '127.0.0.1:0'}", "uplink: {listen: ':0'}", 1) + "data: elsewhere\nlanguage: en\nlocation: UTC\nstorage: {linger: 0s}\n",
			[]string{"uplink: changed", "data: changed", "language: changed", "location: changed", "storage: changed"},
		},
		"rules' pace": {strings.Replace(newConfig, "files: [new.yml]", "files: [new.yml], interval: 7s", 1), []string{"rules.interval: changed"}},
	} {
		r.write(c.text)
		status, text := r.ask("POST", "/-/reload")
		if status < 400 {
			t.Errorf("%s: taken: %d %s", name, status, text)
		}
		for _, say := range c.say {
			if !strings.Contains(text, say) {
				t.Errorf("%s: %q lacks %q", name, text, say)
			}
		}
		if got := r.inForce(); got != before {
			t.Errorf("%s: in force:\n%s\nbefore:\n%s", name, got, before)
		}
		if got := r.metric(reloadedMetric); got != "0" {
			t.Errorf("%s: %s is %q", name, reloadedMetric, got)
		}
		r.write(plain("rules: {files: [old.yml]}\n"))
		if status, text := r.ask("POST", "/-/reload"); status != http.StatusOK || r.metric(reloadedMetric) != "1" {
			t.Errorf("%s: the old file is refused afterwards: %d %s", name, status, text)
		}
	}
	if err := os.Remove(r.file); err != nil {
		t.Fatal(err)
	}
	if status, text := r.ask("POST", "/-/reload"); status < 400 || !strings.Contains(text, r.file) {
		t.Errorf("file gone: %d %s", status, text)
	}
}

// What SIGHUP does: the answer stands in the log.
func TestReloadInLog(t *testing.T) {
	r := newRig(t, plain("")).start()
	r.write(plain("nonsense: 1\n"))
	r.Reload()
	r.eventually("refusal", func() error { return r.log.has("nonsense") })
	if err := r.log.has("the old configuration stays in force"); err != nil {
		t.Error(err)
	}
	r.write(plain("host: {every: 1m}\n"))
	r.Reload()
	r.eventually("reload", func() error { return r.log.has("configuration reloaded") })
	if plan, _ := r.plans.Plan("host-1"); plan.HostEvery != time.Minute {
		t.Errorf("host each %v", plan.HostEvery)
	}
}

func TestNoFileNoReload(t *testing.T) {
	r := newRig(t, plain(""))
	o := r.options()
	o.File = ""
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.ReloadNow(t.Context()); err == nil {
		t.Error("reloaded from nowhere")
	}
	if err := c.needsRestart(o.Config); err != nil {
		t.Errorf("an equal configuration needs a restart: %v", err)
	}
	if faults := (config.Faults{}); !errors.As(c.needsRestart(Config{}), &faults) || len(faults) < 6 {
		t.Errorf("of another configuration: %v", faults)
	}
}

// Fifty reloads beside services that break and mend: every incident is paged once when it opens, whether the receivers
// change meanwhile or not. A page whose sending was cut off by a change of receivers comes again under the same key.
func TestReloadStorm(t *testing.T) {
	for name, change := range map[string]func(i int) string{
		"same receivers": func(i int) string { return fmt.Sprintf("contract: {verify: %dm}\n", 1+i%5) },
		"new receivers": func(i int) string {
			return fmt.Sprintf("contract: {verify: %dm}\nhost: {every: %ds}\n", 1+i%5, 10+i%3)
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPhone(t)
			const services = 20
			text := func(i int) string {
				var b strings.Builder
				b.WriteString("http: {listen: '127.0.0.1:0'}\nuplink: {listen: '127.0.0.1:0'}\nfleet: {names: [127.0.0.1]}\nservices:\n")
				for n := range services {
					fmt.Fprintf(&b, "- {name: s-%d, zh: 服务, key: true}\n", n)
				}
				b.WriteString("checks:\n")
				for n := range services {
					fmt.Fprintf(&b, "- {name: c-%d, service: s-%d, kind: tcp, target: '127.0.0.1:1'}\n", n, n)
				}
				timeout := 10
				if name == "new receivers" {
					timeout += i % 2
				}
				fmt.Fprintf(&b, "rules: {files: [old.yml]}\npages: {webhooks: [{name: phone, url: '%s', timeout: %ds}]}\n%s", p.URL, timeout, change(i))
				return b.String()
			}
			r := newRig(t, text(0))
			r.rules("old.yml", "OldRule")
			r.start()
			var wg sync.WaitGroup
			begun := make(chan struct{})
			wg.Go(func() {
				close(begun)
				for n := range services {
					r.round(fmt.Sprint("c-", n), fmt.Sprint("s-", n), check.Fail)
					time.Sleep(20 * time.Millisecond)
				}
			})
			<-begun
			for i := range 50 {
				r.write(text(i + 1))
				if err := r.ReloadNow(t.Context()); err != nil {
					t.Error(err)
				}
			}
			wg.Wait()
			r.round("c-0", "s-0", check.Fail) // nothing new
			r.eventually("every page", func() error {
				if n := len(p.told()); n < services { // a slow machine sends many in one message
					return fmt.Errorf("%d of %d pages", n, services)
				}
				return nil
			})
			if got := r.incidents("open"); len(got) != services {
				t.Errorf("%d incidents of %d faults", len(got), services)
			}
			r.stop() // nothing more is sent
			told := p.told()
			for what, keys := range told {
				if len(keys) > 1 {
					t.Errorf("%s was paged as %q", what, keys)
				}
			}
			for key, n := range p.keys {
				if n > 1 && name == "same receivers" {
					t.Errorf("%s came %d times", key, n)
				}
			}
			if len(told) != services {
				t.Errorf("%d different pages, want %d: %v", len(told), services, told)
			}
		})
	}
}

package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"xunjian/pkg/simulator"
)

//go:embed demo.yml
var configTemplate string

func (d *demo) path(parts ...string) string {
	return filepath.Join(append([]string{d.Data}, parts...)...)
}

func (d *demo) url() string          { return fmt.Sprintf("http://127.0.0.1:%d", d.ports.http) }
func (d *demo) simulatorURL() string { return fmt.Sprintf("http://127.0.0.1:%d", d.ports.control) }
func (d *demo) envFile() string      { return d.path("demo.env") }

func (d *demo) startSimulator(ctx context.Context) error {
	args := []string{"--office=none", "--folder", d.path("simulator"), "--pages", d.path("webhook.jsonl"), fmt.Sprint("--control=", d.ports.control), fmt.Sprint("--webhook=", d.ports.webhook)}
	for _, s := range slices.Concat(services, doors) {
		args = append(args, fmt.Sprintf("--%s=%d", s, d.ports.services[s]))
	}
	if err := d.spawn("simulator", args...); err != nil {
		return err
	}
	return d.await(ctx, func() error { return get(ctx, d.simulatorURL()+"/services", "", nil) })
}

func (d *demo) startCollector(ctx context.Context) error {
	if err := d.writeConfig(); err != nil {
		return err
	}
	if err := d.spawn("collector", "serve", "--config", d.path("collector.yml")); err != nil {
		return err
	}
	if err := d.await(ctx, func() error { return get(ctx, d.url()+"/-/ready", "", nil) }); err != nil {
		return err
	}
	token, err := d.call(ctx, "collector", "token", "api", "--config", d.path("collector.yml"), "--name", "demo", "--role", "engineer", "--person", "驻点人员", "--replace")
	d.token = token
	return err
}

// writeConfig fills the embedded configuration with this run's ports.
func (d *demo) writeConfig() error {
	t, err := template.New("demo.yml").Parse(configTemplate)
	if err != nil {
		return err
	}
	var b strings.Builder
	err = t.Execute(&b, map[string]any{
		"HTTP": d.ports.http, "GRPC": d.ports.grpc, "Webhook": d.ports.webhook, "Data": d.path("collector"), "Phone": d.phone.port(),
		"CA": d.path("simulator", "ca.pem"), "Services": d.ports.services,
	})
	if err != nil {
		return err
	}
	if err := d.writeShipped(); err != nil {
		return err
	}
	return writeAtomic(d.path("collector.yml"), b.String())
}

// startAgent enrols this machine at its first run; later runs find the identity in the state folder.
func (d *demo) startAgent(ctx context.Context) error {
	args := []string{"run", "--collector", fmt.Sprintf("127.0.0.1:%d", d.ports.grpc), "--state", d.path("agent"), "--secrets", d.path("secrets")}
	if err := d.writeSecrets(); err != nil {
		return err
	}
	if _, err := os.Stat(d.path("agent", "identity.pem")); errors.Is(err, os.ErrNotExist) {
		name := agentName()
		token, err := d.call(ctx, "collector", "token", "create", "--config", d.path("collector.yml"), "--agent", name, "--by", "demo")
		if err != nil {
			return err
		}
		if err := writeAtomic(d.path("enrol.token"), token+"\n"); err != nil {
			return err
		}
		args = append(args, "--name", name, "--token-file", d.path("enrol.token"))
	}
	return d.spawn("agent", args...)
}

// writeSecrets puts what the simulator's doors ask for where the agent looks.
func (d *demo) writeSecrets() error {
	if err := os.MkdirAll(d.path("secrets"), 0o700); err != nil {
		return err
	}
	for name, value := range map[string]string{
		"sms.secret": simulator.SMSPassword, "smpp.secret": simulator.SMSPassword, "sms.token": simulator.SMSPassword,
		"mas.secret": simulator.SMSPassword, "aliyun.secret": simulator.SMSPassword, "tencent.secret": simulator.SMSPassword,
		"seal.secret": simulator.SealSecret,
		"wopi.token":  simulator.DocToken, "store.token": simulator.DocToken, "onlyoffice.jwt": simulator.DocSecret, "wps.key": simulator.DocSecret,
		"gateway.key": simulator.GatewayKey, "gateway-admin.token": simulator.GatewayKey, "gateway-monitor.password": simulator.GatewayKey,
		"oa.secret": simulator.OAPassword,
	} {
		if err := writeAtomic(d.path("secrets", name), value+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// agentName is this machine's name in the form that agents' names have.
func agentName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, strings.ToLower(host))
	name = strings.Trim(name, "-")
	if name == "" {
		return "localhost"
	}
	return name[:min(len(name), 63)]
}

// awaitServices waits until each service has been inspected and the host has reported.
func (d *demo) awaitServices(ctx context.Context) error {
	return d.await(ctx, func() error {
		var got struct {
			Services []struct{ Name, State string } `json:"services"`
		}
		if err := get(ctx, d.url()+"/api/xunjian/v1/services", d.token, &got); err != nil {
			return err
		}
		for _, s := range got.Services {
			if s.State == "unknown" {
				return fmt.Errorf("service %s is not inspected yet", s.Name)
			}
		}
		var agents struct {
			Agents []struct {
				LastHeard time.Time `json:"last_heard"`
			} `json:"agents"`
		}
		if err := get(ctx, d.url()+"/api/xunjian/v1/agents", d.token, &agents); err != nil {
			return err
		}
		if len(got.Services) < len(services) || len(agents.Agents) == 0 || agents.Agents[0].LastHeard.IsZero() {
			return fmt.Errorf("%d services, %d agents so far", len(got.Services), len(agents.Agents))
		}
		return nil
	})
}

// writeEnv tells scripts where everything is, whole or not at all.
func (d *demo) writeEnv() error {
	var b strings.Builder
	for _, v := range [][2]string{
		{"XUNJIAN_URL", d.url()},
		{"XUNJIAN_API_TOKEN", d.token},
		{"XUNJIAN_SIMULATOR_URL", d.simulatorURL()},
		{"XUNJIAN_WEBHOOK_LOG", d.path("webhook.jsonl")},
		{"XUNJIAN_DATA", d.path("collector")},
		{"XUNJIAN_CONFIG", d.path("collector.yml")},
		{"XUNJIAN_COLLECTOR_PID", d.pid("collector")},
		{"XUNJIAN_AGENT_PID", d.pid("agent")},
	} {
		fmt.Fprintf(&b, "%s='%s'\n", v[0], strings.ReplaceAll(v[1], "'", `'\''`))
	}
	return writeAtomic(d.envFile(), b.String())
}

func (d *demo) pid(name string) string {
	for _, p := range d.procs {
		if p.name == name {
			return strconv.Itoa(p.cmd.Process.Pid)
		}
	}
	return ""
}

func (d *demo) welcome() {
	fmt.Printf("\n  控制台 console   %s\n", d.url())
	if b, err := os.ReadFile(d.path("collector", "first-start.txt")); err == nil {
		fmt.Printf("  登录   sign in   %s\n", strings.Join(strings.Fields(string(b)), " / "))
	}
	fmt.Printf(`  指标   metrics   %s/metrics
  告警接收 pages   %s

  弄坏一个服务 break a service:
    curl -X PUT -d '{"mode":"error500"}' %s/faults/signature
  驻点人员的手机短信会显示在此，点开链接即可响应；无人响应则 5 分钟后通知二线与负责人
  the resident's phone shows here: open its link to acknowledge, or second line and manager are called after 5 minutes
  恢复 mend it:
    curl -X PUT -d '{"mode":"ok"}' %s/faults/signature
  故障 incidents:
    bin/collector incident list --config %s
  月报 monthly record:
    bin/collector report --month %s --out . --config %s

  Ctrl-C 停止 stops everything.
`, d.url(), d.path("webhook.jsonl"), d.simulatorURL(), d.simulatorURL(), d.path("collector.yml"), time.Now().Format("2006-01"), d.path("collector.yml"))
}

func writeAtomic(file, text string) error {
	tmp := file + ".tmp"
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}

var client = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{Proxy: nil}}

// get asks for JSON; into may be nil when the status alone matters.
func get(ctx context.Context, url, token string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", url, resp.Status, strings.TrimSpace(string(body)))
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(body, into)
}

package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const slowRules = `
groups:
- name: fleet
  interval: 1s
  rules:
  - {record: 'fleet:load1:max', expr: max(node_load1)}
  - {alert: LongWait, expr: 'fleet:load1:max >= 0', for: 1h, labels: {severity: info}, annotations: {summary: '{{ $value }}'}}
`

// TestPrometheusDoor is a collector with an agent and a rule that waits, as Grafana and promtool see it, and over a kill -9.
func TestPrometheusDoor(t *testing.T) {
	t.Parallel()
	r := newKillRig(t)
	r.useRules(slowRules)
	r.startAgent()
	age := r.pendingSince(time.Now().Add(patience))
	time.Sleep(10 * time.Second) // so old an alert is not to be mistaken for a new one
	t.Run("grafana", func(t *testing.T) { r.playGrafana(t) })
	t.Run("promtool", func(t *testing.T) { r.askPromtool(t) })

	killed := time.Now()
	r.collector.kill()
	time.Sleep(time.Second)
	restarted := time.Now()
	r.startCollector()
	after := r.pendingSince(restarted)
	if moved := after.Sub(age); moved < 0 || moved > time.Since(killed)+3*time.Second { // the age was written down at most an evaluation before
		t.Errorf("LongWait is pending since %s, and was since %s before the collector was killed", after, age)
	}
	r.agent.stop(t)
	r.collector.stop(t)
}

// useRules starts the collector anew with rules.
func (r *killRig) useRules(text string) {
	r.t.Helper()
	file := filepath.Join(r.dir, "rules.yml")
	b, err := os.ReadFile(r.config)
	if err == nil {
		err = errors.Join(os.WriteFile(file, []byte(text), 0o600), os.WriteFile(r.config, append(b, "rules: {files: [rules.yml]}\n"...), 0o600))
	}
	if err != nil {
		r.t.Fatal(err)
	}
	if out := mustRun(r.t, "collector", "check", "rules", file); !strings.Contains(out, "1") {
		r.t.Errorf("check rules: %s", out)
	}
	r.collector.stop(r.t)
	r.startCollector()
}

// pendingSince waits until LongWait is pending since before then, and says since when.
func (r *killRig) pendingSince(before time.Time) (since time.Time) {
	r.t.Helper()
	eventually(r.t, "LongWait", func() error {
		var got struct {
			Data struct {
				Alerts []struct {
					State    string
					ActiveAt time.Time
				}
			}
		}
		if err := call("GET", r.url()+"/api/v1/alerts", "", nil, &got); err != nil {
			return err
		}
		if all := got.Data.Alerts; len(all) != 1 || all[0].State != "pending" {
			return fmt.Errorf("alerts %v", all)
		}
		if since = got.Data.Alerts[0].ActiveAt; !since.Before(before) {
			return fmt.Errorf("pending since %s", since)
		}
		return nil
	})
	return since
}

// playGrafana sends what Grafana's Prometheus data source sends: the test of a new data source, the explorer's menus, a
// panel, the alert list.
func (r *killRig) playGrafana(t *testing.T) {
	now := time.Now()
	span := url.Values{"start": {fmt.Sprint(now.Add(-5 * time.Minute).Unix())}, "end": {fmt.Sprint(now.Unix())}}
	with := func(pairs ...string) string {
		v := url.Values{"start": span["start"], "end": span["end"]}
		for i := 0; i+1 < len(pairs); i += 2 {
			v.Add(pairs[i], pairs[i+1])
		}
		return v.Encode()
	}
	for _, tc := range []struct{ name, method, path, form, want string }{
		{"build", "GET", "/status/buildinfo", "", `"version":"3\.`},
		{"test query", "POST", "/query", "query=1%2B1&time=4", `"resultType":"scalar","result":\[4,"2"\]`},
		{"panel", "POST", "/query_range", with("query", `rate(node_cpu_seconds_total{mode="idle"}[1m])`, "step", "15"), `"resultType":"matrix","result":\[`},
		{"panel with data", "POST", "/query_range", with("query", `node_load1{instance="host-1"}`, "step", "15"), `"__name__":"node_load1".*"values":\[\[\d+`},
		{"empty panel", "POST", "/query_range", with("query", `node_load1{instance="nobody"}`, "step", "15"), `"result":\[\]`},
		{"instant", "POST", "/query", "query=up%20or%20max(node_load1)", `"resultType":"vector","result":\[\{`},
		{"names", "GET", "/label/__name__/values?" + with(), "", `"node_load1"`},
		{"names of one", "GET", "/label/__name__/values?" + with("match[]", `{instance="host-1"}`), "", `"node_load1"`},
		{"labels", "GET", "/labels?" + with("match[]", "node_load1"), "", `\["__name__","agent","instance","job"\]`},
		{"labels by form", "POST", "/labels", with("match[]", "node_load1"), `\["__name__","agent","instance","job"\]`},
		{"values", "GET", "/label/instance/values?" + with(), "", `"host-1"`},
		{"series", "POST", "/series", with("match[]", "node_load1"), `\{"__name__":"node_load1","agent":"host-1","instance":"host-1","job":"node"\}`},
		{"metadata", "GET", "/metadata?limit=5000", "", `"node_load1":\[\{"type":"gauge","help":"1m load average\.","unit":""\}\]`},
		{"metadata of one", "GET", "/metadata?metric=node_cpu_seconds_total", "", `"type":"counter"`},
		{"exemplars", "POST", "/query_exemplars", with("query", "node_load1"), `"data":\[\]`},
		{"rules", "GET", "/rules?type=alert", "", `"name":"LongWait".*"type":"alerting"`},
		{"recordings", "GET", "/rules?type=record", "", `"name":"fleet:load1:max".*"health":"ok"`},
		{"alerts", "GET", "/alerts", "", `"state":"pending".*"value":"\d.*e[+-]\d\d"`},
		{"recorded", "POST", "/query", "query=" + url.QueryEscape(`fleet:load1:max`), `"value":\[`},
		{"alert series", "POST", "/query", "query=" + url.QueryEscape(`ALERTS{alertstate="pending"}`), `"alertname":"LongWait"`},
		{"targets", "GET", "/targets?state=active", "", `"scrapePool":"host","scrapeUrl":"agent://host-1".*"health":"up"`},
		{"config", "GET", "/status/config", "", `rules.yml`},
		{"size", "GET", "/status/tsdb", "", `"numSeries":\d\d`},
		{"federation", "GET", "/../../federate?match[]=node_load1", "", `(?m)^node_load1\{.*instance="host-1"`},
	} {
		body, err := r.prometheus(tc.method, tc.path, tc.form)
		if err != nil || !regexp.MustCompile(tc.want).MatchString(body) {
			t.Errorf("%s: %v: %s, want %s", tc.name, err, body, tc.want)
		}
	}
}

// prometheus sends one request to the query API.
func (r *killRig) prometheus(method, path, form string) (string, error) {
	address, err := url.JoinPath(r.url(), "/api/v1")
	if err != nil {
		return "", err
	}
	address += path
	if rest, ok := strings.CutPrefix(path, "/../.."); ok {
		address = r.url() + rest
	}
	req, err := http.NewRequest(method, address, strings.NewReader(form))
	if err != nil {
		return "", err
	}
	if form != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK || strings.HasPrefix(path, "/api") && !json.Valid(b) {
		err = errors.Join(err, errors.New(resp.Status))
	}
	return string(b), err
}

// askPromtool lets the real promtool ask.
func (r *killRig) askPromtool(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("XUNJIAN_WITHOUT_PEERS") != "" {
			t.Skip("XUNJIAN_WITHOUT_PEERS is set and promtool is not installed")
		}
		t.Fatalf("%v: install it, or set XUNJIAN_WITHOUT_PEERS to go without", err)
	}
	from := time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"instant": {[]string{"instant", r.url(), "node_load1"}, `node_load1\{agent="host-1", instance="host-1", job="node"\} => [\d.e+-]+ @\[\d+`},
		"range":   {[]string{"range", "--start", from, "--step", "5s", r.url(), "node_load1"}, `node_load1\{agent="host-1".*\} =>\n[\d.e+-]+ @\[\d+`},
		"series":  {[]string{"series", "--match", "node_load1", "--match", "node_load5", r.url()}, `(?s)node_load1.*node_load5`},
		"labels":  {[]string{"labels", r.url(), "mode"}, `(?s)idle.*user`},
		"fault":   {[]string{"instant", r.url(), "sum("}, `bad_data: invalid parameter "query"`},
	} {
		out, err := exec.Command(tool, append([]string{"query"}, tc.args...)...).CombinedOutput()
		if (err == nil) != (name != "fault") || !regexp.MustCompile(tc.want).Match(out) {
			t.Errorf("promtool query %s: %v\n%s", strings.Join(tc.args, " "), err, out)
		}
	}
}

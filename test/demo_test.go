package test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// demoRig is `make run` with ports and data of its own.
type demoRig struct {
	*proc
	data string
	env  map[string]string
}

func startDemo(t *testing.T, data string) *demoRig {
	t.Helper()
	d := &demoRig{data: data}
	d.proc = start(t, t.TempDir(), "demo", "--data", data, "--bin", bin, "--http", "0", "--grpc", "0")
	eventually(t, "demo.env", func() (err error) {
		select {
		case <-d.done:
			t.Fatalf("demo ended: %v", d.err)
		default:
		}
		d.env, err = readEnv(filepath.Join(data, "demo.env"))
		return err
	})
	return d
}

func (d *demoRig) incidents(t *testing.T, query string) []incidentJSON {
	t.Helper()
	got, err := incidents(d.env["XUNJIAN_URL"], d.env["XUNJIAN_API_TOKEN"], query)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestDemo walks through what a newcomer does: look, break a service, get the page, acknowledge, mend, write the record, stop,
// and start again on the same data.
func TestDemo(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	d := startDemo(t, data)
	for _, k := range []string{"XUNJIAN_URL", "XUNJIAN_API_TOKEN", "XUNJIAN_SIMULATOR_URL", "XUNJIAN_WEBHOOK_LOG", "XUNJIAN_DATA", "XUNJIAN_COLLECTOR_PID", "XUNJIAN_AGENT_PID"} {
		if d.env[k] == "" {
			t.Errorf("demo.env lacks %s", k)
		}
	}
	d.seesEverything(t)
	d.oneBadRequestPagesNobody(t)
	inc := d.breakAndAcknowledge(t)
	d.commands(t, inc)
	d.writesRecord(t)

	d.Process.Signal(os.Interrupt)
	<-d.done
	if d.err != nil {
		t.Errorf("demo ended with %v after Ctrl-C", d.err)
	}
	if _, err := os.Stat(filepath.Join(data, "demo.env")); !os.IsNotExist(err) {
		t.Error("demo.env outlived the demo")
	}
	for _, k := range []string{"XUNJIAN_COLLECTOR_PID", "XUNJIAN_AGENT_PID"} {
		if pid, err := strconv.Atoi(d.env[k]); err != nil || syscall.Kill(pid, 0) == nil {
			t.Errorf("%s %s still runs", k, d.env[k])
		}
	}

	again := startDemo(t, data)
	got := again.incidents(t, "state=all")
	if len(got) == 0 || got[len(got)-1].ID != inc.ID && got[0].ID != inc.ID {
		t.Errorf("incident %s is gone after a restart: %+v", inc.ID, got)
	}
	again.seesEverything(t)
}

// seesEverything wants five services known, this host's own figures, and metrics that promtool accepts.
func (d *demoRig) seesEverything(t *testing.T) {
	t.Helper()
	var got struct {
		Services []struct{ Name, State string } `json:"services"`
	}
	if err := call("GET", d.env["XUNJIAN_URL"]+"/api/xunjian/v1/services", d.env["XUNJIAN_API_TOKEN"], nil, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Services) != 5 {
		t.Errorf("services: %+v", got.Services)
	}
	var text string
	eventually(t, "the host's metrics", func() error {
		resp, err := http.Get(d.env["XUNJIAN_URL"] + "/metrics")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		out, err := io.ReadAll(resp.Body)
		text = string(out)
		if err == nil && !(strings.Contains(text, "node_cpu_seconds_total{") && strings.Contains(text, "probe_success{")) {
			err = fmt.Errorf("no host or probe series in %d bytes", len(text))
		}
		return err
	})
	if _, err := exec.LookPath("promtool"); err != nil {
		return // setup has said so
	}
	check := exec.Command("promtool", "check", "metrics")
	check.Stdin = strings.NewReader(text)
	out, err := check.CombinedOutput()
	if len(out) == 0 && err != nil {
		t.Errorf("promtool check metrics: %v", err)
	}
	for line := range strings.Lines(string(out)) { // node_exporter's own names are in camelCase, and promtool says so of node_exporter too
		if !strings.HasPrefix(line, "node_memory_") || !strings.Contains(line, "camelCase") {
			t.Errorf("promtool check metrics: %s", line)
		}
	}
}

func (d *demoRig) oneBadRequestPagesNobody(t *testing.T) {
	t.Helper()
	fault(t, d.env["XUNJIAN_SIMULATOR_URL"], "sms", map[string]any{"mode": "error500", "requests": 1})
	eventually(t, "the bad request to be asked for", func() error {
		var got map[string]struct{ Mode string }
		if err := call("GET", d.env["XUNJIAN_SIMULATOR_URL"]+"/faults", "", nil, &got); err != nil {
			return err
		}
		if got["sms"].Mode != "ok" {
			return fmt.Errorf("sms is still %q", got["sms"].Mode)
		}
		return nil
	})
	time.Sleep(3 * time.Second) // the re-probes and their judgement
	if n := pagesOf(t, d.env["XUNJIAN_WEBHOOK_LOG"], "sms", "firing"); n != 0 {
		t.Errorf("one failed request paged %d times", n)
	}
	if got := d.incidents(t, "state=all&service=sms"); len(got) != 0 {
		t.Errorf("one failed request opened %+v", got)
	}
}

func (d *demoRig) breakAndAcknowledge(t *testing.T) incidentJSON {
	t.Helper()
	begin := time.Now()
	fault(t, d.env["XUNJIAN_SIMULATOR_URL"], "signature", map[string]any{"mode": "error500"})
	eventually(t, "the page", func() error {
		if pagesOf(t, d.env["XUNJIAN_WEBHOOK_LOG"], "signature", "firing") == 0 {
			return fmt.Errorf("none yet")
		}
		return nil
	})
	t.Logf("fault to page: %v", time.Since(begin).Round(time.Millisecond))
	open := d.incidents(t, "state=open")
	if len(open) != 1 || open[0].Service != "signature" || open[0].Level != "urgent" {
		t.Fatalf("open incidents: %+v", open)
	}
	inc := open[0]
	if got := inc.ResponseDue.Sub(inc.DetectedAt); got != 10*time.Minute {
		t.Errorf("response due %v after detection, want 10m", got)
	}
	if got := inc.RecoveryDue.Sub(inc.DetectedAt); got != 4*time.Hour {
		t.Errorf("recovery due %v after detection, want 4h", got)
	}
	ack := d.env["XUNJIAN_URL"] + "/api/xunjian/v1/incidents/" + inc.ID + "/ack"
	if err := call("POST", ack, "", map[string]string{}, nil); err == nil || !strings.Contains(err.Error(), fmt.Sprint(http.StatusUnauthorized)) {
		t.Errorf("acknowledged without a token: %v", err)
	}
	if err := call("POST", ack, d.env["XUNJIAN_API_TOKEN"], map[string]string{"note": "on it"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := call("POST", ack, d.env["XUNJIAN_API_TOKEN"], map[string]string{}, nil); err == nil || !strings.Contains(err.Error(), fmt.Sprint(http.StatusConflict)) {
		t.Errorf("second acknowledgement: %v", err)
	}
	if got := d.incidents(t, "state=open"); got[0].AckBy == "" || got[0].State != "acknowledged" {
		t.Errorf("after the acknowledgement: %+v", got[0])
	}
	if n := pagesOf(t, d.env["XUNJIAN_WEBHOOK_LOG"], "signature", "firing"); n != 1 {
		t.Errorf("%d pages of one fault", n)
	}
	fault(t, d.env["XUNJIAN_SIMULATOR_URL"], "signature", map[string]any{"mode": "ok"})
	return inc
}

// commands tries the command line against the running collector.
func (d *demoRig) commands(t *testing.T, inc incidentJSON) {
	t.Helper()
	cfg := d.env["XUNJIAN_CONFIG"]
	if out := mustRun(t, "collector", "incident", "list", "--config", cfg); !strings.Contains(out, inc.ID) {
		t.Errorf("incident list:\n%s", out)
	}
	mustRun(t, "collector", "incident", "note", inc.ID, "--by", "tester", "--note", "looked at the seal server", "--config", cfg)
	if out := mustRun(t, "collector", "incident", "show", inc.ID, "--config", cfg); !strings.Contains(out, "looked at the seal server") {
		t.Errorf("incident show lacks the note:\n%s", out)
	}
	if out, err := run(t, "collector", "incident", "show", "INC-20000101-0001", "--config", cfg); err == nil {
		t.Errorf("an unknown incident is shown:\n%s", out)
	}
	out := mustRun(t, "collector", "incident", "open", "--service", "gateway", "--level", "general", "--detail", "a user calls: slow", "--reporter", "tester", "--by", "tester", "--config", cfg)
	if !strings.Contains(out, "INC-") {
		t.Errorf("incident open: %s", out)
	}
}

func (d *demoRig) writesRecord(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	zone := time.FixedZone("+08:00", 8*3600)
	mustRun(t, "collector", "report", "--month", time.Now().In(zone).Format("2006-01"), "--out", dir, "--config", d.env["XUNJIAN_CONFIG"])
	for _, ext := range []string{"docx", "xlsx"} {
		files, err := filepath.Glob(filepath.Join(dir, "*."+ext))
		if err != nil || len(files) != 1 {
			t.Errorf("%d %s files, %v", len(files), ext, err)
		}
	}
	if out, err := run(t, "collector", "report", "--month", "2026-13", "--out", dir, "--config", d.env["XUNJIAN_CONFIG"]); err == nil {
		t.Errorf("month 13 accepted: %s", out)
	}
}

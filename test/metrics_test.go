package test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/spool"
	"xunjian/pkg/uplink"
)

// ofPrometheus are the metrics in the rules that are not the collector's.
var ofPrometheus = []string{"up"}

// TestMetricsOfACollectorAtWork scrapes a collector after incidents, pages that were refused, a message that nobody understands
// and a result that nobody asked for: promtool accepts all of it, and whatever the rules on the collector's own health look at
// is there. A rule on a name that is not would never fire.
func TestMetricsOfACollectorAtWork(t *testing.T) {
	t.Parallel()
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusGone) }))
	defer refuses.Close()
	r := newRigOn(t, filepath.Join(t.TempDir(), "data"), fmt.Sprintf(`
heartbeat: [{name: watch, url: '%s', every: 1s}]
people: [{name: 张工, duty: resident, phone: '13800000001'}]
roster: {shifts: [{name: 白班, people: [张工], start: 2026-01-05, days: 1, hours: ['08:00-20:00']}]}
`, refuses.URL), fmt.Sprintf("{name: refuses, kind: webhook, url: '%s'}", refuses.URL))
	r.token = mustRun(t, "collector", "token", "api", "--config", r.config, "--name", "test", "--role", "engineer", "--person", "张工", "--replace")
	r.startAgent()
	fault(t, "http://"+r.simulator, "sms", map[string]any{"mode": "error500"})
	first := r.open("sms")
	mustRun(t, "collector", "incident", "ack", first.ID, "--config", r.config, "--by", "张工")
	r.puzzle()
	r.unasked()

	rules, err := os.ReadFile("../configs/rules/collector.yml")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, expr := range regexp.MustCompile(`(?m)^    expr: (?:\|\n((?:      .*\n)+)|(.*\n))`).FindAllString(string(rules), -1) {
		for _, name := range regexp.MustCompile(`\b(?:xunjian|prometheus|node|probe)_\w+`).FindAllString(expr, -1) {
			if !slices.Contains(names, name) && !slices.Contains(ofPrometheus, name) {
				names = append(names, name)
			}
		}
	}
	if len(names) < 20 {
		t.Fatalf("only %d names found in the rules: %q", len(names), names)
	}
	var text string
	eventually(t, "every metric of the rules", func() error {
		resp, err := http.Get(r.url() + "/metrics")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		text = string(b)
		for _, name := range names {
			if !strings.Contains(text, "\n"+name+"{") && !strings.Contains(text, "\n"+name+" ") {
				err = errors.Join(err, fmt.Errorf("no %s", name))
			}
		}
		return err
	})
	for _, want := range []string{
		`xunjian_heartbeat_failures_total{receiver="watch"}`, `xunjian_pages_given_up_total{channel="refuses"} 0`, `xunjian_incidents_open{level="urgent",service="sms"} 1`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
	r.promtool(text)
}

// puzzle leaves a frame in the agent's spool that nobody can read.
func (r *killRig) puzzle() {
	r.t.Helper()
	r.agent.stop(r.t)
	q, err := spool.Open(spool.Options{Dir: filepath.Join(r.dir, "agent", "spool")})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := errors.Join(q.Append(time.Now(), []byte("nobody understands this")), q.Close()); err != nil {
		r.t.Fatal(err)
	}
	r.startAgent()
}

// unasked is an agent that answers a check which no plan gives to it.
func (r *killRig) unasked() {
	r.t.Helper()
	id, err := uplink.Enroll(r.t.Context(), uplink.EnrollOptions{Address: r.grpc, Token: r.enrolToken("stranger"), Name: "stranger"})
	if err != nil {
		r.t.Fatal(err)
	}
	tls, err := id.TLS()
	if err != nil {
		r.t.Fatal(err)
	}
	c, err := uplink.NewClient(uplink.ClientOptions{Address: r.grpc, TLS: tls})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	r.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			r.t.Error(err)
		}
	})
	now := time.Now()
	c.Send(uplink.Batch{Results: []check.Result{{
		Check: "nobodys", Service: "sms", At: now, Attempts: []check.Attempt{{Start: now, Duration: time.Millisecond, Outcome: check.OK}},
	}}}, true)
}

// promtool holds an exposition against the real linter. Only node_exporter's own names may be complained of, which are in
// camel case.
func (r *killRig) promtool(text string) {
	r.t.Helper()
	tool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("XUNJIAN_WITHOUT_PEERS") != "" {
			return
		}
		r.t.Fatalf("%v: install it, or set XUNJIAN_WITHOUT_PEERS to go without", err)
	}
	cmd := exec.Command(tool, "check", "metrics")
	cmd.Stdin = strings.NewReader(text)
	out, _ := cmd.CombinedOutput() // fails for the names it complains of
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "node_") || !strings.Contains(line, "camelCase") {
			r.t.Errorf("promtool check metrics: %s", line)
		}
	}
}

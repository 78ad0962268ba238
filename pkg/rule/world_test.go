package rule

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"xunjian/pkg/contract"
	"xunjian/pkg/symptom"
)

// TestWorld: rule files in the styles of the world are taken as they are.
func TestWorld(t *testing.T) {
	t.Chdir("testdata/world")
	got, err := Examine([]string{"."})
	if err != nil {
		t.Fatal(err)
	}
	want := []Count{{"blackbox.yml", 1, 2, 1}, {"general.yml", 1, 4, 0}, {"node.yml", 2, 3, 4}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error("(-want +got)", d)
	}
}

// TestLevels: an alert without a level of ours is as grave as its severity says.
func TestLevels(t *testing.T) {
	for labels, want := range map[string]contract.Level{
		"severity: critical": contract.Urgent, "severity: Page": contract.Urgent, "severity: warning": contract.General, "severity: info": contract.Minor,
		"severity: strange": contract.General, "team: db": contract.General, "severity: critical, level: minor": contract.Minor,
		`level: '{{ if gt $value 1.0 }}urgent{{ end }}'`: contract.Urgent, `severity: '{{ "critical" }}'`: contract.Urgent, `level: '{{ "x" }}'`: contract.General,
		"severity: none": "", "severity: none, level: urgent": contract.Urgent,
	} {
		t.Run(labels, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.start("groups: [{name: g, rules: [{alert: A, expr: vector(7), labels: {" + labels + "}}]}]")
				var got contract.Level
				for _, s := range r.after(slack) {
					got = s.Level
				}
				if got != want {
					t.Errorf("told as %q, want %q", got, want)
				}
			})
		})
	}
}

// TestPromtoolAgrees: a rule file is good or bad here as it is for Prometheus.
func TestPromtoolAgrees(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("XUNJIAN_WITHOUT_PEERS") != "" {
			t.Skip("XUNJIAN_WITHOUT_PEERS is set and promtool is not installed")
		}
		t.Fatalf("%v: install it, or set XUNJIAN_WITHOUT_PEERS to go without", err)
	}
	texts := map[string]string{}
	for _, dir := range []string{"testdata/world/*.yml", "../../configs/rules/host.yml"} {
		files, err := filepath.Glob(dir)
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			texts[f] = string(b)
		}
	}
	one := func(rule string) string { return "groups:\n- name: g\n  rules:\n  - " + rule + "\n" }
	for name, rule := range map[string]string{
		"plain": "{alert: A, expr: up}", "recording": "{record: 'a:b', expr: up}", "expression": "{alert: A, expr: 'sum('}", "function": "{alert: A, expr: 'nope(up)'}",
		"type": "{alert: A, expr: 'rate(up)'}", "no expression": "{alert: A}", "no kind": "{expr: up}", "both kinds": "{alert: A, record: b, expr: up}",
		"record with for": "{record: a, expr: up, for: 1m}", "record with keep": "{record: a, expr: up, keep_firing_for: 1m}", "keep": "{alert: A, expr: up, keep_firing_for: 1m}",
		"record with annotations": "{record: a, expr: up, annotations: {a: b}}", "record with label": "{record: a, expr: up, labels: {a: b}}",
		"unknown key": "{alert: A, expr: up, severity: x}", "duration": "{alert: A, expr: up, for: ten}", "number for": "{alert: A, expr: up, for: 5}",
		"days": "{alert: A, expr: up, for: 1d12h}", "template": "{alert: A, expr: up, annotations: {a: '{{ $labels.x'}}", "template function": "{alert: A, expr: up, annotations: {a: '{{ nope 1 }}'}}",
		"label template": "{alert: A, expr: up, labels: {a: '{{ $value | humanize }}'}}", "name label": "{alert: A, expr: up, labels: {__name__: x}}",
		"expression of a number": "{alert: A, expr: 1}", "number as text": "{alert: A, expr: '1 > bool 0'}", "list as expression": "{alert: A, expr: [up]}",
		"record name": "{record: 'a b{', expr: up}", "a text": "{alert: A, expr: '\"x\"'}", "twice a key": "{alert: A, alert: B, expr: up}", "tab": "{alert: A,\texpr: up}",
	} {
		texts[name] = one(rule)
	}
	texts["two groups of one name"] = one("{alert: A, expr: up}") + "- name: g\n  rules: []\n"
	texts["a group without rules"] = "groups: [{name: g}]\n"
	texts["a group without name"] = "groups: [{rules: [{alert: A, expr: up}]}]\n"
	texts["group interval"] = "groups: [{name: g, interval: often, rules: [{alert: A, expr: up}]}]\n"
	texts["group limit"] = "groups: [{name: g, limit: many, rules: [{alert: A, expr: up}]}]\n"
	texts["no groups key"] = "group: []\n"
	texts["no yaml"] = "groups: [\n"
	texts["a list"] = "- a\n"
	good := 0
	for name, text := range texts {
		file := write(t, t.TempDir(), "rules.yml", text)
		ours := Check([]string{file})
		out, theirs := exec.Command(tool, "check", "rules", file).CombinedOutput()
		if (ours == nil) != (theirs == nil) {
			t.Errorf("%s: we say %v, promtool %v:\n%s\n%s", name, ours, theirs, text, out)
		}
		if ours == nil {
			good++
		}
	}
	if good < 8 || good > len(texts)-20 {
		t.Errorf("%d of %d files are good", good, len(texts))
	}
}

const chain = `
groups:
- name: chain
  rules:
  - {record: 'host:used:max', expr: max(used), labels: {from: rules}}
  - {record: 'host:used:twice', expr: '2 * host:used:max{from="rules"}'}
  - {alert: Twice, expr: 'host:used:twice > 100', for: 30m, labels: {level: minor}}
  - {alert: Pending, expr: 'count(ALERTS{alertstate="pending"}) > 0', labels: {level: minor}}
`

// TestRecordingRules: what a rule records is kept, and the rules behind it see it in the same round.
func TestRecordingRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.set(data, 90)
		r.start(chain)
		got := gist(r.after(slack))
		if len(got) != 1 || !strings.Contains(got[0].Key, "Pending") {
			t.Errorf("told %v", got)
		}
		v, err := r.engine.QueryFunc()(t.Context(), `{__name__=~"host:.*|ALERTS.*"}`, time.Now())
		if err != nil || len(v) != 6 {
			t.Errorf("%v, %v", v, err)
		}
		for _, s := range v {
			if s.Metric.Get("__name__") == "host:used:twice" && s.F != 180 {
				t.Errorf("%v", s)
			}
		}
	})
}

// TestForSurvives: a pending alert keeps its age over a restart that is not too long, and what keep_firing_for holds is
// told as before.
func TestForSurvives(t *testing.T) {
	const rules = `
groups:
- name: g
  rules:
  - {alert: Long, expr: used > 85, for: 30m, labels: {level: minor}}
`
	for name, tc := range map[string]struct {
		outage time.Duration
		wait   time.Duration // until it is told
	}{
		"a short stop":        {2 * time.Minute, 10 * time.Minute},
		"a long one":          {50 * time.Minute, 10 * time.Minute},
		"longer than allowed": {outageTolerance + 5*time.Minute, 30 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.set(data, 90)
				file := write(t, t.TempDir(), "rules.yml", rules)
				run := func(d time.Duration) []symptom.Symptom {
					time.Sleep(time.Second) // no two readings of one time
					m, err := New(r.options(file))
					if err != nil {
						t.Fatal(err)
					}
					stop := r.run(m)
					defer stop()
					return r.after(d)
				}
				if got := run(20*time.Minute + slack); got != nil {
					t.Fatalf("told early: %v", got)
				}
				time.Sleep(tc.outage)
				if got := run(tc.wait - 2*time.Minute); got != nil {
					t.Errorf("told after the restart already: %v", got)
				}
				if got := run(2*time.Minute + 2*slack + forGrace); len(got) != 1 {
					t.Errorf("told %v, want one", got)
				}
			})
		})
	}
}

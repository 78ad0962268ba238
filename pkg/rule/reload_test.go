package rule

import (
	"context"
	"math"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"xunjian/pkg/contract"
	"xunjian/pkg/symptom"
)

const memory = `
groups:
- name: memory
  rules:
  - alert: Busy
    expr: busy >= 85
    for: 1m
    labels: {level: general, service: cloud-doc}
`

var (
	fullTold  = told{dataKey, contract.Minor, true, "/data 已用 90%"}
	fullEnded = told{dataKey, contract.Minor, false, "/data 已用 90%"}
	busyTold  = told{"host/cloud-doc/web-1/Busy", contract.General, true, "Busy"}
)

func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, dir := newRig(t), t.TempDir()
		r.set(data, 90)
		r.set(`busy{instance="web-1"}`, 90)
		file := write(t, dir, "a.yml", disk)
		m, err := New(r.options(dir))
		if err != nil {
			t.Fatal(err)
		}
		r.run(m)
		r.expect("first rules", r.after(5*time.Minute), fullTold)

		write(t, dir, "b.yml", "groups: [")
		write(t, dir, "c.yml", strings.ReplaceAll(memory, "general", "grave"))
		err = m.Reload([]string{dir})
		if err == nil || !strings.Contains(err.Error(), "b.yml:2") || !strings.Contains(err.Error(), "c.yml:8") {
			t.Fatalf("reload of bad files: %v", err)
		}
		r.gauge("last reload", m.metrics.reloadOK, 0)
		r.expect("old rules go on", r.after(5*time.Minute))

		write(t, dir, "b.yml", memory)
		if err := os.Remove(dir + "/c.yml"); err != nil {
			t.Fatal(err)
		}
		if err := m.Reload([]string{dir}); err != nil {
			t.Fatal(err)
		}
		r.gauge("last reload", m.metrics.reloadOK, 1)
		r.expect("one more file", r.after(5*time.Minute), busyTold)

		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if err := m.Reload([]string{dir}); err != nil {
			t.Fatal(err)
		}
		r.expect("removed rules end what they told", r.after(slack), fullEnded)
		r.expect("and the others go on", r.after(10*time.Minute))

		write(t, dir, "a.yml", strings.Replace(disk, ">= 85", ">= 88", 1))
		if err := m.Reload([]string{dir}); err != nil {
			t.Fatal(err)
		}
		r.expect("back again", r.after(5*time.Minute), fullTold)
		write(t, dir, "a.yml", strings.Replace(disk, "for: 1m", "for: 30m", 1))
		if err := m.Reload([]string{dir}); err != nil {
			t.Fatal(err)
		}
		r.expect("pending anew under a longer wait, but not over", r.after(20*time.Minute))
	})
}

// TestRestart: a former process told two symptoms; what became of their causes decides, and only once it is known.
func TestRestart(t *testing.T) {
	for name, tc := range map[string]struct {
		before func(r *rig)
		rules  string
		want   []told
	}{
		"still full":               {func(r *rig) { r.set(data, 90) }, disk, nil},
		"repaired meanwhile":       {func(r *rig) { r.set(data, 10) }, disk, []told{fullEnded}},
		"worse":                    {func(r *rig) { r.set(data, 97) }, disk, []told{{dataKey, contract.General, true, "/data 将满"}}},
		"the host is not heard":    {func(r *rig) { r.set(data, math.NaN()) }, disk, nil},
		"queries fail":             {func(r *rig) { r.set(data, 10); r.fault(os.ErrClosed, nil) }, disk, nil},
		"the rule is gone":         {func(r *rig) { r.set(data, 90) }, memory, []told{fullEnded}},
		"another rule's group too": {func(r *rig) { r.set(data, 90); r.set(`busy{instance="web-1"}`, 99) }, disk + memory[len("\ngroups:\n"):], []told{busyTold}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				tc.before(r)
				m, err := New(r.options(write(t, t.TempDir(), "rules.yml", tc.rules)))
				if err != nil {
					t.Fatal(err)
				}
				m.Adopt([]symptom.Symptom{
					{
						Source: symptom.FromRule, Service: "host", Component: "db-1 /data", Class: symptom.Host, Level: contract.Minor,
						Rule: "Full", Detail: "/data 已用 90%", Firing: true, Since: time.Now().Add(-time.Hour),
					},
					{Source: symptom.FromProbe, Service: "sms", Firing: true}, // not ours
				})
				r.run(m)
				r.expect("after the restart", r.after(10*time.Minute), tc.want...)
			})
		})
	}
}

func TestRunTwiceAndStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the bubble fails when a goroutine is left
		r := newRig(t)
		r.set(data, 90)
		m, err := New(r.options())
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Reload([]string{write(t, t.TempDir(), "rules.yml", disk)}); err != nil {
			t.Fatal("reload before Run:", err)
		}
		for range 2 {
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- m.Run(ctx) }()
			for range 20 {
				r.write()
				time.Sleep(interval)
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if a := m.Alerts(); a != nil {
				t.Errorf("alerts of a stopped manager: %v", a)
			}
		}
		r.expect("told once over both runs", r.after(0), fullTold)
	})
}

// TestSeriesOfRulesAreCounted: where nobody keeps them.
func TestSeriesOfRulesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.set(data, 90)
		o := r.options(write(t, t.TempDir(), "rules.yml", "groups: [{name: g, rules: [{record: 'a:b', expr: used}]}]"))
		o.Appendable = nil
		m, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		r.run(m)
		r.after(5 * time.Minute)
		if n := int(testutil.ToFloat64(m.metrics.discarded)); n < 5 {
			t.Errorf("%d samples counted as discarded", n)
		}
	})
}

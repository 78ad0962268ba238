package collector

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/fleet"
	"xunjian/pkg/i18n"
	"xunjian/pkg/inspect"
	"xunjian/pkg/roster"
)

// fleetOf is a planner of one check and agents of two sites.
func fleetOf(s check.Spec) *planner {
	p := newPlanner(time.Now)
	c := DefaultConfig()
	s.Name = "gate"
	c.Checks = []check.Spec{s}
	c.Fleet.Agents = []fleet.Labelled{
		{Name: "hq-1", Labels: map[string]string{"site": "hq"}},
		{Name: "hq-2", Labels: map[string]string{"site": "hq"}},
		{Name: "cloud-1", Labels: map[string]string{"site": "cloud"}},
	}
	p.set(c)
	return p
}

// roles are "on time", "stands by" or "" of each agent.
func (p *planner) roles(agents ...string) map[string]string {
	out := map[string]string{}
	for _, a := range agents {
		plan, _ := p.Plan(a)
		out[a] = ""
		if len(plan.Checks) == 1 {
			out[a] = map[bool]string{true: "stands by", false: "on time"}[plan.Checks[0].Standby]
		}
	}
	return out
}

func onTime(roles map[string]string) (out []string) {
	for a, role := range roles {
		if role == "on time" {
			out = append(out, a)
		}
	}
	slices.Sort(out)
	return out
}

func TestVantagesByLabel(t *testing.T) {
	all := []string{"cloud-1", "hq-1", "hq-2", "stranger"}
	for name, tc := range map[string]struct {
		spec    check.Spec
		on, all int
	}{
		"everybody":          {check.Spec{}, 4, 4},
		"by label":           {check.Spec{Vantage: map[string]string{"site": "hq"}}, 2, 2},
		"one of a label":     {check.Spec{Vantage: map[string]string{"site": "hq"}, Vantages: 1}, 1, 2},
		"two of all":         {check.Spec{Vantages: 2}, 2, 4},
		"by name":            {check.Spec{Agents: []string{"stranger", "hq-1"}, Vantages: 1}, 1, 2},
		"by name and label":  {check.Spec{Agents: []string{"stranger", "hq-1"}, Vantage: map[string]string{"site": "hq"}}, 1, 1},
		"more than there is": {check.Spec{Vantage: map[string]string{"site": "cloud"}, Vantages: 5}, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := fleetOf(tc.spec)
			p.roles(all...) // all have come
			roles := p.roles(all...)
			given := 0
			for a, role := range roles {
				if role != "" {
					given++
				}
				if p.assigned(a, "gate") != (role != "") {
					t.Errorf("%s is believed otherwise than it is planned", a)
				}
			}
			if len(onTime(roles)) != tc.on || given != tc.all {
				t.Errorf("%v: want %d on time of %d", roles, tc.on, tc.all)
			}
		})
	}
}

// When the agent on time is gone, another takes over; when it is back, it stands by.
func TestTakeover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := fleetOf(check.Spec{Vantage: map[string]string{"site": "hq"}, Vantages: 1})
		gone := ""
		pass := func(d time.Duration) {
			for range int(d / time.Second) {
				time.Sleep(time.Second)
				p.tick(time.Now(), func(a string) bool { return a != gone && a != "cloud-1" })
			}
		}
		there := func() string {
			on := []string{}
			p.mu.Lock()
			defer p.mu.Unlock()
			on = append(on, p.onTime["gate"]...)
			return strings.Join(on, " ")
		}
		p.roles("hq-1", "hq-2")
		pass(2 * time.Minute)
		first := there()
		gone = first
		_, changed := p.Plan(first)
		pass(20 * time.Second)
		if there() != first {
			t.Error("a broken connection moves the check at once")
		}
		pass(20 * time.Second)
		second := there()
		if second == first || second == "" {
			t.Fatalf("%q runs it, and is gone", second)
		}
		select {
		case <-changed:
		default:
			t.Error("streams are not told of the new plan")
		}
		gone = ""
		pass(5 * time.Minute)
		if there() != second {
			t.Error("the check moves back for no reason")
		}
		gone = second
		pass(40 * time.Second)
		if there() != first {
			t.Errorf("%q runs it, want %s, which is back", there(), first)
		}
	})
}

// Another agent is asked, which is there; not more than so many in a burst, nor in a second.
func TestAnother(t *testing.T) {
	p := fleetOf(check.Spec{Vantage: map[string]string{"site": "hq"}})
	now := time.Now()
	p.now = func() time.Time { return now } // however long the burst takes here
	yes := func(string) bool { return true }
	seen := map[string]bool{}
	for range asksBurst {
		a, request, ok := p.another("gate", "", "hq-1", yes)
		if !ok || a != "hq-2" || seen[request] {
			t.Fatalf("%q %q %v", a, request, ok)
		}
		seen[request] = true
	}
	if _, _, ok := p.another("gate", "", "hq-1", yes); ok {
		t.Error("a storm has no end")
	}
	now = now.Add(time.Second)
	for n := range asksPerSecond {
		if _, _, ok := p.another("gate", "", "hq-1", yes); !ok {
			t.Fatalf("%d are asked in a second, want %d", n, asksPerSecond)
		}
	}
	if _, _, ok := p.another("gate", "", "hq-1", yes); ok {
		t.Error("more are asked in a second than may be")
	}
	p = fleetOf(check.Spec{Vantage: map[string]string{"site": "hq"}})
	if a, _, ok := p.another("gate", "", "hq-1", func(a string) bool { return a != "hq-2" }); ok {
		t.Errorf("%s is asked, and is not there or sees it from the same place", a)
	}
	if a, _, ok := p.another("gate", "hq-2", "hq-1", yes); !ok || a != "hq-2" {
		t.Errorf("%s is asked, and hq-2 wanted", a)
	}
	if _, _, ok := p.another("gone", "", "hq-1", yes); ok {
		t.Error("a check that is not there is asked")
	}
}

func TestVantagesAreValidated(t *testing.T) {
	agents := "fleet: {names: [127.0.0.1], agents: [{name: hq-1, labels: {site: hq}}, {name: HQ, labels: {}}, {name: hq-1}]}\n"
	r := newRig(t, strings.Replace(plain(""), "fleet: {names: [127.0.0.1]}\n", agents, 1)+`include: [more.yml]
`)
	writeBeside(t, r.file, "more.yml", `checks:
  - {name: a, service: sms, kind: tcp, target: '127.0.0.1:1', vantage: {site: hq}, vantages: 2}
  - {name: b, service: sms, kind: tcp, target: '127.0.0.1:1', vantage: {site: mars}}
  - {name: c, service: sms, kind: tcp, target: '127.0.0.1:1', direct: nothing}
  - {name: d, service: sms, kind: tcp, target: '127.0.0.1:1', direct: balance}
  - {name: e, service: sms, kind: tcp, target: '127.0.0.1:1', levels: {down: grave, cosmic: urgent}}
`)
	_, err := LoadConfig(r.file)
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		`fleet.agents[1].name: "HQ"`, `fleet.agents[2].name: agent "hq-1" is there twice`,
		"more.yml:2: checks[0].vantage: 1 agents of fleet.agents have these labels, want at least 2", "more.yml:3: checks[1].vantage: 0 agents of fleet.agents have these labels, want at least 1",
		`more.yml:4: checks[2].direct: "nothing" is no other check`,
		"more.yml:6: checks[4].levels.cosmic: unknown class", `more.yml:6: checks[4].levels.down: "grave": want minor`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("does not say %q", want)
		}
	}
	if strings.Contains(err.Error(), "checks[3]") {
		t.Error("a sound check is refused")
	}
}

// writeBeside writes a file into the folder of another.
func writeBeside(t *testing.T, file, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(filepath.Dir(file), name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// In an important period agents and those who judge agree that checks are due twice as often: the plan says so to agents as
// long as it is not over, and a service of which nothing is heard is unknown in half the time (R19).
func TestImportantPeriod(t *testing.T) {
	for pace, want := range map[string]struct {
		every, told string
		plans       []int // periods of the plan before, in and after it
	}{
		"":          {"10s 5s 5s 10s", "unknown after 17s", []int{1, 1, 0}},
		", pace: 1": {"10s 10s 10s 10s", "unknown after 32s", []int{0, 0, 0}},
		", pace: 4": {"10s 2.5s 2.5s 10s", "unknown after 9.5s", []int{1, 1, 0}},
	} {
		t.Run(pace, func(t *testing.T) {
			hold(t, "people: [{name: 李工, role: engineer}]\nroster: {important: [{name: 两会, from: '2026-10-12T09:00:00+08:00', to: '2026-10-13T09:00:00+08:00', people: [李工]"+pace+"}]}\n", func(c *court) {
				oa := c.cfg.Checks[slices.IndexFunc(c.cfg.Checks, func(s check.Spec) bool { return s.Name == "oa" })]
				var every []string
				for _, clock := range []string{"08:59:59", "09:00", "+1 08:59:59", "+1 09:00"} {
					every = append(every, oa.Pace(c.at(clock)).String())
				}
				if got := strings.Join(every, " "); got != want.every {
					t.Errorf("made each %s, want %s", got, want.every)
				}
				for i, clock := range []string{"08:30", "12:00", "+1 09:00"} {
					c.until(clock)
					plan, _ := c.plans.Plan("host-1")
					if len(plan.Periods) != want.plans[i] {
						t.Errorf("%s: the plan has %v", clock, plan.Periods)
					}
					if i != 1 {
						continue
					}
					c.round("oa", check.OK, time.Millisecond)
					heard := time.Now()
					unknown := func(after time.Duration) bool {
						for _, s := range c.board.Services(heard.Add(after)) {
							if s.Service.Name == "oa" {
								return s.State == inspect.Unknown
							}
						}
						return false
					}
					after, err := time.ParseDuration(strings.TrimPrefix(want.told, "unknown after "))
					if err != nil || unknown(after) || !unknown(after+time.Millisecond) {
						t.Errorf("unknown after %v: %v, a moment later: %v", after, unknown(after), unknown(after+time.Millisecond))
					}
				}
			})
		})
	}
}

// What keeps its pace in an important period to come is named when the configuration is checked.
func TestUnhurried(t *testing.T) {
	c := DefaultConfig()
	c.Roster.Important = []roster.Period{{Name: "两会", From: monday, To: monday.AddDate(0, 0, 7), People: []string{"李工"}}}
	c.Checks = []check.Spec{
		{Name: "quick", Every: 10 * time.Second, Timeout: 2 * time.Second},
		{Name: "long", Every: time.Minute, Timeout: 45 * time.Second},
		{Name: "paid", Every: time.Hour, Timeout: time.Minute, Budget: 40},
	}
	if got := c.unhurried(monday, i18n.For("en")); len(got) != 1 || !strings.Contains(got[0], "1 checks are made 2 times") || !strings.HasSuffix(got[0], ": long, paid") {
		t.Errorf("%q", got)
	}
	if got := c.unhurried(monday.AddDate(0, 0, 7), i18n.For("en")); got != nil {
		t.Errorf("of one that is over: %q", got)
	}
	c.Roster.Important[0].Pace = 1
	if got := c.unhurried(monday, i18n.For("en")); got != nil {
		t.Errorf("of one with the usual pace: %q", got)
	}
}

package collector

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/config"
	"xunjian/pkg/fleet"
	"xunjian/pkg/i18n"
)

// loginSpec is a check that logs in at a host with a secret.
func loginSpec(name, host, secret string) check.Spec {
	return check.Spec{
		Name: name, Target: "https://" + host + "/" + name, Vantages: 1, Secrets: map[string]check.Ref{"password": {File: secret}},
		Flow: &check.Flow{Steps: []check.FlowStep{{Name: "login", Login: true}}},
	}
}

// Checks of one account are made by one agent, whatever their names, after an agent has gone, and when one is added later.
func TestOneAccountIsShownByOneAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := DefaultConfig()
		for i := range 8 {
			c.Fleet.Agents = append(c.Fleet.Agents, fleet.Labelled{Name: fmt.Sprintf("oa-%d", i)})
		}
		for _, name := range []string{"read", "write", "approve", "search"} {
			c.Checks = append(c.Checks, loginSpec(name, "oa", "oa.secret"))
		}
		for i := range 8 { // accounts of their own
			c.Checks = append(c.Checks, loginSpec(fmt.Sprint("own-", i), "oa", fmt.Sprint(i)))
		}
		p := newPlanner(time.Now)
		p.set(c)
		gone := ""
		one := func(what string) string {
			t.Helper()
			for range 120 {
				time.Sleep(time.Second)
				p.tick(time.Now(), func(a string) bool { return a != gone })
			}
			agents, spread := map[string]bool{}, map[string]bool{}
			for _, s := range p.checks {
				if strings.HasPrefix(s.Name, "own-") {
					spread[p.onTime[s.Name][0]] = true
				} else {
					agents[p.onTime[s.Name][0]] = true
				}
			}
			if len(agents) != 1 || agents[gone] || len(spread) < 2 {
				t.Fatalf("%s: one account is shown by %v, eight by %v", what, agents, spread)
			}
			for a := range agents {
				return a
			}
			return ""
		}
		gone = one("at first")
		one("when that is gone")
		gone = ""
		c.Checks = append([]check.Spec{loginSpec("late", "oa", "oa.secret")}, c.Checks...)
		p.set(c)
		one("with one more, and the first is back")
	})
}

func TestAccountsApartAreWarnedOf(t *testing.T) {
	with := func(s check.Spec, change func(*check.Spec)) check.Spec { change(&s); return s }
	read, write := loginSpec("read", "oa", "oa.secret"), loginSpec("write", "oa", "oa.secret")
	bind := check.Spec{Name: "bind", Kind: "smpp", Target: "smsc:2775", SMS: &check.SMS{Account: check.SMSSeparate, User: "xunjian"}}
	for name, tc := range map[string]struct {
		checks []check.Spec
		want   string
	}{
		"one account, the same agents": {[]check.Spec{read, write}, ""},
		"agents named in another order": {[]check.Spec{
			with(read, func(s *check.Spec) { s.Agents = []string{"a", "b"} }), with(write, func(s *check.Spec) { s.Agents = []string{"b", "a"} }),
		}, ""},
		"different agents":      {[]check.Spec{with(read, func(s *check.Spec) { s.Agents = []string{"a"} }), write}, "read, write"},
		"different places":      {[]check.Spec{read, with(write, func(s *check.Spec) { s.Vantage = map[string]string{"site": "hq"} })}, "read, write"},
		"another account":       {[]check.Spec{with(read, func(s *check.Spec) { s.Agents = []string{"a"} }), loginSpec("write", "oa", "other.secret")}, ""},
		"another host":          {[]check.Spec{with(read, func(s *check.Spec) { s.Agents = []string{"a"} }), loginSpec("write", "mail", "oa.secret")}, ""},
		"two at a time":         {[]check.Spec{with(read, func(s *check.Spec) { s.Vantages = 2 })}, "read logs in from 2 agents"},
		"sessions":              {[]check.Spec{with(bind, func(s *check.Spec) { s.Agents = []string{"a"} }), with(bind, func(s *check.Spec) { s.Name = "send" })}, "bind, send"},
		"sessions of two users": {[]check.Spec{with(bind, func(s *check.Spec) { s.Agents = []string{"a"} }), with(bind, func(s *check.Spec) { s.SMS = &check.SMS{Account: check.SMSSeparate, User: "x"} })}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := DefaultConfig()
			c.Checks = tc.checks
			got := c.accountsApart(i18n.For("en"))
			if tc.want == "" && len(got) != 0 || tc.want != "" && (len(got) != 1 || !strings.Contains(got[0], tc.want)) {
				t.Errorf("%q, want …%s…", got, tc.want)
			}
			if !slices.Equal(got, c.accountsApart(i18n.For("en"))) {
				t.Error("not the same twice")
			}
		})
	}
}

// The shipped checks of accounts are made by one agent each, so that collector check has nothing to warn of.
func TestShippedChecksShowNoAccountFromSeveralPlaces(t *testing.T) {
	files, err := filepath.Glob("../../configs/services/*.yml")
	if err != nil || len(files) < 5 {
		t.Fatalf("shipped: %v %v", files, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		shipped, err := config.Parse(file, b, struct {
			Services []check.Service `yaml:"services"`
			Checks   []check.Spec    `yaml:"checks"`
		}{})
		if err != nil {
			t.Fatal(err)
		}
		c := Config{Checks: shipped.Checks}
		for _, w := range c.accountsApart(i18n.For("en")) {
			t.Errorf("%s: %s", file, w)
		}
	}
}

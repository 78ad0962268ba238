package simulator_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/config"
	"xunjian/pkg/flow"
	"xunjian/pkg/probe"
	"xunjian/pkg/simulator"
)

// flows are the checks of a shipped file, pointed at the simulator; their words must all hold.
func flows(t *testing.T, s *simulator.Simulator, file string) map[string]check.Spec {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	type fragment struct {
		Services []check.Service `yaml:"services"`
		Checks   []check.Spec    `yaml:"checks"`
	}
	f, err := config.Parse(file, b, fragment{})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]check.Spec{}
	for _, spec := range f.Checks {
		fail := func(path, format string, args ...any) {
			t.Errorf("%s: %s: "+format, append([]any{spec.Name, path}, args...)...)
		}
		spec.Validate(fail)
		flow.Validate(spec, fail)
		spec.Target = s.URL(simulator.OA)
		spec.TLS.CA = string(s.CA())
		spec.Again = new(0)
		out[spec.Name] = spec.WithDefaults()
	}
	return out
}

func oaSecrets(t *testing.T) {
	t.Helper()
	t.Setenv("XUNJIAN_OA_PASSWORD", simulator.OAPassword)
	t.Setenv("XUNJIAN_OA_TOTP", simulator.OATOTP)
	t.Setenv("XUNJIAN_OA_CLIENT", simulator.OASecret)
}

func flowProber(t *testing.T, spec check.Spec, state string) *probe.Prober {
	t.Helper()
	p, err := probe.New(spec, probe.Options{State: state})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func breakOA(t *testing.T, s *simulator.Simulator, mode simulator.Mode) {
	t.Helper()
	if err := s.Break(simulator.OA, simulator.Fault{Mode: mode}); err != nil {
		t.Fatal(err)
	}
}

// finding is the level of a finding; "none" when it is not there.
func finding(a check.Attempt, name string) string {
	level := "none"
	for _, f := range a.Findings {
		if f.Name == name {
			level = f.Level
		}
	}
	return level
}

func stepsOf(a check.Attempt) string {
	var out []string
	for _, s := range a.Steps {
		out = append(out, s.Name+"="+string(s.Outcome))
	}
	return strings.Join(out, " ")
}

// The shipped checks of the office platform, with every fault that it can have: verdict, class and meaning. Nothing is left
// in the office afterwards but what the fault itself keeps there.
func TestOfficeFaults(t *testing.T) {
	oaSecrets(t)
	s := start(t, simulator.Options{})
	specs := flows(t, s, "../../configs/services/oa.yml")
	tests := []struct {
		check   string
		mode    simulator.Mode
		outcome check.Outcome
		class   check.Class
		trouble check.Trouble
		step    string // at which it fails
		cleanup string // level of the finding
		left    int
	}{
		{"oa-read", simulator.OK, check.OK, "", "", "", "", 0},
		{"oa-read", simulator.OAException, check.Fail, check.ClassContent, check.Down, "user", "", 0},
		{"oa-read", simulator.TodoEmpty, check.Fail, check.ClassContent, check.Down, "todo", "", 0},
		{"oa-read", simulator.TodoWrong, check.Fail, check.ClassContent, check.Wrong, "todo", "", 0},
		{"oa-read", simulator.SlowStep, check.Slow, "", "", "todo", "", 0},
		{"oa-read", simulator.FileWrong, check.Fail, check.ClassContent, check.Wrong, "attachment", "", 0},
		{"oa-read", simulator.SearchEmpty, check.Fail, check.ClassContent, check.Partial, "archive", "", 0},
		{"oa-read", simulator.LoginPage, check.Fail, check.ClassContent, check.Down, "login-page", "none", 0},
		{"oa-read", simulator.LoginRedirect, check.Fail, check.ClassContent, check.Down, "login-page", "none", 0},
		{"oa-read", simulator.Error500, check.Fail, check.ClassStatus, check.Down, "login-page", "none", 0},
		{"oa-read", simulator.Refuse, check.Fail, check.ClassConnect, check.Down, "login-page", "none", 0},
		{"oa-read", simulator.Reset, check.Fail, check.ClassReset, check.Down, "login-page", "none", 0},
		{"oa-read", simulator.TLSExpired, check.Fail, check.ClassTLS, check.Down, "login-page", "none", 0},
		{"oa-read", simulator.Wrong, check.Fail, check.ClassContent, check.Down, "login-page", "none", 0},
		{"oa-write", simulator.OK, check.OK, "", "", "", "", 0},
		{"oa-write", simulator.DraftFails, check.Fail, check.ClassContent, check.Down, "draft", "none", 0},
		{"oa-write", simulator.ApproveFails, check.Fail, check.ClassContent, check.Down, "approve", "", 0},
		{"oa-write", simulator.DeleteRefused, check.OK, "", "", "", "minor", 1},
		{"oa-write", simulator.DraftStays, check.OK, "", "", "", "minor", 2},
	}
	for _, tc := range tests {
		t.Run(tc.check+" "+string(tc.mode), func(t *testing.T) {
			p := flowProber(t, specs[tc.check], t.TempDir())
			breakOA(t, s, tc.mode)
			defer breakOA(t, s, simulator.OK)
			a := round(t, p).First()
			if a.Outcome != tc.outcome || a.Class != tc.class || a.Trouble != tc.trouble || !strings.HasPrefix(a.Reason, tc.step) {
				t.Errorf("%s %s %s: %s\n%s", a.Outcome, a.Class, a.Trouble, a.Reason, stepsOf(a))
			}
			if got := finding(a, "cleanup"); got != tc.cleanup {
				t.Errorf("cleanup %q, want %q: %+v", got, tc.cleanup, a.Findings)
			}
			if got := s.Drafts(); len(got) != tc.left {
				t.Errorf("left behind: %q", got)
			}
			if strings.Contains(a.Reason+stepsOf(a), simulator.OAPassword) {
				t.Error("the password is shown")
			}
		})
	}
}

// A run that ends in the middle, by its timeout or because the agent stops, still takes back what it wrote.
func TestOfficeCutOff(t *testing.T) {
	oaSecrets(t)
	s := start(t, simulator.Options{})
	spec := flows(t, s, "../../configs/services/oa.yml")["oa-write"]
	route := slices.IndexFunc(spec.Flow.Steps, func(st check.FlowStep) bool { return st.Name == "route" })
	waits := *spec.Flow
	waits.Steps = slices.Clone(spec.Flow.Steps)
	waits.Steps[route].Until = &check.FlowExpect{JSON: "never", Exists: true}
	waits.Steps[route].Pause = 50 * time.Millisecond
	spec.Flow = &waits

	spec.Timeout, spec.Slow = 2*time.Second, time.Second
	a := round(t, flowProber(t, spec, "")).First()
	if a.Outcome != check.Fail || a.Class != check.ClassTimeout || !strings.HasPrefix(a.Reason, "route") || finding(a, "cleanup") != "" {
		t.Errorf("%s %s: %s %+v", a.Outcome, a.Class, a.Reason, a.Findings)
	}
	if a.Duration > 2*time.Second+500*time.Millisecond {
		t.Errorf("took %v", a.Duration)
	}

	spec.Timeout, spec.Slow = ample, ample
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for len(s.Drafts()) == 0 && t.Context().Err() == nil {
			time.Sleep(10 * time.Millisecond)
		}
		cancel()
	}()
	r, _ := flowProber(t, spec, "").Run(ctx, time.Now())
	if got := r.First().Outcome; got != check.Unknown {
		t.Errorf("called off: %s %s", got, r.First().Reason)
	}
	if got := s.Drafts(); len(got) != 0 {
		t.Errorf("left behind: %q", got)
	}
}

// The sweeper takes away what runs that were killed left, and neither other people's papers nor what is being written now.
func TestOfficeSweep(t *testing.T) {
	oaSecrets(t)
	s := start(t, simulator.Options{})
	s.Leave("【监测】拟稿 0001", 3*time.Hour)
	s.Leave("【监测】拟稿 0002", 26*time.Hour)
	s.Leave("【监测】拟稿 刚刚", time.Minute)
	s.Leave("关于防汛工作的报告", 26*time.Hour)
	p := flowProber(t, flows(t, s, "../../configs/services/oa.yml")["oa-write"], "")
	wantOK(t, p)
	want := []string{"【监测】拟稿 刚刚", "关于防汛工作的报告"}
	if got := s.Drafts(); !slices.Equal(got, want) {
		t.Errorf("left %q, want %q", got, want)
	}
	s.Leave("【监测】拟稿 0003", 3*time.Hour)
	wantOK(t, p)
	if got := s.Drafts(); len(got) != 3 {
		t.Errorf("swept twice a day: %q", got)
	}
}

// Two refusals end the asking, over a restart too, until a person removes the note; five would have locked the account.
func TestOfficeAccountGuard(t *testing.T) {
	oaSecrets(t)
	s := start(t, simulator.Options{})
	spec := flows(t, s, "../../configs/services/oa.yml")["oa-read"]
	spec.Every = 4 * time.Second // a turn passes soon
	spec.Again = new(2)
	state := t.TempDir()
	p := flowProber(t, spec, state)
	wantOK(t, p)
	breakOA(t, s, simulator.LoginRefused)
	r := round(t, p)
	if a := r.First(); a.Outcome != check.Fail || a.Class != check.ClassAuth || a.Trouble != check.Partial || len(r.Attempts) != 2 {
		t.Errorf("credentials that worked: %d attempts, %s %s %s: %s", len(r.Attempts), a.Outcome, a.Class, a.Trouble, a.Reason)
	}
	if s.Wrong(simulator.OAUser) != 1 {
		t.Errorf("%d tries in one round", s.Wrong(simulator.OAUser))
	}
	time.Sleep(spec.Every/2 + 100*time.Millisecond)
	if a := round(t, p).First(); finding(a, "account") != "general" {
		t.Errorf("second refusal: %+v", a)
	}
	for range 3 {
		time.Sleep(spec.Every/2 + 100*time.Millisecond)
		p = flowProber(t, spec, state) // the agent is started anew
		if a := round(t, p).First(); a.Outcome != check.Unknown || finding(a, "account") != "general" || !strings.Contains(a.Reason, "agent unlock oa-read") {
			t.Errorf("stopped: %s %s %+v", a.Outcome, a.Reason, a.Findings)
		}
	}
	if s.Wrong(simulator.OAUser) != 2 {
		t.Errorf("%d tries in all", s.Wrong(simulator.OAUser))
	}
	breakOA(t, s, simulator.OK)
	if a := round(t, p).First(); a.Outcome != check.Unknown {
		t.Errorf("went on by itself: %s", a.Outcome)
	}
	file := filepath.Join(probe.AccountFolder(state), "oa-read.json")
	if b, err := os.ReadFile(file); err != nil || strings.Contains(string(b), simulator.OAPassword) {
		t.Errorf("note: %v %s", err, b)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if a := round(t, p).First(); a.Outcome != check.OK || finding(a, "account") != "" {
		t.Errorf("unlocked: %s %s", a.Outcome, a.Reason)
	}
}

// Credentials that never worked say nothing of the service; other ones are tried without anybody unlocking.
func TestOfficeAccountNeverWorked(t *testing.T) {
	oaSecrets(t)
	s := start(t, simulator.Options{})
	spec := flows(t, s, "../../configs/services/oa.yml")["oa-read"]
	spec.Every = 200 * time.Millisecond
	t.Setenv("XUNJIAN_OA_PASSWORD", "wrong-password")
	p := flowProber(t, spec, t.TempDir())
	for range 2 {
		if a := round(t, p).First(); a.Outcome != check.Unknown || strings.Contains(a.Reason, "wrong-password") {
			t.Errorf("%s: %s", a.Outcome, a.Reason)
		}
		time.Sleep(spec.Every/2 + 100*time.Millisecond)
	}
	if a := round(t, p).First(); finding(a, "account") != "general" || s.Wrong(simulator.OAUser) != 2 {
		t.Errorf("%+v after %d tries", a, s.Wrong(simulator.OAUser))
	}
	t.Setenv("XUNJIAN_OA_PASSWORD", simulator.OAPassword)
	wantOK(t, p)
}

// Each way to log in, as it is shipped.
func TestLoginKinds(t *testing.T) {
	oaSecrets(t)
	s := start(t, simulator.Options{})
	files, err := filepath.Glob("../../configs/logins/*.yml")
	if err != nil || len(files) < 5 {
		t.Fatalf("%q %v", files, err)
	}
	for _, file := range files {
		for name, spec := range flows(t, s, file) {
			t.Run(name, func(t *testing.T) {
				p := flowProber(t, spec, "")
				wantOK(t, p)
				breakOA(t, s, simulator.LoginRefused)
				defer breakOA(t, s, simulator.OK)
				defer s.Unlock()
				if a := round(t, p).First(); a.Outcome != check.Fail || a.Class != check.ClassAuth || a.Trouble != check.Partial {
					t.Errorf("refused: %s %s %s: %s", a.Outcome, a.Class, a.Trouble, a.Reason)
				}
			})
		}
	}
	breakOA(t, s, simulator.SSOFails)
	if a := round(t, flowProber(t, flows(t, s, "../../configs/logins/cas.yml")["login-cas"], "")).First(); a.Outcome != check.Fail || a.Trouble != check.Down {
		t.Errorf("tickets are not taken: %s %s: %s", a.Outcome, a.Trouble, a.Reason)
	}
}

func TestOfficeControl(t *testing.T) {
	oaSecrets(t)
	s := start(t, simulator.Options{})
	specs := flows(t, s, "../../configs/services/oa.yml")
	p := flowProber(t, specs["oa-read"], "")
	if !p.Controls() || flowProber(t, specs["oa-write"], "").Controls() {
		t.Error("which checks have a control?")
	}
	if r := p.Control(t.Context(), time.Now()); !r.Control || r.First().Outcome != check.OK {
		t.Errorf("%s: %s", r.First().Outcome, r.First().Reason)
	}
	blind := *specs["oa-read"].Flow
	blind.Control = slices.Clone(blind.Control)
	blind.Control[1].Request.URL = "/api/user"
	spec := specs["oa-read"]
	spec.Flow = &blind
	if a := flowProber(t, spec, "").Control(t.Context(), time.Now()).First(); a.Outcome != check.Fail || a.Trouble != check.Wrong {
		t.Errorf("what should be refused is not: %s %s", a.Outcome, a.Reason)
	}
	breakOA(t, s, simulator.TodoEmpty)
	if a := p.Control(t.Context(), time.Now()).First(); a.Outcome != check.Unknown {
		t.Errorf("a service that fails says nothing of the probe: %s %s", a.Outcome, a.Reason)
	}
}

// The account's password nears its end: told before it is refused, and no fault.
func TestPasswordAge(t *testing.T) {
	oaSecrets(t)
	s := start(t, simulator.Options{})
	spec := flows(t, s, "../../configs/services/oa.yml")["oa-read"]
	for limit, want := range map[string]string{"14d": "", "90d": "minor"} {
		f := *spec.Flow
		f.Steps = slices.Clone(f.Steps)
		found := false
		for i, st := range f.Steps {
			f.Steps[i].Expect = slices.Clone(st.Expect)
			for k, e := range st.Expect {
				if e.Warn != nil && e.Warn.Name == "password" {
					found, f.Steps[i].Expect[k].Warn = true, &check.Limits{Name: "password", Minor: limit}
				}
			}
		}
		spec.Flow = &f
		a := round(t, flowProber(t, spec, "")).First()
		at := slices.IndexFunc(a.Findings, func(x check.Finding) bool { return x.Name == "password" })
		if !found || a.Outcome != check.OK || at < 0 || a.Findings[at].Level != want {
			t.Errorf("%s: %s %s %+v, want %q", limit, a.Outcome, a.Reason, a.Findings, want)
		}
	}
}

// A refresh token is good once, and what it brings is looked at.
func TestTokenRefresh(t *testing.T) {
	oaSecrets(t)
	s := start(t, simulator.Options{})
	spec := flows(t, s, "../../configs/logins/oauth2.yml")["login-oidc"]
	wantOK(t, flowProber(t, spec, ""))
	f := *spec.Flow
	f.Steps = slices.Clone(f.Steps)
	i := slices.IndexFunc(f.Steps, func(st check.FlowStep) bool { return st.Name == "refresh" })
	f.Steps = slices.Insert(f.Steps, i, f.Steps[i])
	f.Steps[i].Name, f.Steps[i].Extract = "refresh-before", nil
	spec.Flow = &f
	if a := round(t, flowProber(t, spec, "")).First(); a.Outcome != check.Fail || !strings.Contains(a.Reason, "refresh: 400") {
		t.Errorf("a refresh token is taken twice: %s %s", a.Outcome, a.Reason)
	}
}

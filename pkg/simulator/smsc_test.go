package simulator_test

import (
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/config"
	"xunjian/pkg/simulator"
)

// shipped are the checks of configs/services/sms.yml, those in comments too.
func shipped(t *testing.T) map[string]check.Spec {
	t.Helper()
	const file = "../../configs/services/sms.yml"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b = regexp.MustCompile(`(?m)^( *)#= `).ReplaceAll(b, []byte("$1"))
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
		spec.Validate(func(path, format string, args ...any) {
			t.Errorf("%s: %s: "+format, append([]any{spec.Name, path}, args...)...)
		})
		out[spec.Name] = spec
	}
	return out
}

// played points a shipped check at the simulator.
func played(s *simulator.Simulator, spec check.Spec) check.Spec {
	host := func(name string) string { return strings.TrimPrefix(s.URL(name), "tcp://") }
	m := *spec.SMS
	spec.Target = host(spec.Kind)
	if m.Account == check.SMSSeparate {
		m.User = map[string]string{"smpp": simulator.SMPPUser, "cmpp": simulator.CMPPUser}[spec.Kind]
	}
	spec.Secrets = map[string]check.Ref{"password": {Env: "XUNJIAN_SMS"}, "token": {Env: "XUNJIAN_SMS"}}
	spec.TLS.CA = string(s.CA())
	m.Balance = &check.SMSBalance{URL: s.URL(simulator.SMS) + "/balance", JSON: "balance", Daily: 500, Headers: map[string]string{"Authorization": "Bearer {{ secrets.password }}"}}
	if m.Log != nil {
		l := *m.Log
		l.URL = s.URL(simulator.SMS) + "/send-log"
		m.Log = &l
	}
	// A busy machine is no slow platform.
	spec.Timeout, spec.Slow, m.Answer, m.Report = 3*ample, 3*ample, ample, ample
	m.Slow = check.SMSSlow{Login: ample, Submit: ample, Report: ample}
	spec.SMS = &m
	return spec
}

func stepOf(a check.Attempt, name string) check.Step {
	for _, s := range a.Steps {
		if s.Name == name {
			return s
		}
	}
	return check.Step{}
}

func findingOf(a check.Attempt, name string) string {
	for _, f := range a.Findings {
		if f.Name == name {
			return f.Level
		}
	}
	return "none"
}

func breaks(t *testing.T, s *simulator.Simulator, name string, f simulator.Fault) {
	t.Helper()
	if err := s.Break(name, f); err != nil {
		t.Fatal(err)
	}
}

func TestShippedChecksFindAllWell(t *testing.T) {
	t.Setenv("XUNJIAN_SMS", simulator.SMSPassword)
	s := start(t, simulator.Options{})
	steps := map[string]string{
		"sms-login": "connect login keepalive balance terminate", "sms-smpp-login": "connect login keepalive balance terminate",
		"sms-delivery": "connect login keepalive submit report balance terminate", "sms-smpp-delivery": "connect login keepalive submit report balance terminate",
		"sms-passive": "connect send-log balance",
	}
	for name, spec := range shipped(t) {
		if spec.Kind == "flow" {
			continue
		}
		for _, version := range []string{"3.0", "2.0"} {
			t.Run(name+" "+version, func(t *testing.T) {
				spec := played(s, spec)
				spec.SMS.Version = version
				p := newProber(t, spec)
				r, samples := p.Run(t.Context(), time.Now())
				readable(t, r)
				a := r.First()
				if a.Outcome != check.OK {
					t.Fatalf("%s: %s", a.Outcome, a.Reason)
				}
				var made []string
				for _, step := range a.Steps {
					made = append(made, step.Name)
					if step.Duration <= 0 {
						t.Errorf("%s took %v", step.Name, step.Duration)
					}
				}
				if got := strings.Join(made, " "); got != steps[name] {
					t.Errorf("steps %q, want %q", got, steps[name])
				}
				for _, finding := range a.Findings {
					if finding.Level != "" {
						t.Errorf("%+v", finding)
					}
				}
				balance := 0.0
				for _, sample := range samples {
					if sample.Series.Name == "xunjian_sms_balance" {
						balance = sample.Value
					}
				}
				if balance < 9000 {
					t.Errorf("balance %v", balance)
				}
			})
		}
	}
}

// Each fault of the centre's, what the probe says of it, and that all is well again afterwards.
func TestProbeNamesEachFaultOfTheCentre(t *testing.T) {
	t.Setenv("XUNJIAN_SMS", simulator.SMSPassword)
	s := start(t, simulator.Options{})
	hurry := func(spec *check.Spec) { spec.SMS.Answer = 300 * time.Millisecond }
	impatient := func(spec *check.Spec) { spec.SMS.Report = 200 * time.Millisecond }
	strict := func(spec *check.Spec) { spec.SMS.Slow.Login = 100 * time.Millisecond }
	tests := map[string]centreFault{
		"refuses connections":  {simulator.Fault{Mode: simulator.Refuse}, false, nil, check.Fail, check.ClassConnect, check.Down, "connect", "refused"},
		"says nothing":         {simulator.Fault{Mode: simulator.Hang}, false, hurry, check.Fail, check.ClassTimeout, check.Down, "login", "no answer in time"},
		"cuts the connection":  {simulator.Fault{Mode: simulator.Reset}, false, nil, check.Fail, check.ClassReset, check.Down, "login", "connection broke"},
		"is slow":              {simulator.Fault{Mode: simulator.Slow, DelayMS: 300}, false, strict, check.Slow, "", "", "login", "slow from 100ms"},
		"login unanswered":     {simulator.Fault{Mode: simulator.LoginSilent}, false, hurry, check.Fail, check.ClassTimeout, check.Down, "login", "no answer in time"},
		"login refused":        {simulator.Fault{Mode: simulator.LoginRefused}, false, nil, check.Fail, check.ClassAuth, check.Partial, "login", "refused"},
		"message refused":      {simulator.Fault{Mode: simulator.SubmitRefused}, true, nil, check.Fail, check.ClassStatus, check.Partial, "submit", "138****0000 refused"},
		"flow control":         {simulator.Fault{Mode: simulator.Throttled}, true, nil, check.Unknown, check.ClassStatus, "", "submit", "flow control"},
		"no report":            {simulator.Fault{Mode: simulator.ReportMissing}, true, impatient, check.Fail, check.ClassTimeout, check.Partial, "report", "no delivery report from 138****0000"},
		"late report":          {simulator.Fault{Mode: simulator.ReportLate, DelayMS: 600}, true, impatient, check.Fail, check.ClassTimeout, check.Partial, "report", "no delivery report"},
		"first not reached":    {simulator.Fault{Mode: simulator.Undeliverable1}, true, nil, check.OK, "", "", "", ""},
		"none reached":         {simulator.Fault{Mode: simulator.Undeliverable}, true, nil, check.Fail, check.ClassContent, check.Partial, "report", "138****0000: UNDELIV; 139****0000: UNDELIV"},
		"reports of others":    {simulator.Fault{Mode: simulator.ReportForeign}, true, nil, check.OK, "", "", "", ""},
		"broken while waiting": {simulator.Fault{Mode: simulator.ReportMissing}, true, func(spec *check.Spec) { spec.Timeout = 3 * time.Second }, check.Fail, check.ClassTimeout, check.Partial, "report", "no answer in time"},
	}
	all := shipped(t)
	var both sync.WaitGroup
	defer both.Wait()
	for _, kind := range []string{"smpp", "cmpp"} {
		prefix := map[string]string{"smpp": "sms-smpp-", "cmpp": "sms-"}[kind]
		ask := func(t *testing.T, tc centreFault) {
			spec := played(s, all[prefix+map[bool]string{false: "login", true: "delivery"}[tc.full]])
			spec.Again = new(0)
			p := newProber(t, spec)
			wantOK(t, p) // so that it has logged in before
			asks := p
			if tc.change != nil {
				tc.change(&spec)
				asks = newProber(t, spec)
			}
			breaks(t, s, kind, tc.fault)
			a := round(t, asks).First()
			breaks(t, s, kind, simulator.Fault{Mode: simulator.OK})
			tc.compare(t, a)
			for _, n := range append(spec.SMS.Numbers, simulator.SMSPassword) {
				if strings.Contains(a.Reason, n) {
					t.Errorf("tells %q in %q", n, a.Reason)
				}
			}
			wantOK(t, p)
		}
		both.Go(func() {
			for name, tc := range tests {
				t.Run(kind+" "+name, func(t *testing.T) { ask(t, tc) })
			}
		})
	}
}

// centreFault is a fault of the centre's and what is to be said of it.
type centreFault struct {
	fault   simulator.Fault
	full    bool
	change  func(*check.Spec)
	outcome check.Outcome
	class   check.Class
	trouble check.Trouble
	step    string // the one that is to blame
	reason  string
}

func (f centreFault) compare(t *testing.T, a check.Attempt) {
	t.Helper()
	if a.Outcome != f.outcome || a.Class != f.class || a.Trouble != f.trouble || !strings.Contains(a.Reason, f.reason) {
		t.Errorf("%s %q %q: %s; want %s %q %q: %s", a.Outcome, a.Class, a.Trouble, a.Reason, f.outcome, f.class, f.trouble, f.reason)
	}
	if f.step != "" && (stepOf(a, f.step).Outcome != f.outcome || !strings.HasPrefix(a.Reason, f.step)) {
		t.Errorf("blames %q, step %+v", a.Reason, stepOf(a, f.step))
	}
}

// A login that never worked says something of the check, not of the platform.
func TestWrongPasswordIsUnknownUntilItHasWorked(t *testing.T) {
	t.Setenv("XUNJIAN_SMS", "wrong-pw")
	s := start(t, simulator.Options{})
	for _, name := range []string{"sms-login", "sms-smpp-login"} {
		a := round(t, newProber(t, played(s, shipped(t)[name]))).First()
		if a.Outcome != check.Unknown || a.Class != check.ClassAuth || a.Trouble != "" {
			t.Errorf("%s: %s %q %q: %s", name, a.Outcome, a.Class, a.Trouble, a.Reason)
		}
	}
}

// After two refusals the account is left alone: the refusal stands, and the centre hears no more of us.
func TestRefusedAccountIsLeftAlone(t *testing.T) {
	t.Setenv("XUNJIAN_SMS", simulator.SMSPassword)
	s := start(t, simulator.Options{})
	spec := played(s, shipped(t)["sms-login"])
	spec.SMS.Balance = nil
	p := newProber(t, spec)
	wantOK(t, p)
	breaks(t, s, simulator.CMPP, simulator.Fault{Mode: simulator.LoginRefused})
	if r := round(t, p); !r.Confirmed() || len(r.Attempts) != 2 {
		t.Fatalf("confirmed %v after %d attempts", r.Confirmed(), len(r.Attempts))
	}
	breaks(t, s, simulator.CMPP, simulator.Fault{Mode: simulator.OK})
	r := round(t, p)
	if a := r.First(); a.Outcome != check.Fail || a.Trouble != check.Partial || !strings.Contains(a.Reason, "not tried again before") {
		t.Errorf("%s %q: %s", a.Outcome, a.Trouble, a.Reason)
	}
}

func TestBalanceAndSendLog(t *testing.T) {
	t.Setenv("XUNJIAN_SMS", simulator.SMSPassword)
	s := start(t, simulator.Options{})
	all := shipped(t)
	login, passive := newProber(t, played(s, all["sms-login"])), newProber(t, played(s, all["sms-passive"]))
	for mode, level := range map[simulator.Mode]string{simulator.BalanceLow: "minor", simulator.BalanceZero: "urgent", simulator.Error500: "minor", simulator.OK: ""} {
		breaks(t, s, simulator.SMS, simulator.Fault{Mode: mode})
		a := round(t, login).First()
		if a.Outcome != check.OK || findingOf(a, "balance") != level {
			t.Errorf("%s: %s, finding %q, want %q: %+v", mode, a.Outcome, findingOf(a, "balance"), level, a.Findings)
		}
	}
	breaks(t, s, simulator.SMS, simulator.Fault{Mode: simulator.LogFailing})
	if a := round(t, passive).First(); a.Outcome != check.Fail || a.Trouble != check.Down || !strings.Contains(a.Reason, "60 of 200") {
		t.Errorf("%s %q: %s", a.Outcome, a.Trouble, a.Reason)
	}
	breaks(t, s, simulator.SMS, simulator.Fault{Mode: simulator.Refuse})
	if a := round(t, passive).First(); a.Outcome != check.Unknown {
		t.Errorf("log gone: %s: %s", a.Outcome, a.Reason)
	}
	breaks(t, s, simulator.SMS, simulator.Fault{Mode: simulator.OK})
	wantOK(t, passive)
}

package simulator_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/config"
	"xunjian/pkg/flow"
	"xunjian/pkg/simulator"
)

// shippedFile are the checks of a file in configs/services, those in comments too.
func shippedFile(t *testing.T, name string) map[string]check.Spec {
	t.Helper()
	file := filepath.Join("..", "..", "configs", "services", name)
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
		out[spec.Name] = spec
	}
	return out
}

// sealChecks are the shipped checks, pointed at the simulator.
func sealChecks(t *testing.T, s *simulator.Simulator) map[string]check.Spec {
	t.Helper()
	t.Setenv("XUNJIAN_SEAL_SECRET", simulator.SealSecret)
	out := shippedFile(t, "signature.yml")
	for name, spec := range out {
		spec.Target = s.URL(simulator.Signature)
		if spec.Kind != "seal" {
			spec.Target = strings.TrimPrefix(spec.Target, "https://")
		}
		if spec.Kind != "tlcp" {
			spec.TLS.CAFile, spec.TLS.CA = "", string(s.CA())
		}
		if spec.Kind == "seal" {
			spec.Seal.Certificate, spec.Seal.Authority = string(s.SealCertificate()), string(s.SealCA())
			spec.Secrets = map[string]check.Ref{"app_secret": {Env: "XUNJIAN_SEAL_SECRET"}}
		}
		spec.Timeout, spec.Slow = ample, ample // the machine is busy
		if spec.Flow != nil {
			for i := range spec.Flow.Steps {
				spec.Flow.Steps[i].Slow = 0
			}
		}
		spec.Validate(func(path, format string, args ...any) {
			t.Errorf("%s: %s: "+format, append([]any{spec.Name, path}, args...)...)
		})
		flow.Validate(spec, func(path, format string, args ...any) {
			t.Errorf("%s: %s: "+format, append([]any{spec.Name, path}, args...)...)
		})
		out[name] = spec
	}
	return out
}

const (
	signCheck     = "signature-sign"
	documentCheck = "signature-document"
)

// Every fault of the seal service, as the shipped checks tell of it.
func TestSealChecksTellEveryFault(t *testing.T) {
	s := start(t, simulator.Options{})
	specs := sealChecks(t, s)
	type verdict struct {
		outcome check.Outcome
		class   check.Class
		trouble check.Trouble
		step    string // that failed
		finding string // name and level of what is told beside
		reason  string
	}
	well := verdict{outcome: check.OK}
	tests := map[simulator.Mode]map[string]verdict{
		simulator.OK:               {signCheck: well, documentCheck: well},
		simulator.SignatureInvalid: {signCheck: {check.Fail, check.ClassContent, check.Wrong, "verify-here", "", "sm2_verify"}, documentCheck: well},
		simulator.TamperAccepted:   {signCheck: {check.Fail, check.ClassContent, check.Partial, "refuse-there", "", "result.valid"}, documentCheck: well},
		simulator.SealExpired:      {signCheck: {check.Fail, check.ClassContent, check.Down, "seal", "seal urgent", "expired"}, documentCheck: {check.Fail, check.ClassContent, check.Partial, "stamp", "", "code"}},
		simulator.SealNearEnd:      {signCheck: {check.OK, "", "", "", "seal general", ""}, documentCheck: well},
		simulator.CertChanged:      {signCheck: {check.OK, "", "", "", "seal-certificate-change minor", ""}, documentCheck: well},
		simulator.CertRevoked:      {signCheck: {check.Fail, check.ClassContent, check.Wrong, "revoked", "", "cert_revoked"}, documentCheck: well},
		simulator.CRLDown:          {signCheck: {check.OK, "", "", "revoked", "revoked minor", ""}, documentCheck: well},
		simulator.ClockSkew:        {signCheck: {check.Fail, check.ClassContent, check.Down, "account", "", "from now"}, documentCheck: {check.Fail, check.ClassContent, check.Partial, "verify-document", "", "from now"}},
		simulator.DocumentWrong:    {signCheck: well, documentCheck: {check.Fail, check.ClassContent, check.Partial, "verify-document", "", "Content.xml"}},
		simulator.DeleteFails:      {signCheck: well, documentCheck: {check.OK, "", "", "", "cleanup minor", ""}},
		simulator.Wrong:            {signCheck: {check.Fail, check.ClassContent, check.Down, "seal", "", "revoked"}, documentCheck: {check.Fail, check.ClassContent, check.Partial, "stamp", "", "code"}},
		simulator.Error500:         {signCheck: {check.Fail, check.ClassStatus, check.Down, "reach", "", "500"}, documentCheck: {check.Fail, check.ClassStatus, check.Partial, "reach", "", "500"}},
		simulator.Reset:            {signCheck: {check.Fail, check.ClassReset, check.Down, "reach", "", ""}, documentCheck: {check.Fail, check.ClassReset, check.Partial, "reach", "", ""}},
		simulator.Refuse:           {signCheck: {check.Fail, check.ClassConnect, check.Down, "reach", "", ""}, documentCheck: {check.Fail, check.ClassConnect, check.Partial, "reach", "", ""}},
		simulator.LoginPage:        {signCheck: {check.Fail, check.ClassAuth, check.Down, "reach", "", "login page"}, documentCheck: {check.Fail, check.ClassAuth, check.Partial, "reach", "", "login page"}},
		simulator.LoginRedirect:    {signCheck: {check.Fail, check.ClassAuth, check.Down, "reach", "", "login"}, documentCheck: {check.Fail, check.ClassAuth, check.Partial, "reach", "", "login"}},
		simulator.TLSExpired:       {signCheck: {check.Fail, check.ClassTLS, check.Down, "reach", "", "certificate"}, documentCheck: {check.Fail, check.ClassTLS, check.Partial, "reach", "", ""}},
	}
	for mode, wants := range tests {
		t.Run(string(mode), func(t *testing.T) {
			breakSeal(t, s, simulator.Fault{Mode: mode})
			for name, want := range wants {
				a := newProber(t, specs[name]).Spec()
				r := round(t, newProber(t, a))
				got := r.First()
				if got.Outcome != want.outcome || got.Class != want.class || got.Trouble != want.trouble || !strings.Contains(got.Reason, want.reason) {
					t.Errorf("%s: %s %q %q: %s; want %s %q %q …%s…", name, got.Outcome, got.Class, got.Trouble, got.Reason, want.outcome, want.class, want.trouble, want.reason)
				}
				if step := failedStep(got); step != want.step && want.step != "" {
					t.Errorf("%s: step %q failed, want %q", name, step, want.step)
				}
				wantFinding(t, got, want.finding)
			}
		})
	}
}

func breakSeal(t *testing.T, s *simulator.Simulator, f simulator.Fault) {
	t.Helper()
	if err := s.Break(simulator.Signature, f); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Break(simulator.Signature, simulator.Fault{Mode: simulator.OK}); err != nil {
			t.Error(err)
		}
	})
}

func failedStep(a check.Attempt) string {
	for _, s := range a.Steps {
		if s.Outcome == check.Fail {
			return s.Name
		}
	}
	return ""
}

// wantFinding wants exactly the one given, "" for none that is not well.
func wantFinding(t *testing.T, a check.Attempt, want string) {
	t.Helper()
	found := false
	for _, f := range a.Findings {
		switch told := f.Name + " " + f.Level; {
		case told == want:
			found = true
		case f.Level != "":
			t.Errorf("finding %s: %s", told, f.Reason)
		}
	}
	if !found && want != "" {
		t.Errorf("no finding %s among %+v", want, a.Findings)
	}
}

// Once a day it is shown that bad is told from good: a service that asks nobody for a token looks well otherwise.
func TestSealControl(t *testing.T) {
	s := start(t, simulator.Options{})
	spec := sealChecks(t, s)[signCheck]
	for mode, want := range map[simulator.Mode]check.Outcome{simulator.OK: check.OK, simulator.SignsForAll: check.Fail, simulator.SealExpired: check.Unknown} {
		breakSeal(t, s, simulator.Fault{Mode: mode})
		p := newProber(t, spec)
		r := p.Control(t.Context(), time.Now())
		if a := r.First(); !r.Control || a.Outcome != want {
			t.Errorf("%s: %s %s, want %s", mode, a.Outcome, a.Reason, want)
		}
	}
}

// What was sealed is gone afterwards, and what an earlier run left behind goes once a day.
func TestSealLeavesNothing(t *testing.T) {
	s := start(t, simulator.Options{})
	spec := sealChecks(t, s)[documentCheck]
	breakSeal(t, s, simulator.Fault{Mode: simulator.DeleteFails})
	wantFinding(t, round(t, newProber(t, spec)).First(), "cleanup minor")
	if n := s.SealDocuments(); n != 1 {
		t.Fatalf("%d documents left, want the one that could not be deleted", n)
	}
	breakSeal(t, s, simulator.Fault{Mode: simulator.OK})
	wantFinding(t, round(t, newProber(t, spec)).First(), "")
	if n := s.SealDocuments(); n != 1 {
		t.Errorf("%d documents left: a young one of another run was touched, or the own one was not deleted", n)
	}
	for i := range spec.Flow.Sweep { // as if an hour had gone by
		for name, x := range spec.Flow.Sweep[i].Extract {
			x.JSON = strings.ReplaceAll(x.JSON, "-1h", "1m")
			spec.Flow.Sweep[i].Extract[name] = x
		}
	}
	wantFinding(t, round(t, newProber(t, spec)).First(), "cleanup minor") // its own document went with the others
	if n := s.SealDocuments(); n != 0 {
		t.Errorf("%d documents left", n)
	}
}

// The series tell of both ends, and count what was signed.
func TestSealSeries(t *testing.T) {
	s := start(t, simulator.Options{})
	p := newProber(t, sealChecks(t, s)[signCheck])
	round(t, p)
	_, samples := p.Run(t.Context(), time.Now())
	got := map[string]float64{}
	for _, x := range samples {
		got[x.Series.Name] = x.Value
	}
	if got["xunjian_probe_seal_signatures_total"] != 2 {
		t.Errorf("%v signatures", got["xunjian_probe_seal_signatures_total"])
	}
	for _, name := range []string{"xunjian_probe_seal_cert_expiry", "xunjian_probe_seal_expiry", "probe_ssl_earliest_cert_expiry"} {
		if got[name] < float64(time.Now().Unix()) {
			t.Errorf("%s is %v", name, got[name])
		}
	}
}

// The server's own certificate is looked at as any other.
func TestSealTLS(t *testing.T) {
	s := start(t, simulator.Options{})
	spec := sealChecks(t, s)["signature-tls"]
	wantOK(t, newProber(t, spec))
	breakSeal(t, s, simulator.Fault{Mode: simulator.TLSExpired})
	a := round(t, newProber(t, spec)).First()
	if a.Class != check.ClassTLS {
		t.Errorf("got %+v", a)
	}
	wantFinding(t, a, "certificate urgent")
}

// A service that never answers costs the timeout, and its clean-up no more than a moment.
func TestSealHangs(t *testing.T) {
	s := start(t, simulator.Options{})
	spec := hasty(sealChecks(t, s)[signCheck])
	breakSeal(t, s, simulator.Fault{Mode: simulator.Hang})
	if a := round(t, newProber(t, spec)).First(); a.Outcome != check.Fail || a.Class != check.ClassTimeout || a.Trouble != check.Down {
		t.Errorf("got %+v", a)
	}
}

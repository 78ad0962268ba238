package simulator_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/flow"
	"xunjian/pkg/simulator"
)

// relocated are the shipped checks of a file with other addresses in place of the examples', and time enough.
func relocated(t *testing.T, s *simulator.Simulator, file string, addresses ...string) map[string]check.Spec {
	t.Helper()
	out := shippedFile(t, file)
	places := strings.NewReplacer(addresses...)
	for name, spec := range out {
		b, err := json.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		spec = check.Spec{}
		if err := json.Unmarshal([]byte(places.Replace(string(b))), &spec); err != nil {
			t.Fatal(err)
		}
		spec.TLS.CA, spec.Again = string(s.CA()), new(0)
		spec.Every, spec.Timeout, spec.Slow = 5*time.Minute, 4*ample, 4*ample // the machine is busy
		for secret := range spec.Secrets {
			spec.Secrets[secret] = check.Ref{Env: "XUNJIAN_TEST_" + strings.ToUpper(secret)}
		}
		spec.Validate(func(path, format string, args ...any) {
			t.Errorf("%s: %s: "+format, append([]any{name, path}, args...)...)
		})
		flow.Validate(spec, func(path, format string, args ...any) {
			t.Errorf("%s: %s: "+format, append([]any{name, path}, args...)...)
		})
		out[name] = spec
	}
	return out
}

// documentChecks are those of configs/services/documents.yml, pointed at the simulator.
func documentChecks(t *testing.T, s *simulator.Simulator) map[string]check.Spec {
	t.Helper()
	for name, value := range map[string]string{
		"TOKEN": simulator.DocToken, "STORE": simulator.DocToken, "JWT": simulator.DocSecret, "KEY": simulator.DocSecret,
	} {
		t.Setenv("XUNJIAN_TEST_"+name, value)
	}
	base := s.URL(simulator.CloudDoc)
	out := relocated(t, s, "documents.yml", "https://docs.example.org", base, "https://oa.example.org", base, "https://oa.internal", base,
		"docs.example.org", strings.TrimPrefix(base, "https://"))
	if len(out) != 6 {
		t.Fatalf("%d checks in documents.yml, want a cheap and a full one of three kinds", len(out))
	}
	// The shipped file shows one way to sign; the other one is tried here.
	two := out["wps-document"]
	two.Name, two.Document.Sign = "wps-2-document", "wps-2"
	out[two.Name] = two
	return out
}

func breakService(t *testing.T, s *simulator.Simulator, service string, mode simulator.Mode) {
	t.Helper()
	if err := s.Break(service, simulator.Fault{Mode: mode}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Break(service, simulator.Fault{Mode: simulator.OK}); err != nil {
			t.Error(err)
		}
	})
}

// told is a verdict, as far as a table states it.
type told struct {
	outcome check.Outcome
	trouble check.Trouble
	step    string // that failed first
	finding string // name and level
	reason  string
}

func (w told) look(t *testing.T, name string, a check.Attempt) {
	t.Helper()
	if a.Outcome != w.outcome || a.Trouble != w.trouble || !strings.Contains(a.Reason, w.reason) {
		t.Errorf("%s: %s %q: %s; want %s %q …%s…", name, a.Outcome, a.Trouble, a.Reason, w.outcome, w.trouble, w.reason)
	}
	if step := failedStep(a); w.step != "" && step != w.step {
		t.Errorf("%s: step %q failed, want %q", name, step, w.step)
	}
	if w.finding != "" {
		wantFinding(t, a, w.finding)
	}
}

// Every fault of the document service, as the shipped checks tell of it.
func TestDocumentChecksTellEveryFault(t *testing.T) {
	s := start(t, simulator.Options{})
	specs := documentChecks(t, s)
	const wopi, only, wps = "wopi-document", "onlyoffice-document", "wps-document"
	well := told{outcome: check.OK}
	tests := map[simulator.Mode]map[string]told{
		simulator.OK: {
			wopi: well, only: well, wps: well, "wps-2-document": well, "wopi-health": well,
			"onlyoffice-health": {outcome: check.OK, finding: "licence "}, "wps-health": {outcome: check.OK, finding: "licence "},
		},
		simulator.HealthFalse: {only: {check.Fail, check.Down, "health", "", `"false"`}, "onlyoffice-health": {check.Fail, check.Down, "health", "", `"false"`}, wopi: well},
		simulator.Wrong: {
			"wopi-health": {check.Fail, check.Down, "discovery", "", "missing"}, "onlyoffice-health": {check.Fail, check.Down, "health", "", "starting"},
		},
		simulator.WrongFile: {
			wopi: {check.Fail, check.Wrong, "", "", ""}, only: {check.Fail, check.Wrong, "download", "", "text of the PDF"}, wps: {check.Fail, check.Wrong, "download", "", ""},
		},
		simulator.ConvertError: {
			wopi: {check.Fail, check.Partial, "convert", "", "500"}, only: {check.Fail, check.Partial, "convert", "", "转换失败"}, wps: {check.Fail, check.Partial, "task", "", "失败 error"},
		},
		simulator.StaleResult: {
			wopi: {check.Fail, check.Wrong, "convert", "", "text of the PDF"}, only: {check.Fail, check.Wrong, "download", "", ""}, wps: {check.Fail, check.Wrong, "download", "", ""},
		},
		simulator.StorageAway: {
			wopi: {check.Fail, check.Down, "source", "", "404"}, only: {check.Fail, check.Partial, "convert", "", "存储不可达"}, wps: {check.Fail, check.Partial, "task", "", ""},
		},
		simulator.EditorError: {
			wopi: {check.Fail, check.Down, "open", "", "打开失败"}, only: {check.Fail, check.Down, "open", "", "打开失败"}, wps: {check.Fail, check.Down, "open", "", "打开失败"},
		},
		simulator.DeleteKept: {
			wopi: {check.OK, "", "", "cleanup minor", ""}, only: {check.OK, "", "", "cleanup minor", ""}, wps: {check.OK, "", "", "cleanup minor", ""},
		},
		simulator.LicenceNear:    {"wps-health": {check.OK, "", "", "licence minor", ""}, "onlyoffice-health": {check.OK, "", "", "licence minor", ""}},
		simulator.LicenceShort:   {"wps-health": {check.OK, "", "", "licence general", ""}, "onlyoffice-health": {check.OK, "", "", "licence general", ""}},
		simulator.LicenceExpired: {"wps-health": {check.OK, "", "", "licence urgent", ""}, "onlyoffice-health": {check.OK, "", "", "licence urgent", ""}},
		simulator.Throttled:      {"wps-health": {check.Unknown, "", "", "", "30002"}, wps: {check.Unknown, "", "", "", "30002"}},
		simulator.Error500:       {wopi: {check.Fail, check.Down, "discovery", "", "500"}, only: {check.Fail, check.Down, "health", "", "500"}, wps: {check.Fail, check.Down, "upload", "", "500"}},
		simulator.Refuse:         {wopi: {check.Fail, check.Down, "discovery", "cleanup minor", ""}, "wps-health": {check.Fail, check.Down, "licence", "", ""}},
		simulator.LoginRedirect:  {wopi: {check.Fail, check.Down, "discovery", "", "login"}, only: {check.Fail, check.Down, "health", "", "login"}},
		simulator.LoginPage:      {only: {check.Fail, check.Down, "health", "", "login page"}, wopi: {check.Fail, check.Down, "discovery", "", "login page"}},
		simulator.TLSExpired:     {only: {check.Fail, check.Down, "health", "", "certificate"}},
	}
	for mode, wants := range tests {
		t.Run(string(mode), func(t *testing.T) {
			breakService(t, s, simulator.CloudDoc, mode)
			for name, want := range wants {
				want.look(t, name, round(t, newProber(t, specs[name])).First())
			}
		})
	}
}

// A conversion that never ends costs the step's time, and is no outage of the whole.
func TestDocumentConversionHangs(t *testing.T) {
	s := start(t, simulator.Options{})
	specs := documentChecks(t, s)
	breakService(t, s, simulator.CloudDoc, simulator.ConvertHang)
	for _, name := range []string{"wopi-document", "onlyoffice-document", "wps-document"} {
		spec := specs[name]
		f := *spec.OwnFlow()
		for i := range f.Steps { // the shipped 30 s are too long for a test
			if slices.Contains([]string{"convert", "task"}, f.Steps[i].Name) {
				f.Steps[i].Timeout, f.Steps[i].Slow = 2*time.Second, 0
			}
		}
		spec.Kind, spec.Flow, spec.Document = "flow", &f, check.Document{}
		told{check.Fail, check.Partial, "", "", "no answer in time"}.look(t, name, round(t, newProber(t, spec)).First())
	}
}

// An upgrade is told once it is seen, and is no fault.
func TestDocumentVersionChanges(t *testing.T) {
	s := start(t, simulator.Options{})
	specs := documentChecks(t, s)
	for _, name := range []string{"wopi-health", "onlyoffice-health", "wps-health"} {
		p := newProber(t, specs[name])
		told{check.OK, "", "", "version ", ""}.look(t, name, round(t, p).First())
		breakService(t, s, simulator.CloudDoc, simulator.Upgraded)
		told{check.OK, "", "", "version minor", ""}.look(t, name, round(t, p).First())
		breakService(t, s, simulator.CloudDoc, simulator.OK)
	}
}

// The daily control holds while broken documents and wrong tokens are refused, and fails when one is not.
func TestDocumentControls(t *testing.T) {
	s := start(t, simulator.Options{})
	specs := documentChecks(t, s)
	both := []string{"control-token", "control-broken", "control-task"}
	tests := map[simulator.Mode]struct {
		outcome check.Outcome
		steps   []string // one of which failed
	}{
		simulator.OK:              {check.OK, nil},
		simulator.CorruptAccepted: {check.Fail, both[1:]},
		simulator.TokenIgnored:    {check.Fail, both[:1]},
	}
	for mode, want := range tests {
		t.Run(string(mode), func(t *testing.T) {
			breakService(t, s, simulator.CloudDoc, mode)
			for _, name := range []string{"wopi-document", "onlyoffice-document", "wps-document", "wps-2-document"} {
				a := newProber(t, specs[name]).Control(t.Context(), time.Now()).First()
				if step := failedStep(a); a.Outcome != want.outcome || want.steps != nil && !slices.Contains(want.steps, step) {
					t.Errorf("%s: %s in step %q: %s; want %s in one of %v", name, a.Outcome, step, a.Reason, want.outcome, want.steps)
				}
			}
		})
	}
}

// Whatever happened, nothing of a probe's stays in the store; what an agent that died left there is swept.
func TestDocumentsAreRemoved(t *testing.T) {
	s := start(t, simulator.Options{})
	spec := documentChecks(t, s)["wopi-document"]
	left := simulator.LeaveDocument(s, check.Mark+"20200101000000-left.docx")
	foreign := simulator.LeaveDocument(s, "contract.docx")
	for _, mode := range []simulator.Mode{simulator.OK, simulator.ConvertError, simulator.EditorError} {
		breakService(t, s, simulator.CloudDoc, mode)
		round(t, newProber(t, spec))
	}
	if left() {
		t.Error("what an earlier run left behind was not swept")
	}
	if !foreign() {
		t.Error("the sweep took what is not the probe's")
	}
	if n := simulator.StoredDocuments(s); n != 1 {
		t.Errorf("%d documents in the store, want the one that is not ours", n)
	}
}

// TestDocumentsThroughLibreOffice has the simulator convert with the real thing: our document opens in it, the nonce is in its PDF,
// and a broken one is refused.
func TestDocumentsThroughLibreOffice(t *testing.T) {
	if os.Getenv("XUNJIAN_WITHOUT_PEERS") != "" {
		t.Skip("XUNJIAN_WITHOUT_PEERS is set")
	}
	office, err := exec.LookPath("soffice")
	if err != nil {
		t.Fatal("LibreOffice is not installed: test/setup.sh installs it (or set XUNJIAN_WITHOUT_PEERS to do without)")
	}
	s := start(t, simulator.Options{Office: office})
	specs := documentChecks(t, s)
	// Its first start makes a profile, which may take longer than a step: let somebody else wait for it.
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if err := simulator.WarmOffice(ctx, s); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"wopi-document", "onlyoffice-document", "wps-document"} {
		told{outcome: check.OK}.look(t, name, unhurried(t, specs[name]))
	}
	a := newProber(t, specs["wopi-document"]).Control(t.Context(), time.Now()).First()
	told{outcome: check.OK}.look(t, "control", a)
}

// unhurried takes a slow conversion for a good one.
func unhurried(t *testing.T, spec check.Spec) check.Attempt {
	a := round(t, newProber(t, spec)).First()
	if a.Outcome == check.Slow {
		a.Outcome = check.OK
	}
	return a
}

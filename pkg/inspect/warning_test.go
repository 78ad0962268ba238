package inspect

import (
	"testing"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/symptom"
)

// What checks notice beside their verdict: told when new, when its level changes and when it is well, by check and name.
func TestFindings(t *testing.T) {
	w := newWorld(t, two, onTen("sign", "signature"))
	with := func(agent string, findings ...check.Finding) []symptom.Symptom {
		w.pass(10 * time.Second)
		a := fine()
		a.Findings = findings
		return w.sees(agent, "sign", "", a)
	}
	w.none("well", with("a", check.Finding{Name: "certificate"}))
	s := w.one("minor", with("a", check.Finding{Name: "certificate", Level: "minor", Reason: "29 days left", Until: t0}), symptom.Warning, contract.Minor, true)
	if s.Key() == "service/signature" || s.Component != "sign" || s.Rule != "certificate" || s.Detail != "certificate: 29 days left" || len(s.Evidence) != 1 {
		t.Errorf("%s %+v", s.Key(), s)
	}
	w.none("the same", with("a", check.Finding{Name: "certificate", Level: "minor", Reason: "28 days left"}))
	w.one("another", with("a", check.Finding{Name: "balance", Level: "minor"}), symptom.Warning, contract.Minor, true)
	w.one("graver, by another agent", with("b", check.Finding{Name: "certificate", Level: "general"}), symptom.Warning, contract.General, true)
	w.one("no longer for that one", with("b", check.Finding{Name: "certificate"}), symptom.Warning, contract.Minor, true)
	if st := w.b.Services(w.now)[0]; st.State != OK || len(st.Checks[0].Findings) != 2 {
		t.Errorf("%+v", st)
	}
	end := w.one("well again", with("a", check.Finding{Name: "certificate"}), symptom.Warning, contract.Minor, false)
	if end.Key() != s.Key() {
		t.Errorf("%s ends %s", end.Key(), s.Key())
	}
	w.b.Configure(DefaultConfig(), two, nil)
	if s := w.one("the check is gone", w.pass(time.Second), symptom.Warning, contract.Minor, false); s.Rule != "balance" {
		t.Errorf("%+v", s)
	}
	w.none("told once", w.pass(time.Second))

	w = newWorld(t, two, onTen("sign", "signature"))
	s.Firing = true
	w.b.Restore(s)
	w.one("of before a restart", with("a", check.Finding{Name: "certificate"}), symptom.Warning, contract.Minor, false)
}

// What an agent found ends when another that took over its check goes on finding it well, and of two findings of one name
// within an attempt the graver counts.
func TestFindingIsTakenOver(t *testing.T) {
	w := newWorld(t, two, onTen("sign", "signature"))
	with := func(agent string, findings ...check.Finding) []symptom.Symptom {
		a := fine()
		a.Findings = findings
		return w.sees(agent, "sign", "", a)
	}
	bad, well := check.Finding{Name: "cleanup", Level: "minor"}, check.Finding{Name: "cleanup"}
	w.one("one part well, another not", with("a", bad, well), symptom.Warning, contract.Minor, true)
	w.pass(10 * time.Second)
	w.none("the same the other way round", with("a", well, bad))
	w.pass(10 * time.Second)
	w.none("another finds it well", with("b", well))
	w.pass(10 * time.Minute)
	w.none("the first one may come back", with("b", well))
	w.pass(time.Minute)
	w.one("it looks no longer", with("b", well), symptom.Warning, contract.Minor, false)
}

// That one agent's negative control went through is told each hour at most: another's that is refused meanwhile, once a day, does
// not end it, but takes over when the first one looks no longer.
func TestBlindProbeOfOneAgent(t *testing.T) {
	w := newWorld(t, two, onTen("sign", "signature"))
	control := func(agent string, a check.Attempt) []symptom.Symptom {
		return w.b.Observe(w.now, agent, check.Result{Check: "sign", Service: "signature", At: w.now, Control: true, Attempts: []check.Attempt{a}})
	}
	w.one("it went through", control("a", check.Attempt{Outcome: check.Fail, Reason: "seen"}), symptom.Warning, contract.Minor, true)
	w.pass(50 * time.Minute)
	w.none("another's is refused as it must be", control("b", fine()))
	w.pass(10 * time.Minute)
	w.none("it still goes through", control("a", check.Attempt{Outcome: check.Fail, Reason: "seen"}))
	w.pass(3 * time.Hour)
	w.one("it looks no longer", control("b", fine()), symptom.Warning, contract.Minor, false)
}

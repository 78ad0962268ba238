package inspect

import (
	"testing"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/symptom"
)

// A certificate that has ended takes the service down: that is told once, and what was told of it before stays as it is.
func TestEndedCertificateIsOneFault(t *testing.T) {
	r := newRig(t)
	of := func(o check.Outcome, left time.Duration, level string) check.Attempt {
		a := attempt(o, "", time.Millisecond, r.now)
		if o == check.Fail {
			a.Class = check.ClassTLS
		}
		a.Findings = []check.Finding{{Name: "certificate", Level: level, Reason: "seen", Until: r.now.Add(left)}}
		return a
	}
	warned := r.round("a", of(check.OK, 24*time.Hour, "general"))
	if len(warned) != 1 || warned[0].Class != symptom.Warning {
		t.Fatalf("told %+v, want the warning", warned)
	}
	r.step()
	ended := of(check.Fail, 0, "urgent")
	down := r.round("a", ended, ended, ended)
	if len(down) != 1 || down[0].Class != symptom.Down || !down[0].Firing {
		t.Fatalf("told %+v, want that the service is down, and nothing else", down)
	}
	r.step()
	fine := r.round("a", of(check.OK, 365*24*time.Hour, ""))
	r.step()
	fine = append(fine, r.round("a", of(check.OK, 365*24*time.Hour, ""))...)
	if len(fine) != 2 || fine[0].Firing || fine[1].Firing || fine[0].Class != symptom.Warning || fine[1].Class != symptom.Down {
		t.Errorf("told %+v, want the end of both", fine)
	}
}

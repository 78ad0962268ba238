package channel

import (
	"strings"
	"testing"
	"time"

	"xunjian/pkg/config"
	"xunjian/pkg/simulator"
)

// With a report asked for, only the handset's own yes counts; both protocols, against the simulator's message centre.
func TestDeliveryReports(t *testing.T) {
	sim := startSimulator(t)
	for kind, user := range map[string]string{"smpp": simulator.SMPPUser, "cmpp": simulator.CMPPUser} {
		for _, version := range map[string][]string{"smpp": {""}, "cmpp": {"2.0", "3.0"}}[kind] {
			t.Run(kind+version, func(t *testing.T) {
				s := Settings{
					Name: "duty", Kind: kind, Server: strings.TrimPrefix(sim.URL(kind), "tcp://"), User: user, Timeout: 5 * time.Second,
					Token: config.Secret{File: secretFile(t, simulator.SMSPassword)}, SMS: &SMS{From: "10690000", Version: version, Report: 5 * time.Second},
				}
				ch := make1(t, s)
				become := func(m simulator.Mode) {
					if err := sim.Break(kind, simulator.Fault{Mode: m}); err != nil {
						t.Fatal(err)
					}
				}
				become(simulator.OK)
				r, err := ch.Send(t.Context(), contractMessage("k1"))
				if err != nil || r.Answer != "138****0000: DELIVRD" {
					t.Errorf("%q, %v", r.Answer, err)
				}
				become(simulator.ReportForeign)
				if _, err := ch.Send(t.Context(), contractMessage("k2")); err != nil {
					t.Errorf("a report of another's message before ours: %v", err)
				}
				become(simulator.Undeliverable)
				if _, err := ch.Send(t.Context(), contractMessage("k3")); !RefusalIn(err).PageOnly || !strings.Contains(err.Error(), "UNDELIV") {
					t.Errorf("not delivered: %v", err)
				}
				become(simulator.ReportMissing)
				s.SMS.Report = 700 * time.Millisecond
				hasty := make1(t, s)
				if _, err := hasty.Send(t.Context(), contractMessage("k4")); RefusalIn(err).Cause != CauseNoVerdict || !strings.Contains(err.Error(), "no delivery report") {
					t.Errorf("no report: %v", err)
				}
				become(simulator.OK)
			})
		}
	}
}

// A report that comes late, when the session is long over, is heard by the next try, and nothing is sent twice.
func TestLateReport(t *testing.T) {
	sim := startSimulator(t)
	s := Settings{
		Name: "duty", Kind: "smpp", Server: strings.TrimPrefix(sim.URL("smpp"), "tcp://"), User: simulator.SMPPUser, Timeout: 5 * time.Second,
		Token: config.Secret{File: secretFile(t, simulator.SMSPassword)}, SMS: &SMS{From: "10690000", Report: time.Second},
	}
	ch := make1(t, s)
	if err := sim.Break("smpp", simulator.Fault{Mode: simulator.ReportLate, DelayMS: 1500}); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.Send(t.Context(), contractMessage("k")); err == nil {
		t.Fatal("taken for delivered before its report")
	}
	time.Sleep(time.Second)
	if _, err := ch.Send(t.Context(), contractMessage("k")); err != nil {
		t.Error(err)
	}
	if n := centreTaken(t, sim); n != 1 {
		t.Errorf("%d messages sent", n)
	}
}

// Paging's account is its own; a password longer than SMPP has room for is said so.
func TestPasswordTooLong(t *testing.T) {
	s := Settings{Name: "duty", Kind: "smpp", Server: "127.0.0.1:1", User: "x", Token: config.Secret{File: secretFile(t, "123456789")}, SMS: &SMS{From: "1"}}
	if _, err := make1(t, s).Send(t.Context(), contractMessage("k")); err == nil || strings.Contains(err.Error(), "123456789") || !strings.Contains(err.Error(), "8") {
		t.Errorf("%v", err)
	}
}

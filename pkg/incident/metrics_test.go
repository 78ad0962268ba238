package incident

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"xunjian/pkg/check"
	"xunjian/pkg/contract"
)

func TestMetrics(t *testing.T) {
	h := newHouse(t)
	reg := prometheus.NewRegistry()
	var err error
	if h.Desk, err = New(h.db, Options{Settings: Settings{Services: services[:1]}, Registerer: reg}); err != nil {
		t.Fatal(err)
	}
	r := h.see(down(0))
	other := slow(0)
	other.Service = "from-outside"
	h.see(other)
	must(t)(h.Ack(r.ID, by("驻点", 12, "")))
	h.see(good(20))
	h.tick(31)
	want := `
# HELP xunjian_incident_breaches_total Contract deadlines missed since the collector started.
# TYPE xunjian_incident_breaches_total counter
xunjian_incident_breaches_total{clock="response",level="general"} 1
xunjian_incident_breaches_total{clock="response",level="urgent"} 1
# HELP xunjian_incidents_breached Incidents whose fault lasts and that have missed a contract deadline.
# TYPE xunjian_incidents_breached gauge
xunjian_incidents_breached{level="general"} 1
xunjian_incidents_breached{level="minor"} 0
xunjian_incidents_breached{level="urgent"} 0
# HELP xunjian_incidents_open Incidents whose fault lasts.
# TYPE xunjian_incidents_open gauge
xunjian_incidents_open{level="general",service="other"} 1
xunjian_incidents_open{level="general",service="signature"} 0
xunjian_incidents_open{level="minor",service="signature"} 0
xunjian_incidents_open{level="urgent",service="signature"} 0
# HELP xunjian_incidents_total Incidents opened since the collector started.
# TYPE xunjian_incidents_total counter
xunjian_incidents_total{level="general"} 1
xunjian_incidents_total{level="minor"} 0
xunjian_incidents_total{level="urgent"} 1
`
	names := []string{"xunjian_incident_breaches_total", "xunjian_incidents_open", "xunjian_incidents_total", "xunjian_incidents_breached"}
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
	if n := testutil.CollectAndCount(h.metrics.response) + testutil.CollectAndCount(h.metrics.recovery); n != 2 {
		t.Errorf("%d histograms", n)
	}
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

// New terms are for new incidents; open ones keep theirs.
func TestConfigure(t *testing.T) {
	h := newHouse(t)
	r := h.see(down(0))
	strict := contract.DefaultTerms()
	strict.Urgent.Recover = 2 * strict.Urgent.Respond
	h.Configure(Settings{Services: []check.Service{{Name: "sms", ZH: "短信"}}, Terms: strict})
	s := down(1)
	s.Service = "sms"
	fresh := h.see(s)
	if !fresh.RecoveryDue.Equal(after(21)) || fresh.ServiceZH != "短信" {
		t.Errorf("fresh: due %v, %s", fresh.RecoveryDue, fresh.ServiceZH)
	}
	if r = must(t)(h.Ack(r.ID, by("驻点", 2, ""))); !r.RecoveryDue.Equal(after(240)) {
		t.Errorf("open: due %v", r.RecoveryDue)
	}
}

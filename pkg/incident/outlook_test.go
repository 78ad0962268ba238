package incident

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"xunjian/pkg/contract"
	"xunjian/pkg/store"
	"xunjian/pkg/symptom"
)

// Clocks that run are shown with what is left of them, those of the gravest incidents alone when there are many.
func TestClockMetrics(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		db, err := store.Open(dir+"/records.db", store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		reg := prometheus.NewRegistry()
		d, err := New(db, Options{Settings: Settings{Services: services[:1], Terms: contract.DefaultTerms()}, Registerer: reg})
		if err != nil {
			t.Fatal(err)
		}
		see := func(service string, l contract.Level) Record {
			r, _, err := d.Observe(time.Now(), symptom.Symptom{Source: symptom.FromProbe, Service: service, Class: symptom.Down, Level: l, Detail: "x", Firing: true, Since: time.Now(), At: time.Now()})
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		urgent := see(services[0].Name, contract.Urgent)
		time.Sleep(9 * time.Minute)
		want := fmt.Sprintf(`
# HELP xunjian_incident_clock_remaining_seconds Time left on a contract clock that runs, pauses left out; below zero once it is missed. Of the gravest incidents only.
# TYPE xunjian_incident_clock_remaining_seconds gauge
xunjian_incident_clock_remaining_seconds{clock="recovery",incident="%[1]s",level="urgent",service="%[2]s"} 13860
xunjian_incident_clock_remaining_seconds{clock="response",incident="%[1]s",level="urgent",service="%[2]s"} 60
# HELP xunjian_incidents_at_risk Incidents with a clock that will be missed if things go on like this.
# TYPE xunjian_incidents_at_risk gauge
xunjian_incidents_at_risk{level="general"} 0
xunjian_incidents_at_risk{level="minor"} 0
xunjian_incidents_at_risk{level="urgent"} 1
`, urgent.ID, services[0].Name)
		if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "xunjian_incident_clock_remaining_seconds", "xunjian_incidents_at_risk"); err != nil {
			t.Error(err)
		}
		for i := range maxClocks + 10 {
			see(fmt.Sprintf("more-%d", i), contract.General)
		}
		if n, err := testutil.GatherAndCount(reg, "xunjian_incident_clock_remaining_seconds"); err != nil || n != 2*maxClocks {
			t.Errorf("%d clocks are shown, want %d (%v)", n, 2*maxClocks, err)
		}
		problems, err := testutil.GatherAndLint(reg)
		if err != nil || len(problems) > 0 {
			t.Errorf("%v %v", problems, err)
		}
	})
}

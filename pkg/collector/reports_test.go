package collector

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"xunjian/pkg/metric"
	"xunjian/pkg/report"
	"xunjian/pkg/tsdb"
)

// month is the JSON of the month that lasts.
func (r *rig) month() (m report.Model) {
	r.Helper()
	b, err := reports{r.Collector}.Report(r.Context(), time.Now().Format("2006-01"), "json", "en")
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		r.Fatal(err)
	}
	return m
}

// stored writes rounds of a check, a minute apart, of which the given ones failed.
func (r *rig) stored(name, service, rounds string) {
	r.Helper()
	s := tsdb.Stream{Agent: "host-1", Kind: metric.KindProbe + name, Every: time.Minute, Labels: []metric.Label{{Name: "agent", Value: "host-1"}}}
	begin := time.Now()
	for i, c := range rounds {
		done := make(chan error, 1)
		err := r.series.Append(r.Context(), s, metric.Report{
			Agent: "host-1", Boot: uint64(begin.Unix()), Seq: uint64(i + 1), Kind: s.Kind, Every: s.Every, At: begin.Add(time.Duration(i) * time.Minute),
			Samples: []metric.Sample{{Series: metric.New("probe_success", "check", name, "service", service), Value: float64(c - '0')}},
		}, func(_ tsdb.Outcome, err error) { done <- err })
		if err == nil {
			err = <-done
		}
		if err != nil {
			r.Fatal(err)
		}
		time.Sleep(time.Until(begin.Add(time.Duration(i+1) * time.Minute)))
	}
}

// A check that is taken out of the configuration, or gets another name, takes nothing with it of what it saw; nor does a service.
func TestMonthOfACheckThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, strings.Replace(plain(""), "kind: tcp", "kind: tcp, every: 1m", 1))
		c, stop := bubbled(t, r)
		defer stop()
		r.Collector = c
		r.stored("former", "sms", "1110001111")
		r.stored("balance", "sms", "1111111111")
		got := r.month().Services[0]
		if got.Down != 3*time.Minute || got.Up != 17*time.Minute || got.Unknown != 0 || got.Outages.Value != 1 || got.Planned != 20 || got.Done != 20 {
			t.Errorf("up %v, down %v, unknown %v, %d outages, %d of %d rounds", got.Up, got.Down, got.Unknown, got.Outages.Value, got.Done, got.Planned)
		}
		r.stored("last", "fax", "01")
		all := r.month().Services
		if fax := all[len(all)-1]; fax.EN != "fax (removed)" || fax.Done != 2 || fax.Up != time.Minute || fax.Down != time.Minute {
			t.Errorf("a service that is gone: %+v", fax)
		}
	})
}

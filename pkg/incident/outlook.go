package incident

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"xunjian/pkg/contract"
)

// maxClocks bounds the incidents whose clocks are shown one by one, the gravest first.
const maxClocks = 200

// openClocks shows the clocks that run, and counts the incidents in danger.
type openClocks struct{ d *Desk }

var (
	leftDesc   = prometheus.NewDesc("xunjian_incident_clock_remaining_seconds", "Time left on a contract clock that runs, pauses left out; below zero once it is missed. Of the gravest incidents only.", []string{"incident", "clock", "level", "service"}, nil)
	riskDesc   = prometheus.NewDesc("xunjian_incidents_at_risk", "Incidents with a clock that will be missed if things go on like this.", []string{"level"}, nil)
	missedDesc = prometheus.NewDesc("xunjian_incidents_breached", "Incidents whose fault lasts and that have missed a contract deadline.", []string{"level"}, nil)
)

func (openClocks) Describe(ch chan<- *prometheus.Desc) {
	ch <- leftDesc
	ch <- riskDesc
	ch <- missedDesc
}

func (o openClocks) Collect(ch chan<- prometheus.Metric) {
	now := time.Now()
	risk, missed := map[contract.Level]int{}, map[contract.Level]int{}
	for i, r := range o.d.openRecords() {
		if r.Breached() {
			missed[r.Level]++
		}
		if i >= maxClocks {
			continue
		}
		atRisk := false
		for _, c := range o.d.Forecast(r, now) {
			atRisk = atRisk || c.AtRisk
			ch <- prometheus.MustNewConstMetric(leftDesc, prometheus.GaugeValue, c.Left.Seconds(), r.ID, string(c.Clock), string(c.Level), o.d.shownService(r))
		}
		if atRisk {
			risk[r.Level]++
		}
	}
	for _, l := range contract.Levels {
		ch <- prometheus.MustNewConstMetric(riskDesc, prometheus.GaugeValue, float64(risk[l]), string(l))
		ch <- prometheus.MustNewConstMetric(missedDesc, prometheus.GaugeValue, float64(missed[l]), string(l))
	}
}

// openRecords are the incidents whose fault lasts, the gravest and oldest first.
func (d *Desk) openRecords() []Record {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ranked(func(l live) bool { return l.Open() })
}

// shownService is an incident's service as metrics name it: what is not configured shares one name.
func (d *Desk) shownService(r Record) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.serviceLabel(r.Service)
}

// serviceLabel is shownService for who holds mu.
func (d *Desk) serviceLabel(service string) string {
	if _, ok := d.services[service]; !ok && service != "host" {
		return "other"
	}
	return service
}

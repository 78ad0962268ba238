package incident

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"xunjian/pkg/contract"
)

// metrics are the desk's own; the gauge of open incidents is read from the desk when asked.
type metrics struct {
	opened   *prometheus.CounterVec
	breached *prometheus.CounterVec
	refused  prometheus.Counter
	response *prometheus.HistogramVec
	pageAck  *prometheus.HistogramVec
	recovery *prometheus.HistogramVec
	jumps    prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, d *Desk) *metrics {
	minutes := func(m ...float64) []float64 {
		for i := range m {
			m[i] *= 60
		}
		return m
	}
	m := &metrics{
		opened:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "xunjian_incidents_total", Help: "Incidents opened since the collector started."}, []string{"level"}),
		breached: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "xunjian_incident_breaches_total", Help: "Contract deadlines missed since the collector started."}, []string{"clock", "level"}),
		refused:  prometheus.NewCounter(prometheus.CounterOpts{Name: "xunjian_incidents_refused_total", Help: "Symptoms that could not open an incident because too many are open."}),
		response: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "xunjian_incident_response_seconds", Help: "Time from the start of the contract clock to the acknowledgement by a person.", Buckets: minutes(1, 2, 5, 10, 15, 30, 60, 240)}, []string{"level"}),
		pageAck:  prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "xunjian_page_to_acknowledge_seconds", Help: "Time from the page to the acknowledgement by the person, by the way in which it came.", Buckets: []float64{10, 30, 60, 120, 300, 600, 900, 1800, 3600, 14400}}, []string{"level", "via"}),
		recovery: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "xunjian_incident_recovery_seconds", Help: "Net time from the start of the contract clock to recovery.", Buckets: minutes(5, 15, 30, 60, 120, 240, 480, 1440)}, []string{"level"}),
	}
	if reg == nil {
		reg = prometheus.NewRegistry()
	}
	m.jumps = prometheus.NewCounter(prometheus.CounterOpts{Name: "xunjian_clock_steps_total", Help: "Times that the wall clock was set while the collector ran or between two runs."})
	storm := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "xunjian_incident_storm", Help: "Incidents opened in the last five minutes while they are very many, else 0."}, func() float64 { return float64(d.Storm(time.Now())) })
	reg.MustRegister(storm, m.jumps, m.opened, m.breached, m.refused, m.response, m.pageAck, m.recovery, openIncidents{d}, openClocks{d})
	for _, l := range contract.Levels {
		m.opened.WithLabelValues(string(l))
	}
	return m
}

func (m *metrics) count(w *draft) {
	level := string(w.rec.Level)
	for _, e := range w.events {
		switch e.Kind {
		case EventOpened:
			m.opened.WithLabelValues(string(e.Level)).Inc()
		case EventBreached:
			m.breached.WithLabelValues(string(e.Breach.Clock), string(e.Breach.Level)).Inc()
		case EventAcknowledged:
			m.response.WithLabelValues(level).Observe(w.rec.clocks(e.At).Response.Elapsed.Seconds())
			m.pageAck.WithLabelValues(level, knownVia(e.Via)).Observe(e.At.Sub(e.PagedAt).Seconds())
		case EventRecovered:
			m.recovery.WithLabelValues(level).Observe(w.rec.clocks(e.At).Recovery.Net.Seconds())
		}
	}
}

// knownVia keeps the label to the ways that there are.
func knownVia(via string) string {
	if slices.Contains([]string{"console", "cli", "api", "link", "sms", "phone"}, via) {
		return via
	}
	return "other"
}

// openIncidents counts the faults that last. Services that are not configured share one label value.
type openIncidents struct{ d *Desk }

var openDesc = prometheus.NewDesc("xunjian_incidents_open", "Incidents whose fault lasts.", []string{"level", "service"}, nil)

func (openIncidents) Describe(ch chan<- *prometheus.Desc) { ch <- openDesc }

func (o openIncidents) Collect(ch chan<- prometheus.Metric) {
	for k, n := range o.d.openCounts() {
		ch <- prometheus.MustNewConstMetric(openDesc, prometheus.GaugeValue, float64(n), string(k.level), k.service)
	}
}

type openKey struct {
	level   contract.Level
	service string
}

func (d *Desk) openCounts() map[openKey]int {
	counts := map[openKey]int{}
	d.mu.Lock()
	defer d.mu.Unlock()
	for name := range d.services {
		for _, l := range contract.Levels {
			counts[openKey{l, name}] = 0
		}
	}
	for _, r := range d.unclosed {
		if !r.Open() {
			continue
		}
		counts[openKey{r.Level, d.serviceLabel(r.Service)}]++
	}
	return counts
}

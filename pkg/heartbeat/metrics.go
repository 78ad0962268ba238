package heartbeat

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	beats, failures, withheld *prometheus.CounterVec
	last                      *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	by := []string{"receiver"}
	m := &metrics{
		beats:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "xunjian_heartbeats_total", Help: "Heartbeats that their receiver has taken."}, by),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "xunjian_heartbeat_failures_total", Help: "Heartbeats that their receiver has not taken."}, by),
		withheld: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "xunjian_heartbeats_withheld_total", Help: "Heartbeats not sent because the collector was not well."}, by),
		last:     prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "xunjian_heartbeat_last_success_timestamp_seconds", Help: "When the receiver last took a heartbeat."}, by),
	}
	if reg != nil {
		reg.MustRegister(m.beats, m.failures, m.withheld, m.last)
	}
	return m
}

func (m *metrics) count(s State) {
	switch {
	case s.Withheld:
		m.withheld.WithLabelValues(s.Name).Inc()
	case s.Error != "":
		m.failures.WithLabelValues(s.Name).Inc()
	default:
		m.beats.WithLabelValues(s.Name).Inc()
		m.last.WithLabelValues(s.Name).SetToCurrentTime()
	}
}

// begin drops the receivers of an earlier configuration and shows the counts of the present ones from 0 on: what never was
// counted cannot be seen to rise.
func (m *metrics) begin(list []Receiver) {
	m.last.Reset()
	for _, v := range []*prometheus.CounterVec{m.beats, m.failures, m.withheld} {
		v.Reset()
		for _, r := range list {
			v.WithLabelValues(r.Name)
		}
	}
}

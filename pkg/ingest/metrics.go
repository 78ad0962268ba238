package ingest

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	stored, duplicates, failed prometheus.Counter
	refused                    *prometheus.CounterVec // agent, reason
	results                    *prometheus.CounterVec // outcome
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		stored:     prometheus.NewCounter(prometheus.CounterOpts{Name: "xunjian_ingest_reports_total", Help: "Reports stored."}),
		duplicates: prometheus.NewCounter(prometheus.CounterOpts{Name: "xunjian_ingest_duplicates_total", Help: "Reports that had been stored before and had no effect again."}),
		failed:     prometheus.NewCounter(prometheus.CounterOpts{Name: "xunjian_ingest_failures_total", Help: "Reports that could not be stored and are to be sent again."}),
		refused:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "xunjian_ingest_refused_total", Help: "Reports and results not kept, by agent and reason."}, []string{"agent", "reason"}),
		results:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "xunjian_ingest_results_total", Help: "Rounds of checks judged, by outcome."}, []string{"outcome"}),
	}
	if reg != nil {
		reg.MustRegister(m.stored, m.duplicates, m.failed, m.refused, m.results)
	}
	return m
}

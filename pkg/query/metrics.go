package query

import "github.com/prometheus/client_golang/prometheus"

type metrics struct{ queueTimeouts prometheus.Counter }

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{queueTimeouts: prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "xunjian", Subsystem: "query", Name: "queue_timeouts_total",
		Help: "Queries given up while waiting for a turn.",
	})}
	reg.MustRegister(m.queueTimeouts)
	return m
}

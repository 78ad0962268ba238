package promapi

import "github.com/prometheus/client_golang/prometheus"

type counters struct{ busy, failed, clash, anonymous, unread prometheus.Counter }

func newMetrics(reg prometheus.Registerer) *counters {
	vec := func(name, label, help string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "xunjian", Subsystem: "promapi", Name: name, Help: help}, []string{label})
		reg.MustRegister(v)
		return v
	}
	refused := vec("scrapes_refused_total", "reason", "Scrapes that were not answered.")
	omitted := vec("series_omitted_total", "reason", "Series, or reads of the store, that a scrape could not show.")
	return &counters{
		busy:      refused.WithLabelValues("busy"),
		failed:    omitted.WithLabelValues("encoding"),
		clash:     omitted.WithLabelValues("type_clash"),
		unread:    omitted.WithLabelValues("store"),
		anonymous: omitted.WithLabelValues("no_instance"),
	}
}

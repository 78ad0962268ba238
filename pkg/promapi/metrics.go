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

type apiMetrics struct{ calls *prometheus.CounterVec }

func newAPIMetrics(reg prometheus.Registerer) *apiMetrics {
	m := &apiMetrics{calls: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "xunjian", Subsystem: "promapi", Name: "calls_total", Help: "Calls of the query API, by path and error type.",
	}, []string{"path", "error"})}
	if reg != nil {
		reg.MustRegister(m.calls)
	}
	return m
}

func (m *apiMetrics) count(path string, f *fault) {
	kind := ""
	if f != nil {
		kind = string(f.kind)
	}
	m.calls.WithLabelValues(path, kind).Inc()
}

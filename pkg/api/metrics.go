package api

import "github.com/prometheus/client_golang/prometheus"

type metrics struct{ requests *prometheus.CounterVec }

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{prometheus.NewCounterVec(prometheus.CounterOpts{Name: "xunjian_api_requests_total", Help: "API calls by route, method and status."}, []string{"route", "method", "code"})}
	if reg != nil {
		reg.MustRegister(m.requests)
	}
	return m
}

package access

import "github.com/prometheus/client_golang/prometheus"

type metrics struct{ logins *prometheus.CounterVec }

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{prometheus.NewCounterVec(prometheus.CounterOpts{Name: "xunjian_logins_total", Help: "Attempts to sign in by outcome: ok, refused, locked, failed."}, []string{"outcome"})}
	if reg != nil {
		reg.MustRegister(m.logins)
	}
	return m
}

package alertapi

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct{ received, invalid, refused, told *prometheus.CounterVec }

func newMetrics(reg prometheus.Registerer, b *Book) *metrics {
	vec := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "xunjian", Subsystem: "alertapi", Name: name, Help: help}, []string{label})
	}
	m := &metrics{
		received: vec("alerts_received_total", "Alerts taken from others, by state: firing, resolved, unknown_end.", "state"),
		invalid:  vec("alerts_invalid_total", "Alerts refused as malformed.", "version"),
		refused:  vec("alerts_refused_total", "Alerts or calls refused, by reason.", "reason"),
		told:     vec("symptoms_total", "Changes told to the incident desk: opened, ended.", "change"),
	}
	m.invalid.WithLabelValues("v2")
	if reg == nil {
		return m
	}
	reg.MustRegister(m.received, m.invalid, m.refused, m.told, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "xunjian", Subsystem: "alertapi", Name: "alerts", Help: "Alerts of others that are not over.",
	}, func() float64 { return float64(b.active(b.now())) }))
	return m
}

func (b *Book) active(now time.Time) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.alerts {
		if !e.Over(now) {
			n++
		}
	}
	return n
}

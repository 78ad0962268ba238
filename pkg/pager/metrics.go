package pager

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	sent, failed, gaveUp, digests *prometheus.CounterVec
	undelivered, open, unreached  *prometheus.GaugeVec
	delay                         *prometheus.HistogramVec
	steps                         *prometheus.CounterVec
	links, replies                *prometheus.CounterVec
}

// newMetrics registers the metrics, or takes over those of the pager before it when the configuration is reloaded.
func newMetrics(reg prometheus.Registerer) *metrics {
	if reg == nil {
		reg = prometheus.NewRegistry()
	}
	channel := []string{"channel"}
	return &metrics{
		sent:        register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "xunjian_pages_sent_total", Help: "Pages that the receiver has taken."}, channel)),
		failed:      register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "xunjian_pages_failed_total", Help: "Tries that the receiver has refused or not answered."}, channel)),
		gaveUp:      register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "xunjian_pages_given_up_total", Help: "Pages that were never delivered."}, channel)),
		digests:     register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "xunjian_page_digests_total", Help: "Messages that held several pages at once."}, channel)),
		undelivered: register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "xunjian_pages_undelivered", Help: "Pages that wait for the receiver to take them."}, channel)),
		unreached:   register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "xunjian_calls_undelivered", Help: "Calls to people that were tried and have not reached their person over any channel."}, channel)),
		open:        register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "xunjian_reply_session_open", Help: "Whether the session is open over which people answer short messages."}, channel)),
		steps:       register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "xunjian_escalation_calls_total", Help: "Calls to people that the escalation has decided on, by its step."}, []string{"step", "level"})),
		links:       register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "xunjian_ack_links_total", Help: "Acknowledge links by what became of them: shown, used, refused."}, []string{"outcome"})),
		replies:     register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "xunjian_replies_total", Help: "Replies to short messages by what became of them."}, []string{"outcome"})),
		delay: register(reg, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "xunjian_page_delay_seconds", Help: "Time from the cause of a page to the receiver's yes.",
			Buckets: []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600},
		}, channel)),
	}
}

// begin shows a channel's counts from 0 on: what never was counted cannot be seen to rise.
func (m *metrics) begin(channel string) {
	for _, c := range []*prometheus.CounterVec{m.sent, m.failed, m.gaveUp} {
		c.WithLabelValues(channel)
	}
	m.undelivered.WithLabelValues(channel)
}

func register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	err := reg.Register(c)
	var have prometheus.AlreadyRegisteredError
	if errors.As(err, &have) {
		return have.ExistingCollector.(C)
	}
	if err != nil {
		panic(err) // two metrics of one name: a mistake in this program
	}
	return c
}

package rule

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	told, ended, refused, sinkFailures, discarded prometheus.Counter
	firing, held, reloadOK                        prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "xunjian", Subsystem: "rule", Name: name, Help: help})
		reg.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "xunjian", Subsystem: "rule", Name: name, Help: help})
		reg.MustRegister(g)
		return g
	}
	return &metrics{
		told:         counter("symptoms_told_total", "Symptoms told firing, changes of level included."),
		ended:        counter("symptoms_ended_total", "Symptoms told as ended."),
		refused:      counter("symptoms_refused_total", "Symptoms not told because too many are firing."),
		sinkFailures: counter("sink_failures_total", "Times the symptoms of an evaluation were not taken and had to be told again."),
		discarded:    counter("samples_discarded_total", "Samples that rules produced and nobody keeps."),
		firing:       gauge("symptoms_firing", "Symptoms told firing now."),
		held:         gauge("symptoms_held", "Symptoms whose alert ended for lack of data and that are therefore not told as ended."),
		reloadOK:     gauge("last_reload_successful", "Whether the last reload of the rule files succeeded."),
	}
}

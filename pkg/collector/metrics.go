package collector

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	reloadOK, reloadAt prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer, version string) *metrics {
	m := &metrics{
		reloadOK: prometheus.NewGauge(prometheus.GaugeOpts{Name: "xunjian_config_last_reload_successful", Help: "Whether the last reload of the configuration was taken."}),
		reloadAt: prometheus.NewGauge(prometheus.GaugeOpts{Name: "xunjian_config_last_reload_success_timestamp_seconds", Help: "When the configuration in force was taken."}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "xunjian_build_info", Help: "Always 1; the version is in the labels.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version(), "goarch": runtime.GOARCH},
	})
	build.Set(1)
	m.reloadOK.Set(1)
	m.reloadAt.SetToCurrentTime()
	reg.MustRegister(m.reloadOK, m.reloadAt, build)
	return m
}

package collector

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"

	"xunjian/pkg/store"
	"xunjian/pkg/uplink"
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

// backupMetrics show when the data were last copied whole.
func backupMetrics(reg prometheus.Registerer, data string) {
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "xunjian_backup_last_success_timestamp_seconds", Help: "When the last good backup was made; 0 when none is noted.",
	}, func() float64 {
		if n := store.ReadNote(data); !n.At.IsZero() {
			return float64(n.At.Unix())
		}
		return 0
	}))
}

// tellerMetrics show what waits for a desk that cannot write.
func tellerMetrics(reg prometheus.Registerer, t *teller) {
	t.dropped = prometheus.NewCounter(prometheus.CounterOpts{Name: "xunjian_symptoms_dropped_total", Help: "Findings given up because too many waited for an incident desk that could not write."})
	reg.MustRegister(t.dropped, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "xunjian_symptoms_waiting", Help: "Findings that the incident desk could not write yet.",
	}, func() float64 { return float64(t.waiting()) }))
}

// uplinkStats shows the counts of the agents' door, which knows nothing of metrics.
type uplinkStats struct{ stats func() uplink.ServerStats }

func uplinkDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("xunjian_uplink_"+name, help, labels, nil)
}

var (
	uplinkStreams  = uplinkDesc("streams", "Agents' streams that are open.")
	uplinkOpened   = uplinkDesc("streams_opened_total", "Agents' streams opened.")
	uplinkReplaced = uplinkDesc("streams_replaced_total", "Streams ended by a newer one of the same agent, by kind: reconnect, restart, clone.", "kind")
	uplinkRejected = uplinkDesc("streams_rejected_total", "Streams refused or ended by the collector, by reason.", "reason")
	uplinkTurned   = uplinkDesc("handshakes_refused_total", "Connections turned away before anything was said, by reason.", "reason")
	uplinkMessages = uplinkDesc("messages_total", "Messages taken from agents, those refused included.")
	uplinkRefused  = uplinkDesc("messages_refused_total", "Messages refused for good, by reason.", "reason")
	uplinkWithheld = uplinkDesc("withheld_total", "Batches judged and not acknowledged, as nothing could be stored: their agents keep them and send them again.")
)

func (u uplinkStats) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{uplinkStreams, uplinkOpened, uplinkReplaced, uplinkRejected, uplinkTurned, uplinkMessages, uplinkRefused, uplinkWithheld} {
		out <- d
	}
}

func (u uplinkStats) Collect(out chan<- prometheus.Metric) {
	st := u.stats()
	counter := func(d *prometheus.Desc, n uint64, label ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), label...)
	}
	out <- prometheus.MustNewConstMetric(uplinkStreams, prometheus.GaugeValue, float64(st.Streams))
	counter(uplinkOpened, st.Opened)
	counter(uplinkMessages, st.Messages)
	counter(uplinkWithheld, st.Withheld)
	for d, by := range map[*prometheus.Desc]map[string]uint64{
		uplinkReplaced: st.Replaced, uplinkRejected: st.Rejected, uplinkTurned: st.Handshakes, uplinkRefused: st.Refused,
	} {
		for label, n := range by {
			counter(d, n, label)
		}
	}
}

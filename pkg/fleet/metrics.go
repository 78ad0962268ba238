package fleet

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	enrolments *prometheus.CounterVec
	pauses     prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, r *Registry) *metrics {
	m := &metrics{
		enrolments: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "xunjian_enrolments_total", Help: "Enrolments by outcome: ok, failed, or the reason of the refusal."}, []string{"outcome"}),
		pauses:     prometheus.NewCounter(prometheus.CounterOpts{Name: "xunjian_fleet_pauses_total", Help: "Times that the collector stood still, so that silence was counted anew."}),
	}
	if reg != nil {
		reg.MustRegister(m.enrolments, m.pauses, agentCollector{r})
	}
	return m
}

var (
	agentsDesc = prometheus.NewDesc("xunjian_agents", "Agents by state: heard, silent, stopped (on purpose), never (enrolled and not heard yet), revoked.", []string{"state"}, nil)
	heardDesc  = prometheus.NewDesc("xunjian_agent_last_heard_timestamp_seconds", "When the agent was last heard.", []string{"agent"}, nil)
	skewDesc   = prometheus.NewDesc("xunjian_agent_clock_skew_seconds", "The agent's clock minus the collector's.", []string{"agent"}, nil)
	expiryDesc = prometheus.NewDesc("xunjian_agent_certificate_expiry_timestamp_seconds", "When the agent's certificate ends.", []string{"agent"}, nil)
)

// agentCollector reads the registry when it is scraped. Its series are bounded by Config.MaxAgents.
type agentCollector struct{ r *Registry }

func (c agentCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{agentsDesc, heardDesc, skewDesc, expiryDesc} {
		ch <- d
	}
}

func (c agentCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, label string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, label)
	}
	states := map[string]int{"heard": 0, "silent": 0, "stopped": 0, "never": 0, "revoked": 0}
	for _, a := range c.r.Agents() {
		states[a.State()]++
		if !a.RevokedAt.IsZero() {
			continue
		}
		gauge(expiryDesc, unix(a.NotAfter), a.Name)
		if !a.LastHeard.IsZero() {
			gauge(heardDesc, unix(a.LastHeard), a.Name)
			gauge(skewDesc, a.Info.Skew.Seconds(), a.Name)
		}
	}
	for s, n := range states {
		gauge(agentsDesc, float64(n), s)
	}
}

// State is heard, silent, stopped (on purpose, and its host was not found gone), never (enrolled and not heard yet) or revoked.
func (a Agent) State() string {
	switch {
	case !a.RevokedAt.IsZero():
		return "revoked"
	case !a.LeftAt.IsZero() && a.Host != Gone:
		return "stopped"
	case a.Silent:
		return "silent"
	case a.LastHeard.IsZero():
		return "never"
	}
	return "heard"
}

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

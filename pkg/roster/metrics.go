package roster

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// figures are worked out when they are asked for.
type figures struct{ r *Roster }

var (
	peopleDesc = prometheus.NewDesc("xunjian_roster_people", "People in the configuration.", nil, nil)
	gapDesc    = prometheus.NewDesc("xunjian_roster_gap_seconds", "Time of the coming 7 days in which nobody holds a line.", []string{"line"}, nil)
	absentDesc = prometheus.NewDesc("xunjian_roster_sign_ins_missing", "Shifts of important periods in the last day that began over 15 minutes ago without anybody signing in.", nil, nil)
)

func (figures) Describe(ch chan<- *prometheus.Desc) {
	ch <- peopleDesc
	ch <- gapDesc
	ch <- absentDesc
}

func (f figures) Collect(ch chan<- prometheus.Metric) {
	now := time.Now()
	gaps := map[Line]time.Duration{Resident: 0, Second: 0, Manager: 0}
	for _, g := range f.r.Gaps(now, now.Add(7*24*time.Hour)) {
		gaps[g.Line] += g.To.Sub(g.From)
	}
	for l, d := range gaps {
		ch <- prometheus.MustNewConstMetric(gapDesc, prometheus.GaugeValue, d.Seconds(), string(l))
	}
	ch <- prometheus.MustNewConstMetric(peopleDesc, prometheus.GaugeValue, float64(len(f.r.People())))
	ch <- prometheus.MustNewConstMetric(absentDesc, prometheus.GaugeValue, float64(len(f.r.Absent(now))))
}

// signInLate is how long after its beginning a shift may be without a sign-in before that is flagged.
const signInLate = 15 * time.Minute

// Absent lists the shifts of important periods of the last day that nobody signed in to in time, and still has not.
func (r *Roster) Absent(now time.Time) (out []Watch) {
	for _, w := range r.Watches(now.Add(-24*time.Hour), now) {
		if w.SignedIn == nil && now.Sub(w.From) > signInLate {
			out = append(out, w)
		}
	}
	return out
}

package promapi

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"

	"xunjian/pkg/metric"
	"xunjian/pkg/query"
)

// noHelp is the help of names that the catalogue does not hold; checkers want one for each.
const noHelp = "Reported by agents; not in the catalogue."

// last is the newest sample of one series.
type last struct {
	series metric.Series
	at     int64
	value  float64
}

// fleet is what the hosts say at present, in order of names and labels, each series once.
func (e *exposition) fleet(now time.Time) ([]last, error) {
	oldest := now.Add(-staleAfter).UnixMilli()
	var out []last
	err := e.Lasts.Last(func(s metric.Series, at int64, v float64) {
		switch {
		case at < oldest, math.IsNaN(v), s.Get(query.PartLabel) != "":
		case s.Get("instance") == "":
			e.anonymous.Inc()
		default:
			out = append(out, last{s, at, v})
		}
	})
	slices.SortFunc(out, func(a, b last) int {
		return cmp.Or(compareSeries(a.series, b.series), cmp.Compare(b.at, a.at))
	})
	return slices.CompactFunc(out, func(a, b last) bool { return compareSeries(a.series, b.series) == 0 }), err
}

func compareSeries(a, b metric.Series) int {
	return cmp.Or(strings.Compare(a.Name, b.Name), slices.CompareFunc(a.Labels, b.Labels, func(a, b metric.Label) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Value, b.Value))
	}))
}

// cutFamily takes the first name's series off the front.
func cutFamily(all []last) (same, rest []last) {
	n := slices.IndexFunc(all, func(l last) bool { return l.series.Name != all[0].series.Name })
	if n < 0 {
		n = len(all)
	}
	return all[:n], all[n:]
}

func family(same []last) *dto.MetricFamily {
	name := same[0].series.Name
	d, _ := metric.Describe(name)
	kind := dto.MetricType_GAUGE
	if d.Type == metric.Counter {
		kind = dto.MetricType_COUNTER
	}
	f := &dto.MetricFamily{Name: &name, Help: new(cmp.Or(d.Help, noHelp)), Type: &kind, Metric: make([]*dto.Metric, len(same))}
	for i := range same {
		f.Metric[i] = sample(&same[i], kind)
	}
	return f
}

func sample(l *last, kind dto.MetricType) *dto.Metric {
	m := &dto.Metric{TimestampMs: &l.at, Label: make([]*dto.LabelPair, len(l.series.Labels))}
	for i := range l.series.Labels {
		m.Label[i] = &dto.LabelPair{Name: &l.series.Labels[i].Name, Value: &l.series.Labels[i].Value}
	}
	if kind == dto.MetricType_COUNTER {
		m.Counter = &dto.Counter{Value: &l.value}
	} else {
		m.Gauge = &dto.Gauge{Value: &l.value}
	}
	return m
}

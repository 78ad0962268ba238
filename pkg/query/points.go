package query

import (
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"

	"xunjian/pkg/metric"
)

// Point is one series' value in an instant answer.
type Point struct {
	Series metric.Series
	Value  float64
}

// Points are the answer's vector in our own words, empty when it is no vector.
func (r Result) Points() []Point {
	v, ok := r.Value.(promql.Vector)
	if !ok {
		return nil
	}
	out := make([]Point, 0, len(v))
	for _, s := range v {
		p := Point{Value: s.F, Series: metric.Series{Name: s.Metric.Get(model.MetricNameLabel)}}
		s.Metric.Range(func(l labels.Label) {
			if l.Name != model.MetricNameLabel {
				p.Series.Labels = append(p.Series.Labels, metric.Label{Name: l.Name, Value: l.Value})
			}
		})
		out = append(out, p)
	}
	return out
}

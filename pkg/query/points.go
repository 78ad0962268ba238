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

// Curve is one series' values over a range; steps without a value are left out.
type Curve struct {
	Series metric.Series
	AtMS   []int64
	Values []float64
}

// Curves are the answer's matrix in our own words, empty when it is no matrix.
func (r Result) Curves() []Curve {
	m, ok := r.Value.(promql.Matrix)
	if !ok {
		return nil
	}
	out := make([]Curve, 0, len(m))
	for _, s := range m {
		c := Curve{Series: metric.Series{Name: s.Metric.Get(model.MetricNameLabel)}}
		s.Metric.Range(func(l labels.Label) {
			if l.Name != model.MetricNameLabel {
				c.Series.Labels = append(c.Series.Labels, metric.Label{Name: l.Name, Value: l.Value})
			}
		})
		for _, f := range s.Floats {
			c.AtMS, c.Values = append(c.AtMS, f.T), append(c.Values, f.F)
		}
		out = append(out, c)
	}
	return out
}

package query

import (
	"context"
	"math"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// isChange reports whether the function is of the steps from one sample to the next.
func (f function) isChange() bool { return f >= rateOf }

// looksLikeCounter reports whether all series matched have names that the engine takes for counters': of others it says
// in the answer that they may be none, so it must see them.
func looksLikeCounter(ms []*labels.Matcher) bool {
	return slices.ContainsFunc(ms, func(m *labels.Matcher) bool {
		return m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual &&
			slices.ContainsFunc([]string{"_total", "_sum", "_count", "_bucket"}, func(end string) bool { return strings.HasSuffix(m.Value, end) })
	})
}

// changes works such a function out.
func (w window) changes(ctx context.Context, p points) (t []int64, v []float64, err error) {
	steps := w.steps(p.v)
	next := 0 // of steps, the first that may be in the range
	err = w.each(ctx, p.t, func(at int64, lo, hi int) {
		for next < len(steps) && steps[next] <= lo {
			next++
		}
		end := next
		for end < len(steps) && steps[end] < hi {
			end++
		}
		if x, ok := w.change(p, at, lo, hi, steps[next:end]); ok {
			t, v = append(t, at), append(v, x)
		}
	})
	return t, v, err
}

// steps are the places of samples that count in the function: where a counter fell, or a value changed.
func (w window) steps(v []float64) (out []int) {
	for i := 1; i < len(v); i++ {
		fell := v[i] < v[i-1]
		if w.fn == changesOf {
			fell = v[i] != v[i-1] && !(math.IsNaN(v[i]) && math.IsNaN(v[i-1]))
		}
		if fell {
			out = append(out, i)
		}
	}
	return out
}

func (w window) change(p points, at int64, lo, hi int, steps []int) (float64, bool) {
	switch w.fn {
	case changesOf, resetsOf:
		return float64(len(steps)), true
	case irateOf:
		if hi-lo < 2 {
			return 0, false
		}
		d := p.v[hi-1]
		if !(p.v[hi-1] < p.v[hi-2]) { // not a reset
			d -= p.v[hi-2]
		}
		return d / (float64(p.t[hi-1]-p.t[hi-2]) / 1000), true
	}
	return w.extrapolated(p, at, lo, hi, steps)
}

// extrapolated is the engine's rate, increase and delta.
func (w window) extrapolated(p points, at int64, lo, hi int, resets []int) (float64, bool) {
	if hi-lo < 2 {
		return 0, false
	}
	first, last := p.v[lo], p.v[hi-1]
	d := last - first
	if w.fn != deltaOf {
		for _, i := range resets {
			d += p.v[i-1]
		}
	}
	toStart, toEnd := float64(p.t[lo]-(at-w.span))/1000, float64(at-p.t[hi-1])/1000
	sampled := float64(p.t[hi-1]-p.t[lo]) / 1000
	between := sampled / float64(hi-lo-1)
	if toStart >= between*1.1 {
		toStart = between / 2
	}
	if toEnd >= between*1.1 {
		toEnd = between / 2
	}
	if w.fn != deltaOf && d > 0 && first >= 0 { // a counter does not begin below zero
		toStart = min(toStart, sampled*(first/d))
	}
	factor := (sampled + toStart + toEnd) / sampled
	if w.fn == rateOf {
		factor /= float64(w.span) / 1000
	}
	return d * factor, true
}

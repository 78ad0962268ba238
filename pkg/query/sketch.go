package query

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"xunjian/pkg/tsdb"
)

const day = 24 * 60 * 60 * 1000 // ms

// sketches are those of the days whose samples are no longer kept, by series, if the function is about how values are
// spread, which means of windows would hide.
func (r *reducer) sketches(ctx context.Context, old bool, from, to int64) (map[string][]tsdb.DaySketch, error) {
	if !old || r.w.fn != quantileOf {
		return nil, nil
	}
	out := map[string][]tsdb.DaySketch{}
	for d, err := range r.q.db.Sketches(ctx, max(from, 0), min(to, endOfTime), r.ms...) {
		if err == nil {
			err = r.q.budget.load(perSeries)
		}
		if err != nil {
			return nil, fmt.Errorf("select sketches: %w", err)
		}
		text := d.Series.String()
		out[text] = append(out[text], d)
	}
	return out, nil
}

// spread gives the windows of each day values that are spread as the day's samples were: the window with the lowest mean
// the lowest, and so on.
func spread(p points, days []tsdb.DaySketch) points {
	if len(days) == 0 {
		return p
	}
	p = p.single()
	for _, d := range days {
		lo, _ := slices.BinarySearch(p.t, d.End-day+1)
		hi, _ := slices.BinarySearch(p.t, d.End+1)
		order := make([]int, 0, hi-lo)
		for i := lo; i < hi; i++ {
			order = append(order, i)
		}
		slices.SortFunc(order, func(a, b int) int { return cmp.Compare(p.v[a], p.v[b]) })
		for rank, i := range order {
			p.v[i] = d.Sketch.Quantile((float64(rank) + 0.5) / float64(len(order)))
		}
	}
	return p
}

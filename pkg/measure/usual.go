package measure

import (
	"context"
	"math"
	"slices"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/metric"
)

// Usual is how long the good answers that one agent has of one check take as a rule: their median at each hour of the day,
// 0 where too little is known.
type Usual [24]time.Duration

// Habit is what a usual duration is made of. A fault of an hour moves no median of days, and one of days is to be left out by
// Except; one good answer a minute stands for all, so that a check asked twice a second costs no more than one asked each
// minute.
type Habit struct {
	Samples  Samples
	Location *time.Location
	Days     int             // whole days before Until, by the local calendar; those that are left out whole do not count
	Least    int             // of them must have answers in an hour, or else nothing is known of it
	Until    time.Time       // the day in which it lies counts no more
	Except   []contract.Span // when answers were not as usual
}

// leastAnswers make a median: fewer say little, such as a fortnight's of a check that is asked once an hour.
const leastAnswers = 20

// habitHour is what is known of an hour of the day.
type habitHour struct {
	took []float64
	days int // that have answers
	day  int // the last of them, by how many days ago it was
}

// Of works out what is usual for the series that carry the labels, which are a check's from one agent.
func (h Habit) Of(ctx context.Context, labels map[string]string) (out Usual, err error) {
	var hours [24]habitHour
	y, m, d := h.Until.In(h.Location).Date()
	for n, left := 1, h.Days; left > 0 && n <= 4*h.Days; n++ {
		from, to := time.Date(y, m, d-n, 0, 0, 0, 0, h.Location), time.Date(y, m, d-n+1, 0, 0, 0, 0, h.Location)
		if h.excepted(from.UnixMilli(), to.UnixMilli()) {
			continue // and one day more before it counts
		}
		left--
		err := h.day(ctx, from, to, labels, func(hour int, took float64) {
			at := &hours[hour]
			if at.took = append(at.took, took); at.day != n {
				at.day = n
				at.days++
			}
		})
		if err != nil {
			return out, err
		}
	}
	for i, at := range hours {
		if at.days >= h.Least && len(at.took) >= leastAnswers {
			slices.Sort(at.took)
			out[i] = max(seconds(at.took[(len(at.took)-1)/2]), time.Microsecond)
		}
	}
	return out, nil
}

// day hands over a day's good answers, one a minute, with the hour of the day in which they began.
func (h Habit) day(ctx context.Context, from, to time.Time, labels map[string]string, take func(hour int, took float64)) error {
	passed := map[string][]int64{} // when, by series
	err := h.Samples.Select(ctx, from, to, ofCheck.success, labels, func(s metric.Series, ts []int64, vals []float64) error {
		key := metric.Series{Labels: s.Labels}.String()
		good := slices.Grow(passed[key], len(ts))
		for i, t := range ts {
			if vals[i] > 0 {
				good = append(good, t)
			}
		}
		passed[key] = good
		return nil
	})
	if err != nil || len(passed) == 0 {
		return err
	}
	minutes := map[string]int64{} // the last that counts, by series
	return h.Samples.Select(ctx, from, to, ofCheck.duration, labels, func(s metric.Series, ts []int64, vals []float64) error {
		key := metric.Series{Labels: s.Labels}.String()
		good, minute := passed[key], minutes[key]
		for i, t := range ts {
			if t/60_000 == minute || !(vals[i] >= 0) || math.IsInf(vals[i], 0) {
				continue
			}
			if _, found := slices.BinarySearch(good, t); !found || h.excepted(t, t+1) {
				continue
			}
			minute = t / 60_000
			take(time.UnixMilli(t).In(h.Location).Hour(), vals[i])
		}
		minutes[key] = minute
		return nil
	})
}

// excepted says that a time is left out, all of it.
func (h Habit) excepted(from, to int64) bool {
	return slices.ContainsFunc(h.Except, func(s contract.Span) bool { return s.From <= from && to <= s.To })
}

package report

import (
	"math"
	"slices"
	"time"
)

// sketch is a histogram of durations in buckets that grow by 1.9 %: a quantile that it gives is the middle of its bucket and
// so within 1 % of a true sample. From 10 µs to an hour that is about 1,050 buckets, however many samples go in.
type sketch struct {
	counts map[int]int64
	n      int64
	max    float64
}

const sketchGrowth = 1.019

var sketchLog = math.Log(sketchGrowth)

// sketchMin is where the buckets start, in seconds; anything faster counts as this.
const sketchMin = 10e-6

func newSketch() *sketch { return &sketch{counts: map[int]int64{}} }

// add takes a duration in seconds; what is no duration is not taken.
func (s *sketch) add(v float64) {
	if !(v >= 0) || math.IsInf(v, 0) {
		return
	}
	s.n++
	s.max = max(s.max, v)
	s.counts[int(math.Ceil(math.Log(max(v, sketchMin)/sketchMin)/sketchLog))]++
}

func (s *sketch) merge(o *sketch) {
	for b, n := range o.counts {
		s.counts[b] += n
	}
	s.n += o.n
	s.max = max(s.max, o.max)
}

// quantile is the nearest-rank quantile: the smallest value that at least q of all samples do not exceed.
func (s *sketch) quantile(q float64) Maybe[time.Duration] {
	if s.n == 0 {
		return Maybe[time.Duration]{}
	}
	rank := max(int64(math.Ceil(q*float64(s.n))), 1)
	keys := make([]int, 0, len(s.counts))
	for k := range s.counts {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		if rank -= s.counts[k]; rank <= 0 {
			high := sketchMin * math.Pow(sketchGrowth, float64(k))
			middle := high * 2 / (1 + sketchGrowth)
			return Known(seconds(min(middle, s.max)))
		}
	}
	return Known(seconds(s.max))
}

func (s *sketch) largest() Maybe[time.Duration] {
	if s.n == 0 {
		return Maybe[time.Duration]{}
	}
	return Known(seconds(s.max))
}

// seconds rounds to the microsecond, so that no figure hangs on the last bit of a sum.
func seconds(v float64) time.Duration {
	return time.Duration(math.Round(v*1e6)) * time.Microsecond
}

// nearest is the nearest-rank quantile of sorted values.
func nearest(sorted []float64, q float64) float64 {
	return sorted[max(int(math.Ceil(q*float64(len(sorted)))), 1)-1]
}

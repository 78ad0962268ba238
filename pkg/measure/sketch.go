package measure

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"time"
)

// Sketch is a histogram of durations in buckets that grow by 1.9 %: a quantile that it gives is the middle of its bucket and
// so within 1 % of a true sample. From 10 µs to an hour that is about 1,050 buckets, however many samples go in. Sketches of
// neighbouring days add up to that of both. The zero value is empty.
type Sketch struct {
	counts map[int]int64
	n      int64
	max    float64
}

const sketchGrowth = 1.019

var sketchLog = math.Log(sketchGrowth)

// sketchMin is where the buckets start, in seconds; anything faster counts as this.
const sketchMin = 10e-6

// add takes a duration in seconds; what is no duration is not taken.
func (s *Sketch) add(v float64) {
	if !(v >= 0) || math.IsInf(v, 0) {
		return
	}
	if s.counts == nil {
		s.counts = map[int]int64{}
	}
	s.n++
	s.max = max(s.max, v)
	s.counts[int(math.Ceil(math.Log(max(v, sketchMin)/sketchMin)/sketchLog))]++
}

func (s *Sketch) merge(o *Sketch) {
	if s.counts == nil {
		s.counts = map[int]int64{}
	}
	for b, n := range o.counts {
		s.counts[b] += n
	}
	s.n += o.n
	s.max = max(s.max, o.max)
}

// Quantile is the nearest-rank quantile: the smallest value that at least q of all samples do not exceed.
func (s *Sketch) Quantile(q float64) Maybe[time.Duration] {
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

// Largest is the largest sample.
func (s *Sketch) Largest() Maybe[time.Duration] {
	if s.n == 0 {
		return Maybe[time.Duration]{}
	}
	return Known(seconds(s.max))
}

// seconds rounds to the microsecond, so that no figure hangs on the last bit of a sum.
func seconds(v float64) time.Duration {
	return time.Duration(math.Round(v*1e6)) * time.Microsecond
}

// MarshalJSON writes the buckets in order: equal sketches give equal bytes.
func (s *Sketch) MarshalJSON() ([]byte, error) {
	w := wireSketch{N: s.n, Max: s.max}
	for _, k := range slices.Sorted(maps.Keys(s.counts)) {
		w.Buckets = append(w.Buckets, [2]int64{int64(k), s.counts[k]})
	}
	return json.Marshal(w)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (s *Sketch) UnmarshalJSON(b []byte) error {
	var w wireSketch
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	*s = Sketch{n: w.N, max: w.Max, counts: make(map[int]int64, len(w.Buckets))}
	for _, x := range w.Buckets {
		s.counts[int(x[0])] = x[1]
	}
	return nil
}

type wireSketch struct {
	N       int64      `json:"n"`
	Max     float64    `json:"max"`
	Buckets [][2]int64 `json:"buckets,omitempty"` // number of the bucket, samples in it
}

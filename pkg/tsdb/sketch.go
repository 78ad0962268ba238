package tsdb

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"math"
	"slices"

	bolt "go.etcd.io/bbolt"

	"xunjian/pkg/metric"
)

// sketchBits is how many bits of a value a sketch keeps: sign, exponent and five of the fraction. What it gives back
// lies within 1.6 % of the value.
const sketchBits = 17

// Sketch counts values by their leading bits, so that sketches of days add up and quantiles of months come from them.
type Sketch struct {
	keys   []int32 // rising as the values do
	counts []float64
}

// sketchKey orders as values do, a negative one below zero.
func sketchKey(v float64) int32 {
	u := math.Float64bits(v) >> (64 - sketchBits)
	if u>>(sketchBits-1) != 0 {
		return -int32(u & (1<<(sketchBits-1) - 1))
	}
	return int32(u)
}

// sketchValue is the middle of what a key stands for.
func sketchValue(k int32) float64 {
	const width = 1 << (64 - sketchBits)
	low := math.Float64frombits(uint64(max(k, -k)) << (64 - sketchBits))
	high := math.Float64frombits(math.Float64bits(low) + width - 1)
	v := low + (high-low)/2
	switch {
	case low == 0 || math.IsInf(low, 0):
		v = low
	case math.IsInf(high, 0) || high != high:
		v = low
	}
	if k < 0 {
		return -v
	}
	return v
}

// denseKeys is how far apart keys may lie for counting rather than sorting.
const denseKeys = 1 << 12

// make counts values that are not absent; it uses up what scratch holds.
func (s *Sketch) make(v []float64, scratch []int32) []int32 {
	scratch = scratch[:0]
	low, high := int32(math.MaxInt32), int32(math.MinInt32)
	for _, x := range v {
		if x == x {
			k := sketchKey(x)
			low, high = min(low, k), max(high, k)
			scratch = append(scratch, k)
		}
	}
	s.keys, s.counts = s.keys[:0], s.counts[:0]
	if len(scratch) > 0 && int64(high)-int64(low) < denseKeys {
		s.tally(scratch, low)
		return scratch
	}
	slices.Sort(scratch)
	for _, k := range scratch {
		s.count(k, 1)
	}
	return scratch
}

// tally counts keys that lie close together.
func (s *Sketch) tally(keys []int32, low int32) {
	var counts [denseKeys]uint32
	for _, k := range keys {
		counts[k-low]++
	}
	for i, n := range counts {
		if n > 0 {
			s.count(low+int32(i), float64(n))
		}
	}
}

// count adds to the last key, or to one beyond it.
func (s *Sketch) count(k int32, by float64) {
	if n := len(s.keys); n > 0 && s.keys[n-1] == k {
		s.counts[n-1] += by
		return
	}
	s.keys, s.counts = append(s.keys, k), append(s.counts, by)
}

// Add counts one more value.
func (s *Sketch) Add(v float64) {
	s.Merge(&Sketch{[]int32{sketchKey(v)}, []float64{1}})
}

// Merge adds what another sketch counted.
func (s *Sketch) Merge(o *Sketch) {
	for i, k := range o.keys {
		at, ok := slices.BinarySearch(s.keys, k)
		if !ok {
			s.keys, s.counts = slices.Insert(s.keys, at, k), slices.Insert(s.counts, at, 0)
		}
		s.counts[at] += o.counts[i]
	}
}

// Count is how many values were counted.
func (s *Sketch) Count() (n float64) {
	for _, c := range s.counts {
		n += c
	}
	return n
}

// Quantile is a value below which a share of the values lies, within 1.6 %; NaN when there are none.
func (s *Sketch) Quantile(share float64) float64 {
	n := s.Count()
	if n == 0 || share != share {
		return math.NaN()
	}
	rank := share * (n - 1)
	for i, c := range s.counts {
		if rank -= c; rank < 0 {
			return sketchValue(s.keys[i])
		}
	}
	return sketchValue(s.keys[len(s.keys)-1])
}

// DaySketch is the sketch of one series and day: its stamps lie in (End−24 h, End].
type DaySketch struct {
	Series metric.Series
	End    int64 // ms
	Sketch Sketch
}

// Sketches walks the days that end in (from, to] (ms) and whose aggregates are stored, series by series, each in
// order of time. Counters and sparse streams have none.
func (db *DB) Sketches(ctx context.Context, from, to int64, matchers ...Matcher) iter.Seq2[DaySketch, error] {
	return func(yield func(DaySketch, error) bool) {
		tasks := db.tasks(from+1, to, matchers)
		each(ctx, db.o.ReadWorkers, len(tasks), func() func(int) ([]DaySketch, error) {
			x := rollupScan{scan: scan{db: db, from: from + 1, to: to}}
			return func(i int) ([]DaySketch, error) { return x.sketches(ctx, tasks[i]) }
		}, yield)
	}
}

func (x *rollupScan) sketches(ctx context.Context, t task) (out []DaySketch, err error) {
	for _, e := range t {
		s := e.stream
		first, last := s.span()
		lo, hi := dayOf(max(x.from, first)), dayOf(min(x.to, last))
		for day := lo; day <= hi && err == nil; day++ {
			if dayEnd(day) > x.to {
				break
			}
			if err = ctx.Err(); err != nil {
				break
			}
			err = view(x.db.ddb, func(tx *bolt.Tx) error {
				found, err := x.open(tx, s, day)
				if err != nil || !found {
					return err
				}
				d := DaySketch{Series: e.series, End: dayEnd(day)}
				if at := x.blk.column(&x.db.catalog.now(t[:1])[0]); at >= 0 {
					if err := x.dec.rollupSketch(&d.Sketch, &x.blk, at); err != nil {
						return err
					}
				}
				if len(d.Sketch.keys) > 0 {
					out = append(out, d)
				}
				return nil
			})
		}
		t = t[1:]
	}
	if err != nil {
		return nil, fmt.Errorf("sketches: %w", err)
	}
	slices.SortStableFunc(out, func(a, b DaySketch) int {
		return cmp.Or(cmp.Compare(a.Series.String(), b.Series.String()), cmp.Compare(a.End, b.End))
	})
	return out, nil
}

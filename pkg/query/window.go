package query

import (
	"context"
	"math"
	"slices"

	"github.com/prometheus/prometheus/util/kahansum"

	"xunjian/pkg/tsdb"
)

// function is one that is worked out at the store.
type function uint8

const (
	avgOf function = iota + 1
	sumOf
	minOf
	maxOf
	countOf
	presentOf
	lastOf
	firstOf
	stddevOf
	stdvarOf
	quantileOf
	rateOf // from here on of the steps between samples
	increaseOf
	deltaOf
	irateOf
	resetsOf
	changesOf
)

var functions = map[string]function{
	"avg_over_time": avgOf, "sum_over_time": sumOf, "min_over_time": minOf, "max_over_time": maxOf,
	"count_over_time": countOf, "present_over_time": presentOf, "last_over_time": lastOf, "first_over_time": firstOf,
	"stddev_over_time": stddevOf, "stdvar_over_time": stdvarOf, "quantile_over_time": quantileOf,
	"rate": rateOf, "increase": increaseOf, "delta": deltaOf, "irate": irateOf, "resets": resetsOf, "changes": changesOf,
}

// fromAggregates reports whether sums, counts, lowest and highest values of parts of a range are enough.
func (f function) fromAggregates() bool { return f <= presentOf }

// window is a function over the ranges (t-span, t] for t = first, first+step, … last.
type window struct {
	fn                      function
	phi                     float64
	span, first, last, step int64 // ms
}

// from is the first stamp within any range.
func (w window) from() int64 { return w.first - w.span + 1 }

// aligned reports whether no range cuts a window of aggregates.
func (w window) aligned() bool {
	const step = tsdb.RollupStep
	return w.span%step == 0 && w.first%step == 0 && (w.step%step == 0 || w.first == w.last)
}

// points are what a series has in all the ranges: samples, or aggregates and samples.
type points struct {
	t      []int64
	v      []float64 // values; of an aggregate their sum
	n      []float64 // how many samples a point stands for; nil: one each
	lo, hi []float64 // lowest and highest; nil with n
}

// samples are points without stale markers, which are no samples.
func samples(t []int64, v []float64) points {
	first := slices.IndexFunc(v, tsdb.IsStale)
	if first < 0 {
		return points{t: t, v: v}
	}
	p := points{t: append(make([]int64, 0, len(t)), t[:first]...), v: append(make([]float64, 0, len(v)), v[:first]...)}
	for i := first; i < len(v); i++ {
		if !tsdb.IsStale(v[i]) {
			p.t, p.v = append(p.t, t[i]), append(p.v, v[i])
		}
	}
	return p
}

// aggregates are points of windows; of a counter only the last value of each is known.
func aggregates(w *tsdb.Windows) points {
	if !w.Raw {
		return points{t: w.At, v: w.Sum, n: w.Count, lo: w.Min, hi: w.Max}
	}
	p := points{t: w.At, n: w.Count, lo: w.Last, hi: w.Last, v: make([]float64, len(w.Last))}
	for i, last := range w.Last {
		p.v[i] = last * w.Count[i]
	}
	return p
}

// exact reports whether the function over aggregates is that over their samples.
func (w window) exact(a *tsdb.Windows) bool {
	switch w.fn {
	case countOf, presentOf:
		return !a.Raw || len(a.At) > 0
	case avgOf, sumOf:
		return !a.Raw && !slices.ContainsFunc(a.Min, enormous) && !slices.ContainsFunc(a.Max, enormous)
	}
	return !a.Raw
}

// join appends later samples to aggregates, or aggregates to earlier samples.
func (p points) join(q points) points {
	if len(p.t) == 0 {
		return q
	}
	if len(q.t) == 0 {
		return p
	}
	p, q = p.counted(), q.counted()
	return points{
		t: slices.Concat(p.t, q.t), v: slices.Concat(p.v, q.v), n: slices.Concat(p.n, q.n),
		lo: slices.Concat(p.lo, q.lo), hi: slices.Concat(p.hi, q.hi),
	}
}

func (p points) counted() points {
	if p.n == nil {
		p.n, p.lo, p.hi = slices.Repeat([]float64{1}, len(p.t)), p.v, p.v
	}
	return p
}

// single are the points as samples: of an aggregate its mean.
func (p points) single() points {
	if p.n == nil {
		return p
	}
	v := make([]float64, len(p.v))
	for i := range v {
		if v[i] = p.lo[i]; p.lo[i] != p.hi[i] { // else without rounding
			v[i] = p.v[i] / p.n[i]
		}
	}
	return points{t: p.t, v: v}
}

// checkEvery is how many samples are worked through between two looks at the context.
const checkEvery = 1 << 20

// each calls fn for every range that holds a point: those from lo up to hi.
func (w window) each(ctx context.Context, t []int64, fn func(at int64, lo, hi int)) error {
	lo, hi, work := 0, 0, 0
	for at := w.first; at <= w.last; at += w.step {
		for hi < len(t) && t[hi] <= at {
			hi++
		}
		for lo < hi && t[lo] <= at-w.span {
			lo++
		}
		if lo == len(t) {
			break
		}
		if lo == hi {
			continue
		}
		if work += hi - lo; work > checkEvery {
			work = 0
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		fn(at, lo, hi)
	}
	return ctx.Err()
}

// reduce works the function out. Its results are those of the engine's functions: the same but for the last bits of a sum.
func (w window) reduce(ctx context.Context, p points, scratch *scratch) (t []int64, v []float64, err error) {
	if !w.fn.fromAggregates() {
		p = p.single()
	}
	if w.fn.isChange() {
		return w.changes(ctx, p)
	}
	value := w.value(p, scratch)
	err = w.each(ctx, p.t, func(at int64, lo, hi int) { t, v = append(t, at), append(v, value(lo, hi)) })
	return t, v, err
}

// value is the function over the points from lo up to hi, both of which only ever rise.
func (w window) value(p points, s *scratch) func(lo, hi int) float64 {
	overlap := w.span > w.step && w.first+w.step <= w.last
	switch w.fn {
	case presentOf:
		return func(int, int) float64 { return 1 }
	case lastOf:
		return func(_, hi int) float64 { return p.v[hi-1] }
	case firstOf:
		return func(lo, _ int) float64 { return p.v[lo] }
	case countOf:
		return p.count(overlap)
	case minOf:
		return p.extreme(p.lo, overlap, func(cur, best float64) bool { return cur < best || math.IsNaN(best) })
	case maxOf:
		return p.extreme(p.hi, overlap, func(cur, best float64) bool { return cur > best || math.IsNaN(best) })
	case sumOf:
		return p.sum(overlap, func(lo, hi int) float64 { return sum(p.v[lo:hi]) }, func(t total, _ float64) float64 { return t.value() })
	case avgOf:
		return p.sum(overlap, p.mean(), func(t total, n float64) float64 { return t.sum/n + t.c/n })
	case stddevOf:
		return func(lo, hi int) float64 { return math.Sqrt(variance(p.v[lo:hi])) }
	case stdvarOf:
		return func(lo, hi int) float64 { return variance(p.v[lo:hi]) }
	default:
		return func(lo, hi int) float64 { return s.quantile(w.phi, p.v[lo:hi]) }
	}
}

// count adds counts up; they are integers, so that differences of running sums are exact.
func (p points) count(overlap bool) func(lo, hi int) float64 {
	switch {
	case p.n == nil:
		return func(lo, hi int) float64 { return float64(hi - lo) }
	case !overlap:
		return func(lo, hi int) (n float64) {
			for _, c := range p.n[lo:hi] {
				n += c
			}
			return n
		}
	}
	running := make([]float64, len(p.n)+1)
	for i, n := range p.n {
		running[i+1] = running[i] + n
	}
	return func(lo, hi int) float64 { return running[hi] - running[lo] }
}

// extreme finds the best value; NaN is it only when there is nothing else.
func (p points) extreme(v []float64, overlap bool, better func(cur, best float64) bool) func(lo, hi int) float64 {
	if v == nil {
		v = p.v
	}
	if overlap {
		s := slide[float64]{
			at: func(i int) float64 { return v[i] },
			join: func(a, b float64) float64 {
				if better(b, a) {
					return b
				}
				return a
			},
		}
		return s.over
	}
	return func(lo, hi int) float64 {
		best := v[lo]
		for _, x := range v[lo+1 : hi] {
			if better(x, best) {
				best = x
			}
		}
		return best
	}
}

// sum slides over ranges that overlap; near the greatest of numbers it would overflow elsewhere than the engine does, so
// that there, and for ranges apart, plain does it.
func (p points) sum(overlap bool, plain func(lo, hi int) float64, of func(total, float64) float64) func(lo, hi int) float64 {
	if !overlap || slices.ContainsFunc(p.v, enormous) {
		return plain
	}
	s := slide[total]{at: func(i int) total { return total{sum: p.v[i]} }, join: total.add}
	count := p.count(overlap)
	return func(lo, hi int) float64 { return of(s.over(lo, hi), count(lo, hi)) }
}

// enormous values are so great that their sums may overflow, which depends on their order.
func enormous(x float64) bool { return math.Abs(x) > 1e290 && !math.IsInf(x, 0) }

func (p points) mean() func(lo, hi int) float64 {
	if p.n == nil {
		return func(lo, hi int) float64 { return mean(p.v[lo:hi]) }
	}
	count := p.count(false)
	return func(lo, hi int) float64 { return sum(p.v[lo:hi]) / count(lo, hi) }
}

// total is a sum with the error that it has by now.
type total struct{ sum, c float64 }

func (a total) add(b total) total {
	s, c := kahansum.Inc(b.sum, a.sum, a.c)
	return total{s, c + b.c}
}

func (a total) value() float64 {
	if math.IsInf(a.sum, 0) {
		return a.sum
	}
	return a.sum + a.c
}

// sum is the engine's sum_over_time.
func sum(v []float64) float64 {
	var t total
	for _, x := range v {
		t.sum, t.c = kahansum.Inc(x, t.sum, t.c)
	}
	return t.value()
}

// mean is the engine's avg_over_time: a running mean once the sum is too great for a number.
func mean(v []float64) float64 {
	t := total{sum: v[0]}
	for i, x := range v[1:] {
		s, c := kahansum.Inc(x, t.sum, t.c)
		if math.IsInf(s, 0) {
			return meanFrom(v, i+1, t)
		}
		t = total{s, c}
	}
	n := float64(len(v))
	return t.sum/n + t.c/n
}

// meanFrom goes on where the sum of the first i values, t, would overflow.
func meanFrom(v []float64, i int, t total) float64 {
	m, c := t.sum/float64(i), t.c/float64(i)
	for ; i < len(v); i++ {
		n := float64(i + 1)
		q := (n - 1) / n
		m, c = kahansum.Inc(v[i]/n, q*m, q*c)
	}
	return m + c
}

// variance is the engine's stdvar_over_time.
func variance(v []float64) float64 {
	var n, m, cm, aux, caux float64
	for _, x := range v {
		n++
		delta := x - (m + cm)
		m, cm = kahansum.Inc(delta/n, m, cm)
		aux, caux = kahansum.Inc(delta*(x-(m+cm)), aux, caux)
	}
	return (aux + caux) / n
}

// slide joins what lies in a window that only moves forward, without ever taking anything away again: behind mid it has
// what each element makes with all up to mid, from there on it has what all make together.
type slide[A any] struct {
	at     func(i int) A
	join   func(a, b A) A
	behind []A // of base … mid-1
	back   A   // of mid … hi-1, if mid < hi
	base   int
	mid    int
	hi     int
}

func (s *slide[A]) over(lo, hi int) A {
	if lo >= s.mid {
		s.turn(lo, hi)
		return s.behind[0]
	}
	for ; s.hi < hi; s.hi++ {
		if s.hi == s.mid {
			s.back = s.at(s.hi)
		} else {
			s.back = s.join(s.back, s.at(s.hi))
		}
	}
	if s.hi == s.mid {
		return s.behind[lo-s.base]
	}
	return s.join(s.behind[lo-s.base], s.back)
}

// turn begins anew with a window that has left all behind mid.
func (s *slide[A]) turn(lo, hi int) {
	s.base, s.mid, s.hi = lo, hi, hi
	s.behind = slices.Grow(s.behind[:0], hi-lo)[:hi-lo]
	s.behind[hi-lo-1] = s.at(hi - 1)
	for i := hi - 2; i >= lo; i-- {
		s.behind[i-lo] = s.join(s.at(i), s.behind[i-lo+1])
	}
}

package query

import (
	"math"
	"math/bits"
	"slices"
)

// scratch is memory of one worker, used for one range after the other.
type scratch struct{ sample, near []float64 }

const (
	sampled    = 256  // values that are looked at first
	selectFrom = 2048 // values from which on that is worth it
)

// quantile is the engine's quantile_over_time for φ in [0, 1], found without sorting: by NaN first and then by value, the
// one at φ·(n-1), or between its neighbours in proportion.
func (s *scratch) quantile(phi float64, v []float64) float64 {
	rank := phi * float64(len(v)-1)
	lower := int(rank)
	a, b := s.neighbours(v, lower)
	weight := rank - math.Floor(rank)
	if weight == 0 {
		return a
	}
	return a*(1-weight) + b*weight
}

// neighbours are the values that would stand at k and, if there is one, k+1 if v were sorted.
func (s *scratch) neighbours(v []float64, k int) (float64, float64) {
	if len(v) >= selectFrom {
		if a, b, ok := s.byRange(v, k); ok {
			return a, b
		}
	}
	s.near = s.near[:0]
	for _, x := range v {
		if !math.IsNaN(x) {
			s.near = append(s.near, x)
		}
	}
	return pair(s.near, k, len(v)-len(s.near))
}

// byRange guesses from a sample between which values the wanted ones lie, and so has to look closely at few. ok is false
// when the guess was wrong.
func (s *scratch) byRange(v []float64, k int) (a, b float64, ok bool) {
	s.sample = s.sample[:0]
	for i := 0; i < sampled; i++ {
		if x := v[i*len(v)/sampled]; !math.IsNaN(x) {
			s.sample = append(s.sample, x)
		}
	}
	if len(s.sample) < sampled {
		return 0, 0, false
	}
	slices.Sort(s.sample)
	const slack = sampled / 16 // two standard deviations at the median
	at := k * sampled / len(v)
	least, most := math.Inf(-1), math.Inf(1)
	if i := at - slack; i >= 0 {
		least = s.sample[i]
	}
	if i := at + slack; i < sampled {
		most = s.sample[i]
	}
	below, nans := 0, 0
	s.near = s.near[:0]
	for _, x := range v {
		switch {
		case x < least:
			below++
		case x <= most:
			s.near = append(s.near, x)
		case x != x:
			nans++
		}
	}
	above := len(v) - nans - below - len(s.near)
	if k -= nans + below; k < 0 || k >= len(s.near) || k+1 == len(s.near) && above > 0 {
		return 0, 0, false
	}
	a, b = pair(s.near, k, 0)
	return a, b, true
}

// pair finds the values at k and k+1 of v with as many NaN before it.
func pair(v []float64, k, nans int) (a, b float64) {
	a, b = math.NaN(), math.NaN()
	if k -= nans; k >= 0 {
		a = nth(v, k)
	}
	if k+1 >= 0 && k+1 < len(v) {
		b = v[k+1]
		for _, x := range v[k+1:] {
			b = min(b, x)
		}
	}
	return a, b
}

// nth brings the k-th value of v to its place, with none greater before it and none less after it.
func nth(v []float64, k int) float64 {
	lo, hi := 0, len(v)-1
	for left := 2 * bits.Len(uint(len(v))); lo < hi; left-- {
		if left == 0 { // the values are against us
			slices.Sort(v[lo : hi+1])
			break
		}
		pivot := middle(v[lo], v[lo+(hi-lo)/2], v[hi])
		i, j := lo, hi
		for i <= j {
			for v[i] < pivot {
				i++
			}
			for pivot < v[j] {
				j--
			}
			if i <= j {
				v[i], v[j] = v[j], v[i]
				i, j = i+1, j-1
			}
		}
		switch {
		case k <= j:
			hi = j
		case k >= i:
			lo = i
		default:
			return v[k]
		}
	}
	return v[k]
}

func middle(a, b, c float64) float64 { return max(min(a, b), min(max(a, b), c)) }

package load

import (
	"sync/atomic"
	"time"
)

// histogram counts durations in steps of half a millisecond up to 30 s.
type histogram struct {
	counts [60_000]atomic.Uint64
	most   atomic.Int64
}

const histogramStep = 500 * time.Microsecond

func (h *histogram) add(d time.Duration) {
	h.counts[min(max(0, int(d/histogramStep)), len(h.counts)-1)].Add(1)
	for {
		old := h.most.Load()
		if int64(d) <= old || h.most.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

// reset forgets everything; what is added meanwhile may stay.
func (h *histogram) reset() {
	for i := range h.counts {
		h.counts[i].Store(0)
	}
	h.most.Store(0)
}

// quantile is the upper end of the step that holds it.
func (h *histogram) quantile(q float64) time.Duration {
	var n uint64
	for i := range h.counts {
		n += h.counts[i].Load()
	}
	left := uint64(q*float64(n)) + 1
	for i := range h.counts {
		c := h.counts[i].Load()
		if c >= left {
			return time.Duration(i+1) * histogramStep
		}
		left -= c
	}
	return time.Duration(h.most.Load())
}

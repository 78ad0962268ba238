package inspect

import (
	"slices"
	"time"

	"xunjian/pkg/check"
)

const (
	span     = 5 * time.Minute // of a window
	minRuns  = 5               // a window of fewer says nothing
	maxRuns  = 600             // of a window: half a second's pace
	slowRuns = 2               // windows in a row that make a service slow
)

// runs are a vantage's first answers in windows of five minutes.
type runs struct {
	from  time.Time // of the window in hand
	took  []time.Duration
	late  []bool // those of them that timed out
	over  int    // whole windows in a row of which the 95th percentile was over the threshold
	worst time.Duration
	again bool // the window in hand has just begun after one that was over
}

func (r *runs) add(a check.Attempt, spec check.Spec) {
	r.again = false
	if begin := a.Start.Truncate(span); !begin.Equal(r.from) {
		r.close(begin, spec)
	}
	if len(r.took) < maxRuns {
		r.took, r.late = append(r.took, a.Duration), append(r.late, a.Class == check.ClassTimeout)
	}
}

// close ends the window in hand. One that is missing in between breaks the row.
func (r *runs) close(begin time.Time, spec check.Spec) {
	p95, known := r.p95()
	switch {
	case known && p95 > spec.Slow && begin.Sub(r.from) == span:
		r.over++
		r.worst, r.again = p95, r.over >= slowRuns
	default:
		r.over = 0
	}
	r.from, r.took, r.late = begin, r.took[:0], r.late[:0]
}

// p95 is of all first answers, failed ones too: a request that timed out took as long as it was waited for.
func (r *runs) p95() (time.Duration, bool) {
	if len(r.took) < minRuns {
		return 0, false
	}
	sorted := slices.Sorted(slices.Values(r.took))
	return sorted[(len(sorted)*95+99)/100-1], true
}

// slow says that the window that was just closed is one too many in a row.
func (r *runs) slow() (time.Duration, bool) { return r.worst, r.again }

// timeouts are those of the window in hand, and how many runs it has.
func (r *runs) timeouts() (n, of int) {
	for _, late := range r.late {
		if late {
			n++
		}
	}
	return n, len(r.late)
}

package uplink

import (
	"math/rand/v2"
	"time"
)

// retry is full jitter: anything between nothing and a span that doubles with each failure, so that many agents that
// lost the same collector do not come back together.
type retry struct{ failures int }

const (
	retryBase = 500 * time.Millisecond
	retryCap  = 30 * time.Second
)

func (r *retry) reset() { r.failures = 0 }

// next is how long to wait after one more failure.
func (r *retry) next() time.Duration {
	span := retryBase << min(r.failures, 10)
	r.failures++
	return jitter(min(span, retryCap))
}

// jitter is anything from 0 up to d.
func jitter(d time.Duration) time.Duration { return time.Duration(rand.Int64N(int64(d) + 1)) }

package host

import (
	"context"
	"sync/atomic"
	"time"
)

// crew runs do for 0 … n-1 and hands each answer to got, in the caller's goroutine. One goroutine does them all in turn as
// long as each is done within patience; a slower one keeps that goroutine to itself and another goes on with the rest, so
// that the usual case costs one goroutine and the worst case one for each that hangs.
// It returns when all are done or ctx ends. A call that hangs outlives it: nobody can end a system call. Its answer
// then goes nowhere, and the caller sees to it that the same thing is not asked again meanwhile.
func crew[T any](ctx context.Context, n int, patience time.Duration, do func(int) T, got func(int, T)) {
	if n == 0 {
		return
	}
	type answer struct {
		i     int
		value T
	}
	answers := make(chan answer, n) // room for all, so that a late answer blocks nobody
	var next atomic.Int64
	work := func() {
		for ctx.Err() == nil {
			i := int(next.Add(1)) - 1
			if i >= n {
				return
			}
			answers <- answer{i, do(i)}
		}
	}
	go work()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for left := n; left > 0; {
		select {
		case a := <-answers:
			got(a.i, a.value)
			left--
			timer.Reset(patience)
		case <-timer.C:
			if int(next.Load()) < n {
				go work()
				timer.Reset(patience)
			}
		case <-ctx.Done():
			for { // what came in time counts, whichever case the select chose
				select {
				case a := <-answers:
					got(a.i, a.value)
				default:
					return
				}
			}
		}
	}
}

package tsdb

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
)

// each works through n tasks on several goroutines, each with a worker of its own, and yields what they find. It
// returns when all of them have ended, early when yield says so; an error is yielded once and ends it.
func each[V any](ctx context.Context, workers, n int, newWorker func() func(int) ([]V, error), yield func(V, error) bool) {
	if workers = min(workers, n); workers < 2 {
		eachAlone(ctx, n, newWorker, yield)
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	type found struct {
		values []V
		err    error
	}
	results, next := make(chan found), make(chan int)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for range workers {
		wg.Go(func() {
			work := guarded(newWorker())
			for i := range next {
				var f found
				f.values, f.err = work(i)
				select {
				case results <- f:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	wg.Go(func() {
		defer close(next)
		for i := range n {
			select {
			case next <- i:
			case <-ctx.Done():
				return
			}
		}
	})
	var none V
	for range n {
		select {
		case f := <-results:
			if f.err != nil {
				yield(none, f.err)
				return
			}
			for _, v := range f.values {
				if !yield(v, nil) {
					return
				}
			}
		case <-ctx.Done():
			yield(none, fmt.Errorf("select: %w", ctx.Err()))
			return
		}
	}
}

func eachAlone[V any](ctx context.Context, n int, newWorker func() func(int) ([]V, error), yield func(V, error) bool) {
	var none V
	work := guarded(newWorker())
	for i := range n {
		if err := ctx.Err(); err != nil {
			yield(none, fmt.Errorf("select: %w", err))
			return
		}
		values, err := work(i)
		if err != nil {
			yield(none, err)
			return
		}
		for _, v := range values {
			if !yield(v, nil) {
				return
			}
		}
	}
}

// guarded makes an error of a panic: a fault in one query must not end the process, which pages people.
func guarded[V any](work func(int) ([]V, error)) func(int) ([]V, error) {
	return func(i int) (values []V, err error) {
		defer func() {
			if p := recover(); p != nil {
				values, err = nil, fmt.Errorf("select: a fault of the program: %v\n%s", p, debug.Stack())
			}
		}()
		return work(i)
	}
}

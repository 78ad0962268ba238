package host

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestCrew(t *testing.T) {
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		takes      []time.Duration // of each call
		deadline   time.Duration
		want       []int // calls in the order of their answers
		ends       time.Duration
		goroutines int64 // at most at work at the same time
	}{
		"nothing to do":       {nil, 1000 * ms, nil, 0, 0},
		"all at once":         {make([]time.Duration, 5), 1000 * ms, []int{0, 1, 2, 3, 4}, 0, 1},
		"within patience":     {[]time.Duration{40 * ms, 40 * ms}, 1000 * ms, []int{0, 1}, 80 * ms, 1},
		"one slow":            {[]time.Duration{0, 300 * ms, 0, 0}, 1000 * ms, []int{0, 2, 3, 1}, 300 * ms, 2},
		"two slow":            {[]time.Duration{300 * ms, 200 * ms, 0}, 1000 * ms, []int{2, 1, 0}, 300 * ms, 3},
		"one for ever":        {[]time.Duration{0, time.Hour, 0}, 1000 * ms, []int{0, 2}, 1000 * ms, 2},
		"the last for ever":   {[]time.Duration{0, time.Hour}, 1000 * ms, []int{0}, 1000 * ms, 1},
		"all for ever":        {slices.Repeat([]time.Duration{time.Hour}, 30), 230 * ms, nil, 230 * ms, 5},
		"no time for another": {[]time.Duration{20 * ms, 20 * ms, 20 * ms}, 30 * ms, []int{0}, 30 * ms, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), c.deadline)
				defer cancel()
				var working, most atomic.Int64
				var got []int
				start := time.Now()
				crew(ctx, len(c.takes), patience, func(i int) int {
					for n := working.Add(1); n > most.Load(); {
						most.Store(n)
					}
					defer working.Add(-1)
					time.Sleep(c.takes[i])
					return i * i
				}, func(i, v int) {
					if v != i*i {
						t.Errorf("call %d answers %d", i, v)
					}
					got = append(got, i)
				})
				if took := time.Since(start); took != c.ends {
					t.Errorf("took %v, want %v", took, c.ends)
				}
				if !slices.Equal(got, c.want) || most.Load() != c.goroutines {
					t.Errorf("answers %v by %d goroutines, want %v by %d", got, most.Load(), c.want, c.goroutines)
				}
				time.Sleep(2 * time.Hour) // the late ones end too
			})
		})
	}
}

package agent

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A job that takes longer than its interval misses its own ticks, stays on the grid and delays no other.
func TestSlowJobDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchedule("host-1")
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		ticks := map[string][]time.Time{}
		add := func(name string, every, takes time.Duration) {
			s.start(ctx, job{name: name, every: every, run: func(ctx context.Context, tick time.Time) {
				mu.Lock()
				ticks[name] = append(ticks[name], tick)
				mu.Unlock()
				if late := time.Since(tick); late > time.Millisecond {
					t.Errorf("%s starts %v late", name, late)
				}
				time.Sleep(takes)
			}})
		}
		add("quick", 10*time.Second, time.Second)
		add("slow", 10*time.Second, 25*time.Second)
		time.Sleep(10*time.Minute + time.Second)
		cancel()
		s.wait()
		if n := len(ticks["quick"]); n != 60 {
			t.Errorf("quick ran %d times in ten minutes, want 60", n)
		}
		if n := len(ticks["slow"]); n < 19 || n > 21 {
			t.Errorf("slow ran %d times, want each third tick", n)
		}
		first := ticks["quick"][0]
		for name, ts := range ticks {
			for _, at := range ts {
				if at.Sub(first)%(10*time.Second) != 0 {
					t.Errorf("%s drifted to %v", name, at)
				}
			}
		}
		if s.Missed() < 38 {
			t.Errorf("missed %d ticks, want about 40", s.Missed())
		}
	})
}

// What was not due was not missed, on whatever grid.
func TestMissedTicks(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(1_800_000_000+s), 0) }
	minutes := func(tick time.Time, _ time.Duration) bool { return tick.Unix()%60 == 0 }
	for name, tc := range map[string]struct {
		job        job
		last, next time.Time
		grid       time.Duration
		want       uint64
	}{
		"the first":          {job{}, time.Time{}, at(60), time.Minute, 0},
		"one after another":  {job{}, at(0), at(60), time.Minute, 0},
		"two in between":     {job{}, at(0), at(180), time.Minute, 2},
		"none of them due":   {job{due: minutes}, at(0), at(60), 15 * time.Second, 0},
		"one of them due":    {job{due: minutes}, at(15), at(75), 15 * time.Second, 1},
		"off a coarser grid": {job{due: minutes}, at(30), at(120), time.Minute, 1},
		"a host that slept":  {job{}, at(0), at(86_400), time.Second, 0},
	} {
		if got := tc.job.missed(tc.last, tc.next, tc.grid); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
}

func TestAgentsAreSpread(t *testing.T) {
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	a, b := newSchedule("a").next(now, 10*time.Second), newSchedule("b").next(now, 10*time.Second)
	if a.Equal(b) {
		t.Error("two agents share a grid")
	}
	if !a.After(now) || a.Sub(now) > 10*time.Second {
		t.Errorf("next tick %v after now", a.Sub(now))
	}
}

func TestRestartReplacesJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchedule("x")
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		n := map[int]int{}
		for i := range 2 {
			s.start(ctx, job{name: "same", every: time.Second, run: func(context.Context, time.Time) { mu.Lock(); n[i]++; mu.Unlock() }})
		}
		time.Sleep(10 * time.Second)
		s.stop("same")
		time.Sleep(10 * time.Second)
		cancel()
		s.wait()
		if n[0] != 0 || n[1] < 9 || n[1] > 11 {
			t.Errorf("runs %v, want only the second job for ten seconds", n)
		}
	})
}

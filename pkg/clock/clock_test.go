package clock

import (
	"testing"
	"testing/synctest"
	"time"
)

// setBy is a clock whose machine has been set by d since it was made.
func setBy(d time.Duration) *Clock {
	c := New()
	c.Resume(d)
	return c
}

func TestIntervalsDoNotSeeThatTheClockWasSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, by := range []time.Duration{0, time.Second, -time.Minute, 24 * time.Hour, -24 * time.Hour} {
			c := setBy(by)
			if got := c.Off(); got != by {
				t.Errorf("set by %v: off by %v", by, got)
			}
			begin := c.Now()
			for range 60 {
				time.Sleep(time.Second)
				c.Follow(false)
			}
			if got := c.Now().Sub(begin); got != time.Minute {
				t.Errorf("set by %v: a minute takes %v", by, got)
			}
			if got := c.Now().Round(0).Sub(begin.Round(0)); got != time.Minute {
				t.Errorf("set by %v: by the wall a minute takes %v", by, got)
			}
			if wall := time.Now(); !c.Steady(wall).Equal(c.Now()) {
				t.Errorf("set by %v: %v is %v, want %v", by, wall, c.Steady(wall), c.Now())
			}
		}
	})
}

func TestCalmClockComesNearer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, by := range []time.Duration{30 * time.Second, -30 * time.Second} {
			c := setBy(by)
			last := c.Now()
			for i := range 300 {
				time.Sleep(time.Second)
				c.Follow(true)
				now := c.Now()
				if d := now.Sub(last); d < 900*time.Millisecond || d > 1100*time.Millisecond {
					t.Fatalf("set by %v: second %d takes %v", by, i, d)
				}
				last = now
			}
			if off := c.Off(); off != 0 {
				t.Errorf("set by %v: still off by %v after five minutes", by, off)
			}
		}
	})
}

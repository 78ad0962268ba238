// Package clock tells a time that does not jump when somebody sets the machine's clock.
package clock

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// slew is how fast a clock that may do so comes nearer to the machine's: by a tenth of the time that passes. So an hour is
// made up for in ten, every reading is later than the one before, and no interval is wrong by more than a tenth.
const slew = 10

// Clock agrees with the machine's clock when it is made, and then goes on by the monotonic one. Time in which the machine
// was suspended counts. Readings of one clock may be compared with each other, and as long as Off is zero with time.Now's.
type Clock struct {
	mu    sync.Mutex
	start time.Time     // with its monotonic reading
	shift time.Duration // added to what has passed since
	last  looked
}

// looked is what the machine's other clocks showed when Follow last looked.
type looked struct {
	at   time.Time
	boot time.Duration // since the machine was started, suspended or not
}

// New makes a clock that agrees with the machine's.
func New() *Clock {
	now := time.Now()
	return &Clock{start: now, last: looked{now, sinceBoot()}}
}

// Resume puts a clock that was not read yet off behind the machine's, or ahead where off is negative: where another process,
// whose Off it was, had its own.
func (c *Clock) Resume(off time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shift = -off
}

// Now is the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now()
}

func (c *Clock) now() time.Time { return c.start.Add(time.Since(c.start) + c.shift) }

// Off is how far the machine's clock is ahead of this one, negative where it is behind: how far it was set.
func (c *Clock) Off() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.off()
}

func (c *Clock) off() time.Duration { return time.Now().Round(0).Sub(c.now().Round(0)) }

// Steady brings a moment of the machine's clock, as it is now, to this one.
func (c *Clock) Steady(t time.Time) time.Time { return t.Add(-c.Off()) }

// Follow is to be called each second or so. It takes a suspension over at once, and where nothing depends on exact intervals
// (calm) lets the clock come nearer to the machine's.
func (c *Clock) Follow(calm bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := looked{time.Now(), sinceBoot()}
	passed := next.at.Sub(c.last.at)
	if slept := next.boot - c.last.boot - passed; slept > time.Second {
		c.shift += slept
	}
	c.last = next
	if !calm {
		return
	}
	c.shift += max(-passed/slew, min(c.off(), passed/slew))
}

func sinceBoot() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil { // every kernel since 2.6.39 has it
		return 0
	}
	return time.Duration(t.Nano())
}

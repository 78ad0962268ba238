package pager

import (
	"sync"
	"time"
)

// pace keeps a channel, or a person over a channel, to so many messages a minute. Half of them may go at once after a quiet
// time, the other half is spread over the minute. The last half of those at once is for what is urgent alone: it goes at once
// though lighter messages have used up all that they may, and when that is used up, too, it has the next place.
type pace struct {
	mu    sync.Mutex
	most  float64 // at once; 0: no limit
	kept  float64 // of them for what is urgent
	every time.Duration
	left  float64
	since time.Time // left was true then
}

func newPace(perMinute int) *pace {
	if perMinute <= 0 {
		return &pace{}
	}
	most := max(perMinute/2, 1)
	return &pace{most: float64(most), kept: float64(most / 2), every: time.Minute / time.Duration(max(perMinute-most, 1)), left: float64(most)}
}

// plenty is the room of a channel without a limit.
const plenty = 1 << 30

// room is how many messages may go now, and how long until there is one more; 0 when some may.
func (p *pace) room(now time.Time, urgent bool) (int, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.most == 0 {
		return plenty, 0
	}
	p.fill(now)
	left := p.left
	if !urgent {
		left -= p.kept
	}
	if left >= 1 {
		return int(left), 0
	}
	return 0, time.Duration((1-left)*float64(p.every)) + time.Millisecond
}

// spend takes the room of one message, though there be none: a person who waits for the outcome of a test is not kept.
func (p *pace) spend(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.most > 0 {
		p.fill(now)
		p.left--
	}
}

// unspent gives a place back that was not needed after all.
func (p *pace) unspent() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = min(p.left+1, p.most)
}

// fill lets a clock that was set back cost nothing but a moment.
func (p *pace) fill(now time.Time) {
	if past := now.Sub(p.since); past > 0 && !p.since.IsZero() {
		p.left = min(p.left+float64(past)/float64(p.every), p.most)
	}
	p.since = now
}

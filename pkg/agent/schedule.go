// Package agent wires the host reader and the checks to the uplink: the program on each server.
package agent

import (
	"context"
	"hash/fnv"
	"sync"
	"time"
)

// job is one thing done at each tick of a fixed grid.
type job struct {
	name  string
	every time.Duration
	grid  func(now time.Time) time.Duration             // of the ticks to come, a whole part of every; nil: every
	due   func(tick time.Time, grid time.Duration) bool // says at which of its ticks; nil: at each
	run   func(ctx context.Context, tick time.Time)
}

// schedule runs jobs, each in a goroutine of its own: a slow one misses its own ticks and delays no other.
type schedule struct {
	mu      sync.Mutex
	wg      sync.WaitGroup
	running map[string]context.CancelFunc
	phase   uint64 // shifts this agent's grids, so that a fleet does not ask all at once
	missed  map[string]uint64
}

func newSchedule(agent string) *schedule {
	h := fnv.New64a()
	h.Write([]byte(agent)) // never fails
	return &schedule{running: map[string]context.CancelFunc{}, missed: map[string]uint64{}, phase: h.Sum64()}
}

// start begins a job, stopping one of the same name first.
func (s *schedule) start(ctx context.Context, j job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stop := s.running[j.name]; stop != nil {
		stop()
	}
	ctx, cancel := context.WithCancel(ctx)
	s.running[j.name] = cancel
	s.wg.Go(func() { s.loop(ctx, j) })
}

func (s *schedule) stop(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stop := s.running[name]; stop != nil {
		stop()
		delete(s.running, name)
	}
}

// wait returns when every job has ended.
func (s *schedule) wait() { s.wg.Wait() }

// Missed counts the ticks that passed while the job was still busy with an earlier one.
func (s *schedule) Missed() (n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.missed {
		n += m
	}
	return n
}

func (s *schedule) loop(ctx context.Context, j job) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	last := time.Time{}
	for {
		now, grid := time.Now(), j.every
		if j.grid != nil {
			grid = j.grid(now)
		}
		next := s.next(now, grid)
		if next.Equal(last) { // the timer went off a hair before the tick
			next = next.Add(grid)
		}
		if n := j.missed(last, next, grid); n > 0 {
			s.mu.Lock()
			s.missed[j.name] += n
			s.mu.Unlock()
		}
		timer.Reset(next.Sub(now))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if last = next; j.due == nil || j.due(next, grid) {
			j.run(ctx, next)
		}
	}
}

// next is the first tick after now. The grid hangs on the wall clock, so a step of the clock moves the ticks with it
// and a slow run never shifts them.
func (s *schedule) next(now time.Time, every time.Duration) time.Time {
	ms := every.Milliseconds()
	offset := int64(s.phase % uint64(ms))
	t := now.UnixMilli() - offset
	t = (t/ms+1)*ms + offset
	return now.Add(time.UnixMilli(t).Sub(now.Round(0))) // keeps now's monotonic reading
}

// missed counts the ticks between two at which something was to be done; more than a thousand are a clock that was set, or a
// host that slept.
func (j job) missed(last, next time.Time, grid time.Duration) (n uint64) {
	if last.IsZero() || next.Sub(last) >= 1000*grid {
		return 0
	}
	for t := next.Add(-grid); t.Sub(last) >= time.Millisecond; t = t.Add(-grid) {
		if j.due == nil || j.due(t, grid) {
			n++
		}
	}
	return n
}

package uplink

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	pb "xunjian/proto/uplink/v1"
)

// budget bounds the bytes of all streams' messages that were read and are not settled. Streams that wait for their share
// are served in turn, whatever they ask for; while they wait they are not read, which pushes back on their agents.
type budget struct {
	all     *semaphore.Weighted
	backlog *semaphore.Weighted // half of it: what comes from spools never takes the place of what is fresh
	held    atomic.Int64
}

func newBudget(total int64) *budget {
	return &budget{all: semaphore.NewWeighted(total), backlog: semaphore.NewWeighted(total / 2)}
}

// load is what a message holds until it is settled.
type load struct {
	bytes   int64
	backlog bool
}

// tryTake takes without waiting, and not before those who wait.
func (b *budget) tryTake(l load) bool {
	if l.backlog || !b.all.TryAcquire(l.bytes) {
		return false
	}
	b.held.Add(l.bytes)
	return true
}

func (b *budget) take(ctx context.Context, l load) error {
	if l.backlog {
		if err := b.backlog.Acquire(ctx, l.bytes); err != nil {
			return err
		}
	}
	if err := b.all.Acquire(ctx, l.bytes); err != nil {
		if l.backlog {
			b.backlog.Release(l.bytes)
		}
		return err
	}
	b.held.Add(l.bytes)
	return nil
}

func (b *budget) give(l load) {
	if l.bytes == 0 {
		return
	}
	if l.backlog {
		b.backlog.Release(l.bytes)
	}
	b.all.Release(l.bytes)
	b.held.Add(-l.bytes)
}

var errCrowded = errors.New("the collector has its hands full: come again later")

// What a message is taken to hold beside its own bytes, until all of it is durable.
const (
	reportCost = 256 // and so much for each report
	sampleCost = 16  // and each sample
	packedCost = 8   // frames are taken to unpack to so many times their length
)

// loadOf says what a message will hold. A message that alone is more than a stream's share counts as the whole share.
func (d *decoder) loadOf(e *envelope, most int64) load {
	l := load{bytes: reportCost + int64(len(e.raw))}
	switch m := e.up.GetBody().(type) {
	case *pb.Up_Packed:
		l.backlog = true
		l.bytes += packedCost * int64(len(e.raw))
	case *pb.Up_Batch:
		for _, r := range m.Batch.GetReports() {
			l.bytes += reportCost + sampleCost*int64(d.width(m.Batch, r.GetSchema()))
		}
	}
	l.bytes = min(l.bytes, most)
	return l
}

// width is the number of series of a schema, as it is known or as the message defines it.
func (d *decoder) width(m *pb.Batch, id uint32) (n int) {
	if s := d.schemas[id]; s != nil {
		n = len(s.cols)
	}
	for _, def := range m.GetSchemas() {
		if def.GetId() == id {
			n = max(n, len(def.GetSeries()))
		}
	}
	return n
}

// quota is what one agent may take of the collector's time, through all of its streams one after the other.
type quota struct {
	opens   *rate.Limiter // streams
	reports *rate.Limiter
	bytes   *rate.Limiter
}

// An agent opens a stream when the one before broke, and its Client waits longer each time.
const (
	opensEvery = 2 * time.Second
	opensBurst = 10
)

// quotas are the quotas of all agents that were here.
type quotas struct {
	reports, bytes float64 // a second
	most           int     // agents remembered

	mu sync.Mutex
	by map[string]*quota
}

func (q *quotas) of(agent string) *quota {
	q.mu.Lock()
	defer q.mu.Unlock()
	x := q.by[agent]
	if x == nil {
		if len(q.by) >= q.most {
			clear(q.by) // each agent starts afresh, which is rare and harmless
		}
		const seconds = 4 // what may come at once
		x = &quota{
			opens:   rate.NewLimiter(rate.Every(opensEvery), opensBurst),
			reports: rate.NewLimiter(rate.Limit(q.reports), max(1, seconds*int(q.reports))),
			bytes:   rate.NewLimiter(rate.Limit(q.bytes), max(1, seconds*int(q.bytes))),
		}
		q.by[agent] = x
	}
	return x
}

// pace waits until n more are allowed, and says whether that took time. What is more than a burst counts as a burst.
func pace(ctx context.Context, l *rate.Limiter, n int) (waited bool) {
	n = min(n, l.Burst())
	now := time.Now()
	if l.AllowN(now, n) {
		return false
	}
	r := l.ReserveN(now, n)
	d := r.DelayFrom(now)
	if d <= 0 {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		r.Cancel()
	}
	return true
}

// ackClock wakes sessions that have something to acknowledge, all of them at once: what becomes durable within a few
// milliseconds shares one acknowledgement, and one timer serves everybody.
type ackClock struct {
	mu    sync.Mutex
	due   []*session
	spare []*session
	timer *time.Timer
}

func (a *ackClock) add(x *session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if x.due {
		return
	}
	x.due = true
	a.due = append(a.due, x)
	switch {
	case len(a.due) > 1:
	case a.timer == nil:
		a.timer = time.AfterFunc(ackLinger, a.ring)
	default:
		a.timer.Reset(ackLinger)
	}
}

func (a *ackClock) ring() {
	a.mu.Lock()
	due := a.due
	for _, x := range due {
		x.due = false
	}
	a.due, a.spare = a.spare[:0], nil
	a.mu.Unlock()
	for _, x := range due {
		x.stir()
	}
	clear(due)
	a.mu.Lock()
	a.spare = due
	a.mu.Unlock()
}

package uplink

import (
	"context"
	"time"

	pb "xunjian/proto/uplink/v1"
)

// sendAll sends what waits, fresh batches first and the backlog in the gaps, until the stream ends.
func (c *Client) sendAll(ctx context.Context, l *line) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		up, wait := c.nextFresh(l, time.Now())
		if up == nil {
			up = c.nextGoodbye(l)
		}
		if up == nil && !c.leaving() {
			up, wait = c.nextBacklog(l, time.Now(), wait)
		}
		if up != nil {
			if err := l.stream.Send(up); err != nil {
				return // Recv says why
			}
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		case <-timer.C:
		}
	}
}

// nextFresh is the next message of fresh batches, nil when none is due for a while.
func (c *Client) nextFresh(l *line, now time.Time) (*pb.Up, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	units, wait := c.due(l, now)
	if len(units) == 0 {
		return nil, wait
	}
	batches := make([]Batch, len(units))
	for i, u := range units {
		batches[i] = u.batch
		u.number = l.sent + 1
	}
	m := l.enc.encode(batches...)
	if now.Sub(l.clock) >= clockPace || wasSet(l.clock, now) {
		l.clock, m.WallMs = now, now.UnixMilli()
	}
	c.stats.Sent += uint64(len(units))
	l.sending()
	return &pb.Up{Body: &pb.Up_Batch{Batch: m}}, 0
}

// wasSet says that the wall clock was set between two readings: it went on by another time than the monotonic one.
func wasSet(from, to time.Time) bool {
	return (to.Round(0).Sub(from.Round(0)) - to.Sub(from)).Abs() > time.Second
}

// sending numbers a message and begins to wait for the answer.
func (l *line) sending() {
	if l.acked == l.sent {
		l.watch.Reset(answerWait)
	}
	l.sent++
}

// due is what goes into one message now: all that waits once one of it is urgent or has lingered, up to a message's size.
func (c *Client) due(l *line, now time.Time) (units []*unit, wait time.Duration) {
	wait = time.Hour
	size := 0
	for _, u := range c.units {
		if u.number != 0 {
			continue
		}
		left := u.added.Add(c.opts.Linger).Sub(now)
		if u.urgent || u.alone || c.goodbye != nil {
			left = 0
		}
		wait = min(wait, left)
		if len(units) > 0 && (u.alone || units[0].alone || size+u.wire > l.most) {
			wait = 0
			break
		}
		units = append(units, u)
		size += u.wire
	}
	if wait > 0 {
		return nil, wait
	}
	return units, 0
}

package uplink

import (
	"time"

	"xunjian/pkg/spool"
	pb "xunjian/proto/uplink/v1"
)

// backlog paces what comes from the spool: one message under way at a time, sized so that it takes about half a second,
// and a pause as long as it took, so that fresh batches find the line free at least half of the time.
type backlog struct {
	chunk  int64         // bytes
	number uint64        // of the message under way
	frames []spool.Frame // in it, empty when none is under way
	since  time.Time
	next   time.Time
	alone  int // frames to be sent one by one, as they were refused in company
}

const (
	leastChunk = 4 << 10
	mostChunk  = 256 << 10
	quickChunk = 500 * time.Millisecond // to the acknowledgement; the next may be larger
	slowChunk  = time.Second            // the next must be smaller
)

// nextBacklog is the next message from the spool, nil when there is none or it is not its time.
func (c *Client) nextBacklog(l *line, now time.Time, wait time.Duration) (*pb.Up, time.Duration) {
	if c.opts.Spool == nil {
		return nil, wait
	}
	c.mu.Lock()
	busy, pause, most, n := len(l.backlog.frames) > 0, l.backlog.next.Sub(now), l.backlog.chunk, maxFrames
	if l.backlog.alone > 0 {
		n = 1
	}
	c.mu.Unlock()
	switch {
	case busy:
		return nil, wait
	case pause > 0:
		return nil, min(wait, pause)
	}
	frames, err := c.wanted(n, min(most, int64(l.most)))
	if err != nil {
		c.log.Error("spool cannot be read", "error", err)
		return nil, min(wait, retryCap)
	}
	if len(frames) == 0 {
		return nil, wait
	}
	return c.packed(l, now, frames), 0
}

// wanted is the next frames that are not also under way from memory, and not acknowledged already.
func (c *Client) wanted(n int, size int64) ([]spool.Frame, error) {
	for {
		frames, err := c.opts.Spool.Frames(n, size)
		if err != nil || len(frames) == 0 {
			return nil, err
		}
		c.mu.Lock()
		end := 0
		for end < len(frames) && !c.done[frames[end].Mark] && (len(c.copies) == 0 || c.copies[0].mark.After(frames[end].Mark)) {
			end++
		}
		settled := end == 0 && c.done[frames[0].Mark]
		delete(c.done, frames[0].Mark)
		c.mu.Unlock()
		if !settled {
			return frames[:end], nil
		}
		if err := c.opts.Spool.DropThrough(frames[0].Mark); err != nil {
			return nil, err
		}
	}
}

func (c *Client) packed(l *line, now time.Time, frames []spool.Frame) *pb.Up {
	m := &pb.Packed{}
	for _, f := range frames {
		m.Frames = append(m.Frames, f.Data)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	l.sending()
	l.backlog.frames, l.backlog.since, l.backlog.number = frames, now, l.sent
	return &pb.Up{Body: &pb.Up_Packed{Packed: m}}
}

// delivered is the backlog message that is settled now: its frames, and the refusal if it was one. Nil frames: none is.
func (l *line) delivered() (frames []spool.Frame, refusal *pb.Refuse) {
	if len(l.backlog.frames) == 0 || l.backlog.number > l.acked {
		return nil, nil
	}
	return l.backlog.frames, l.refused[l.backlog.number]
}

// settleBacklog drops the frames that were delivered. Those refused in company stay, to be sent again one by one. The
// spool is written without the lock, for Send must not wait for disks; until then the frames count as under way.
func (c *Client) settleBacklog(l *line, frames []spool.Frame, refusal *pb.Refuse) {
	var err error
	if refusal == nil || len(frames) == 1 {
		err = c.opts.Spool.DropThrough(frames[len(frames)-1].Mark)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	b := &l.backlog
	b.alone = max(0, b.alone-1)
	switch {
	case refusal != nil && len(frames) > 1:
		b.alone = len(frames)
	case refusal != nil:
		c.quarantine(refusal, 1)
	default:
		c.stats.Drained += uint64(len(frames))
	}
	if err != nil { // they are sent again, which is harmless
		c.log.Error("spool cannot drop what was delivered", "error", err)
	}
	b.frames = nil
	b.repace(time.Now())
	nudge(c.wake)
}

// repace sets size and time of the next message by how long this one took.
func (b *backlog) repace(now time.Time) {
	took := now.Sub(b.since)
	switch {
	case took < quickChunk:
		b.chunk = min(2*b.chunk, mostChunk)
	case took > slowChunk:
		b.chunk = max(b.chunk/2, leastChunk)
	}
	b.next = now.Add(min(took, retryCap))
}

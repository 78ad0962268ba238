package uplink

import (
	"context"

	pb "xunjian/proto/uplink/v1"
)

// goodbye is a farewell on its way. What it holds is guarded by the client's mutex.
type goodbye struct {
	why    string
	number uint64        // of the message that carries it, 0 before it is sent
	done   chan struct{} // closed when it was acknowledged, or its stream broke
	over   bool          // done is closed
}

// Goodbye tells the collector that the agent ends on purpose and why, after all that was given to Send, and waits until both
// are acknowledged or ctx is done. Without a stream there is nobody to tell, and it returns at once. Nothing is to be sent after it.
func (c *Client) Goodbye(ctx context.Context, why string) {
	b := &goodbye{why: clip(why, maxName), done: make(chan struct{})}
	c.mu.Lock()
	if c.line == nil || c.goodbye != nil {
		c.mu.Unlock()
		return
	}
	c.goodbye = b
	c.mu.Unlock()
	nudge(c.wake)
	select {
	case <-ctx.Done():
	case <-b.done:
	}
}

// nextGoodbye is the farewell once nothing fresh waits any more; it goes out once.
func (c *Client) nextGoodbye(l *line) *pb.Up {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.goodbye == nil || c.goodbye.number != 0 {
		return nil
	}
	l.sending()
	c.goodbye.number = l.sent
	return &pb.Up{Body: &pb.Up_Goodbye{Goodbye: &pb.Goodbye{Why: c.goodbye.why}}}
}

// leaving says that the agent takes its leave, so that nothing waits for company and no backlog is begun.
func (c *Client) leaving() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.goodbye != nil
}

// parted ends the wait of Goodbye when what it waits for has come, or can come no more. The caller holds the mutex.
func (c *Client) parted(l *line, broken bool) {
	b := c.goodbye
	if b == nil || b.over || !broken && (b.number == 0 || l.acked < b.number) {
		return
	}
	b.over = true
	close(b.done)
}

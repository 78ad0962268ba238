package uplink

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"xunjian/pkg/check"
	"xunjian/pkg/spool"
	pb "xunjian/proto/uplink/v1"
)

var (
	errNoSpool   = errors.New("there is no spool")
	errSilent    = fmt.Errorf("the collector said nothing for %v", answerWait)
	errNoWelcome = fmt.Errorf("the collector did not welcome this agent within %v", welcomeWait)
	errBadAck    = errors.New("the collector acknowledged what was never sent")
)

const (
	clockPace   = time.Minute      // how often the agent tells its clock
	steadyAfter = 10 * time.Second // a stream that lasted so long was a good one, and the next failure is a first one
)

// line is one stream to the collector. What it holds is guarded by the client's mutex.
type line struct {
	stream  pb.Uplink_StreamClient
	cancel  context.CancelCauseFunc
	enc     *encoder
	most    int // bytes of a message
	sent    uint64
	acked   uint64
	backlog backlog
	clock   time.Time
	watch   *time.Timer // armed while an answer is owed
	refused map[uint64]*pb.Refuse
}

// stayConnected opens stream after stream until ctx is done.
func (c *Client) stayConnected(ctx context.Context) {
	var pace retry
	creds := credentials.NewTLS(c.opts.TLS)
	for first := true; ; first = false {
		lasted, hint, err := c.connect(ctx, creds)
		if ctx.Err() != nil {
			return
		}
		if lasted > steadyAfter {
			pace.reset()
		}
		wait := pace.next()
		if hint > 0 {
			wait = hint + jitter(hint) // never sooner than asked, and not all together
		}
		c.mu.Lock()
		if !first {
			c.stats.Reconnects++
		}
		changed := c.stats.LastError != err.Error()
		c.stats.LastError = err.Error()
		c.mu.Unlock()
		if changed {
			c.log.Warn("no stream to the collector", "address", c.opts.Address, "error", err, "retry_in", wait.Round(time.Millisecond))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// connect opens a stream and serves it until it breaks. It returns how long it lasted, how long the collector asks to
// stay away, and why it ended.
func (c *Client) connect(ctx context.Context, creds credentials.TransportCredentials) (lasted, hint time.Duration, err error) {
	conn, err := newConn(c.opts.Address, creds.Clone(), c.opts.Dial)
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slow := time.AfterFunc(welcomeWait, func() { cancel(errNoWelcome) })
	defer slow.Stop()
	stream, err := pb.NewUplinkClient(conn).Stream(ctx)
	if err != nil {
		return 0, 0, because(ctx, err)
	}
	welcome, err := c.greet(stream)
	if err != nil {
		return 0, retryHint(stream, err), because(ctx, err)
	}
	slow.Stop()
	began := time.Now()
	l := c.open(stream, cancel, welcome)
	var wg sync.WaitGroup
	wg.Go(func() { c.sendAll(ctx, l) })
	err = c.listen(l)
	cancel(err)
	wg.Wait()
	c.close(l)
	return time.Since(began), retryHint(stream, err), because(ctx, err)
}

// because prefers the reason for which the stream was ended here to gRPC's word that it was.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// retryHint is what a refused agent is told; one that is not welcome at all comes seldom.
func retryHint(stream grpc.ClientStream, err error) time.Duration {
	switch status.Code(err) {
	case codes.ResourceExhausted:
		for _, ms := range stream.Trailer().Get(retryKey) {
			if n, err := strconv.ParseInt(ms, 10, 32); err == nil && n > 0 {
				return min(time.Duration(n)*time.Millisecond, 5*time.Minute)
			}
		}
	case codes.Unauthenticated, codes.PermissionDenied, codes.FailedPrecondition, codes.Aborted:
		return retryCap / 2
	}
	return 0
}

func (c *Client) greet(stream pb.Uplink_StreamClient) (*pb.Down, error) {
	c.mu.Lock()
	hello := &pb.Hello{
		Protocol: protocol, Version: c.opts.Version, Boot: c.opts.Boot, Host: c.opts.Host, Plan: c.plan, WallMs: time.Now().UnixMilli(),
	}
	c.mu.Unlock()
	if err := stream.Send(&pb.Up{Body: &pb.Up_Hello{Hello: hello}}); err != nil {
		_, err = stream.Recv() // says why
		return nil, err
	}
	down, err := stream.Recv()
	if err == nil && down.GetWelcome() == nil {
		err = errors.New("the collector did not welcome this agent: is it a collector?")
	}
	return down, err
}

// open makes a stream the present one.
func (c *Client) open(stream pb.Uplink_StreamClient, cancel context.CancelCauseFunc, down *pb.Down) *line {
	now := time.Now()
	l := &line{stream: stream, cancel: cancel, enc: newEncoder(), most: defaultMaxMessage, clock: now, refused: make(map[uint64]*pb.Refuse)}
	if n := int(down.GetWelcome().GetMaxMessage()); n > 0 {
		l.most = min(n, defaultMaxMessage)
	}
	l.backlog.chunk = leastChunk
	l.watch = time.AfterFunc(answerWait, func() { cancel(errSilent) })
	l.watch.Stop()
	c.mu.Lock()
	c.line = l
	c.stats.Since = now
	c.stats.Skew = now.Sub(time.UnixMilli(down.GetWelcome().GetWallMs()))
	c.stats.LastError = ""
	c.mu.Unlock()
	c.log.Info("stream to the collector is open", "address", c.opts.Address)
	c.adopt(down.GetPlan())
	return l
}

// close takes the stream away. What it carried unacknowledged will be sent again, from the spool where it is there already.
func (c *Client) close(l *line) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l.watch.Stop()
	c.line = nil
	c.parted(l, true)
	c.stats.Since = time.Now()
	kept := c.units[:0]
	for _, u := range c.units {
		u.number = 0
		if u.copied == nil {
			kept = append(kept, u)
			continue
		}
		c.bytes -= u.size
		u.copied.live, u.copied.lost = 0, true
	}
	c.setUnits(kept)
	c.settleCopies()
	nudge(c.keep)
}

// listen hears the collector until the stream breaks.
func (c *Client) listen(l *line) error {
	for {
		down, err := l.stream.Recv()
		if err != nil {
			return err
		}
		c.adopt(down.GetPlan())
		c.hurry(down.GetProbeNow())
		frames, refusal, err := c.heard(l, down)
		if err != nil {
			return err
		}
		if len(frames) > 0 {
			c.settleBacklog(l, frames, refusal)
		}
	}
}

// adopt hands a plan on; one that cannot be read leaves the old one in force.
func (c *Client) adopt(m *pb.Plan) {
	if m == nil {
		return
	}
	p, err := planFromWire(m)
	if err != nil {
		c.log.Error("plan cannot be read", "revision", clip(m.GetRevision(), maxName), "error", err)
		return
	}
	c.mu.Lock()
	news := c.plan != p.Revision
	c.plan = p.Revision
	c.mu.Unlock()
	if news && c.opts.OnPlan != nil {
		c.opts.OnPlan(p)
	}
}

// hurry hands on what the collector wants asked at once.
func (c *Client) hurry(wanted []*pb.ProbeNow) {
	if c.opts.OnProbeNow == nil {
		return
	}
	for _, w := range wanted[:min(len(wanted), maxProbes)] {
		if request := w.GetRequest(); check.ValidName(w.GetCheck()) && len(request) <= maxName {
			c.opts.OnProbeNow(w.GetCheck(), request)
		}
	}
}

// heard settles what the collector refused and acknowledged, and returns what of the backlog was delivered.
func (c *Client) heard(l *line, down *pb.Down) (frames []spool.Frame, refusal *pb.Refuse, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range down.GetRefuse() {
		if r.GetMessage() > l.acked && r.GetMessage() <= l.sent {
			l.refused[r.GetMessage()] = r
		}
	}
	if n := down.GetAck(); n > l.sent {
		return nil, nil, errBadAck
	} else if n > l.acked {
		l.acked = n
		c.settleUnits(l)
		frames, refusal = l.delivered()
		maps.DeleteFunc(l.refused, func(n uint64, _ *pb.Refuse) bool { return n <= l.acked })
	}
	c.parted(l, false)
	if l.acked == l.sent {
		l.watch.Stop()
	} else {
		l.watch.Reset(answerWait)
	}
	nudge(c.wake)
	return frames, refusal, nil
}

// settleUnits lets go of the units that were acknowledged. Those refused in company are sent again one by one, so that one
// bad batch takes no others with it.
func (c *Client) settleUnits(l *line) {
	company := make(map[uint64]int)
	for _, u := range c.units {
		company[u.number]++
	}
	kept := c.units[:0]
	for _, u := range c.units {
		refusal := l.refused[u.number]
		switch {
		case u.number == 0 || u.number > l.acked:
			kept = append(kept, u)
			continue
		case refusal != nil && company[u.number] > 1:
			u.number, u.alone = 0, true
			kept = append(kept, u)
			continue
		case refusal != nil:
			c.quarantine(refusal, 1)
		default:
			c.stats.Acked++
		}
		c.bytes -= u.size
		if u.copied != nil {
			u.copied.live--
		}
	}
	c.setUnits(kept)
	c.settleCopies()
}

// quarantine counts what the collector will never take.
func (c *Client) quarantine(r *pb.Refuse, n int) {
	c.stats.Dropped["refused"] += uint64(n)
	c.log.Error("the collector refused a batch, which is dropped", "reason", clip(r.GetReason(), maxName), "detail", clip(r.GetDetail(), 400))
}

package uplink

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "xunjian/proto/uplink/v1"
)

// read takes the agent's messages one after the other until the stream or the session ends.
func (x *session) read(greeted chan<- struct{}) error {
	if err := x.greet(); err != nil {
		return err
	}
	close(greeted)
	dec := newDecoder(x.hello.Boot, x.server.opts.MaxSeries)
	for {
		select {
		case x.slots <- struct{}{}: // given back when the message is acknowledged
		case <-x.ctx.Done():
			return context.Cause(x.ctx)
		}
		e, err := x.recv()
		if err != nil {
			return err
		}
		if x.isFinal() {
			<-x.ctx.Done()
			return context.Cause(x.ctx)
		}
		holds := dec.loadOf(e, x.server.opts.StreamBytes)
		if err := x.makeRoom(holds, len(e.raw)); err != nil {
			return err
		}
		x.message(dec, e, holds)
	}
}

// makeRoom waits for a message's turn and its share of the memory. Meanwhile nothing more of the stream is read.
func (x *session) makeRoom(holds load, size int) error {
	if pace(x.ctx, x.quota.bytes, size) {
		x.server.throttled.Add(1)
	}
	if err := x.share.Acquire(x.ctx, holds.bytes); err != nil {
		return context.Cause(x.ctx)
	}
	if x.server.budget.tryTake(holds) {
		return nil
	}
	ctx, cancel := context.WithTimeout(x.ctx, x.server.opts.Patience)
	defer cancel()
	if err := x.server.budget.take(ctx, holds); err != nil {
		x.share.Release(holds.bytes)
		if x.ctx.Err() != nil {
			return context.Cause(x.ctx)
		}
		x.server.rejected.add("crowded")
		return x.server.later(x.stream, x.id.agent, 0, errCrowded)
	}
	return nil
}

// isFinal says that nothing more is to be read.
func (x *session) isFinal() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.final != nil || x.ctx.Err() != nil
}

// recv reads the next message; the one before is no longer valid.
func (x *session) recv() (*envelope, error) {
	e := &x.envelope
	err := x.stream.RecvMsg(e)
	if errors.Is(err, io.EOF) {
		return nil, errFinished
	}
	if status.Code(err) == codes.ResourceExhausted {
		x.server.refused.add(faultSize)
	}
	return e, err
}

// greet reads the hello and makes this the agent's one stream.
func (x *session) greet() error {
	e, err := x.recv()
	if err != nil {
		return err
	}
	h := e.up.GetHello()
	if e.fault != nil || h == nil || h.GetBoot() == 0 {
		x.server.rejected.add("bad_hello")
		return status.Error(codes.InvalidArgument, "the first message must be a hello")
	}
	if h.GetProtocol() != protocol {
		x.server.rejected.add("protocol")
		return status.Errorf(codes.FailedPrecondition, "the agent speaks protocol %d, the collector %d: update the older one", h.GetProtocol(), protocol)
	}
	now := x.server.opts.Now()
	x.hello = Hello{
		Version: clip(h.GetVersion(), maxName), Boot: h.GetBoot(), Host: clip(h.GetHost(), maxName), Plan: clip(h.GetPlan(), maxName),
		Peer: x.id.addr, Serial: x.id.serial(), NotAfter: x.id.cert.NotAfter,
	}
	if err := x.server.enter(x); err != nil {
		return err
	}
	x.welcome = &pb.Welcome{WallMs: now.UnixMilli(), MaxMessage: uint32(x.server.opts.MaxMessage)}
	x.stir()
	x.heard(now, h.GetWallMs(), true)
	return nil
}

// protocol is the version of what is said on a stream.
const protocol = 1

// heard tells the receiver of the agent's clock.
func (x *session) heard(now time.Time, wall int64, first bool) {
	if r, ok := x.server.opts.Receiver.(Hearer); ok {
		h := x.hello
		h.At, h.Skew, h.First = now, time.UnixMilli(wall).Sub(now), first
		r.Heard(x.id.agent, h)
	}
}

// message deals with one message, part by part, so that no more than one is unpacked at a time. What is refused is told
// before it is acknowledged; the agent sends parts that were refused in company again, one by one.
func (x *session) message(dec *decoder, e *envelope, holds load) {
	open := x.parts(dec, e)
	parts := make([]part, len(open))
	x.mu.Lock()
	n := x.ledger.begin(len(open), holds)
	x.mu.Unlock()
	x.server.messages.Add(1)
	var f *fault
	for i := range open {
		if f = x.take(open[i], func(err error) { parts[i].done(x, n, err) }); f != nil {
			break
		}
	}
	if f == nil {
		return
	}
	x.refuse(n, f, e.raw)
	for i := range parts {
		parts[i].done(x, n, nil)
	}
	if f.broken {
		x.finish(status.Errorf(codes.InvalidArgument, "message %d is refused and what follows it cannot be understood: %v", n, clip(f.Error(), 400)))
	}
}

// part is a batch of a message, on its way to the disk.
type part struct{ once sync.Once }

// done is called when the part is durable, and not twice for the same part in effect.
func (p *part) done(x *session, n uint64, err error) {
	p.once.Do(func() {
		switch {
		case err == nil:
			x.settle(n)
			x.heal()
		case errors.Is(err, ErrBusy):
			x.withhold(n)
		default:
			x.server.rejected.add("not_stored")
			x.end(status.Errorf(codes.Unavailable, "the collector could not store: %v", clip(err.Error(), 200)))
		}
	})
}

// opener reads a part of a message.
type opener func() (Batch, *fault)

// parts is how to read a message: at least one part, which may hold nothing.
func (x *session) parts(dec *decoder, e *envelope) []opener {
	switch m := e.up.GetBody().(type) {
	case *pb.Up_Batch:
		return []opener{func() (Batch, *fault) {
			if wall := m.Batch.GetWallMs(); wall != 0 {
				x.heard(x.server.opts.Now(), wall, false)
			}
			return dec.decode(m.Batch)
		}}
	case *pb.Up_Goodbye:
		if r, ok := x.server.opts.Receiver.(Leaver); ok {
			r.Leaves(x.id.agent, x.server.opts.Now(), clip(m.Goodbye.GetWhy(), maxName))
		}
	case *pb.Up_Packed:
		if n := len(m.Packed.GetFrames()); n > 0 && n <= maxFrames {
			return x.frames(m.Packed.GetFrames())
		} else if n > maxFrames {
			e.fault = faultf(faultSize, "%d frames, at most %d are taken", n, maxFrames)
		}
	}
	return []opener{func() (Batch, *fault) { return Batch{}, e.fault }} // without a fault, a message of a later version
}

func (x *session) frames(frames [][]byte) []opener {
	room := maxMessageUnpacked
	out := make([]opener, len(frames))
	for i, raw := range frames {
		out[i] = func() (Batch, *fault) {
			b, size, f := unpack(raw, min(room, maxUnpacked), x.server.opts.MaxSeries)
			room -= size
			if f != nil {
				f = faultf(f.reason, "frame %d: %s", i, f.detail)
				f.raw = raw
			}
			return b, f
		}
	}
	return out
}

// take reads a part and gives it to the receiver. What cannot be read, and what the receiver refuses or panics over, is a fault.
func (x *session) take(open opener, durable func(error)) (f *fault) {
	opened := false
	var b Batch
	defer func() {
		if p := recover(); p != nil {
			x.log.Error("a message made the collector panic", "panic", p, "stack", string(debug.Stack()))
			f = &fault{reason: faultPanic, detail: "the collector cannot process this message", broken: !opened}
			if opened {
				f.raw = alone(x.hello.Boot, b)
			}
		}
	}()
	b, f = open()
	if f != nil {
		return f
	}
	opened = true
	if len(b.Reports)+len(b.Results) == 0 {
		durable(nil)
		return nil
	}
	for i := range b.Reports {
		b.Reports[i].Agent = x.id.agent
	}
	if pace(x.ctx, x.quota.reports, len(b.Reports)) {
		x.server.throttled.Add(1)
	}
	err := x.server.opts.Receiver.Receive(x.ctx, x.id.agent, b, durable)
	if err == nil || x.ctx.Err() != nil { // when the stream has ended meanwhile, nothing is wrong with the batch
		return nil
	}
	return faultf(faultReceiver, "%v", err)
}

// alone is a batch as a frame that needs no history: the same for each sending of the batch, and readable by itself.
func alone(boot uint64, b Batch) (frame []byte) {
	defer func() {
		if recover() != nil { // what one part of the program stumbles over may well trip another
			frame = nil
		}
	}()
	frame, err := pack(boot, []Batch{b})
	if err != nil {
		return nil
	}
	return frame
}

// settle settles a part of a message.
func (x *session) settle(n uint64) {
	x.mu.Lock()
	if x.over {
		x.mu.Unlock()
		return
	}
	free, through := x.ledger.settle(n)
	x.mu.Unlock()
	if free.bytes > 0 {
		x.share.Release(free.bytes)
		x.server.budget.give(free)
	}
	for range through {
		<-x.slots
	}
	if through > 0 {
		x.server.acks.add(x)
	}
}

// letGo gives back what the session's unsettled messages hold, once no more can come.
func (x *session) letGo() {
	x.mu.Lock()
	x.over = true
	if x.resend != nil {
		x.resend.Stop()
	}
	held := x.ledger.abandon()
	x.mu.Unlock()
	for _, l := range held {
		x.server.budget.give(l)
	}
}

// refuse counts a message, logs it with its hash, and has it told to the agent before any acknowledgement of it. What
// nobody could make sense of is kept for those who mend it.
func (x *session) refuse(n uint64, f *fault, raw []byte) {
	if f.raw != nil {
		raw = f.raw
	}
	sum := sha256.Sum256(raw)
	x.server.refused.add(f.reason)
	x.log.Warn("message refused", "message", n, "reason", f.reason, "detail", clip(f.detail, 400),
		"bytes", len(raw), "sha256", hex.EncodeToString(sum[:]))
	if x.server.opts.Quarantine != nil && poisonous[f.reason] {
		x.server.opts.Quarantine(Poison{
			Agent: x.id.agent, At: time.Now(), Reason: f.reason, Detail: clip(f.detail, 400), Sum: hex.EncodeToString(sum[:]), Bytes: raw,
		})
	}
	x.mu.Lock()
	x.refusals = append(x.refusals, &pb.Refuse{Message: n, Reason: f.reason, Detail: clip(fmt.Sprintf("%s (sha256 %x)", f.detail, sum[:6]), 400)})
	x.mu.Unlock()
	x.stir()
}

// poisonous are the reasons that point at a fault in a program, on either end.
var poisonous = map[string]bool{faultProtobuf: true, faultValues: true, faultFrame: true, faultPanic: true}

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
		x.message(dec, e)
	}
}

// isFinal says that nothing more is to be read.
func (x *session) isFinal() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.final != nil || x.ctx.Err() != nil
}

func (x *session) recv() (*envelope, error) {
	e := &envelope{}
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
	now := time.Now()
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

// message deals with one message. What is refused is told before it is acknowledged.
func (x *session) message(dec *decoder, e *envelope) {
	batches, f := x.open(dec, e)
	x.mu.Lock()
	n := x.ledger.begin(max(len(batches), 1))
	x.mu.Unlock()
	x.server.mu.Lock()
	x.server.messages++
	x.server.mu.Unlock()
	parts := make([]part, max(len(batches), 1))
	for i := range batches {
		if f != nil {
			break
		}
		f = x.hand(batches[i], func(err error) { parts[i].done(x, n, err) })
	}
	if f != nil {
		x.refuse(n, f, e.raw)
	}
	if f != nil || len(batches) == 0 {
		for i := range parts {
			parts[i].done(x, n, nil)
		}
	}
	if f != nil && f.broken {
		x.finish(status.Errorf(codes.InvalidArgument, "message %d is refused and what follows it cannot be understood: %v", n, clip(f.Error(), 400)))
	}
}

// part is a batch of a message, on its way to the disk.
type part struct{ once sync.Once }

// done is called when the part is durable, and not twice for the same part in effect.
func (p *part) done(x *session, n uint64, err error) {
	p.once.Do(func() {
		if err != nil {
			x.server.rejected.add("not_stored")
			x.end(status.Errorf(codes.Unavailable, "the collector could not store: %v", clip(err.Error(), 200)))
			return
		}
		x.settle(n)
	})
}

// open reads a message. Its batches are empty when there is a fault.
func (x *session) open(dec *decoder, e *envelope) (batches []Batch, f *fault) {
	defer func() {
		if p := recover(); p != nil {
			x.log.Error("decoder panicked", "panic", p, "stack", string(debug.Stack()))
			batches, f = nil, &fault{faultPanic, "this message cannot be decoded", true}
		}
	}()
	if e.fault != nil {
		return nil, e.fault
	}
	switch m := e.up.GetBody().(type) {
	case *pb.Up_Batch:
		if wall := m.Batch.GetWallMs(); wall != 0 {
			x.heard(time.Now(), wall, false)
		}
		b, f := dec.decode(m.Batch)
		if f != nil || len(b.Reports)+len(b.Results) == 0 {
			return nil, f
		}
		return []Batch{b}, nil
	case *pb.Up_Packed:
		return x.unpackAll(m.Packed.GetFrames())
	}
	return nil, nil // of a later version: nothing to keep
}

func (x *session) unpackAll(frames [][]byte) ([]Batch, *fault) {
	if len(frames) > maxFrames {
		return nil, faultf(faultSize, "%d frames, at most %d are taken", len(frames), maxFrames)
	}
	batches := make([]Batch, 0, len(frames))
	for i, raw := range frames {
		b, f := unpack(raw, x.server.opts.MaxSeries)
		if f != nil {
			return nil, faultf(f.reason, "frame %d: %s", i, f.detail)
		}
		batches = append(batches, b)
	}
	return batches, nil
}

// hand gives a batch to the receiver; what it refuses, or panics over, is a fault.
func (x *session) hand(b Batch, durable func(error)) (f *fault) {
	defer func() {
		if p := recover(); p != nil {
			x.log.Error("receiver panicked", "panic", p, "stack", string(debug.Stack()))
			f = faultf(faultPanic, "the collector cannot process this message")
		}
	}()
	for i := range b.Reports {
		b.Reports[i].Agent = x.id.agent
	}
	err := x.server.opts.Receiver.Receive(x.ctx, x.id.agent, b, durable)
	if err == nil || x.ctx.Err() != nil { // when the stream has ended meanwhile, nothing is wrong with the batch
		return nil
	}
	return faultf(faultReceiver, "%v", err)
}

// settle settles a part of a message.
func (x *session) settle(n uint64) {
	x.mu.Lock()
	through := x.ledger.settle(n)
	x.mu.Unlock()
	for range through {
		<-x.slots
	}
	if through > 0 {
		x.stir()
	}
}

// refuse quarantines a message: it is counted, logged with its hash, and told to the agent before any acknowledgement of it.
func (x *session) refuse(n uint64, f *fault, raw []byte) {
	sum := sha256.Sum256(raw)
	x.server.refused.add(f.reason)
	x.log.Warn("message refused", "message", n, "reason", f.reason, "detail", clip(f.detail, 400),
		"bytes", len(raw), "sha256", hex.EncodeToString(sum[:]))
	x.mu.Lock()
	x.refusals = append(x.refusals, &pb.Refuse{Message: n, Reason: f.reason, Detail: clip(fmt.Sprintf("%s (sha256 %x)", f.detail, sum[:6]), 400)})
	x.mu.Unlock()
	x.stir()
}

package uplink

import (
	"context"
	"testing"
	"time"

	pb "xunjian/proto/uplink/v1"
)

func (r *receiver) Leaves(agent string, at time.Time, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left = append(r.left, leave{agent, why, len(r.seen)})
}

// leave is a farewell, and how many reports had been received before it.
type leave struct {
	agent, why string
	after      int
}

func (r *receiver) leaves() []leave {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]leave(nil), r.left...)
}

// The goodbye is the last word: what waits for company goes before it, and both are acknowledged when it returns.
func TestGoodbye(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		a := r.agent("srv-1", nil)
		time.Sleep(time.Second)
		a.Send(host(0), false)
		a.Goodbye(t.Context(), "SIGTERM")
		if got := r.recv.leaves(); len(got) != 1 || got[0] != (leave{"srv-1", "SIGTERM", 1}) {
			t.Errorf("left: %+v", got)
		}
		if st := a.Stats(); st.Acked != 1 || st.Waiting != 0 {
			t.Errorf("%+v", st)
		}
		a.stop()
		if got := r.recv.leaves(); len(got) != 1 {
			t.Errorf("said more than once: %+v", got)
		}
	})
}

// Nobody waits for a goodbye that cannot be said or heard: no stream, one that breaks, a collector that does not answer.
func TestGoodbyeWaitsForNobody(t *testing.T) {
	took := func(fn func()) time.Duration {
		begin := time.Now()
		fn()
		return time.Since(begin)
	}
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.down(true)
		a := r.agent("srv-1", nil)
		defer a.stop()
		time.Sleep(time.Minute)
		if d := took(func() { a.Goodbye(t.Context(), "SIGTERM") }); d != 0 {
			t.Errorf("without a stream it took %v", d)
		}
	})
	bubble(t, nil, func(t *testing.T, r *rig) {
		a := r.agent("srv-1", nil)
		defer a.stop()
		time.Sleep(time.Second)
		r.recv.set(func() { r.recv.slow = time.Minute })
		a.Send(host(0), true)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if d := took(func() { a.Goodbye(ctx, "SIGTERM") }); d != 2*time.Second {
			t.Errorf("with a slow collector it took %v", d)
		}
		if got := r.recv.leaves(); len(got) != 1 {
			t.Errorf("the collector heard %+v", got)
		}
	})
	bubble(t, nil, func(t *testing.T, r *rig) {
		a := r.agent("srv-1", nil)
		defer a.stop()
		time.Sleep(time.Second)
		r.recv.set(func() { r.recv.slow = time.Minute })
		a.Send(host(0), true)
		time.AfterFunc(3*time.Second, r.cut)
		if d := took(func() { a.Goodbye(t.Context(), "SIGTERM") }); d != 3*time.Second {
			t.Errorf("with a broken stream it took %v", d)
		}
	})
}

// A collector that knows no goodbye takes it for an empty message, as any of a later version.
func TestGoodbyeToOlder(t *testing.T) {
	bubble(t, func(o *ServerOptions) { o.Receiver = struct{ Receiver }{o.Receiver} }, func(t *testing.T, r *rig) {
		a := r.agent("srv-1", nil)
		defer a.stop()
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		a.Goodbye(ctx, "SIGTERM")
		if st := r.server.Stats(); ctx.Err() != nil || len(st.Refused) != 0 {
			t.Errorf("ended %v, refused %v", ctx.Err(), st.Refused)
		}
	})
	var e envelope
	e.open([]byte{0x7a, 0x02, 0x0a, 0x00}, 1<<20) // field 15, of a later version still
	if _, known := e.up.GetBody().(*pb.Up_Goodbye); known || e.fault != nil || e.up.GetBody() != nil {
		t.Errorf("body %v, fault %v", e.up.GetBody(), e.fault)
	}
}

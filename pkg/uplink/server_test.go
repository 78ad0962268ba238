package uplink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"xunjian/pkg/check"
	"xunjian/pkg/metric"
	pb "xunjian/proto/uplink/v1"
)

// rawCodec sends bytes as they are.
type rawCodec struct{ envelopeCodec }

func (c rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	if b, ok := v.([]byte); ok {
		return mem.BufferSlice{mem.SliceBuffer(b)}, nil
	}
	return c.envelopeCodec.Marshal(v)
}

// caller is an agent's end without manners.
type caller struct {
	t      *testing.T
	conn   *grpc.ClientConn
	stream grpc.ClientStream
	enc    *encoder
	seq    uint64
}

func (r *rig) caller(t *testing.T, config *tls.Config) *caller {
	t.Helper()
	conn, err := newConn("collector:7443", credentials.NewTLS(config), r.dial)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := conn.NewStream(t.Context(), &pb.Uplink_ServiceDesc.Streams[0], pb.Uplink_Stream_FullMethodName, grpc.ForceCodecV2(rawCodec{}))
	if err != nil {
		conn.Close()
		t.Fatal(err)
	}
	return &caller{t: t, conn: conn, stream: stream, enc: newEncoder()}
}

func (r *rig) greeted(t *testing.T, name string, boot uint64, host string) *caller {
	t.Helper()
	c := r.caller(t, must(r.ca.identity(name).TLS()))
	c.hello(boot, host)
	if d := c.recv(); d.GetWelcome() == nil {
		t.Fatalf("no welcome but %v", d)
	}
	return c
}

func (c *caller) hello(boot uint64, host string) {
	c.send(&pb.Up{Body: &pb.Up_Hello{Hello: &pb.Hello{Protocol: protocol, Boot: boot, Host: host, WallMs: time.Now().UnixMilli()}}})
}

func (c *caller) send(m any) {
	c.t.Helper()
	if err := c.stream.SendMsg(m); err != nil && !errors.Is(err, io.EOF) {
		c.t.Fatal(err)
	}
}

func (c *caller) batch(b Batch) {
	c.t.Helper()
	for i := range b.Reports {
		c.seq++
		b.Reports[i].Seq = c.seq
	}
	c.send(&pb.Up{Body: &pb.Up_Batch{Batch: c.enc.encode(b)}})
}

func (c *caller) recv() *pb.Down {
	c.t.Helper()
	d := &pb.Down{}
	if err := c.stream.RecvMsg(d); err != nil {
		c.t.Fatal(err)
	}
	return d
}

// end reads to the end of the stream and returns all refusals, the last acknowledgement and the status.
func (c *caller) end() (refused []*pb.Refuse, ack uint64, err error) {
	for {
		d := &pb.Down{}
		if err := c.stream.RecvMsg(d); err != nil {
			c.conn.Close()
			return refused, ack, err
		}
		refused, ack = append(refused, d.GetRefuse()...), max(ack, d.GetAck())
	}
}

func TestBadMessagesAreRefusedAndTheStreamLives(t *testing.T) {
	bubble(t, func(o *ServerOptions) { o.MaxSeries = 50 }, func(t *testing.T, r *rig) {
		c := r.greeted(t, "srv-1", 1, "")
		c.batch(host(1))
		bad := report("bad", 1)
		bad.Samples[2].Series.Labels[0].Name = "z" // before "kind"
		c.batch(Batch{Reports: []metric.Report{bad}})
		c.batch(host(2))
		c.send(&pb.Up{Body: &pb.Up_Batch{Batch: &pb.Batch{Reports: []*pb.Report{{Schema: 77}}}}})
		c.enc.seq++
		c.send(&pb.Up{Body: &pb.Up_Packed{Packed: &pb.Packed{Frames: [][]byte{[]byte("junk")}}}})
		c.send([]byte{0x98, 0x06, 0x01}) // an unknown field of a later version
		c.send(&pb.Up{})
		c.batch(host(3))
		time.Sleep(time.Second)
		c.stream.CloseSend()
		refused, ack, err := c.end()
		if !errors.Is(err, io.EOF) {
			t.Errorf("stream ended with %v", err)
		}
		var got []string
		for _, x := range refused {
			got = append(got, fmt.Sprint(x.Message, " ", x.Reason))
		}
		if want := []string{"2 bad_label", "4 unknown_schema", "5 bad_frame"}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("refused %v, want %v", got, want)
		}
		if ack != 8 || r.recv.count() != 3 {
			t.Errorf("acknowledged %d of 8, stored %d of 3", ack, r.recv.count())
		}
		if st := r.server.Stats(); st.Refused["bad_label"] != 1 || st.Messages != 8 {
			t.Errorf("%+v", st)
		}
	})
}

func TestBrokenMessagesEndTheStreamWithAReason(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		send   func(c *caller)
	}{
		"malformed": {faultProtobuf, func(c *caller) { c.send([]byte{0x12, 0xff, 0xff}) }},
		"too large": {faultSize, func(c *caller) { c.send(make([]byte, 1<<20+1)) }},
		"bad row": {faultValues, func(c *caller) {
			_, m := wireOf(1)
			m.Reports[0].Values = m.Reports[0].Values[:1]
			c.send(&pb.Up{Body: &pb.Up_Batch{Batch: m}})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, nil, func(t *testing.T, r *rig) {
				x := r.greeted(t, "srv-1", 1, "")
				x.batch(host(1))
				c.send(x)
				x.batch(host(2))
				refused, ack, err := x.end()
				if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), c.reason) {
					t.Errorf("ended with %v", err)
				}
				if len(refused) != 1 || refused[0].Message != 2 || refused[0].Reason != c.reason || ack != 2 {
					t.Errorf("refused %v, acknowledged %d", refused, ack)
				}
				if r.recv.count() != 1 || r.server.Stats().Refused[c.reason] != 1 {
					t.Errorf("stored %d, %+v", r.recv.count(), r.server.Stats())
				}
			})
		})
	}
}

// TestUnpackedTogether: frames that are small one by one may not unpack to more than a message's worth together.
func TestUnpackedTogether(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		c := r.greeted(t, "srv-1", 1, "")
		var many []Batch
		for n := range 2000 {
			b := probe(fmt.Sprint("check-", n%50), n, check.Fail)
			b.Results[0].Attempts[0].Reason = strings.Repeat("x", 900)
			b.Reports[0].Seq = uint64(n + 1)
			many = append(many, b)
		}
		frame := must(pack(1, many))
		for _, n := range []int{3, 20} {
			m := &pb.Packed{}
			for range n {
				m.Frames = append(m.Frames, frame)
			}
			c.send(&pb.Up{Body: &pb.Up_Packed{Packed: m}})
		}
		c.send(&pb.Up{Body: &pb.Up_Packed{Packed: &pb.Packed{Frames: make([][]byte, maxFrames+1)}}})
		time.Sleep(time.Minute) // so many reports at once are not read at once
		c.stream.CloseSend()
		refused, ack, _ := c.end()
		if len(refused) != 2 || refused[0].Message != 2 || refused[0].Reason != faultSize || refused[1].Message != 3 || ack != 3 {
			t.Errorf("acknowledged %d of frames of %d bytes, refused %v", ack, len(frame), refused)
		}
		if r.recv.count() != 2000 {
			t.Errorf("stored %d", r.recv.count())
		}
	})
}

func TestHugeMessageEndsTheStream(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		c := r.greeted(t, "srv-1", 1, "")
		c.send(make([]byte, 3<<20))
		if _, _, err := c.end(); status.Code(err) != codes.ResourceExhausted {
			t.Errorf("ended with %v", err)
		}
		if n := r.server.Stats().Refused[faultSize]; n != 1 {
			t.Errorf("%d counted", n)
		}
	})
}

func TestBadHello(t *testing.T) {
	for name, c := range map[string]struct {
		first any
		code  codes.Code
	}{
		"batch first":    {&pb.Up{Body: &pb.Up_Batch{}}, codes.InvalidArgument},
		"no boot":        {&pb.Up{Body: &pb.Up_Hello{Hello: &pb.Hello{Protocol: protocol}}}, codes.InvalidArgument},
		"other protocol": {&pb.Up{Body: &pb.Up_Hello{Hello: &pb.Hello{Protocol: 9, Boot: 1}}}, codes.FailedPrecondition},
		"malformed":      {[]byte{0xff}, codes.InvalidArgument},
		"nothing":        {nil, codes.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, nil, func(t *testing.T, r *rig) {
				x := r.caller(t, must(r.ca.identity("srv-1").TLS()))
				if c.first != nil {
					x.send(c.first)
				}
				if _, _, err := x.end(); status.Code(err) != c.code {
					t.Errorf("ended with %v", err)
				}
				if st := r.server.Stats(); st.Streams != 0 || len(st.Rejected) != 1 {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

// TestAcksFollowTheOrder: what is durable early waits for what came before it.
func TestAcksFollowTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		held := &holder{}
		r := newRig(t, func(o *ServerOptions) { o.Receiver = held })
		c := r.greeted(t, "srv-1", 1, "")
		for n := range 4 {
			c.batch(host(n))
		}
		time.Sleep(time.Second)
		held.release(2, nil)
		held.release(1, nil)
		held.release(1, nil) // twice is once
		time.Sleep(time.Second)
		held.release(0, nil)
		if d := c.recv(); d.Ack != 3 {
			t.Errorf("acknowledged %d, want 3", d.Ack)
		}
		held.release(3, errors.New("disk full"))
		if _, ack, err := c.end(); status.Code(err) != codes.Unavailable || ack != 0 {
			t.Errorf("after a failed commit: acknowledged %d, ended with %v", ack, err)
		}
		r.down(true)
	})
}

// holder keeps what it got until it is told.
type holder struct {
	mu   sync.Mutex
	held []func(error)
}

func (h *holder) Receive(_ context.Context, _ string, _ Batch, durable func(error)) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held = append(h.held, durable)
	return nil
}

func (h *holder) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.held)
}

func (h *holder) release(i int, err error) {
	h.mu.Lock()
	f := h.held[i]
	h.mu.Unlock()
	f(err)
}

// TestWindow: no more is read than may wait to become durable.
func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		held := &holder{}
		r := newRig(t, func(o *ServerOptions) { o.Receiver, o.Window = held, 8 })
		c := r.greeted(t, "srv-1", 1, "")
		for n := range 50 {
			c.batch(host(n))
		}
		time.Sleep(time.Second)
		if n := held.count(); n != 8 {
			t.Errorf("%d messages in hand, want 8", n)
		}
		held.release(0, nil)
		held.release(1, nil)
		time.Sleep(time.Second)
		if n := held.count(); n != 10 {
			t.Errorf("%d messages in hand after two became durable, want 10", n)
		}
		c.conn.Close()
		time.Sleep(time.Second)
		for i := 2; i < held.count(); i++ {
			held.release(i, nil) // late word on a stream that is gone
		}
		r.down(true)
	})
}

func TestStopWaitsForWhatWasRead(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.recv.slow = 3 * time.Second
		c := r.greeted(t, "srv-1", 1, "")
		c.batch(host(1))
		time.Sleep(time.Second)
		go r.down(true)
		_, ack, err := c.end()
		if ack != 1 || status.Code(err) != codes.Unavailable {
			t.Errorf("acknowledged %d, ended with %v", ack, err)
		}
	})
}

func TestNewestStreamWins(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		last := r.greeted(t, "srv-1", 1, "a")
		for _, next := range []struct {
			boot uint64
			host string
			kind string
		}{{1, "a", "reconnect"}, {2, "a", "restart"}, {3, "b", "clone"}} {
			c := r.greeted(t, "srv-1", next.boot, next.host)
			if _, _, err := last.end(); status.Code(err) != codes.Aborted {
				t.Errorf("%s: the older stream ended with %v", next.kind, err)
			}
			if st := r.server.Stats(); st.Replaced[next.kind] != 1 || st.Streams != 1 {
				t.Errorf("%s: %+v", next.kind, st)
			}
			last = c
		}
		other := r.greeted(t, "srv-2", 1, "a")
		if n := r.server.Stats().Streams; n != 2 {
			t.Errorf("%d streams of two agents", n)
		}
		last.conn.Close()
		other.conn.Close()
	})
}

// roll is an Enroller that answers what it is told to.
// TestStrangers: nobody without a sound certificate of this CA gets a stream, and each is counted.
// refusedCaller greets and returns why that did not work.
// TestCrowd: agents that come all at once are let in at the admitted pace (and as many at once), and all are in before long.
// TestSkew: the clock is heard at the greeting and once a minute after.
func TestSkew(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		c := r.greeted(t, "srv-1", 1, "")
		m := c.enc.encode(host(1))
		m.WallMs = time.Now().Add(-400 * 24 * time.Hour).UnixMilli()
		c.send(&pb.Up{Body: &pb.Up_Batch{Batch: m}})
		time.Sleep(time.Second)
		heard := r.recv.hellos()
		if len(heard) != 2 || heard[0].Skew.Abs() > time.Second || !heard[0].First {
			t.Fatalf("%+v", heard)
		}
		if h := heard[1]; h.First || h.Skew > -399*24*time.Hour {
			t.Errorf("%+v", h)
		}
		c.conn.Close()
		a := r.agent("srv-2", nil)
		for n := range 40 {
			a.Send(host(n), false)
			time.Sleep(15 * time.Second)
		}
		a.stop()
		if n := len(r.recv.hellos()) - 2; n < 9 || n > 11 {
			t.Errorf("heard of the clock %d times in ten minutes", n)
		}
	})
}

// TestNotReading: an agent that takes no answers does not hold its stream for ever, and others are not held up.
func TestNotReading(t *testing.T) {
	plans := &planner{}
	bubble(t, func(o *ServerOptions) {
		big := check.Plan{Revision: "1"}
		for i := range 2000 {
			big.Checks = append(big.Checks, check.Spec{Name: fmt.Sprint("check-", i), Target: strings.Repeat("x", 100)})
		}
		plans.set(big)
		o.Planner = plans
	}, func(t *testing.T, r *rig) {
		c := r.caller(t, must(r.ca.identity("srv-1").TLS()))
		c.hello(1, "")
		time.Sleep(time.Second)
		c.batch(host(1)) // its acknowledgement finds the way blocked by the plan
		good := r.agent("srv-2", nil)
		defer good.stop()
		good.Send(host(1), true)
		time.Sleep(5 * time.Second)
		if good.Stats().Acked != 1 {
			t.Error("another agent is held up")
		}
		time.Sleep(time.Minute)
		if st := r.server.Stats(); st.Streams != 1 || st.Rejected["not_reading"] != 1 {
			t.Errorf("%+v", st)
		}
		c.conn.Close()
	})
}

func TestEnvelopeCodec(t *testing.T) {
	c := envelopeCodec{100}
	if _, err := c.Marshal("text"); err == nil {
		t.Error("a string is marshalled")
	}
	if err := c.Unmarshal(nil, "text"); err == nil {
		t.Error("into a string is unmarshalled")
	}
	var e envelope
	e.open(must(proto.Marshal(&pb.Up{Body: &pb.Up_Batch{Batch: &pb.Batch{WallMs: 3}}})), 100)
	if e.fault != nil || e.up.GetBatch().GetWallMs() != 3 {
		t.Errorf("%v", e.fault)
	}
}

// enrollWord enrols by hand and returns the word of the refusal, empty when there is none.

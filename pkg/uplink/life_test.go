package uplink

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/test/bufconn"

	"xunjian/pkg/check"
	pb "xunjian/proto/uplink/v1"
)

func TestBackOff(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.down(true)
		var mu sync.Mutex
		var tries []time.Time
		a := r.agent("srv-1", func(o *ClientOptions) {
			o.Dial = func(ctx ctxT, addr string) (net.Conn, error) {
				mu.Lock()
				tries = append(tries, time.Now())
				mu.Unlock()
				return nil, errors.New("connection refused")
			}
		})
		time.Sleep(time.Hour)
		a.stop()
		var gaps []time.Duration
		for i := range tries[1:] {
			gaps = append(gaps, tries[i+1].Sub(tries[i]))
		}
		for i, g := range gaps {
			if limit := min(retryBase<<i, retryCap); i < 8 && g > limit || g > retryCap {
				t.Errorf("wait %d was %v, at most %v", i, g, limit)
			}
		}
		if n := len(tries); n < 150 || n > 400 { // about an hour by half of 30 s
			t.Errorf("%d tries in an hour", n)
		}
		if slices.Max(gaps) < 25*time.Second {
			t.Errorf("longest wait %v", slices.Max(gaps))
		}
	})
}

func TestSentAgainAfterABreak(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		q := testSpool(t)
		a := r.agent("srv-1", func(o *ClientOptions) { o.Spool, o.SpoolAfter = q, time.Hour })
		defer a.stop()
		r.recv.set(func() { r.recv.slow = 10 * time.Second })
		a.Send(host(0), true)
		a.Send(probe("gate", 0, check.OK), true)
		time.Sleep(time.Second)
		r.down(false)
		r.recv.set(func() { r.recv.slow = 0 })
		r.up()
		time.Sleep(5 * time.Second)
		wantSeqs(t, r.recv.seqs(), 2)
		if st := a.Stats(); st.Waiting != 0 || st.Spooled != 0 || st.Sent != 4 || st.Acked != 2 {
			t.Errorf("%+v", st)
		}
	})
}

func TestIdleStreamLives(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		a := r.agent("srv-1", nil)
		defer a.stop()
		time.Sleep(time.Hour)
		if st := a.Stats(); !st.Connected || r.server.Stats().Opened != 1 {
			t.Errorf("%+v", st)
		}
	})
}

type mute struct{ pb.UnimplementedUplinkServer }

func (mute) Stream(stream grpc.BidiStreamingServer[pb.Up, pb.Down]) error {
	stream.Recv()
	stream.Send(&pb.Down{Welcome: &pb.Welcome{}})
	<-stream.Context().Done()
	return nil
}

func TestSilentCollector(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		pipe := bufconn.Listen(1 << 16)
		s := grpc.NewServer(grpc.Creds(newHandshaker(r.opts.Certs, turnstile{}, newCounts(1), newCounts(1))),
			grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingWait}))
		pb.RegisterUplinkServer(s, mute{})
		go s.Serve(pipe)
		defer s.Stop()
		dials := make(chan time.Time, 100)
		a := r.agent("srv-1", func(o *ClientOptions) {
			o.Dial = func(ctx ctxT, _ string) (net.Conn, error) {
				dials <- time.Now()
				return pipe.DialContext(ctx)
			}
		})
		defer a.stop()
		time.Sleep(time.Minute)
		if !a.Stats().Connected || len(dials) != 1 {
			t.Fatal("a silent collector that owes nothing was left")
		}
		<-dials
		a.Send(host(0), true)
		start := time.Now()
		if took := (<-dials).Sub(start); took > 20*time.Second || took < 10*time.Second {
			t.Errorf("noticed after %v, want 15 to 20 s", took)
		}
	})
}

type blackHole struct {
	net.Conn
	mu   sync.Mutex
	hole bool
	open chan struct{}
}

func (b *blackHole) fall() { b.mu.Lock(); b.hole = true; b.mu.Unlock() }

func (b *blackHole) Write(p []byte) (int, error) {
	b.mu.Lock()
	hole := b.hole
	b.mu.Unlock()
	if hole {
		return len(p), nil
	}
	return b.Conn.Write(p)
}

func (b *blackHole) Read(p []byte) (int, error) {
	n, err := b.Conn.Read(p)
	b.mu.Lock()
	hole := b.hole
	b.mu.Unlock()
	if hole && err == nil {
		<-b.open
		return 0, net.ErrClosed
	}
	return n, err
}

func (b *blackHole) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.open:
	default:
		close(b.open)
	}
	if b.hole {
		return nil // the other end must not hear of it
	}
	return b.Conn.Close()
}

func TestHalfOpen(t *testing.T) {
	for _, busy := range []bool{false, true} {
		t.Run(fmt.Sprintf("busy=%v", busy), func(t *testing.T) {
			bubble(t, nil, func(t *testing.T, r *rig) {
				var hole atomic.Pointer[blackHole]
				a := r.agent("srv-1", func(o *ClientOptions) {
					o.Dial = func(ctx ctxT, addr string) (net.Conn, error) {
						if hole.Load() != nil {
							return nil, errors.New("no route to host")
						}
						c, err := r.dial(ctx, addr)
						b := &blackHole{Conn: c, open: make(chan struct{})}
						hole.Store(b)
						return b, err
					}
				})
				defer a.stop()
				time.Sleep(time.Minute)
				hole.Load().fall()
				start := time.Now()
				var client, server time.Duration
				for n := 0; time.Since(start) < time.Minute; n++ {
					if busy {
						a.Send(host(n), true)
					}
					time.Sleep(100 * time.Millisecond)
					if client == 0 && !a.Stats().Connected {
						client = time.Since(start)
					}
					if server == 0 && r.server.Stats().Streams == 0 {
						server = time.Since(start)
					}
				}
				if client == 0 || client > 20*time.Second || server == 0 || server > 20*time.Second {
					t.Errorf("noticed after %v by the agent and %v by the collector, want at most 20s", client, server)
				}
				hole.Load().Conn.Close()
			})
		})
	}
}

// TestRepace: messages of the backlog grow while they are quick and shrink when they are slow, with as long a pause between.
func TestRepace(t *testing.T) {
	b := backlog{chunk: leastChunk}
	now := time.Unix(1_800_000_000, 0)
	step := func(took time.Duration, wantChunk int64) {
		t.Helper()
		b.since, now = now, now.Add(took)
		b.repace(now)
		if b.chunk != wantChunk || b.next.Sub(now) != min(took, retryCap) {
			t.Errorf("after %v: %d bytes in %v, want %d", took, b.chunk, b.next.Sub(now), wantChunk)
		}
	}
	step(100*time.Millisecond, 2*leastChunk)
	step(100*time.Millisecond, 4*leastChunk)
	step(700*time.Millisecond, 4*leastChunk)
	step(3*time.Second, 2*leastChunk)
	step(time.Hour, leastChunk)
	step(time.Hour, leastChunk)
	for range 20 {
		b.since = now
		b.repace(now)
	}
	if b.chunk != mostChunk {
		t.Errorf("%d bytes at most", b.chunk)
	}
}

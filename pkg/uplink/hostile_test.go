package uplink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"xunjian/pkg/check"
	"xunjian/pkg/metric"
	pb "xunjian/proto/uplink/v1"
)

// tight are limits that a test's load reaches.
func tight(o *ServerOptions) {
	o.TotalBytes, o.StreamBytes, o.Window = 256<<10, 64<<10, 16
}

// watched notes the most that the collector ever held, until the test ends.
func (r *rig) watched(t *testing.T) (most func() int64) {
	var mu sync.Mutex
	var peak int64
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	server := r.server
	wg.Go(func() {
		for ctx.Err() == nil {
			mu.Lock()
			peak = max(peak, server.Stats().Held)
			mu.Unlock()
			time.Sleep(20 * time.Millisecond)
		}
	})
	return func() int64 {
		cancel()
		wg.Wait()
		return peak
	}
}

// post sends until the stream ends or ctx is done, whatever the other end says.
func (c *caller) post(ctx context.Context, message func(n int) any) {
	stop := context.AfterFunc(ctx, func() { c.conn.Close() }) // also when it waits for room on the line
	defer stop()
	for n := 0; ctx.Err() == nil && c.stream.SendMsg(message(n)) == nil; n++ {
		time.Sleep(2 * time.Millisecond)
	}
}

func (c *caller) up(b Batch) *pb.Up {
	for i := range b.Reports {
		c.seq++
		b.Reports[i].Seq = c.seq
	}
	return &pb.Up{Body: &pb.Up_Batch{Batch: c.enc.encode(b)}}
}

// wide is a report of so many series.
func wide(n, series int) Batch {
	r := metric.Report{Kind: metric.KindHost, Every: 15 * time.Second, At: time.UnixMilli(1_800_000_000_000 + int64(n)*15000).UTC()}
	for i := range series {
		r.Samples = append(r.Samples, metric.Sample{Series: metric.New("m", "i", fmt.Sprint(i)), Value: float64(n * i)})
	}
	return Batch{Reports: []metric.Report{r}}
}

// An agent that does its worst takes nothing from a good one beside it, and no more memory than it is given.
func TestHostileNeighbour(t *testing.T) {
	for name, attack := range map[string]func(ctx context.Context, t *testing.T, r *rig){
		"sends without limit": func(ctx context.Context, t *testing.T, r *rig) {
			c := r.greeted(t, "bad", 1, "")
			defer c.conn.Close()
			c.post(ctx, func(n int) any { return c.up(wide(n, 400)) })
		},
		"never reads its acks": func(ctx context.Context, t *testing.T, r *rig) {
			c := r.caller(t, must(r.ca.identity("bad").TLS()))
			defer c.conn.Close()
			c.hello(1, "")
			c.post(ctx, func(n int) any { // each is refused, which is told
				return &pb.Up{Body: &pb.Up_Batch{Batch: &pb.Batch{Reports: []*pb.Report{{Schema: 77}}}}}
			})
		},
		"huge messages": func(ctx context.Context, t *testing.T, r *rig) {
			for n := 0; ctx.Err() == nil; n++ {
				c := r.caller(t, must(r.ca.identity("bad").TLS()))
				c.hello(uint64(n+1), "")
				c.stream.SendMsg(make([]byte, 3<<20))
				c.conn.Close()
				time.Sleep(time.Second)
			}
		},
		"endless backlog": func(ctx context.Context, t *testing.T, r *rig) {
			c := r.greeted(t, "bad", 1, "")
			defer c.conn.Close()
			c.post(ctx, func(n int) any {
				b := wide(n, 400)
				b.Reports[0].Seq = uint64(n + 1)
				return &pb.Up{Body: &pb.Up_Packed{Packed: &pb.Packed{Frames: [][]byte{must(pack(1, []Batch{b}))}}}}
			})
		},
		"many streams": func(ctx context.Context, t *testing.T, r *rig) {
			config := must(r.ca.identity("bad").TLS())
			for ctx.Err() == nil {
				c := r.caller(t, config)
				c.hello(1, "")
				time.Sleep(20 * time.Millisecond)
				defer c.conn.Close()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, tight, func(t *testing.T, r *rig) {
				r.recv.slow = 300 * time.Millisecond
				most := r.watched(t)
				good := r.agent("good", nil)
				defer good.stop()
				ctx, cancel := context.WithTimeout(t.Context(), 16*time.Second)
				defer cancel()
				var wg sync.WaitGroup
				wg.Go(func() { attack(ctx, t, r) })
				for n := range 15 {
					good.Send(host(n), false)
					time.Sleep(time.Second)
				}
				<-ctx.Done()
				wg.Wait()
				time.Sleep(time.Minute)
				if got := r.recv.of("good"); got != 15 {
					t.Errorf("%d of 15 reports of the good agent are stored", got)
				}
				if st := good.Stats(); st.Acked != 15 || st.Reconnects != 0 || len(st.Dropped) > 0 {
					t.Errorf("the good agent was disturbed: %+v", st)
				}
				st := r.server.Stats()
				if held := most(); held > 256<<10 || st.Held != 0 {
					t.Errorf("held %d bytes at most and %d at the end", held, st.Held)
				}
				if name == "many streams" && (st.Rejected["too_often"] == 0 || st.Opened > 40) {
					t.Errorf("%d streams opened, %v rejected", st.Opened, st.Rejected)
				}
			})
		})
	}
}

func (r *receiver) of(agent string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.seen {
		if x.Agent == agent {
			n++
		}
	}
	return n
}

// When nothing becomes durable, those who wait for their share are told to come back later, and lose nothing by it.
func TestCrowded(t *testing.T) {
	bubble(t, func(o *ServerOptions) { o.TotalBytes, o.StreamBytes, o.Patience = 64<<10, 32<<10, 5*time.Second }, func(t *testing.T, r *rig) {
		r.recv.slow = time.Hour
		var full []*caller
		for i := range 2 {
			c := r.greeted(t, fmt.Sprint("full-", i), 1, "")
			for n := range 20 {
				c.batch(wide(n, 100))
			}
			full = append(full, c)
		}
		time.Sleep(time.Second)
		late := r.greeted(t, "late", 1, "")
		late.batch(wide(0, 400))
		_, _, err := late.end()
		if hint := retryHint(late.stream, err); status.Code(err) != codes.ResourceExhausted || hint < time.Second {
			t.Errorf("ended with %v, hint %v", err, hint)
		}
		if st := r.server.Stats(); st.Rejected["crowded"] == 0 || st.Held > 64<<10 {
			t.Errorf("%+v", st)
		}
		for _, c := range full {
			c.conn.Close()
		}
		time.Sleep(time.Second)
		if st := r.server.Stats(); st.Held != 0 {
			t.Errorf("%d bytes are held by nobody", st.Held)
		}
		r.recv.set(func() { r.recv.slow = 0 })
		again := r.greeted(t, "late", 1, "")
		again.batch(wide(0, 400))
		if d := again.recv(); d.GetAck() != 1 {
			t.Errorf("no acknowledgement but %v", d)
		}
		again.conn.Close()
	})
}

// A collector that cannot store for a while keeps its agents' streams, judges what comes as soon as it comes, holds none of
// it, and gets everything once when it can store again.
func TestBusyCollector(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		a := r.agent("srv-1", func(o *ClientOptions) { o.Spool = testSpool(t) })
		defer a.stop()
		a.Send(host(0), false)
		time.Sleep(time.Second)
		r.recv.set(func() { r.recv.busy = true })
		const more = 500 // far more than a stream's window
		for n := range more {
			a.Send(probe("web", n, check.Fail), true)
			time.Sleep(time.Second)
			if got := r.recv.judged(); got != n+1 {
				t.Errorf("%d rounds of %d were judged within a second: %+v %+v", got, n+1, r.server.Stats(), a.Stats())
				break
			}
		}
		if st := r.server.Stats(); st.Opened != 1 || st.Held != 0 || st.Withheld < more {
			t.Errorf("while nothing could be stored: %+v", st)
		}
		if st := a.Stats(); st.Acked != 1 || st.Bytes > 2*4<<20 {
			t.Errorf("the agent while nothing could be stored: %+v", st)
		}
		r.recv.set(func() { r.recv.busy = false })
		a.Send(host(more), false)
		time.Sleep(3 * time.Minute)
		wantSeqs(t, r.recv.seqs(), more+2)
		if st := r.server.Stats(); st.Rejected["busy"] != 1 || st.Opened != 2 || st.Held != 0 {
			t.Errorf("afterwards: %+v", st)
		}
		if st := a.Stats(); st.Waiting != 0 || st.Spool.Bytes > 4<<10 {
			t.Errorf("the agent afterwards: %+v", st)
		}
	})
}

// An agent that says nothing after the disk had no room gets rid of what it holds all the same.
func TestBusyThenSilent(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.recv.set(func() { r.recv.busy = true })
		a := r.agent("srv-1", nil)
		defer a.stop()
		a.Send(host(0), false)
		time.Sleep(time.Second)
		r.recv.set(func() { r.recv.busy = false })
		time.Sleep(2 * busyMost)
		wantSeqs(t, r.recv.seqs(), 1)
		if st := a.Stats(); st.Waiting != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// A disk that has room now and then ends no stream before nothing was refused for a while.
func TestBusyNowAndThen(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		a := r.agent("srv-1", nil)
		defer a.stop()
		for n := range 120 {
			r.recv.set(func() { r.recv.busy = n%3 == 0 })
			a.Send(host(n), true)
			time.Sleep(time.Second)
		}
		if st := r.server.Stats(); st.Opened != 1 {
			t.Errorf("%d streams", st.Opened)
		}
		r.recv.set(func() { r.recv.busy = false })
		time.Sleep(2 * busyMost)
		wantSeqs(t, r.recv.seqs(), 120)
		if r.recv.twice == 0 {
			t.Error("nothing was sent twice: what came after a gap was acknowledged, or the test shows nothing")
		}
	})
}

// What an agent sends beyond its share is read later, and kept.
func TestThrottled(t *testing.T) {
	bubble(t, func(o *ServerOptions) { o.AgentReports = 10 }, func(t *testing.T, r *rig) {
		c := r.greeted(t, "srv-1", 1, "")
		start := time.Now()
		for n := range 200 {
			c.batch(host(n))
		}
		for ack := uint64(0); ack < 200; ack = max(ack, c.recv().GetAck()) {
			if got, most := r.recv.count(), 41+int(10*time.Since(start).Seconds()); got > most {
				t.Fatalf("%d reports were read after %v, want %d at most", got, time.Since(start), most)
			}
		}
		if st := r.server.Stats(); r.recv.count() != 200 || st.Throttled == 0 {
			t.Errorf("%d stored, %+v", r.recv.count(), st)
		}
		c.conn.Close()
	})
}

// Reports of no bytes stand for as many samples as their schema has series: a small message must not become gigabytes.
func TestSampleBomb(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		c := r.greeted(t, "srv-1", 1, "")
		bomb := c.enc.encode(wide(0, 4000))
		for range 30_000 {
			bomb.Reports = append(bomb.Reports, &pb.Report{Schema: bomb.Reports[0].Schema})
		}
		if raw := must(proto.Marshal(&pb.Up{Body: &pb.Up_Batch{Batch: bomb}})); len(raw) > defaultMaxMessage {
			t.Fatalf("%d bytes are refused for their length", len(raw))
		}
		c.send(&pb.Up{Body: &pb.Up_Batch{Batch: bomb}})
		refused, ack, err := c.end()
		if len(refused) != 1 || refused[0].Reason != faultSize || ack != 1 || status.Code(err) != codes.InvalidArgument {
			t.Errorf("refused %v, acknowledged %d, ended with %v", refused, ack, err)
		}
		if r.recv.count() != 0 {
			t.Errorf("stored %d", r.recv.count())
		}
	})
}

// cell is where a test's collector keeps what it cannot process.
type cell struct {
	mu   sync.Mutex
	kept []Poison
}

func (c *cell) keep(p Poison) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept = append(c.kept, p)
}

// A report that makes the collector panic is refused, kept as a frame that can be read by itself, and under the same name
// when it comes again; what was sent in its company arrives.
func TestPoisonIsQuarantined(t *testing.T) {
	var c cell
	bubble(t, func(o *ServerOptions) { o.Quarantine = c.keep }, func(t *testing.T, r *rig) {
		r.recv.refuse = func(b Batch) error {
			if slices.ContainsFunc(b.Reports, func(x metric.Report) bool { return x.Kind == metric.KindProbe+"poison" }) {
				panic("poison")
			}
			return nil
		}
		a := r.agent("srv-1", nil)
		defer a.stop()
		a.Send(host(1), false)
		a.Send(probe("poison", 1, check.OK), false)
		a.Send(host(2), false)
		time.Sleep(5 * time.Second)
		if st := a.Stats(); st.Dropped["refused"] != 1 || st.Acked != 2 || st.Reconnects != 0 || r.recv.count() != 2 {
			t.Errorf("stored %d, %+v", r.recv.count(), st)
		}
		var alone Poison
		for _, p := range c.kept {
			b, _, f := unpack(p.Bytes, maxUnpacked, 100)
			if f != nil || p.Reason != faultPanic || p.Agent != "srv-1" || hashOf(p.Bytes) != p.Sum {
				t.Errorf("kept %+v: %v", p, f)
			}
			if len(b.Reports) == 1 {
				alone = p
			}
		}
		again := r.greeted(t, "srv-1", a.Stats().Boot, "")
		b := probe("poison", 1, check.OK)
		again.seq = 1
		again.batch(b)
		if d := again.recv(); len(d.GetRefuse()) != 1 {
			t.Errorf("said %v", d)
		}
		again.conn.Close()
		if last := c.kept[len(c.kept)-1]; last.Sum != alone.Sum {
			t.Errorf("the same report is kept as %s and as %s", alone.Sum, last.Sum)
		}
	})
}

// A message that is no protobuf is kept as it came.
func TestMalformedIsQuarantined(t *testing.T) {
	var c cell
	bubble(t, func(o *ServerOptions) { o.Quarantine = c.keep }, func(t *testing.T, r *rig) {
		x := r.greeted(t, "srv-1", 1, "")
		x.send([]byte{0x12, 0xff, 0xff})
		x.end()
		if len(c.kept) != 1 || c.kept[0].Reason != faultProtobuf || string(c.kept[0].Bytes) != "\x12\xff\xff" {
			t.Errorf("kept %+v", c.kept)
		}
		y := r.greeted(t, "srv-1", 1, "")
		y.send(&pb.Up{Body: &pb.Up_Batch{Batch: &pb.Batch{Reports: []*pb.Report{{Schema: 77}}}}}) // wrong, but no riddle
		time.Sleep(time.Second)
		y.conn.Close()
		if len(c.kept) != 1 {
			t.Errorf("kept %+v", c.kept)
		}
	})
}

// After the collector was away everybody comes back, in turn, and everything arrives once.
func TestRestartWithManyAgents(t *testing.T) {
	bubble(t, func(o *ServerOptions) { o.AdmitRate = 20 }, func(t *testing.T, r *rig) {
		const n = 200
		var agents []*agentRig
		for i := range n {
			agents = append(agents, r.agent(fmt.Sprint("srv-", i), nil))
		}
		all := func(within time.Duration) {
			t.Helper()
			start := time.Now()
			for r.server.Stats().Streams < n {
				if time.Since(start) > within {
					t.Fatalf("%d of %d are in after %v", r.server.Stats().Streams, n, within)
				}
				time.Sleep(time.Second)
			}
		}
		all(2 * time.Minute)
		for range 2 {
			for _, a := range agents {
				a.Send(host(1), false)
			}
			time.Sleep(100 * time.Millisecond) // under way
			r.down(false)
			time.Sleep(5 * time.Second)
			r.up()
			all(2 * time.Minute)
		}
		time.Sleep(10 * time.Second)
		for i, a := range agents {
			if st := a.Stats(); st.Waiting > 0 || len(st.Dropped) > 0 {
				t.Fatalf("agent %d: %+v", i, st)
			}
			a.stop()
		}
		if got := r.recv.count(); got != 2*n {
			t.Errorf("%d of %d reports arrived", got, 2*n)
		}
	})
}

var errFull = errors.New("no room")

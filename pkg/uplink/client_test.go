package uplink

import (
	"crypto/tls"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"xunjian/pkg/check"
	pb "xunjian/proto/uplink/v1"
)

// bubble runs f with a collector and fake time, and takes everything down at its end.
func bubble(t *testing.T, change func(*ServerOptions), f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, change)
		f(t, r)
		r.down(true)
		r.recv.wait.Wait()
		synctest.Wait()
	})
}

func TestReportsArrive(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		a := r.agent("srv-1", func(o *ClientOptions) { o.Version, o.Host, o.Boot = "1.2.3", "machine", 42 })
		defer a.stop()
		sent := host(1)
		a.Send(sent, false)
		a.Send(probe("gate", 1, check.OK), false)
		time.Sleep(time.Second)
		got := r.recv.reports()
		wantSeqs(t, r.recv.seqs(), 2)
		want := sent.Reports[0]
		want.Agent = "srv-1"
		if diff := cmpReports(want, got[0]); diff != "" {
			t.Error(diff)
		}
		if st := a.Stats(); st.Acked != 2 || st.Waiting != 0 || st.Bytes != 0 || !st.Connected || st.Boot != 42 {
			t.Errorf("%+v", st)
		}
		h := r.recv.hellos()[0]
		if h.Version != "1.2.3" || h.Host != "machine" || h.Boot != 42 || !h.First || h.Skew.Abs() > time.Second || h.Serial == "" {
			t.Errorf("heard %+v", h)
		}
	})
}

func TestHealthyWaitsForCompanyAndUrgentDoesNot(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		a := r.agent("srv-1", nil)
		defer a.stop()
		time.Sleep(time.Second)
		start := time.Now()
		arrived := make(chan time.Duration, 10)
		r.recv.set(func() { r.recv.before = func(Batch) { arrived <- time.Since(start) } })
		a.Send(host(1), false)
		time.Sleep(50 * time.Millisecond)
		a.Send(probe("a", 1, check.OK), false)
		if d := <-arrived; d != 200*time.Millisecond {
			t.Errorf("two healthy batches arrived after %v, want 200ms", d)
		}
		time.Sleep(time.Second)
		start = time.Now()
		a.Send(host(2), false)
		time.Sleep(10 * time.Millisecond)
		a.Send(probe("a", 2, check.Fail), true)
		if d := <-arrived; d != 10*time.Millisecond {
			t.Errorf("an urgent batch arrived after %v, want 10ms", d)
		}
		time.Sleep(time.Second)
		if len(arrived) != 0 || r.recv.calls != 2 {
			t.Errorf("%d messages in all, want 2", r.recv.calls)
		}
		wantSeqs(t, r.recv.seqs(), 4)
	})
}

func TestAwayAndBack(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		q := testSpool(t)
		a := r.agent("srv-1", func(o *ClientOptions) { o.Spool = q })
		defer a.stop()
		a.Send(host(0), false)
		time.Sleep(time.Second)
		r.down(false)
		const away = 120
		for n := range away { // half an hour
			a.Send(host(n+1), false)
			time.Sleep(15 * time.Second)
			if st := a.Stats(); st.Waiting > 1 {
				t.Fatalf("%d batches in memory only", st.Waiting)
			}
		}
		if st := a.Stats(); st.Spool.Frames != away || st.Connected || st.LastError == "" {
			t.Fatalf("%+v", st)
		}
		r.up()
		for n := range 10 {
			a.Send(host(away+1+n), false)
			time.Sleep(15 * time.Second)
		}
		if n := q.Len(); n != 0 {
			t.Errorf("%d frames are left", n)
		}
		got := r.recv.seqs()
		wantSeqs(t, got, away+11)
		if r.recv.twice != 0 {
			t.Errorf("%d sent twice", r.recv.twice)
		}
		var old []uint64
		for _, s := range got {
			if s > 1 && s <= away {
				old = append(old, s)
			}
		}
		if !slices.IsSorted(old) {
			t.Errorf("backlog out of order: %v", old)
		}
	})
}

// TestFreshFirst: while a backlog drains slowly, a fresh batch does not wait for it.
func TestFreshFirst(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		q := testSpool(t)
		r.down(true)
		a := r.agent("srv-1", func(o *ClientOptions) { o.Spool = q })
		defer a.stop()
		for n := range 700 {
			a.Send(host(n), false)
			time.Sleep(5 * time.Second)
		}
		r.recv.set(func() { r.recv.slow = 250 * time.Millisecond })
		r.up()
		start := time.Now()
		for !a.Stats().Connected {
			time.Sleep(10 * time.Millisecond)
		}
		var worst time.Duration
		for n := 0; q.Len() > 0; n++ {
			before := a.Stats().Acked
			sent := time.Now()
			a.Send(probe("gate", n, check.Fail), true)
			for a.Stats().Acked == before {
				time.Sleep(5 * time.Millisecond)
			}
			worst = max(worst, time.Since(sent))
			time.Sleep(100 * time.Millisecond)
		}
		if worst > 300*time.Millisecond {
			t.Errorf("a fresh batch took %v while the backlog drained", worst)
		}
		if took := time.Since(start); took > 2*time.Minute {
			t.Errorf("draining 700 frames took %v", took)
		}
		if r.recv.twice != 0 {
			t.Errorf("%d sent twice", r.recv.twice)
		}
	})
}

// TestSlowCollector: acknowledgements that take long send batches to the spool for safety, and neither break the stream
// nor send anything twice.
func TestSlowCollector(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		q := testSpool(t)
		a := r.agent("srv-1", func(o *ClientOptions) { o.Spool = q })
		defer a.stop()
		r.recv.set(func() { r.recv.slow = 40 * time.Second })
		spooled := 0
		for n := range 40 {
			a.Send(host(n), false)
			time.Sleep(5 * time.Second)
			spooled = max(spooled, q.Len())
		}
		time.Sleep(2 * time.Minute)
		st := a.Stats()
		if st.Reconnects != 0 || st.Acked != 40 || r.recv.twice != 0 {
			t.Errorf("sent twice %d, %+v", r.recv.twice, st)
		}
		if spooled < 5 || q.Len() != 0 {
			t.Errorf("at most %d frames in the spool, %d at the end", spooled, q.Len())
		}
		wantSeqs(t, r.recv.seqs(), 40)
	})
}

// TestSentAgainAfterABreak: what was under way when the stream broke is sent on the next one, from memory.
// TestIdleStreamLives: an hour without reports costs pings, not streams.
// TestRefusalBeforeItsAcknowledgement: a refusal that comes before earlier messages are settled is not forgotten.
func TestRefusalBeforeItsAcknowledgement(t *testing.T) {
	c := must(NewClient(ClientOptions{Address: "x", TLS: &tls.Config{}}))
	l := &line{enc: newEncoder(), most: defaultMaxMessage, refused: map[uint64]*pb.Refuse{}, watch: time.NewTimer(time.Hour)}
	for n := range 3 {
		c.Send(host(n), true)
		if up, _ := c.nextFresh(l, time.Now()); up == nil {
			t.Fatal("nothing to send")
		}
	}
	for _, d := range []*pb.Down{{Refuse: []*pb.Refuse{{Message: 2, Reason: "bad"}}}, {Ack: 1}, {Ack: 3}} {
		if _, _, err := c.heard(l, d); err != nil {
			t.Fatal(err)
		}
	}
	if st := c.Stats(); st.Acked != 2 || st.Dropped["refused"] != 1 || st.Waiting != 0 || len(l.refused) != 0 {
		t.Errorf("%+v", st)
	}
	if _, _, err := c.heard(l, &pb.Down{Ack: 4}); err == nil {
		t.Error("an acknowledgement of what was never sent is believed")
	}
}

// mute is a collector whose program hangs once it has greeted, while its transport still answers.
// blackHole is a connection that swallows everything from the moment on that it is told to.
// TestHalfOpen: when the network swallows everything, both ends notice within 20 s.
func TestShutdownSpools(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		q := testSpool(t)
		r.down(true)
		a := r.agent("srv-1", func(o *ClientOptions) { o.Spool, o.Boot = q, 7 })
		a.Send(host(0), false)
		a.Send(host(1), false)
		a.stop()
		if q.Len() != 1 {
			t.Fatalf("%d frames in the spool, want one with both", q.Len())
		}
		r.up()
		b := r.agent("srv-1", func(o *ClientOptions) { o.Spool, o.Boot = q, 8 })
		defer b.stop()
		b.Send(host(2), false)
		time.Sleep(5 * time.Second)
		got := r.recv.reports()
		if len(got) != 3 || q.Len() != 0 {
			t.Fatalf("%d reports came, %d frames are left", len(got), q.Len())
		}
		boots := []uint64{got[0].Boot, got[1].Boot, got[2].Boot}
		slices.Sort(boots)
		if !slices.Equal(boots, []uint64{7, 7, 8}) {
			t.Errorf("boots %v", boots)
		}
	})
}

func TestWithoutSpoolTheOldestIsDroppedAndCounted(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.down(true)
		a := r.agent("srv-1", func(o *ClientOptions) { o.MaxMemory = 20 * memory(host(0)) })
		for n := range 100 {
			a.Send(host(n), false)
		}
		st := a.Stats()
		if st.Waiting != 40 || st.Dropped["memory"] != 60 {
			t.Errorf("%+v", st)
		}
		a.stop()
		if n := a.Stats().Dropped["shutdown"]; n != 40 {
			t.Errorf("%d counted at shutdown", n)
		}
	})
}

func TestFullMemorySpools(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		q := testSpool(t)
		r.down(true)
		a := r.agent("srv-1", func(o *ClientOptions) { o.Spool, o.MaxMemory = q, 20*memory(host(0)) })
		defer a.stop()
		for n := range 200 {
			a.Send(host(n), false)
			if n%10 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		time.Sleep(10 * time.Second)
		if st := a.Stats(); st.Waiting != 0 || len(st.Dropped) != 0 || st.Spooled != 200 {
			t.Errorf("%+v", st)
		}
		r.up()
		time.Sleep(2 * time.Minute)
		wantSeqs(t, r.recv.seqs(), 200)
	})
}

func TestRefusedAlone(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.recv.refuse = func(b Batch) error {
			for _, x := range b.Reports {
				switch {
				case x.Kind == "probe/poison":
					panic("poison")
				case x.Kind == "probe/bad":
					return errors.New("not this one")
				}
			}
			return nil
		}
		q := testSpool(t)
		a := r.agent("srv-1", func(o *ClientOptions) { o.Spool = q })
		defer a.stop()
		time.Sleep(time.Second)
		a.Send(host(0), false)
		a.Send(probe("poison", 0, check.OK), false)
		a.Send(probe("good", 0, check.OK), false)
		a.Send(probe("bad", 0, check.OK), false)
		a.Send(host(1), false)
		time.Sleep(10 * time.Second)
		st := a.Stats()
		if st.Dropped["refused"] != 2 || st.Waiting != 0 || st.Reconnects != 0 {
			t.Errorf("%+v", st)
		}
		if got := r.recv.seqs(); !slices.Equal(got, []uint64{1, 3, 5}) {
			t.Errorf("stored %v, want 1 3 5", got)
		}
		if st := r.server.Stats(); st.Refused["panic"] == 0 || st.Refused["receiver"] == 0 {
			t.Errorf("%+v", st)
		}
		calls := r.recv.calls
		time.Sleep(5 * time.Minute)
		if r.recv.calls != calls {
			t.Error("a refused batch is tried again for ever")
		}
		// The same from the spool.
		r.down(true)
		for n := range 6 {
			a.Send(probe([]string{"good", "poison", "bad"}[n%3], 1+n, check.OK), false)
			time.Sleep(10 * time.Second)
		}
		r.up()
		time.Sleep(5 * time.Minute)
		if st := a.Stats(); st.Dropped["refused"] != 6 || q.Len() != 0 {
			t.Errorf("%+v", st)
		}
		if got := r.recv.seqs(); !slices.Equal(got, []uint64{1, 3, 5, 6, 9}) {
			t.Errorf("stored %v, want 1 3 5 6 9", got)
		}
	})
}

func TestPlans(t *testing.T) {
	plans := &planner{}
	bubble(t, func(o *ServerOptions) {
		plans.set(check.Plan{Revision: "1", HostEvery: time.Second})
		o.Planner = plans
	}, func(t *testing.T, r *rig) {
		got := make(chan check.Plan, 10)
		a := r.agent("srv-1", func(o *ClientOptions) { o.Plan, o.OnPlan = "1", func(p check.Plan) { got <- p } })
		defer a.stop()
		time.Sleep(time.Second)
		if len(got) != 0 {
			t.Errorf("the plan that is held was sent: %v", <-got)
		}
		start := time.Now()
		plans.set(check.Plan{Revision: "2", Checks: []check.Spec{{Name: "gate", Every: 10 * time.Second, Kind: "http"}}})
		p := <-got
		if p.Revision != "2" || p.Checks[0].Every != 10*time.Second || time.Since(start) > 100*time.Millisecond {
			t.Errorf("after %v: %+v", time.Since(start), p)
		}
		plans.set(check.Plan{Revision: "2", HostEvery: time.Minute}) // equal revisions are equal plans
		r.cut()
		time.Sleep(time.Minute)
		if len(got) != 0 {
			t.Errorf("an unchanged plan was sent: %v", <-got)
		}
		r.down(true)
		plans.set(check.Plan{Revision: "3"})
		r.up()
		if p := <-got; p.Revision != "3" {
			t.Errorf("%+v", p)
		}
	})
}

type planner struct {
	mu      sync.Mutex
	plan    check.Plan
	changed chan struct{}
}

func (p *planner) set(plan check.Plan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changed != nil {
		close(p.changed)
	}
	p.plan, p.changed = plan, make(chan struct{})
}

func (p *planner) Plan(agent string) (check.Plan, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.plan, p.changed
}

// TestProbeNow: what the collector wants asked at once reaches the agent at once, and only one that has a stream.
func TestProbeNow(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		got := make(chan string, maxProbes)
		a := r.agent("srv-1", func(o *ClientOptions) { o.OnProbeNow = func(check, request string) { got <- check + " " + request } })
		defer a.stop()
		time.Sleep(time.Second)
		began := time.Now()
		if !r.server.Connected("srv-1") || !r.server.ProbeNow("srv-1", "gate", "7") || !r.server.ProbeNow("srv-1", "seal", "8") {
			t.Fatal("not taken")
		}
		if r.server.Connected("srv-2") || r.server.ProbeNow("srv-2", "gate", "9") {
			t.Error("taken for an agent without a stream")
		}
		r.server.ProbeNow("srv-1", "no name!", "10")
		for _, want := range []string{"gate 7", "seal 8"} {
			if s := <-got; s != want {
				t.Errorf("%q, want %q", s, want)
			}
		}
		if d := time.Since(began); d > 500*time.Millisecond {
			t.Errorf("told after %v", d)
		}
		time.Sleep(time.Second)
		if len(got) > 0 {
			t.Errorf("a name that no check has is handed on: %s", <-got)
		}
	})
}

// TestProbeNowIsBounded: requests do not pile up for an agent that reads nothing.
func TestProbeNowIsBounded(t *testing.T) {
	s := &Server{sessions: map[string]*session{"srv-1": {wake: make(chan struct{}, 1)}}}
	for n := range maxProbes {
		if !s.ProbeNow("srv-1", "gate", "r") {
			t.Fatalf("request %d is refused", n)
		}
	}
	if s.ProbeNow("srv-1", "gate", "r") {
		t.Error("one too many is taken")
	}
}

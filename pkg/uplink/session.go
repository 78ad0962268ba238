package uplink

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"xunjian/pkg/check"
	pb "xunjian/proto/uplink/v1"
)

// retryKey is the trailer that says after how many milliseconds an agent should come again.
const retryKey = "xunjian-retry-ms"

// session is one agent's stream. Three goroutines share it: Stream waits for what ends it, read takes messages, write
// says what is owed. It is bounded by Window messages and StreamBytes that are not durable yet; what is owed is at most a
// number, a plan and a refusal for each of those messages.
type session struct {
	server   *Server
	stream   grpc.BidiStreamingServer[pb.Up, pb.Down]
	id       identity
	hello    Hello
	log      *slog.Logger
	ctx      context.Context
	cancel   context.CancelCauseFunc
	wake     chan struct{} // of one; a full one is awake already
	slots    chan struct{} // of Window; taken by messages that are not durable
	gone     chan struct{} // closed when read has ended
	quota    *quota
	share    *semaphore.Weighted // of StreamBytes
	envelope envelope            // read's own
	due      bool                // under server.acks.mu: write is about to be woken

	mu       sync.Mutex
	ledger   *ledger
	said     uint64 // last acknowledgement sent
	refusals []*pb.Refuse
	plan     *pb.Plan
	probes   []*pb.ProbeNow // at most maxProbes
	welcome  *pb.Welcome
	final    error // how to end once all that was read is settled and told; nil while reading goes on
	over     bool  // nothing is settled any more
	resend   *time.Timer
	healing  bool // resend runs because something was stored again
}

// Stream serves one agent until its stream ends.
func (s *Server) Stream(stream grpc.BidiStreamingServer[pb.Up, pb.Down]) error {
	id, err := s.admitAgent(stream)
	if err != nil {
		return err
	}
	x := newSession(s, stream, id)
	greeted := make(chan struct{})
	s.readers.Go(func() {
		defer close(x.gone)
		x.end(x.read(greeted))
		x.letGo()
	})
	err = x.serve(greeted)
	s.leave(x)
	x.log.Debug("agent's stream ended", "error", err)
	return err
}

// admitAgent checks who calls before anything is read.
func (s *Server) admitAgent(stream grpc.ServerStream) (identity, error) {
	id, err := identityOf(stream.Context())
	if err != nil {
		s.rejected.add("no_identity")
		return id, status.Error(codes.Unauthenticated, err.Error())
	}
	if err := s.known(id); err != nil {
		s.rejected.add("unknown_agent")
		return id, err
	}
	if !s.quotas.of(id.agent).opens.Allow() {
		s.rejected.add("too_often")
		return id, s.later(stream, id.agent, opensEvery, errors.New("too many streams of this agent: come again later"))
	}
	s.mu.Lock()
	full := len(s.sessions) >= s.opts.MaxStreams && s.sessions[id.agent] == nil
	s.mu.Unlock()
	if full || !s.admit.Allow() {
		s.rejected.add("overload")
		return id, s.later(stream, id.agent, 0, errors.New("too many agents at once: come again later"))
	}
	return id, nil
}

// later is the status that makes an agent come back after a while, and not before the time that it is told.
func (s *Server) later(stream grpc.ServerStream, agent string, least time.Duration, why error) error {
	now := time.Now()
	wait := least + s.crowd.wait(now, s.opts.AdmitRate)
	stream.SetTrailer(metadata.Pairs(retryKey, strconv.FormatInt(wait.Milliseconds(), 10)))
	if r, ok := s.opts.Receiver.(Seer); ok {
		r.Seen(agent, now)
	}
	return status.Error(codes.ResourceExhausted, clip(why.Error(), 200))
}

// crowd spreads the agents that are turned away over the time that admitting them will take.
type crowd struct {
	mu   sync.Mutex
	n    float64 // turned away lately
	last time.Time
}

const crowdMemory = 10 * time.Second

// wait is after how long one more that is turned away should come again.
func (c *crowd) wait(now time.Time, perSecond float64) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n = c.n*math.Exp(-now.Sub(c.last).Seconds()/crowdMemory.Seconds()) + 1
	c.last = now
	span := min(time.Duration(c.n/perSecond*float64(time.Second)), time.Minute)
	return time.Second + jitter(span) // and as much again at most by the agent's own dice
}

// known asks whether the certificate may still be used.
func (s *Server) known(id identity) error {
	if time.Now().After(id.cert.NotAfter) {
		return status.Errorf(codes.Unauthenticated, "the agent's certificate ended at %s: enrol it again", id.cert.NotAfter.UTC().Format(time.RFC3339))
	}
	if s.opts.Enroller == nil {
		return nil
	}
	if err := s.opts.Enroller.Known(id.agent, id.serial()); err != nil {
		return status.Error(codes.PermissionDenied, err.Error())
	}
	return nil
}

func newSession(s *Server, stream grpc.BidiStreamingServer[pb.Up, pb.Down], id identity) *session {
	x := &session{
		server: s, stream: stream, id: id, log: s.opts.Logger.With("agent", id.agent, "peer", id.addr),
		wake: make(chan struct{}, 1), slots: make(chan struct{}, s.opts.Window), gone: make(chan struct{}),
		ledger: newLedger(), quota: s.quotas.of(id.agent), share: semaphore.NewWeighted(s.opts.StreamBytes),
	}
	x.ctx, x.cancel = context.WithCancelCause(stream.Context())
	return x
}

// enter makes x the agent's stream and ends the one before, waiting until that has read its last.
func (s *Server) enter(x *session) error {
	s.mu.Lock()
	old := s.sessions[x.id.agent]
	s.sessions[x.id.agent] = x
	s.opened++
	s.mu.Unlock()
	if old == nil {
		return nil
	}
	kind := "restart"
	switch {
	case old.hello.Host != x.hello.Host:
		kind = "clone"
	case old.hello.Boot == x.hello.Boot:
		kind = "reconnect"
	}
	s.replaced.add(kind)
	x.log.Log(x.ctx, levelOf(kind), "agent's stream replaced by a newer one", "kind", kind, "old_peer", old.id.addr)
	old.end(status.Error(codes.Aborted, "a newer stream of the same agent took over"))
	select {
	case <-old.gone:
		return nil
	case <-x.ctx.Done():
		return context.Cause(x.ctx)
	}
}

func levelOf(replaced string) slog.Level {
	if replaced == "clone" {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

func (s *Server) leave(x *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[x.id.agent] == x {
		delete(s.sessions, x.id.agent)
	}
}

// finish reads no more and ends the session when all that was read is settled and told.
func (x *session) finish(err error) {
	x.mu.Lock()
	if x.final == nil {
		x.final = err
	}
	x.mu.Unlock()
	x.stir()
}

// end ends the session; the first reason counts.
func (x *session) end(err error) {
	if err == nil {
		err = errFinished
	}
	x.cancel(err)
}

var errFinished = errors.New("the agent closed its stream")

// serve waits until the session ends and returns its status.
func (x *session) serve(greeted <-chan struct{}) error {
	defer x.cancel(nil)
	select {
	case <-greeted:
	case <-x.ctx.Done():
		return x.status()
	case <-time.After(helloWait):
		x.server.rejected.add("no_hello")
		return status.Error(codes.DeadlineExceeded, "no hello in time")
	}
	x.server.readers.Go(x.write) // one that hangs in flow control ends only after the stream, so it is not waited for here
	x.tend()
	return x.status()
}

// tend watches what can change about an agent while it is connected.
func (x *session) tend() {
	recheck := time.NewTicker(x.server.opts.Recheck)
	defer recheck.Stop()
	held, stopping := x.hello.Plan, x.server.stopping
	changed := x.offerPlan(&held)
	for {
		select {
		case <-x.ctx.Done():
			return
		case <-changed:
			changed = x.offerPlan(&held)
		case <-recheck.C:
			if err := x.server.known(x.id); err != nil {
				x.server.rejected.add("unknown_agent")
				x.end(err)
			}
		case <-stopping:
			stopping = nil
			x.finish(status.Error(codes.Unavailable, "the collector is stopping"))
		}
	}
}

// offerPlan queues the plan when it is not the one that the agent holds; a plan not yet sent is replaced.
func (x *session) offerPlan(held *string) <-chan struct{} {
	if x.server.opts.Planner == nil {
		return nil
	}
	plan, changed := x.server.opts.Planner.Plan(x.id.agent)
	if plan.Revision == *held {
		return changed
	}
	b, err := json.Marshal(plan)
	const most = 3 << 20
	if err != nil || len(b) > most {
		x.log.Error("plan cannot be sent", "revision", plan.Revision, "bytes", len(b), "error", err)
		return changed
	}
	*held = plan.Revision
	x.mu.Lock()
	x.plan = &pb.Plan{Revision: plan.Revision, Json: b}
	x.mu.Unlock()
	x.stir()
	return changed
}

// maxProbes is how many checks that an agent shall ask at once may wait for its stream.
const maxProbes = 256

// ProbeNow wants the agent to ask a check of its plan at once, and returns at once itself: the result comes as results do,
// with the request in it. It is false when the agent has no stream, or is behind with what it was told.
func (s *Server) ProbeNow(agent, check, request string) bool {
	s.mu.Lock()
	x := s.sessions[agent]
	s.mu.Unlock()
	if x == nil {
		return false
	}
	x.mu.Lock()
	full := len(x.probes) >= maxProbes
	if !full {
		x.probes = append(x.probes, &pb.ProbeNow{Check: check, Request: request})
	}
	x.mu.Unlock()
	x.stir()
	return !full
}

// Connected says whether the agent has a stream.
func (s *Server) Connected(agent string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[agent] != nil
}

func planFromWire(m *pb.Plan) (check.Plan, error) {
	var p check.Plan
	if err := json.Unmarshal(m.GetJson(), &p); err != nil {
		return check.Plan{}, err
	}
	p.Revision = m.GetRevision()
	return p, nil
}

// status is why the session ended, as gRPC says it.
func (x *session) status() error {
	cause := context.Cause(x.ctx)
	if errors.Is(cause, errFinished) {
		return nil
	}
	if _, ok := status.FromError(cause); ok {
		return cause
	}
	return status.FromContextError(cause).Err()
}

func (x *session) stir() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// write sends what is owed until the session ends.
func (x *session) write() {
	alive := time.NewTimer(aliveEvery)
	defer alive.Stop()
	for {
		beat := false
		select {
		case <-x.ctx.Done():
			return
		case <-x.wake:
		case <-alive.C:
			beat = true
		}
		down, final := x.owed(beat)
		if down != nil {
			if err := x.send(down); err != nil {
				x.end(err)
				return
			}
		}
		if final != nil {
			x.end(final)
			return
		}
		if beat || down != nil { // waking for nothing is no sign of life
			alive.Reset(aliveEvery)
		}
	}
}

// owed is what there is to say, nil when nothing, and how to end after it, nil when not yet.
func (x *session) owed(beat bool) (*pb.Down, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	waiting := x.ledger.waiting()
	final := x.final
	if waiting > 0 {
		final = nil
	}
	d := &pb.Down{
		Welcome: x.welcome, Plan: x.plan, Refuse: x.refusals, ProbeNow: x.probes,
		Alive: beat && (waiting > 0 || x.ledger.gap > 0),
	}
	x.welcome, x.plan, x.refusals, x.probes = nil, nil, nil, nil
	if n := x.ledger.acked(); n > x.said {
		d.Ack, x.said = n, n
	}
	if d.Ack == 0 && d.Welcome == nil && d.Plan == nil && len(d.Refuse)+len(d.ProbeNow) == 0 && !d.Alive {
		return nil, final
	}
	return d, final
}

// send ends the session when the agent does not read.
func (x *session) send(d *pb.Down) error {
	slow := time.AfterFunc(answerWait, func() {
		x.server.rejected.add("not_reading")
		x.end(status.Error(codes.DeadlineExceeded, "the agent does not read what it is sent"))
	})
	defer slow.Stop()
	return x.stream.Send(d)
}

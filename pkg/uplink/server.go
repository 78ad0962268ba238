package uplink

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	pb "xunjian/proto/uplink/v1"
)

// CertSource gives the collector's own certificate, its CA's certificate last in the chain, and the roots that agents'
// certificates must lead to. It is asked at each handshake, so that both can change while running.
type CertSource func() (tls.Certificate, *x509.CertPool, error)

// ServerOptions is what the collector's end needs. Zero values mean the defaults given.
type ServerOptions struct {
	Receiver Receiver // may also be a Hearer
	Planner  Planner  // nil: no plans
	Enroller Enroller // nil: no enrolment, and every verified certificate is welcome
	Certs    CertSource

	MaxMessage int           // default 1 MiB
	MaxSeries  int           // default 10,000, of one agent's stream: at most 4 MiB (TestSeriesOfAStreamCostLittle), and more than the store takes, which keeps what fits
	MaxStreams int           // default 20,000
	AdmitRate  float64       // default 200 new connections and streams a second; more are told to come back later
	Recheck    time.Duration // default 30 s: how often Known is asked again

	// What is not durable yet. What is more is not read, and waits with its agent.
	Window      int           // default 64 messages of one stream
	StreamBytes int64         // default 4 MiB of one stream
	TotalBytes  int64         // default 64 MiB of all streams together, served in turn
	Patience    time.Duration // default 10 s: after so long in the queue for TotalBytes an agent is told to come back later

	// What one agent may send; what is more is read later. Agents send about one report a second at most.
	AgentReports float64 // default 1,000 a second
	AgentBytes   float64 // default 4 MiB a second

	Now        func() time.Time // what agents' clocks are compared with; default time.Now
	Quarantine func(Poison)     // keeps messages that were refused for what is in them; nil: they are only counted
	Logger     *slog.Logger
}

func (o ServerOptions) withDefaults() ServerOptions {
	if o.Now == nil {
		o.Now = time.Now
	}
	o.MaxMessage = orDefault(o.MaxMessage, defaultMaxMessage)
	o.MaxSeries = orDefault(o.MaxSeries, 10_000)
	o.MaxStreams = orDefault(o.MaxStreams, 20_000)
	o.Window = orDefault(o.Window, 64)
	o.StreamBytes = orDefault(o.StreamBytes, 4<<20)
	o.TotalBytes = orDefault(o.TotalBytes, 64<<20)
	o.StreamBytes = min(o.StreamBytes, o.TotalBytes/2) // what comes from a spool may have no more
	o.Patience = orDefault(o.Patience, 10*time.Second)
	o.AgentReports = orDefault(o.AgentReports, 1000)
	o.AgentBytes = orDefault(o.AgentBytes, 4<<20)
	o.AdmitRate = orDefault(o.AdmitRate, defaultAdmitRate)
	o.Recheck = orDefault(o.Recheck, 30*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func orDefault[T int | int64 | float64 | time.Duration](v, d T) T {
	if v <= 0 {
		return d
	}
	return v
}

// defaultAdmitRate is about a quarter of a core's worth of handshakes, and brings 10,000 agents back within a minute.
const defaultAdmitRate = 200

// What both ends agree on about life and death of a connection: a peer that vanishes is found pingAfter + pingWait after its
// last byte, and one whose program hangs answerWait after it should have said something.
const (
	pingAfter   = 10 * time.Second
	pingWait    = 5 * time.Second
	answerWait  = 15 * time.Second
	aliveEvery  = 5 * time.Second  // the collector says so while it owes acknowledgements
	helloWait   = 10 * time.Second // from a connection's or stream's beginning to its handshake or hello, on the collector's end
	connectWait = 20 * time.Second // to a connection, on the agent's end: three round trips
	welcomeWait = 30 * time.Second // to a welcome
	ackLinger   = 5 * time.Millisecond
	flowWindow  = 64 << 10 // bytes of a stream that may be under way
)

// ServerStats counts since the start. Reasons and addresses are bounded sets.
type ServerStats struct {
	Streams    int               // open now
	Opened     uint64            // streams
	Replaced   map[string]uint64 // streams ended by a newer one of the same agent: reconnect, restart, clone
	Handshakes map[string]uint64 // refused at the handshake, by reason
	Addresses  map[string]uint64 // refused at the handshake, by address without port
	Rejected   map[string]uint64 // streams refused or ended, by reason
	Messages   uint64
	Held       int64             // bytes of messages that are read and not settled
	Throttled  uint64            // times that an agent had to wait for having sent too much
	Withheld   uint64            // parts of messages that were judged and not acknowledged, as they could not be stored
	Refused    map[string]uint64 // messages, by reason
	Enrolments map[string]uint64 // by outcome
}

// Server is the collector's end. Each agent has at most one stream: a newer one ends the older.
type Server struct {
	pb.UnimplementedUplinkServer
	opts     ServerOptions
	grpc     *grpc.Server
	admit    *rate.Limiter
	enrol    *rate.Limiter
	crowd    crowd
	budget   *budget
	quotas   quotas
	acks     ackClock
	stopping chan struct{}
	readers  sync.WaitGroup // what sessions started

	messages, throttled, withheld atomic.Uint64

	mu       sync.Mutex
	stopped  bool
	sessions map[string]*session
	opened   uint64

	replaced, handshakes, addresses, rejected, refused, enrolments *counts
}

// NewServer prepares; Serve does the work.
func NewServer(o ServerOptions) (*Server, error) {
	if o.Receiver == nil || o.Certs == nil {
		return nil, errors.New("make uplink server: receiver and certificates are needed")
	}
	const reasons, addresses = 32, 1000
	s := &Server{
		opts:     o.withDefaults(),
		stopping: make(chan struct{}),
		sessions: make(map[string]*session),
		budget:   newBudget(o.withDefaults().TotalBytes),
		replaced: newCounts(reasons), handshakes: newCounts(reasons), addresses: newCounts(addresses),
		rejected: newCounts(reasons), refused: newCounts(reasons), enrolments: newCounts(reasons),
	}
	s.quotas = quotas{reports: s.opts.AgentReports, bytes: s.opts.AgentBytes, most: 2 * s.opts.MaxStreams, by: make(map[string]*quota)}
	burst := max(1, int(s.opts.AdmitRate))
	s.admit = rate.NewLimiter(rate.Limit(s.opts.AdmitRate), burst)
	s.enrol = rate.NewLimiter(20, 20)
	s.grpc = grpc.NewServer(
		grpc.Creds(newHandshaker(o.Certs, turnstile{rate.NewLimiter(rate.Limit(1.25*s.opts.AdmitRate), burst+burst/4), s.stopping}, s.handshakes, s.addresses)),
		grpc.ForceServerCodecV2(envelopeCodec{s.opts.MaxMessage}),
		grpc.MaxRecvMsgSize(2*s.opts.MaxMessage), // beyond MaxMessage a message is refused by number, beyond this the stream ends
		grpc.MaxConcurrentStreams(4),
		grpc.StaticStreamWindowSize(flowWindow), grpc.StaticConnWindowSize(flowWindow),
		grpc.ReadBufferSize(2<<10), grpc.WriteBufferSize(4<<10),
		grpc.MaxHeaderListSize(8<<10),
		grpc.ConnectionTimeout(helloWait),
		grpc.WaitForHandlers(true),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pingWait, MaxConnectionIdle: time.Minute}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingWait}),
	)
	pb.RegisterUplinkServer(s.grpc, s)
	return s, nil
}

// Serve accepts agents until Stop; it returns nil after Stop.
func (s *Server) Serve(l net.Listener) error {
	most := s.opts.MaxStreams + s.opts.MaxStreams/10 + 10 // some without a stream: those that enrol or greet
	err := s.grpc.Serve(&boundedListener{Listener: l, most: most, turnedAway: func(addr string) {
		s.handshakes.add("too_many_connections")
		s.addresses.add(hostOf(addr))
	}})
	if errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("serve agents: %w", err)
	}
	return nil
}

// Stop stops reading, waits until what was read is durable and acknowledged or ctx is done, and closes all streams.
func (s *Server) Stop(ctx context.Context) {
	s.mu.Lock()
	if !s.stopped {
		s.stopped = true
		close(s.stopping)
	}
	s.mu.Unlock()
	graceful := make(chan struct{})
	go func() {
		defer close(graceful)
		s.grpc.GracefulStop()
	}()
	select {
	case <-graceful:
	case <-ctx.Done():
		s.grpc.Stop()
	}
	<-graceful
	read := make(chan struct{})
	go func() {
		defer close(read)
		s.readers.Wait()
	}()
	select {
	case <-read:
	case <-time.After(answerWait): // a receiver that does not heed its context keeps its goroutine
		s.opts.Logger.Error("a receiver is still at work after all streams have ended")
	}
}

// Stats is a snapshot.
func (s *Server) Stats() ServerStats {
	s.mu.Lock()
	st := ServerStats{Streams: len(s.sessions), Opened: s.opened}
	s.mu.Unlock()
	st.Messages, st.Throttled, st.Held = s.messages.Load(), s.throttled.Load(), s.budget.held.Load()
	st.Withheld = s.withheld.Load()
	st.Replaced, st.Handshakes, st.Addresses = s.replaced.snapshot(), s.handshakes.snapshot(), s.addresses.snapshot()
	st.Rejected, st.Refused, st.Enrolments = s.rejected.snapshot(), s.refused.snapshot(), s.enrolments.snapshot()
	return st
}

// boundedListener turns away connections beyond a number.
type boundedListener struct {
	net.Listener
	most       int
	turnedAway func(addr string)

	mu   sync.Mutex
	open int
}

func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		l.mu.Lock()
		full := l.open >= l.most
		if !full {
			l.open++
		}
		l.mu.Unlock()
		if !full {
			return &boundedConn{Conn: c, l: l}, nil
		}
		l.turnedAway(c.RemoteAddr().String())
		c.Close()
	}
}

type boundedConn struct {
	net.Conn
	l    *boundedListener
	once sync.Once
}

func (c *boundedConn) Close() error {
	c.once.Do(func() {
		c.l.mu.Lock()
		c.l.open--
		c.l.mu.Unlock()
	})
	return c.Conn.Close()
}

package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/time/rate"

	"xunjian/pkg/metric"
	"xunjian/pkg/uplink"
)

// Options says who sends what how fast.
type Options struct {
	Bin    string // folder of the built programs
	Dir    string // empty folder to work in; the collector's log is in it
	Agents int
	Every  time.Duration // between an agent's reports; 0: full speed
	Before int           // reports that each agent sends first as fast as it can, as if they had been read before; they fill the heads
	Fill   float64       // of those, reports of all agents a second [as many as they can]
	Window int           // at full speed, reports of an agent that wait for their acknowledgement [8]
	Warm   time.Duration // from when all agents are connected until counting begins
	For    time.Duration // how long is counted

	Series []metric.Series
	Row    func(agent, tick int) []float64 // values of a report, in the order of Series
	First  time.Time                       // at full speed, the stamp of tick 0 [6 days ago]; else stamps are the present
	Step   time.Duration                   // at full speed, between stamps [15 s]

	Config string   // further lines for the collector's configuration
	Env    []string // further environment of the collector
}

// Result is what was counted. CPU and Written are the collector's within the window.
type Result struct {
	Connect  time.Duration // until all agents were connected
	Filled   time.Duration // until all that each sends first was acknowledged
	Window   time.Duration
	Reports  int // acknowledged within the window
	Samples  int
	Refused  int
	Lost     int // streams that broke
	P50, P99 time.Duration
	Max      time.Duration
	CPU      time.Duration
	Written  int64
	RSS      int64 // at the end
	Peak     int64 // the most that RSS ever was
}

// Cores is the share of a core that the collector used.
func (r Result) Cores() float64 { return r.CPU.Seconds() / r.Window.Seconds() }

// CPUPerSample is in nanoseconds.
func (r Result) CPUPerSample() float64 {
	return float64(r.CPU.Nanoseconds()) / float64(max(r.Samples, 1))
}

func (r Result) String() string {
	return fmt.Sprintf("%d reports in %v (%.0f/s, connected in %v, heads filled in %v): ack p50 %v p99 %v max %v, %.3f cores, %.3f µs/sample, %.0f B written/report, RSS %d MB (peak %d), %d refused, %d streams broke",
		r.Reports, r.Window.Round(time.Millisecond), float64(r.Reports)/r.Window.Seconds(), r.Connect.Round(time.Millisecond), r.Filled.Round(time.Millisecond), r.P50, r.P99, r.Max.Round(time.Millisecond),
		r.Cores(), r.CPUPerSample()/1e3, float64(r.Written)/float64(max(r.Reports, 1)), r.RSS>>20, r.Peak>>20, r.Refused, r.Lost)
}

// Run starts a collector, connects the agents, lets them send and counts.
func Run(ctx context.Context, o Options) (r Result, err error) {
	s, err := Start(ctx, o)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	begin := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &crowd{Options: s.Options, server: s, send: make(chan struct{}), filler: rate.NewLimiter(rate.Inf, 1)}
	if c.Fill > 0 {
		c.filler = rate.NewLimiter(rate.Limit(c.Fill), 1)
	}
	if c.Window == 0 {
		c.Window = 8
	}
	if c.Step == 0 {
		c.Step = 15 * time.Second
	}
	if c.First.IsZero() {
		c.First = begin.Add(-6 * 24 * time.Hour).Truncate(c.Step)
	}
	defer c.wait.Wait()
	defer cancel()
	if c.Every > 0 { // as after a restart: who is in sends; thousands that idle until all are in would be none the wiser
		close(c.send)
	}
	if err := c.connect(ctx); err != nil {
		return r, err
	}
	r.Connect = time.Since(begin)
	if c.Every == 0 {
		close(c.send)
	} else if err := c.fill(ctx); err != nil {
		return r, err
	}
	r.Filled = time.Since(begin)
	return r, c.measure(ctx, &r)
}

// Server is a collector as a process of its own, with enrolled agents.
type Server struct {
	Options
	Pid       int
	Web, GRPC string
	Agents    []*tls.Config

	config string
	cmd    *exec.Cmd
	ended  chan error
}

// Start enrols the agents and starts the collector.
func Start(ctx context.Context, o Options) (*Server, error) {
	s := &Server{Options: o, config: filepath.Join(o.Dir, "collector.yml")}
	data := filepath.Join(o.Dir, "data")
	var err error
	if s.Agents, err = enrol(ctx, data, o.Agents); err != nil {
		return nil, fmt.Errorf("enrol agents: %w", err)
	}
	if s.Web, err = freeAddr(); err != nil {
		return nil, err
	}
	if s.GRPC, err = freeAddr(); err != nil {
		return nil, err
	}
	text := fmt.Sprintf("data: '%s'\nhttp: {listen: '%s'}\nuplink: {listen: '%s'}\nfleet: {names: [127.0.0.1], max_agents: %d}\nservices: []\nchecks: []\n%s\n",
		data, s.Web, s.GRPC, o.Agents, o.Config)
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return s, s.Restart(ctx)
}

// Restart starts the collector on the files that are there and waits until it is ready.
func (s *Server) Restart(ctx context.Context) error {
	program, err := filepath.Abs(filepath.Join(s.Bin, "collector"))
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(s.Dir, "collector.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = exec.Command(program, "serve", "--config", s.config)
	s.cmd.Env = append(os.Environ(), s.Env...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("start collector: %w", err)
	}
	s.Pid, s.ended = s.cmd.Process.Pid, make(chan error, 1)
	go func() { s.ended <- s.cmd.Wait() }()
	return s.await(ctx)
}

func (s *Server) await(ctx context.Context) error {
	for range 600 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Web+"/-/ready", http.NoBody)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-s.ended:
			text, _ := os.ReadFile(filepath.Join(s.Dir, "collector.log")) // only to say more
			return fmt.Errorf("collector ended: %w\n%s", err, text)
		case <-time.After(50 * time.Millisecond):
		}
	}
	return errors.New("collector is not ready after 30 s")
}

// Stop ends the collector in order, and the hard way after 20 s.
func (s *Server) Stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case err := <-s.ended:
		return err
	case <-time.After(20 * time.Second):
		s.Kill()
		return errors.New("collector did not stop within 20 s")
	}
}

// Kill ends the collector at once.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill() // it may have ended
	<-s.ended                //nolint:errcheck // it says that it was killed
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// crowd is all agents of one run.
type crowd struct {
	Options
	server *Server
	send   chan struct{} // closed when agents may send
	wait   sync.WaitGroup
	agents []*uplink.Bare
	filler *rate.Limiter

	latency         histogram
	acked           atomic.Int64
	refused, broken atomic.Int64
}

// connect opens the agents' streams, so many at a time, and starts them; they wait for send to be closed.
func (c *crowd) connect(ctx context.Context) error {
	const atOnce = 16
	c.agents = make([]*uplink.Bare, c.Options.Agents)
	errs := make(chan error, atOnce)
	var next atomic.Int64
	for range atOnce {
		go func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(c.agents) {
					errs <- nil
					return
				}
				if err := c.dial(ctx, i); err != nil {
					errs <- fmt.Errorf("connect agent %d: %w", i, err)
					return
				}
			}
		}()
	}
	var err error
	for range atOnce {
		err = errors.Join(err, <-errs)
	}
	return err
}

// fill waits until what each agent sends first is acknowledged.
func (c *crowd) fill(ctx context.Context) error {
	for {
		broken := int(c.broken.Load())
		if broken > c.Options.Agents/100 {
			return fmt.Errorf("%d of %d streams broke while heads were filled", broken, c.Options.Agents)
		}
		if c.acked.Load() >= int64(c.Before*(c.Options.Agents-broken)) {
			return nil
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// dial tries again while the collector admits no more agents a second.
func (c *crowd) dial(ctx context.Context, i int) (err error) {
	for range 100 {
		o := uplink.ClientOptions{Address: c.server.GRPC, TLS: c.server.Agents[i]}
		if c.agents[i], err = uplink.DialBare(ctx, o); err == nil {
			c.play(ctx, i)
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	return err
}

func (c *crowd) measure(ctx context.Context, r *Result) error {
	if err := sleep(ctx, c.Warm); err != nil {
		return err
	}
	before, err := UsageOf(c.server.Pid)
	if err != nil {
		return err
	}
	c.latency.reset()
	n0, begin := c.acked.Load(), time.Now()
	if err := sleep(ctx, c.For); err != nil {
		return err
	}
	after, err := UsageOf(c.server.Pid)
	if err != nil {
		return err
	}
	r.Window, r.Reports = time.Since(begin), int(c.acked.Load()-n0)
	r.Samples = r.Reports * len(c.Series)
	r.P50, r.P99, r.Max = c.latency.quantile(0.5), c.latency.quantile(0.99), time.Duration(c.latency.most.Load())
	r.CPU, r.Written = after.CPU-before.CPU, after.Written-before.Written
	r.RSS, r.Peak = after.RSS, after.Peak
	r.Refused, r.Lost = int(c.refused.Load()), int(c.broken.Load())
	if r.Reports == 0 {
		return errors.New("no report was acknowledged")
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

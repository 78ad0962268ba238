package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/semaphore"

	"xunjian/pkg/check"
	"xunjian/pkg/host"
	"xunjian/pkg/metric"
	"xunjian/pkg/probe"
	"xunjian/pkg/spool"
	"xunjian/pkg/uplink"
)

// Options are the agent's surroundings, beside its Config.
type Options struct {
	Config
	Version string
	Logger  *slog.Logger
	Host    host.Options
	Probe   probe.Options
	Dial    func(ctx context.Context, address string) (net.Conn, error) // for tests over memory pipes
	Self    SelfCheck                                                   // what this host's own connectivity is judged by; default its gateway and resolver
}

// Agent reads the host and asks the services that the collector's plan names.
type Agent struct {
	o        Options
	log      *slog.Logger
	identity uplink.Identity
	reader   *host.Reader
	queue    *spool.Queue
	client   *uplink.Client
	schedule *schedule
	ledger   *ledger
	reach    *reach
	plans    chan check.Plan // newest plan only: an older one that waits is replaced
	wanted   chan wanted     // of maxWanted; what is more is dropped, for the collector asks again with the next bad round
	zone     atomic.Pointer[time.Location]
	periods  atomic.Pointer[[]check.Period]
	rounds   *semaphore.Weighted // of maxRounds
	asked    *semaphore.Weighted // of maxAsked

	// What runs; only Run's own goroutine touches it.
	runners map[string]*runner
	every   time.Duration // of the host's readings
}

// wanted is a check that the collector wants asked at once.
type wanted struct{ check, request string }

const maxWanted = 256

// New opens the spool and the identity, enrolling first when there is none: that is the only thing that needs the collector.
func New(ctx context.Context, o Options) (*Agent, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Probe.Secrets == "" {
		o.Probe.Secrets = o.Config.Secrets
	}
	if o.Probe.State == "" {
		o.Probe.State = o.Config.State
	}
	a := &Agent{
		o: o, log: o.Logger, plans: make(chan check.Plan, 1), wanted: make(chan wanted, maxWanted), runners: map[string]*runner{},
		rounds: semaphore.NewWeighted(maxRounds), asked: semaphore.NewWeighted(maxAsked), reach: newReach(o.Self),
	}
	a.zone.Store(time.UTC)
	a.periods.Store(new([]check.Period))
	if err := os.MkdirAll(o.State, 0o700); err != nil {
		return nil, fmt.Errorf("make state folder: %w", err)
	}
	var err error
	if a.ledger, err = openLedger(filepath.Join(o.State, "checks.json"), a.day(time.Now())); err != nil {
		a.log.Error("budgets of checks", "error", err)
	}
	// The spool first: a token must not be used up when its certificate could not be kept.
	a.queue, err = spool.Open(spool.Options{Dir: filepath.Join(o.State, "spool"), MaxBytes: o.Spool.MaxBytes, MaxAge: o.Spool.MaxAge})
	if err != nil {
		return nil, err
	}
	if err := a.identify(ctx); err != nil {
		return nil, errors.Join(err, a.queue.Close())
	}
	if err := a.connect(); err != nil {
		return nil, errors.Join(err, a.queue.Close())
	}
	a.reader = host.New(o.Host)
	a.schedule = newSchedule(a.identity.Name)
	return a, nil
}

// identify loads the identity, or enrols with the one-time token.
func (a *Agent) identify(ctx context.Context) (err error) {
	a.identity, err = uplink.LoadIdentity(a.o.State)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	token, err := a.o.token()
	if err != nil {
		return fmt.Errorf("read token: %w", err)
	}
	if token == "" {
		return fmt.Errorf("no identity in %s and no token: make one on the collector with `collector token create` and give it with --token-file", a.o.State)
	}
	a.identity, err = uplink.Enroll(ctx, uplink.EnrollOptions{Address: a.o.Collector, Token: token, Name: a.o.name(), Dial: a.o.Dial})
	if err != nil {
		return err
	}
	if err := a.identity.Save(a.o.State); err != nil {
		return err
	}
	a.log.Info("enrolled", "name", a.identity.Name, "certificate_until", a.identity.NotAfter)
	return nil
}

func (a *Agent) connect() error {
	tls, err := a.identity.TLS()
	if err != nil {
		return err
	}
	held := a.heldPlan()
	a.client, err = uplink.NewClient(uplink.ClientOptions{
		Address: a.o.Collector, TLS: tls, Dial: a.o.Dial, Spool: a.queue, OnPlan: a.offer, OnProbeNow: a.want,
		Plan: held.Revision, Version: a.o.Version, Host: machineID(), Logger: a.log,
	})
	if held.Revision != "" {
		a.offer(held)
	}
	return err
}

// Name is the agent's name in its certificate.
func (a *Agent) Name() string { return a.identity.Name }

// goodbyeWait is how long the end of an agent may wait for the collector to hear of it.
const goodbyeWait = 2 * time.Second

// Run works until ctx is done, and tells the collector so; what the collector has not acknowledged is then in the spool.
func (a *Agent) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	uplink, stop := context.WithCancel(context.WithoutCancel(ctx)) // outlives the jobs: their last readings are to be spooled
	defer stop()
	wg.Go(func() {
		if err := a.client.Run(uplink); err != nil {
			a.log.Error("uplink ended", "error", err)
		}
	})
	err := a.followPlans(ctx)
	a.schedule.wait()
	a.goodbye(ctx)
	stop()
	wg.Wait()
	a.dropChecks(nil)
	return errors.Join(err, a.queue.Close())
}

// goodbye tells the collector that this agent was ended on purpose. A service manager's restart is the same signal as its
// stop, so which of the two it is shows only afterwards.
func (a *Agent) goodbye(ended context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ended), goodbyeWait)
	defer cancel()
	a.client.Goodbye(ctx, signalOf(context.Cause(ended)))
}

// signalOf names the signal that ended a context of signal.NotifyContext; any other end has no name.
func signalOf(cause error) string {
	for name, s := range map[string]os.Signal{"SIGTERM": syscall.SIGTERM, "SIGINT": os.Interrupt} {
		if cause != nil && strings.HasPrefix(cause.Error(), s.String()) {
			return name
		}
	}
	return ""
}

// offer hands a plan to the loop that applies it; it never blocks the stream.
func (a *Agent) offer(p check.Plan) {
	for {
		select {
		case a.plans <- p:
			return
		default:
		}
		select {
		case <-a.plans:
		default:
		}
	}
}

// want hands on what the collector wants asked at once; it never blocks the stream.
func (a *Agent) want(check, request string) {
	select {
	case a.wanted <- wanted{check, request}:
	default:
	}
}

// followPlans applies plans as they come. Without a plan nothing is read: intervals are the collector's to say.
func (a *Agent) followPlans(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case p := <-a.plans:
			a.apply(ctx, p)
			if err := a.keepPlan(p); err != nil {
				a.log.Warn("keep plan for the next start", "error", err)
			}
		case w := <-a.wanted:
			if r := a.runners[w.check]; r != nil {
				a.schedule.wg.Go(func() { r.now(ctx, w.request) })
			}
		}
	}
}

// apply starts, restarts and stops jobs so that exactly the plan runs. Checks that did not change keep running undisturbed.
func (a *Agent) apply(ctx context.Context, p check.Plan) {
	a.setZone(p.Location)
	periods := p.Periods[:min(len(p.Periods), maxPeriods)]
	a.periods.Store(&periods)
	wanted := map[string]bool{}
	for _, spec := range p.Checks {
		wanted[spec.Name] = true
		a.startCheck(ctx, spec)
	}
	a.dropChecks(wanted)
	a.startHost(ctx, p.HostEvery)
	a.log.Info("plan in force", "revision", p.Revision, "checks", len(p.Checks), "host_every", p.HostEvery)
}

// dropChecks ends all checks but those wanted and lets go of what they keep.
func (a *Agent) dropChecks(wanted map[string]bool) {
	for name, old := range a.runners {
		if !wanted[name] {
			a.schedule.stop(metric.KindProbe + name)
			old.prober.Close()
			delete(a.runners, name)
		}
	}
}

// setZone is where the plan's hours and days are. A host that knows no such zone has its own, which is seldom another.
func (a *Agent) setZone(name string) {
	zone, err := time.LoadLocation(name)
	if err != nil {
		a.log.Warn("the plan's time zone is not known on this host, whose own is used", "location", name, "error", err)
		zone = time.Local
	}
	a.zone.Store(zone)
}

// day is the calendar day of budgets.
func (a *Agent) day(t time.Time) string { return t.In(a.zone.Load()).Format(time.DateOnly) }

func (a *Agent) startHost(ctx context.Context, every time.Duration) {
	if every > 0 {
		every = max(every, minEvery)
	}
	if every == a.every {
		return
	}
	if a.every = every; every <= 0 {
		a.schedule.stop(metric.KindHost)
		return
	}
	a.schedule.start(ctx, job{name: metric.KindHost, every: every, run: func(ctx context.Context, tick time.Time) {
		samples := append(a.reader.Read(ctx, tick), a.selfSamples()...)
		if ctx.Err() != nil { // cut off: what was not read is not gone from the host
			return
		}
		a.client.Send(uplink.Batch{Reports: []metric.Report{{Kind: metric.KindHost, Every: every, At: tick, Samples: samples}}}, false)
	}})
}

// minEvery keeps a plan that no collector of ours makes from spinning this agent, or stopping it.
const minEvery = 100 * time.Millisecond

// maxPeriods bounds what a plan may have looked at with each tick.
const maxPeriods = 1000

func (a *Agent) startCheck(ctx context.Context, spec check.Spec) {
	spec = spec.WithDefaults()
	spec.Every = max(spec.Every, minEvery)
	text, err := json.Marshal(spec)
	if err != nil {
		a.log.Error("check in plan", "check", spec.Name, "error", err)
		return
	}
	old := a.runners[spec.Name]
	if old != nil && bytes.Equal(old.text, text) {
		return
	}
	var turn chan struct{}
	if old != nil {
		turn = old.turn
	}
	r := a.newRunner(spec, text, turn)
	a.runners[spec.Name] = r
	if spec.Standby { // asked when the collector wants it
		a.schedule.stop(metric.KindProbe + spec.Name)
	} else {
		a.schedule.start(ctx, job{name: metric.KindProbe + spec.Name, every: spec.Every, grid: r.grid, due: r.due, run: r.tick})
	}
	if old != nil {
		old.prober.Close()
	}
}

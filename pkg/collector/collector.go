// Package collector wires the collecting half and the accountable half into one program.
package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"xunjian/pkg/access"
	"xunjian/pkg/alertapi"
	"xunjian/pkg/api"
	"xunjian/pkg/clock"
	"xunjian/pkg/disk"
	"xunjian/pkg/fleet"
	"xunjian/pkg/heartbeat"
	"xunjian/pkg/i18n"
	"xunjian/pkg/incident"
	"xunjian/pkg/ingest"
	"xunjian/pkg/inspect"
	"xunjian/pkg/metric"
	"xunjian/pkg/promapi"
	"xunjian/pkg/query"
	"xunjian/pkg/roster"
	"xunjian/pkg/rule"
	"xunjian/pkg/store"
	"xunjian/pkg/tsdb"
	"xunjian/pkg/uplink"
)

// Options are the collector's surroundings, beside its Config.
type Options struct {
	Config  Config
	File    string // of the configuration, for reloads; empty: no reload
	Version string
	Logger  *slog.Logger

	// For tests: listeners in place of those that the configuration names, and what the disk is said to have.
	HTTP, GRPC net.Listener
	Measure    func(dir string) (disk.Space, error)
}

// Collector is the whole program. New opens everything that may fail, Run works, Close releases in reverse order.
type Collector struct {
	o        Options
	log      *slog.Logger
	registry *prometheus.Registry
	metrics  *metrics

	reloading sync.Mutex // one reload at a time
	mu        sync.Mutex // guards cfg once Run is at work; what a reload cannot change is read from o.Config instead
	cfg       Config

	clock   *clock.Clock
	stepped stepped
	disk    *disk.Watch
	backups backups
	records *store.DB
	series  *tsdb.DB
	access  *access.Directory
	roster  *roster.Roster
	fleet   *fleet.Registry
	board   *inspect.Board
	desk    *incident.Desk
	teller  *teller
	pages   pages
	engine  *query.Engine
	rules   *rule.Manager
	alerts  *alertapi.Book
	plans   *planner
	uplink  *uplink.Server
	strain  *strain
	notices notices
	hosts   hosts
	hearts  *heartbeat.Hearts
	ticked  atomic.Int64 // when time last passed for those who judge, in milliseconds
	web     *http.Server
	control *api.Control
	// endStreams ends the console's event streams, which have no end of their own.
	endStreams func()
	doors      struct{ http, grpc net.Listener }

	closers []closer
	reloads chan struct{} // holds one: a reload asks for no second one while it waits

	habitual   chan struct{} // holds one: the configuration may want to know more of what is usual
	knowsUsual bool          // the board has been told what is; of the one who learns it
}

type closer struct {
	name string
	fn   func() error
}

// New opens the store, reads what is kept, and binds the listeners. What was opened is closed again when a later step fails.
func New(o Options) (_ *Collector, err error) {
	c := newCollector(o)
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	for _, step := range []func() error{c.openDisk, c.openStores, c.openClock, c.openAccountable, c.admit, c.openFleet, c.openJudges, c.openPager, c.openUplink, c.openHearts, c.openWeb} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func newCollector(o Options) *Collector {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Collector{o: o, log: o.Logger, cfg: o.Config, registry: promapi.NewRegistry(), clock: clock.New(), hosts: newHosts(), reloads: make(chan struct{}, 1), habitual: make(chan struct{}, 1)}
	c.plans = newPlanner(c.clock.Now)
	c.pages.swapped = make(chan struct{}, 1)
	c.metrics = newMetrics(c.registry, o.Version)
	backupMetrics(c.registry, o.Config.Data)
	c.backups.c = c
	return c
}

func (c *Collector) later(name string, fn func() error) {
	c.closers = append(c.closers, closer{name, fn})
}

// Close releases what New opened, the last first.
func (c *Collector) Close() (err error) {
	for i := len(c.closers) - 1; i >= 0; i-- {
		if e := c.closers[i].fn(); e != nil {
			err = errors.Join(err, fmt.Errorf("close %s: %w", c.closers[i].name, e))
		}
	}
	c.closers = nil
	return err
}

func (c *Collector) openStores() (err error) {
	if c.records, err = store.Open(recordsFile(c.cfg.Data), store.Options{}); err != nil {
		return err
	}
	c.later("records", c.records.Close)
	linger := c.cfg.Storage.Linger
	if linger == 0 {
		linger = -1 // what zero means in the file
	}
	c.series, err = tsdb.Open(filepath.Join(c.cfg.Data, "series"), tsdb.Options{
		Linger: linger, Limits: tsdb.Limits{Series: c.cfg.Storage.MaxSeries, Streams: max(20_000, c.cfg.Storage.MaxSeries/5)}, // a check has about ten series
		Room: c.disk.Room, Damaged: c.tellDamage, Now: c.clock.Now, Registerer: c.registry, Logger: c.log,
	})
	if err != nil {
		return err
	}
	c.later("series", c.series.Close)
	return nil
}

func recordsFile(data string) string { return filepath.Join(data, "records.db") }

func (c *Collector) openAccountable() (err error) {
	if c.access, err = access.New(c.records, access.Options{Logger: c.log, Registerer: c.registry}); err != nil {
		return err
	}
	if err := c.openRoster(); err != nil {
		return err
	}
	settings, err := c.cfg.desk()
	if err != nil {
		return err
	}
	c.desk, err = incident.New(c.records, incident.Options{
		Settings: settings, Curves: c.hostCurves, Location: c.cfg.location(), Steady: c.steady(), Logger: c.log, Registerer: c.registry,
	})
	if err != nil {
		return err
	}
	calendar, err := c.cfg.calendar()
	if err != nil {
		return err
	}
	c.notices.text = i18n.For(c.cfg.Language)
	c.notices.set(calendar)
	c.teller = &teller{desk: c.desk, now: c.clock.Now, log: c.log}
	tellerMetrics(c.registry, c.teller)
	return nil
}

func (c *Collector) openFleet() (err error) {
	c.fleet, err = fleet.New(c.records, fleet.Options{
		Dir: c.cfg.Data, Config: c.cfg.Fleet, Lang: c.cfg.Language, Observe: c.teller.observe, Reach: c.reach, Location: c.cfg.location(), Now: c.clock.Now, Logger: c.log,
		Registerer: c.registry,
	})
	return err
}

// openJudges makes the board and the rules, and tells both what was firing when the last process ended.
func (c *Collector) openJudges() error {
	worked, err := c.tellGap(c.clock.Now())
	if err != nil {
		return err
	}
	before, err := firing(c.desk)
	if err != nil {
		return err
	}
	ended, err := verifying(c.desk)
	if err != nil {
		return err
	}
	c.board = inspect.New(c.cfg.Language, c.cfg.Inspect, c.cfg.Services, c.cfg.Checks)
	c.board.With(c.askOther, c.cfg.location())
	c.board.Silence(c.silent)
	c.board.Worked(worked...)
	for _, s := range slices.Concat(before, ended) {
		c.board.Restore(s)
	}
	c.strain = newStrain(c.series, i18n.For(c.cfg.Language))
	c.strain.adopt(c.clock.Now(), before)
	c.notices.adopt(c.clock.Now(), before)
	c.engine = query.New(query.Options{Store: c.series, Logger: c.log, Registerer: c.registry})
	c.rules, err = rule.New(rule.Options{
		Files: c.cfg.Rules.Files, Interval: c.cfg.Rules.Interval, Queryable: c.engine.Queryable(), Query: c.engine.QueryFunc(),
		Appendable: query.NewAppendable(query.AppendOptions{Store: c.series, Registerer: c.registry}),
		Sink:       c.ruled, Steady: c.clock.Steady, ExternalURL: c.cfg.externalURL(), Logger: c.log, Registerer: c.registry,
	})
	if err != nil {
		return err
	}
	c.rules.Adopt(before)
	c.alerts, err = alertapi.New(c.records, alertapi.Options{Config: c.cfg.Alerts, Observe: c.teller.observeAll, Now: c.clock.Now, Logger: c.log, Registerer: c.registry})
	if err != nil {
		return err
	}
	c.alerts.Adopt(before)
	c.disk.Adopt(toldOfDisk(before))
	return nil
}

// tellGap tells the desk since when nobody has watched: the newest report is the last sign of life. Recoveries under
// verification do not count across it. It returns the checks that were ok when they were last asked.
func (c *Collector) tellGap(now time.Time) (worked []string, err error) {
	var newest int64
	err = c.series.Last(func(s metric.Series, at int64, v float64) {
		newest = max(newest, at)
		if s.Name == metric.ProbeSuccess && v == 1 {
			worked = append(worked, s.Get("check"))
		}
	})
	if err != nil || newest == 0 {
		return nil, err
	}
	return worked, c.desk.Gap(time.UnixMilli(newest), now)
}

func (c *Collector) openPager() error {
	channels, err := c.cfg.Pages.Channels()
	if err != nil {
		return err
	}
	if err := c.pages.set(c, channels, c.cfg); err != nil {
		return err
	}
	<-c.pages.swapped // run begins with this one
	return nil
}

func (c *Collector) openUplink() (err error) {
	receiver := ingest.New(ingest.Options{
		Store: c.series, Judge: c.board, Sink: c.teller.tell, Assigned: c.plans.assigned, Unproven: c.board.Unproven,
		Heard: c.heard, Reports: c.seen, Leaves: c.leaves, Now: c.clock.Now, Registerer: c.registry, Logger: c.log,
	})
	c.plans.set(c.cfg)
	quarantine, err := ingest.NewQuarantine(filepath.Join(c.cfg.Data, quarantineFolder), c.strain.poison, c.log, c.registry)
	if err != nil {
		return err
	}
	c.uplink, err = uplink.NewServer(uplink.ServerOptions{
		Receiver: receiver, Planner: c.plans, Enroller: enroller{c.fleet}, Certs: c.fleet.Certificate, Logger: c.log,
		AdmitRate: c.cfg.Uplink.Admit, TotalBytes: c.cfg.Uplink.MaxBytes,
		AgentReports: c.cfg.Uplink.AgentReports, AgentBytes: c.cfg.Uplink.AgentBytes, Now: c.clock.Now, Quarantine: quarantine.Keep,
	})
	if err != nil {
		return err
	}
	c.registry.MustRegister(uplinkStats{c.uplink.Stats})
	if c.doors.grpc = c.o.GRPC; c.doors.grpc == nil {
		if c.doors.grpc, err = net.Listen("tcp", c.cfg.Uplink.Listen); err != nil {
			return fmt.Errorf("listen for agents: %w", err)
		}
	}
	c.later("uplink listener", ignoreClosed(c.doors.grpc.Close))
	return nil
}

func ignoreClosed(fn func() error) func() error {
	return func() error {
		if err := fn(); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}
}

// Run works until ctx is done or a part fails, then stops in order: doors first, so that nothing new comes in, stores last.
func (c *Collector) Run(ctx context.Context) error {
	parts, stopParts := context.WithCancel(context.WithoutCancel(ctx)) // outlive the doors: what was read must become durable
	defer stopParts()
	g, parts := errgroup.WithContext(parts)
	for name, run := range map[string]func(context.Context) error{
		"series": c.series.Run, "incidents": c.desk.Run, "fleet": c.fleet.Run, "rules": c.rules.Run, "alerts": c.alerts.Run, "pages": c.pages.run,
		"records": c.watchRecords, "disk": c.disk.Run, "backups": c.backups.wait, "figures": c.keepFigures, "usual": c.followUsual, "heartbeat": c.hearts.Run,
		"board":   func(ctx context.Context) error { return c.teller.run(ctx, c.tick) },
		"reloads": c.followReloads,
		"uplink":  func(context.Context) error { return c.uplink.Serve(c.doors.grpc) },
		"web":     func(context.Context) error { return c.serveWeb() },
	} {
		g.Go(func() error {
			if err := run(parts); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
	}
	if err := c.announce(); err != nil {
		c.log.Warn("command line will not find this collector", "error", err)
	}
	select {
	case <-ctx.Done():
	case <-parts.Done(): // a part failed
	}
	c.stopDoors()
	stopParts()
	return g.Wait()
}

// watchRecords ends the program after a write of the records of which nobody knows whether it is on disk: the service
// manager starts it anew, and the file is checked before it is written again.
func (c *Collector) watchRecords(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-c.records.Failed():
		return c.records.Err()
	}
}

// stopDoors lets what has come in be finished, for at most ten seconds.
func (c *Collector) stopDoors() {
	c.retract()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c.uplink.Stop(ctx)
	if err := c.web.Shutdown(ctx); err != nil {
		c.web.Close()
	}
}

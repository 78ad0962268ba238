package collector

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"

	"xunjian/pkg/api"
	"xunjian/pkg/console"
)

// shownPages bounds the undelivered pages that the console counts.
const shownPages = 100

// handler is the whole of the door for people and tools: API and health, metrics, console.
func (c *Collector) handler() (http.Handler, error) {
	if err := c.bootstrap(); err != nil {
		return nil, err
	}
	people := answered{c.desk, &c.pages}
	pages, err := console.New(console.Options{
		Desk: people, People: c.access, Links: &c.pages, Services: c.board.Services, Agents: c.fleet.Agents,
		Undelivered: c.pages.Undelivered, Duty: c.roster, Pages: &c.pages, Calls: c.pages.Calls, Windows: c.desk, Forecast: c.desk.Forecast, Emergency: c.emergency,
		Warnings: c.advice, Ill: c.ill, Hearts: c.hearts,
		Query: c.engine, Sessions: c.records, Location: c.cfg.location(), Now: c.clock.Now,
		Title: c.cfg.Report.Project, Version: c.o.Version, Secure: c.cfg.secure(), Logger: c.log,
	})
	if err != nil {
		return nil, fmt.Errorf("open console: %w", err)
	}
	c.endStreams = pages.EndStreams
	c.control = api.NewControl("", "") // where it listens is known once it does
	m := http.NewServeMux()
	doors := api.New(api.Options{
		Incidents: people, Services: c.board, Agents: c.fleet, Access: c.access, People: c.roster, Duty: c.roster, Windows: c.desk, Pages: &c.pages, Hearts: c.hearts, Replies: replies{c}, Reports: c.reports(), Backups: &c.backups, Control: c.control,
		Ready: c.ready, Series: c.heldSeries, Warnings: c.warnings, Reload: c.ReloadNow, Version: c.o.Version, Location: c.cfg.location(), Now: c.clock.Now,
		Logger: c.log, Registerer: c.registry,
	})
	m.Handle(api.Prefix+"/", doors)
	m.Handle(api.HealthPrefix, doors)
	m.Handle("/", pages)
	return m, c.mountPrometheus(m)
}

// emergency is the catalogue of actions approved beforehand.
func (c *Collector) emergency() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cfg.Incidents.Emergency
}

// ready says whether reports can be taken and records written.
func (c *Collector) ready() error {
	for _, err := range []error{c.series.Err(), c.series.NoSpace(), c.records.Err()} {
		if err != nil {
			return err
		}
	}
	if stuck := c.teller.stuck(); stuck > 0 {
		return fmt.Errorf("%d symptoms wait to be written", stuck)
	}
	return nil
}

// announce leaves word for the command line where this collector listens; retract takes it back.
func (c *Collector) announce() error {
	scheme, ca := "http", ""
	cfg := &c.o.Config
	if cfg.secure() {
		scheme = "https"
		if cfg.HTTP.CertFile == "" {
			ca = filepath.Join(cfg.Data, "ca.crt")
		} else {
			ca = cfg.path(cfg.HTTP.CertFile)
			c.control.Name = siteName(c.web.TLSConfig)
		}
	}
	addr, ok := c.doors.http.Addr().(*net.TCPAddr)
	if !ok {
		return nil // a test's pipe
	}
	host := addr.IP.String()
	if addr.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	c.control.URL, c.control.CAFile = fmt.Sprintf("%s://%s", scheme, net.JoinHostPort(host, fmt.Sprint(addr.Port))), ca
	return c.control.Write(cfg.Data)
}

func (c *Collector) retract() {
	if err := c.control.Remove(c.o.Config.Data); err != nil {
		c.log.Warn("control file stays", "error", err)
	}
}

// Offline is the API over a data folder on which no collector runs: incidents, tokens and reports, but nothing live.
// It fails with store.ErrLocked when one does run. close must be called.
func Offline(cfg Config) (_ http.Handler, closeAll func() error, err error) {
	c, err := openOffline(cfg)
	if err != nil {
		return nil, nil, err
	}
	return api.New(api.Options{
		Incidents: c.desk, Agents: c.fleet, Access: c.access, People: c.roster, Duty: c.roster, Windows: c.desk, Reports: c.reports(), Location: cfg.location(), Now: c.clock.Now,
	}), c.Close, nil
}

func openOffline(cfg Config) (_ *Collector, err error) {
	c := newCollector(Options{Config: cfg})
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	for _, step := range []func() error{c.openDisk, c.openStores, c.openClock, c.openAccountable, c.openFleet} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	now := c.clock.Now()
	if _, err := c.tellGap(now); err != nil { // a recovery must not come true while nobody watches
		return nil, err
	}
	return c, c.desk.Tick(now) // deadlines that passed while nothing ran
}

// siteName is a name in the site's own certificate: the command line calls by address, which need not stand in it.
func siteName(t *tls.Config) string {
	if len(t.Certificates) == 0 {
		return ""
	}
	leaf, err := x509.ParseCertificate(t.Certificates[0].Certificate[0])
	if err != nil || len(leaf.DNSNames) == 0 {
		return ""
	}
	return leaf.DNSNames[0]
}

// ControlToken is good for everything in the API while this collector runs: what control.json holds.
func (c *Collector) ControlToken() string { return c.control.Token }

package collector

import (
	"context"
	"errors"
	"reflect"

	"xunjian/pkg/access"
	"xunjian/pkg/config"
	"xunjian/pkg/rule"
	"xunjian/pkg/symptom"
)

// ruled is the sink of rules, which tell again what was not taken.
func (c *Collector) ruled(ctx context.Context, found []symptom.Symptom) error {
	if ctx.Err() != nil || len(found) == 0 {
		return ctx.Err()
	}
	refused, err := c.teller.observeAll(c.clock.Now(), found)
	return errors.Join(append(refused, err)...)
}

// Reload asks for the configuration to be read again; Run does it. It is what SIGHUP calls.
func (c *Collector) Reload() {
	select {
	case c.reloads <- struct{}{}:
	default: // one waits already and will read the newest file
	}
}

func (c *Collector) followReloads(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.reloads:
			if err := c.ReloadNow(ctx); err != nil {
				c.log.Error("reload refused, the old configuration stays in force", "error", err)
			}
		}
	}
}

// ReloadNow reads the file and swaps the configuration, or keeps the old one whole and says all that is wrong.
func (c *Collector) ReloadNow(context.Context) error {
	err := c.reload()
	if err != nil {
		c.metrics.reloadOK.Set(0)
		return err
	}
	c.metrics.reloadOK.Set(1)
	c.metrics.reloadAt.SetToCurrentTime()
	c.log.Info("configuration reloaded", "file", c.o.File)
	return nil
}

// reload first does all that may fail, then swaps.
func (c *Collector) reload() error {
	if c.o.File == "" {
		return errors.New("no configuration file to read again")
	}
	c.reloading.Lock()
	defer c.reloading.Unlock()
	next, err := LoadConfig(c.o.File)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.needsRestart(next); err != nil {
		return err
	}
	if err := rule.Check(next.Rules.Files); err != nil {
		return err
	}
	calendar, err := next.calendar()
	if err != nil {
		return err
	}
	settings, err := next.desk()
	if err != nil {
		return err
	}
	channels, err := next.Pages.Channels()
	if err != nil {
		return err
	}
	plan, err := next.dutyPlan()
	if err != nil {
		return err
	}
	holders, err := access.ReadTokens(next.people())
	if err != nil {
		return err
	}
	if err := c.rules.Reload(next.Rules.Files); err != nil {
		return err
	}
	if !reflect.DeepEqual(c.cfg.Pages, next.Pages) {
		if err := c.pages.set(c, channels, next); err != nil {
			return errors.Join(err, c.rules.Reload(c.cfg.Rules.Files))
		}
	}
	c.desk.Configure(settings)
	c.board.Configure(next.Inspect, next.Services, next.Checks)
	c.fleet.Configure(next.Fleet)
	if !reflect.DeepEqual(c.cfg.Alerts, next.Alerts) {
		c.alerts.Configure(next.Alerts)
	}
	c.plans.set(next)
	c.notices.set(calendar)
	if !reflect.DeepEqual(c.cfg.Heartbeat, next.Heartbeat) {
		c.hearts.Configure(next.Heartbeat)
	}
	c.roster.Configure(plan)
	c.access.Admit(holders)
	c.warn(next)
	c.cfg = next
	select {
	case c.habitual <- struct{}{}:
	default: // who looks will see this one too
	}
	return nil
}

// needsRestart refuses changes that a running collector cannot make, naming all of them.
func (c *Collector) needsRestart(next Config) error {
	var faults config.Faults
	for _, k := range []struct {
		path     string
		old, new any
	}{
		{"data", c.cfg.Data, next.Data},
		{"location", c.cfg.Location, next.Location},
		{"language", c.cfg.Language, next.Language},
		{"http.listen", c.cfg.HTTP.Listen, next.HTTP.Listen},
		{"http.external_url", c.cfg.HTTP.ExternalURL, next.HTTP.ExternalURL},
		{"http.tls", c.cfg.HTTP.TLS, next.HTTP.TLS},
		{"http.cert_file", c.cfg.HTTP.CertFile, next.HTTP.CertFile},
		{"http.key_file", c.cfg.HTTP.KeyFile, next.HTTP.KeyFile},
		{"http.read_token", c.cfg.HTTP.ReadToken, next.HTTP.ReadToken},
		{"http.cors_origin", c.cfg.HTTP.CORSOrigin, next.HTTP.CORSOrigin},
		{"uplink", c.cfg.Uplink, next.Uplink},
		{"storage", c.cfg.Storage, next.Storage},
		{"rules.interval", c.cfg.Rules.Interval, next.Rules.Interval},
	} {
		if !reflect.DeepEqual(k.old, k.new) {
			faults = append(faults, config.Fault{File: c.o.File, Path: k.path, What: "changed: this needs a restart of the collector"})
		}
	}
	if faults != nil {
		return faults
	}
	return nil
}

// Check reads a configuration and its rule files as a start would, without opening anything.
func Check(file string) error {
	cfg, err := LoadConfig(file)
	if err != nil {
		return err
	}
	_, err = cfg.Pages.Channels()
	_, tokens := access.ReadTokens(cfg.people())
	_, cerr := cfg.calendar()
	return errors.Join(rule.Check(cfg.Rules.Files), err, tokens, cerr)
}

package collector

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"xunjian/pkg/access"
	"xunjian/pkg/alertapi"
	"xunjian/pkg/check"
	"xunjian/pkg/fleet"
	"xunjian/pkg/incident"
	"xunjian/pkg/inspect"
	"xunjian/pkg/promapi"
	"xunjian/pkg/query"
)

// mountPrometheus opens the doors for Prometheus and for what speaks to it: Grafana, promtool.
func (c *Collector) mountPrometheus(m *http.ServeMux) error {
	origin, err := promapi.Origins(c.cfg.HTTP.CORSOrigin)
	if err != nil {
		return fmt.Errorf("read http.cors_origin: %w", err)
	}
	own := prometheus.Gatherers{c.registry, &c.pages}
	may := c.mayRead
	if !c.cfg.HTTP.ReadToken {
		may = nil
	}
	m.Handle("/metrics", authorized(may, promapi.Metrics(promapi.Options{Lasts: c.series, Own: own, Registerer: c.registry, Logger: c.log})))
	retention, _ := c.series.Retention()
	doors := promapi.API(promapi.APIOptions{
		Engine: c.engine, Bounds: query.DefaultConfig(), Rules: c.rules.Groups, Targets: c.targets, Own: own, Origin: origin, Authorize: may,
		Version: c.o.Version, Retention: retention, RuleFiles: c.rules.Files, Interval: c.cfg.Host.Every, Evaluation: c.cfg.Rules.Interval, Logger: c.log, Registerer: c.registry,
	})
	m.Handle(promapi.Prefix+"/", doors)
	m.Handle(promapi.FederatePath, doors)
	m.Handle(alertapi.Prefix+"/", alertapi.Handler(alertapi.DoorOptions{
		Book: c.alerts, MayRead: may, MaySend: c.maySend, Receivers: c.pages.Channels, Silences: c.silences, Version: c.o.Version,
	}))
	return nil
}

// silences are the planned windows as Alertmanager's tools see them.
func (c *Collector) silences(now time.Time) (out []alertapi.Silence) {
	c.mu.Lock()
	label := c.cfg.Alerts.ServiceLabel
	c.mu.Unlock()
	for _, w := range c.desk.Windows(now.Add(-24*time.Hour), time.Time{}) {
		s := alertapi.Silence{ID: w.ID, From: w.From, To: w.To, UpdatedAt: cmp.Or(w.At, w.From), By: w.By, Comment: w.Reason, Services: w.Services, Hosts: w.Hosts, Some: len(w.Services)+len(w.Hosts)+len(w.Checks) > 0}
		if !w.CancelledAt.IsZero() {
			s.From, s.To = earlier(w.From, w.CancelledAt), w.CancelledAt
		}
		s.Matchers = matchers(w, label)
		out = append(out, s)
	}
	return out
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// matchers are a window's scope in Alertmanager's words, where all matchers of a silence must hold and any of a window's names
// may: they speak of the services, or else the hosts, or else the checks.
func matchers(w incident.Window, label string) []alertapi.SilenceMatcher {
	m := alertapi.SilenceMatcher{Name: label, Value: ".*", IsEqual: true, IsRegex: true}
	names := w.Services
	switch {
	case len(w.Services) > 0:
	case len(w.Hosts) > 0:
		m.Name, names = "instance", w.Hosts
	case len(w.Checks) > 0:
		m.Name, names = "check", w.Checks
	}
	if len(names) > 0 {
		quoted := make([]string, len(names))
		for i, n := range names {
			quoted[i] = regexp.QuoteMeta(n)
		}
		m.Value = strings.Join(quoted, "|")
	}
	return []alertapi.SilenceMatcher{m}
}

// maySend says whether a request may bring alerts, each of which opens an incident and pages people.
func (c *Collector) maySend(r *http.Request) bool {
	c.mu.Lock()
	anonymous := c.cfg.Alerts.Anonymous
	c.mu.Unlock()
	return anonymous || c.may(r, access.Handle)
}

func (c *Collector) mayRead(r *http.Request) bool { return c.may(r, access.Read) }

// may says whether a request bears a token of a role that may do this: as bearer, or as the password of whatever user
// for programs that know no other way.
func (c *Collector) may(r *http.Request, do access.Action) bool {
	_, token, basic := r.BasicAuth()
	if !basic {
		scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return false
		}
		token = strings.TrimSpace(text)
	}
	if c.control.Is(token) {
		return true
	}
	id, err := c.access.Verify(token)
	return err == nil && access.Allow(id, do) == nil
}

// authorized asks may first; without it everybody may.
func authorized(may func(*http.Request) bool, next http.Handler) http.Handler {
	if may == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !may(r) {
			w.Header().Set("WWW-Authenticate", `Basic realm="xunjian", charset="UTF-8"`)
			http.Error(w, "an API token is needed: collector token api makes one", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// targets are the agents and what they ask, as Prometheus shows its targets.
func (c *Collector) targets() (out []promapi.Target) {
	now := c.clock.Now()
	c.mu.Lock()
	every, specs := c.cfg.Host.Every, c.cfg.Checks
	c.mu.Unlock()
	for _, a := range c.fleet.Agents() {
		if a.RevokedAt.IsZero() {
			out = append(out, hostTarget(a, every))
		}
	}
	by := map[string]check.Spec{}
	for _, s := range specs {
		by[s.Name] = s
	}
	for _, s := range c.board.Services(now) {
		for _, k := range s.Checks {
			out = append(out, probeTarget(s.Service.Name, k, by[k.Check]))
		}
	}
	return out
}

func hostTarget(a fleet.Agent, every time.Duration) promapi.Target {
	t := promapi.Target{
		Pool: promapi.HostPool, URL: "agent://" + a.Name, Labels: promapi.Labels("agent", a.Name, "instance", a.Name, "job", "node"),
		Health: "up", At: a.LastHeard, Every: every, Timeout: every,
	}
	switch {
	case a.LastHeard.IsZero():
		t.Health, t.Error = "unknown", "the agent has not been heard yet"
	case a.State() == "stopped":
		t.Health, t.Error = "down", "the agent was stopped on purpose at "+a.LeftAt.UTC().Format(time.RFC3339)
	case a.Silent:
		t.Health, t.Error = "down", "the agent is silent since "+a.LastHeard.UTC().Format(time.RFC3339)
	}
	return t
}

func probeTarget(service string, k inspect.CheckStatus, spec check.Spec) promapi.Target {
	shown := bare(k.Target)
	t := promapi.Target{
		Pool: promapi.ProbePool, URL: shown, Health: "up", At: k.At, Duration: k.Duration, Every: spec.Every, Timeout: spec.Timeout,
		Labels: promapi.Labels("agent", k.Agent, "check", k.Check, "instance", shown, "job", "probe", "service", service),
	}
	switch k.Outcome {
	case check.OK, check.Slow:
	case check.Fail:
		t.Health, t.Error = "down", cmp.Or(k.Reason, string(k.Class), "failed")
	default:
		t.Health, t.Error = "unknown", k.Reason
	}
	return t
}

// bare is a target without what may be secret in it: user, password, query.
func bare(target string) string {
	u, err := url.Parse(target)
	if err != nil {
		scheme, _, _ := strings.Cut(target, "://")
		return scheme
	}
	if u.Host != "" {
		u.User, u.RawQuery, u.Fragment = nil, "", ""
	}
	return u.String()
}

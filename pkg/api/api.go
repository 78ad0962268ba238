// Package api is the collector's JSON door for programs and the command line: /api/xunjian/v1 with bearer tokens, health and reload.
package api

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"xunjian/pkg/access"
	"xunjian/pkg/contract"
	"xunjian/pkg/deed"
	"xunjian/pkg/fleet"
	"xunjian/pkg/i18n"
	"xunjian/pkg/incident"
	"xunjian/pkg/inspect"
	"xunjian/pkg/roster"
)

// Prefix is where the API's routes begin; the health routes begin with HealthPrefix.
const (
	Prefix       = "/api/xunjian/v1"
	HealthPrefix = "/-/"
)

// Incidents is the desk: what is open, and what people do about it.
type Incidents interface {
	List(f incident.Filter) ([]incident.Record, error)
	Get(id string) (incident.Record, []incident.Event, error)
	Open(a incident.Act, o incident.Opening) (incident.Record, error)
	Forecast(r incident.Record, now time.Time) []contract.Outlook
	deed.Desk
}

// Services tells the state of each service.
type Services interface {
	Services(now time.Time) []inspect.Status
}

// Agents is the fleet and its one-time tokens.
type Agents interface {
	Agents() []fleet.Agent
	Revoke(now time.Time, name, by, reason string) error
	Tokens(now time.Time) ([]fleet.Token, error)
	CreateToken(now time.Time, q fleet.TokenRequest) (text string, t fleet.Token, err error)
	RevokeToken(now time.Time, id, by string) (fleet.Token, error)
}

// Access verifies and keeps API tokens.
type Access interface {
	Verify(token string) (access.Identity, error)
	Tokens() ([]access.Token, error)
	CreateToken(now time.Time, q access.TokenRequest) (text string, t access.Token, err error)
	Revoke(now time.Time, id, by string) (access.Token, error)
}

// People are those in whose names acts may be. Where there are none, any name is taken.
type People interface {
	People() []roster.Person
	Others() bool // names of others are taken, too
}

// Reports writes a month's record; format is docx, xlsx or json, month as 2026-11. It may return *Invalid or ErrNotFound.
type Reports interface {
	Report(ctx context.Context, month, format, lang string) ([]byte, error)
}

// Options are what the API stands on. A part that is nil answers 503: the command line has no running services to show.
type Options struct {
	Incidents Incidents
	Services  Services
	Agents    Agents
	Access    Access // nil: no token is good
	People    People // nil: anybody may be named
	Replies   Replies
	Reports   Reports
	Duty      *roster.Roster
	Pages     Pages
	Windows   Windows
	Hearts    Hearts
	Backups   Backups
	Control   *Control                                      // its token is good for everything
	Ready     func() error                                  // nil: always
	Series    func(*i18n.Printer) SeriesHeld                // nil: nothing is said of them
	Warnings  func(now time.Time, p *i18n.Printer) []string // of the collector itself; nil: none
	Reload    func(ctx context.Context) error               // its error is told to who asked

	Version    string
	Location   *time.Location   // of months and of times in texts; default Asia/Shanghai
	Now        func() time.Time // the desk's; default time.Now
	MaxCalls   int              // served at once, health apart; more are told to come back; default 64
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// server answers; its fields do not change.
type server struct {
	Options
	log     *slog.Logger
	started time.Time
	slots   chan struct{} // one for each call that is served; full means 503
	reports chan struct{} // two reports at once; more wait within their own slots
	metrics *metrics
}

// New makes the handler for Prefix and HealthPrefix. Every other path is answered with 404.
func New(o Options) http.Handler {
	if o.Location == nil {
		o.Location = time.FixedZone("Asia/Shanghai", 8*60*60)
	}
	if o.MaxCalls == 0 {
		o.MaxCalls = 64
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &server{
		Options: o, log: o.Logger, started: time.Now(), metrics: newMetrics(o.Registerer),
		slots: make(chan struct{}, o.MaxCalls), reports: make(chan struct{}, 2),
	}
	return s.mux(routes)
}

// Package console is the web console: pages made on the server, live through server-sent events, usable from a phone.
package console

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"

	"xunjian/pkg/access"
	"xunjian/pkg/contract"
	"xunjian/pkg/deed"
	"xunjian/pkg/fleet"
	"xunjian/pkg/i18n"
	"xunjian/pkg/incident"
	"xunjian/pkg/inspect"
	"xunjian/pkg/pager"
	"xunjian/pkg/query"
	"xunjian/pkg/roster"
	"xunjian/pkg/store"
)

//go:embed static pages
var files embed.FS

// Desk is what the console asks of and does to incidents.
type Desk interface {
	List(incident.Filter) ([]incident.Record, error)
	Get(id string) (incident.Record, []incident.Event, error)
	deed.Desk
	Storm(now time.Time) int // incidents of the last minutes, 0 while they are not very many
	Subscribe() (<-chan struct{}, func())
}

// People are those who may sign in.
type People interface {
	Login(ctx context.Context, login, password, addr string) (access.Identity, error)
	Current(login string) (access.Identity, error)
}

// Options is what the console shows and whom it lets in.
type Options struct {
	Desk        Desk
	People      People
	Links       Links // nil: there are none
	Services    func(now time.Time) []inspect.Status
	Agents      func() []fleet.Agent
	Undelivered func() ([]pager.Pending, error)
	Query       *query.Engine
	Duty        *roster.Roster                                            // nil: there is no roster
	Windows     Windows                                                   // nil: none are planned here
	Pages       Pages                                                     // nil: nothing is known of channels
	Hearts      Hearts                                                    // nil: nobody outside is told that the collector works
	Calls       func(id string) ([]pager.Call, error)                     // nil: nobody is called by name
	Forecast    func(r incident.Record, now time.Time) []contract.Outlook // nil: without what is known of similar incidents
	Emergency   func() []string                                           // actions approved beforehand
	Warnings    func(now time.Time, p *i18n.Printer) []string             // what everybody should know: a missing calendar, a heartbeat that fails
	Ill         func(p *i18n.Printer) string                              // why what is shown cannot be relied on; empty: it can
	Sessions    *store.DB
	Now         func() time.Time // the desk's; default time.Now
	Location    *time.Location
	Title       string // of the project, for the head of the page
	Version     string
	Secure      bool          // cookies over TLS only
	Idle        time.Duration // after which those who may act must sign in again; default 15 min; viewers' screens stay
	Logger      *slog.Logger
}

const (
	defaultIdle = 15 * time.Minute
	maxStreams  = 256 // browsers that are told of changes at once; more of them poll
	maxForm     = 64 << 10
)

// Console is the handler of all pages.
type Console struct {
	o        Options
	log      *slog.Logger
	pages    *template.Template
	assets   map[string]string // path of a static file: its address with the hash of its content
	sessions *scs.SessionManager
	streams  chan struct{} // a place each
	ended    chan struct{} // closed: streams end
	endOnce  sync.Once
	hosts    hostCache
	taps     taps
	lastTest lastTest
	handler  http.Handler
}

// New makes the console; it starts nothing.
func New(o Options) (*Console, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Location == nil {
		o.Location = time.UTC
	}
	if o.Idle == 0 {
		o.Idle = defaultIdle
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &Console{o: o, log: o.Logger, streams: make(chan struct{}, maxStreams), ended: make(chan struct{})}
	var err error
	if c.assets, err = hashAssets(); err != nil {
		return nil, err
	}
	c.pages, err = template.New("").Funcs(functions).Funcs(template.FuncMap{"asset": c.asset}).ParseFS(files, "pages/*.html")
	if err != nil {
		return nil, err
	}
	c.sessions = newSessions(o)
	c.handler = c.routes()
	return c, nil
}

func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.handler.ServeHTTP(w, r) }

// EndStreams ends the event streams, which have no end of their own: for http.Server.RegisterOnShutdown.
func (c *Console) EndStreams() { c.endOnce.Do(func() { close(c.ended) }) }

// contentPolicy allows what the console itself serves and nothing else: no inline script or style, no frame around it.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func protect(h http.Header) {
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY") // for browsers that do not know frame-ancestors
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

func (c *Console) routes() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /static/{file}", c.static)
	m.HandleFunc("GET /favicon.ico", c.favicon)
	m.HandleFunc("GET /login", c.loginPage)
	m.HandleFunc("POST /login", c.login)
	m.HandleFunc("POST /logout", c.logout)
	m.HandleFunc("GET "+pager.LinkPath+"{token}", c.tapPage)
	m.HandleFunc("POST "+pager.LinkPath+"{token}", c.tap)
	m.HandleFunc("GET /{$}", c.signedIn(c.showBoard))
	m.HandleFunc("GET /incidents/{id}", c.signedIn(c.showIncident))
	m.HandleFunc("POST /incidents/{id}/{deed}", c.signedIn(c.act))
	duty, windows := func() bool { return c.o.Duty != nil }, func() bool { return c.o.Windows != nil }
	channels := func() bool { return c.o.Pages != nil }
	hearts := func() bool { return channels() && c.o.Hearts != nil }
	m.HandleFunc("GET /duty", c.where(duty, c.showDuty))
	m.HandleFunc("POST /duty/{act}", c.where(duty, c.changeDuty))
	m.HandleFunc("GET /windows", c.where(windows, c.showWindows))
	m.HandleFunc("POST /windows/{act}", c.where(windows, c.changeWindow))
	m.HandleFunc("GET /channels", c.where(channels, c.showChannels))
	m.HandleFunc("POST /channels/test", c.where(channels, c.testPage))
	m.HandleFunc("POST /channels/heartbeat", c.where(hearts, c.beat))
	m.HandleFunc("GET /", c.noPage)
	origins := http.NewCrossOriginProtection()
	origins.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.refuse(w, r, http.StatusForbidden, printer(r).T("console.other_site"))
	}))
	pages := origins.Handler(c.sessions.LoadAndSave(m))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protect(w.Header())
		if r.URL.Path == "/events" && r.Method == http.MethodGet {
			c.events(w, r) // the session's own writer would hold a stream back
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := r.ParseForm(); err != nil {
			c.refuse(w, r, http.StatusBadRequest, printer(r).T("console.bad_form"))
			return
		}
		c.keepLanguage(w, r)
		pages.ServeHTTP(w, r)
	})
}

// render shows a page or a part of it, or, when that cannot be done, nothing but an error.
func (c *Console) render(w http.ResponseWriter, status int, name string, v any) {
	var b bytes.Buffer
	if err := c.pages.ExecuteTemplate(&b, name, v); err != nil {
		c.log.Error("render page", "page", name, "error", err)
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(b.Bytes()) // a browser that has gone needs no answer
}

// pulls says that htmx asks, for the part of a page only.
func pulls(r *http.Request) bool { return r.Header.Get("HX-Request") != "" }

// refuse tells a person why there is no such page for them.
func (c *Console) refuse(w http.ResponseWriter, r *http.Request, status int, text string) {
	name := "refusal"
	if pulls(r) {
		name = "refusal-part"
	}
	f := c.frame(r, access.Identity{}, c.o.Now())
	f.Head, f.Notice = text, text
	c.render(w, status, name, f)
}

// where shows a page to people signed in where there is what it shows.
func (c *Console) where(there func() bool, next page) http.HandlerFunc {
	return c.signedIn(func(w http.ResponseWriter, r *http.Request, who access.Identity) {
		if !there() {
			c.noPage(w, r)
			return
		}
		next(w, r, who)
	})
}

func (c *Console) noPage(w http.ResponseWriter, r *http.Request) {
	c.refuse(w, r, http.StatusNotFound, printer(r).T("console.no_page"))
}

func (c *Console) fail(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		return // the browser has gone
	}
	c.log.Error("console", "path", r.URL.Path, "error", err)
	c.refuse(w, r, http.StatusInternalServerError, printer(r).T("console.failed"))
}

// Package console is the web console: pages made on the server, live through server-sent events, usable from a phone.
package console

import (
	"context"
	"embed"
	"html/template"
	"log/slog"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"

	"xunjian/pkg/access"
	"xunjian/pkg/fleet"
	"xunjian/pkg/incident"
	"xunjian/pkg/inspect"
	"xunjian/pkg/pager"
	"xunjian/pkg/query"
	"xunjian/pkg/store"
)

//go:embed static pages
var files embed.FS

// Desk is what the console asks of and does to incidents.
type Desk interface {
	List(incident.Filter) ([]incident.Record, error)
	Get(id string) (incident.Record, []incident.Event, error)
	Ack(id string, a incident.Act) (incident.Record, error)
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
	Services    func(now time.Time) []inspect.Status
	Agents      func() []fleet.Agent
	Undelivered func() ([]pager.Pending, error)
	Query       *query.Engine
	Sessions    *store.DB
	Location    *time.Location
	Title       string // of the project, for the head of the page
	Version     string
	Secure      bool // cookies over TLS only
	Logger      *slog.Logger
}

// maxStreams bounds the browsers that are told of changes at once; more poll.
const maxStreams = 256

// Console is the handler of all pages.
type Console struct {
	o        Options
	log      *slog.Logger
	pages    *template.Template
	sessions *scs.SessionManager
	streams  chan struct{}
	hosts    hostCache
	handler  http.Handler
}

// New makes the console; it starts nothing.
func New(o Options) (*Console, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Console{o: o, log: o.Logger, streams: make(chan struct{}, maxStreams)}
	var err error
	c.pages, err = template.New("").Option("missingkey=error").Funcs(functions).ParseFS(files, "pages/*.html")
	if err != nil {
		return nil, err
	}
	c.sessions = newSessions(o)
	c.handler = c.routes()
	return c, nil
}

func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.handler.ServeHTTP(w, r) }

// contentPolicy allows what the console itself serves and nothing else: no inline script or style, no frame around it.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func (c *Console) routes() http.Handler {
	m := http.NewServeMux()
	m.Handle("GET /static/", cached(http.FileServerFS(files)))
	m.HandleFunc("GET /login", c.loginPage)
	m.HandleFunc("POST /login", c.login)
	m.HandleFunc("POST /logout", c.logout)
	m.HandleFunc("GET /{$}", c.signedIn(c.show("page")))
	m.HandleFunc("GET /board", c.signedIn(c.show("board")))
	m.HandleFunc("POST /incidents/{id}/ack", c.signedIn(c.ack))
	events := c.signedIn(c.events)
	pages := http.NewCrossOriginProtection().Handler(c.sessions.LoadAndSave(m))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		if r.URL.Path == "/events" && r.Method == http.MethodGet {
			c.loadSession(events)(w, r) // the session's own writer would hold a stream back
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
		pages.ServeHTTP(w, r)
	})
}

func cached(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=3600")
		h.ServeHTTP(w, r)
	})
}

// show renders a page or a part of it.
func (c *Console) show(name string) func(http.ResponseWriter, *http.Request, access.Identity) {
	return func(w http.ResponseWriter, r *http.Request, who access.Identity) {
		v, err := c.view(r, who)
		if err != nil {
			c.fail(w, r, err)
			return
		}
		c.render(w, name, v)
	}
}

func (c *Console) render(w http.ResponseWriter, name string, v any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if err := c.pages.ExecuteTemplate(w, name, v); err != nil {
		c.log.Error("render page", "page", name, "error", err)
	}
}

func (c *Console) fail(w http.ResponseWriter, r *http.Request, err error) {
	c.log.Error("console", "path", r.URL.Path, "error", err)
	p := printer(r)
	http.Error(w, p.T("console.failed"), http.StatusInternalServerError)
}

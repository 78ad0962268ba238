package promapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"

	"xunjian/pkg/query"
)

// Prefix is where Prometheus' HTTP API begins; FederatePath stands beside it.
const (
	Prefix       = "/api/v1"
	FederatePath = "/federate"
)

// Bounds on what strangers can ask at one time. Further calls are told to come again.
const (
	maxCalls   = 256
	maxOfOne   = 128 // of them from one network
	maxReads   = 4   // lists being made or sent; the others wait
	readsOfOne = 2
	maxForm    = 256 << 10 // bytes of a form
	maxDepth   = 500       // of an expression that is to be printed
)

var promParser = parser.NewParser(parser.Options{})

// Engine answers PromQL.
type Engine interface {
	Open(ctx context.Context, a query.Ask) (*query.Answer, error)
	Queryable() storage.Queryable
}

// APIOptions are what the API stands on. Nil functions stand for nothing there.
type APIOptions struct {
	Engine    Engine
	Bounds    query.Config // as the engine has them
	Rules     func() []*rules.Group
	Targets   func() []Target
	Own       prometheus.Gatherer        // for the metadata of the collector's own metrics
	Origin    *regexp.Regexp             // other sites whose pages may ask; nil: none
	Authorize func(r *http.Request) bool // nil: whoever reaches the door may read

	Version    string
	Retention  time.Duration // of samples, behind which aggregates go on; 0: not told
	RuleFiles  func() []string
	Interval   time.Duration // at which hosts are read
	Evaluation time.Duration // at which rules are evaluated
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

type api struct {
	APIOptions
	queries, reads *lane
	gate           *gate
	started        time.Time
	census         census
	metrics        *apiMetrics
}

// call is one request with its parameters.
type call struct {
	*http.Request
	params
	now  time.Time
	name string // {name} in the path
}

type handler func(a *api, c *call) reply

// route is one path and what goes for it.
type route struct {
	path string
	do   handler
	post bool // POST is taken beside GET
	list bool // the answer grows with the fleet: few of them are made or sent at one time
}

var apiRoutes = []route{
	{path: "/query", do: (*api).query, post: true},
	{path: "/query_range", do: (*api).queryRange, post: true},
	{path: "/query_exemplars", do: (*api).exemplars, post: true},
	{path: "/format_query", do: (*api).formatQuery, post: true},
	{path: "/parse_query", do: (*api).parseQuery, post: true},

	{path: "/series", do: (*api).series, post: true, list: true},
	{path: "/labels", do: (*api).labelNames, post: true, list: true},
	{path: "/label/{name}/values", do: (*api).labelValues, list: true},
	{path: "/metadata", do: (*api).metadata, list: true},

	{path: "/rules", do: (*api).rules, list: true},
	{path: "/alerts", do: (*api).alerts, list: true},
	{path: "/alertmanagers", do: (*api).alertmanagers},

	{path: "/targets", do: (*api).targets, list: true},
	{path: "/targets/metadata", do: (*api).targetMetadata, list: true},
	{path: "/scrape_pools", do: (*api).scrapePools},

	{path: "/status/config", do: (*api).statusConfig},
	{path: "/status/flags", do: (*api).statusFlags},
	{path: "/status/runtimeinfo", do: (*api).statusRuntime},
	{path: "/status/buildinfo", do: (*api).statusBuild},
	{path: "/status/tsdb", do: (*api).statusTSDB, list: true},
	{path: "/status/walreplay", do: (*api).statusReplay},
}

// API serves Prometheus' HTTP API under Prefix, and FederatePath. It only reads.
func API(o APIOptions) http.Handler {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Bounds == (query.Config{}) {
		o.Bounds = query.DefaultConfig()
	}
	a := &api{
		APIOptions: o, started: time.Now(), gate: newGate(maxCalls, maxOfOne), metrics: newAPIMetrics(o.Registerer),
		queries: newLane(maxCalls, max(1, o.Bounds.Concurrency/2)), reads: newLane(maxReads, readsOfOne),
	}
	mux := http.NewServeMux()
	for _, rt := range apiRoutes {
		mux.HandleFunc(Prefix+rt.path, a.door(rt))
	}
	mux.HandleFunc(FederatePath, a.guarded(a.federate))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		p := fails(&fault{kind: notFound, err: errors.New("no such path in the API: " + r.URL.Path)})
		p.write(w, r)
	})
	return mux
}

// door lets a request through to its handler.
func (a *api) door(rt route) http.HandlerFunc {
	methods := []string{http.MethodGet}
	if rt.post {
		methods = append(methods, http.MethodPost)
	}
	return a.guarded(func(w http.ResponseWriter, r *http.Request) {
		var p reply
		switch {
		case r.Method == http.MethodOptions:
		case !slices.Contains(methods, r.Method):
			p = fails(&fault{
				kind: badData, err: errors.New("method " + r.Method + " is not allowed here"), status: http.StatusMethodNotAllowed,
				header: map[string]string{"Allow": strings.Join(append(methods, http.MethodOptions), ", ")},
			})
		default:
			p = a.handle(w, r, rt)
		}
		if p.close != nil {
			defer p.close()
		}
		a.metrics.count(rt.path, p.fault)
		p.write(w, r)
	})
}

func (a *api) handle(w http.ResponseWriter, r *http.Request, rt route) reply {
	if r.Method == http.MethodPost {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	}
	if err := r.ParseForm(); err != nil {
		f := bad("error parsing form values: %w", err)
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			f.status = http.StatusRequestEntityTooLarge
		}
		return fails(f)
	}
	c := &call{Request: r, params: params{Values: r.Form}, now: time.Now(), name: r.PathValue("name")}
	if !rt.list {
		return rt.do(a, c)
	}
	leave, f := c.wait(a.reads, a.Bounds.Timeout)
	if f != nil {
		return fails(f)
	}
	kept := false
	defer func() {
		if !kept { // the handler died
			leave()
		}
	}()
	p := rt.do(a, c)
	p.close, kept = leave, true
	return p
}

// guarded asks whether the caller may come in, and whether there is room.
func (a *api) guarded(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a.allowOrigin(w, r)
		refuse := func(f *fault) {
			a.metrics.count("refused", f)
			p := fails(f)
			p.write(w, r)
		}
		if r.Method != http.MethodOptions && a.Authorize != nil && !a.Authorize(r) {
			refuse(&fault{
				kind: forbidden, err: errors.New("an API token is needed: collector token api makes one"), status: http.StatusUnauthorized,
				header: map[string]string{"WWW-Authenticate": `Basic realm="xunjian", charset="UTF-8"`},
			})
			return
		}
		leave, ok := a.gate.enter(network(r.RemoteAddr))
		if !ok {
			refuse(&fault{kind: unavailable, err: errors.New("too many calls at one time"), header: map[string]string{"Retry-After": "1"}})
			return
		}
		defer leave()
		next(w, r)
	}
}

// allowOrigin lets pages of other sites read the answers, if they are named in the configuration.
func (a *api) allowOrigin(w http.ResponseWriter, r *http.Request) {
	if a.Origin == nil {
		return
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin == "" || !a.Origin.MatchString(origin) {
		return
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Headers", "Accept, Authorization, Content-Type, Origin")
	h.Set("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
	h.Set("Access-Control-Expose-Headers", "Date")
}

// wait gets a place in a lane for at most the time that a query may take.
func (c *call) wait(l *lane, most time.Duration) (leave func(), f *fault) {
	ctx, cancel := context.WithTimeout(c.Context(), most)
	defer cancel()
	leave, err := l.enter(ctx, network(c.RemoteAddr))
	if err != nil {
		return nil, faultOf(err)
	}
	return leave, nil
}

// Origins compiles what the configuration says of other sites: a pattern that a whole Origin must match.
func Origins(pattern string) (*regexp.Regexp, error) {
	if pattern == "" {
		return nil, nil
	}
	return regexp.Compile("^(?:" + pattern + ")$")
}

// or is the function, or one that gives nothing.
func or[T any](f func() []T) []T {
	if f == nil {
		return nil
	}
	return f()
}

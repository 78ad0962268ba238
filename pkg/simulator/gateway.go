package simulator

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// GatewayKey opens the gateway's routes and its administration; of Spring and HAProxy it is the password of the account monitor.
const GatewayKey = "simulated-gateway-key"

// The faults of gateway's own.
const (
	RouteLost       Mode = "route-lost"       // the gateway knows /documents no more
	UpstreamDead    Mode = "upstream-dead"    // nothing answers behind /documents
	RateLimited     Mode = "rate-limited"     // too many requests on every route
	AuthGone        Mode = "auth-gone"        // routes let everybody in
	TargetUnhealthy Mode = "target-unhealthy" // one of two targets is out, the other carries the load
	CachedAnswer    Mode = "cached-answer"    // answers come out of a cache
	GatewaySlow     Mode = "gateway-slow"     // the gateway itself takes 800 ms
	AdminOpen       Mode = "admin-open"       // the administration asks nobody who he is
)

var gatewayModes = []Mode{RouteLost, UpstreamDead, RateLimited, AuthGone, TargetUnhealthy, CachedAnswer, GatewaySlow, AdminOpen}

// upstreamPatience is how long the gateway waits for what lies behind it.
const upstreamPatience = 5 * time.Second

// gateway leads to other services as Kong does, and answers for its administration in the shapes of several products.
type gateway struct {
	cached   bool // it answers out of its cache, whatever the fault
	requests atomic.Int64
	routes   map[string]http.Handler // by first part of the path
}

// newGateway leads to the services by the addresses that locate tells.
func newGateway(cached bool, certs *certificates, locate func(name string) string) *gateway {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certs.ca)
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots}, ResponseHeaderTimeout: upstreamPatience, DisableKeepAlives: true,
	}
	g := &gateway{cached: cached, routes: map[string]http.Handler{}}
	for prefix, service := range map[string]string{"documents": CloudDoc, "signature": Signature} {
		g.routes[prefix] = upstream(transport, "/"+prefix, func() string { return locate(service) })
	}
	return g
}

// upstream passes a request on, without the route's prefix.
func upstream(transport http.RoundTripper, prefix string, locate func() string) http.Handler {
	return &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			target, _ := url.Parse(locate()) // our own address
			r.Out.URL.Path = strings.TrimPrefix(r.Out.URL.Path, prefix)
			r.Out.URL.RawPath = strings.TrimPrefix(r.Out.URL.RawPath, prefix)
			r.SetURL(target)
			r.SetXForwarded()
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			status := http.StatusBadGateway
			if strings.Contains(err.Error(), "timeout") {
				status = http.StatusGatewayTimeout
			}
			kongMessage(w, status, "An invalid response was received from the upstream server")
		},
	}
}

func kongMessage(w http.ResponseWriter, status int, message string) {
	writeJSON(w, status, map[string]any{"message": message})
}

func (g *gateway) handler() http.Handler {
	mux := routes(noRoute)
	mux.HandleFunc("GET /get/echo", g.echo)
	mux.HandleFunc("GET /api/echo", g.plugins(g.echo))
	for prefix, next := range g.routes {
		mux.HandleFunc("/"+prefix+"/", g.plugins(func(w http.ResponseWriter, r *http.Request) {
			switch mode := modeOf(r); {
			case prefix == "documents" && mode == RouteLost:
				noRoute(w, r)
			case prefix == "documents" && mode == UpstreamDead:
				kongMessage(w, http.StatusBadGateway, "An invalid response was received from the upstream server")
			default:
				next.ServeHTTP(w, r)
			}
		}))
	}
	g.routeAdmin(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.requests.Add(1)
		mux.ServeHTTP(w, r)
	})
}

// plugins are what stands before a route: a limit, then a key. A lost route has none.
func (g *gateway) plugins(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch mode := modeOf(r); {
		case mode == RateLimited:
			w.Header().Set("Retry-After", "30")
			kongMessage(w, http.StatusTooManyRequests, "API rate limit exceeded")
		case r.Header.Get("apikey") != GatewayKey && mode != AuthGone && !(mode == RouteLost && strings.HasPrefix(r.URL.Path, "/documents/")):
			w.Header().Set("WWW-Authenticate", `Key realm="kong"`)
			kongMessage(w, http.StatusUnauthorized, "No API key found in request")
		default:
			next(w, r)
		}
	}
}

// echo gives the nonce back, and says how long the gateway and what lies behind it took.
func (g *gateway) echo(w http.ResponseWriter, r *http.Request) {
	nonce := r.URL.Query().Get("nonce")
	if nonce == "" {
		nonce = r.Header.Get("X-Nonce")
	}
	if g.cached || modeOf(r) == CachedAnswer {
		nonce = "cached-answer"
	}
	own := 1
	if modeOf(r) == GatewaySlow {
		own = 800
		if !wait(r, time.Duration(own)*time.Millisecond) {
			return
		}
	}
	w.Header().Set("X-Gateway-Route", "echo")
	w.Header().Set("X-Kong-Proxy-Latency", strconv.Itoa(own))
	w.Header().Set("X-Kong-Upstream-Latency", "2")
	writeJSON(w, http.StatusOK, map[string]any{"route": "echo", "nonce": nonce, "url": r.URL.Path})
}

// routeAdmin is what G4 reads: Kong's, APISIX', Spring Cloud Gateway's, nginx' and HAProxy's.
func (g *gateway) routeAdmin(mux *http.ServeMux) {
	pages := map[string]http.HandlerFunc{
		"/admin/status": func(w http.ResponseWriter, _ *http.Request) {
			writeJSON(w, http.StatusOK, map[string]any{"database": map[string]any{"reachable": true}, "server": map[string]any{
				"connections_accepted": g.requests.Load(), "connections_handled": g.requests.Load(),
			}})
		},
		"/admin/routes":                     g.listRoutes,
		"/admin/upstreams/documents/health": kongHealth,
		"/apisix/v1/healthcheck":            apisixHealth,
		"/actuator/health": func(w http.ResponseWriter, _ *http.Request) {
			writeJSON(w, http.StatusOK, map[string]any{"status": "UP"})
		},
		"/actuator/gateway/routes": g.springRoutes,
		"/nginx_status":            g.stubStatus,
		"/haproxy;csv":             haproxyCSV,
	}
	for path, page := range pages {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			if modeOf(r) == AdminOpen || admitted(w, r) {
				page(w, r)
			}
		})
	}
}

// admitted asks for what each product asks for: Kong for its token, Spring and HAProxy for an account; APISIX' control API and
// nginx' page know addresses only.
func admitted(w http.ResponseWriter, r *http.Request) bool {
	switch path := r.URL.Path; {
	case strings.HasPrefix(path, "/admin/"):
		if r.Header.Get("Kong-Admin-Token") != GatewayKey {
			kongMessage(w, http.StatusForbidden, "Invalid RBAC token")
			return false
		}
	case strings.HasPrefix(path, "/actuator/"), strings.HasPrefix(path, "/haproxy"):
		if user, password, _ := r.BasicAuth(); user != "monitor" || password != GatewayKey {
			w.Header().Set("WWW-Authenticate", `Basic realm="statistics"`)
			w.WriteHeader(http.StatusUnauthorized)
			return false
		}
	}
	return true
}

func (g *gateway) routeNames(r *http.Request) (names []string) {
	for _, name := range []string{"documents", "signature", "echo"} {
		if name != "documents" || modeOf(r) != RouteLost {
			names = append(names, name)
		}
	}
	return names
}

func (g *gateway) listRoutes(w http.ResponseWriter, r *http.Request) {
	data := []map[string]any{}
	for _, name := range g.routeNames(r) {
		data = append(data, map[string]any{"name": name, "paths": []string{"/" + name}})
	}
	writeJSON(w, http.StatusOK, map[string]any{"data": data, "next": nil})
}

func (g *gateway) springRoutes(w http.ResponseWriter, r *http.Request) {
	out := []map[string]any{}
	for _, name := range g.routeNames(r) {
		out = append(out, map[string]any{"route_id": name, "uri": "lb://" + name, "order": 0})
	}
	writeJSON(w, http.StatusOK, out)
}

// second is the state of the second of two targets, in a product's words.
func second(r *http.Request, well, ill string) string {
	if modeOf(r) == TargetUnhealthy {
		return ill
	}
	return well
}

func kongHealth(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{"data": []map[string]any{
		{"target": "10.0.0.11:9980", "health": "HEALTHY", "weight": 100},
		{"target": "10.0.0.12:9980", "health": second(r, "HEALTHY", "UNHEALTHY"), "weight": 100},
	}})
}

func apisixHealth(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, []map[string]any{{"name": "/apisix/upstreams/1", "type": "http", "nodes": []map[string]any{
		{"ip": "10.0.0.11", "port": 9980, "status": "healthy"},
		{"ip": "10.0.0.12", "port": 9980, "status": second(r, "healthy", "unhealthy")},
	}}})
}

func (g *gateway) stubStatus(w http.ResponseWriter, _ *http.Request) {
	n := g.requests.Load()
	fmt.Fprintf(w, "Active connections: 1 \nserver accepts handled requests\n %d %d %d \nReading: 0 Writing: 1 Waiting: 0 \n", n, n, n)
}

func haproxyCSV(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	fmt.Fprintf(w, "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,status,\n"+
		"documents,doc1,0,0,0,1,,9,0,0,,0,,0,0,0,0,UP,\ndocuments,doc2,0,0,0,1,,9,0,0,,0,,0,0,0,0,%s,\ndocuments,BACKEND,0,0,0,1,200,18,0,0,0,0,,0,0,0,0,UP,\n",
		second(r, "UP", "DOWN"))
}

// noRoute is what Kong says of a route it has lost.
func noRoute(w http.ResponseWriter, _ *http.Request) {
	kongMessage(w, http.StatusNotFound, "no Route matched with those values")
}

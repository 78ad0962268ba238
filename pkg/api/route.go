package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"xunjian/pkg/access"
	"xunjian/pkg/i18n"
)

// anyone is the rule of routes that need no token.
const anyone access.Action = "anyone"

// route is one method on one path with its rule. There is no other way to a handler.
type route struct {
	method, path string
	action       access.Action
	handle       func(s *server, c *call) (answer, error)
}

// routes is the whole API.
var routes = slices.Concat(doors, deedRoutes())

// doors are the routes but for the deeds about incidents.
var doors = []route{
	{"GET", HealthPrefix + "healthy", anyone, (*server).healthy},
	{"GET", HealthPrefix + "ready", anyone, (*server).ready},
	{"POST", HealthPrefix + "reload", access.Manage, (*server).reload},

	{"GET", Prefix + "/status", access.Read, (*server).status},
	{"GET", Prefix + "/incidents", access.Read, (*server).listIncidents},
	{"POST", Prefix + "/incidents", access.Handle, (*server).openIncident},
	{"GET", Prefix + "/incidents/{id}", access.Read, (*server).getIncident},
	{"POST", Prefix + "/replies", gateway, (*server).takeReplies},
	{"GET", Prefix + "/services", access.Read, (*server).listServices},
	{"GET", Prefix + "/reports/{file}", access.Read, (*server).getReport},

	{"GET", Prefix + "/incidents/{id}/calls", access.Read, (*server).listCalls},
	{"GET", Prefix + "/windows", access.Read, (*server).listWindows},
	{"POST", Prefix + "/windows", access.Direct, (*server).planWindow},
	{"POST", Prefix + "/windows/{id}/cancel", access.Direct, (*server).cancelWindow},
	{"GET", Prefix + "/roster", access.Read, (*server).getRoster},
	{"POST", Prefix + "/roster/overrides", access.Direct, (*server).overrideDuty},
	{"POST", Prefix + "/roster/swaps", access.Handle, (*server).swapDuty},
	{"POST", Prefix + "/roster/sign-ins", access.Handle, (*server).signInDuty},
	{"POST", Prefix + "/roster/{id}/withdraw", access.Direct, (*server).withdrawDuty},
	{"GET", Prefix + "/pages", access.Read, (*server).listPages},
	{"POST", Prefix + "/pages/test", access.Handle, (*server).testPage},

	{"GET", Prefix + "/heartbeat", access.Read, (*server).getHearts},
	{"POST", Prefix + "/heartbeat/send", access.Handle, (*server).sendBeat},

	{"GET", Prefix + "/agents", access.Read, (*server).listAgents},
	{"POST", Prefix + "/agents/{name}/revoke", access.Manage, (*server).revokeAgent},
	{"GET", Prefix + "/tokens", access.Manage, (*server).listTokens},
	{"POST", Prefix + "/tokens", access.Manage, (*server).createToken},
	{"DELETE", Prefix + "/tokens/{id}", access.Manage, (*server).revokeToken},
	{"GET", Prefix + "/api-tokens", access.Manage, (*server).listAPITokens},
	{"POST", Prefix + "/api-tokens", access.Manage, (*server).createAPIToken},
	{"DELETE", Prefix + "/api-tokens/{id}", access.Manage, (*server).revokeAPIToken},

	// beyond the rule, only for the command line beside the collector
	{"POST", Prefix + "/backup", access.Manage, (*server).startBackup},
	{"GET", Prefix + "/backup", access.Manage, (*server).getBackup},
	{"DELETE", Prefix + "/backup", access.Manage, (*server).cancelBackup},
}

// call is one request on its way through a handler.
type call struct {
	*http.Request
	w   http.ResponseWriter // for the limit on the body only; handlers return their answers
	id  access.Identity
	p   *i18n.Printer
	now time.Time
}

// answer is what a handler gives back: JSON, or bytes of another type.
type answer struct {
	status int // default 200
	json   any
	kind   string // content type of body
	body   []byte
	header map[string]string
}

// mux lays out the table by path, so that a wrong method gets the same kind of answer as everything else.
func (s *server) mux(table []route) http.Handler {
	byPath := map[string][]route{}
	for _, r := range table {
		if r.action != anyone && r.action != gateway && !slices.Contains(access.Actions, r.action) {
			panic(fmt.Sprintf("route %s %s has no rule", r.method, r.path))
		}
		byPath[r.path] = append(byPath[r.path], r)
	}
	mux := http.NewServeMux()
	for path, rs := range byPath {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { s.dispatch(w, r, path, rs) })
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.write(w, r, "none", refusal(r, &fault{status: http.StatusNotFound, code: "no_route"}))
	})
	return mux
}

func (s *server) dispatch(w http.ResponseWriter, r *http.Request, path string, rs []route) {
	i := slices.IndexFunc(rs, func(x route) bool {
		return x.method == r.Method || x.method == http.MethodGet && r.Method == http.MethodHead
	})
	if i < 0 {
		var allow []string
		for _, x := range rs {
			allow = append(allow, x.method)
		}
		a := refusal(r, &fault{status: http.StatusMethodNotAllowed, code: "method"})
		a.header = map[string]string{"Allow": strings.Join(allow, ", ")}
		s.write(w, r, path, a)
		return
	}
	if rs[i].action != anyone {
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
		default:
			a := refusal(r, &fault{status: http.StatusServiceUnavailable, code: "busy"})
			a.header = map[string]string{"Retry-After": "1"}
			s.write(w, r, path, a)
			return
		}
	}
	s.write(w, r, path, s.serve(w, r, rs[i]))
}

// serve authenticates, authorises and runs the handler; whatever happens there is an answer.
func (s *server) serve(w http.ResponseWriter, r *http.Request, rt route) (a answer) {
	defer func() {
		if v := recover(); v != nil {
			a = s.internal(r, fmt.Errorf("panic: %v\n%s", v, debug.Stack()))
		}
	}()
	c := &call{Request: r, w: w, p: printer(r), now: s.Now()}
	switch rt.action {
	case anyone:
	case gateway:
		if err := s.admitGateway(r); err != nil {
			return s.refuse(r, err)
		}
	default:
		id, err := s.identify(r)
		if err != nil {
			return s.refuse(r, err)
		}
		if err := access.Allow(id, rt.action); err != nil {
			return s.refuse(r, err)
		}
		c.id = id
	}
	a, err := rt.handle(s, c)
	if err != nil {
		return s.refuse(r, err)
	}
	return a
}

type identityKey struct{}

// identify finds out who calls: somebody inside this process, the command line beside it, or the holder of an API token.
func (s *server) identify(r *http.Request) (access.Identity, error) {
	if id, ok := r.Context().Value(identityKey{}).(access.Identity); ok {
		return id, nil
	}
	token, ok := bearer(r)
	if !ok {
		return access.Identity{}, &fault{status: http.StatusUnauthorized, code: "no_token"}
	}
	if s.Control != nil && s.Control.Is(token) {
		return Local(), nil
	}
	if s.Access == nil {
		return access.Identity{}, access.ErrBadToken
	}
	return s.Access.Verify(token)
}

// Local is who acts through the data folder: whoever may read it may do everything, and names the person with each act.
func Local() access.Identity { return access.Identity{Role: access.Admin, Via: "local"} }

func bearer(r *http.Request) (string, bool) {
	all := r.Header.Values("Authorization")
	if len(all) != 1 {
		return "", false
	}
	scheme, token, ok := strings.Cut(all[0], " ")
	token = strings.TrimSpace(token)
	return token, ok && strings.EqualFold(scheme, "Bearer") && token != "" && len(token) <= 256
}

// sameSecret compares in a time that depends on neither.
func sameSecret(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// person is in whose name the call acts: the token's person, unless the token has none or may act for others.
func (c *call) person(named string) (string, error) {
	switch {
	case named == "" && c.id.Person != "":
		return c.id.Person, nil
	case named == "":
		return "", &fault{status: http.StatusUnprocessableEntity, code: "need_person", field: "person"}
	}
	if err := access.CheckName("person", named); err != nil {
		return "", err
	}
	if named != c.id.Person && c.id.Person != "" && access.Allow(c.id, access.Manage) != nil {
		return "", &fault{status: http.StatusForbidden, code: "other_person", field: "person", pairs: []string{"person", c.id.Person}}
	}
	return named, nil
}

// known wants a name of the configuration, where it has any; the login of a person stands for the name.
func (s *server) known(name string) (string, error) {
	if s.People == nil {
		return name, nil
	}
	people := s.People.People()
	for _, p := range people {
		if p.Name == name || p.Login == name {
			return p.Name, nil
		}
	}
	if len(people) == 0 || s.People.Others() {
		return name, nil
	}
	return "", &fault{status: http.StatusUnprocessableEntity, code: "unknown_person", field: "person", pairs: []string{"person", name}}
}

// address is from where the call came, without the port; empty for the command line over the files.
func (c *call) address() string {
	host, _, err := net.SplitHostPort(c.RemoteAddr)
	if err != nil {
		return ""
	}
	return host
}

// via is how the act came in, for the record.
func (c *call) via() string {
	if c.id.Via == "local" {
		return "cli"
	}
	return "api"
}

// printer speaks Chinese unless the caller prefers English.
func printer(r *http.Request) *i18n.Printer {
	first, _, _ := strings.Cut(r.Header.Get("Accept-Language"), ",")
	tag, _, _ := strings.Cut(first, ";")
	if tag = strings.ToLower(strings.TrimSpace(tag)); tag == "en" || strings.HasPrefix(tag, "en-") {
		return i18n.For("en")
	}
	return i18n.For("zh-CN")
}

var errNotRunning = errors.New("this part runs only in a running collector")

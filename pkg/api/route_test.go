package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"xunjian/pkg/access"
	"xunjian/pkg/deed"
	"xunjian/pkg/i18n"
)

// local is more than any role: only the command line beside the collector is let in.
const local access.Role = "local"

// least is the role that each route needs, written down a second time.
var least = map[string]access.Role{
	"GET /-/healthy": "", "GET /-/ready": "", "POST /-/reload": access.Admin,
	"GET /status": access.Viewer, "GET /incidents": access.Viewer, "GET /incidents/{id}": access.Viewer,
	"GET /services": access.Viewer, "GET /agents": access.Viewer, "GET /reports/{file}": access.Viewer,
	"POST /incidents": access.Engineer, "POST /incidents/{id}/ack": access.Engineer, "POST /incidents/{id}/note": access.Engineer,
	"POST /incidents/{id}/report": access.Engineer, "POST /incidents/{id}/resolve": access.Engineer, "POST /incidents/{id}/reopen": access.Engineer,
	"POST /incidents/{id}/close": access.Lead, "POST /incidents/{id}/archive": access.Lead, "POST /incidents/{id}/level": access.Lead,
	"POST /incidents/{id}/extend": access.Lead, "POST /incidents/{id}/excuse": access.Lead,
	"POST /incidents/{id}/diagnose": access.Engineer, "POST /incidents/{id}/arrive": access.Engineer, "POST /incidents/{id}/propose": access.Engineer,
	"POST /incidents/{id}/decide": access.Engineer, "POST /incidents/{id}/handle": access.Engineer, "POST /incidents/{id}/workaround": access.Engineer,
	"POST /incidents/{id}/pause": access.Engineer, "POST /incidents/{id}/resume": access.Engineer, "POST /incidents/{id}/confirm": access.Engineer,
	"POST /incidents/{id}/refuse": access.Engineer, "POST /incidents/{id}/impact": access.Engineer, "POST /incidents/{id}/merge": access.Engineer,
	"POST /incidents/{id}/split": access.Engineer, "POST /incidents/{id}/doubt": access.Engineer, "POST /incidents/{id}/dismiss": access.Engineer,
	"POST /incidents/{id}/uphold": access.Engineer,
	"GET /incidents/{id}/calls":   access.Viewer, "GET /windows": access.Viewer, "POST /windows": access.Lead, "POST /windows/{id}/cancel": access.Lead,
	"GET /roster": access.Viewer, "POST /roster/overrides": access.Lead, "POST /roster/swaps": access.Engineer,
	"POST /roster/sign-ins": access.Engineer, "POST /roster/{id}/withdraw": access.Lead,
	"POST /replies": "", // by a token of its own, see TestReplies
	"GET /pages":    access.Viewer, "POST /pages/test": access.Engineer,
	"GET /heartbeat": access.Viewer, "POST /heartbeat/send": access.Engineer,
	"POST /agents/{name}/revoke": access.Admin,
	"GET /tokens":                access.Admin, "POST /tokens": access.Admin, "DELETE /tokens/{id}": access.Admin,
	"GET /backup": local, "POST /backup": local, "DELETE /backup": local,
	"GET /api-tokens": access.Admin, "POST /api-tokens": access.Admin, "DELETE /api-tokens/{id}": access.Admin,
}

// Each role at each route of the table: let in or not.
func TestRolesAtRoutes(t *testing.T) {
	r := newRig(t)
	r.tokens["nobody"], r.tokens["stranger"] = "", "xja.aaaaaaaaaaaaaaaa."+strings.Repeat("a", 32)
	cells := 0
	for _, rt := range routes {
		name := rt.method + " " + strings.TrimPrefix(rt.path, Prefix)
		need, ok := least[name]
		if !ok {
			t.Errorf("%s is not in this test's table", name)
			continue
		}
		path := strings.NewReplacer("{id}", "INC-20000101-0001", "{name}", "web-1", "{file}", "2000-01.docx").Replace(rt.path)
		for role, token := range r.tokens {
			cells++
			want := 0 // anything but a refusal to let in
			switch {
			case need == "":
			case role == "nobody" || role == "stranger":
				want = http.StatusUnauthorized
			case need == local, slices.Index(access.Roles, role) < slices.Index(access.Roles, need):
				want = http.StatusForbidden
			}
			status, h, body := r.ask(rt.method, path, token, "{}")
			switch {
			case want == 0 && (status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusInternalServerError):
				t.Errorf("%s as %s: %d %s", name, role, status, body)
			case want != 0 && status != want:
				t.Errorf("%s as %s: %d, want %d", name, role, status, want)
			case status == http.StatusUnauthorized && !strings.HasPrefix(h.Get("WWW-Authenticate"), "Bearer "):
				t.Errorf("%s: 401 without WWW-Authenticate", name)
			}
		}
	}
	if len(least) != len(routes) || cells != len(routes)*6 {
		t.Errorf("%d routes, %d in this test's table, %d cells tried", len(routes), len(least), cells)
	}
}

func TestRouteWithoutRule(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a route without a rule was taken")
		}
	}()
	(&server{}).mux([]route{{"GET", "/x", "", (*server).healthy}})
}

func TestBearer(t *testing.T) {
	r := newRig(t)
	good := r.tokens[access.Viewer]
	for name, c := range map[string]struct {
		headers []string
		want    int
	}{
		"good": {[]string{"Bearer " + good}, 200}, "any case": {[]string{"bearer " + good}, 200},
		"none": {nil, 401}, "other scheme": {[]string{"Basic " + good}, 401}, "no scheme": {[]string{good}, 401}, "empty": {[]string{"Bearer "}, 401},
		"two": {[]string{"Bearer " + good, "Bearer " + good}, 401}, "endless": {[]string{"Bearer " + strings.Repeat("x", 1<<16)}, 401},
	} {
		req := httptest.NewRequest("GET", Prefix+"/status", http.NoBody)
		req.Header["Authorization"] = c.headers
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		if w.Code != c.want {
			t.Errorf("%s: %d, want %d", name, w.Code, c.want)
		}
	}
	// A token in the address or a cookie is none: both leak, and the browser sends cookies unasked.
	req := httptest.NewRequest("GET", Prefix+"/status?access_token="+good, http.NoBody)
	req.AddCookie(&http.Cookie{Name: "token", Value: good})
	w := httptest.NewRecorder()
	if r.ServeHTTP(w, req); w.Code != 401 {
		t.Errorf("token elsewhere: %d", w.Code)
	}
}

func TestUnknownRoutesAndMethods(t *testing.T) {
	r := newRig(t)
	admin := r.tokens[access.Admin]
	for _, path := range []string{"/", "/api", Prefix, Prefix + "/", Prefix + "/nothing", Prefix + "/incidents/x/fly", "/-/quit", Prefix + "/incidents/x/ack/y"} {
		r.refusal(404, "no_route", "GET", path, admin, "")
	}
	for _, c := range []struct{ method, path, allow string }{
		{"DELETE", Prefix + "/incidents", "GET, POST"},
		{"GET", Prefix + "/incidents/x/ack", "POST"},
		{"PATCH", Prefix + "/status", "GET"},
		{"GET", "/-/reload", "POST"},
		{"TRACE", Prefix + "/tokens/x", "DELETE"},
	} {
		r.refusal(405, "method", c.method, c.path, admin, "")
		if _, h, _ := r.ask(c.method, c.path, admin, ""); h.Get("Allow") != c.allow {
			t.Errorf("%s %s: Allow %q, want %q", c.method, c.path, h.Get("Allow"), c.allow)
		}
	}
	status, h, body := r.ask("HEAD", Prefix+"/status", admin, "")
	if status != 200 || body != "" || h.Get("Content-Length") == "0" || h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("HEAD: %d %v %q", status, h, body)
	}
}

func TestPanicIsAnswered(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Reload = func(context.Context) error { panic("no such valve") } })
	e := r.refusal(500, "internal", "POST", "/-/reload", r.tokens[access.Admin], "")
	if e.ID == "" || !strings.Contains(r.log.String(), e.ID) || !strings.Contains(r.log.String(), "no such valve") || strings.Contains(e.Message, "valve") {
		t.Errorf("told %+v, logged %s", e, r.log.String())
	}
	if status, _, _ := r.ask("GET", "/-/healthy", "", ""); status != 200 {
		t.Error("not healthy after a panic")
	}
}

func TestTooManyCalls(t *testing.T) {
	block, entered := make(chan struct{}), make(chan struct{})
	r := newRig(t, func(o *Options) {
		o.MaxCalls = 2
		o.Reload = func(context.Context) error { entered <- struct{}{}; <-block; return nil }
	})
	done := make(chan int)
	for range 2 {
		go func() { status, _, _ := r.ask("POST", "/-/reload", r.tokens[access.Admin], ""); done <- status }()
		<-entered
	}
	r.refusal(503, "busy", "GET", Prefix+"/status", r.tokens[access.Admin], "")
	if _, h, _ := r.ask("GET", Prefix+"/status", r.tokens[access.Admin], ""); h.Get("Retry-After") != "1" {
		t.Errorf("Retry-After %q", h.Get("Retry-After"))
	}
	if status, _, _ := r.ask("GET", "/-/healthy", "", ""); status != 200 {
		t.Error("health waits with the others")
	}
	close(block)
	for range 2 {
		if status := <-done; status != 200 {
			t.Errorf("held call: %d", status)
		}
	}
	if status, _, _ := r.ask("GET", Prefix+"/status", r.tokens[access.Admin], ""); status != 200 {
		t.Errorf("afterwards: %d", status)
	}
}

func TestHealthAndReload(t *testing.T) {
	var sick, broken error
	r := newRig(t, func(o *Options) {
		o.Ready = func() error { return sick }
		o.Reload = func(context.Context) error { return broken }
	})
	ask := func(method, path string, want int, text string) {
		t.Helper()
		if status, _, body := r.ask(method, path, r.tokens[access.Admin], ""); status != want || strings.TrimSpace(body) != text {
			t.Errorf("%s: %d %q, want %d %q", path, status, body, want, text)
		}
	}
	ask("GET", "/-/healthy", 200, "OK")
	ask("GET", "/-/ready", 200, "OK")
	ask("POST", "/-/reload", 200, "OK")
	sick, broken = errors.New("store is locked"), errors.New("collector.yml:3: level: unknown key\ncollector.yml:9: checks: empty")
	ask("GET", "/-/ready", 503, "store is locked")
	ask("GET", "/-/healthy", 200, "OK")
	ask("POST", "/-/reload", 500, broken.Error())
	st, err := r.client(access.Viewer).Status(t.Context())
	if err != nil || st.Ready || st.NotReady != "store is locked" {
		t.Errorf("status: %+v %v", st, err)
	}
	var e *Error
	if err := r.client(access.Admin).Reload(t.Context()); !errors.As(err, &e) || e.Message != broken.Error() {
		t.Errorf("client's reload: %v", err)
	}
}

// Without running parts the API says so instead of guessing.
func TestNothingRuns(t *testing.T) {
	r := newRig(t, func(o *Options) { *o = Options{Access: o.Access} })
	for _, rt := range routes {
		path := strings.NewReplacer("{id}", "x", "{name}", "x", "{file}", "2000-01.docx").Replace(rt.path)
		switch rt.path {
		case HealthPrefix + "healthy", HealthPrefix + "ready", Prefix + "/status":
			if status, _, body := r.ask(rt.method, path, r.tokens[access.Admin], ""); status != 200 {
				t.Errorf("%s: %d %s", rt.path, status, body)
			}
		case Prefix + "/api-tokens", Prefix + "/api-tokens/{id}":
		default:
			r.refusal(503, "not_running", rt.method, path, r.tokens[access.Admin], "{}")
		}
	}
}

func TestLanguages(t *testing.T) {
	r := newRig(t)
	for lang, want := range map[string]string{"": "没有这个接口", "fr": "没有这个接口", "en": "there is no such route", "en-GB;q=1, zh": "there is no such route", "zh, en": "没有这个接口"} {
		if _, _, body := r.askIn(lang, "GET", "/nothing", "", ""); !strings.Contains(body, want) {
			t.Errorf("%q: %s", lang, body)
		}
	}
}

// Every code and key in the sources has its text.
func TestEveryRefusalHasAText(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	key := regexp.MustCompile(`code: "(\w+)"|say\([\w.]+, "(\w+)"|invalid\([\w"()]+, "(\w+)"`)
	n := 0
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		for _, m := range key.FindAllStringSubmatch(string(b), -1) {
			n++
			k := "api.error." + m[1] + m[2]
			if m[3] != "" {
				k = "api.bad." + m[3]
			}
			if !i18n.For("zh-CN").Has(k) {
				t.Errorf("%s: %s has no text", f, k)
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d texts found: the pattern is out of date", n)
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	r := newRig(t, func(o *Options) { o.Registerer = reg })
	r.ask("GET", Prefix+"/incidents/INC-1", "", "")
	r.ask("GET", Prefix+"/incidents/INC-2", "", "")
	r.ask("BREW", "/anything/else", "", "")
	want := `
# HELP xunjian_api_requests_total API calls by route, method and status.
# TYPE xunjian_api_requests_total counter
xunjian_api_requests_total{code="401",method="GET",route="/api/xunjian/v1/incidents/{id}"} 2
xunjian_api_requests_total{code="404",method="other",route="none"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	if faults, err := testutil.GatherAndLint(reg); err != nil || len(faults) > 0 {
		t.Errorf("lint: %v %v", faults, err)
	}
}

// The header may hold anything at all.
func FuzzAuthorization(f *testing.F) {
	r := newRig(f)
	f.Add("Bearer " + r.tokens[access.Viewer])
	f.Add("Bearer xja.." + strings.Repeat("a", 32))
	f.Add("Bearer \x00")
	f.Fuzz(func(t *testing.T, header string) {
		req := httptest.NewRequest("GET", Prefix+"/status", http.NoBody)
		req.Header["Authorization"] = []string{header}
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		known := false
		for _, token := range r.tokens {
			known = known || strings.Contains(header, token)
		}
		if w.Code != 401 && !(w.Code == 200 && known) {
			t.Errorf("%q: %d", header, w.Code)
		}
	})
}

// decodeTo fails the test unless body is one JSON value of T.
func decodeTo[T any](t testing.TB, body string) (v T) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		t.Fatalf("more than one value in %s", body)
	}
	return v
}

// The document names every route with its rule, and no other.
func TestDocument(t *testing.T) {
	b, err := os.ReadFile("../../docs/API.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z]+ /[^`]*)` \\| ([a-z]+)").FindAllStringSubmatch(string(b), -1) {
		told[m[1]] = m[2]
	}
	for _, rt := range routes {
		name := rt.method + " " + strings.TrimPrefix(rt.path, Prefix)
		if told[name] != string(rt.action) {
			t.Errorf("docs/API.md says %q of %s, which is %q", told[name], name, rt.action)
		}
		delete(told, name)
	}
	for name := range told {
		t.Errorf("docs/API.md tells of %s, which is not there", name)
	}
	for _, d := range deed.Deeds {
		line := regexp.MustCompile("(?m)^\\| `POST /incidents/\\{id\\}/" + d.Name + "`.*$").FindString(string(b))
		for _, f := range d.Fields {
			if must := "**" + f.Name + "**"; !strings.Contains(line, f.Name) || f.Must && !strings.Contains(line, must) {
				t.Errorf("docs/API.md does not tell of %s's %s", d.Name, f.Name)
			}
		}
	}
}

package flow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/config"
)

// plain asks without guards, as a probe's own Doer does with them.
type plain struct{}

func (plain) Do(ctx context.Context, r *Request) (*Answer, error) {
	req, err := http.NewRequestWithContext(ctx, r.Method, r.URL.String(), bytes.NewReader(r.Body))
	if err != nil {
		return nil, err
	}
	req.Header = r.Header
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, &Fault{Outcome: check.Fail, Class: check.ClassConnect, Reason: err.Error()}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return &Answer{Status: resp.StatusCode, Header: resp.Header, Body: body}, err
}

func serve(t *testing.T, routes map[string]http.HandlerFunc) string {
	t.Helper()
	mux := http.NewServeMux()
	for pattern, h := range routes {
		mux.HandleFunc(pattern, h)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func says(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		io.WriteString(w, body)
	}
}

func program(t *testing.T, target, text string) *Program {
	t.Helper()
	type file struct {
		Flow check.Flow `yaml:"flow"`
	}
	f, err := config.Parse("flow.yml", []byte("flow:\n"+text), file{})
	if err != nil {
		t.Fatal(err)
	}
	spec := check.Spec{Name: "c", Service: "s", Kind: "flow", Target: target, Every: 5 * time.Minute, Flow: &f.Flow}
	spec.Validate(func(path, format string, args ...any) { t.Errorf(path+": "+format, args...) })
	p, err := Compile(&f.Flow, Options{Target: target, Secrets: []string{"password"}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var call = Call{Doer: plain{}, Secrets: map[string]string{"password": "geheim-4711"}}

const loginForm = `<html><title>登录</title><form action="/in"><input type="password" name="p"></form></html>`

// One answer, and what a step says of it.
func TestJudge(t *testing.T) {
	var asked atomic.Int32
	url := serve(t, map[string]http.HandlerFunc{
		"/ok":        says("application/json", `{"code":200,"rows":[{"id":1},{"id":2}],"until":"2020-01-01","name":"a b"}`),
		"/notices":   says("application/json", `{"code":200,"rows":[{"title":"关于系统异常的通知"}]}`),
		"/exception": says("text/html; charset=utf-8", `<html><body>系统异常，请联系管理员</body></html>`),
		"/errjson":   says("application/json", `{"code":500,"msg":"系统异常"}`),
		"/portal":    says("text/html", "<html><title>门户</title>"+strings.Repeat("<p>系统异常处置办法</p>", 2000)),
		"/login":     says("text/html", loginForm),
		"/busy":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) },
		"/away":      func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) },
		"/round":     func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/round", http.StatusFound) },
		"/later": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"status":%d}`, min(asked.Add(1), 3))
		},
		"/gzip": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "br")
			io.WriteString(w, "xxxx")
		},
	})
	for name, tc := range map[string]struct {
		step    string
		outcome check.Outcome
		class   check.Class
		trouble check.Trouble
		reason  string
	}{
		"fine":              {`{url: /ok}, expect: [{json: code, equals: "200"}, {json: rows, count: 2}, {json: 'rows.#(id==2).id', exists: true}, {status: [200, 201]}]`, check.OK, "", "", ""},
		"closed":            {`{url: "http://127.0.0.1:1/"}, closed: true, expect: [{status: [401]}]`, check.OK, "", "", ""},
		"not closed":        {`{url: /ok}, closed: true, expect: [{status: [401]}]`, check.Fail, check.ClassStatus, check.Partial, "200 OK, want one of [401]"},
		"not reachable":     {`{url: "http://127.0.0.1:1/"}, expect: [{status: [401]}]`, check.Fail, check.ClassConnect, check.Partial, "refused"},
		"too few":           {`{url: /ok}, expect: [{json: rows, count: 3}]`, check.Fail, check.ClassContent, check.Partial, "2 elements"},
		"critical":          {`{url: /ok}, critical: true, expect: [{json: code, equals: "201"}]`, check.Fail, check.ClassContent, check.Down, `"200", want "201"`},
		"wrong":             {`{url: /ok}, critical: true, expect: [{json: code, equals: "201", trouble: wrong}]`, check.Fail, check.ClassContent, check.Wrong, "want"},
		"a mere warning":    {`{url: /nothing}, trouble: warning`, check.OK, "", "", ""},
		"no more warning":   {`{url: /ok}, expect: [{json: code, equals: "200", trouble: warning}]`, check.OK, "", "", ""},
		"hash":              {`{url: /ok}, expect: [{json: name, sha256: "{{ sha256('a b') }}"}, {json: name, size: "3"}]`, check.OK, "", "", ""},
		"other hash":        {`{url: /ok}, expect: [{json: name, sha256: "00"}]`, check.Fail, check.ClassContent, check.Partial, "SHA-256"},
		"status":            {`{url: /nothing}`, check.Fail, check.ClassStatus, check.Partial, "404 Not Found"},
		"wanted status":     {`{url: /nothing}, expect: [{status: [404, 410]}]`, check.OK, "", "", ""},
		"a word in a title": {`{url: /notices}, expect: [{json: code, equals: "200"}]`, check.OK, "", "", ""},
		"a portal's words":  {`{url: /portal}`, check.OK, "", "", ""},
		"error page":        {`{url: /exception}`, check.Fail, check.ClassContent, check.Partial, "系统异常"},
		"error answer":      {`{url: /errjson}`, check.Fail, check.ClassContent, check.Partial, "系统异常"},
		"login page":        {`{url: /login}`, check.Fail, check.ClassAuth, check.Partial, "a login page"},
		"login wanted":      {`{url: /login}, login_page: true`, check.OK, "", "", ""},
		"sent to login":     {`{url: /away}`, check.Fail, check.ClassAuth, check.Partial, "a login page"},
		"not followed":      {`{url: /away, redirects: 0}`, check.Fail, check.ClassAuth, check.Partial, "302 Found to /login"},
		"in a circle":       {`{url: /round, redirects: 3}`, check.Fail, check.ClassContent, check.Partial, "more than 3 redirects"},
		"not now":           {`{url: /busy}`, check.Unknown, check.ClassSetup, "", "429"},
		"throttled":         {`{url: /ok}, throttle: '"name"'`, check.Unknown, check.ClassSetup, "", "not now"},
		"waited for":        {`{url: /later}, pause: 50ms, until: {json: status, equals: "3"}`, check.OK, "", "", ""},
		"waited in vain":    {`{url: /later}, pause: 50ms, timeout: 300ms, until: {json: status, equals: "9"}`, check.Fail, check.ClassTimeout, check.Partial, `want "9"`},
		"not there":         {`{url: /ok}, extract: {x: {json: nowhere}}`, check.Fail, check.ClassContent, check.Partial, "extract x: not in the answer"},
		"needs it":          {`{url: /ok}, extract: {x: {json: nowhere}}, expect: [{value: "{{ x }}", exists: true}]`, check.Fail, check.ClassContent, check.Partial, "extract x"},
		"value":             {`{url: /ok}, extract: {x: {json: name}}, expect: [{value: "{{ upper(x) }}", equals: A B}]`, check.OK, "", "", ""},
		"encoded":           {`{url: /gzip}, expect: [{match: y}]`, check.Fail, check.ClassContent, check.Partial, "br-encoded unasked"},
		"no JSON":           {`{url: /exception}, expect: [{json: a, exists: true}]`, check.Fail, check.ClassContent, check.Partial, "系统异常"},
		"no PDF":            {`{url: /ok}, expect: [{pdf: true}]`, check.Fail, check.ClassContent, check.Partial, "not a PDF"},
		"a pattern's value": {`{url: /ok}, expect: [{json: name, match: "^{{ 'a b' }}$"}, {json: name, refuse: "^{{ 'a.b' }}$"}]`, check.OK, "", "", ""},
		"bad header":        {`{url: /ok, headers: {X-A: "{{ unhex('0a') }}"}}`, check.Unknown, check.ClassSetup, "", "more than one line"},
		"bad JSON sent":     {`{url: /ok, json: '{"a": {{ url("x") }}}'}`, check.Unknown, check.ClassSetup, "", "write {{ json"},
		"its end is near":   {`{url: /ok}, expect: [{json: until, warn: {name: licence, minor: 30d, urgent: 0d}}]`, check.OK, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			asked.Store(0)
			text := tc.step
			r := program(t, url, "  steps:\n    - {name: it, request: "+text+"}\n").Run(t.Context(), call)
			if r.Outcome != tc.outcome || r.Class != tc.class || r.Trouble != tc.trouble || !strings.Contains(r.Reason, tc.reason) {
				t.Errorf("%s %s %s: %s", r.Outcome, r.Class, r.Trouble, r.Reason)
			}
			if name == "its end is near" && (len(r.Findings) != 1 || r.Findings[0].Level != "urgent") {
				t.Errorf("%+v", r.Findings)
			}
			if name == "no more warning" && (len(r.Findings) != 1 || r.Findings[0].Level != "" || r.Findings[0].Name != "it") {
				t.Errorf("a warning that was told would not end: %+v", r.Findings)
			}
			if name == "a mere warning" && (len(r.Findings) != 1 || r.Findings[0].Level != "minor" || r.Steps[0].Outcome != check.Fail) {
				t.Errorf("%+v", r)
			}
		})
	}
}

// Credentials and what is made of them never show, and do not follow to another host.
func TestSecrets(t *testing.T) {
	var leaked []string
	other := serve(t, map[string]http.HandlerFunc{"/": func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		leaked = append(leaked, r.Header.Get("Authorization")+r.Header.Get("X-Token")+r.Header.Get("Cookie")+string(body))
	}})
	other = strings.Replace(other, "127.0.0.1", "localhost", 1) // cookies know hosts, not ports
	url := serve(t, map[string]http.HandlerFunc{
		"/echo": func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			http.SetCookie(w, &http.Cookie{Name: "sid", Value: "cookie-value-1"})
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"you":"%s","token":"brought-by-the-answer","auth":%q}`, strings.ReplaceAll(string(body), `"`, ""), r.Header.Get("Authorization"))
		},
		"/see": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other+"/x", http.StatusFound) },
		"/keep": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other+"/x", http.StatusTemporaryRedirect)
		},
	})
	p := program(t, url, `
  steps:
    - name: echo
      request:
        url: /echo
        headers: {Authorization: "Basic {{ base64(concat('u:', secrets.password)) }}", X-Token: "{{ sm3(secrets.password) }}"}
        form: {user: u, password: "{{ secrets.password }}", sign: "{{ md5(secrets.password) }}"}
      expect: [{json: you, equals: "never"}]
      extract: {t: {json: token, secret: true}}
    - name: away
      request: {url: /see, headers: {Authorization: "Bearer {{ t }}", X-Token: "{{ secrets.password }}", Cookie: "a=b"}}
    - name: kept
      login: true
      request: {url: /keep, form: {password: "{{ secrets.password }}"}}
`)
	var events strings.Builder
	c := call
	c.Trace = func(e Event) { fmt.Fprintf(&events, "%+v %+v\n", e, e.Exchanges) }
	r := p.Run(t.Context(), c)
	all := events.String() + r.Reason + fmt.Sprintf("%+v %+v", r.Steps, r.Findings)
	c.Trace = func(e Event) {
		for _, x := range e.Exchanges {
			if x.Answer != nil {
				all += string(x.Answer.Body) + fmt.Sprint(x.Answer.Header)
			}
		}
	}
	p.Run(t.Context(), c)
	for _, secret := range []string{"geheim-4711", "dTpnZWhlaW0tNDcxMQ", "brought-by", "cookie-value", "9bb8"} {
		if strings.Contains(all, secret) {
			t.Errorf("%s is shown in\n%s", secret, all)
		}
	}
	if last := r.Steps[len(r.Steps)-1]; last.Name != "kept" || last.Outcome != check.Fail || !strings.Contains(last.Reason, "to another place") {
		t.Errorf("%+v", last)
	}
	if len(leaked) != 2 || strings.Join(leaked, "") != "" {
		t.Errorf("another host was told %q", leaked)
	}
}

// What was made is taken back whatever comes after, and what was never made is not.
func TestFinally(t *testing.T) {
	var removed atomic.Int32
	url := serve(t, map[string]http.HandlerFunc{
		"POST /things":     says("application/json", `{"id":"7","title":"another"}`),
		"/hang":            func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"DELETE /things/7": func(http.ResponseWriter, *http.Request) { removed.Add(1) },
	})
	const text = `
  steps:
    - {name: make, request: {url: /%s, method: POST}, critical: true, expect: [{json: title, equals: "mine"}], extract: {id: {json: id}}}
    - {name: later, request: {url: "/things/{{ id }}"}}
  finally:
    - {name: remove, request: {url: "/things/{{ id }}", method: DELETE}}
    - {name: gone, request: {url: "/things/{{ id }}"}, expect: [{status: [%d]}]}
`
	r := program(t, url, fmt.Sprintf(text, "things", 405)).Run(t.Context(), call)
	if r.Outcome != check.Fail || removed.Load() != 1 || len(r.Steps) != 3 || len(r.Findings) != 1 || r.Findings[0].Level != "" {
		t.Errorf("%+v, removed %d", r, removed.Load())
	}
	r = program(t, url, fmt.Sprintf(text, "things", 404)).Run(t.Context(), call)
	if f := r.Findings; len(f) != 1 || f[0].Name != "cleanup" || f[0].Level != "minor" {
		t.Errorf("%+v", f)
	}
	removed.Store(0)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	r = program(t, url, fmt.Sprintf(text, "hang", 404)).Run(ctx, call)
	if r.Class != check.ClassTimeout || removed.Load() != 0 || len(r.Findings) != 0 {
		t.Errorf("%+v", r)
	}
	hung := program(t, url, "  steps:\n    - {name: a, request: {url: /hang}, timeout: 50ms}\n  finally:\n    - {name: b, request: {url: /hang}}\n")
	c := call
	c.Tidy = 200 * time.Millisecond
	if r := hung.Run(t.Context(), c); r.Findings == nil || r.Duration > 150*time.Millisecond+margin {
		t.Errorf("a clean-up that hangs: %+v", r)
	}
}

// The daily sweep and the run's own clean-up are one finding, which neither hides from the other.
func TestSweepAndCleanUpAreOneFinding(t *testing.T) {
	url := serve(t, map[string]http.HandlerFunc{
		"POST /things":  says("application/json", `{"id":"7","left":["3"]}`),
		"GET /{kind}/7": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
	})
	const text = `
  steps:
    - {name: make, request: {url: /things, method: POST}, extract: {id: {json: id}}}
  finally:
    - {name: gone, request: {url: "/things/{{ id }}"}, expect: [{status: [%d]}]}
  sweep:
    - {name: swept, request: {url: "/swept/{{ id }}"}, expect: [{status: [%d]}]}
`
	for _, x := range []struct {
		own, swept int
		level      string
	}{{404, 404, ""}, {410, 404, "minor"}, {404, 410, "minor"}} {
		c := call
		c.Sweep = true
		r := program(t, url, fmt.Sprintf(text, x.own, x.swept)).Run(t.Context(), c)
		if f := r.Findings; len(r.Steps) != 3 || len(f) != 1 || f[0].Name != "cleanup" || f[0].Level != x.level {
			t.Errorf("own %d, swept %d: %+v", x.own, x.swept, r)
		}
	}
}

// One bad answer to what is only told beside the verdict is asked again where that does no harm, and is no news.
func TestOneBadAnswerIsNoNews(t *testing.T) {
	var asked [4]atomic.Int32
	url := serve(t, map[string]http.HandlerFunc{
		"/": func(http.ResponseWriter, *http.Request) {},
		"/{n}": func(w http.ResponseWriter, r *http.Request) {
			n, _ := strconv.Atoi(r.PathValue("n"))
			if asked[n].Add(1) == 1 || n == 3 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		},
	})
	r := program(t, url, `
  steps:
    - {name: extra, trouble: warning, request: {url: /0}}
    - {name: posted, trouble: warning, request: {url: /1, method: POST}}
  finally:
    - {name: remove, request: {url: /2, method: DELETE}}
`).Run(t.Context(), call)
	levels := map[string]string{}
	for _, f := range r.Findings {
		levels[f.Name] = f.Level
	}
	if want := map[string]string{"extra": "", "posted": "minor", "cleanup": ""}; !maps.Equal(levels, want) || len(r.Steps) != 3 {
		t.Errorf("%v, want %v: %+v", levels, want, r)
	}
	for n, want := range []int32{2, 1, 2} {
		if got := asked[n].Load(); got != want {
			t.Errorf("/%d asked %d times, want %d", n, got, want)
		}
	}
	r = program(t, url, "  steps:\n    - {name: a, request: {url: /}}\n  finally:\n    - {name: stays, request: {url: /3, method: DELETE}}\n").Run(t.Context(), call)
	if f := r.Findings; len(f) != 1 || f[0].Level != "minor" || asked[3].Load() != 2 {
		t.Errorf("%+v after %d tries", f, asked[3].Load())
	}
}

// A sweep counts as made when it came to its end and all was removed: what failed, or was not come to, is tried again.
func TestSweepIsTriedAgain(t *testing.T) {
	url := serve(t, map[string]http.HandlerFunc{"GET /{page}": func(w http.ResponseWriter, r *http.Request) {
		status, _ := strconv.Atoi(r.PathValue("page"))
		w.WriteHeader(status)
	}})
	for _, x := range []struct {
		first, sweep int
		swept        bool
	}{{200, 200, true}, {500, 200, false}, {200, 500, false}} {
		c := call
		c.Sweep = true
		r := program(t, url, fmt.Sprintf("  steps:\n    - {name: a, critical: true, request: {url: /%d}}\n  sweep:\n    - {name: b, request: {url: /%d}}\n", x.first, x.sweep)).Run(t.Context(), c)
		if r.Swept != x.swept {
			t.Errorf("%+v: %+v", x, r)
		}
	}
}

// A control that could ask nothing says nothing, and a step that asked nothing shows no status of the one before.
func TestNothingAsked(t *testing.T) {
	url := serve(t, map[string]http.HandlerFunc{"/": says("application/json", `{"all":[]}`)})
	p := program(t, url, `
  steps:
    - {name: a, request: {url: /}, extract: {all: {json: all}}}
    - {name: none, each: "{{ all }}", request: {url: "/{{ each }}"}}
    - {name: later, trouble: warning, request: {url: /}, extract: {never: {json: never}}}
  control:
    - {name: refused, request: {url: "/{{ never }}"}, expect: [{status: [404]}]}
`)
	if r := p.Run(t.Context(), call); r.Outcome != check.OK || len(r.Steps) != 3 || r.Steps[1].Status != 0 {
		t.Errorf("%s %s: %+v", r.Outcome, r.Reason, r.Steps)
	}
	if r := p.Control(t.Context(), call); r.Outcome != check.Unknown || !strings.Contains(r.Reason, "asked nothing") {
		t.Errorf("%s %s", r.Outcome, r.Reason)
	}
}

func TestEachIsBounded(t *testing.T) {
	var asked atomic.Int32
	list := "[" + strings.TrimSuffix(strings.Repeat(`"x",`, 500), ",") + "]"
	url := serve(t, map[string]http.HandlerFunc{"/list": says("application/json", list), "/x": func(http.ResponseWriter, *http.Request) { asked.Add(1) }})
	program(t, url, `
  steps:
    - {name: list, request: {url: /list}, extract: {all: {body: true}}}
    - {name: each, each: "{{ all }}", request: {url: "/{{ each }}"}}
`).Run(t.Context(), call)
	if asked.Load() != maxEach {
		t.Errorf("asked %d times", asked.Load())
	}
}

func TestVariablesThatCannotBe(t *testing.T) {
	p := program(t, "http://127.0.0.1:1", "  vars: {a: \"{{ totp(secrets.password) }}\"}\n  steps:\n    - {name: a, request: {url: /}}\n")
	if r := p.Run(t.Context(), call); r.Outcome != check.Unknown || r.Class != check.ClassSetup || strings.Contains(r.Reason, "geheim") {
		t.Errorf("%s %s", r.Outcome, r.Reason)
	}
	if _, err := Compile(&check.Flow{Steps: []check.FlowStep{{Name: "a", Request: check.FlowRequest{URL: "{{ x }}"}}}}, Options{}); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Error("compiled with unknown names and no target")
	}
}

// An answer that takes long to look through does not delay the verdict: time is looked at between expectations.
func TestManyExpectationsOnALargeBody(t *testing.T) {
	target := serve(t, map[string]http.HandlerFunc{"/": says("text/plain", strings.Repeat("error ", 160_000))})
	var expects strings.Builder
	for i := range 24 {
		fmt.Fprintf(&expects, "        - {refuse: '(?i)(errors|failed)\\s*:\\s*[a-z ]{%d,}x$'}\n", i+1)
	}
	p := program(t, target, "  steps:\n    - name: a\n      critical: true\n      request: {url: /}\n      expect:\n"+expects.String())
	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	r := p.Run(ctx, call)
	if r.Outcome != check.Fail || r.Class != check.ClassTimeout || r.Trouble != check.Down || !strings.Contains(r.Reason, "expectations were looked at in time") {
		t.Errorf("%s %s %s: %s", r.Outcome, r.Class, r.Trouble, r.Reason)
	}
}

func FuzzFlow(f *testing.F) {
	f.Add([]byte("checks: [{name: c, service: s, kind: flow, target: 'http://h', every: 5m, flow: {steps: [{name: a, request: {url: '/{{ nonce() }}'}, expect: [{json: a, equals: '{{ x }}'}], extract: {x: {json: b}}, until: {status: [200]}}]}}]"))
	f.Add([]byte("checks: [{flow: {vars: {a: '{{ b }}'}, steps: [{name: a, each: '{{ a }}', request: {url: /, hidden: true}}]}}]"))
	type file struct {
		Services []check.Service `yaml:"services"`
		Checks   []check.Spec    `yaml:"checks"`
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		parsed, err := config.Parse("f.yml", b, file{})
		if err != nil {
			return
		}
		for _, spec := range parsed.Checks {
			faults := 0
			fail := func(string, string, ...any) { faults++ }
			spec.Validate(fail)
			Validate(spec, fail)
			if faults > 0 || spec.Flow == nil {
				continue
			}
			if _, err := Compile(spec.Flow, Options{Target: spec.Target, Secrets: keys(spec.Secrets)}); err != nil {
				t.Errorf("sound, yet: %v", err)
			}
		}
	})
}

func keys(m map[string]check.Ref) (out []string) {
	for k := range m {
		out = append(out, k)
	}
	return out
}

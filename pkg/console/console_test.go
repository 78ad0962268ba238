package console

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/access"
	"xunjian/pkg/incident"
	"xunjian/pkg/store"
	"xunjian/pkg/symptom"
)

func noteOf(text string) incident.Act { return incident.Act{Person: "驻点", Note: text, Via: "cli"} }

// mend ends an incident, so that its service can break anew.
func (r *rig) mend(id string) {
	r.t.Helper()
	rec, _, err := r.desk.Get(id)
	if err != nil {
		r.t.Fatal(err)
	}
	now := time.Now()
	if _, _, err = r.desk.Observe(now, symptom.Symptom{Source: symptom.FromProbe, Service: rec.Service, Class: rec.Class, Since: now, At: now}); err != nil {
		r.t.Fatal(err)
	}
	if err := r.desk.Tick(now.Add(24 * time.Hour)); err != nil {
		r.t.Fatal(err)
	}
}

func (s *sessionStore) count(t *testing.T) (n int) {
	t.Helper()
	err := s.db.View(func(tx *store.Tx) error {
		for _, err := range s.table.Scan(tx, "") {
			if err != nil {
				return err
			}
			n++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Every answer is protected, whatever it is and whoever asks.
func TestHeadersOnEveryAnswer(t *testing.T) {
	r := newRig(t)
	id := r.breaks(time.Now(), "sms", "HTTP 500").ID
	requests := func() []*http.Request {
		return []*http.Request{
			httptest.NewRequest("GET", "/", nil), httptest.NewRequest("GET", "/login", nil), httptest.NewRequest("GET", "/favicon.ico", nil),
			httptest.NewRequest("GET", "/static/console.css", nil), httptest.NewRequest("GET", "/static/", nil), httptest.NewRequest("GET", "/static/no.js", nil),
			httptest.NewRequest("GET", "/no/such/page", nil), httptest.NewRequest("GET", "/incidents/"+id, nil), httptest.NewRequest("GET", "/incidents/no", nil),
			httptest.NewRequest("PUT", "/login", nil), httptest.NewRequest("POST", "/events", nil), form("/login", "login", "x"), form("/incidents/" + id + "/ack"),
			form("/login", "login", strings.Repeat("x", maxForm)), form("/logout"),
		}
	}
	for name, v := range map[string]*visitor{"nobody": r.visitor(), "engineer": r.as(access.Engineer)} {
		for _, req := range requests() {
			w := v.do(req)
			for k, want := range map[string]string{
				"Content-Security-Policy": contentPolicy, "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
				"Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
			} {
				if got := w.Header().Get(k); got != want {
					t.Errorf("%s: %s %s: %s is %q", name, req.Method, req.URL, k, got)
				}
			}
			if page := strings.HasPrefix(w.Header().Get("Content-Type"), "text/html"); page && w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %s %s may be kept: %q", name, req.Method, req.URL, w.Header().Get("Cache-Control"))
			}
		}
	}
}

func TestNothingWithoutLogin(t *testing.T) {
	r := newRig(t)
	id := r.breaks(time.Now(), "sms", "HTTP 500").ID
	v := r.visitor()
	for _, path := range []string{"/", "/incidents/" + id} {
		leads(t, v.get(path), loginAddress(path, false))
		if w := v.get(path, "HX-Request", "true"); w.Code != http.StatusUnauthorized || w.Header().Get("HX-Redirect") != "/login" || w.Body.Len() != 0 {
			t.Errorf("htmx gets %d %q of %s", w.Code, w.Body, path)
		}
	}
	if w := v.get("/events"); w.Code != http.StatusUnauthorized {
		t.Errorf("events: %d", w.Code)
	}
	leads(t, v.post("/incidents/"+id+"/ack", "from", "/incidents/"+id), "/login?next=%2Fincidents%2F"+id)
	if rec, _, err := r.desk.Get(id); err != nil || !rec.AckAt.IsZero() {
		t.Errorf("acknowledged by nobody: %+v, %v", rec, err)
	}
}

func TestRoles(t *testing.T) {
	r := newRig(t)
	for _, role := range access.Roles {
		rec := r.breaks(time.Now(), "for-"+string(role), "HTTP 500")
		v, may := r.as(role), role != access.Viewer
		for _, path := range []string{"/", "/incidents/" + rec.ID} {
			if has := strings.Contains(v.sees(path, rec.ID), rec.ID+"/ack"); has != may {
				t.Errorf("%s at %s: button is %v", role, path, has)
			}
		}
		w := v.post("/incidents/"+rec.ID+"/ack", "note", "来了", "from", "/incidents/"+rec.ID)
		got, _, err := r.desk.Get(rec.ID)
		if err != nil {
			t.Fatal(err)
		}
		if !may {
			if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "当前角色不能处理故障") || !got.AckAt.IsZero() {
				t.Errorf("%s: %d %s", role, w.Code, w.Body)
			}
		} else {
			leads(t, w, "/incidents/"+rec.ID)
			if got.AckBy != "张 "+string(role) || got.AckVia != "console" {
				t.Errorf("%s: acknowledged by %q via %q", role, got.AckBy, got.AckVia)
			}
			v.sees("/incidents/"+rec.ID, "来了", "张 "+string(role), "控制台")
		}
	}
}

func TestAckRefused(t *testing.T) {
	r := newRig(t)
	rec := r.breaks(time.Now(), "sms", "HTTP 500")
	v := r.as(access.Engineer)
	for _, c := range []struct {
		id, note, text string
		status         int
	}{
		{"INC-20000101-0001", "", "没有编号为 INC-20000101-0001 的故障", http.StatusNotFound},
		{rec.ID, strings.Repeat("长", 20000), "", http.StatusBadRequest},
		{rec.ID, strings.Repeat("长", 5000), "内容过长", http.StatusUnprocessableEntity},
		{rec.ID, "来了", "", http.StatusSeeOther},
		{rec.ID, "", rec.ID + " 已由 张 engineer 于", http.StatusConflict},
	} {
		w := v.post("/incidents/"+c.id+"/ack", "note", c.note)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.text) {
			t.Errorf("ack %s with %d bytes: %d %s, want %d with %q", c.id, len(c.note), w.Code, w.Body, c.status, c.text)
		}
	}
	w := v.do(form("/incidents/"+rec.ID+"/ack"), "HX-Request", "true", "HX-Current-URL", "http://example.com/incidents/"+rec.ID)
	if w.Code != http.StatusConflict || strings.Contains(w.Body.String(), "<html") || !strings.Contains(w.Body.String(), "timeline") {
		t.Errorf("htmx on the incident's page gets %d %s", w.Code, w.Body)
	}
}

func TestOtherSitesCannotAct(t *testing.T) {
	r := newRig(t)
	id := r.breaks(time.Now(), "sms", "HTTP 500").ID
	v := r.as(access.Admin)
	for _, path := range []string{"/incidents/" + id + "/ack", "/logout", "/login"} {
		for _, h := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}} {
			w := v.do(form(path, "login", "viewer", "password", password), h...)
			if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "其他网站") {
				t.Errorf("POST %s with %v: %d %s", path, h, w.Code, w.Body)
			}
		}
	}
	if rec, _, err := r.desk.Get(id); err != nil || !rec.AckAt.IsZero() {
		t.Errorf("another site acknowledged: %+v, %v", rec, err)
	}
	v.sees("/", "张 admin")
	if w := v.do(form("/incidents/"+id+"/ack"), "Sec-Fetch-Site", "same-origin"); w.Code != http.StatusSeeOther {
		t.Errorf("our own site: %d", w.Code)
	}
}

func TestNoSuchPage(t *testing.T) {
	r := newRig(t)
	v := r.as(access.Viewer)
	for path, text := range map[string]string{"/nowhere": "没有这个页面", "/incidents/INC-1": "没有编号为 INC-1 的故障", "/incidents/%3Cscript%3E%E2%80%AE": "&lt;script&gt;\ufffd", "/static/": "没有这个页面"} {
		w := v.get(path)
		if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), text) || !strings.Contains(w.Body.String(), `href="/"`) {
			t.Errorf("GET %s: %d %s", path, w.Code, w.Body)
		}
	}
	if w := v.get("/incidents/INC-1?lang=en"); !strings.Contains(w.Body.String(), "There is no incident INC-1") {
		t.Errorf("in English: %s", w.Body)
	}
	if !strings.Contains(v.get("/nowhere").Body.String(), "There is no such page") {
		t.Error("the language was not kept")
	}
}

// What is vendored is exactly what its makers published.
func TestVendored(t *testing.T) {
	for name, want := range map[string]string{"htmx.min.js": "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717"} {
		b, err := files.ReadFile("static/" + name)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(b)
		if got := hex.EncodeToString(sum[:]); got != want {
			t.Errorf("%s: SHA-256 %s, want %s", name, got, want)
		}
	}
	b, err := files.ReadFile("static/htmx.LICENSE.txt")
	if err != nil || !bytes.Contains(b, []byte("Zero-Clause BSD")) {
		t.Errorf("licence of htmx: %v %s", err, b)
	}
}

func TestStatic(t *testing.T) {
	r := newRig(t)
	v := r.visitor()
	page := v.sees("/login")
	found := regexp.MustCompile(`"(/static/[^"]+)"`).FindAllStringSubmatch(page, -1)
	if len(found) < 2 {
		t.Fatalf("the page names %v", found)
	}
	for _, m := range found {
		w := v.get(m[1])
		if w.Code != http.StatusOK || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") || w.Body.Len() == 0 {
			t.Errorf("GET %s: %d %v", m[1], w.Code, w.Header())
		}
		plain, _, _ := strings.Cut(m[1], "?")
		if w := v.get(plain); w.Code != http.StatusOK || w.Header().Get("Cache-Control") != "no-cache" {
			t.Errorf("GET %s: %d %v", plain, w.Code, w.Header())
		}
	}
	if w := v.get("/favicon.ico"); w.Code != http.StatusOK || w.Header().Get("Content-Type") != "image/svg+xml" {
		t.Errorf("favicon: %d %v", w.Code, w.Header())
	}
	for _, path := range []string{"/static/../console.go", "/static/%2e%2e/pages/frame.html", "/static/..%2fpages%2fframe.html", "/static/console.css%00"} {
		if w := v.get(path); w.Code == http.StatusOK {
			t.Errorf("GET %s: %d", path, w.Code)
		}
	}
}

// No page holds a script, a style or a handler of its own: the policy would refuse them.
func TestNothingInline(t *testing.T) {
	r := newRig(t)
	rec := r.breaks(time.Now(), "sms", `"><script>alert(1)</script><img src=x onerror=alert(1)>{{.}}`)
	v := r.as(access.Engineer)
	inline := regexp.MustCompile(`(?i)<script[^>]*>[^<]|<style|\sstyle=|\son[a-z]+="|javascript:|hx-on|hx-vals|<img src=x`)
	for _, path := range []string{"/", "/incidents/" + rec.ID, "/login", "/nowhere"} {
		if got := inline.FindString(v.get(path).Body.String()); got != "" {
			t.Errorf("%s holds %q", path, got)
		}
	}
	v.sees("/", "&lt;script&gt;alert(1)", "{{.}}")
}

func TestFailureOfTheDesk(t *testing.T) {
	r := newRig(t)
	v := r.as(access.Engineer)
	r.Console.o.Desk = stuckDesk{r.desk}
	for _, path := range []string{"/", "/incidents/A"} {
		if w := v.get(path); w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), "服务器未能完成请求") || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("GET %s: %d %s", path, w.Code, w.Body)
		}
	}
	if !strings.Contains(r.log.String(), "secret path") {
		t.Errorf("the log does not say why: %s", r.log.String())
	}
}

// stuckDesk is a desk whose disk fails.
type stuckDesk struct{ *incident.Desk }

func (stuckDesk) List(incident.Filter) ([]incident.Record, error) {
	return nil, fmt.Errorf("read secret path")
}

func (stuckDesk) Get(string) (incident.Record, []incident.Event, error) {
	return incident.Record{}, nil, fmt.Errorf("read secret path")
}

package console

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"xunjian/pkg/access"
	"xunjian/pkg/store"
)

func TestLoginLeadsBack(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{"/", "/incidents/INC-20261123-0001"} {
		v := r.visitor()
		w := v.get(path)
		leads(t, w, loginAddress(path, false))
		page := v.sees(w.Header().Get("Location"), fmt.Sprintf(`name="next" value="%s"`, path))
		if strings.Contains(page, "htmx") && strings.Contains(page, "<script") {
			t.Error("the login page carries scripts")
		}
		leads(t, v.post("/login", "login", "viewer", "password", password, "next", path), path)
	}
}

// Elsewhere are addresses to which nobody may be led.
var elsewhere = []string{
	"//evil.example", `/\evil.example`, `\\evil.example`, "https://evil.example/", "https:evil.example", "javascript:alert(1)", "/%2f/evil.example",
	"/incidents/../../evil", "/incidents//evil.example", "/\t/evil.example", "/\r\nSet-Cookie: a=b", "/logout", "/incidents/A?lang=en", "", "incidents/A", "/incidents/A/ack", "/incidents/A\n",
}

func TestNoOpenRedirect(t *testing.T) {
	r := newRig(t)
	for i, bad := range elsewhere {
		leads(t, r.visitor().post("/login", "login", "viewer", "password", password, "next", bad), "/")
		if page := r.visitor().sees("/login?" + url.Values{"next": {bad}}.Encode()); !strings.Contains(page, `name="next" value="/"`) {
			t.Errorf("login page hands on %q", bad)
		}
		id := r.breaks(time.Now(), fmt.Sprint("service-", i), "HTTP 500").ID
		leads(t, r.as(access.Engineer).post("/incidents/"+id+"/ack", "from", bad), "/")
	}
}

func FuzzLocal(f *testing.F) {
	for _, s := range elsewhere {
		f.Add(s)
	}
	f.Add("/incidents/INC-20261123-0001")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := url.Parse("https://console.example")
		if err != nil {
			t.Fatal(err)
		}
		to, err := u.Parse(local(s))
		if err != nil || to.Host != u.Host || to.Scheme != u.Scheme || to.RawQuery != "" {
			t.Errorf("%q leads to %v, %v", s, to, err)
		}
	})
}

func TestWrongPassword(t *testing.T) {
	r := newRig(t)
	v := r.visitor()
	for range 5 {
		w := v.post("/login", "login", "viewer", "password", "wrong", "next", "/incidents/A")
		if w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), "用户名或口令不正确") || !strings.Contains(w.Body.String(), `value="/incidents/A"`) {
			t.Fatalf("wrong password: %d %s", w.Code, w.Body)
		}
	}
	if w := v.post("/login", "login", "viewer", "password", password); w.Code != http.StatusTooManyRequests || !strings.Contains(w.Body.String(), "15 分钟") {
		t.Errorf("after five wrong ones: %d %s", w.Code, w.Body)
	}
	if len(v.cookies) != 0 {
		t.Errorf("cookies of somebody who never signed in: %v", v.cookies)
	}
}

func TestSessionCookie(t *testing.T) {
	for _, secure := range []bool{false, true} {
		r := newRig(t, func(o *Options) { o.Secure = secure })
		v := r.visitor()
		v.cookies["xunjian"] = &http.Cookie{Name: "xunjian", Value: "planted-by-somebody-else-in-this-browser"}
		leads(t, v.post("/login", "login", "engineer", "password", password), "/")
		first := v.cookies["xunjian"]
		if !first.HttpOnly || first.SameSite != http.SameSiteStrictMode || first.Secure != secure || first.Path != "/" || len(first.Value) < 40 {
			t.Errorf("cookie: %+v", first)
		}
		leads(t, v.post("/login", "login", "engineer", "password", password), "/")
		if v.cookies["xunjian"].Value == first.Value {
			t.Error("a second login kept the session's id")
		}
		old := r.visitor()
		old.cookies["xunjian"] = first
		leads(t, old.get("/"), "/login")
	}
}

func TestLogoutEndsSession(t *testing.T) {
	r := newRig(t)
	v := r.as(access.Engineer)
	stolen := r.visitor()
	stolen.cookies["xunjian"] = v.cookies["xunjian"]
	stolen.sees("/", "张 engineer")
	leads(t, v.post("/logout"), "/login")
	leads(t, v.get("/"), "/login")
	leads(t, stolen.get("/"), "/login")
}

func TestDisabledPersonIsOut(t *testing.T) {
	r := newRig(t)
	admin := access.Identity{Role: access.Admin, Person: "test", Via: "local"}
	v := r.as(access.Engineer)
	v.sees("/")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(r.people.Disable(admin, "engineer", true))
	leads(t, v.post("/incidents/A/ack", "from", "/incidents/A"), "/login?next=%2Fincidents%2FA")
	must(r.people.Disable(admin, "engineer", false))
	leads(t, v.get("/"), "/login") // the old session is gone for good
	viewer := r.as(access.Viewer)
	must(r.people.SetRole(admin, "viewer", access.Engineer))
	id := r.breaks(time.Now(), "sms", "HTTP 500").ID
	leads(t, viewer.post("/incidents/"+id+"/ack"), "/") // rights are those of the moment
}

func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		busy, away, screen := r.as(access.Engineer), r.as(access.Lead), r.as(access.Viewer)
		for range 40 {
			time.Sleep(time.Minute + time.Second)
			if w := busy.get("/", "HX-Request", "true", "HX-Trigger", "live", "X-Person", "active"); w.Code != http.StatusOK {
				t.Fatalf("somebody who works is out: %d", w.Code)
			}
			away.get("/", "HX-Request", "true", "HX-Trigger", "live") // the page refreshes itself
		}
		w := away.get("/incidents/A", "HX-Request", "true", "HX-Trigger", "live", "HX-Current-URL", "https://c.example/incidents/A")
		if w.Code != http.StatusUnauthorized || !strings.HasPrefix(w.Header().Get("HX-Redirect"), "/login?") {
			t.Errorf("somebody who is away: %d %v", w.Code, w.Header())
		}
		screen.sees("/")
		away = r.as(access.Lead)
		time.Sleep(defaultIdle + seenEvery)
		w = away.get("/incidents/A")
		leads(t, w, "/login?idle=1&next=%2Fincidents%2FA")
		away.sees(w.Header().Get("Location"), "长时间未操作")
		time.Sleep(sessionLife)
		leads(t, screen.get("/"), "/login")
	})
}

func TestSessionsSurviveRestart(t *testing.T) {
	r := newRig(t)
	v := r.as(access.Engineer)
	again, err := New(r.o)
	if err != nil {
		t.Fatal(err)
	}
	v.h = again
	v.sees("/", "张 engineer")
}

func TestExpiredSessionsAreSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		for range 3 {
			r.as(access.Viewer)
		}
		time.Sleep(sessionLife + time.Second)
		r.as(access.Viewer)
		s := newSessions(r.o).Store.(*sessionStore)
		if n := s.count(t); n != 1 {
			t.Errorf("%d sessions are kept, want 1", n)
		}
	})
}

// On a disk that takes nothing people sign in, stay and sign out all the same; what could not be written is written later.
func TestSessionsWithoutADisk(t *testing.T) {
	frozen, thaw := frozenStore(t)
	r := newRig(t, func(o *Options) { o.Sessions = frozen })
	stays, goes := r.as(access.Engineer), r.as(access.Lead)
	stays.sees("/", "签章服务")
	goes.sees("/", "签章服务")
	leads(t, goes.post("/logout"), "/login")
	leads(t, goes.get("/"), loginAddress("/", false))

	s := r.sessions.Store.(*sessionStore)
	if n := len(s.unwritten); n != 2 {
		t.Errorf("%d sessions are kept in memory", n)
	}
	s.db = thaw()
	r.as(access.Viewer).sees("/", "签章服务")
	if len(s.unwritten) != 0 {
		t.Errorf("not written although it could be: %v", s.unwritten)
	}
	stays.sees("/", "签章服务")
	leads(t, goes.get("/"), loginAddress("/", false))
}

// What is kept in memory is bounded: beyond that a person is told that it does not work.
func TestUnwrittenSessionsAreBounded(t *testing.T) {
	frozen, _ := frozenStore(t)
	s := newSessions(Options{Sessions: frozen, Logger: slog.New(slog.DiscardHandler)}).Store
	in := time.Now().Add(time.Hour)
	for i := range maxUnwritten {
		if err := s.Commit(fmt.Sprint(i), []byte("x"), in); err != nil {
			t.Fatal(i, err)
		}
	}
	if err := s.Commit("more", []byte("x"), in); err == nil {
		t.Error("one more than may be is kept")
	}
	if _, ok, err := s.Find("0"); !ok || err != nil {
		t.Errorf("the first is lost: %v", err)
	}
}

// frozenStore is a store that takes nothing until it is thawed.
func frozenStore(t *testing.T) (db *store.DB, thaw func() *store.DB) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sessions.db")
	open := func(o store.Options) *store.DB {
		db, err := store.Open(path, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return db
	}
	open(store.Options{}).Close()
	db = open(store.Options{ReadOnly: true})
	return db, func() *store.DB { db.Close(); return open(store.Options{}) }
}

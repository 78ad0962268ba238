package console

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/channel"
	"xunjian/pkg/incident"
	"xunjian/pkg/pager"
	"xunjian/pkg/roster"
)

// handset takes messages for people and hands on the links in them.
type handset struct{ links chan string }

func (*handset) Name() string                  { return "sms" }
func (*handset) Personal() bool                { return true }
func (*handset) Broadcasts() bool              { return false }
func (*handset) Reaches(p channel.Person) bool { return p.Phone != "" }
func (h *handset) Send(_ context.Context, m channel.Message) (channel.Receipt, error) {
	h.links <- m.Link
	return channel.Receipt{}, nil
}

type names []roster.Person

func (n names) On(at time.Time) roster.Duty {
	return roster.Duty{At: at, Turns: [3]roster.Turn{{Line: roster.Resident, Person: n[0]}}}
}
func (n names) People() []roster.Person { return n }
func (n names) Person(name string) (roster.Person, bool) {
	for _, p := range n {
		if p.Name == name {
			return p, true
		}
	}
	return roster.Person{}, false
}

// phoned is a console with a pager that calls one person.
func phoned(t *testing.T, language string) (*rig, *handset) {
	t.Helper()
	h := &handset{make(chan string, 16)}
	r := newRig(t)
	who := names{{Name: "张三", Role: "engineer", Duty: "resident", Phone: "1", Language: language}}
	p, err := pager.New(r.desk, r.db, pager.Options{
		Channels: []channel.Channel{h}, Roster: who, Steps: []pager.Step{{After: "0s", Who: []string{"duty"}}}, ExternalURL: "https://ops.example.org", Location: shanghai,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	r.o.Links = p
	if r.Console, err = New(r.o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.EndStreams)
	return r, h
}

func (r *rig) tap(method, path string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, path, http.NoBody)
	req.Header.Set("User-Agent", "Phone/1")
	w := httptest.NewRecorder()
	r.Console.ServeHTTP(w, req)
	return w
}

// A link in a page needs no account: a look shows and does nothing, a tap acknowledges once.
func TestTap(t *testing.T) {
	r, h := phoned(t, "")
	inc := r.breaks(time.Now(), "signature", "502 <script>")
	path := strings.TrimPrefix(<-h.links, "https://ops.example.org")
	for _, method := range []string{"HEAD", "GET", "GET"} {
		w := r.tap(method, path)
		if w.Code != http.StatusOK || len(w.Result().Cookies()) != 0 {
			t.Errorf("%s: %d, cookies %v", method, w.Code, w.Result().Cookies())
		}
	}
	page := r.tap("GET", path).Body.String()
	for _, want := range []string{"签章服务", "紧急", inc.ID, "由我处理", "张三", "距响应期限", "502 &lt;script&gt;", `<form method="post" action="` + path} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	if strings.Contains(page, "<script") {
		t.Error("the page holds a script")
	}
	h2 := r.tap("GET", path).Header()
	if h2.Get("Referrer-Policy") != "no-referrer" || h2.Get("Cache-Control") != "no-store" || !strings.Contains(h2.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("headers %v", h2)
	}
	if rec, err := r.desk.Record(inc.ID); err != nil || !rec.AckAt.IsZero() {
		t.Fatalf("looking acknowledged: %+v %v", rec, err)
	}
	leads(t, r.tap("POST", path), path)
	_, es, err := r.desk.Get(inc.ID)
	if e := es[len(es)-1]; err != nil || e.Kind != incident.EventAcknowledged || e.Person != "张三" || e.Via != "link" || e.Device != "Phone/1" || e.Address != "192.0.2.1" {
		t.Errorf("event %+v %v", e, err)
	}
	if w := r.tap("GET", path); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "通过本链接确认响应") || strings.Contains(w.Body.String(), "<button") {
		t.Errorf("afterwards: %d\n%s", w.Code, w.Body)
	}
	if w := r.tap("POST", path); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "张三") {
		t.Errorf("a second tap: %d", w.Code)
	}
}

// The page speaks the language of the person, and says plainly what a link that does not work is.
func TestTapStates(t *testing.T) {
	r, h := phoned(t, "en")
	inc := r.breaks(time.Now(), "signature", "502")
	path := strings.TrimPrefix(<-h.links, "https://ops.example.org")
	if page := r.tap("GET", path).Body.String(); !strings.Contains(page, "I take it") || !strings.Contains(page, `lang="en"`) {
		t.Errorf("not in English:\n%s", page)
	}
	if page := r.tap("GET", path+"?lang=zh-CN").Body.String(); !strings.Contains(page, "由我处理") {
		t.Error("the other language is not to be had")
	}
	if _, err := r.desk.Ack(inc.ID, incident.Act{Person: "李四", Via: "console"}); err != nil {
		t.Fatal(err)
	}
	if w := r.tap("POST", path); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "李四 acknowledged at") {
		t.Errorf("taken: %d\n%s", w.Code, w.Body)
	}
	for _, bad := range []string{"/a/x", path + "A", path[:len(path)-1] + "_"} {
		if w := r.tap("POST", bad); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "链接无效") {
			t.Errorf("%s: %d", bad, w.Code)
		}
	}
	req := httptest.NewRequest("POST", path, http.NoBody)
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	w := httptest.NewRecorder()
	r.Console.ServeHTTP(w, req)
	if w.Code != http.StatusForbidden {
		t.Errorf("from another site: %d", w.Code)
	}
}

// One address cannot keep the door busy.
func TestTapsAreLimited(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	var limit taps
	for i := range tapsMinute + 5 {
		if got := limit.admit(now, "192.0.2.1"); got != (i < tapsMinute) {
			t.Fatalf("request %d: %v", i, got)
		}
	}
	if !limit.admit(now, "192.0.2.2") || !limit.admit(now.Add(time.Minute), "192.0.2.1") {
		t.Error("somebody else, or the next minute, is kept out")
	}
}

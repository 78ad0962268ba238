package api

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// replier is a gateway's counterpart that takes the code 1234.
type replier struct{ got []string }

func (*replier) Admit(token string) bool      { return token == "good-token" }
func (*replier) Fields() (phone, text string) { return "mobile", "content" }
func (r *replier) Reply(_ time.Time, phone, text string) (bool, error) {
	if text == "break" {
		return false, errors.New("store is full")
	}
	r.got = append(r.got, phone+"="+text)
	return text == "1234", nil
}

// Gateways hand replies in as JSON, lists or forms, under their own token and no other.
func TestReplies(t *testing.T) {
	r := &replier{}
	h := New(Options{Replies: r})
	ask := func(path, auth, kind, body string) (int, string) {
		req := httptest.NewRequest("POST", Prefix+path, strings.NewReader(body))
		req.Header.Set("Content-Type", kind)
		if auth != "" {
			req.Header.Set("Authorization", "Bearer "+auth)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		return w.Code, strings.TrimSpace(w.Body.String())
	}
	const form, js = "application/x-www-form-urlencoded", "application/json"
	for name, c := range map[string]struct {
		path, auth, kind, body string
		status                 int
		want                   string
	}{
		"json":              {"/replies", "good-token", js, `{"mobile":13800000000,"content":"1234","other":{"x":1}}`, 200, `{"taken":1,"refused":0}`},
		"list":              {"/replies", "good-token", js, `[{"mobile":"138","content":"1234"},{"mobile":"139","content":"9"}]`, 200, `{"taken":1,"refused":1}`},
		"form":              {"/replies?token=good-token", "", form, "mobile=138&content=1234", 200, `{"taken":1,"refused":0}`},
		"no fields":         {"/replies", "good-token", js, `{}`, 200, `{"taken":0,"refused":1}`},
		"no token":          {"/replies", "", js, `{}`, 401, ""},
		"wrong token":       {"/replies?token=bad", "", js, `{}`, 401, ""},
		"bearer goes first": {"/replies?token=good-token", "bad", js, `{}`, 401, ""},
		"nonsense":          {"/replies", "good-token", js, `<xml/>`, 400, ""},
		"too many":          {"/replies", "good-token", js, "[" + strings.Repeat("{},", 100) + "{}]", 400, ""},
		"store fails":       {"/replies", "good-token", js, `{"mobile":"138","content":"break"}`, 500, ""},
		"too large":         {"/replies", "good-token", js, strings.Repeat(" ", maxBody+1), http.StatusRequestEntityTooLarge, ""},
	} {
		status, body := ask(c.path, c.auth, c.kind, c.body)
		if status != c.status || c.want != "" && body != c.want {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if r.got[0] == "" || !strings.Contains(strings.Join(r.got, " "), "13800000000=1234") {
		t.Errorf("got %v", r.got)
	}
}

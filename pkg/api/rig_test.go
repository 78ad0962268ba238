package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"xunjian/pkg/access"
	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/fleet"
	"xunjian/pkg/incident"
	"xunjian/pkg/inspect"
	"xunjian/pkg/store"
	"xunjian/pkg/symptom"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is the API over the real parts.
type rig struct {
	Options
	t      testing.TB
	desk   *incident.Desk
	fleet  *fleet.Registry
	access *access.Directory
	board  *inspect.Board
	tokens map[access.Role]string // each in the name of a person called after the role
	log    bytes.Buffer
	http.Handler
}

var services = []check.Service{{Name: "signature", ZH: "签章服务", EN: "Signature service", Key: true}, {Name: "sms", ZH: "短信服务"}}

func newRig(t testing.TB, change ...func(o *Options)) *rig {
	t.Helper()
	dir := t.TempDir()
	db, err := store.Open(filepath.Join(dir, "records.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	r := &rig{t: t, tokens: map[access.Role]string{}}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	r.desk, err = incident.New(db, incident.Options{Settings: incident.Settings{Services: services}})
	must(err)
	r.fleet, err = fleet.New(db, fleet.Options{Dir: dir})
	must(err)
	r.access, err = access.New(db, access.Options{Hash: access.HashCost{Time: 1, Memory: 64, Threads: 1}})
	must(err)
	for _, role := range access.Roles {
		r.tokens[role], _, err = r.access.CreateToken(time.Now(), access.TokenRequest{Name: string(role), Role: role, Person: "the " + string(role), By: "test"})
		must(err)
	}
	r.board = inspect.New("zh-CN", inspect.DefaultConfig(), services, []check.Spec{{Name: "sign-up", Service: "signature", Kind: "http", Target: "http://127.0.0.1/", Every: 10 * time.Second}})
	r.Options = Options{
		Backups:   &copier{},
		Incidents: r.desk, Windows: r.desk, Services: r.board, Agents: r.fleet, Access: r.access, Reports: paper{}, Version: "1.2.3",
		Logger: slog.New(slog.NewTextHandler(&r.log, nil)),
	}
	for _, c := range change {
		c(&r.Options)
	}
	r.Handler = New(r.Options)
	return r
}

// paper writes reports.
type paper struct{}

func (paper) Report(_ context.Context, month, format, lang string) ([]byte, error) {
	switch month {
	case "2026-01":
		return nil, ErrNotFound
	case "2026-02":
		return nil, &Invalid{"month", "not sealed"}
	case "2026-03":
		return nil, errors.New("disk fell off")
	}
	return []byte(month + " " + format + " " + lang), nil
}

// ask makes one call and returns the status, the answer's headers and its body.
func (r *rig) ask(method, path, token, body string) (int, http.Header, string) {
	r.t.Helper()
	return r.askIn("zh-CN", method, path, token, body)
}

func (r *rig) askIn(lang, method, path, token, body string) (int, http.Header, string) {
	r.t.Helper()
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	req.Header.Set("Accept-Language", lang)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	b, err := io.ReadAll(w.Result().Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return w.Code, w.Header(), string(b)
}

// refusal wants an error of this shape and returns it.
func (r *rig) refusal(status int, code, method, path, token, body string) *Error {
	r.t.Helper()
	got, h, text := r.ask(method, path, token, body)
	var e struct{ Error *Error }
	if err := json.Unmarshal([]byte(text), &e); err != nil || e.Error == nil || h.Get("Content-Type") != "application/json" {
		r.t.Fatalf("%s %s: %d %q is no refusal in JSON", method, path, got, text)
	}
	if got != status || e.Error.Code != code {
		r.t.Errorf("%s %s %s: %d %s (%s), want %d %s", method, path, clip(body), got, e.Error.Code, e.Error.Message, status, code)
	}
	if e.Error.Message == "" || strings.HasPrefix(e.Error.Message, "api.") {
		r.t.Errorf("%s %s: no text: %q", method, path, e.Error.Message)
	}
	return e.Error
}

// breaks lets monitoring open an incident and returns its id.
func (r *rig) breaks(service string) string {
	r.t.Helper()
	now := time.Now()
	rec, _, err := r.desk.Observe(now, symptom.Symptom{
		Source: symptom.FromProbe, Service: service, Class: symptom.Down, Level: contract.Urgent, Detail: "HTTP 500", Firing: true, Since: now.Add(-time.Second), At: now,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return rec.ID
}

// client speaks to the rig in this process in a role's name.
func (r *rig) client(role access.Role) *Client {
	return &Client{URL: "http://collector", Token: r.tokens[role], HTTP: &http.Client{Transport: plainly{r.Handler}}}
}

// plainly carries calls to a handler as the network would, without a network.
type plainly struct{ http.Handler }

func (p plainly) RoundTrip(req *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	p.ServeHTTP(w, req)
	return w.Result(), nil
}

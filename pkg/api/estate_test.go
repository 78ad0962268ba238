package api

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/access"
	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/fleet"
	"xunjian/pkg/inspect"
)

func (r *rig) enrol(name string) {
	r.t.Helper()
	text, _, err := r.fleet.CreateToken(time.Now(), fleet.TokenRequest{By: "test"})
	if err != nil {
		r.t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, _, err := r.fleet.Enroll(r.t.Context(), text, csr, "10.0.0.7:1"); err != nil {
		r.t.Fatal(err)
	}
}

func TestServices(t *testing.T) {
	r := newRig(t)
	now := time.Now()
	bad := check.Attempt{Start: now, Duration: 1500 * time.Millisecond, Outcome: check.Fail, Class: check.ClassStatus, Reason: "HTTP 500"}
	r.board.Observe(now, "web-1", check.Result{Check: "sign-up", Service: "signature", Target: "http://127.0.0.1/", At: now, Attempts: []check.Attempt{bad, bad, bad}})
	r.board.Usual(func(string, string, string, time.Time) (time.Duration, bool) { return 250 * time.Millisecond, true })
	got, err := r.client(access.Viewer).Services(t.Context())
	if err != nil || len(got.Services) != 2 {
		t.Fatalf("%+v %v", got, err)
	}
	s := got.Services[0]
	if s.Name != "signature" || s.Title != "签章服务" || !s.Key || s.State != inspect.Down || len(s.Checks) != 1 || s.Checks[0].Seconds != 1.5 || s.Checks[0].Usual != 0.25 || s.Checks[0].Reason != "HTTP 500" || s.Checks[0].Agent != "web-1" {
		t.Errorf("%+v", s)
	}
	if got.Services[1].State != inspect.Unknown {
		t.Errorf("never asked: %+v", got.Services[1])
	}
	_, _, body := r.ask("GET", Prefix+"/services", r.tokens[access.Viewer], "")
	if strings.Contains(body, "0001-01-01") || !strings.Contains(body, `"checks":[]`) {
		t.Errorf("absent times or lists: %s", body)
	}
	r.refusal(422, "invalid", "GET", Prefix+"/services?state=down", r.tokens[access.Viewer], "")
}

func TestAgents(t *testing.T) {
	r := newRig(t)
	_, _, body := r.ask("GET", Prefix+"/agents", r.tokens[access.Viewer], "")
	if strings.TrimSpace(body) != `{"agents":[]}` {
		t.Errorf("no agents: %s", body)
	}
	r.enrol("web-1")
	r.enrol("web-2")
	r.fleet.Heard(time.Now(), "web-1", fleet.Info{Version: "1.0", Addr: "10.0.0.7:2", Skew: 250 * time.Millisecond})
	c := r.client(access.Admin)
	var e *Error
	if err := c.RevokeAgent(t.Context(), "web-2", Act{}); !errors.As(err, &e) || e.Status != 422 || e.Field != "reason" {
		t.Errorf("revoked without a reason: %v", err)
	}
	if err := c.RevokeAgent(t.Context(), "web-2", Act{Reason: "host is gone"}); err != nil {
		t.Fatal(err)
	}
	if err := c.RevokeAgent(t.Context(), "web-2", Act{Reason: "again"}); !errors.As(err, &e) || e.Status != 409 {
		t.Errorf("revoked twice: %v", err)
	}
	if err := c.RevokeAgent(t.Context(), "../x", Act{Reason: "x"}); !errors.As(err, &e) || e.Status != 404 {
		t.Errorf("revoked a stranger: %v", err)
	}
	got, err := c.Agents(t.Context())
	if err != nil || len(got.Agents) != 2 {
		t.Fatalf("%+v %v", got, err)
	}
	if a := got.Agents[0]; a.State != "heard" || a.SkewSeconds != 0.25 || a.Version != "1.0" || a.LastHeard.IsZero() || a.EnrolledBy != "test" {
		t.Errorf("%+v", a)
	}
	if a := got.Agents[1]; a.State != "revoked" || a.RevokedBy != "the admin" || a.Reason != "host is gone" || !a.LastHeard.IsZero() {
		t.Errorf("%+v", a)
	}
	r.breaks("sms")
	st, err := c.Status(t.Context())
	if err != nil || st.Version != "1.2.3" || st.Agents["heard"] != 1 || st.Agents["revoked"] != 1 || st.Open[contract.Urgent] != 1 || st.Services[inspect.Unknown] != 2 || !st.Ready {
		t.Errorf("status: %+v %v", st, err)
	}
}

func TestTokensOverAPI(t *testing.T) {
	r := newRig(t)
	c := r.client(access.Admin)
	made, err := c.CreateToken(t.Context(), TokenRequest{Agent: "web-1", TTL: "30m", By: "驻点"})
	if err != nil || !strings.HasPrefix(made.Text, "xj1.") || made.State != fleet.Unused || made.By != "驻点" || made.ExpiresAt.Sub(made.CreatedAt) != 30*time.Minute {
		t.Fatalf("%+v %v", made, err)
	}
	list, err := c.Tokens(t.Context())
	if err != nil || len(list.Tokens) != 1 || list.Tokens[0].Text != "" || list.Tokens[0].ID != made.ID {
		t.Errorf("%+v %v", list, err)
	}
	if got, err := c.RevokeToken(t.Context(), made.ID, "二线"); err != nil || got.State != fleet.Revoked || got.RevokedBy != "二线" {
		t.Errorf("%+v %v", got, err)
	}
	var e *Error
	if _, err := c.RevokeToken(t.Context(), "none", ""); !errors.As(err, &e) || e.Status != 404 {
		t.Errorf("stranger: %v", err)
	}
	for field, q := range map[string]TokenRequest{"agent": {Agent: "WEB"}, "ttl": {TTL: "1 hour"}, "by": {By: "a\nb"}} {
		_, err := c.CreateToken(t.Context(), q)
		if want := map[string]string{"by": "person"}[field]; !errors.As(err, &e) || e.Status != 422 || e.Field != field && e.Field != want {
			t.Errorf("%s: %v", field, err)
		}
	}
	if _, err := c.CreateToken(t.Context(), TokenRequest{TTL: "8760h"}); !errors.As(err, &e) || e.Field != "ttl" {
		t.Errorf("a year: %v", err)
	}
}

func TestAPITokensOverAPI(t *testing.T) {
	r := newRig(t)
	c := r.client(access.Admin)
	made, err := c.CreateAPIToken(t.Context(), APITokenRequest{Name: "demo", Role: access.Engineer, Person: "驻点人员"})
	if err != nil || made.By != "the admin" || made.Person != "驻点人员" || !made.ExpiresAt.IsZero() {
		t.Fatalf("%+v %v", made, err)
	}
	mine := &Client{URL: "http://x", Token: made.Text, HTTP: c.HTTP}
	if _, err := mine.Status(t.Context()); err != nil {
		t.Errorf("fresh token: %v", err)
	}
	var e *Error
	if _, err := c.CreateAPIToken(t.Context(), APITokenRequest{Name: "demo", Role: access.Viewer}); !errors.As(err, &e) || e.Status != 409 {
		t.Errorf("name twice: %v", err)
	}
	if _, err := c.CreateAPIToken(t.Context(), APITokenRequest{Name: "x", Role: "root"}); !errors.As(err, &e) || e.Field != "role" {
		t.Errorf("role: %v", err)
	}
	if _, err := c.CreateAPIToken(t.Context(), APITokenRequest{Name: "demo", Role: access.Viewer, Replace: true, TTL: "1h"}); err != nil {
		t.Errorf("replace: %v", err)
	}
	if _, err := mine.Status(t.Context()); !errors.As(err, &e) || e.Status != 401 {
		t.Errorf("replaced token: %v", err)
	}
	list, err := c.APITokens(t.Context())
	if err != nil || len(list.Tokens) != len(access.Roles)+2 || list.Tokens[0].Text != "" {
		t.Errorf("%+v %v", list, err)
	}
	if got, err := c.RevokeAPIToken(t.Context(), list.Tokens[0].ID, ""); err != nil || got.RevokedBy != "the admin" {
		t.Errorf("%+v %v", got, err)
	}
}

func TestReports(t *testing.T) {
	r := newRig(t)
	b, err := r.client(access.Viewer).MonthReport(t.Context(), "2026-04", "xlsx")
	if err != nil || string(b) != "2026-04 xlsx zh-CN" {
		t.Errorf("%q %v", b, err)
	}
	status, h, _ := r.ask("GET", Prefix+"/reports/2026-04.docx", r.tokens[access.Viewer], "")
	if status != 200 || h.Get("Content-Disposition") != `attachment; filename="xunjian-2026-04.docx"` || !strings.Contains(h.Get("Content-Type"), "wordprocessingml") {
		t.Errorf("%d %v", status, h)
	}
	for file, code := range map[string]string{
		"2026-04": "not_found", "2026-04.pdf": "not_found", "2026-04.docx.exe": "not_found", "..%2f..%2fetc.docx": "not_found", "2026-13.docx": "invalid",
		"2999-01.docx": "invalid", "2026-01.docx": "not_found", "2026-02.docx": "invalid", "2026-03.docx": "internal", ".docx": "invalid", "2026-04%00.docx": "invalid",
	} {
		r.refusal(map[string]int{"not_found": 404, "invalid": 422, "internal": 500}[code], code, "GET", Prefix+"/reports/"+file, r.tokens[access.Viewer], "")
	}
}

// Steps and findings of the newest round are in the list of services.
func TestServicesTellSteps(t *testing.T) {
	r := newRig(t)
	now := time.Now()
	a := check.Attempt{
		Start: now, Outcome: check.Fail, Class: check.ClassStatus, Reason: "HTTP 500",
		Steps: []check.Step{
			{Name: "login", Outcome: check.OK, Duration: time.Second, Status: 302},
			{Name: "seal", Outcome: check.Fail, Class: check.ClassStatus, Reason: "HTTP 500", Status: 500},
		},
		Findings: []check.Finding{{Name: "licence", Level: "general", Reason: "six days left", Value: 6}},
	}
	r.board.Observe(now, "vm", check.Result{Check: "sign-up", Service: "signature", At: now, Attempts: []check.Attempt{a, a, a}})
	list, err := r.client(access.Viewer).Services(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list.Services, func(s Service) bool { return s.Name == "signature" })
	k := list.Services[i].Checks[0]
	if len(k.Steps) != 2 || k.Steps[1].Name != "seal" || k.Steps[1].Outcome != check.Fail || k.Steps[1].Reason != "HTTP 500" || k.Steps[0].Seconds != 1 {
		t.Errorf("%+v", k.Steps)
	}
	if len(k.Findings) != 1 || k.Findings[0].Level != "general" || k.Findings[0].Value != 6 {
		t.Errorf("%+v", k.Findings)
	}
}

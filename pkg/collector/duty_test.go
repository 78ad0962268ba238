package collector

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/api"
	"xunjian/pkg/i18n"
)

const twoPeople = `
people:
- {name: 张三, duty: resident, login: zhang, token: {file: zhang.token}}
- {name: 王五, duty: second, token: {env: XUNJIAN_TEST_WANG}}
`

func withTokens(t *testing.T, r *rig) (zhang, wang string) {
	t.Helper()
	zhang, wang = strings.Repeat("z", 24), strings.Repeat("w", 24)
	t.Setenv("XUNJIAN_TEST_WANG", wang)
	if err := os.WriteFile(filepath.Join(r.dir, "zhang.token"), []byte(zhang), 0o600); err != nil {
		t.Fatal(err)
	}
	return zhang, wang
}

func (r *rig) as(token string) *api.Client {
	return &api.Client{URL: "http://" + r.doors.http.Addr().String(), Token: token, HTTP: http.DefaultClient}
}

// Acts bear the names of people who exist; who leaves the configuration can act no longer, at once.
func TestPeople(t *testing.T) {
	r := newRig(t, plain(twoPeople))
	zhang, wang := withTokens(t, r)
	r.start()
	inc, err := r.as(zhang).Open(t.Context(), api.Opening{Service: "sms", Level: "general", Detail: "a user calls"})
	if err != nil || inc.OpenedBy != "张三" {
		t.Fatalf("%+v %v", inc, err)
	}
	control := r.as(r.ControlToken())
	if _, err := control.Ack(t.Context(), inc.ID, api.Act{Person: "stranger"}); err == nil || !strings.Contains(err.Error(), "stranger") {
		t.Errorf("a stranger: %v", err)
	}
	if got, err := control.Ack(t.Context(), inc.ID, api.Act{Person: "zhang"}); err != nil || got.AckBy != "张三" {
		t.Errorf("by login: %+v %v", got, err)
	}
	r.write(plain("people: [{name: 王五, duty: second, token: {env: XUNJIAN_TEST_WANG}}]\n"))
	if status, text := r.ask("POST", "/-/reload"); status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	if _, err := r.as(zhang).Note(t.Context(), inc.ID, api.Act{Note: "x"}); err == nil {
		t.Error("the token of a person who left still acts")
	}
	if _, err := r.as(wang).Note(t.Context(), inc.ID, api.Act{Note: "x"}); err != nil {
		t.Error(err)
	}
	if !r.shows("xunjian_roster_gap_seconds", `{line="resident"} 604800`) {
		t.Error("the roster's gap does not show")
	}
}

// A token that cannot be read keeps the old configuration in force, and a new collector from starting.
func TestPeopleWithoutTokens(t *testing.T) {
	r := newRig(t, plain(twoPeople))
	withTokens(t, r)
	r.start()
	if err := os.Remove(filepath.Join(r.dir, "zhang.token")); err != nil {
		t.Fatal(err)
	}
	if status, text := r.ask("POST", "/-/reload"); status == http.StatusOK || !strings.Contains(text, "张三") {
		t.Errorf("%d %s", status, text)
	}
	if err := Check(r.file); err == nil || !strings.Contains(err.Error(), "token of 张三") {
		t.Errorf("check: %v", err)
	}
}

// A roster that leaves nights to nobody is told, not refused.
func TestWarnings(t *testing.T) {
	r := newRig(t, plain(twoPeople+"roster: {shifts: [{name: 驻点, people: [张三], start: 2026-01-05, hours: ['08:00-18:00']}]}\n"))
	withTokens(t, r)
	cfg := r.options().Config
	at := time.Date(2026, 3, 2, 10, 0, 0, 0, cfg.location())
	got := cfg.Warnings(at, i18n.For("zh-CN"))
	if len(got) != maxWarned+1 || got[0] != "驻点无人值班：2026-03-02 18:00 至 2026-03-03 08:00" || got[maxWarned] != "另有 25 段无人值班" {
		t.Errorf("%d: %q", len(got), got)
	}
}

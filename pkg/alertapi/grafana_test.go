package alertapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestGrafana asks what Grafana's Alertmanager data source asks (implementation Prometheus), and reads the answers as it does:
// every list is a list and every member that its pages read is there.
func TestGrafana(t *testing.T) {
	h := newHouse(t)
	from := time.Now().Add(-time.Hour)
	silences := []Silence{}
	url := serve(t, h, DoorOptions{Version: "1.2.3", Receivers: func() []string { return []string{"duty-desk"} }, Silences: func(time.Time) []Silence { return silences }})
	get := func(path string) (v any) {
		t.Helper()
		status, body := send(t, "GET", url+Prefix+path, "")
		if err := json.Unmarshal([]byte(body), &v); err != nil || status != http.StatusOK {
			t.Fatalf("GET %s: %d %s", path, status, body)
		}
		return v
	}
	members := func(what string, v any, names ...string) {
		t.Helper()
		for _, name := range names {
			at := v
			for part := range strings.SplitSeq(name, ".") {
				m, ok := at.(map[string]any)
				if at = m[part]; !ok || at == nil {
					t.Errorf("%s has no %s: %v", what, name, v)
					break
				}
			}
		}
	}
	members("status", get("/status"), "cluster.status", "cluster.peers", "config.original", "uptime", "versionInfo.version", "versionInfo.revision", "versionInfo.branch")
	for _, path := range []string{"/alerts", "/alerts/groups", "/silences"} {
		if all, ok := get(path).([]any); !ok || len(all) != 0 {
			t.Errorf("GET %s is no empty list: %v", path, get(path))
		}
	}
	silences = []Silence{{ID: "WIN-1", From: from, To: from.Add(2 * time.Hour), UpdatedAt: from, By: "王工", Comment: "升级", Services: []string{"sms"}, Some: true}}
	if status, body := send(t, "POST", url+Prefix+"/alerts", `[{"labels":{"alertname":"DiskFull","instance":"web-1"}},{"labels":{"alertname":"DiskFull","instance":"web-2"},"annotations":{"summary":"full"}},{"labels":{"alertname":"Held","service":"sms"}}]`); status != http.StatusOK {
		t.Fatalf("send: %d %s", status, body)
	}
	const all = "?active=true&silenced=true&inhibited=true&muted=true&unprocessed=true"
	groups := get("/alerts/groups" + all).([]any)
	if len(groups) != 2 {
		t.Fatalf("groups: %v", groups)
	}
	for _, g := range groups {
		members("group", g, "labels.alertname", "receiver.name", "alerts")
		for _, a := range g.(map[string]any)["alerts"].([]any) {
			members("alert", a, "labels.alertname", "annotations", "fingerprint", "startsAt", "endsAt", "updatedAt", "status.state", "status.silencedBy", "status.inhibitedBy", "status.mutedBy", "receivers")
		}
	}
	for query, want := range map[string]int{
		"?silenced=false&inhibited=false":                 1,
		"?active=false&silenced=true&unprocessed=false":   1,
		`?filter=instance%3D"web-1"`:                      1,
		`?filter=instance%3D~"web-.*"&silenced=false`:     1,
		`?filter=alertname%3D"Held"&filter=service!%3D""`: 1,
		"?receiver=nobody":                                0,
		`?filter=alertname%3D"Nothing"`:                   0,
	} {
		if got := get("/alerts/groups" + query).([]any); len(got) != want {
			t.Errorf("groups%s: %d, want %d: %v", query, len(got), want, got)
		}
	}
	list := get("/silences").([]any)
	if len(list) != 1 {
		t.Fatalf("silences: %v", list)
	}
	members("silence", list[0], "id", "status.state", "createdBy", "comment", "startsAt", "endsAt", "updatedAt", "matchers")
	members("one silence", get("/silence/WIN-1"), "id", "status.state")
	if names := fmt.Sprint(get("/receivers")); !strings.Contains(names, "duty-desk") {
		t.Errorf("receivers: %s", names)
	}
	if status, body := send(t, "POST", url+Prefix+"/silences", `{"matchers":[],"comment":"x"}`); status != http.StatusBadRequest || !strings.Contains(body, "planned windows") {
		t.Errorf("a new silence: %d %s", status, body)
	}
}

package collector

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xunjian/pkg/access"
	"xunjian/pkg/check"
)

// get asks without the command line's token.
func (r *rig) get(path string, sign func(*http.Request)) int {
	r.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+r.doors.http.Addr().String()+path, nil)
	if err != nil {
		r.Fatal(err)
	}
	if sign != nil {
		sign(req)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Do(req)
	if err != nil {
		r.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

var readDoors = []string{"/metrics", "/api/v1/query?query=1", "/federate?match[]=up"}

func TestWhoMayRead(t *testing.T) {
	open := newRig(t, plain("")).start()
	for _, path := range readDoors {
		if got := open.get(path, nil); got != http.StatusOK {
			t.Errorf("%s answers %d to whoever reaches the door", path, got)
		}
	}
	r := newRig(t, plain("")+"\n")
	cfg := "http: {listen: '127.0.0.1:0', read_token: true}" + plain("")[len("\nhttp: {listen: '127.0.0.1:0'}"):]
	r.write(cfg)
	r.start()
	text, _, err := r.access.CreateToken(time.Now(), access.TokenRequest{Name: "grafana", Role: access.Viewer, By: "tester"})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		sign func(*http.Request)
		want int
	}{
		"nobody":       {nil, http.StatusUnauthorized},
		"bearer":       {func(q *http.Request) { q.Header.Set("Authorization", "Bearer "+text) }, http.StatusOK},
		"basic":        {func(q *http.Request) { q.SetBasicAuth("grafana", text) }, http.StatusOK},
		"wrong":        {func(q *http.Request) { q.SetBasicAuth("grafana", text+"x") }, http.StatusUnauthorized},
		"command line": {func(q *http.Request) { q.Header.Set("Authorization", "Bearer "+r.ControlToken()) }, http.StatusOK},
	} {
		for _, path := range readDoors {
			if got := r.get(path, tc.sign); got != tc.want {
				t.Errorf("%s to %s: %d, want %d", path, name, got, tc.want)
			}
		}
	}
}

// TestRetentionIsTold: the API says how long the store really keeps samples.
func TestRetentionIsTold(t *testing.T) {
	r := newRig(t, plain("")).start()
	samples, aggregates := r.series.Retention()
	if samples != 400*24*time.Hour || aggregates < 5*365*24*time.Hour {
		t.Errorf("samples are kept for %s and aggregates for %s", samples, aggregates)
	}
	for path, name := range map[string]string{"runtimeinfo": "storageRetention", "flags": "storage.tsdb.retention.time"} {
		status, text := r.ask("GET", "/api/v1/status/"+path)
		var got struct{ Data map[string]any }
		if err := json.Unmarshal([]byte(text), &got); err != nil || status != http.StatusOK {
			t.Fatalf("%s: %d %s: %v", path, status, text, err)
		}
		if got.Data[name] != "400d" {
			t.Errorf("%s says %s: %v, want 400d", path, name, got.Data[name])
		}
	}
}

// TestTargets: agents and checks are shown as Prometheus shows what it scrapes, without what may be secret in a target.
func TestTargets(t *testing.T) {
	r := newRig(t, `
http: {listen: '127.0.0.1:0'}
uplink: {listen: '127.0.0.1:0'}
fleet: {names: [127.0.0.1]}
services: [{name: sms, zh: 短信服务, key: true}]
checks: [{name: balance, service: sms, kind: http, target: 'http://user:secret@127.0.0.1:1/balance?key=secret'}]
`).start()
	r.round("balance", "sms", check.Fail)
	status, text := r.ask("GET", "/api/v1/targets")
	var got struct {
		Data struct {
			ActiveTargets []struct {
				Labels                                   map[string]string
				ScrapePool, ScrapeURL, Health, LastError string
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s: %v", status, text, err)
	}
	if len(got.Data.ActiveTargets) != 1 {
		t.Fatal(text)
	}
	target := got.Data.ActiveTargets[0]
	want := map[string]string{"agent": "host-1", "check": "balance", "instance": "http://127.0.0.1:1/balance", "job": "probe", "service": "sms"}
	if d := cmp.Diff(want, target.Labels); d != "" || target.Health != "down" || target.LastError != "refused" || target.ScrapePool != "probe" {
		t.Errorf("%+v (-want +got labels) %s", target, d)
	}
}

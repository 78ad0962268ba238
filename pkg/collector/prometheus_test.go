package collector

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xunjian/pkg/access"
	"xunjian/pkg/check"
	"xunjian/pkg/incident"
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

// The planned windows are silences to Alertmanager's tools, each with a scope that they can read; one that was taken back before
// it began does not end before its beginning.
func TestWindowsAsSilences(t *testing.T) {
	r := newRig(t, plain("")).start()
	now := time.Now()
	for _, w := range []incident.Window{
		{Services: []string{"sms"}, Hosts: []string{"web-1"}}, {Hosts: []string{"web-1", "web.2"}}, {Checks: []string{"login"}}, {},
	} {
		w.From, w.To, w.Reason, w.PartyA = now.Add(time.Hour), now.Add(2*time.Hour), "升级", "王处长"
		if _, err := r.desk.Plan(incident.Act{Person: "张工", At: now}, w); err != nil {
			t.Fatal(err)
		}
	}
	all := r.silences(now)
	var got []string
	for _, s := range all {
		got = append(got, s.Matchers[0].Name+"=~"+s.Matchers[0].Value)
	}
	slices.Sort(got)
	if want := []string{`check=~login`, `instance=~web-1|web\.2`, `service=~.*`, `service=~sms`}; !slices.Equal(got, want) {
		t.Errorf("scopes %q, want %q", got, want)
	}
	if _, err := r.desk.CancelWindow(all[0].ID, incident.Act{Person: "张工", Note: "不做了", At: now}); err != nil {
		t.Fatal(err)
	}
	for _, s := range r.silences(now) {
		if s.To.Before(s.From) {
			t.Errorf("silence %s ends at %v, before it begins at %v", s.ID, s.To, s.From)
		}
	}
	// Grafana asks whether this is a Mimir before it takes it for an Alertmanager.
	resp, err := http.Get("http://" + r.doors.http.Addr().String() + "/alertmanager/api/v2/status")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("Mimir's path: %s", resp.Status)
	}
}

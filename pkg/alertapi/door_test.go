package alertapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func serve(t *testing.T, h *house, o DoorOptions) string {
	t.Helper()
	o.Book = h.Book
	s := httptest.NewServer(Handler(o))
	t.Cleanup(s.Close)
	return s.URL
}

func send(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(b))
}

// alertmanager starts Debian's.
func alertmanager(t *testing.T) string {
	t.Helper()
	bin, err := exec.LookPath("prometheus-alertmanager")
	if err != nil {
		if os.Getenv("XUNJIAN_WITHOUT_PEERS") != "" {
			t.Skip("XUNJIAN_WITHOUT_PEERS is set and prometheus-alertmanager is not installed")
		}
		t.Fatalf("%v: install it, or set XUNJIAN_WITHOUT_PEERS to go without", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "am.yml")
	if err := os.WriteFile(file, []byte("route: {receiver: xunjian, group_by: [alertname], group_wait: 0s}\nreceivers: [{name: xunjian}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "--config.file", file, "--storage.path", dir, "--web.listen-address", addr, "--cluster.listen-address=")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); _ = cmd.Wait() })
	for begin := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if resp, err := http.Get("http://" + addr + "/-/ready"); err == nil {
			resp.Body.Close()
			return "http://" + addr
		}
		if time.Since(begin) > time.Minute {
			t.Fatal("alertmanager does not start")
		}
	}
}

// TestLikeAlertmanager sends the same to a real Alertmanager and to us, and compares status, kind of body, and what is then listed.
func TestLikeAlertmanager(t *testing.T) {
	theirs, h := alertmanager(t), newHouse(t)
	ours := serve(t, h, DoorOptions{})
	begin := time.Now().UTC().Truncate(time.Millisecond)
	at := func(d time.Duration) string { return begin.Add(d).Format(time.RFC3339Nano) }
	for name, body := range map[string]string{
		"nothing":         `[]`,
		"plain":           `[{"labels":{"alertname":"Plain","a":"b"}}]`,
		"empty label":     `[{"labels":{"alertname":"EmptyLabel","a":""}}]`,
		"times":           `[{"labels":{"alertname":"Times"},"startsAt":"` + at(-time.Hour) + `","endsAt":"` + at(time.Hour) + `","generatorURL":"http://prometheus.example:9090/graph?g0.expr=up"}]`,
		"annotated":       `[{"labels":{"alertname":"Annotated"},"annotations":{"summary":"磁盘将满"},"startsAt":"` + at(-time.Hour) + `"}]`,
		"over":            `[{"labels":{"alertname":"Over"},"startsAt":"` + at(-time.Hour) + `","endsAt":"` + at(-time.Minute) + `"}]`,
		"only an end":     `[{"labels":{"alertname":"OnlyEnd"},"endsAt":"` + at(time.Hour) + `"}]`,
		"zero times":      `[{"labels":{"alertname":"ZeroTimes"},"startsAt":"0001-01-01T00:00:00.000Z","endsAt":"0001-01-01T00:00:00.000Z"}]`,
		"no labels":       `[{"labels":{}}]`,
		"only empty ones": `[{"labels":{"a":""}}]`,
		"labels missing":  `[{"annotations":{"a":"b"}}]`,
		"end first":       `[{"labels":{"alertname":"EndFirst"},"startsAt":"` + at(time.Hour) + `","endsAt":"` + at(time.Minute) + `"}]`,
		"one good of two": `[{"labels":{"alertname":"Good"}},{"labels":{}}]`,
		"no list":         `{"labels":{"alertname":"x"}}`,
		"no JSON":         `[{"labels":`,
		"wrong time":      `[{"labels":{"alertname":"WrongTime"},"startsAt":"yesterday"}]`,
		"wrong value":     `[{"labels":{"alertname":7}}]`,
		"unknown field":   `[{"labels":{"alertname":"Unknown"},"fingerprint":"x","status":{"state":"active"}}]`,
		"null":            `null`,
		"empty body":      ``,
	} {
		want, theirBody := send(t, "POST", theirs+Prefix+"/alerts", body)
		got, ourBody := send(t, "POST", ours+Prefix+"/alerts", body)
		if got != want || kind(ourBody) != kind(theirBody) {
			t.Errorf("%s: we say %d %s, Alertmanager %d %s", name, got, ourBody, want, theirBody)
		}
	}
	for _, query := range []string{
		"", "?filter=alertname%3D%22Plain%22", "?filter=alertname%3D~%22T.*%22", "?filter=alertname!%3DPlain",
		"?active=false", "?active=false&unprocessed=false", "?receiver=xun.*", "?receiver=nobody", "?silenced=false&inhibited=false", "?filter=a%21~%22b%22",
	} {
		want := listed(t, theirs, query)
		time.Sleep(20 * time.Millisecond) // until all is told
		if got := listed(t, ours, query); !slices.Equal(got, want) {
			t.Errorf("GET alerts%s:\n%s\nAlertmanager:\n%s", query, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	for _, path := range []string{
		"/alerts?filter=%3D", "/alerts?active=maybe", "/alerts?receiver=(", "/silences?filter=x", "/silence/7d8eb77e-6a9a-4c4e-8cb2-0b8f5dbf0f6d", "/alerts/groups?filter=%3D",
		"/alerts", "/alerts/groups", "/silences", "/status", "/receivers", "/nothing",
	} {
		want, _ := send(t, "GET", theirs+Prefix+path, "")
		got, body := send(t, "GET", ours+Prefix+path, "")
		if got != want {
			t.Errorf("GET %s: we say %d %s, Alertmanager %d", path, got, body, want)
		}
	}
	for _, path := range []string{"/alerts", "/alerts/groups", "/status", "/receivers"} {
		if got, want := shape(t, ours+Prefix+path), shape(t, theirs+Prefix+path); !subset(want, got) {
			t.Errorf("GET %s has %v, Alertmanager %v", path, got, want)
		}
	}
}

// kind is what sort of body it is: nothing, a text, an object with code and message.
func kind(body string) string {
	var v any
	if body == "" || body == "null" {
		return "none"
	}
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		return "no JSON"
	}
	if o, ok := v.(map[string]any); ok && o["code"] != nil && o["message"] != nil {
		return "refusal"
	}
	return fmt.Sprintf("%T", v)
}

// listed are the alerts as far as both sides must agree.
func listed(t *testing.T, base, query string) (out []string) {
	t.Helper()
	status, body := send(t, "GET", base+Prefix+"/alerts"+query, "")
	var all []struct {
		Labels, Annotations       map[string]string
		StartsAt, EndsAt          time.Time
		Fingerprint, GeneratorURL string
		Receivers                 []struct{ Name string }
		Status                    struct{ State string }
	}
	if err := json.Unmarshal([]byte(body), &all); err != nil || status != http.StatusOK {
		t.Fatalf("GET alerts%s: %d %s", query, status, body)
	}
	for _, a := range all {
		starts := "now"
		if time.Since(a.StartsAt) > time.Minute || time.Until(a.StartsAt) > time.Minute {
			starts = a.StartsAt.UTC().Format(time.RFC3339)
		}
		out = append(out, fmt.Sprint(a.Fingerprint, a.Labels, a.Annotations, starts, a.EndsAt.UTC().Truncate(10*time.Minute), a.GeneratorURL, a.Receivers))
	}
	return out
}

// shape lists the paths of all keys in an answer.
func shape(t *testing.T, url string) []string {
	t.Helper()
	status, body := send(t, "GET", url, "")
	var v any
	if err := json.Unmarshal([]byte(body), &v); err != nil || status != http.StatusOK {
		t.Fatalf("GET %s: %d %s", url, status, body)
	}
	seen := map[string]bool{}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, e := range v {
				if strings.HasSuffix(at, "labels") || strings.HasSuffix(at, "annotations") {
					continue
				}
				seen[at+"."+k] = true
				walk(at+"."+k, e)
			}
		case []any:
			for _, e := range v {
				walk(at, e)
			}
		}
	}
	walk("", v)
	var out []string
	for k := range seen {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func subset(want, got []string) bool {
	for _, w := range want {
		if !slices.Contains(got, w) {
			return false
		}
	}
	return true
}

// TestAmtool lets the real amtool add, list and look.
func TestAmtool(t *testing.T) {
	tool, err := exec.LookPath("amtool")
	if err != nil {
		if os.Getenv("XUNJIAN_WITHOUT_PEERS") != "" {
			t.Skip("XUNJIAN_WITHOUT_PEERS is set and amtool is not installed")
		}
		t.Fatalf("%v: install it, or set XUNJIAN_WITHOUT_PEERS to go without", err)
	}
	h := newHouse(t)
	from := time.Now().Add(-time.Hour)
	url := serve(t, h, DoorOptions{
		Receivers: func() []string { return []string{"duty-desk", "sms"} },
		Silences: func(time.Time) []Silence {
			return []Silence{{
				ID: "W-1", From: from, To: from.Add(2 * time.Hour), UpdatedAt: from, By: "王工", Comment: "升级", Services: []string{"sms"}, Some: true,
				Matchers: []SilenceMatcher{{Name: "service", Value: "sms", IsEqual: true}},
			}}
		},
	})
	amtool := func(args ...string) (string, error) {
		out, err := exec.Command(tool, append([]string{"--alertmanager.url", url}, args...)...).CombinedOutput()
		return string(out), err
	}
	for _, tc := range []struct {
		args, want, not string
		fails           bool
	}{
		{args: "alert add DiskFull instance=web-1 severity=critical --annotation=summary=full"},
		{args: "alert add Held service=sms"},
		{args: "alert query", want: "DiskFull", not: "Held"},
		{args: "alert query --silenced", want: "Held"},
		{args: "alert query alertname=DiskFull instance=~web.*", want: "DiskFull", not: "Held"},
		{args: "alert query alertname=Nothing", not: "DiskFull"},
		{args: "alert query -o json", want: `"alertname":"DiskFull"`},
		{args: "silence query", want: "W-1"},
		{args: "silence add alertname=DiskFull -c because -d 1h", want: "planned windows", fails: true},
		{args: "silence expire W-1", fails: true},
		{args: "config show", want: "duty-desk"},
		{args: "config routes", want: "duty-desk"},
		{args: "cluster show", want: "disabled"},
	} {
		var out string
		for begin := time.Now(); time.Since(begin) < 10*time.Second; time.Sleep(50 * time.Millisecond) {
			if out, err = amtool(strings.Fields(tc.args)...); strings.Contains(out, tc.want) && (err != nil) == tc.fails {
				break
			}
		}
		if !strings.Contains(out, tc.want) || tc.not != "" && strings.Contains(out, tc.not) || (err != nil) != tc.fails {
			t.Errorf("amtool %s: %v\n%s", tc.args, err, out)
		}
	}
}

// TestDoorBounds: what strangers must not do.
func TestDoorBounds(t *testing.T) {
	h := newHouse(t)
	token := func(r *http.Request) bool { _, p, _ := r.BasicAuth(); return p == "good" }
	url := serve(t, h, DoorOptions{MayRead: token, MaySend: token})
	if status, body := send(t, "POST", url+Prefix+"/alerts", `[{"labels":{"alertname":"x"}}]`); status != http.StatusUnauthorized {
		t.Errorf("without a token: %d %s", status, body)
	}
	url = strings.Replace(url, "http://", "http://prometheus:good@", 1)
	labels := map[string]string{"alertname": "x"}
	for i := range maxLabels {
		labels[fmt.Sprintf("l%d", i)] = "v"
	}
	many, err := json.Marshal([]map[string]any{{"labels": labels}})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		body   string
		status int
	}{
		"too many labels": {string(many), http.StatusBadRequest},
		"long value":      {`[{"labels":{"a":"` + strings.Repeat("x", maxValue+1) + `"}}]`, http.StatusBadRequest},
		"long name":       {`[{"labels":{"` + strings.Repeat("x", maxName+1) + `":"b"}}]`, http.StatusBadRequest},
		"too large":       {`[{"labels":{"a":"` + string(bytes.Repeat([]byte("x"), maxBody)) + `"}}]`, http.StatusRequestEntityTooLarge},
		"long annotation": {`[{"labels":{"a":"b"},"annotations":{"summary":"` + strings.Repeat("长", maxAnnotation) + `"}}]`, http.StatusOK},
	} {
		if status, body := send(t, "POST", url+Prefix+"/alerts", tc.body); status != tc.status {
			t.Errorf("%s: %d %s, want %d", name, status, body, tc.status)
		}
	}
	if status, _ := send(t, "DELETE", url+Prefix+"/alerts", ""); status != http.StatusMethodNotAllowed {
		t.Errorf("DELETE alerts: %d", status)
	}
}

func FuzzPost(f *testing.F) {
	f.Add(`[{"labels":{"alertname":"x"},"startsAt":"2026-11-30T00:00:00Z"}]`)
	f.Add(`[{"labels":{"a":""},"annotations":null,"endsAt":""}]`)
	f.Fuzz(func(t *testing.T, body string) {
		sent, _, err := readAlerts(strings.NewReader(body))
		if err != nil {
			return
		}
		for _, s := range sent {
			if a := s.alert().arrive(time.Now(), time.Minute); a.check() == nil {
				DefaultConfig().symptom(a)
				a.fingerprint()
			}
		}
	})
}

func FuzzMatchers(f *testing.F) {
	f.Add(`{a="b",c=~"d.*"}`)
	f.Add(`a!=b`)
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parseMatchers([]string{text})
		if err != nil {
			return
		}
		for _, m := range all {
			m.matches(map[string]string{"a": "b"})
		}
	})
}

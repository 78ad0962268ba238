package simulator_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"xunjian/pkg/check"
	"xunjian/pkg/i18n"
	"xunjian/pkg/probe"
	"xunjian/pkg/simulator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a simulator until the test ends.
func start(t *testing.T, o simulator.Options) *simulator.Simulator {
	t.Helper()
	s, err := simulator.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return s
}

// ample is time enough for anything on loopback, however busy the machine is.
const ample = 20 * time.Second

// hasty is for services that let a probe wait.
func hasty(spec check.Spec) check.Spec {
	spec.Timeout, spec.Slow = 600*time.Millisecond, 300*time.Millisecond
	return spec
}

// sluggish is for services that take 500 ms.
func sluggish(spec check.Spec) check.Spec {
	spec.Slow = 300 * time.Millisecond
	return spec
}

// checks are the recommended ones of the demo.
func checks(s *simulator.Simulator) map[string]check.Spec {
	out := map[string]check.Spec{
		simulator.CloudDoc: {Target: "/healthcheck", HTTP: check.HTTP{Expect: []check.Expect{{Body: true, Equals: new("true")}}}},
		simulator.Signature: {Target: "/api/v1/status", HTTP: check.HTTP{Expect: []check.Expect{
			{JSON: "code", Equals: new("0")}, {JSON: "result.status", Equals: new("valid")},
		}}},
		simulator.SMS: {Target: "/balance", HTTP: check.HTTP{Expect: []check.Expect{
			{JSON: "success", Equals: new("true")}, {JSON: "balance", Match: `^[1-9]\d{2,}$`},
		}}},
		simulator.Gateway: {Target: "/get/echo?nonce={nonce}", HTTP: check.HTTP{Expect: []check.Expect{
			{Header: "X-Gateway-Route", Exists: true}, {JSON: "nonce", Equals: new("{nonce}")},
		}}},
		simulator.OA: {Target: "/api/public-key", HTTP: check.HTTP{Expect: []check.Expect{{JSON: "code", Equals: new("200")}}}},
	}
	for name, spec := range out {
		spec.Name, spec.Service, spec.Kind = name, name, "http"
		spec.Target = s.URL(name) + spec.Target
		spec.TLS.CA = string(s.CA())
		spec.Every, spec.Timeout, spec.Slow = 10*time.Second, ample, ample
		out[name] = spec
	}
	return out
}

func newProber(t *testing.T, spec check.Spec) *probe.Prober {
	t.Helper()
	p, err := probe.New(spec, probe.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func round(t *testing.T, p *probe.Prober) check.Result {
	t.Helper()
	r, _ := p.Run(t.Context(), time.Now())
	readable(t, r)
	return r
}

// aside is what others said or configured, and what has no other name: in quotes or brackets, behind 应答：, expressions.
var aside = regexp.MustCompile(`"(\\.|[^"\\])*"?|应答：.*|\{\{.*|[（(].*|, \p{Han}+ [a-z ]+|agent unlock`)

// words are two words of English that stand together.
var words = regexp.MustCompile(`\b[a-z]{2,}('s)? [a-z]{2,}\b`)

// readable sees that people read in Chinese what a round says.
func readable(t *testing.T, r check.Result) {
	t.Helper()
	for _, a := range r.Attempts {
		said := []string{a.Reason}
		for _, s := range a.Steps {
			said = append(said, s.Reason)
		}
		for _, f := range a.Findings {
			said = append(said, f.Reason)
		}
		for _, s := range said {
			if zh := i18n.For("zh-CN").Sentence(s); words.MatchString(aside.ReplaceAllString(zh, "")) {
				t.Errorf("%s: %q is read as %q", r.Check, s, zh)
			}
		}
	}
}

func wantOK(t *testing.T, p *probe.Prober) {
	t.Helper()
	if r := round(t, p); r.Outcome() != check.OK {
		t.Errorf("%s is %s: %s", r.Check, r.Outcome(), r.First().Reason)
	}
}

// Every mode, as a probe on a kept connection meets it: called by its name at once, and gone at once.
func TestProbeMeetsEachMode(t *testing.T) {
	s := start(t, simulator.Options{})
	every := simulator.Services
	tests := map[simulator.Mode]struct {
		fault    simulator.Fault
		services []string
		outcome  check.Outcome
		class    check.Class
	}{
		simulator.OK:            {simulator.Fault{}, every, check.OK, ""},
		simulator.Refuse:        {simulator.Fault{}, every, check.Fail, check.ClassConnect},
		simulator.Hang:          {simulator.Fault{}, every[:1], check.Fail, check.ClassTimeout},
		simulator.Slow:          {simulator.Fault{DelayMS: 500}, every[1:2], check.Slow, ""},
		simulator.Error500:      {simulator.Fault{}, every, check.Fail, check.ClassStatus},
		simulator.Reset:         {simulator.Fault{}, every, check.Fail, check.ClassReset},
		simulator.Wrong:         {simulator.Fault{}, every, check.Fail, check.ClassContent},
		simulator.LoginPage:     {simulator.Fault{}, every, check.Fail, check.ClassAuth},
		simulator.LoginRedirect: {simulator.Fault{}, every, check.Fail, check.ClassAuth},
		simulator.HealthFalse:   {simulator.Fault{}, every[:1], check.Fail, check.ClassContent},
		simulator.TLSExpired:    {simulator.Fault{}, every, check.Fail, check.ClassTLS},
	}
	probers := map[string]*probe.Prober{}
	waiting := map[simulator.Mode]*probe.Prober{}
	for name, spec := range checks(s) {
		probers[name] = newProber(t, spec)
		switch name {
		case simulator.CloudDoc:
			waiting[simulator.Hang] = newProber(t, hasty(spec))
		case simulator.Signature:
			waiting[simulator.Slow] = newProber(t, sluggish(spec))
		}
	}
	for mode, tc := range tests {
		t.Run(string(mode), func(t *testing.T) {
			tc.fault.Mode = mode
			var wg sync.WaitGroup
			for _, name := range tc.services {
				p := probers[name]
				wg.Go(func() {
					wantOK(t, p)
					if err := s.Break(name, tc.fault); err != nil {
						t.Error(err)
					}
					asks := p
					if w := waiting[mode]; w != nil {
						asks = w
					}
					r := round(t, asks)
					if r.Outcome() != tc.outcome || r.First().Class != tc.class || r.Confirmed() != (tc.outcome != check.OK) {
						t.Errorf("%s: %s %q confirmed=%v (%s), want %s %q", name, r.Outcome(), r.First().Class, r.Confirmed(), r.First().Reason, tc.outcome, tc.class)
					}
					if err := s.Break(name, simulator.Fault{Mode: simulator.OK}); err != nil {
						t.Error(err)
					}
					wantOK(t, p)
				})
			}
			wg.Wait()
		})
	}
}

func TestFlapIsNoConfirmedFault(t *testing.T) {
	s := start(t, simulator.Options{})
	p := newProber(t, checks(s)[simulator.Gateway])
	if err := s.Break(simulator.Gateway, simulator.Fault{Mode: simulator.Flap}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r := round(t, p)
		if r.First().Outcome != check.Fail || r.Confirmed() || len(r.Attempts) != 3 {
			t.Errorf("%s, confirmed %v, %d attempts: want a failure that its re-probes do not confirm", r.First().Outcome, r.Confirmed(), len(r.Attempts))
		}
		wantOK(t, p) // requests come in fours: bad ok bad, ok
	}
}

// A fault of so many requests is a blip to the probe: seen, asked again, not confirmed.
func TestFaultOfOneRequest(t *testing.T) {
	s := start(t, simulator.Options{})
	p := newProber(t, checks(s)[simulator.CloudDoc])
	for _, mode := range []simulator.Mode{simulator.Error500, simulator.Wrong, simulator.LoginPage, simulator.TLSExpired} {
		wantOK(t, p)
		if err := s.Break(simulator.CloudDoc, simulator.Fault{Mode: mode, Requests: 1}); err != nil {
			t.Fatal(err)
		}
		r := round(t, p)
		if r.First().Outcome == check.OK || r.Confirmed() || len(r.Attempts) != 3 {
			t.Errorf("%s: %s, confirmed %v, %d attempts", mode, r.First().Outcome, r.Confirmed(), len(r.Attempts))
		}
		wantOK(t, p)
	}
}

func TestFaultEndsByItself(t *testing.T) {
	s := start(t, simulator.Options{})
	p := newProber(t, checks(s)[simulator.SMS])
	if err := s.Break(simulator.SMS, simulator.Fault{Mode: simulator.Refuse, ForMS: 100}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); round(t, p).Outcome() != check.OK; {
		if time.Now().After(deadline) {
			t.Fatal("still refuses")
		}
	}
}

// client trusts the demo CA.
func client(t *testing.T) *http.Client {
	t.Helper()
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

func do(t *testing.T, c *http.Client, method, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestServicesAnswerAsTheirProductsDo(t *testing.T) {
	s := start(t, simulator.Options{})
	expect := func(e ...check.Expect) check.HTTP { return check.HTTP{Expect: e} }
	for name, tc := range map[string]struct {
		service, path string
		http          check.HTTP
	}{
		"discovery":    {simulator.CloudDoc, "/hosting/discovery", expect(check.Expect{Body: true, Match: `name="edit" ext="docx" urlsrc="https://127\.0\.0\.1:\d+/`})},
		"capabilities": {simulator.CloudDoc, "/hosting/capabilities", expect(check.Expect{JSON: "convert-to.available", Equals: new("true")}, check.Expect{JSON: "productVersion", Exists: true})},
		"seal":         {simulator.Signature, "/api/v1/status", expect(check.Expect{JSON: "result.seal", Equals: new("监测专用章")}, check.Expect{JSON: "result.time", Match: `^\d{4}-`})},
		"lost route":   {simulator.Gateway, "/get/other", check.HTTP{Status: []int{404}, Expect: []check.Expect{{JSON: "message", Equals: new("no Route matched with those values")}}}},
		"no such page": {simulator.SMS, "/", check.HTTP{Status: []int{404}}},
		"nonce header": {simulator.Gateway, "/get/echo", check.HTTP{Headers: map[string]string{"X-Nonce": "{nonce}"}, Expect: []check.Expect{{JSON: "nonce", Equals: new("{nonce}")}}}},
		"login page":   {simulator.Signature, "/cas/login", expect(check.Expect{Body: true, Match: `type="password"`})},
	} {
		t.Run(name, func(t *testing.T) {
			spec := check.Spec{Name: "c", Service: "s", Kind: "http", Target: s.URL(tc.service) + tc.path, HTTP: tc.http, TLS: check.TLS{CA: string(s.CA())}}
			wantOK(t, newProber(t, spec))
		})
	}
}

func TestControl(t *testing.T) {
	s := start(t, simulator.Options{})
	c, url := client(t), s.URL(simulator.Control)
	tests := map[string]struct {
		method, path, body string
		status             int
		want               string
	}{
		"unknown mode":      {"PUT", "/faults/sms", `{"mode":"explode"}`, 400, "knows ok, refuse, hang"},
		"no mode":           {"PUT", "/faults/sms", `{}`, 400, "knows ok"},
		"mode of another":   {"PUT", "/faults/sms", `{"mode":"health-false"}`, 400, "health-false"},
		"webhook has fewer": {"PUT", "/faults/webhook", `{"mode":"tls-expired"}`, 400, "webhook knows ok, refuse"},
		"unknown field":     {"PUT", "/faults/sms", `{"mode":"ok","delay":5}`, 400, `unknown field \"delay\"`},
		"negative delay":    {"PUT", "/faults/sms", `{"mode":"slow","delay_ms":-1}`, 400, "delay_ms -1"},
		"huge delay":        {"PUT", "/faults/sms", `{"mode":"slow","delay_ms":99999999999}`, 400, "delay_ms"},
		"delay of hang":     {"PUT", "/faults/sms", `{"mode":"hang","delay_ms":1}`, 400, "goes with mode slow"},
		"negative requests": {"PUT", "/faults/sms", `{"mode":"hang","requests":-1}`, 400, "requests -1"},
		"counted refusals":  {"PUT", "/faults/sms", `{"mode":"refuse","requests":1}`, 400, "use for_ms"},
		"negative time":     {"PUT", "/faults/sms", `{"mode":"hang","for_ms":-1}`, 400, "for_ms -1"},
		"not JSON":          {"PUT", "/faults/sms", `mode=hang`, 400, "read order"},
		"two objects":       {"PUT", "/faults/sms", `{"mode":"ok"}{"mode":"hang"}`, 400, "more than one"},
		"too long":          {"PUT", "/faults/sms", `{"mode":"` + strings.Repeat("x", 20<<10) + `"}`, 400, "too large"},
		"unknown service":   {"PUT", "/faults/mail", `{"mode":"ok"}`, 404, "want one of cloud-doc, signature, sms, gateway, "},
		"unknown path":      {"GET", "/nothing", "", 404, "GET /services"},
		"wrong method":      {"DELETE", "/services", "", 404, "GET /services"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			status, body := do(t, c, tc.method, url+tc.path, tc.body)
			if status != tc.status || !strings.Contains(body, tc.want) {
				t.Errorf("%d %s, want %d and …%s…", status, body, tc.status, tc.want)
			}
		})
	}
	status, body := do(t, c, "GET", url+"/faults", "")
	if status != 200 || strings.Count(body, `"mode":"ok"`) != strings.Count(body, `"mode"`) {
		t.Errorf("bad orders changed something: %d %s", status, body)
	}
}

func TestControlOrdersAndCounts(t *testing.T) {
	s := start(t, simulator.Options{})
	c, url := client(t), s.URL(simulator.Control)
	if status, body := do(t, c, "PUT", url+"/faults/cloud-doc", `{"mode":"slow"}`); status != 200 || !strings.Contains(body, `"delay_ms":5000`) {
		t.Errorf("%d %s, want the default delay told", status, body)
	}
	if status, body := do(t, c, "PUT", url+"/faults/cloud-doc", `{"mode":"error500","requests":2}`); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	var services []struct{ Name, Title, URL, Mode string }
	_, body := do(t, c, "GET", url+"/services", "")
	if err := json.Unmarshal([]byte(body), &services); err != nil {
		t.Fatal(err)
	}
	if len(services) < len(simulator.Services) || services[0].Name != "cloud-doc" || services[0].Mode != "error500" || services[0].URL != s.URL("cloud-doc") || services[3].Title != "网关服务" {
		t.Errorf("services %+v", services)
	}
	p := newProber(t, checks(s)[simulator.CloudDoc])
	round(t, p) // two of the three attempts use the fault up
	wantOK(t, p)
	var counts map[string]simulator.Count
	_, body = do(t, c, "GET", url+"/requests", "")
	if err := json.Unmarshal([]byte(body), &counts); err != nil {
		t.Fatal(err)
	}
	if got := counts["cloud-doc"]; got.Requests != 4 || got.Spoilt != 2 || got.Connections != 4 {
		t.Errorf("counted %+v, want 4 requests on 4 connections, 2 of them spoilt", got)
	}
	if diff := cmp.Diff(simulator.Count{}, counts["sms"]); diff != "" {
		t.Error(diff)
	}
}

func readPages(t *testing.T, path string) []simulator.Page {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []simulator.Page
	for line := range bytes.Lines(b) {
		var p simulator.Page
		if err := json.Unmarshal(line, &p); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		out = append(out, p)
	}
	return out
}

func TestPages(t *testing.T) {
	log := filepath.Join(t.TempDir(), "pages.jsonl")
	if err := os.WriteFile(log, []byte(`{"path":"from before"}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, simulator.Options{PageLog: log})
	c := client(t)
	for _, page := range []struct{ url, body string }{
		{s.URL(simulator.Webhook) + "/webhook/duty?x=1", `{"status":"firing", "n": 1}`},
		{s.URL(simulator.Control) + "/webhook", "not JSON"},
	} {
		if status, body := do(t, c, "POST", page.url, page.body); status != 200 || !strings.Contains(body, `"errcode":0`) {
			t.Errorf("%d %s", status, body)
		}
	}
	pages := readPages(t, log)
	if len(pages) != 3 || pages[0].Path != "from before" {
		t.Fatalf("pages %+v", pages)
	}
	if p := pages[1]; p.Path != "/webhook/duty" || string(p.Body) != `{"status":"firing","n":1}` || p.Headers["User-Agent"] == "" || time.Since(p.ReceivedAt) > time.Minute {
		t.Errorf("page %+v", p)
	}
	if p := pages[2]; string(p.Body) != `"not JSON"` {
		t.Errorf("page %+v", p)
	}
	if status, _ := do(t, c, "GET", s.URL(simulator.Webhook)+"/webhook", ""); status != 405 {
		t.Errorf("GET: %d", status)
	}
	if status, _ := do(t, c, "POST", s.URL(simulator.Webhook)+"/webhook", strings.Repeat("x", 2<<20)); status != 400 {
		t.Errorf("2 MiB: %d", status)
	}
}

func TestBrokenReceiver(t *testing.T) {
	log := filepath.Join(t.TempDir(), "pages.jsonl")
	s := start(t, simulator.Options{PageLog: log})
	spec := check.Spec{Name: "c", Service: "s", Kind: "http", Target: s.URL(simulator.Webhook) + "/webhook", HTTP: check.HTTP{Method: "POST", Body: "{}"}, Timeout: ample, Slow: ample}
	p, waiting := newProber(t, spec), newProber(t, hasty(spec))
	for mode, class := range map[simulator.Mode]check.Class{
		simulator.Refuse: check.ClassConnect, simulator.Hang: check.ClassTimeout, simulator.Error500: check.ClassStatus, simulator.Reset: check.ClassReset,
	} {
		if err := s.Break(simulator.Webhook, simulator.Fault{Mode: mode}); err != nil {
			t.Fatal(err)
		}
		asks := p
		if mode == simulator.Hang {
			asks = waiting
		}
		if r := round(t, asks); !r.Confirmed() || r.First().Class != class {
			t.Errorf("%s: %s %s", mode, r.First().Class, r.First().Reason)
		}
	}
	if got := len(readPages(t, log)); got != 0 {
		t.Errorf("%d pages logged by a receiver that took none", got)
	}
	// The control door stays open, so a refusal there is a reset; the orders go on.
	if err := s.Break(simulator.Webhook, simulator.Fault{Mode: simulator.Refuse}); err != nil {
		t.Fatal(err)
	}
	spec.Target = s.URL(simulator.Control) + "/webhook"
	if r := round(t, newProber(t, spec)); r.First().Class != check.ClassReset {
		t.Errorf("%s %s", r.First().Class, r.First().Reason)
	}
	if status, body := do(t, client(t), "PUT", s.URL(simulator.Control)+"/faults/webhook", `{"mode":"ok"}`); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	wantOK(t, p)
	if got := len(readPages(t, log)); got != 1 {
		t.Errorf("%d pages logged, want 1", got)
	}
}

func TestFolderAndPorts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	s := start(t, simulator.Options{Folder: dir})
	pem, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil || !bytes.Equal(pem, s.CA()) {
		t.Errorf("ca.pem: %v", err)
	}
	for name, url := range s.URLs() {
		if !strings.Contains(url, "://127.0.0.1:") || url != s.URL(name) {
			t.Errorf("%s is at %s", name, url)
		}
	}
	if s.URL("mail") != "" {
		t.Error("a URL for a service that is not there")
	}
	if err := s.Break("mail", simulator.Fault{Mode: simulator.OK}); err == nil {
		t.Error("broke a service that is not there")
	}
}

func TestTakenPortIsNamed(t *testing.T) {
	s := start(t, simulator.Options{})
	var port int
	for _, digit := range strings.TrimPrefix(s.URL(simulator.SMS), "https://127.0.0.1:") {
		port = port*10 + int(digit-'0')
	}
	_, err := simulator.New(simulator.Options{Ports: map[string]int{simulator.Gateway: port}})
	if err == nil || !strings.Contains(err.Error(), "gateway: listen") {
		t.Errorf("error %v", err)
	}
}

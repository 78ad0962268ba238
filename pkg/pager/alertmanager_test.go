package pager

import (
	"bytes"
	"encoding/json"
	"flag"
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

	"github.com/google/go-cmp/cmp"

	"xunjian/pkg/contract"
	"xunjian/pkg/incident"
	"xunjian/pkg/symptom"
)

var update = flag.Bool("update", false, "write the golden files anew")

// recorded is a body that a real Alertmanager sent.
const recorded = "testdata/alertmanager-webhook.json"

// shape lists a JSON value's keys and the types under them, label and annotation names left out.
func shape(path string, v any) (out []string) {
	switch v := v.(type) {
	case map[string]any:
		if strings.HasSuffix(path, "abels") || strings.HasSuffix(path, "nnotations") {
			for _, text := range v {
				out = append(out, fmt.Sprintf("%s.* %T", path, text))
			}
			break
		}
		for k, x := range v {
			out = append(out, shape(path+"."+k, x)...)
		}
	case []any:
		for _, x := range v {
			out = append(out, shape(path+"[]", x)...)
		}
	default:
		out = append(out, fmt.Sprintf("%s %T", path, v))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func shapeOf(t *testing.T, b []byte) []string {
	t.Helper()
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return shape("", v)
}

func samplePager(t *testing.T, language string) *Pager {
	t.Helper()
	h := newHouse(t)
	p, err := New(h.desk, h.db, Options{ExternalURL: "https://xunjian.example", Language: language})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func samplePage(kind incident.PageKind) incident.Page {
	nine := time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC)
	r := incident.Record{
		ID: "INC-20261123-0007", Version: 3, State: incident.Detected, Service: "signature", ServiceZH: "签章服务", ServiceEN: "Signature service",
		Component: "sign-login", Class: symptom.Down, Source: symptom.FromProbe, Detail: "502 from the gateway", Level: contract.Urgent,
		FaultStart: nine, SLAStart: nine, ResponseDue: nine.Add(10 * time.Minute), RecoveryDue: nine.Add(4 * time.Hour),
	}
	switch kind {
	case incident.PageRecovered:
		r.State, r.RecoveredAt, r.AckBy, r.AckAt = incident.Recovered, nine.Add(time.Hour), "驻点", nine.Add(3*time.Minute)
	case incident.PageProposed:
		r.Level, r.Proposed = contract.General, contract.Urgent
	case incident.PageReopened:
		r.RecurrenceOf = "INC-20261101-0001"
	}
	return incident.Page{Seq: 7, Kind: kind, At: nine, Level: r.Level, Record: r}
}

// Our body has the keys and types of Alertmanager's own, as recorded from the real one.
func TestPayloadShape(t *testing.T) {
	want, err := os.ReadFile(recorded)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []incident.PageKind{incident.PageOpened, incident.PageRecovered} {
		got, err := json.Marshal(samplePager(t, "").message(samplePage(kind), "ops").Payload)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(shapeOf(t, want), shapeOf(t, got)); diff != "" {
			t.Errorf("%s (-Alertmanager +ours):\n%s", kind, diff)
		}
	}
}

// The recording is what the Alertmanager on this machine still sends.
func TestRealAlertmanager(t *testing.T) {
	binary, err := exec.LookPath("prometheus-alertmanager")
	if err != nil {
		if os.Getenv("XUNJIAN_WITHOUT_PEERS") != "" {
			t.Skip("no prometheus-alertmanager here; its recorded body is compared by TestPayloadShape")
		}
		t.Fatalf("%v: test/setup.sh installs it (or set XUNJIAN_WITHOUT_PEERS to do without)", err)
	}
	got := askAlertmanager(t, binary)
	if *update {
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, got, "", "  "); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(recorded, append(pretty.Bytes(), '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(recorded)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(shapeOf(t, want), shapeOf(t, got)); diff != "" {
		t.Errorf("(-recorded +real):\n%s", diff)
	}
}

// askAlertmanager gives an alert to a real Alertmanager and returns the body that its webhook sends.
func askAlertmanager(t *testing.T, binary string) []byte {
	t.Helper()
	bodies := make(chan []byte, 1)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		select {
		case bodies <- b:
		default:
		}
	}))
	defer hook.Close()
	dir, address := t.TempDir(), freeAddress(t)
	config := "route: {receiver: ops, group_by: [incident], group_wait: 10ms}\nreceivers:\n- name: ops\n  webhook_configs: [{url: " + hook.URL + "}]\n"
	file := filepath.Join(dir, "alertmanager.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "--config.file="+file, "--storage.path="+dir, "--web.listen-address="+address, "--cluster.listen-address=", "--web.external-url=http://alertmanager.example")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	alert := `[{"labels":{"alertname":"ServiceDown","incident":"INC-1"},"annotations":{"summary":"down"},"generatorURL":"http://prometheus.example"}]`
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		resp, err := http.Post("http://"+address+"/api/v2/alerts", "application/json", strings.NewReader(alert))
		if err != nil {
			continue
		}
		resp.Body.Close()
		select {
		case b := <-bodies:
			return b
		case <-time.After(10 * time.Second):
		}
	}
	t.Fatal("no word from the Alertmanager")
	return nil
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// What people read, in both languages.
func TestPageTexts(t *testing.T) {
	var out strings.Builder
	for _, language := range []string{"zh-CN", "en"} {
		p := samplePager(t, language)
		for _, kind := range []incident.PageKind{incident.PageOpened, incident.PageEscalated, incident.PageProposed, incident.PageReopened, incident.PageRecovered} {
			a := p.message(samplePage(kind), "ops").Payload.Alerts[0].Annotations
			fmt.Fprintf(&out, "== %s %s\n%s\n%s\n", language, a["kind"], a["summary"], a["description"])
		}
	}
	golden := "testdata/pages.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Errorf("(-golden +got):\n%s", diff)
	}
}

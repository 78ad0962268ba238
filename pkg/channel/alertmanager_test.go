package channel

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Debian's Alertmanager takes our alert, holds it while it is told again, and drops it when it is told that it is over or
// hears nothing more by its endsAt.
func TestRealAlertmanager(t *testing.T) {
	binary, err := exec.LookPath("prometheus-alertmanager")
	if err != nil {
		if os.Getenv("XUNJIAN_WITHOUT_PEERS") != "" {
			t.Skip("XUNJIAN_WITHOUT_PEERS is set and prometheus-alertmanager is not installed")
		}
		t.Fatalf("%v: install it, or set XUNJIAN_WITHOUT_PEERS to go without", err)
	}
	g := newGate(t)
	at := g.addr
	g.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "alertmanager.yml")
	if err := os.WriteFile(file, []byte("route: {receiver: ops}\nreceivers: [{name: ops}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "--config.file="+file, "--storage.path="+dir, "--web.listen-address="+at, "--cluster.listen-address=")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	ch := make1(t, Settings{Name: "am", Kind: "alertmanager", URL: "http://" + at + "/", Timeout: 5 * time.Second})
	m := sample()
	m.Payload.Alerts[0].StartsAt = time.Now().Add(-time.Minute)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if _, err = ch.Send(t.Context(), m); err == nil || time.Now().After(end) {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	active := func() (ends []time.Time) {
		t.Helper()
		resp, err := http.Get("http://" + at + "/api/v2/alerts?active=true")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		var all []struct {
			EndsAt time.Time         `json:"endsAt"`
			Labels map[string]string `json:"labels"`
		}
		if err := json.Unmarshal(b, &all); err != nil {
			t.Fatalf("%v in %s", err, b)
		}
		for _, a := range all {
			if a.Labels["incident"] != "INC-20261123-0007" {
				t.Errorf("alert %v", a.Labels)
			}
			ends = append(ends, a.EndsAt)
		}
		return ends
	}
	first := active()
	if len(first) != 1 {
		t.Fatalf("%d alerts", len(first))
	}
	time.Sleep(1100 * time.Millisecond)
	if err := ch.(Refresher).Refresh(t.Context(), []Message{m, m}); err != nil {
		t.Error(err)
	}
	if again := active(); len(again) != 1 || !again[0].After(first[0]) {
		t.Errorf("told again: ends at %v, before at %v", again, first)
	}
	m.Resolved, m.Payload.Alerts[0].Status, m.Payload.Alerts[0].EndsAt = true, "resolved", time.Now()
	if _, err := ch.Send(t.Context(), m); err != nil {
		t.Error(err)
	}
	time.Sleep(100 * time.Millisecond)
	if left := active(); len(left) != 0 {
		t.Errorf("still there: %v", left)
	}
	m.Payload.Alerts[0].Labels = map[string]string{"": "no name"}
	if _, err := ch.Send(t.Context(), m); !RefusalIn(err).PageOnly {
		t.Errorf("a bad alert: %v", err)
	}
}

// What fires ends in a while unless it is told again before; what is over ends when it did.
func TestAlerts(t *testing.T) {
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	m := sample()
	if a := m.alerts(now); len(a) != 1 || !a[0].EndsAt.Equal(now.Add(alertHolds)) || !a[0].StartsAt.Equal(m.Payload.Alerts[0].StartsAt) {
		t.Errorf("%+v", a)
	}
	if alertRefresh*3 > alertHolds {
		t.Error("two refreshes that fail let a fault seem over")
	}
	m.Payload.Alerts[0].EndsAt = now.Add(-time.Second)
	if a := m.alerts(now); !a[0].EndsAt.Equal(now.Add(-time.Second)) {
		t.Errorf("%+v", a)
	}
}

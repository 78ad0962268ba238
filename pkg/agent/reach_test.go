package agent

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/metric"
)

// A host that cannot reach its own gateway says so with the round that failed; one that can does not.
func TestSelfCheckGoesWithTheRound(t *testing.T) {
	for class, cut := range map[check.Class]string{check.ClassTimeout: "no gateway", check.ClassDNS: "no resolver", check.ClassStatus: ""} {
		(&stage{outcome: check.Attempt{Outcome: check.Fail, Class: class}}).on(t)
		bubble(t, func(t *testing.T, r *rig, state string) {
			r.self = SelfCheck{
				Gateway: func(context.Context) error { return errors.New("no gateway") },
				Names:   func(context.Context) error { return errors.New("no resolver") },
			}
			here := staged("here", 10*time.Second)
			here.Target = "http://127.0.0.1:8080/health"
			r.plans.set(0, staged("gate", 10*time.Second), here)
			_, stop := r.start(state, r.token("host-1"))
			time.Sleep(30 * time.Second)
			stop()
			if got := r.inbox.rounds("gate")[0].Cut; got != cut {
				t.Errorf("%s: cut %q, want %q", class, got, cut)
			}
			if got := r.inbox.rounds("here")[0].Cut; got != "" {
				t.Errorf("%s: a target on this host is cut off: %q", class, got)
			}
			for name, blind := range map[string]bool{"gate": cut != "", "here": false} {
				if got := success(t, r.inbox.kind(metric.KindProbe + name)[0]); math.IsNaN(got) != blind || !blind && got != 0 {
					t.Errorf("%s: probe_success of %s is %v", class, name, got)
				}
			}
		})
	}
}

// success is a report's probe_success, NaN where it has none.
func success(t *testing.T, r metric.Report) float64 {
	t.Helper()
	for _, s := range r.Samples {
		if s.Series.Name == "probe_success" {
			return s.Value
		}
	}
	return math.NaN()
}

func TestGatewayOfTheKernelsTables(t *testing.T) {
	proc := t.TempDir()
	write := func(file, text string) {
		if err := os.WriteFile(filepath.Join(proc, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const head = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
	const arp = "IP address HW type Flags HW address Mask Device\n"
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := gatewayAnswers(ctx, proc); err != nil {
		t.Errorf("without tables: %v", err)
	}
	write("route", head+"lo 0000007F 00000000 0001 0 0 0 000000FF 0 0 0\nlo 00000000 0100007F 0003 0 0 0 00000000 0 0 0\n")
	write("arp", arp+"127.0.0.1 0x1 0x2 02:fc:00:00:00:05 * lo\n")
	if err := gatewayAnswers(ctx, proc); err != nil {
		t.Errorf("with a neighbour that answered: %v", err)
	}
	write("arp", arp+"127.0.0.1 0x1 0x0 00:00:00:00:00:00 * lo\n")
	if err := gatewayAnswers(ctx, proc); err == nil || !strings.Contains(err.Error(), "gateway 127.0.0.1 does not answer") {
		t.Errorf("with one that did not: %v", err)
	}
}

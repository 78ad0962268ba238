package probe

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/icmp"

	"xunjian/pkg/check"
)

func patientICMP(target string, i check.ICMP) check.Spec {
	spec := patient(target)
	spec.Kind, spec.ICMP = "icmp", i
	return spec
}

// echoOrSkip skips where this host gives tests no right to send an echo request.
func echoOrSkip(t *testing.T, spec check.Spec) check.Attempt {
	t.Helper()
	a := ask(t, spec)
	if strings.Contains(a.Reason, "lets the agent send no echo requests") || strings.Contains(a.Reason, "cannot assign") {
		t.Skip(a.Reason)
	}
	return a
}

func TestEcho(t *testing.T) {
	for name, spec := range map[string]check.Spec{
		"plain":         patientICMP("127.0.0.1", check.ICMP{}),
		"other address": patientICMP("127.9.9.9", check.ICMP{}),
		"large":         patientICMP("127.0.0.1", check.ICMP{PayloadSize: 8000}),
		"few hops":      patientICMP("127.0.0.1", check.ICMP{TTL: 1, DontFragment: true}),
		"version 6":     patientICMP("::1", check.ICMP{}),
	} {
		t.Run(name, func(t *testing.T) {
			if name == "version 6" && !hasIPv6() {
				t.Skip("no IPv6 on this host")
			}
			a := echoOrSkip(t, spec)
			wantAttempt(t, a, check.OK, "", "")
			if len(a.Phases) != 3 || a.Phases[2].Name != "rtt" || a.Phases[2].Duration <= 0 {
				t.Errorf("phases %+v", a.Phases)
			}
			if hops := a.Values[0]; !(hops > 0) {
				t.Errorf("%v hops left", hops)
			}
		})
	}
}

func hasIPv6() bool {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// Nobody answers at 240.0.0.1, which no network may use, nor at a forbidden address, which is not asked.
func TestNoEcho(t *testing.T) {
	a := echoOrSkip(t, hasty(patientICMP("240.0.0.1", check.ICMP{})))
	if a.Outcome == check.OK {
		t.Errorf("%+v", a)
	}
	if a := ask(t, patientICMP("169.254.169.254", check.ICMP{})); a.Outcome != check.Unknown || a.Class != check.ClassSetup {
		t.Errorf("%+v", a)
	}
}

// Many at once on raw sockets, which all hear each other's replies.
func TestEchoesDoNotMix(t *testing.T) {
	echoOrSkip(t, patientICMP("127.0.0.1", check.ICMP{}))
	done := make(chan check.Attempt)
	for i := range 32 {
		go func() {
			p, err := New(patientICMP("127.0.0.1", check.ICMP{PayloadSize: 28 + i%2}), Options{})
			if err != nil {
				panic(err)
			}
			done <- p.attempt(t.Context(), true)
		}()
	}
	for range 32 {
		wantAttempt(t, <-done, check.OK, "", "")
	}
}

// Who may not is told what would help, and that is no outage.
func TestEchoNotAllowed(t *testing.T) {
	var asked []string
	i := &icmpAsker{listen: func(network, _ string) (*icmp.PacketConn, error) {
		asked = append(asked, network)
		return nil, &net.OpError{Op: "listen", Net: network, Err: os.NewSyscallError("socket", syscall.EPERM)}
	}}
	_, _, bad := i.openSocket(family4)
	if bad == nil || bad.outcome != check.Unknown || bad.class != check.ClassSetup ||
		!strings.Contains(bad.reason, "net.ipv4.ping_group_range") || !strings.Contains(bad.reason, "CAP_NET_RAW") {
		t.Errorf("%+v", bad)
	}
	if got := strings.Join(asked, " "); got != "udp4 ip4:icmp" {
		t.Errorf("asked for %s, want the socket without rights first", got)
	}
	i.listen = func(string, string) (*icmp.PacketConn, error) { return nil, errors.New("odd") }
	if _, _, bad := i.openSocket(family6); bad == nil || !strings.Contains(bad.reason, "odd") {
		t.Errorf("%+v", bad)
	}
}

func TestEchoSeries(t *testing.T) {
	p := newTestProber(t, patientICMP("127.0.0.1", check.ICMP{}), Options{})
	r, samples := p.Run(t.Context(), time.Now())
	if r.First().Outcome == check.Unknown {
		t.Skip(r.First().Reason)
	}
	for _, phase := range []string{"resolve", "setup", "rtt"} {
		if v := value(t, samples, "probe_icmp_duration_seconds", phase); !(v >= 0) {
			t.Errorf("phase %s is %v", phase, v)
		}
	}
	if v := value(t, samples, "probe_ip_protocol", ""); v != 4 {
		t.Errorf("protocol %v", v)
	}
}

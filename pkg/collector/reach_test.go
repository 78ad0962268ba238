package collector

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/fleet"
)

// A refusal is an answer, silence of all ports is none, and what our own side cannot do says nothing of the host.
func TestKnock(t *testing.T) {
	op := func(err error) error { return &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", err)} }
	for name, c := range map[string]struct {
		answers []error // of the ports in turn
		ping    bool
		want    fleet.Reach
	}{
		"opens":                {[]error{os.ErrDeadlineExceeded, nil}, false, fleet.Alive},
		"refuses":              {[]error{os.ErrDeadlineExceeded, op(syscall.ECONNREFUSED)}, false, fleet.Alive},
		"all silent":           {[]error{os.ErrDeadlineExceeded, context.DeadlineExceeded}, false, fleet.Gone},
		"no such neighbour":    {[]error{op(syscall.EHOSTUNREACH), op(syscall.EHOSTUNREACH)}, false, fleet.Gone},
		"silent but for pings": {[]error{os.ErrDeadlineExceeded, os.ErrDeadlineExceeded}, true, fleet.Alive},
		"we have no network":   {[]error{op(syscall.ENETUNREACH), op(syscall.ENETUNREACH)}, false, fleet.Unclear},
		"we have no sockets":   {[]error{op(syscall.EMFILE), errors.New("x")}, false, fleet.Unclear},
	} {
		t.Run(name, func(t *testing.T) {
			by := map[string]error{"192.0.2.1:22": c.answers[0], "192.0.2.1:80": c.answers[1]}
			h := hosts{func(_ context.Context, _, addr string) (net.Conn, error) {
				if err, ok := by[addr]; !ok || err != nil {
					return nil, err
				}
				a, b := net.Pipe()
				b.Close()
				return a, nil
			}, func(context.Context, net.IP) bool { return c.ping }}
			if got := h.try(t.Context(), "192.0.2.1", []string{"22", "80"}); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// A real host answers at once, and one that does not answer is given up in time.
func TestKnockForReal(t *testing.T) {
	begin := time.Now()
	if got := newHosts().try(t.Context(), "127.0.0.1", knocks); got != fleet.Alive {
		t.Errorf("loopback: %q", got)
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("an answer took %v", took)
	}
	hang := func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
	begin = time.Now()
	if got := (hosts{hang, func(ctx context.Context, _ net.IP) bool { <-ctx.Done(); return false }}).try(t.Context(), "127.0.0.1", knocks); got != fleet.Gone {
		t.Errorf("a host that hangs: %q", got)
	}
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("giving up took %v", took)
	}
}

func TestPorts(t *testing.T) {
	specs := []check.Spec{{Target: "192.0.2.1:8443"}, {Target: "192.0.2.2:9"}, {Target: "https://192.0.2.1/x"}, {Target: "192.0.2.1:22"}}
	got := ports(specs, "192.0.2.1")
	if len(got) != len(knocks)+1 || got[len(got)-1] != "8443" {
		t.Errorf("knocks at %v", got)
	}
	many := make([]check.Spec, 0, 100)
	for i := range 100 {
		many = append(many, check.Spec{Target: net.JoinHostPort("192.0.2.1", string(rune('a'+i%26))+string(rune('a'+i/26)))})
	}
	if n := len(ports(many, "192.0.2.1")); n != maxKnocks {
		t.Errorf("%d ports", n)
	}
}

// Two agents behind one address hide each other's hosts.
func TestShared(t *testing.T) {
	all := []fleet.Agent{{Name: "a", Info: fleet.Info{Addr: "192.0.2.1:5"}}, {Name: "b", Info: fleet.Info{Addr: "192.0.2.1:6"}}, {Name: "c", Info: fleet.Info{Addr: "192.0.2.3:6"}}}
	if !shared(all, "a", "192.0.2.1") || shared(all, "c", "192.0.2.3") {
		t.Error("shared addresses are not told from own ones")
	}
	all[1].RevokedAt = time.Now()
	if shared(all, "a", "192.0.2.1") {
		t.Error("a revoked agent hides a host")
	}
}

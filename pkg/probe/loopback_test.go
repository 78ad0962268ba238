package probe

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"xunjian/pkg/check"
)

// A check goes to the agent's own host only when its own text says so: no name, no redirect and no other writing of the address
// leads it there, unless its allow does.
func TestLoopbackIsNotReachedByDetour(t *testing.T) {
	var reached counting
	inner := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer inner.Close()
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(inner.URL, "http://"))
	outer := httptest.NewServer(http.RedirectHandler("http://127.0.0.1:"+port+"/", http.StatusFound))
	defer outer.Close()
	// What lies outside is the second server, whatever its address; the host itself is counted.
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		if strings.HasPrefix(addr, "192.0.2.") {
			return plainDialer.DialContext(ctx, network, strings.TrimPrefix(outer.URL, "http://"))
		}
		return reached.dial(ctx, network, "127.0.0.1:"+port)
	}
	for name, tc := range map[string]struct {
		target   string
		resolved string
		allow    []string
		reaches  bool
	}{
		"written so":               {"http://127.0.0.1:" + port, "", nil, true},
		"another of its addresses": {"http://127.9.9.9:" + port, "", nil, true},
		"by its usual name":        {"http://localhost:" + port, "127.0.0.1", nil, true},
		"IPv6":                     {"http://[::1]:" + port, "", nil, true},
		"a name":                   {"http://svc.example:" + port, "127.0.0.1", nil, false},
		"a name, IPv6":             {"http://svc.example:" + port, "::1", nil, false},
		"a name, mapped":           {"http://svc.example:" + port, "::ffff:127.0.0.1", nil, false},
		"a name, NAT64":            {"http://svc.example:" + port, "64:ff9b::7f00:1", nil, false},
		"a name, unspecified":      {"http://svc.example:" + port, "0.0.0.0", nil, false},
		"a name that is allowed":   {"http://svc.example:" + port, "127.0.0.1", []string{"127.0.0.0/8"}, true},
		"a redirect":               {"http://192.0.2.1/", "", nil, false},
		"a redirect, allowed":      {"http://192.0.2.1/", "", []string{"127.0.0.1/32"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			spec := patient(tc.target)
			spec.Allow, spec.HTTP.Redirects = tc.allow, 3
			o := Options{Dial: dial}
			if tc.resolved != "" {
				o.Resolver = names{addrs: []netip.Addr{netip.MustParseAddr(tc.resolved)}}
			}
			before := reached.n.Load()
			a := newTestProber(t, spec, o).attempt(t.Context(), true)
			if got := reached.n.Load() > before; got != tc.reaches {
				t.Errorf("reached: %v, %s: %s", got, a.Outcome, a.Reason)
			}
			if !tc.reaches {
				wantAttempt(t, a, check.Unknown, check.ClassSetup, "only a check whose target is written as localhost")
			}
		})
	}
}

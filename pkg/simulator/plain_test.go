package simulator_test

import (
	"net/http"
	"testing"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/simulator"
)

// TestEachWatcherSeesABlip has one bad request for each path, and further services that are broken one by one.
func TestEachWatcherSeesABlip(t *testing.T) {
	s := start(t, simulator.Options{Plain: 2})
	again := 0
	probes := map[string]check.Spec{}
	for _, path := range []string{"/a", "/b"} {
		probes[path] = check.Spec{
			Name: path[1:], Service: "plain", Kind: "http", Target: s.URL("plain-1") + path,
			TLS: check.TLS{CA: string(s.CA())}, Every: time.Second, Timeout: ample, Slow: ample, Again: &again,
		}
	}
	for _, mode := range []simulator.Mode{simulator.Error500, simulator.Reset} {
		if err := s.Break("plain-1", simulator.Fault{Mode: mode, Requests: 1, Each: true}); err != nil {
			t.Fatal(err)
		}
		for _, want := range []check.Outcome{check.Fail, check.OK, check.OK} {
			for path, spec := range probes {
				if got := round(t, newProber(t, spec)); got.Outcome() != want {
					t.Errorf("%s, %s: %+v, want %s", mode, path, got, want)
				}
			}
		}
	}
	for _, f := range []simulator.Fault{
		{Mode: simulator.Error500, Each: true}, {Mode: simulator.TLSExpired, Requests: 1, Each: true}, {Mode: simulator.Refuse, ForMS: 1, Each: true},
	} {
		if err := s.Break("plain-2", f); err == nil {
			t.Errorf("%+v was taken", f)
		}
	}
	if resp, err := http.Get(s.URL("plain-3")); err == nil {
		resp.Body.Close()
		t.Error("there is a third plain service")
	}
}

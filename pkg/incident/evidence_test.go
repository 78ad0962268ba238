package incident

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"xunjian/pkg/symptom"
)

// What the hosts of a service did is attached once after the opening and once after the recovery, from before the fault on,
// however often reading fails in between; a cause that is a host brings its own.
func TestCurvesAreAttached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.Configure(Settings{Services: town})
		fail := 1
		var asked []string
		h.o.Curves = func(_ context.Context, hosts []string, from, to time.Time, step time.Duration) ([]Curve, error) {
			if fail > 0 {
				fail--
				return nil, errors.New("busy")
			}
			asked = append(asked, strings.Join(hosts, ","))
			return []Curve{{Host: hosts[0], Name: "cpu", From: from, At: []int{0, int(to.Sub(from) / time.Second)}, Values: []float64{1, 99}}}, nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- h.Run(ctx) }()
		start := time.Now()
		told := func(service string, firing bool) Record {
			s := fails(service, 0, 0)
			s.Firing, s.Since, s.At = firing, time.Now(), time.Now()
			r, _, err := h.Observe(s.At, s)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		id := told("cloud-doc", true).ID
		time.Sleep(2 * time.Minute)
		r, es := h.get(id)
		at := slices.IndexFunc(es, func(e Event) bool { return e.Kind == EventEvidence })
		if r.Curved != 1 || at < 0 || !es[at].Curves[0].From.Equal(start.Add(-curvesAround)) {
			t.Fatalf("after the opening: %d %s", r.Curved, kinds(es))
		}
		told("cloud-doc", false)
		time.Sleep(time.Hour)
		r, es = h.get(id)
		if n := strings.Count(kinds(es), string(EventEvidence)); r.Curved != 2 || n != 2 {
			t.Errorf("after the recovery: %d, %d times: %s", r.Curved, n, kinds(es))
		}
		if len(asked) != 2 || !strings.Contains(asked[0], "app-01") || !strings.Contains(asked[0], "gw-01") {
			t.Errorf("asked of %q", asked)
		}
		folded(t, h, id)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	if got := (Record{Service: "host", Component: "web-1 /data", Class: symptom.Host}).node(); got != "host/web-1" {
		t.Errorf("node %s", got)
	}
}

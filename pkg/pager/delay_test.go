package pager

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"xunjian/pkg/channel"
)

// From the fault's report to the request at the receiver, on a real clock and a real socket. The bound is generous;
// the figure is logged.
func TestDelay(t *testing.T) {
	arrived := make(chan time.Time, 64)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { arrived <- time.Now() }))
	defer server.Close()
	channels, err := channel.Config{Webhooks: []channel.Webhook{{Name: "ops", URL: server.URL}}}.Channels()
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, channels...)
	var took []time.Duration
	for i := range 50 {
		start := time.Now()
		h.observe(fmt.Sprint("service-", i), true)
		took = append(took, (<-arrived).Sub(start))
	}
	slices.Sort(took)
	t.Logf("fault to request: median %v, 98 %% %v", took[25], took[48])
	if took[25] > 2*time.Second {
		t.Errorf("median %v", took[25])
	}
}

func TestBackoff(t *testing.T) {
	for n, most := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 9: 256 * time.Second, 10: 5 * time.Minute, 1 << 30: 5 * time.Minute} {
		for range 100 {
			if got := backoff(n); got < most/2 || got > most {
				t.Fatalf("%d: %v, most %v", n, got, most)
			}
		}
	}
}

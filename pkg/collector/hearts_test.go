package collector

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// The collector's heart beats for a receiver outside, and stops when nothing is judged any more, whatever else goes on.
func TestHeartbeat(t *testing.T) {
	var beats atomic.Int64
	watch := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { beats.Add(1) }))
	defer watch.Close()
	r := newRig(t, plain("heartbeat: [{name: watch, url: '"+watch.URL+"', every: 1s}]")).start()
	r.eventually("beats", func() error {
		if beats.Load() < 2 {
			return errors.New("none")
		}
		return nil
	})
	if got := r.metric(`xunjian_heartbeats_total{receiver="watch"}`); got == "" || got == "0" {
		t.Errorf("counted %q", got)
	}
	r.ticked.Store(time.Now().Add(-ticksWithin - time.Second).UnixMilli())
	if err := r.healthy(); err == nil {
		t.Error("well, although time stands still for those who judge")
	}
	r.eventually("the next tick makes it well again", r.healthy)
	watch.Close()
	r.eventually("a warning that it does not get through", func() error {
		if len(r.hearts.Failing()) != 1 || len(r.warnings(time.Now(), r.notices.text)) == 0 {
			return errors.New("none")
		}
		return nil
	})
}

package pager

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// Metrics count what happened, keep counting over a reload, and obey the naming conventions.
func TestMetrics(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		r := newReceiver(t, first(status(400)))
		h := newHouse(t, r.channel(t, "ops"))
		h.halt()
		h.registry = reg
		h.start()
		h.observe("signature", true)
		synctest.Wait()
		m := newMetrics(reg) // as a reload does
		if n := testutil.ToFloat64(m.undelivered.WithLabelValues("ops")); n != 1 {
			t.Errorf("undelivered %v", n)
		}
		h.recover("signature")
		synctest.Wait()
		for want, c := range map[float64]prometheus.Collector{2: m.sent.WithLabelValues("ops"), 1: m.failed.WithLabelValues("ops"), 0: m.undelivered.WithLabelValues("ops")} {
			if got := testutil.ToFloat64(c); got != want {
				t.Errorf("got %v, want %v", got, want)
			}
		}
		if n := testutil.CollectAndCount(m.delay); n != 1 {
			t.Errorf("%d histograms", n)
		}
		problems, err := testutil.GatherAndLint(reg)
		if err != nil || len(problems) > 0 {
			t.Errorf("%v %v", problems, err)
		}
	})
}

// A person whom no channel reaches shows in the metrics and the list, until one does.
func TestUnreachedShows(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		sms := &gateway{name: "sms"}
		sms.set(func(int, string) error { return errors.New("refused") })
		h := newDuty(t, []Step{{After: "0s", Who: []string{whoDuty}}}, sms)
		h.halt()
		reg := prometheus.NewRegistry()
		h.registry = reg
		h.start()
		h.observe("signature", true)
		synctest.Wait()
		gauge := newMetrics(reg).unreached.WithLabelValues("sms")
		if n := testutil.ToFloat64(gauge); n != 1 || len(h.undelivered()) != 1 || h.undelivered()[0].Person == "" {
			t.Errorf("%v calls undelivered, listed %+v", n, h.undelivered())
		}
		sms.set(nil)
		time.Sleep(10 * time.Minute)
		if n := testutil.ToFloat64(gauge); n != 0 || len(h.undelivered()) != 0 {
			t.Errorf("%v calls undelivered, listed %+v", n, h.undelivered())
		}
	})
}

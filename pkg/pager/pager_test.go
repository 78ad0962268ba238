package pager

import (
	"context"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"xunjian/pkg/channel"
	"xunjian/pkg/store"
)

// A fault pages at once and its end pages when it is sure, each once.
func TestDeliver(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReceiver(t, yes)
		h := newHouse(t, r.channel(t, "ops"))
		start := time.Now()
		rec := h.observe("signature", true)
		synctest.Wait()
		calls := r.all()
		if len(calls) != 1 || calls[0].at.Sub(start) != 0 {
			t.Fatalf("%d calls", len(calls))
		}
		p := calls[0].payload
		a := p.Alerts[0]
		for want, got := range map[string]string{
			"4": p.Version, "firing": p.Status, "ops": p.Receiver, "【紧急】签章服务 中断": a.Annotations["summary"],
			rec.ID: a.Labels["incident"], "ServiceDown": a.Labels["alertname"], "critical": a.Labels["severity"],
			"https://xunjian.example/incidents/" + rec.ID: a.GeneratorURL, rec.ID + ".1.opened": calls[0].key,
		} {
			if got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		h.recover("signature")
		synctest.Wait()
		if r.kinds() != "opened recovered" || len(r.all()) != 2 {
			t.Fatalf("got %s in %d calls", r.kinds(), len(r.all()))
		}
		end := r.all()[1].payload
		if end.Status != "resolved" || end.Alerts[0].EndsAt.IsZero() || end.Alerts[0].Fingerprint != a.Fingerprint || end.GroupKey != p.GroupKey {
			t.Errorf("end %+v", end)
		}
		if ps := h.undelivered(); len(ps) != 0 {
			t.Errorf("undelivered %+v", ps)
		}
	})
}

// Whatever a receiver does at first, the page arrives in the end, always under the same key, and not before it may.
func TestStubbornReceivers(t *testing.T) {
	busy := func(_ int, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "120")
		w.WriteHeader(http.StatusTooManyRequests)
	}
	for name, c := range map[string]struct {
		does     answer
		calls    int
		min, max time.Duration // until the last call
	}{
		"500":             {first(status(500), status(500), status(502)), 4, 3 * time.Second, 8 * time.Second},
		"400":             {first(status(400), status(400)), 3, time.Second, 4 * time.Second},
		"401":             {first(status(401)), 2, time.Second / 2, time.Second},
		"redirect":        {first(status(302)), 2, time.Second / 2, time.Second},
		"429":             {first(busy), 2, 2 * time.Minute, 2 * time.Minute},
		"hangs":           {first(hang, hang), 3, 20 * time.Second, 24 * time.Second},
		"hangs in body":   {first(hangInBody), 2, 10 * time.Second, 12 * time.Second},
		"robot refuses":   {first(body(`{"errcode":45009,"errmsg":"api freq out of limit"}`)), 2, time.Second / 2, time.Second},
		"robot says yes":  {body(`{"errcode":0,"errmsg":"ok"}`), 1, 0, 0},
		"nonsense":        {body("\x00\xff<html>"), 1, 0, 0},
		"json of another": {body(`{"errcode":{"x":1}}`), 1, 0, 0},
		"long body":       {body(strings.Repeat("x", 1<<20)), 1, 0, 0},
		"202":             {status(202), 1, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newReceiver(t, c.does)
				h := newHouse(t, r.channel(t, "ops"))
				start := time.Now()
				h.observe("signature", true)
				time.Sleep(10 * time.Minute)
				calls := r.all()
				if len(calls) != c.calls {
					t.Fatalf("%d calls, want %d", len(calls), c.calls)
				}
				for _, call := range calls {
					if call.key == "" || call.key != calls[0].key {
						t.Errorf("keys %q and %q", calls[0].key, call.key)
					}
				}
				if took := calls[len(calls)-1].at.Sub(start); took < c.min || took > c.max {
					t.Errorf("last call after %v", took)
				}
				if ps := h.undelivered(); len(ps) != 0 {
					t.Errorf("undelivered %+v", ps)
				}
			})
		})
	}
}

// net/http itself repeats a request that a reset connection swallowed; the key makes that harmless.
func TestReset(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReceiver(t, first(reset, reset, reset))
		h := newHouse(t, r.channel(t, "ops"))
		h.observe("signature", true)
		time.Sleep(time.Minute)
		if len(h.undelivered()) != 0 || r.kinds() != "opened" || len(r.all()) < 2 {
			t.Errorf("%d calls: %s", len(r.all()), r.kinds())
		}
	})
}

// A receiver that hangs delays nobody else (FAULTS 40).
func TestIsolation(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		bad, fine := newReceiver(t, hang), newReceiver(t, yes)
		h := newHouse(t, bad.channel(t, "bad"), fine.channel(t, "fine"))
		for _, s := range []string{"signature", "sms", "gateway"} {
			start := time.Now()
			h.observe(s, true)
			synctest.Wait()
			calls := fine.all()
			if last := calls[len(calls)-1]; last.payload.Alerts[0].Labels["service"] != s || last.at != start {
				t.Errorf("%s after %v", last.payload.Alerts[0].Labels["service"], last.at.Sub(start))
			}
			time.Sleep(3 * time.Second)
		}
		ps := h.undelivered()
		if len(ps) != 3 || ps[0].Channel != "bad" {
			t.Errorf("undelivered %d", len(ps))
		}
	})
}

// A page that alone is refused holds back only its own incident: no end arrives before its beginning.
func TestPoison(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReceiver(t, nil)
		r.set(func(n int, w http.ResponseWriter, _ *http.Request) {
			if r.all()[n].payload.Alerts[0].Labels["service"] == "signature" {
				w.WriteHeader(http.StatusUnprocessableEntity)
			}
		})
		h := newHouse(t, r.channel(t, "ops"))
		start := time.Now()
		h.observe("signature", true)
		synctest.Wait()
		h.observe("sms", true)
		synctest.Wait()
		if calls := r.all(); len(calls) != 2 || !calls[1].at.Equal(start) {
			t.Errorf("%d calls: the other page waited", len(calls))
		}
		h.recover("signature")
		h.recover("sms")
		synctest.Wait()
		services := map[string]string{}
		for _, c := range r.all() {
			services[c.payload.Alerts[0].Labels["service"]] += c.payload.Status + " "
		}
		if services["sms"] != "firing resolved " || strings.Contains(services["signature"], "resolved") {
			t.Errorf("got %v", services)
		}
		h.restart()
		r.set(yes)
		time.Sleep(6 * time.Minute)
		calls := r.all()
		if last := calls[len(calls)-1].payload; last.Status != "resolved" || last.Alerts[0].Labels["service"] != "signature" || len(h.undelivered()) != 0 {
			t.Errorf("last %s, undelivered %+v", last.Status, h.undelivered())
		}
		if c, err := h.pager.cursor("ops"); err != nil || c.Done != 4 {
			t.Errorf("cursor %d, %v", c.Done, err)
		}
		if left, err := h.pager.tried("ops"); err != nil || len(left) != 0 {
			t.Errorf("rows left: %v %v", left, err)
		}
	})
}

// A receiver that was away for hours is asked at once when a new page comes, and gets one message of all that it has missed:
// what lasts, then what is over (FAULTS 41).
func TestAwayForHours(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReceiver(t, status(503))
		h := newHouse(t, r.channel(t, "ops"))
		h.observe("signature", true)
		h.recover("signature")
		time.Sleep(3 * time.Hour)
		tries := len(r.all())
		if tries < 30 || tries > 100 {
			t.Errorf("%d tries in three hours", tries)
		}
		if ps := h.undelivered(); len(ps) != 2 || ps[0].Tries == 0 || ps[0].Answer != "HTTP 503" || ps[0].NextTry.IsZero() {
			t.Errorf("undelivered %+v", ps)
		}
		time.Sleep(2 * time.Second)
		r.set(yes)
		start := time.Now()
		h.observe("sms", true)
		synctest.Wait()
		calls := r.all()
		if len(calls) != tries+1 || !calls[tries].at.Equal(start) || len(h.undelivered()) != 0 {
			t.Fatalf("%d calls, undelivered %+v", len(calls)-tries, h.undelivered())
		}
		p := calls[tries].payload
		if p.Status != "firing" || len(p.Alerts) != 2 || p.Alerts[0].Labels["service"] != "sms" || p.Alerts[1].Status != "resolved" || p.CommonLabels["level"] != "urgent" || p.CommonLabels["incident"] != "" {
			t.Errorf("digest %+v", p)
		}
		if keys := calls[tries].pages(); len(keys) != 3 {
			t.Errorf("pages %v", keys)
		}
		h.observe("gateway", true)
		synctest.Wait()
		if last := r.all()[tries+1]; len(last.payload.Alerts) != 1 || strings.HasPrefix(last.key, "digest") {
			t.Errorf("the next page is %s", last.key)
		}
	})
}

// After 24 hours a page is given up and stays listed; those behind it still go (FAULTS 39).
func TestGiveUp(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReceiver(t, status(500))
		h := newHouse(t, r.channel(t, "ops"))
		h.observe("signature", true)
		time.Sleep(time.Hour)
		h.observe("sms", true)
		time.Sleep(23*time.Hour + 10*time.Minute)
		r.set(yes)
		time.Sleep(10 * time.Minute)
		h.restart()
		ps := h.undelivered()
		if len(ps) != 1 || ps[0].GaveUpAt.IsZero() || ps[0].Page.Record.Service != "signature" || ps[0].Tries < 100 || ps[0].Answer != "HTTP 500" {
			t.Fatalf("undelivered %+v", ps)
		}
		if calls := r.all(); calls[len(calls)-1].payload.Alerts[0].Labels["service"] != "sms" {
			t.Error("the page behind did not go")
		}
	})
}

// Killed after the receiver got the page and before that was written down: it goes again under the same key.
func TestKilledBetweenSendAndMark(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var h *house
		r := newReceiver(t, func(n int, _ http.ResponseWriter, _ *http.Request) {
			if n == 0 {
				h.db.Close() // nothing can be written any more
			}
		})
		h = newHouse(t, r.channel(t, "ops"))
		h.observe("signature", true)
		time.Sleep(time.Minute)
		if n := len(r.all()); n != 1 {
			t.Fatalf("%d calls: a page that was taken goes again because it could not be written down", n)
		}
		h.restart()
		synctest.Wait()
		calls := r.all()
		if len(calls) != 2 || calls[0].key != calls[1].key || calls[0].payload.Alerts[0].Fingerprint != calls[1].payload.Alerts[0].Fingerprint {
			t.Errorf("%d calls", len(calls))
		}
		h.restart()
		time.Sleep(time.Hour)
		if len(r.all()) != 2 {
			t.Error("it went a third time")
		}
	})
}

// A receiver that asked for time is left alone, whatever comes meanwhile.
func TestRetryAfterIsKept(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReceiver(t, first(func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "120")
			w.WriteHeader(http.StatusServiceUnavailable)
		}))
		h := newHouse(t, r.channel(t, "ops"))
		h.observe("signature", true)
		time.Sleep(30 * time.Second)
		h.observe("sms", true)
		time.Sleep(89 * time.Second)
		if n := len(r.all()); n != 1 {
			t.Errorf("%d calls within two minutes", n)
		}
		time.Sleep(2 * time.Second)
		if n := len(r.all()); n != 3 {
			t.Errorf("%d calls after them", n)
		}
	})
}

// When a delivery cannot be written down, the mark is tried again and the page is not sent again.
func TestFullDisk(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := newHouse(t)
		own, err := store.Open(filepath.Join(t.TempDir(), "pager.db"), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		r := newReceiver(t, func(int, http.ResponseWriter, *http.Request) { own.Close() })
		p, err := New(h.desk, own, Options{Channels: []channel.Channel{r.channel(t, "ops")}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		h.observe("signature", true)
		time.Sleep(time.Hour)
		if n := len(r.all()); n != 1 {
			t.Errorf("sent %d times", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Stopped while a receiver hangs: Run returns at once, and the page goes again after the start.
func TestStopWhileSending(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReceiver(t, first(hang))
		h := newHouse(t, r.channel(t, "ops"))
		h.observe("signature", true)
		synctest.Wait()
		start := time.Now()
		h.restart()
		synctest.Wait()
		if calls := r.all(); len(calls) != 2 || calls[0].key != calls[1].key || time.Since(start) != 0 {
			t.Errorf("%d calls, %v", len(calls), time.Since(start))
		}
	})
}

// A new channel starts with the pages to come; one that is taken away is forgotten.
func TestChannelsComeAndGo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		old, fresh := newReceiver(t, status(500)), newReceiver(t, yes)
		h := newHouse(t, old.channel(t, "old"))
		h.observe("signature", true)
		synctest.Wait()
		h.channels = []channel.Channel{fresh.channel(t, "fresh")}
		h.restart()
		h.observe("sms", true)
		synctest.Wait()
		if calls := fresh.all(); len(calls) != 1 || calls[0].payload.Alerts[0].Labels["service"] != "sms" {
			t.Errorf("fresh got %d", len(calls))
		}
		if ps := h.undelivered(); len(ps) != 0 {
			t.Errorf("undelivered %+v", ps)
		}
		h.channels = nil
		h.restart()
		h.observe("gateway", true)
		time.Sleep(time.Hour) // swept
		if pages, err := h.desk.Outbox(0, 10); err != nil || len(pages) != 0 {
			t.Errorf("%d pages left, %v", len(pages), err)
		}
	})
}

// Pages leave the outbox only once every channel is done with them.
func TestSweep(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		bad, fine := newReceiver(t, status(500)), newReceiver(t, yes)
		h := newHouse(t, bad.channel(t, "bad"), fine.channel(t, "fine"))
		h.observe("signature", true)
		time.Sleep(time.Hour)
		if last, err := h.desk.LastPage(); err != nil || last != 1 {
			t.Fatalf("last page %d, %v", last, err)
		}
		bad.set(yes)
		time.Sleep(time.Hour)
		if last, err := h.desk.LastPage(); err != nil || last != 0 {
			t.Errorf("last page %d, %v", last, err)
		}
		h.observe("sms", true)
		synctest.Wait()
		if len(fine.all()) != 2 {
			t.Errorf("%d calls after the sweep", len(fine.all()))
		}
	})
}

// A storm that a receiver missed while it hung is few messages without loss, and what may have arrived goes by itself.
func TestStorm(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReceiver(t, hang)
		h := newHouse(t, r.channel(t, "ops"))
		var want []string
		for i := range 300 {
			want = append(want, h.observe("service-"+string(rune('a'+i%26))+string(rune('a'+i/26)), true).ID)
		}
		r.set(yes)
		time.Sleep(time.Minute)
		var got []string
		for _, c := range r.all() {
			for _, a := range c.payload.Alerts {
				if id := a.Labels["incident"]; !slices.Contains(got, id) {
					got = append(got, id)
				}
			}
		}
		if !slices.Equal(got, want) || len(h.undelivered()) != 0 {
			t.Errorf("%d of %d arrived in order", len(got), len(want))
		}
		if n := len(r.all()); n > 5 {
			t.Errorf("%d messages", n)
		}
	})
}

func TestTwoChannelsOfOneName(t *testing.T) {
	db, err := store.Open(filepath.Join(t.TempDir(), "r.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	w := newReceiver(t, yes).channel(t, "ops")
	if _, err := New(nil, db, Options{Channels: []channel.Channel{w, w}}); err == nil {
		t.Error("accepted")
	}
}

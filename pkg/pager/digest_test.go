package pager

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"xunjian/pkg/channel"
	"xunjian/pkg/symptom"
)

// burst is several pages at once: in one transaction, so that the pager sees all of them or none.
func (h *house) burst(from, n int) {
	h.t.Helper()
	var all []symptom.Symptom
	for i := range n {
		all = append(all, outage("service-"+string(rune('a'+(from+i)/26))+string(rune('a'+(from+i)%26)), true))
	}
	if _, err := h.desk.ObserveAll(time.Now(), all); err != nil {
		h.t.Fatal(err)
	}
}

// Killed after the receiver got a digest and before that was written down: the same digest goes again under the same key,
// though there are newer pages by then; nothing of it goes singly.
func TestKilledWithADigestUnderWay(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var h *house
		var killed atomic.Bool
		o := &mouth{name: "ops", terms: channel.Terms{PerMinute: 4, Ends: true}}
		o.does = func(_ context.Context, n int) error {
			if n == 1 && killed.CompareAndSwap(false, true) {
				h.db.Close() // nothing can be written any more
			}
			return nil
		}
		h = newHouse(t, o)
		h.burst(0, 12)
		time.Sleep(time.Minute)
		all := o.all()
		if len(all) != 2 || !strings.HasPrefix(all[1].m.Key, "digest.") {
			t.Fatalf("%d messages", len(all))
		}
		h.halt()
		h.start()
		h.burst(12, 3)
		time.Sleep(5 * time.Minute)
		all = o.all()
		first, again := all[1].m, all[2].m
		if again.Key != first.Key || len(again.Payload.Alerts) != len(first.Payload.Alerts) || again.Text != first.Text {
			t.Errorf("%s, then %s", first.Key, again.Key)
		}
		told, n := o.told()
		if len(told) != 15 || n > 6 || len(h.undelivered()) != 0 {
			t.Errorf("%d told in %d messages", len(told), n)
		}
	})
}

// A digest that may have arrived goes again whole and under its own key, and nothing of it in another message.
func TestDigestGoesAgainAsItWas(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReceiver(t, status(http.StatusInternalServerError))
		h := newHouse(t, r.channel(t, "ops"))
		h.observe("signature", true)
		h.recover("signature")
		pages := h.remember(nil)
		r.set(hang)
		time.Sleep(20 * time.Minute)
		h.observe("sms", true)
		pages = h.remember(pages)
		r.set(yes)
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		complete(t, r.all(), pages)
		in := map[string]string{} // the digest that holds a page
		for _, c := range r.all() {
			for _, page := range c.pages() {
				if strings.HasPrefix(in[page], "digest.") && in[page] != c.key {
					t.Errorf("%s came in %s and in %s", page, in[page], c.key)
				}
				in[page] = c.key
			}
		}
		if !strings.HasPrefix(in[pages[0]], "digest.") || in[pages[0]] != in[pages[1]] || len(h.undelivered()) != 0 {
			t.Errorf("pages came as %v", in)
		}
	})
}

// A receiver that was away for six hours, while faults came and went, gets one message on its return: what lasts first, the
// gravest before the others, and what is over. A test page that it takes is what brings it.
func TestAwayUntilATestPage(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var back atomic.Bool
		o := &mouth{name: "ops", terms: channel.Terms{PerMinute: 20, Ends: true}}
		o.does = func(context.Context, int) error {
			if !back.Load() {
				return errors.New("connection refused")
			}
			return nil
		}
		h := newHouse(t, o)
		for range 6 { // hours
			h.observe("signature", true)
			time.Sleep(20 * time.Minute)
			h.recover("signature")
			time.Sleep(30 * time.Minute)
		}
		h.burst(0, 9)
		time.Sleep(4 * time.Minute)
		left := len(h.undelivered())
		if left < 20 {
			t.Fatalf("%d pages wait", left)
		}
		back.Store(true)
		before := len(o.all())
		if out, err := h.pager.Test(t.Context(), "ops", "张三"); err != nil || out[0].Error != "" {
			t.Fatalf("%+v, %v", out, err)
		}
		synctest.Wait()
		all := o.all()[before:]
		if len(all) != 2 || len(h.undelivered()) != 0 {
			t.Fatalf("%d messages on return, %d left", len(all), len(h.undelivered()))
		}
		m := all[1].m
		open, over := 0, 0
		for _, a := range m.Payload.Alerts {
			if a.Status == firing {
				open++
			} else {
				over++
			}
		}
		if open != 9 || over != 6 || m.Payload.Alerts[0].Status != firing || !strings.Contains(m.Title, "未恢复 9") {
			t.Errorf("%d open, %d over: %s\n%s", open, over, m.Title, m.Text)
		}
	})
}

// A receiver that takes no large message gets smaller ones.
func TestDigestTooLarge(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		o := &mouth{name: "ops", terms: channel.Terms{PerMinute: 60, Ends: true}}
		most := 40
		big := func(m channel.Message) bool { return len(m.Payload.Alerts) > most }
		o.does = func(_ context.Context, n int) error {
			if big(o.all()[n].m) {
				return &channel.Refusal{Status: http.StatusRequestEntityTooLarge, PageOnly: true}
			}
			return nil
		}
		h := newHouse(t, o)
		h.stop() // so that all come at once
		h.stop = func() {}
		h.burst(0, 300)
		h.halt()
		h.start()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if told, n := o.told(); len(told) != 300 || n > 60 || len(h.undelivered()) != 0 {
			t.Errorf("%d told in %d messages, %d left", len(told), n, len(h.undelivered()))
		}
	})
}

// What may have arrived goes again as it was, however long the receiver is away; the rest is one message.
func TestUnsureGoesByItself(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var away atomic.Bool
		away.Store(true)
		o := &mouth{name: "ops", terms: channel.Terms{Ends: true}}
		o.does = func(context.Context, int) error {
			if away.Load() {
				return &channel.Refusal{Cause: channel.CauseNoVerdict, Text: "<html>"}
			}
			return nil
		}
		h := newHouse(t, o)
		first := h.observe("signature", true)
		time.Sleep(time.Second / 2)
		for range 20 {
			h.burst(0, 3)
			time.Sleep(10 * time.Minute)
		}
		away.Store(false)
		time.Sleep(10 * time.Minute)
		all := o.all()
		n := len(all)
		for n > 0 && all[n-1].ok {
			n--
		}
		yes := all[n:]
		if len(yes) != 2 || yes[0].m.Key != first.ID+".1.opened" || len(yes[1].m.Payload.Alerts) != 3 {
			t.Errorf("%d messages on return, the first %s", len(yes), yes[0].m.Key)
		}
	})
}

// A receiver that forgets is told again of what is open, and of nothing else.
func TestRefresh(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := &forgetful{mouth: mouth{name: "am", terms: channel.Terms{Ends: true}}}
		h := newHouse(t, f)
		h.observe("signature", true)
		h.observe("sms", true)
		time.Sleep(10*time.Minute + time.Second)
		if times, open := f.last(); times < 9 || times > 11 || open != 2 {
			t.Errorf("told again %d times, the last time of %d", times, open)
		}
		h.recover("sms")
		time.Sleep(2 * time.Minute)
		if _, open := f.last(); open != 1 || len(h.undelivered()) != 0 {
			t.Errorf("told again of %d, undelivered %+v", open, h.undelivered())
		}
	})
}

type forgetful struct {
	mouth
	refreshed, open int
}

func (f *forgetful) last() (times, open int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refreshed, f.open
}

func (f *forgetful) Every() time.Duration { return time.Minute }

func (f *forgetful) Refresh(_ context.Context, open []channel.Message) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refreshed, f.open = f.refreshed+1, len(open)
	if f.refreshed == 3 {
		return errors.New("not now")
	}
	return nil
}

package pager

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/incident"
	"xunjian/pkg/roster"
)

// linkOf is the token in the last message to a phone.
func linkOf(t *testing.T, g *gateway) string {
	t.Helper()
	_, token, found := strings.Cut(g.last().Link, LinkPath)
	if !found || len(token) != 22 {
		t.Fatalf("link %q", g.last().Link)
	}
	return token
}

// A link shows as often as anybody looks, and acknowledges once, as the person to whom it went.
func TestLink(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		sms := &gateway{name: "sms"}
		h := newDuty(t, nil, sms)
		r := h.observe("signature", true)
		synctest.Wait()
		token := linkOf(t, sms)
		time.Sleep(90 * time.Second)
		for range 3 {
			v, err := h.pager.Look(time.Now(), token)
			if err != nil || v.State != LinkOpen || v.Person.Name != "驻" || v.Record.ID != r.ID || !v.Record.AckAt.IsZero() {
				t.Fatalf("%+v %v", v, err)
			}
		}
		v, err := h.pager.Take(time.Now(), token, "Phone 1.0", "192.0.2.9")
		if err != nil || v.State != LinkUsed || v.Record.AckBy != "驻" || v.Record.AckVia != "link" {
			t.Fatalf("%+v %v", v, err)
		}
		_, es, err := h.desk.Get(r.ID)
		if err != nil {
			t.Fatal(err)
		}
		e := es[len(es)-1]
		if e.Device != "Phone 1.0" || e.Address != "192.0.2.9" || e.At.Sub(e.PagedAt) != 90*time.Second {
			t.Errorf("event %+v", e)
		}
		h.restart()
		if v, err := h.pager.Take(time.Now(), token, "x", "y"); err != nil || v.State != LinkUsed || !v.Record.AckAt.Equal(e.At) {
			t.Errorf("a second time: %+v %v", v, err)
		}
	})
}

// Whatever is not exactly the link that was sent is none.
func TestForgedLinks(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		sms := &gateway{name: "sms"}
		h := newDuty(t, nil, sms)
		r := h.observe("signature", true)
		synctest.Wait()
		token := linkOf(t, sms)
		bad := []string{"", "x", token + "A", token[1:], strings.Repeat("A", 22), strings.Repeat("=", 22), token + "\x00"}
		for i := range token {
			c := byte('A')
			if token[i] == c {
				c = 'B'
			}
			bad = append(bad, token[:i]+string(c)+token[i+1:])
		}
		for _, b := range bad {
			if _, err := h.pager.Take(time.Now(), b, "", ""); !errors.Is(err, ErrBadLink) {
				t.Errorf("%q: %v", b, err)
			}
		}
		if got, err := h.desk.Record(r.ID); err != nil || !got.AckAt.IsZero() {
			t.Errorf("acknowledged: %+v %v", got, err)
		}
	})
}

// A link says why it does not work any more.
func TestLinkStates(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for name, c := range map[string]struct {
			happens func(h *house, r incident.Record)
			want    LinkState
		}{
			"taken":   {func(h *house, r incident.Record) { h.ack(r.ID, "二") }, LinkTaken},
			"over":    {func(h *house, _ incident.Record) { h.recover("signature") }, LinkOver},
			"expired": {func(*house, incident.Record) { time.Sleep(linkLife) }, LinkExpired},
			"gone":    {func(h *house, _ incident.Record) { h.roster.(*book).set(staff[1:]) }, LinkGone},
			"demoted": {func(h *house, _ incident.Record) {
				h.roster.(*book).set([]roster.Person{{Name: "驻", Role: "viewer", Duty: "resident", Phone: "1"}})
			}, LinkGone},
		} {
			sms := &gateway{name: "sms"}
			h := newDuty(t, []Step{{After: "0s", Who: []string{whoDuty}}}, sms)
			r := h.observe("signature", true)
			synctest.Wait()
			token := linkOf(t, sms)
			c.happens(h, r)
			v, err := h.pager.Take(time.Now(), token, "", "")
			if err != nil || v.State != c.want {
				t.Errorf("%s: %s %v", name, v.State, err)
			}
			if after, err := h.desk.Record(r.ID); err != nil || after.AckBy == "驻" {
				t.Errorf("%s: acknowledged all the same: %v", name, err)
			}
			h.halt()
		}
	})
}

// Of many taps at once one acknowledges; the others see that it is done.
func TestTapsAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		sms := &gateway{name: "sms"}
		h := newDuty(t, nil, sms)
		r := h.observe("signature", true)
		synctest.Wait()
		token := linkOf(t, sms)
		var done atomic.Int32
		var wg sync.WaitGroup
		for range 32 {
			wg.Go(func() {
				v, err := h.pager.Take(time.Now(), token, "", "")
				if err != nil || v.State != LinkUsed && v.State != LinkTaken || v.Record.AckBy != "驻" {
					t.Errorf("%+v %v", v.State, err)
				}
				done.Add(1)
			})
		}
		wg.Wait()
		if _, es, err := h.desk.Get(r.ID); err != nil || done.Load() != 32 || len(es) != 2 {
			t.Errorf("%d events, %v", len(es), err)
		}
	})
}

// Links that expired long ago leave the store; those that still say so stay.
func TestLinksAreForgotten(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		sms := &gateway{name: "sms"}
		h := newDuty(t, []Step{{After: "0s", Who: []string{whoDuty}}}, sms)
		h.observe("signature", true)
		synctest.Wait()
		token := linkOf(t, sms)
		h.ack(h.list()[0].ID, "二")
		time.Sleep(29 * 24 * time.Hour)
		if v, err := h.pager.Look(time.Now(), token); err != nil || v.State != LinkTaken {
			t.Errorf("%+v %v", v.State, err)
		}
		time.Sleep(3 * 24 * time.Hour)
		if _, err := h.pager.Look(time.Now(), token); !errors.Is(err, ErrBadLink) {
			t.Errorf("still known: %v", err)
		}
	})
}

func (h *house) list() []incident.Record {
	h.t.Helper()
	rs, err := h.desk.List(incident.Filter{})
	if err != nil {
		h.t.Fatal(err)
	}
	return rs
}

// A reply acknowledges the incident whose code it holds, from the phone of somebody who may.
func TestReply(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		sms := &gateway{name: "sms"}
		h := newDuty(t, []Step{{After: "0s", Who: []string{whoDuty}}}, sms)
		h.roster.(*book).set([]roster.Person{
			{Name: "驻", Role: "engineer", Duty: "resident", Phone: "13800000000"}, {Name: "客", Role: "viewer", Phone: "13900000000"},
		})
		r := h.observe("signature", true)
		synctest.Wait()
		other := h.observe("sms", true)
		synctest.Wait()
		first, second := sms.all()[0].m.Code, sms.all()[1].m.Code
		if first == second || len(first) != 4 {
			t.Fatalf("codes %s %s", first, second)
		}
		for name, c := range map[string]struct {
			phone, text string
			want        error
		}{
			"stranger":   {"13700000000", first, ErrUnknownPhone},
			"may not":    {"13900000000", first, ErrUnknownPhone},
			"no phone":   {"", first, ErrUnknownPhone},
			"no code":    {"13800000000", "收到", ErrBadCode},
			"wrong code": {"13800000000", "0000", ErrBadCode},
		} {
			if _, err := h.pager.Reply(time.Now(), "", c.phone, c.text); !errors.Is(err, c.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		time.Sleep(time.Minute)
		wide := strings.Map(func(r rune) rune { return r - '0' + '０' }, first)
		got, err := h.pager.Reply(time.Now(), "", "+86 138 0000 0000", "收到 "+wide+" 。")
		if err != nil || got.ID != r.ID || got.AckBy != "驻" || got.AckVia != "sms" {
			t.Errorf("%+v %v", got, err)
		}
		if _, err := h.pager.Reply(time.Now(), "", "13800000000", first); !errors.Is(err, incident.ErrConflict) {
			t.Errorf("again: %v", err)
		}
		for range wrongCodes {
			h.pager.Reply(time.Now(), "", "13800000000", "1")
		}
		if _, err := h.pager.Reply(time.Now(), "", "13800000000", second); !errors.Is(err, ErrGuessing) {
			t.Errorf("after guessing: %v", err)
		}
		time.Sleep(wrongWindow)
		if got, err := h.pager.Reply(time.Now(), "", "13800000000", second); err != nil || got.ID != other.ID {
			t.Errorf("%+v %v", got, err)
		}
		_, es, err := h.desk.Get(r.ID)
		if e := es[len(es)-1]; err != nil || e.Kind != incident.EventAcknowledged || e.Device != "138****0000" || e.At.Sub(e.PagedAt) != time.Minute {
			t.Errorf("event %+v %v", e, err)
		}
	})
}

// A code is good until its incident is over, and then free for another.
func TestCodesAreFreed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		sms := &gateway{name: "sms"}
		h := newDuty(t, []Step{{After: "0s", Who: []string{whoDuty}, Levels: contract.Levels}}, sms)
		h.observe("signature", true)
		synctest.Wait()
		code := sms.last().Code
		h.recover("signature")
		time.Sleep(time.Minute)
		if id, err := h.pager.coded(code); err != nil || id != "" {
			t.Errorf("still %s, %v", id, err)
		}
		e := h.pager.people
		e.mu.Lock()
		defer e.mu.Unlock()
		if n := len(e.pursued); n != 0 {
			t.Errorf("%d pursued", n)
		}
	})
}

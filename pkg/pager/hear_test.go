package pager

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"xunjian/pkg/channel"
	"xunjian/pkg/incident"
)

// telephone is a gateway over which people can answer, while it is listened to.
type telephone struct {
	*gateway
	hearing chan channel.Hearing
}

func (*telephone) Hears() bool { return true }

func (p *telephone) Listen(ctx context.Context, h channel.Hearing) error {
	h.State(true, nil)
	p.hearing <- h
	<-ctx.Done()
	h.State(false, errors.New("over"))
	return nil
}

// What people answer over a channel does what gateways' replies do, says over which channel it came, and is brought again
// when the store does not take it.
func TestHear(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		phone := &telephone{&gateway{name: "smpp"}, make(chan channel.Hearing, 1)}
		h := newDuty(t, []Step{{After: "0s", Who: []string{whoDuty}}}, phone)
		r := h.observe("signature", true)
		synctest.Wait()
		m := phone.last()
		line := <-phone.hearing
		time.Sleep(time.Minute)
		for _, from := range []string{"13700000000", m.To[0].Phone} {
			if !line.Reply(channel.Reply{From: from, Text: m.Code}) {
				t.Errorf("a reply of %s is to be brought again", from)
			}
		}
		_, es, err := h.desk.Get(r.ID)
		if e := es[len(es)-1]; err != nil || e.Kind != incident.EventAcknowledged || e.Person != m.To[0].Name || e.Via != "sms" || e.Device != maskPhone(m.To[0].Phone)+" smpp" || e.At.Sub(e.PagedAt) != time.Minute {
			t.Errorf("event %+v %v", e, err)
		}
		second := h.observe("sms", true)
		synctest.Wait()
		h.db.Close()
		if line.Reply(channel.Reply{From: m.To[0].Phone, Text: phone.last().Code}) {
			t.Errorf("a reply about %s was taken though nothing can be written", second.ID)
		}
	})
}

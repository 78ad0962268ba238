package pager

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/channel"
)

// A test message goes to every receiver at once, says that it is one, and what each answered comes back; a receiver that
// hangs holds up nobody's answer but its own.
func TestTestPage(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		fine, refuses, hangs := newReceiver(t, body(`{"errcode":0}`)), newReceiver(t, body(`{"errcode":93000,"errmsg":"invalid webhook url"}`)), newReceiver(t, hang)
		h := newHouse(t, fine.channel(t, "fine"), refuses.channel(t, "refuses"), hangs.channel(t, "hangs"))
		got, err := h.pager.Test(context.Background(), "", "张工")
		if err != nil || len(got) != 3 {
			t.Fatalf("%+v %v", got, err)
		}
		if got[0].Error != "" || got[0].Answer != `{"errcode":0}` || got[0].Took != 0 {
			t.Errorf("fine: %+v", got[0])
		}
		if !strings.Contains(got[1].Error, "93000") || got[1].Channel != "refuses" || got[1].Took != 0 {
			t.Errorf("refuses: %+v", got[1])
		}
		if got[2].Error == "" || got[2].Took != 10*time.Second {
			t.Errorf("hangs: %+v", got[2])
		}
		a := fine.all()[0].payload.Alerts[0]
		if !strings.Contains(a.Annotations["summary"], "测试") || !strings.Contains(a.Annotations["description"], "张工") || a.Labels["test"] != "true" {
			t.Errorf("sent %+v", a)
		}
		if len(h.undelivered()) != 0 {
			t.Error("a test is no page: it must not be waiting")
		}
		got, err = h.pager.Test(context.Background(), "fine", "张工", channel.Person{Name: "李工"}, channel.Person{Name: "王工"})
		if err != nil || len(got) != 2 || got[1].Person != "王工" || len(fine.all()) != 3 {
			t.Errorf("to people: %+v %v", got, err)
		}
		if _, err := h.pager.Test(context.Background(), "none", "张工"); !errors.Is(err, ErrNoChannel) {
			t.Errorf("unknown channel: %v", err)
		}
	})
}

// Over a channel that names nobody itself, a test goes to whoever is on duty; without anybody it says so.
func TestTestPageToThoseOnDuty(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := &gateway{name: "sms"}
		h := newDuty(t, nil, g)
		got, err := h.pager.Test(context.Background(), "sms", "张工")
		if err != nil || len(got) != len(g.got) || len(got) == 0 {
			t.Fatalf("%+v, %v", got, err)
		}
		for i, x := range got {
			if x.Person == "" || x.Error != "" || len(g.got[i].m.To) != 1 || !strings.Contains(g.got[i].m.Short, "测试") {
				t.Errorf("%+v", x)
			}
		}
	})
}

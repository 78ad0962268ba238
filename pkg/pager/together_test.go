package pager

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"xunjian/pkg/channel"
	"xunjian/pkg/contract"
	"xunjian/pkg/incident"
	"xunjian/pkg/symptom"
)

// A storm does not drown a person: few messages a minute, what is more is one message soon after, an urgent fault has a
// message of its own at once, and there is none for what is acknowledged meanwhile.
func TestPersonIsNotDrowned(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const singly = perPerson / 4 // lighter ones
		sms := &gateway{name: "sms"}
		h := newDuty(t, []Step{{After: "0s", Who: []string{whoDuty}}}, sms)
		start := time.Now()
		for i := range singly { // one by one, as many as go at once
			h.tellOf(fmt.Sprintf("s%02d", i), contract.General, true)
			synctest.Wait()
		}
		var burst []symptom.Symptom // and the others at once
		for i := range 45 {
			s := symptom.Symptom{Source: symptom.FromProbe, Service: fmt.Sprintf("b%02d", i), Class: symptom.Partial, Level: contract.General, Firing: true, Since: start, At: start}
			if i == 44 {
				s.Service, s.Level = "gravest", contract.Urgent
			}
			burst = append(burst, s)
		}
		if _, err := h.desk.ObserveAll(start, burst); err != nil {
			t.Fatal(err)
		}
		open, err := h.desk.List(incident.Filter{State: "open"})
		if err != nil || len(open) != singly+45 {
			t.Fatalf("%d incidents, %v", len(open), err)
		}
		time.Sleep(90 * time.Second)
		all := sms.all()
		if len(all) != singly+2 {
			t.Fatalf("%d messages in 90 s", len(all))
		}
		if m := all[singly]; m.at != start || m.m.Level != contract.Urgent || len(m.m.Payload.Alerts) != 1 || m.m.Payload.Alerts[0].Labels["service"] != "gravest" {
			t.Errorf("the urgent fault is told after %v in %s", m.at.Sub(start), m.m.Key)
		}
		last := all[singly+1]
		if m := last.m; last.at.Sub(start) > 21*time.Second || len(m.Payload.Alerts) != 44 || m.To[0].Name != "驻" || !strings.HasPrefix(m.Key, "digest.") ||
			len([]rune(m.Short)) > channel.MaxShort || m.Code == "" || !strings.Contains(m.Short, m.Code) || strings.Count(m.Text, LinkPath) != maxListed {
			t.Errorf("%s after %v: %s\n%s\n%s", m.Key, last.at.Sub(start), m.Title, m.Text, m.Short)
		}
		for _, r := range open {
			calls, err := h.pager.Calls(r.ID)
			if err != nil || len(calls) != 1 || calls[0].SentAt.IsZero() || !slices.ContainsFunc(all, func(r ring) bool { return r.m.Key == calls[0].Key() }) {
				t.Errorf("%s: %+v, %v", r.ID, calls, err)
			}
			h.ack(r.ID, "驻")
		}
		time.Sleep(time.Hour)
		if n := len(sms.all()); n != singly+2 {
			t.Errorf("%d messages after all was acknowledged, the last after %v", n, sms.all()[n-1].at.Sub(start))
		}
	})
}

// While lighter faults take all the messages that they may, and pages to all go over the same channel, each urgent fault has
// its message at once; of 500 urgent ones none waits for more than some seconds, and the phone rings no oftener than it may.
func TestUrgentCallsGoFirst(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		phone := &mouth{name: "sms", terms: channel.Terms{PerMinute: 20, Ends: true}}
		h := newDuty(t, []Step{{After: "0s", Who: []string{whoDuty}}}, &people{phone})
		mine := func() (out []heard) {
			for _, x := range phone.all() {
				if len(x.m.To) > 0 {
					out = append(out, x)
				}
			}
			return out
		}
		for i := range 180 { // one a second
			now := time.Now()
			h.tellOf(fmt.Sprintf("s%03d", i), contract.General, true)
			if i%45 == 44 {
				r := h.tellOf(fmt.Sprintf("urgent%03d", i), contract.Urgent, true)
				synctest.Wait()
				all := mine()
				if last := all[len(all)-1]; last.at != now || len(last.m.Payload.Alerts) != 1 || last.m.Payload.Alerts[0].Labels["incident"] != r.ID {
					t.Errorf("%d s: after the urgent fault the last message is of %v before, %s", i, now.Sub(last.at), last.m.Key)
				}
			}
			time.Sleep(time.Second)
		}
		began, before := map[string]time.Time{}, len(mine())
		for i := range 500 {
			r := h.tellOf(fmt.Sprintf("storm%03d", i), contract.Urgent, true)
			began[r.ID] = time.Now()
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(30 * time.Second)
		told := map[string]time.Time{}
		for _, x := range mine()[before:] {
			for _, a := range x.m.Payload.Alerts {
				if id := a.Labels["incident"]; told[id].IsZero() {
					told[id] = x.at
				}
			}
		}
		t.Logf("%d messages to a person, %d in all", len(mine()), len(phone.all()))
		if worst, missing := latest(began, told); missing > 0 || worst > 14*time.Second {
			t.Errorf("%d of 500 urgent faults are not told, the others within %v", missing, worst)
		}
		keepsLimit(t, mine(), perPerson)
		keepsLimit(t, phone.all(), 20)
	})
}

// people is a mouth that reaches everybody by name, too.
type people struct{ *mouth }

func (*people) Personal() bool              { return true }
func (*people) Reaches(channel.Person) bool { return true }
func (*people) Broadcasts() bool            { return true }

// A digest for a person that may have arrived when the program died goes again whole and under its own key; of one that the
// receiver has refused each call takes its own way.
func TestPersonsDigestAfterAKill(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var h *house
		var killed atomic.Bool
		sms := &gateway{name: "sms"}
		sms.does = func(n int, _ string) error {
			if n == 0 && killed.CompareAndSwap(false, true) {
				h.db.Close() // nothing can be written any more
			}
			return nil
		}
		h = newDuty(t, []Step{{After: "0s", Who: []string{whoDuty}}}, sms)
		var burst []symptom.Symptom
		for i := range 20 {
			burst = append(burst, symptom.Symptom{Source: symptom.FromRule, Service: fmt.Sprintf("s%02d", i), Class: symptom.Down, Level: contract.General, Firing: true, Since: time.Now(), At: time.Now()})
		}
		if _, err := h.desk.ObserveAll(time.Now(), burst); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		first := sms.all()[0].m
		h.halt()
		h.start()
		time.Sleep(10 * time.Minute)
		all := sms.all()
		if len(all) != 2 {
			t.Fatalf("%d messages", len(all))
		}
		if again := all[1].m; again.Key != first.Key || again.Text != first.Text || !strings.HasPrefix(first.Key, "digest.") || len(first.Payload.Alerts) != 20 {
			t.Errorf("%s with %d, then %s with %d", first.Key, len(first.Payload.Alerts), again.Key, len(again.Payload.Alerts))
		}
	})
}

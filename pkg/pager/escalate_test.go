package pager

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"xunjian/pkg/channel"
	"xunjian/pkg/contract"
	"xunjian/pkg/incident"
	"xunjian/pkg/roster"
	"xunjian/pkg/symptom"
)

// ring is a message that arrived at a phone.
type ring struct {
	at time.Time
	m  channel.Message
}

// gateway reaches people by phone; does says what comes of each message, nil is a yes at once.
type gateway struct {
	name string
	mu   sync.Mutex
	does func(n int, to string) error
	got  []ring
}

func (g *gateway) Name() string                     { return g.name }
func (g *gateway) Personal() bool                   { return true }
func (g *gateway) Reaches(p channel.Person) bool    { return p.Phone != "" }
func (g *gateway) Broadcasts() bool                 { return false }
func (g *gateway) set(does func(int, string) error) { g.mu.Lock(); defer g.mu.Unlock(); g.does = does }

func (g *gateway) Send(ctx context.Context, m channel.Message) (channel.Receipt, error) {
	g.mu.Lock()
	n, does := len(g.got), g.does
	g.got = append(g.got, ring{time.Now(), m})
	g.mu.Unlock()
	if does != nil {
		err := does(n, m.To[0].Name)
		if errors.Is(err, errHang) {
			<-ctx.Done()
			return channel.Receipt{}, ctx.Err()
		}
		if err != nil {
			return channel.Receipt{}, err
		}
	}
	return channel.Receipt{Answer: "ok"}, nil
}

var errHang = errors.New("hangs")

// rings is what arrived: minute, person, kind.
func (g *gateway) rings(start time.Time) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []string
	for _, r := range g.got {
		out = append(out, fmt.Sprintf("%v %s %s", r.at.Sub(start).Round(time.Second), r.m.To[0].Name, r.m.Key[strings.LastIndex(r.m.Key, ".")+1:]))
	}
	return strings.Join(out, ", ")
}

// all are the messages so far.
func (g *gateway) all() []ring {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.got)
}

func (g *gateway) last() channel.Message {
	all := g.all()
	return all[len(all)-1].m
}

// book is a roster that does not change by itself.
type book struct {
	mu     sync.Mutex
	people []roster.Person
}

func (b *book) set(people []roster.Person) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.people = people
}

func (b *book) On(at time.Time) roster.Duty {
	d := roster.Duty{At: at, Turns: [3]roster.Turn{{Line: roster.Resident}, {Line: roster.Second}, {Line: roster.Manager}}}
	for i, l := range roster.Lines {
		for _, p := range b.People() {
			if p.Duty == string(l) && !d.Turns[i].Held() {
				d.Turns[i].Person = p
			}
		}
	}
	return d
}

func (b *book) People() []roster.Person {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.people
}

func (b *book) Person(name string) (roster.Person, bool) {
	people := b.People()
	i := slices.IndexFunc(people, func(p roster.Person) bool { return p.Name == name })
	if i < 0 {
		return roster.Person{}, false
	}
	return people[i], true
}

func newDuty(t *testing.T, steps []Step, channels ...channel.Channel) *house {
	t.Helper()
	h := &house{t: t, path: t.TempDir() + "/records.db", channels: channels, roster: &book{people: slices.Clone(staff)}, steps: steps}
	h.start()
	t.Cleanup(func() { h.halt() })
	return h
}

func (h *house) ack(id, person string) {
	h.t.Helper()
	if _, err := h.desk.Ack(id, incident.Act{Person: person, Via: "console"}); err != nil {
		h.t.Fatal(err)
	}
}

// The resident is called at once, second line and manager at half of the time and at 80 %, everybody from the deadline on,
// until somebody acknowledges; who was called hears of the end.
func TestEscalation(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		sms, hook := &gateway{name: "sms"}, newReceiver(t, yes)
		h := newDuty(t, nil, hook.channel(t, "ops"), sms)
		start := time.Now()
		r := h.observe("signature", true)
		synctest.Wait()
		if got := sms.rings(start); got != "0s 驻 opened" {
			t.Fatalf("at once: %s", got)
		}
		m := sms.last()
		if m.Link == "" || len(m.Code) != 4 || m.Level != contract.Urgent || !strings.Contains(m.Title, "签章服务") || m.To[0].Phone != "1" {
			t.Errorf("message %+v", m)
		}
		time.Sleep(16 * time.Minute)
		h.ack(r.ID, "二")
		time.Sleep(time.Hour)
		h.recover("signature")
		synctest.Wait()
		want := "0s 驻 opened, 5m0s 二 opened, 5m0s 管 opened, 8m0s 二 opened, 8m0s 管 opened, " +
			"10m0s 驻 opened, 10m0s 二 opened, 10m0s 管 opened, 15m0s 驻 opened, 15m0s 二 opened, 15m0s 管 opened, "
		got := sms.rings(start)
		if sorted(got) != sorted(want+"16m0s 二 breached, 16m0s 管 breached, 1h26m0s 驻 recovered, 1h26m0s 二 recovered, 1h26m0s 管 recovered") {
			t.Errorf("got %s", got)
		}
		if hook.kinds() != "opened breached recovered" {
			t.Errorf("the receiver got %s", hook.kinds())
		}
		log, err := h.pager.Calls(r.ID)
		if err != nil || len(log) != 16 || log[0].Answer != "ok" || log[0].SentAt.IsZero() || log[0].Step != 1 {
			t.Errorf("%d calls in the log: %+v %v", len(log), log[0], err)
		}
		if at := h.pager.PagedAt(r, "二"); !at.Equal(start.Add(5 * time.Minute)) {
			t.Errorf("second line was paged at %v", at)
		}
		h.restart()
		time.Sleep(time.Hour)
		if sms.rings(start) != got {
			t.Error("something was sent again")
		}
	})
}

func sorted(s string) string {
	parts := strings.Split(strings.TrimSuffix(s, ", "), ", ")
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// An acknowledgement ends it at once, from wherever it comes.
func TestAckEndsIt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		sms := &gateway{name: "sms"}
		h := newDuty(t, nil, sms)
		start := time.Now()
		r := h.observe("signature", true)
		time.Sleep(4*time.Minute + 59*time.Second)
		h.ack(r.ID, "驻")
		time.Sleep(3 * time.Hour)
		if got := sms.rings(start); got != "0s 驻 opened" {
			t.Errorf("got %s", got)
		}
	})
}

// A missed deadline is told once by name, beside the escalation: that of the response to whoever is on duty and the manager,
// that of the recovery to whoever is on the incident and the manager.
func TestMissedDeadlines(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		sms := &gateway{name: "sms"}
		h := newDuty(t, []Step{{After: "0s", Who: []string{whoDuty}}}, sms)
		start := time.Now()
		r := h.tellOf("signature", contract.Urgent, true)
		tick := func(after time.Duration) {
			time.Sleep(time.Until(start.Add(after)))
			if err := h.desk.Tick(time.Now()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		tick(10*time.Minute + time.Second)
		if got := sms.rings(start); sorted(got) != sorted("0s 驻 opened, 10m1s 驻 breached, 10m1s 管 breached") {
			t.Errorf("the response is late: %s", got)
		}
		if m := sms.last(); m.Code == "" || m.Link == "" || !strings.Contains(m.Title, "响应时间超时") {
			t.Errorf("message %s, %s", m.Title, m.Short)
		}
		tick(11 * time.Minute)
		h.restart()
		tick(12 * time.Minute)
		h.ack(r.ID, "二")
		before := len(sms.all())
		tick(13 * time.Minute)
		if n := len(sms.all()); before != 3 || n != before {
			t.Errorf("%d messages, then %d", before, n)
		}
		for _, share := range []time.Duration{2, 3, 4} {
			tick(share*time.Hour + time.Second)
		}
		late := sms.rings(start)
		if strings.Count(late, "4h0m1s 二 breached") != 1 || strings.Count(late, "4h0m1s 管 breached") != 1 || strings.Count(late, "breached") != 4 {
			t.Errorf("the recovery is late: %s", late)
		}
		if strings.Count(late, "二 warned") == 0 || strings.Contains(late, "管 warned") {
			t.Errorf("reminders: %s", late)
		}
	})
}

// When a channel refuses or hangs, the next one is tried at once; when a person cannot be reached at all, the next step is.
func TestFallback(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		sms, voice := &gateway{name: "sms"}, &gateway{name: "voice"}
		sms.set(func(_ int, to string) error { return errors.New("balance is 0") })
		voice.set(func(_ int, to string) error {
			if to == "驻" {
				time.Sleep(7 * time.Second)
				return context.DeadlineExceeded
			}
			return nil
		})
		h := newDuty(t, nil, sms, voice)
		start := time.Now()
		r := h.observe("signature", true)
		time.Sleep(8 * time.Second)
		if got := sorted(voice.rings(start)); got != sorted("0s 驻 opened, 7s 二 opened, 7s 管 opened") {
			t.Errorf("voice got %s", got)
		}
		if ps := h.undelivered(); len(ps) != 2 || ps[0].Person != "驻" {
			t.Errorf("undelivered %+v", ps)
		}
		sms.set(nil)
		time.Sleep(time.Minute)
		if got := sms.rings(start); !strings.HasSuffix(got, "驻 opened") || len(h.undelivered()) != 0 {
			t.Errorf("sms got %s; undelivered %+v", got, h.undelivered())
		}
		log, err := h.pager.Calls(r.ID)
		if err != nil || log[0].Tries != 2 || log[0].SentAt.IsZero() || log[1].Answer != context.DeadlineExceeded.Error() {
			t.Errorf("log %+v %v", log, err)
		}
	})
}

// A gateway that hangs for one person keeps nobody else from being called, and no page from going out.
func TestHangingGateway(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		sms, hook := &gateway{name: "sms"}, newReceiver(t, yes)
		sms.set(func(_ int, to string) error {
			if to == "驻" {
				return errHang
			}
			return nil
		})
		h := newDuty(t, nil, sms, hook.channel(t, "ops"))
		start := time.Now()
		h.observe("signature", true)
		h.observe("sms", true)
		time.Sleep(5*time.Minute + time.Second)
		if got := sorted(sms.rings(start)); got != sorted("0s 驻 opened, 0s 驻 opened, 5m0s 二 opened, 5m0s 二 opened, 5m0s 管 opened, 5m0s 管 opened") {
			t.Errorf("got %s", got)
		}
		if calls := hook.all(); len(calls) != 2 || !calls[1].at.Equal(start) {
			t.Errorf("%d pages", len(calls))
		}
	})
}

// Killed between the gateway's yes and its writing down: the message goes again under the same key, once. Steps that became
// due while nothing ran are taken at once, and not twice.
func TestKilled(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		sms := &gateway{name: "sms"}
		var h *house
		sms.set(func(n int, _ string) error {
			if n == 0 {
				h.db.Close() // nothing can be written any more
			}
			return nil
		})
		h = newDuty(t, nil, sms)
		start := time.Now()
		h.observe("signature", true)
		time.Sleep(time.Second)
		h.halt()
		time.Sleep(9 * time.Minute)
		h.start()
		synctest.Wait()
		if got := sorted(sms.rings(start)); got != sorted("0s 驻 opened, 9m1s 驻 opened, 9m1s 二 opened, 9m1s 管 opened") {
			t.Errorf("got %s", got)
		}
		if sms.all()[0].m.Key != sms.all()[1].m.Key && sms.all()[0].m.Key != sms.all()[2].m.Key && sms.all()[0].m.Key != sms.all()[3].m.Key {
			t.Error("the repeated message has another key")
		}
		for range 5 {
			h.restart()
			time.Sleep(time.Second)
		}
		if n := len(sms.all()); n != 4 {
			t.Errorf("%d messages after restarts", n)
		}
	})
}

// A fault that rises after somebody acknowledged it, or comes back, is told to who is on it, and to nobody else.
func TestNews(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		sms := &gateway{name: "sms"}
		h := newDuty(t, nil, sms)
		start := time.Now()
		r := h.tellOf("signature", contract.General, true)
		time.Sleep(time.Minute)
		h.ack(r.ID, "备")
		time.Sleep(time.Minute)
		h.tellOf("signature", contract.Urgent, true)
		time.Sleep(time.Hour)
		h.restart()
		time.Sleep(time.Hour)
		if got := sms.rings(start); got != "0s 驻 opened, 2m0s 备 escalated" {
			t.Errorf("got %s", got)
		}
	})
}

func (h *house) tellOf(service string, level contract.Level, firing bool) incident.Record {
	h.t.Helper()
	now := time.Now()
	r, _, err := h.desk.Observe(now, symptom.Symptom{Source: symptom.FromProbe, Service: service, Class: symptom.Partial, Level: level, Detail: string(level), Firing: firing, Since: now, At: now})
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

// Who leaves the configuration is not called any more; the one who comes is.
func TestPeopleChange(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		sms := &gateway{name: "sms"}
		h := newDuty(t, nil, sms)
		start := time.Now()
		h.observe("signature", true)
		time.Sleep(time.Minute)
		h.roster.(*book).set([]roster.Person{{Name: "新", Role: "engineer", Duty: "second", Phone: "9"}})
		time.Sleep(5 * time.Minute)
		if got := sms.rings(start); got != "0s 驻 opened, 5m0s 新 opened" {
			t.Errorf("got %s", got)
		}
	})
}

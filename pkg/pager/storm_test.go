package pager

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"xunjian/pkg/channel"
	"xunjian/pkg/contract"
	"xunjian/pkg/symptom"
)

// mouth is a receiver without a network: it keeps what it is told, and when.
type mouth struct {
	name  string
	terms channel.Terms
	does  func(ctx context.Context, n int) error // nil: says yes

	mu    sync.Mutex
	heard []heard
}

type heard struct {
	at time.Time
	m  channel.Message
	ok bool
}

func (o *mouth) Name() string         { return o.name }
func (o *mouth) Terms() channel.Terms { return o.terms }

func (o *mouth) Send(ctx context.Context, m channel.Message) (channel.Receipt, error) {
	o.mu.Lock()
	n := len(o.heard)
	o.heard = append(o.heard, heard{at: time.Now(), m: m})
	o.mu.Unlock()
	var err error
	if o.does != nil {
		err = o.does(ctx, n)
	}
	o.mu.Lock()
	o.heard[n].ok = err == nil
	o.mu.Unlock()
	return channel.Receipt{}, err
}

func (o *mouth) all() []heard {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.heard)
}

// told is when each incident was first told with a yes, and how many messages there were.
func (o *mouth) told() (first map[string]time.Time, messages int) {
	first = map[string]time.Time{}
	for _, h := range o.all() {
		messages++
		for _, a := range h.m.Payload.Alerts {
			if id := a.Labels["incident"]; h.ok && first[id].IsZero() {
				first[id] = h.at
			}
		}
	}
	return first, messages
}

const (
	stormPages = 5000
	stormBatch = 50
	urgentEach = 20 // one of so many is urgent
)

// rage makes a storm of so many pages over ten seconds. It returns when each incident began, urgent ones apart.
func rage(t *testing.T, h *house, pages int) (urgent, others map[string]time.Time) {
	t.Helper()
	urgent, others = map[string]time.Time{}, map[string]time.Time{}
	for b := range pages / stormBatch {
		now := time.Now()
		var all []symptom.Symptom
		for i := range stormBatch {
			s := symptom.Symptom{
				Source: symptom.FromProbe, Service: fmt.Sprintf("service-%02d-%02d", b, i), Class: symptom.Down, Level: contract.General, Detail: "502", Firing: true, Since: now, At: now,
			}
			if i%urgentEach == 0 {
				s.Level = contract.Urgent
			}
			all = append(all, s)
		}
		seen, err := h.desk.ObserveAll(now, all)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range seen {
			if i%urgentEach == 0 {
				urgent[s.Record.ID] = now
			} else {
				others[s.Record.ID] = now
			}
		}
		time.Sleep(time.Until(now.Add(10 * time.Second * stormBatch / time.Duration(pages))))
	}
	return urgent, others
}

func latest(began, told map[string]time.Time) (worst time.Duration, missing int) {
	for id, at := range began {
		if told[id].IsZero() {
			missing++
		} else {
			worst = max(worst, told[id].Sub(at))
		}
	}
	return worst, missing
}

// 5,000 faults in ten seconds: a robot with a limit of twenty a minute is told of the urgent ones first and within thirty
// seconds, of all of them in the end, and never more than twenty times a minute; one that hangs keeps nobody (FAULTS 40, 42).
func TestStormWithinTheLimit(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		robot := &mouth{name: "robot", terms: channel.Terms{PerMinute: 20, Ends: true}}
		open := &mouth{name: "open", terms: channel.Terms{Ends: true}}
		stuck := &mouth{name: "stuck", does: func(ctx context.Context, _ int) error {
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Second):
			}
			return context.DeadlineExceeded
		}}
		calls := &mouth{name: "calls", terms: channel.Terms{PerMinute: 20, Levels: []contract.Level{contract.Urgent}}}
		h := newHouse(t, robot, stuck, open, calls)
		urgent, others := rage(t, h, stormPages)
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		for _, r := range []*mouth{robot, open} {
			told, messages := r.told()
			u, lostUrgent := latest(urgent, told)
			o, lost := latest(others, told)
			t.Logf("%s: %d messages, urgent within %v, all within %v", r.name, messages, u, o)
			if lostUrgent+lost > 0 || u > 30*time.Second || o > 2*time.Minute {
				t.Errorf("%s: %d urgent and %d others lost, urgent within %v, others %v", r.name, lostUrgent, lost, u, o)
			}
		}
		if _, n := robot.told(); n > 45 {
			t.Errorf("the robot got %d messages", n)
		}
		keepsLimit(t, robot.all(), 20)
		keepsLimit(t, calls.all(), 20)
		if _, n := latest(urgent, toldOf(calls)); n > 0 {
			t.Errorf("%d urgent faults were not called about", n)
		}
		for id := range others {
			if told, _ := calls.told(); !told[id].IsZero() {
				t.Fatalf("a call about %s, which is not urgent", id)
			}
		}
		if left := h.undelivered(); slices.ContainsFunc(left, func(p Pending) bool { return p.Channel != "stuck" }) {
			t.Errorf("undelivered %d", len(left))
		}
	})
}

func toldOf(o *mouth) map[string]time.Time {
	told, _ := o.told()
	return told
}

// keepsLimit sees that no minute has more than so many messages.
func keepsLimit(t *testing.T, all []heard, most int) {
	t.Helper()
	for i := range all {
		if i >= most && all[i].at.Sub(all[i-most].at) < time.Minute {
			t.Errorf("%d messages within %v", most+1, all[i].at.Sub(all[i-most].at))
			return
		}
	}
}

// A digest for people names the gravest faults, counts the others, and is bounded; the short one still fits a telephone.
func TestDigestForPeople(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		robot := &mouth{name: "robot", terms: channel.Terms{PerMinute: 2, Ends: true}}
		h := newHouse(t, robot)
		rage(t, h, 1000)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		for _, x := range robot.all()[1:] {
			for language, w := range x.m.Translations {
				if len(w.Text) > 4<<10 || strings.Count(w.Text, "\n") > maxListed+2 || len([]rune(w.Short)) > channel.MaxShort || strings.Contains(w.Title, "\n") {
					t.Errorf("%s: %q\n%q\n%q", language, w.Title, w.Text, w.Short)
				}
			}
			if n := len(x.m.Payload.Alerts); n < 2 || n > maxDigest {
				t.Errorf("%d alerts", n)
			}
		}
		w := robot.all()[1].m
		if !strings.HasPrefix(w.Title, "【汇总】未恢复 ") || !strings.Contains(w.Text, "【紧急】") || !strings.Contains(w.Text, "其余未恢复") || !strings.Contains(w.Short, "INC-") {
			t.Errorf("%s\n%s\n%s", w.Title, w.Text, w.Short)
		}
		t.Log("\n" + w.Title + "\n" + w.Text + "\n" + w.Short)
	})
}

// The same storm on a real clock and real sockets, with generous bounds.
func TestStormInRealTime(t *testing.T) {
	var mu sync.Mutex
	told := map[string]time.Time{}
	messages := 0
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var p channel.Payload
		b, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(b, &p); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		messages++
		for _, a := range p.Alerts {
			if id := a.Labels["incident"]; told[id].IsZero() {
				told[id] = time.Now()
			}
		}
	}))
	defer server.Close()
	over := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-over:
		case <-r.Context().Done():
		}
	}))
	defer hanging.Close()
	defer close(over)
	channels, err := channel.Config{Webhooks: []channel.Webhook{{Name: "hangs", URL: hanging.URL, Timeout: 2 * time.Second}, {Name: "ops", URL: server.URL}}}.Channels()
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, channels...)
	urgent, others := rage(t, h, stormPages)
	all := func() int { mu.Lock(); defer mu.Unlock(); return len(told) }
	for end := time.Now().Add(time.Minute); all() < stormPages && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
	}
	mu.Lock()
	defer mu.Unlock()
	u, lostUrgent := latest(urgent, told)
	o, lost := latest(others, told)
	t.Logf("%d messages, urgent within %v, all within %v", messages, u, o)
	if lostUrgent+lost > 0 || u > 30*time.Second || o > time.Minute || messages > 2000 {
		t.Errorf("lost %d urgent, %d others", lostUrgent, lost)
	}
}

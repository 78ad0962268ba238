package channel

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"xunjian/pkg/config"
	"xunjian/pkg/simulator"
)

// listening is a line that is being heard.
type listening struct {
	ch    Channel
	stop  func()
	opens chan error // nil: it is open

	mu    sync.Mutex
	heard []Reply
	deaf  bool // takes no reply
}

func listen(t *testing.T, s Settings) *listening {
	t.Helper()
	l := &listening{ch: make1(t, s), opens: make(chan error, 100)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.ch.(Listener).Listen(ctx, Hearing{Reply: l.reply, State: l.state}) }()
	var once sync.Once
	l.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("it ended with %v", err)
			}
		})
	}
	t.Cleanup(l.stop)
	return l
}

func (l *listening) reply(r Reply) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.deaf {
		l.heard = append(l.heard, r)
	}
	return !l.deaf
}

func (l *listening) state(open bool, why error) {
	if !open && why == nil {
		why = errors.New("no reason")
	}
	l.opens <- why
}

// await waits for the line to open or to fail.
func (l *listening) await(t *testing.T, open bool) {
	t.Helper()
	for {
		select {
		case err := <-l.opens:
			if (err == nil) == open {
				return
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("open: not %v in time", open)
		}
	}
}

func (l *listening) replies(t *testing.T, n int) []Reply {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		l.mu.Lock()
		got := append([]Reply(nil), l.heard...)
		l.mu.Unlock()
		if len(got) >= n {
			return got
		}
	}
	t.Fatalf("no %d replies in time", n)
	return nil
}

var protocols = map[string][]string{"smpp": {""}, "cmpp": {"2.0", "3.0"}}

func lineSettings(t *testing.T, sim *simulator.Simulator, kind, version string) Settings {
	user := map[string]string{"smpp": simulator.SMPPUser, "cmpp": simulator.CMPPUser}[kind]
	return Settings{
		Name: "duty", Kind: kind, Server: strings.TrimPrefix(sim.URL(kind), "tcp://"), User: user, Timeout: 5 * time.Second,
		Token: config.Secret{File: secretFile(t, simulator.SMSPassword)}, SMS: &SMS{From: "10690000", Version: version, Report: 5 * time.Second},
	}
}

// Over one session messages are sent, several at a time, their reports are told from what people answer, and both protocols
// bring that again which was not taken.
func TestLine(t *testing.T) {
	for kind, versions := range protocols {
		for _, version := range versions {
			t.Run(kind+version, func(t *testing.T) {
				sim := startSimulator(t)
				l := listen(t, lineSettings(t, sim, kind, version))
				l.await(t, true)
				var wg sync.WaitGroup
				for _, key := range []string{"a", "b", "c", "d"} {
					wg.Go(func() {
						if r, err := l.ch.Send(t.Context(), contractMessage(key)); err != nil || !strings.Contains(r.Answer, "DELIVRD") {
							t.Errorf("%q, %v", r.Answer, err)
						}
					})
				}
				wg.Wait()
				if got := sim.Telegrams(); len(got) != 4 || got[0].Text != contractMessage("a").Short {
					t.Errorf("the centre took %+v", got)
				}
				say := func(text string) {
					if err := sim.Reply(kind, simulator.Telegram{Number: "13800000000", Text: text}); err != nil {
						t.Fatal(err)
					}
				}
				say("收到 1234")
				if got := l.replies(t, 1); got[0] != (Reply{From: "13800000000", Text: "收到 1234"}) {
					t.Errorf("heard %+v", got)
				}
				l.mu.Lock()
				l.deaf = true // the store takes nothing
				l.mu.Unlock()
				say("5678")
				time.Sleep(100 * time.Millisecond)
				if err := sim.Break(kind, simulator.Fault{Mode: simulator.Reset}); err != nil {
					t.Fatal(err)
				}
				if _, err := l.ch.Send(t.Context(), contractMessage("e")); !Unsure(err) {
					t.Errorf("a session that breaks on the way: %v", err)
				}
				l.await(t, false)
				l.mu.Lock()
				l.deaf = false
				l.mu.Unlock()
				if err := sim.Break(kind, simulator.Fault{Mode: simulator.OK}); err != nil {
					t.Fatal(err)
				}
				l.await(t, true)
				if got := l.replies(t, 2); got[1].Text != "5678" {
					t.Errorf("brought again: %+v", got)
				}
				if _, err := l.ch.Send(t.Context(), contractMessage("e")); err != nil {
					t.Errorf("over the next session: %v", err)
				}
			})
		}
	}
}

// Without a session a page is told why there is none, and the one that comes next brings it.
func TestLineRefused(t *testing.T) {
	sim := startSimulator(t)
	if err := sim.Break("smpp", simulator.Fault{Mode: simulator.LoginRefused}); err != nil {
		t.Fatal(err)
	}
	l := listen(t, lineSettings(t, sim, "smpp", ""))
	l.await(t, false)
	if _, err := l.ch.Send(t.Context(), contractMessage("k")); RefusalIn(err).Cause != CauseCredentials {
		t.Errorf("%v", err)
	}
	if err := sim.Break("smpp", simulator.Fault{Mode: simulator.OK}); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if _, err := l.ch.Send(t.Context(), contractMessage("k")); err != nil || time.Since(begin) > 4*time.Second {
		t.Errorf("after %v: %v", time.Since(begin), err)
	}
	l.stop()
	if _, err := l.ch.Send(t.Context(), contractMessage("k2")); err != nil {
		t.Errorf("when nobody listens any more: %v", err)
	}
}

// Where the line allows sending alone nobody listens, and the login says so.
func TestLineSwitchedOff(t *testing.T) {
	sim := startSimulator(t)
	s := lineSettings(t, sim, "smpp", "")
	s.SMS.Replies, s.SMS.Report = new(false), 0
	ch := make1(t, s)
	if ch.(Listener).Hears() {
		t.Error("it hears")
	}
	if err := sim.Reply("smpp", simulator.Telegram{Number: "13800000000", Text: "1234"}); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.Send(t.Context(), contractMessage("k")); err != nil {
		t.Error(err)
	}
	l := listen(t, lineSettings(t, sim, "smpp", "")) // the reply was not taken by the one that only sends
	if got := l.replies(t, 1); got[0].Text != "1234" {
		t.Errorf("heard %+v", got)
	}
}

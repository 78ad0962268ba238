package fleet

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/store"
	"xunjian/pkg/symptom"
)

// runFor starts Run and returns the function that stops it and waits.
func runFor(t *testing.T, r *Registry) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// watch is a fleet that runs in a bubble, with what it told.
type watch struct {
	*Registry
	t    *testing.T
	dir  string
	db   *store.DB
	stop func()

	mu   sync.Mutex
	told []symptom.Symptom
	err  error
}

// fails makes Observe fail, or work again.
func (w *watch) fails(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
}

// heard is what was told since said was last asked.
func (w *watch) heard() []symptom.Symptom {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.told)
}

func (w *watch) start() {
	w.t.Helper()
	r, err := New(w.db, Options{Dir: w.dir, Lang: "en", Observe: func(_ time.Time, s symptom.Symptom) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.err != nil {
			return w.err
		}
		w.told = append(w.told, s)
		return nil
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.Registry, w.stop = r, runFor(w.t, r)
}

// said is what was told since it was last asked, as "agent rule +" or "-".
func (w *watch) said() (out []string) {
	for _, s := range w.heard() {
		sign := " -"
		if s.Firing {
			sign = " +"
		}
		out = append(out, s.Component+" "+s.Rule+sign)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = nil
	return out
}

func (w *watch) want(what string, want ...string) {
	w.t.Helper()
	if got := w.said(); !slices.Equal(got, want) {
		w.t.Errorf("%s: told %q, want %q", what, got, want)
	}
}

// speak lets agents be heard every 10 s for d.
func (w *watch) speak(d time.Duration, agents ...string) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(10 * time.Second) {
		for _, a := range agents {
			w.Seen(time.Now(), a)
		}
	}
}

func inBubble(t *testing.T, fn func(w *watch)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		db, err := store.Open(filepath.Join(dir, "records.db"), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		w := &watch{t: t, dir: dir, db: db}
		w.start()
		defer func() { w.stop() }()
		enrol(t, w.Registry, "a")
		enrol(t, w.Registry, "b")
		fn(w)
	})
}

const (
	aSilent, aBack = "a AgentSilent +", "a AgentSilent -"
	bSilent, bBack = "b AgentSilent +", "b AgentSilent -"
)

func TestSilence(t *testing.T) {
	inBubble(t, func(w *watch) {
		w.speak(5*time.Minute, "a", "b")
		w.want("both speak")
		last := time.Now().Add(-10 * time.Second)
		w.speak(70*time.Second, "b")
		w.want("80 s of silence")
		w.speak(20*time.Second, "b")
		s := w.heard()[0]
		if s.Level != contract.General || s.Class != symptom.Silent || s.Source != symptom.FromFleet || !s.Since.Equal(last) || s.Key() != "silent/host/a/AgentSilent" {
			w.t.Errorf("symptom: %+v, last heard %v", s, last)
		}
		if got := s.At.Sub(last); got <= 90*time.Second || got > 90*time.Second+Look {
			w.t.Errorf("told %v after it was last heard", got)
		}
		w.want("past the limit", aSilent)
		w.speak(time.Hour, "b")
		w.want("an hour later")
		back := time.Now()
		w.speak(time.Minute, "a", "b")
		if s := w.heard()[0]; !s.Since.Equal(back) || s.Firing {
			w.t.Errorf("end: %+v, heard again %v", s, back)
		}
		w.want("heard again", aBack)
		w.speak(2*time.Minute, "b")
		w.want("silent again", aSilent)
	})
}

// An agent that was enrolled and never came is silent too.
func TestNeverHeard(t *testing.T) {
	inBubble(t, func(w *watch) {
		w.speak(2*time.Minute, "b")
		w.want("never heard", aSilent)
	})
}

func TestRestart(t *testing.T) {
	inBubble(t, func(w *watch) {
		w.speak(5*time.Minute, "b")
		w.want("a never spoke", aSilent)
		w.stop()
		time.Sleep(3 * time.Hour)
		w.start()
		time.Sleep(85 * time.Second)
		w.want("within the limit after the start")
		w.Seen(time.Now(), "a")
		time.Sleep(10 * time.Second)
		w.want("the old silence ends, the new one begins", aBack, bSilent)
		w.stop()
		w.start()
		time.Sleep(5 * time.Minute)
		w.want("b was told before the restart", aSilent)
		w.Seen(time.Now(), "b")
		time.Sleep(Look)
		w.want("b is heard", bBack)
	})
}

// A collector that stood still blames nobody.
func TestPause(t *testing.T) {
	inBubble(t, func(w *watch) {
		w.speak(time.Minute, "a", "b")
		synctest.Wait() // for the look of this very instant
		now := time.Now()
		w.Silent(now)
		if got := w.Silent(now.Add(10 * time.Minute)); len(got) != 0 {
			w.t.Errorf("after a stopped process: %+v", got)
		}
		now = now.Add(10 * time.Minute)
		for range 17 {
			now = now.Add(Look)
			if got := w.Silent(now); len(got) != 0 {
				w.t.Fatalf("within the limit after the pause: %+v", got)
			}
		}
		now = now.Add(3 * Look)
		if got := w.Silent(now); len(got) != 2 {
			w.t.Errorf("past the limit after the pause: %+v", got)
		}
	})
}

// A machine that was suspended sees its wall clock jump while its monotonic one did not move.
func TestSuspended(t *testing.T) {
	inBubble(t, func(w *watch) {
		w.Seen(time.Now(), "a")
		wall := time.Now().Round(0) // without a monotonic reading, differences are the wall's
		w.Silent(wall)
		if got := w.Silent(wall.Add(time.Hour)); len(got) != 0 {
			w.t.Errorf("after the jump: %+v", got)
		}
	})
}

func TestObserveIsAskedAgain(t *testing.T) {
	inBubble(t, func(w *watch) {
		w.fails(errors.New("disk is full"))
		w.speak(3*time.Minute, "b")
		w.want("nobody takes it")
		w.fails(nil)
		time.Sleep(Look)
		w.want("taken at last", aSilent)
		w.fails(errors.New("disk is full again"))
		w.speak(30*time.Second, "a", "b")
		w.fails(nil)
		time.Sleep(Look)
		w.want("the end too", aBack)
	})
}

func TestRevokedEndsSilence(t *testing.T) {
	inBubble(t, func(w *watch) {
		w.speak(2*time.Minute, "b")
		w.want("silent", aSilent)
		if err := w.Revoke(time.Now(), "a", "驻点", "gone"); err != nil {
			w.t.Fatal(err)
		}
		w.speak(5*time.Minute, "b")
		w.want("revoked", aBack)
	})
}

func TestSkew(t *testing.T) {
	inBubble(t, func(w *watch) {
		for _, step := range []struct {
			skew time.Duration
			want []string
		}{
			{5 * time.Second, nil},
			{-20 * time.Second, nil}, // it may have waited on its way
			{time.Millisecond, nil},
			{-9 * time.Second, nil},
			{-5100 * time.Millisecond, []string{"a AgentClockSkew +"}},
			{-9 * time.Second, nil},
			{4500 * time.Millisecond, nil}, // within the limit, not yet clearly
			{4 * time.Second, []string{"a AgentClockSkew -"}},
			{5 * time.Second, nil},
			{5100 * time.Millisecond, []string{"a AgentClockSkew +"}}, // nothing makes a clock look fast
			{-time.Millisecond, []string{"a AgentClockSkew -"}},
		} {
			w.Heard(time.Now(), "a", Info{Skew: step.skew})
			w.Seen(time.Now(), "b")
			time.Sleep(2 * Look)
			for _, s := range w.heard() {
				if s.Level != contract.Minor || s.Class != symptom.Warning {
					w.t.Errorf("symptom: %+v", s)
				}
			}
			w.want(step.skew.String(), step.want...)
		}
	})
}

// A look at 10,000 agents happens every few seconds, Seen at each message.
func BenchmarkTenThousand(b *testing.B) {
	r := newRegistry(b, Options{})
	now := time.Now()
	for i := range 10_000 {
		name := "agent-" + strconv.Itoa(i)
		r.agents[name] = &agent{identity: identity{Name: name}, mark: now}
	}
	b.Run("look", func(b *testing.B) {
		for b.Loop() {
			r.Silent(now)
		}
	})
	b.Run("seen", func(b *testing.B) {
		for b.Loop() {
			r.Seen(now, "agent-77")
		}
	})
	b.Run("persist", func(b *testing.B) {
		for b.Loop() {
			for name := range r.agents {
				r.Seen(now, name)
			}
			if err := r.persist(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// After a restart or a pause a large fleet comes back in turn: who has not had his turn is not silent, who has is, as ever.
func TestFleetComesBack(t *testing.T) {
	db := openStore(t, t.TempDir())
	const agents = 2000
	err := db.Update(func(tx *store.Tx) error {
		for i := range agents {
			name := "agent-" + strconv.Itoa(i)
			if err := agentTable.Put(tx, name, identity{Name: name}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(db, Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	limit, now := r.cfg.Silence, time.Now()
	look := func(until time.Time) (told int) {
		for ; now.Before(until); now = now.Add(Look) {
			told += len(r.Silent(now))
		}
		return told
	}
	start := now
	r.Seen(now, "agent-7") // is back, and gone again
	if n := look(start.Add(limit + 2*Look)); n != 1 {
		t.Errorf("%d silent at the limit, want the one that was heard", n)
	}
	if n := look(start.Add(limit + 18*time.Second)); n != 0 {
		t.Errorf("%d silent while the fleet may still be coming back", n)
	}
	if n := look(start.Add(limit + time.Minute)); n != agents-1 {
		t.Errorf("%d silent after that, want all others", n)
	}
	for i := range agents {
		r.Seen(now, "agent-"+strconv.Itoa(i))
	}
	r.Silent(now)
	now = now.Add(time.Hour) // suspended
	start = now
	if n := look(start.Add(limit + 15*time.Second)); n != 0 {
		t.Errorf("%d silent soon after a pause", n)
	}
}

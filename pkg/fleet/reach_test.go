package fleet

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/symptom"
)

// world answers for hosts, and keeps who was tried.
type world struct {
	mu    sync.Mutex
	hosts map[string]Reach
	tried []string
}

func (w *world) reach(_ context.Context, a Agent) Reach {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tried = append(w.tried, a.Name)
	return w.hosts[a.Name]
}

func (w *world) set(name string, r Reach) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts[name] = r
}

func (w *world) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.tried)
}

// withWorld is a fleet whose hosts can be tried.
func withWorld(t *testing.T, c Config, fn func(w *watch, hosts *world)) {
	inBubble(t, func(w *watch) {
		hosts := &world{hosts: map[string]Reach{}}
		w.Registry.mu.Lock()
		w.Registry.reach, w.Registry.cfg = hosts.reach, c.withDefaults()
		w.Registry.mu.Unlock()
		fn(w, hosts)
	})
}

// A silent agent is minor while its host answers, urgent when its host is gone, general when another host stands in, and of
// the configured level when nobody can tell (DOMAIN 4.1).
func TestReachGrades(t *testing.T) {
	pair := Config{Agents: []Labelled{{Name: "a", Redundant: "oa"}, {Name: "b", Redundant: "oa"}}}
	apart := Config{Agents: []Labelled{{Name: "a", Redundant: "oa"}, {Name: "b", Redundant: "db"}}}
	for name, c := range map[string]struct {
		c    Config
		host Reach
		want contract.Level
	}{
		"host answers":        {Config{}, Alive, contract.Minor},
		"host is gone":        {Config{}, Gone, contract.Urgent},
		"its twin is well":    {pair, Gone, contract.General},
		"no twin of its own":  {apart, Gone, contract.Urgent},
		"nobody can tell":     {Config{}, Unclear, contract.General},
		"twin, host answers":  {pair, Alive, contract.Minor},
		"level of the config": {Config{SilenceLevel: contract.Minor}, Unclear, contract.Minor},
	} {
		t.Run(name, func(t *testing.T) {
			withWorld(t, c.c, func(w *watch, hosts *world) {
				hosts.set("a", c.host)
				w.speak(time.Minute, "a", "b")
				w.speak(100*time.Second, "b")
				told := w.heard()
				if len(told) != 1 || told[0].Level != c.want || told[0].Class != symptom.Silent || !told[0].Firing {
					t.Fatalf("told %+v, want %s", told, c.want)
				}
				if a := w.Agents()[0]; a.Host != c.host {
					t.Errorf("the list says %q", a.Host)
				}
				w.speak(20*time.Second, "a", "b")
				if got := w.heard(); len(got) != 2 || got[1].Firing {
					t.Errorf("its end: %+v", got)
				}
				if a := w.Agents()[0]; a.Host != Unclear || a.Silent {
					t.Errorf("after its end the list says %+v", a)
				}
			})
		})
	}
}

// While the silence lasts its host is tried again each minute, and told again only when things have got worse.
func TestReachAgain(t *testing.T) {
	withWorld(t, Config{Agents: []Labelled{{Name: "a", Redundant: "x"}, {Name: "b", Redundant: "x"}}}, func(w *watch, hosts *world) {
		hosts.set("a", Alive)
		hosts.set("b", Gone)
		w.speak(time.Minute, "a", "b")
		w.speak(3*time.Minute, "b")
		w.want("only the agent", aSilent)
		if n := hosts.count(); n < 2 || n > 4 {
			t.Errorf("tried %d times in 3 minutes", n)
		}
		hosts.set("a", Gone)
		w.speak(2*time.Minute, "b")
		worse := w.heard()
		if len(worse) != 1 || worse[0].Level != contract.General || worse[0].Key() != "silent/host/a/AgentSilent" {
			t.Fatalf("worse: %+v", worse)
		}
		n := hosts.count()
		w.said()
		w.speak(80 * time.Second)
		if hosts.count() != n {
			t.Error("a host that is gone is tried for ever")
		}
		time.Sleep(time.Minute) // the twin is gone as well: nothing stands in any more
		levels := []contract.Level{}
		for _, s := range w.heard() {
			levels = append(levels, s.Level)
		}
		if !slices.Equal(levels, []contract.Level{contract.Urgent, contract.Urgent}) {
			t.Errorf("once the twin is gone too: %v", levels)
		}
	})
}

// Hosts that hang hold nobody up: the fleet is looked after, and silences are told.
func TestReachHangs(t *testing.T) {
	withWorld(t, Config{}, func(w *watch, _ *world) {
		w.Registry.mu.Lock()
		w.Registry.reach = func(ctx context.Context, _ Agent) Reach {
			<-ctx.Done()
			return Unclear
		}
		w.Registry.mu.Unlock()
		w.speak(time.Minute, "a", "b")
		w.speak(110*time.Second, "b")
		w.want("told although the try hangs", aSilent)
		w.speak(20*time.Second, "a", "b")
		w.want("and heard again", aBack)
	})
}

// More agents than can be tried at once are told all the same, each within its patience.
func TestReachMany(t *testing.T) {
	withWorld(t, Config{}, func(w *watch, hosts *world) {
		for i := range 3 * tries {
			enrol(t, w.Registry, "n"+string(rune('a'+i/26))+string(rune('a'+i%26)))
		}
		time.Sleep(3 * time.Minute)
		if n := len(w.heard()); n != 3*tries+2 {
			t.Errorf("%d silences told, want %d", n, 3*tries+2)
		}
		if hosts.count() < 3*tries {
			t.Errorf("only %d hosts were tried", hosts.count())
		}
	})
}

package fleet

import (
	"strings"
	"testing"
	"time"

	"xunjian/pkg/contract"
)

// leave lets a take its leave after a minute of talk, by the signal of a service manager.
func (w *watch) leave() {
	w.t.Helper()
	w.speak(time.Minute, "a", "b")
	w.Leaves(time.Now(), "a", "SIGTERM")
}

// An agent that is started again within the grace is no incident, whatever was found of its host, and nothing of its leave stays.
func TestRestartOnPurpose(t *testing.T) {
	withWorld(t, Config{}, func(w *watch, hosts *world) {
		hosts.set("a", Alive)
		w.leave()
		if a := w.Agents()[0]; a.State() != "stopped" || a.LeftBy != "SIGTERM" || a.LeftAt.IsZero() {
			t.Errorf("after its leave: %+v", a)
		}
		w.speak(115*time.Second, "b")
		w.want("within the grace")
		w.speak(time.Minute, "a", "b")
		w.want("started again")
		if a := w.Agents()[0]; a.State() != "heard" || !a.LeftAt.IsZero() || a.Host != Unclear {
			t.Errorf("started again: %+v", a)
		}
		w.speak(2*time.Minute, "b") // and then killed
		w.want("killed", aSilent)
	})
}

// What is not started again was stopped: minor where the host answers or nobody can tell.
func TestStoppedOnPurpose(t *testing.T) {
	for _, host := range []Reach{Alive, Unclear} {
		withWorld(t, Config{}, func(w *watch, hosts *world) {
			w.Registry.zone = time.FixedZone("CST", 8*3600)
			hosts.set("a", host)
			w.leave()
			left := time.Now()
			w.speak(110*time.Second, "b")
			w.want("within the grace")
			w.speak(20*time.Second, "b")
			told := w.heard()
			if len(told) != 1 || told[0].Level != contract.Minor || told[0].Key() != "silent/host/a/AgentSilent" || !told[0].Since.Equal(left) {
				t.Fatalf("host %q: told %+v", host, told)
			}
			if want := "stopped on purpose at " + left.In(w.Registry.zone).Format("15:04") + " by signal SIGTERM"; !strings.Contains(told[0].Detail, want) {
				t.Errorf("host %q: %q does not say %q", host, told[0].Detail, want)
			}
			w.speak(20*time.Second, "a", "b")
			w.want("started again", aSilent, aBack)
		})
	}
}

// A host that goes down after its agent's leave, or while that is stopped, is told as if nothing had been said.
func TestGoodbyeExcusesNoHost(t *testing.T) {
	withWorld(t, Config{}, func(w *watch, hosts *world) {
		hosts.set("a", Gone)
		w.leave()
		w.speak(100*time.Second, "b")
		told := w.heard()
		if len(told) != 1 || told[0].Level != contract.Urgent || !strings.Contains(told[0].Detail, "does not answer") || !strings.Contains(told[0].Detail, "signal SIGTERM") {
			t.Fatalf("a host that went down with its agent: %+v", told)
		}
		if s := w.Agents()[0].State(); s != "silent" {
			t.Errorf("its state is %q", s)
		}
	})
	withWorld(t, Config{}, func(w *watch, hosts *world) {
		hosts.set("a", Alive)
		w.leave()
		w.speak(3*time.Minute, "b")
		w.want("stopped", aSilent)
		hosts.set("a", Gone)
		w.speak(80*time.Second, "b")
		if told := w.heard(); len(told) != 1 || told[0].Level != contract.Urgent {
			t.Errorf("the host went down while its agent was stopped: %+v", told)
		}
	})
}

// A leave outlives a kill of the collector, and one that stands in for another is not there while it is stopped.
func TestGoodbyeIsKept(t *testing.T) {
	pair := Config{Agents: []Labelled{{Name: "a", Redundant: "oa"}, {Name: "b", Redundant: "oa"}}}
	withWorld(t, pair, func(w *watch, hosts *world) {
		w.leave()
		time.Sleep(2 * Look)
		again, err := New(w.db, Options{Dir: w.dir}) // reads what a killed one would leave
		if err != nil {
			t.Fatal(err)
		}
		if a := again.Agents()[0]; a.State() != "stopped" || a.LeftBy != "SIGTERM" {
			t.Errorf("after a kill: %+v", a)
		}
		hosts.set("b", Gone)
		time.Sleep(100 * time.Second)
		if told := w.heard(); len(told) != 1 || told[0].Component != "b" || told[0].Level != contract.Urgent {
			t.Errorf("its twin is stopped: %+v", told)
		}
	})
}

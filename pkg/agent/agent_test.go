package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/metric"
	"xunjian/pkg/uplink"
)

// bubble is a test in fake time with a collector and an agent's state folder.
func bubble(t *testing.T, fn func(t *testing.T, r *rig, state string)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		fn(t, r, filepath.Join(t.TempDir(), "state"))
		r.down()
	})
}

// onGrid wants one round for each tick of the interval, without a hole and without a double.
func onGrid(t *testing.T, what string, at []time.Time, every time.Duration, least int) {
	t.Helper()
	if len(at) < least {
		t.Errorf("%s: %d times, want at least %d", what, len(at), least)
	}
	for i := 1; i < len(at); i++ {
		if step := at[i].Sub(at[i-1]); step != every {
			t.Errorf("%s: %v from tick %d to the next, want %v", what, step, i-1, every)
		}
	}
}

func times(rounds []check.Result) (out []time.Time) {
	for _, r := range rounds {
		out = append(out, r.At)
	}
	return out
}

func stamps(reports []metric.Report) (out []time.Time) {
	for _, r := range reports {
		out = append(out, r.At)
	}
	return out
}

// A new plan starts what is new, stops what is gone, restarts what changed, and leaves alone what stays, even in the
// middle of a round.
func TestPlanChanges(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig, state string) {
		r.slow = time.Second
		r.plans.set(0, tcp("a", 0), tcp("b", 0))
		_, stop := r.start(state, r.token("host-1"))
		time.Sleep(45 * time.Second)
		onGrid(t, "a", times(r.inbox.rounds("a")), 10*time.Second, 4)
		onGrid(t, "b", times(r.inbox.rounds("b")), 10*time.Second, 4)

		rounds := r.inbox.rounds("b")
		time.Sleep(time.Until(rounds[len(rounds)-1].At.Add(10*time.Second + 500*time.Millisecond))) // within the next round
		r.plans.set(0, tcp("b", 0), tcp("c", 0))
		time.Sleep(10 * time.Second)
		gone := len(r.inbox.rounds("a"))
		time.Sleep(40 * time.Second)
		if n := len(r.inbox.rounds("a")); n != gone {
			t.Errorf("a ran %d times after it left the plan", n-gone)
		}
		onGrid(t, "b", times(r.inbox.rounds("b")), 10*time.Second, 9)
		onGrid(t, "c", times(r.inbox.rounds("c")), 10*time.Second, 4)

		r.plans.set(0, tcp("b", 5*time.Second))
		time.Sleep(6 * time.Second)
		r.inbox.forget()
		time.Sleep(60 * time.Second)
		onGrid(t, "b each 5 s", times(r.inbox.rounds("b")), 5*time.Second, 11)
		for _, res := range r.inbox.rounds("b") {
			if res.Outcome() != check.OK {
				t.Errorf("%s is %s: %s", res.Check, res.Outcome(), res.First().Reason)
			}
		}
		if n := len(r.inbox.rounds("c")) + len(r.inbox.rounds("a")); n != 0 {
			t.Errorf("%d rounds of checks that are not in the plan", n)
		}
		r.plans.set(0)
		time.Sleep(6 * time.Second)
		r.inbox.forget()
		time.Sleep(time.Minute)
		if n := len(r.inbox.rounds("b")); n != 0 {
			t.Errorf("%d rounds with an empty plan", n)
		}
		stop()
	})
}

// However often and whenever plans come, what they agree on is done at each tick once.
func TestPlanStorm(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig, state string) {
		r.plans.set(time.Second, tcp("a", time.Second), tcp("b", time.Second))
		a, stop := r.start(state, r.token("host-1"))
		time.Sleep(5 * time.Second)
		for i := range 1500 { // each millisecond, so that some come with the tick itself
			a.offer(check.Plan{Revision: "storm", HostEvery: time.Second, Checks: []check.Spec{tcp("a", time.Second), tcp("b", time.Duration(2+i%3)*time.Second)}})
			time.Sleep(time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		onGrid(t, "host", stamps(r.inbox.kind("host")), time.Second, 11)
		onGrid(t, "a", times(r.inbox.rounds("a")), time.Second, 11)
		if n := a.schedule.Missed(); n != 0 {
			t.Errorf("%d ticks missed", n)
		}
		stop()
	})
}

// An agent that starts while the collector is away goes on by the plan of its last run, and delivers when it can.
func TestHeldPlan(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig, state string) {
		r.plans.set(10*time.Second, tcp("a", 0))
		_, stop := r.start(state, r.token("host-1"))
		time.Sleep(30 * time.Second)
		stop()
		r.down()
		r.inbox.forget()

		began := time.Now()
		_, stop = r.start(state, "")
		time.Sleep(5 * time.Minute)
		r.up()
		time.Sleep(2 * time.Minute)
		onGrid(t, "a", sorted(times(r.inbox.rounds("a"))), 10*time.Second, 40)
		host := sorted(stamps(r.inbox.kind("host")))
		onGrid(t, "host", host, 10*time.Second, 40)
		if len(host) > 0 && host[0].Sub(began) > 10*time.Second {
			t.Errorf("first reading %v after the start", host[0].Sub(began))
		}
		stop()
	})
}

func sorted(at []time.Time) []time.Time {
	for i := range at {
		for j := i; j > 0 && at[j].Before(at[j-1]); j-- {
			at[j], at[j-1] = at[j-1], at[j]
		}
	}
	return at
}

// A plan file that cannot be read is as good as none: the collector's plan comes anew.
func TestDamagedPlanFile(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "torn": `{"revision":"x","che`, "another kind": `[1,2]`, "null": "null",
		"a plan nobody makes": `{"revision":"x","host_every":-5,"checks":[{"name":"z","kind":"tcp","every":-1},{"kind":"http","every":1},{}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig, state string) {
				r.plans.set(time.Second, tcp("a", 0))
				a, stop := r.start(state, r.token("host-1"))
				stop()
				if err := os.WriteFile(a.o.planFile(), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
				_, stop = r.start(state, "")
				time.Sleep(30 * time.Second)
				if len(r.inbox.rounds("a")) < 2 {
					t.Error("the check does not run")
				}
				stop()
			})
		})
	}
}

// A check that this agent does not know, or whose interval makes no sense, is a gap that is told; the others run on.
func TestUnknownKind(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig, state string) {
		r.plans.set(time.Microsecond, tcp("a", 0),
			check.Spec{Name: "future", Service: "sms", Kind: "telepathy", Target: "x", Every: 10 * time.Second},
			check.Spec{Name: "zero", Service: "sms", Kind: "carrier-pigeon"},
			check.Spec{Name: "negative", Service: "sms", Kind: "", Every: -time.Second},
			check.Spec{Name: "broken", Service: "sms", Kind: "http", Target: "::", Every: 10 * time.Second})
		_, stop := r.start(state, r.token("host-1"))
		time.Sleep(25 * time.Second)
		onGrid(t, "a", times(r.inbox.rounds("a")), 10*time.Second, 2)
		for _, name := range []string{"future", "zero", "negative", "broken"} {
			rounds := r.inbox.rounds(name)
			if len(rounds) < 2 || rounds[0].Outcome() != check.Unknown || rounds[0].First().Class != check.ClassSetup || rounds[0].First().Reason == "" {
				t.Errorf("%s: %+v", name, rounds)
			}
		}
		if n := len(r.inbox.kind("host")); n == 0 || n > 250 {
			t.Errorf("%d readings of the host in 25 s", n)
		}
		stop()
	})
}

// What the collector has not acknowledged when the agent stops is sent after its next start.
func TestShutdownSpools(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig, state string) {
		r.plans.set(time.Second, tcp("a", 0))
		_, stop := r.start(state, r.token("host-1"))
		time.Sleep(10 * time.Second)
		heard := len(r.inbox.kind("host"))
		r.inbox.setDeaf(true)
		r.inbox.forget()
		time.Sleep(5 * time.Second)
		deafSince := time.Now().Add(-5 * time.Second)
		stop()
		stopped := time.Now()
		if heard == 0 || len(r.inbox.kind("host")) != 0 {
			t.Fatal("the rig does not do what it should")
		}
		r.inbox.setDeaf(false)
		time.Sleep(time.Minute)
		_, stop = r.start(state, "")
		time.Sleep(5 * time.Second)
		var old []time.Time
		for _, at := range sorted(stamps(r.inbox.kind("host"))) {
			if at.After(deafSince) && !at.After(stopped) {
				old = append(old, at)
			}
		}
		onGrid(t, "readings before the stop", old, time.Second, 5)
		stop()
	})
}

// A reading that is under way when the agent stops reaches the spool: the uplink ends after the jobs.
func TestLastReading(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig, state string) {
		a, stop := r.start(state, r.token("host-1"))
		time.Sleep(time.Second)
		a.schedule.start(context.Background(), job{name: "slow", every: time.Second, run: func(_ context.Context, tick time.Time) {
			time.Sleep(20 * time.Second)
			a.client.Send(uplink.Batch{Reports: []metric.Report{{Kind: "host", Every: time.Second, At: tick, Samples: []metric.Sample{{Series: metric.New("test_last")}}}}}, false)
		}})
		time.Sleep(2 * time.Second)
		a.schedule.stop("slow")
		stop()
		_, stop = r.start(state, "")
		time.Sleep(10 * time.Second)
		if n := len(r.inbox.kind("host")); n != 1 {
			t.Errorf("%d readings arrived, want the last one", n)
		}
		stop()
	})
}

// Each reason for which an agent cannot start names what is wrong and the remedy; none uses up a token.
func TestNewRefuses(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig, state string) {
		used, good := r.token("host-1"), r.token("host-1")
		_, stop := r.start(state, used)
		write := func(name, content string) string {
			t.Helper()
			file := filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			return file
		}
		file := write("file", "x")
		damaged := filepath.Dir(write("identity.pem", "-----BEGIN JUNK-----"))
		noSpool := filepath.Dir(write("spool", "a file where the folder should be"))
		revoked := r.token("host-1")
		id, _, _ := strings.Cut(strings.TrimPrefix(revoked, "xj1."), ".")
		if _, err := r.fleet.RevokeToken(time.Now(), id, "tester"); err != nil {
			t.Fatal(err)
		}
		other := newRig(t)
		otherToken := other.token("host-1")
		other.down()
		for _, c := range []struct {
			what, state, token, say string
		}{
			{"no token", t.TempDir(), "", "collector token create"},
			{"used token", t.TempDir(), used, "this token has been used: make a new one on the collector"},
			{"revoked token", t.TempDir(), revoked, "revoked: make a new one"},
			{"torn token", t.TempDir(), good[:len(good)-7], "token"},
			{"another collector's token", t.TempDir(), otherToken, "check the address, or make a new token on this collector"},
			{"state is a file", file, good, "make state folder: mkdir " + file},
			{"state below a file", filepath.Join(file, "below"), good, file},
			{"damaged identity", damaged, good, "restore it, or remove it and enrol with a new token"},
			{"no room for the spool", noSpool, good, noSpool},
			{"another agent on the state", state, good, "spool"},
		} {
			a, err := New(t.Context(), r.options(c.state, c.token))
			if err == nil {
				t.Errorf("%s: started as %s", c.what, a.Name())
				continue
			}
			if !strings.Contains(err.Error(), c.say) || strings.Count(err.Error(), "enrol at") > 1 || c.token != "" && strings.Contains(err.Error(), c.token) {
				t.Errorf("%s: %v", c.what, err)
			}
		}
		missing := r.options(t.TempDir(), "")
		missing.TokenFile = filepath.Join(t.TempDir(), "none")
		if _, err := New(t.Context(), missing); err == nil || !strings.Contains(err.Error(), missing.TokenFile) {
			t.Errorf("missing token file: %v", err)
		}
		stop()
		byFile := r.options(t.TempDir(), "")
		byFile.TokenFile = write("token", " "+good+"\n")
		a, err := New(t.Context(), byFile)
		if err != nil || a.Name() != "host-1" {
			t.Fatalf("the token was used up by a start that failed: %v", err)
		}
		if err := a.queue.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestValidate(t *testing.T) {
	good := DefaultConfig()
	good.Collector = "10.0.0.5:9481"
	for want, change := range map[string]func(*Config){
		"":         func(*Config) {},
		"(v6)":     func(c *Config) { c.Collector = "[::1]:9481" },
		"(a name)": func(c *Config) { c.Collector = "ops.example.org:9481" },
		"collector: missing: give the collector's address as 10.0.0.5:9481":                                                   func(c *Config) { c.Collector = "" },
		`collector: "10.0.0.5" is not host:port`:                                                                              func(c *Config) { c.Collector = "10.0.0.5" },
		`collector: "10.0.0.5:" is not host:port`:                                                                             func(c *Config) { c.Collector = "10.0.0.5:" },
		`collector: ":9481" is not host:port`:                                                                                 func(c *Config) { c.Collector = ":9481" },
		`collector: "https://ops:9481" is not host:port`:                                                                      func(c *Config) { c.Collector = "https://ops:9481" },
		"state: missing: give a folder that the agent may write":                                                              func(c *Config) { c.State = "" },
		`name: "a b" cannot be an agent's name: want letters, digits and . _ -, at most 63, beginning with a letter or digit`: func(c *Config) { c.Name = "a b" },
		"spool.max_bytes: 1: want at least 1048576":                                                                           func(c *Config) { c.Spool.MaxBytes = 1 },
		"spool.max_age: 1s: want at least 1m":                                                                                 func(c *Config) { c.Spool.MaxAge = time.Second },
		"collector: missing: give the collector's address as 10.0.0.5:9481 | state: missing: give a folder that the agent may write | spool.max_bytes: 0: want at least 1048576 | spool.max_age: 0s: want at least 1m": func(c *Config) { *c = Config{} },
	} {
		c := good
		change(&c)
		var got []string
		c.Validate(func(path, format string, args ...any) { got = append(got, path+": "+fmt.Sprintf(format, args...)) })
		if text := strings.Join(got, " | "); text != want && !(strings.HasPrefix(want, "(") && text == "") {
			t.Errorf("got  %s\nwant %s", text, want)
		}
	}
}

// The plan file holds what is in force, so that the next start finds it.
func TestPlanFile(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig, state string) {
		r.plans.set(time.Minute, tcp("a", 0))
		a, stop := r.start(state, r.token("host-1"))
		time.Sleep(time.Second)
		b, err := os.ReadFile(a.o.planFile())
		if err != nil {
			t.Fatal(err)
		}
		var held check.Plan
		if err := json.Unmarshal(b, &held); err != nil || held.Revision != r.plans.plan.Revision || len(held.Checks) != 1 {
			t.Errorf("kept %s (%v)", b, err)
		}
		if st, err := os.Stat(a.o.planFile()); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v: a plan may hold headers with secrets", st.Mode(), err)
		}
		stop()
	})
}

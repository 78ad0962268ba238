package inspect

import (
	"strings"
	"testing"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/i18n"
	"xunjian/pkg/symptom"
)

var (
	sealing = check.Service{Name: "signature", ZH: "签章服务", EN: "Signature", Key: true}
	spec    = check.Spec{Name: "sign", Service: "signature", Kind: "http", Every: 10 * time.Second, Timeout: 2 * time.Second, Slow: time.Second}
	t0      = time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC)
)

// rig plays rounds of one check on a 10 s grid.
type rig struct {
	*testing.T
	b   *Board
	now time.Time
	got []symptom.Symptom
}

func newRig(t *testing.T, services ...check.Service) *rig {
	if services == nil {
		services = []check.Service{sealing}
	}
	return &rig{T: t, b: New("en", DefaultConfig(), services, []check.Spec{spec}), now: t0}
}

func attempt(o check.Outcome, class check.Class, d time.Duration, at time.Time) check.Attempt {
	return check.Attempt{Start: at, Duration: d, Outcome: o, Class: class, Reason: "seen"}
}

func (r *rig) round(agent string, first check.Attempt, more ...check.Attempt) []symptom.Symptom {
	first.Start = r.now
	out := r.b.Observe(r.now.Add(time.Second), agent, check.Result{Check: "sign", Service: "signature", At: r.now, Attempts: append([]check.Attempt{first}, more...)})
	r.got = append(r.got, out...)
	return out
}

func (r *rig) step() { r.now = r.now.Add(spec.Every) }

func (r *rig) ok(agent string) []symptom.Symptom {
	return r.round(agent, attempt(check.OK, "", 50*time.Millisecond, r.now))
}

func (r *rig) bad(agent string, class check.Class) []symptom.Symptom {
	a := attempt(check.Fail, class, time.Millisecond, r.now)
	return r.round(agent, a, a, a)
}

func (r *rig) blip(agent string) []symptom.Symptom {
	fine := attempt(check.OK, "", time.Millisecond, r.now)
	return r.round(agent, attempt(check.Fail, check.ClassStatus, time.Millisecond, r.now), fine, fine)
}

func (r *rig) slow(agent string, d time.Duration) []symptom.Symptom {
	a := attempt(check.Slow, "", d, r.now)
	return r.round(agent, a, a, a)
}

func (r *rig) want(got []symptom.Symptom, class symptom.Class, level contract.Level, firing bool) symptom.Symptom {
	r.Helper()
	if len(got) != 1 {
		r.Fatalf("at %v: %d symptoms, want one: %+v", r.now.Sub(t0), len(got), got)
	}
	if s := got[0]; s.Class != class || s.Level != level || s.Firing != firing {
		r.Fatalf("at %v: %s %s firing=%v, want %s %s %v", r.now.Sub(t0), s.Class, s.Level, s.Firing, class, level, firing)
	}
	return got[0]
}

func (r *rig) none(got []symptom.Symptom) {
	r.Helper()
	if len(got) != 0 {
		r.Fatalf("at %v: unexpected %+v", r.now.Sub(t0), got)
	}
}

func (r *rig) state(want State) {
	r.Helper()
	if got := r.b.Services(r.now.Add(time.Second))[0].State; got != want {
		r.Fatalf("at %v: state %s, want %s", r.now.Sub(t0), got, want)
	}
}

func TestConfirmedFailureIsToldAtOnce(t *testing.T) {
	r := newRig(t)
	r.state(Unknown)
	r.none(r.ok("a"))
	r.state(OK)
	r.step()
	s := r.want(r.bad("a", check.ClassConnect), symptom.Down, contract.Urgent, true)
	if !s.Since.Equal(r.now) || len(s.Evidence) != 3 || s.Key() != "service/signature" {
		t.Errorf("since %v, evidence %d, key %s", s.Since, len(s.Evidence), s.Key())
	}
	r.step()
	r.none(r.bad("a", check.ClassConnect)) // told once
	r.step()
	from := r.now
	r.none(r.ok("a")) // one good round ends nothing
	r.step()
	s = r.want(r.ok("a"), symptom.Down, contract.Urgent, false)
	if !s.Since.Equal(from) {
		t.Errorf("good since %v, want the first good round %v", s.Since, from)
	}
	r.state(OK)
}

func TestOneFailedRequestIsNothing(t *testing.T) {
	r := newRig(t)
	for range 30 {
		r.none(r.ok("a"))
		r.step()
		r.none(r.blip("a"))
		r.step()
		r.none(r.ok("a"))
		r.step()
	}
	r.state(OK)
}

func TestSporadicFailureIsPartial(t *testing.T) {
	r := newRig(t)
	r.none(r.blip("a"))
	start := r.now
	r.step()
	r.none(r.ok("a"))
	r.step()
	r.none(r.blip("a"))
	r.step()
	s := r.want(r.blip("a"), symptom.Partial, contract.General, true)
	if !s.Since.Equal(start) {
		t.Errorf("since %v, want the first bad answer %v", s.Since, start)
	}
	r.state(Partial)
}

func TestClasses(t *testing.T) {
	for class, want := range map[check.Class]symptom.Class{
		check.ClassConnect: symptom.Down, check.ClassDNS: symptom.Down, check.ClassTLS: symptom.Down, check.ClassReset: symptom.Down,
		check.ClassStatus: symptom.Down, check.ClassContent: symptom.Wrong, check.ClassTimeout: symptom.Unusable, check.ClassAuth: symptom.Partial,
	} {
		r := newRig(t)
		r.none(r.ok("a")) // worked before, or refused credentials prove nothing
		r.step()
		r.want(r.bad("a", class), want, DefaultConfig().Levels[want], true)
	}
	r := newRig(t, check.Service{Name: "signature"})
	r.want(r.bad("a", check.ClassConnect), symptom.Down, contract.General, true) // not a key service
}

func TestSlownessHasHysteresis(t *testing.T) {
	r := newRig(t)
	r.none(r.ok("a"))
	r.step()
	r.want(r.slow("a", 1500*time.Millisecond), symptom.Slow, contract.General, true)
	r.step()
	for range 100 { // below the threshold but above 80 % of it: not over
		r.none(r.round("a", attempt(check.OK, "", 900*time.Millisecond, r.now)))
		r.step()
	}
	r.state(Slow)
	calm := r.now
	for r.now.Sub(calm) < 10*time.Minute {
		r.none(r.ok("a"))
		r.step()
	}
	s := r.want(r.ok("a"), symptom.Slow, contract.General, false)
	if !s.Since.Equal(calm) {
		t.Errorf("over since %v, want %v", s.Since, calm)
	}
}

func TestSlowThenDownGetsWorse(t *testing.T) {
	r := newRig(t)
	r.want(r.slow("a", 1500*time.Millisecond), symptom.Slow, contract.General, true)
	r.step()
	r.want(r.bad("a", check.ClassTimeout), symptom.Unusable, contract.Urgent, true)
}

func TestOneVantageOfTwoIsPartial(t *testing.T) {
	r := newRig(t)
	r.none(r.ok("a"))
	r.none(r.ok("b"))
	r.step()
	r.want(r.bad("a", check.ClassConnect), symptom.Partial, contract.General, true)
	r.want(r.bad("b", check.ClassConnect), symptom.Down, contract.Urgent, true)
}

func TestUnknownIsNeitherUpNorDown(t *testing.T) {
	r := newRig(t)
	r.none(r.ok("a"))
	r.now = r.now.Add(time.Hour)
	r.none(r.b.Tick(r.now)) // silence is the fleet's to tell
	r.state(Unknown)
	gap := attempt(check.Unknown, check.ClassSetup, 0, r.now)
	r.none(r.round("a", gap))
	r.step()
	r.none(r.round("a", gap))
	r.step()
	s := r.want(r.round("a", gap), symptom.Unknown, contract.Minor, true)
	if s.Key() == "service/signature" {
		t.Error("a gap must not share the service's incident")
	}
	r.step()
	r.want(r.ok("a"), symptom.Unknown, contract.Minor, false)
}

func TestUnknownDoesNotEndAFault(t *testing.T) {
	r := newRig(t)
	r.want(r.bad("a", check.ClassConnect), symptom.Down, contract.Urgent, true)
	for range 5 {
		r.step()
		for _, s := range r.round("a", attempt(check.Unknown, check.ClassSetup, 0, r.now)) {
			if s.Source == symptom.FromProbe {
				t.Fatalf("told %+v", s)
			}
		}
	}
}

// A recovery is not certain while nobody looks: the gap is told, so that its verification begins anew.
func TestSilenceAfterAFaultIsTold(t *testing.T) {
	r := newRig(t)
	r.want(r.bad("a", check.ClassConnect), symptom.Down, contract.Urgent, true)
	r.step()
	r.none(r.ok("a"))
	r.step()
	r.want(r.ok("a"), symptom.Down, contract.Urgent, false)
	r.now = r.now.Add(time.Minute)
	r.want(r.b.Tick(r.now), symptom.Unknown, contract.Minor, true)
	r.none(r.b.Tick(r.now.Add(time.Second)))
	r.step()
	if got := r.ok("a"); len(got) != 2 || got[1].Run.Good != 1 { // and samples are counted anew
		r.Errorf("told %+v", got)
	} else {
		r.want(got[:1], symptom.Unknown, contract.Minor, false)
	}
}

func TestOldRoundsChangeNothing(t *testing.T) {
	r := newRig(t)
	r.none(r.ok("a"))
	fail := attempt(check.Fail, check.ClassConnect, 0, r.now.Add(-time.Minute))
	old := check.Result{Check: "sign", At: r.now.Add(-time.Minute), Attempts: []check.Attempt{fail, fail, fail}}
	r.none(r.b.Observe(r.now.Add(2*time.Second), "a", old))
	r.none(r.b.Observe(r.now.Add(2*time.Second), "fresh-agent", old)) // from a spool: it says nothing of now
	same := old
	same.At = r.now
	r.none(r.b.Observe(r.now.Add(2*time.Second), "a", same)) // the same tick twice
}

func TestRestoreEndsWhatFiredBefore(t *testing.T) {
	r := newRig(t)
	r.b.Restore(symptom.Symptom{Source: symptom.FromProbe, Service: "signature", Class: symptom.Down, Level: contract.Urgent, Firing: true})
	r.step()
	got := r.ok("a")
	r.step()
	r.want(append(got, r.ok("a")...), symptom.Down, contract.Urgent, false)
}

func TestConfigureKeepsWhatIsKnown(t *testing.T) {
	r := newRig(t)
	r.want(r.bad("a", check.ClassConnect), symptom.Down, contract.Urgent, true)
	r.b.Configure(DefaultConfig(), []check.Service{sealing, {Name: "sms"}}, []check.Spec{spec})
	r.state(Down)
	r.step()
	r.none(r.bad("a", check.ClassConnect))
	r.b.Configure(DefaultConfig(), []check.Service{sealing}, nil)
	if got := r.b.Services(r.now); len(got) != 1 || len(got[0].Checks) != 0 {
		t.Errorf("a removed check is still there: %+v", got)
	}
}

func TestConfigValidate(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"sporadic_bad":     func(c *Config) { c.SporadicBad = 9 },
		"recover_after":    func(c *Config) { c.RecoverAfter = 0 },
		"slow_recover":     func(c *Config) { c.SlowRecover = 1.5 },
		"slow_usual":       func(c *Config) { c.SlowUsual = 0.5 },
		"slow_usual_floor": func(c *Config) { c.SlowUsualFloor = -1 },
		"slow_usual_days":  func(c *Config) { c.SlowUsualDays = 93 },
		"slow_usual_least": func(c *Config) { c.SlowUsualLeast = 15 },
		"stale_after":      func(c *Config) { c.StaleAfter = 1 },
		"levels.down":      func(c *Config) { c.Levels = map[symptom.Class]contract.Level{"down": "grave"} },
		"levels.x":         func(c *Config) { c.Levels = map[symptom.Class]contract.Level{"x": "minor"} },
	} {
		c := DefaultConfig()
		change(&c)
		var paths []string
		c.Validate(func(path, _ string, _ ...any) { paths = append(paths, path) })
		if len(paths) != 1 || paths[0] != name {
			t.Errorf("%s: faults at %v", name, paths)
		}
	}
	DefaultConfig().Validate(func(path, format string, _ ...any) { t.Errorf("default: %s %s", path, format) })
}

// What failed stands first among the evidence, however many steps of other checks are well: readers may have room for less.
func TestFailuresStandFirst(t *testing.T) {
	other := spec
	other.Name = "before"
	r := newRig(t)
	r.b.Configure(DefaultConfig(), []check.Service{sealing}, []check.Spec{spec, other})
	fine := attempt(check.OK, "", time.Millisecond, r.now)
	for range 12 {
		fine.Steps = append(fine.Steps, check.Step{Name: "step", Outcome: check.OK})
	}
	r.none(r.b.Observe(r.now, "a", check.Result{Check: "before", Service: "signature", At: r.now, Attempts: []check.Attempt{fine}}))
	s := r.want(r.bad("a", check.ClassStatus), symptom.Down, contract.Urgent, true)
	if len(s.Evidence) < 10 {
		t.Fatalf("%d pieces of evidence", len(s.Evidence))
	}
	for i, e := range s.Evidence[:3] {
		if !strings.HasPrefix(e.Text, "sign ") {
			t.Errorf("evidence %d is %q", i, e.Text)
		}
	}
}

// What a probe found is told in the board's language, and the step is named once.
func TestReasonsInTheReadersLanguage(t *testing.T) {
	a := check.Attempt{
		Outcome: check.Fail, Class: check.ClassStatus, Reason: "documents: 404 Not Found, want one of [401]: no such route",
		Steps: []check.Step{{Name: "documents", Outcome: check.Fail}},
	}
	for lang, want := range map[string]string{
		"zh-CN": "步骤 documents：状态码异常：404 Not Found，应为 [401] 之一；应答：no such route",
		"en":    "step documents: unexpected status: 404 Not Found, want one of [401]: no such route",
	} {
		if got := describe(a, i18n.For(lang)); got != want {
			t.Errorf("%s: %q, want %q", lang, got, want)
		}
	}
}

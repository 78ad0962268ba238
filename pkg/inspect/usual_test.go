package inspect

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/symptom"
)

// pace plays rounds of one check by agent a that its agent finds good; its threshold of 20 s is far away.
type pace struct {
	*world
	every time.Duration
	told  []symptom.Symptom
}

func newPace(t *testing.T, every time.Duration, usual map[int]time.Duration, change ...func(*check.Spec, *Config)) *pace {
	spec := check.Spec{Name: "read", Service: "oa", Every: every, Timeout: every / 2, Slow: min(20*time.Second, every/2)}
	cfg := DefaultConfig()
	for _, fn := range change {
		fn(&spec, &cfg)
	}
	p := &pace{world: newWorld(t, []check.Service{{Name: "oa"}}, spec), every: every}
	p.others = false
	p.b.Configure(cfg, []check.Service{{Name: "oa"}}, []check.Spec{spec})
	if usual != nil {
		p.b.Usual(func(name, agent, target string, at time.Time) (time.Duration, bool) {
			d, ok := usual[at.Hour()]
			return d, ok && name == "read" && agent == "a" && target == ""
		})
	}
	p.none("well", p.sees("a", "read", "", fine()))
	return p
}

// plays answers for a time, in which nothing is to be told unless want says so: how long after, and what class, firing or not.
func (p *pace) plays(during time.Duration, took func(n int) time.Duration) *pace {
	p.Helper()
	p.told = nil
	for n, end := 0, p.now.Add(during); p.now.Before(end); n++ {
		p.told = append(p.told, p.pass(p.every-time.Millisecond)...)
		a := check.Attempt{Outcome: check.OK, Duration: took(n)}
		if a.Duration < 0 {
			a = failed(check.ClassStatus)[0]
			a.Duration = late
			p.told = append(p.told, p.sees("a", "read", "", a, fine(), fine())...)
			continue
		}
		p.told = append(p.told, p.sees("a", "read", "", a)...)
	}
	return p
}

func always(d time.Duration) func(int) time.Duration {
	return func(int) time.Duration { return d }
}

// quiet sees that nothing was told, turns that one thing was.
func (p *pace) quiet(what string) *pace {
	p.Helper()
	p.none(what, p.told)
	return p
}

func (p *pace) turns(what string, firing bool) symptom.Symptom {
	p.Helper()
	return p.one(what, p.told, symptom.Slow, contract.General, firing)
}

const (
	usual = 400 * time.Millisecond // at 1 h UTC and for the day
	late  = 1600 * time.Millisecond
)

func allDay(d time.Duration) map[int]time.Duration {
	out := map[int]time.Duration{}
	for h := range 24 {
		out[h] = d
	}
	return out
}

// What takes over three times as long as usual, and over a second, is slow though the agent finds it good.
func TestSlowerThanUsual(t *testing.T) {
	p := newPace(t, 10*time.Second, allDay(usual)).plays(7*time.Minute, func(n int) time.Duration { return []time.Duration{late, usual}[min(n, 1)] }).quiet("as usual")
	begin := p.now.Add(p.every)
	s := p.plays(15*time.Minute, always(late)).turns("late", true)
	want := "slower than usual: the median of two windows of five minutes in a row is 1.6s, 4.0 times the usual 400ms (median of this hour over 14 days), over the limit of 1.2s"
	if s.Detail != want || s.Component != "read" {
		t.Errorf("%s: %s", s.Component, s.Detail)
	}
	if !s.Since.Equal(begin) {
		t.Errorf("since %v, want the first late answer %v", s.Since, begin)
	}
	if d := s.At.Sub(begin); d < 450*time.Second || d > 15*time.Minute {
		t.Errorf("told after %v, want at the end of two windows, most of the first and all of the second late", d)
	}
	if len(s.Evidence) == 0 || !strings.HasPrefix(s.Evidence[0].Text, "read slow took 1.6s") {
		t.Errorf("evidence %+v", s.Evidence)
	}
	st := p.b.Services(p.now)[0]
	if k := st.Checks[0]; st.State != Slow || k.Outcome != check.Slow || k.Usual != usual {
		t.Errorf("%s, %s, usually %v", st.State, k.Outcome, k.Usual)
	}
}

// None of these is slower than usual.
func TestAsUsual(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	off := func(s *check.Spec, _ *Config) { s.SlowUsual = new(0.0) }
	for name, tc := range map[string]struct {
		every  time.Duration
		usual  map[int]time.Duration
		took   func(n int) time.Duration
		change func(*check.Spec, *Config)
	}{
		"one answer in five is late": {10 * time.Second, allDay(usual), func(int) time.Duration {
			if r.Float64() < 0.2 {
				return late
			}
			return usual
		}, nil},
		"one in twenty, at a slow pace": {5 * time.Minute, allDay(usual), func(int) time.Duration {
			if r.Float64() < 0.05 {
				return late
			}
			return usual
		}, nil},
		"five minutes an hour": {10 * time.Second, allDay(usual), func(n int) time.Duration {
			if n%360 < 30 {
				return late
			}
			return usual
		}, nil},
		"half of the answers":                     {10 * time.Second, allDay(usual), func(n int) time.Duration { return []time.Duration{usual, late}[n%2] }, nil},
		"three of five at a slow pace":            {5 * time.Minute, allDay(usual), func(n int) time.Duration { return []time.Duration{late, late, late, usual, usual}[n%5] }, nil},
		"under a second, eighteen times":          {10 * time.Second, allDay(50 * time.Millisecond), always(900 * time.Millisecond), nil},
		"under three times":                       {10 * time.Second, allDay(800 * time.Millisecond), always(2 * time.Second), nil},
		"nothing is known":                        {10 * time.Second, map[int]time.Duration{}, always(late), nil},
		"nothing is known yet":                    {10 * time.Second, nil, always(late), nil},
		"the check wants none of it":              {10 * time.Second, allDay(usual), always(late), off},
		"nobody does":                             {10 * time.Second, allDay(usual), always(late), func(_ *check.Spec, c *Config) { c.SlowUsual = 0 }},
		"five times is wanted":                    {10 * time.Second, allDay(usual), always(late), func(_ *check.Spec, c *Config) { c.SlowUsual = 5 }},
		"two seconds are wanted":                  {10 * time.Second, allDay(usual), always(late), func(_ *check.Spec, c *Config) { c.SlowUsualFloor = 2 * time.Second }},
		"failures take long and are no answers":   {10 * time.Second, allDay(usual), func(n int) time.Duration { return []time.Duration{usual, late, usual, -1, late}[n%5] }, nil},
		"late by day, where that is usual by day": {10 * time.Second, map[int]time.Duration{1: usual, 2: time.Second, 3: time.Second}, func(n int) time.Duration { return map[bool]time.Duration{true: usual, false: late}[n < 360] }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var change []func(*check.Spec, *Config)
			if tc.change != nil {
				change = append(change, tc.change)
			}
			newPace(t, tc.every, tc.usual, change...).plays(2*time.Hour+25*tc.every, tc.took).quiet(name)
		})
	}
	p := newPace(t, 10*time.Second, allDay(usual))
	p.now = p.now.Add(4 * time.Minute)
	p.plays(20*time.Minute, func(n int) time.Duration { return map[bool]time.Duration{true: late, false: usual}[n < 39] }).quiet("a minute of a window, and one whole")
	newPace(t, 10*time.Second, allDay(usual), func(s *check.Spec, c *Config) { c.SlowUsual, s.SlowUsual = 0, new(2.5) }).
		plays(20*time.Minute, always(late)).turns("the check wants it alone", true)
}

// Another agent stands elsewhere, and what is usual there says nothing of it.
func TestUsualIsOfOneVantage(t *testing.T) {
	p := newPace(t, 10*time.Second, allDay(usual))
	var told []symptom.Symptom
	for range 120 {
		p.pass(10 * time.Second)
		told = append(told, p.sees("a", "read", "", check.Attempt{Outcome: check.OK, Duration: usual})...)
		told = append(told, p.sees("far", "read", "", check.Attempt{Outcome: check.OK, Duration: late})...)
	}
	p.none("far away", told)
}

// An agent that begins to ask while another sees a slowness has seen none.
func TestSlownessIsOfWhoSawIt(t *testing.T) {
	p := newPace(t, 10*time.Second, allDay(usual))
	p.plays(16*time.Minute, always(late)).turns("late", true)
	p.plays(9*time.Minute, always(usual)).quiet("not long enough")
	for range 8 {
		p.told = append(p.told, p.sees("b", "read", "", fine())...)
		p.plays(p.every, always(usual))
		if len(p.told) > 0 {
			break
		}
	}
	p.turns("calm", false)
}

// A check that is asked each half an hour is slow by four of its last five answers.
func TestSlowerThanUsualAtASlowPace(t *testing.T) {
	p := newPace(t, 30*time.Minute, allDay(usual)).plays(3*time.Hour, always(usual)).quiet("as usual")
	begin := p.now.Add(p.every)
	s := p.plays(150*time.Minute, func(n int) time.Duration { return []time.Duration{late, usual, late, late, late}[n] }).turns("late", true)
	if d := s.At.Sub(begin); !s.Since.Equal(begin) || d < 2*time.Hour || d > 2*time.Hour+time.Second ||
		s.Detail != "slower than usual: took 1.6s, 4.0 times the usual 400ms (median of this hour over 14 days), over the limit of 1.2s" {
		t.Errorf("since %v, told after %v: %s", s.Since, d, s.Detail)
	}
	if s := p.plays(time.Hour, always(usual)).turns("two good ones half an hour apart", false); s.At.Sub(s.Since).Round(time.Second) != p.every {
		t.Errorf("good from %v, told at %v", s.Since, s.At)
	}
}

// Such a slowness ends when answers stay under four fifths of the limit for ten minutes; a tail is no more in its way than in
// the beginning's.
func TestSlowerThanUsualHasHysteresis(t *testing.T) {
	p := newPace(t, 10*time.Second, allDay(usual))
	p.plays(16*time.Minute, always(late)).turns("late", true)
	p.plays(30*time.Minute, always(1100*time.Millisecond)).quiet("under the limit, not under four fifths of it")
	p.plays(9*time.Minute, always(usual)).quiet("too short")
	p.plays(time.Minute, always(late)).quiet("late again")
	begin := p.now.Add(p.every)
	s := p.plays(11*time.Minute, func(n int) time.Duration {
		if n > 0 && n%5 == 0 {
			return late
		}
		return usual
	}).turns("calm", false)
	if !s.Since.Equal(begin) || s.At.Sub(begin).Round(time.Second) != 610*time.Second {
		t.Errorf("good since %v, told after %v, want by the first quick answer after ten minutes", s.Since.Sub(begin), s.At.Sub(begin))
	}
	p.plays(5*time.Minute, always(usual)).quiet("over")
}

// Where the check's own threshold lies below what is usual, it goes on deciding, and of the two the lower one is to be kept.
func TestBothThresholds(t *testing.T) {
	p := newPace(t, 10*time.Second, allDay(usual), func(s *check.Spec, _ *Config) { s.Slow = 2 * time.Second })
	bad := check.Attempt{Outcome: check.Slow, Duration: 3 * time.Second}
	p.pass(p.every)
	if s := p.one("its own", p.sees("a", "read", "", bad, bad, bad), symptom.Slow, contract.General, true); s.Detail != "took 3s" {
		t.Error(s.Detail)
	}
	p.plays(20*time.Minute, always(1500*time.Millisecond)).quiet("under four fifths of its own, over the limit by what is usual")
	p.plays(11*time.Minute, always(usual)).turns("under both", false)
}

// At the hour's change a slowness is held against what is usual then: it ends where its answers are usual, goes on where they
// are not, and goes on where nothing is known.
func TestSlownessAcrossHours(t *testing.T) {
	at := func(hours map[int]time.Duration, first time.Duration) *pace {
		p := newPace(t, 10*time.Second, hours)
		p.plays(59*time.Minute+30*time.Second, always(first))
		p.turns("late", true)
		return p
	}
	p := at(map[int]time.Duration{1: usual, 2: time.Second}, late)
	if s := p.plays(12*time.Minute, always(late)).turns("usual in the next hour", false); s.Since.UTC().Hour() != 2 {
		t.Errorf("well since %v", s.Since)
	}
	p = at(map[int]time.Duration{1: time.Second, 2: usual}, 3500*time.Millisecond)
	p.plays(40*time.Minute, always(2*time.Second)).quiet("not usual in the next hour")
	p = at(map[int]time.Duration{1: usual}, late)
	p.plays(40*time.Minute, always(late)).quiet("nothing is known of the next hour")
	p.plays(11*time.Minute, always(usual)).turns("calm by the last limit", false)
}

// After a restart a slowness that was told goes on until it is over by what is usual, whatever comes first: its answers, or
// the knowledge.
func TestSlownessAfterARestart(t *testing.T) {
	known := func(p *pace) {
		p.b.Usual(func(string, string, string, time.Time) (time.Duration, bool) { return usual, true })
	}
	told := symptom.Symptom{
		Source: symptom.FromProbe, Service: "oa", Component: "read", Class: symptom.Slow, Level: contract.General, Firing: true, Since: t0.Add(-time.Hour), At: t0.Add(-50 * time.Minute),
	}
	start := func() *pace {
		p := newPace(t, 10*time.Second, nil)
		p.b = New("en", DefaultConfig(), []check.Service{{Name: "oa"}}, []check.Spec{p.b.specs["read"]})
		p.b.Restore(told)
		return p
	}
	p := start()
	p.plays(30*time.Minute, always(late)).quiet("still late, and nobody knows")
	if st := p.b.Services(p.now)[0]; st.State != Slow {
		t.Errorf("meanwhile it is %s", st.State)
	}
	known(p)
	p.plays(30*time.Minute, always(late)).quiet("still late")
	p.plays(11*time.Minute, always(usual)).turns("calm", false)

	p = start()
	p.plays(30*time.Minute, always(usual)).quiet("quick, but for what is not known yet")
	known(p)
	p.plays(11*time.Minute, always(usual)).turns("calm", false)
	p.plays(11*time.Minute, always(usual)).quiet("over")

	was := told.Component
	told.Component = "other"
	p = start()
	p.plays(p.every, always(usual)).turns("another check was slow", false)
	told.Component = was

	p = start() // the check's own threshold needs no such knowledge to tell anew
	p.b.Configure(func() Config { c := DefaultConfig(); c.SlowUsual = 0; return c }(), []check.Service{{Name: "oa"}}, []check.Spec{p.b.specs["read"]})
	p.plays(11*time.Minute, always(usual)).turns("calm by its own", false)
}

// Whatever the answers and the hours: what is told as slower than usual was so in most answers of two windows in a row, what is
// told as over has been calm for ten minutes by the bar of each hour or by the last one known, and the one follows the other.
func TestSlownessIsTrue(t *testing.T) {
	type answer struct {
		at         time.Time
		late, high bool
	}
	rapid.Check(t, func(rt *rapid.T) {
		table := map[int]time.Duration{}
		for h := 1; h < 6; h++ {
			if d := rapid.SampledFrom([]time.Duration{0, usual, usual, time.Second, 2 * time.Second}).Draw(rt, "usual"); d > 0 {
				table[h] = d
			}
		}
		p := newPace(t, 10*time.Second, table, func(s *check.Spec, _ *Config) { s.Slow = time.Hour })
		var past []answer
		firing, over := false, time.Duration(0)
		for p.now.Before(t0.Add(150 * time.Minute)) {
			base := rapid.SampledFrom([]time.Duration{usual, 900 * time.Millisecond, 1100 * time.Millisecond, late, 3500 * time.Millisecond, 7 * time.Second}).Draw(rt, "base")
			tail := rapid.IntRange(2, 20).Draw(rt, "one in so many is late")
			for n := range rapid.IntRange(6, 240).Draw(rt, "answers") {
				took := base
				if n%tail == 0 {
					took = 4 * base
				}
				p.pass(p.every - time.Millisecond)
				told := p.sees("a", "read", "", check.Attempt{Outcome: check.OK, Duration: took})
				median, known := table[p.now.Hour()]
				if known {
					over = max(time.Second, 3*median)
				}
				past = append(past, answer{p.now, known && took > over, over > 0 && took > over*8/10})
				for _, s := range told {
					if s.Detail == "answers again" && !s.Firing && !firing {
						continue // the samples that prove an end
					}
					if s.Firing == firing {
						rt.Fatalf("told twice: %+v", s)
					}
					firing = s.Firing
					end := p.now.Truncate(span)
					for i := range 2 {
						n, slow := 0, 0
						for _, a := range past {
							if from := end.Add(time.Duration(-i-1) * span); !a.at.Before(from) && a.at.Before(from.Add(span)) {
								n++
								slow += map[bool]int{true: 1}[a.late]
							}
						}
						if firing && 2*slow <= n {
							rt.Fatalf("slow at %v, though %d of %d were late", s.At, slow, n)
						}
					}
					if firing {
						continue
					}
					if s.At.Sub(s.Since) < 10*time.Minute {
						rt.Fatalf("over at %v since %v", s.At, s.Since)
					}
					for i, a := range past {
						last := past[max(0, i-4) : i+1]
						high := 0
						for _, b := range last {
							high += map[bool]int{true: 1}[b.high]
						}
						if !a.at.Before(s.Since) && a.high && high >= 3 {
							rt.Fatalf("over since %v, though at %v %d of five answers were not calm", s.Since, a.at, high)
						}
					}
				}
			}
		}
	})
}

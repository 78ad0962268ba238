// Package inspect turns the rounds of checks into the state of each service, and its changes into symptoms.
package inspect

import (
	"slices"
	"sync"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/i18n"
	"xunjian/pkg/symptom"
)

// State is what is known of a service at a moment.
type State string

// The states; Unknown is neither up nor down.
const (
	OK      State = "ok"
	Slow    State = "slow"
	Partial State = "partial"
	Down    State = "down"
	Unknown State = "unknown"
)

// Asker has a check asked at once, by the agent wanted or else by any but one, and says whether anybody is asked. It must
// return at once and not call the Board. The answer comes as all rounds do.
type Asker func(check, want, but string) bool

// Board holds the state of all services. It is safe for concurrent use, does no I/O of its own and starts nothing.
type Board struct {
	text     *i18n.Printer // of details
	ask      Asker         // nil: nobody else can be asked
	zone     *time.Location
	mu       sync.Mutex
	cfg      Config
	services []*service
	specs    map[string]check.Spec
	worked   map[string]bool // checks that were once ok
	eyes     map[string]*eye // by agent
	warnings warnings
	ended    []symptom.Symptom // what a new configuration ended, told with the next tick
	silent   func(check string) bool
	usual    Usual     // nil: not known yet
	ticked   time.Time // when time last passed here
	awake    time.Time // since when it has without a pause
}

type service struct {
	check.Service
	vantages map[string]*vantage // check + " " + agent
	firing   symptom.Symptom     // what was last told and has not ended
	adopted  bool                // that was before a restart
	gap      bool                // a gap was told and has not ended
	names    []string            // of its checks, in order
	unseen   map[string]*unseen  // by check: those at which nobody looks
	endedAt  time.Time           // when the last fault was told to have ended
	over     symptom.Symptom     // as which
	proofs   map[string]*proof   // by check: of those that took part in it, until its end is proven
	proven   int                 // good samples in a row that were last told
	state    State
	since    time.Time
}

// New makes a board on which everything is unknown; lang is the language of what symptoms tell.
func New(lang string, cfg Config, services []check.Service, specs []check.Spec) *Board {
	b := &Board{
		cfg: cfg, text: i18n.For(lang), zone: time.UTC, worked: map[string]bool{}, eyes: map[string]*eye{}, warnings: warnings{},
	}
	b.Configure(cfg, services, specs)
	return b
}

// With gives the board somebody to ask and the time zone of checks' hours, before it is used.
func (b *Board) With(ask Asker, zone *time.Location) { b.ask, b.zone = ask, zone }

// Silence gives the board somebody who knows whether an agent that is to make a check is silent and that is told. It is called
// with the board locked.
func (b *Board) Silence(silent func(check string) bool) { b.silent = silent }

// Configure lays a new configuration over the board; services and checks that stay keep what is known of them.
func (b *Board) Configure(cfg Config, services []check.Service, specs []check.Spec) {
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.services
	b.cfg, b.services, b.specs = cfg, nil, map[string]check.Spec{}
	for _, s := range specs {
		b.specs[s.Name] = s
	}
	for _, s := range services {
		next := &service{Service: s, vantages: map[string]*vantage{}, unseen: map[string]*unseen{}, proofs: map[string]*proof{}, state: Unknown}
		if i := slices.IndexFunc(old, func(o *service) bool { return o.Name == s.Name }); i >= 0 {
			next = old[i]
			next.Service = s
			for key, v := range next.vantages {
				if spec, ok := b.specs[v.spec.Name]; ok && spec.Service == s.Name {
					v.spec = spec
				} else {
					delete(next.vantages, key)
				}
			}
		}
		b.recount(next)
		b.prune(next, true)
		b.services = append(b.services, next)
	}
	for _, s := range old {
		if !slices.Contains(b.services, s) {
			b.recount(s) // none of its checks is left
			b.prune(s, false)
			if s.gap {
				b.ended = append(b.ended, b.gapSymptom(time.Time{}, s, false))
			}
		}
	}
	b.ended = append(b.ended, b.warnings.leave(b.specs)...)
	for _, e := range b.eyes {
		e.of = nil
	}
	for _, s := range b.services {
		for _, v := range s.vantages {
			b.eye(v.agent).of = append(b.eye(v.agent).of, v)
		}
	}
}

// Restore tells the board of a symptom that was firing before a restart, so that its end is told too, or of one that had ended
// and whose end was not proven yet.
func (b *Board) Restore(s symptom.Symptom) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch svc := b.find(s.Service); {
	case s.Source == symptom.FromFleet && s.Rule == RuleVantageLost:
		b.eye(s.Component).adopt(s)
	case s.Source == symptom.FromFleet && s.Class == symptom.Unknown && s.Rule == "":
		b.adoptGap(svc, s)
	case s.Aside():
		if spec, ok := b.specs[s.Component]; ok && spec.Service == s.Service {
			b.warnings.adopt(s)
		} else {
			b.ended = append(b.ended, s)
		}
	case s.Source == symptom.FromProbe:
		b.resume(svc, s)
		if svc != nil && s.Firing {
			svc.firing, svc.adopted = s, true
			b.worked[s.Component] = true // a fault is told only of what had worked
		}
	}
}

// Worked tells of checks that were ok before a restart, so that refused credentials are a fault and not a wrong setting.
func (b *Board) Worked(checks ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range checks {
		b.worked[name] = true
	}
}

func (b *Board) find(name string) *service {
	for _, s := range b.services {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// Observe judges one round seen by an agent and returns what changed. Rounds that are older than the newest one known
// of their vantage, or too old to say anything about now (a spool being emptied), change nothing.
func (b *Board) Observe(now time.Time, agent string, r check.Result) []symptom.Symptom {
	b.mu.Lock()
	defer b.mu.Unlock()
	spec, ok := b.specs[r.Check]
	svc := b.find(spec.Service)
	if !ok || svc == nil || len(r.Attempts) == 0 {
		return nil
	}
	if r.Control {
		return b.controlled(now, spec, agent, r)
	}
	key := r.Check + " " + agent
	v := svc.vantages[key]
	if v == nil {
		v = &vantage{spec: spec, agent: agent}
		svc.carryOn(v)
		svc.vantages[key] = v
		b.eye(agent).of = append(b.eye(agent).of, v)
	}
	late := now.Sub(r.At) > time.Duration(b.cfg.StaleAfter)*spec.Every+2*spec.Timeout
	if late || !r.At.After(v.last.At) {
		return nil
	}
	was := v.bad
	b.eye(agent).saw(r)
	b.heed(now, v, r)
	out := b.warn(now, spec, agent, r)
	b.count(now, svc, v)
	sight := b.lookAround(now, svc, v)
	b.question(now, svc, v, was)
	if len(sight) > 0 { // what an agent says of all services counts otherwise now
		for _, s := range b.services {
			out = append(out, b.tell(now, s)...)
		}
		return append(out, sight...)
	}
	out = append(out, b.tell(now, svc)...)
	for _, other := range b.through(r.Check) {
		out = append(out, b.tell(now, other)...)
	}
	return out
}

// heed has a vantage judge its round, as far as the round says anything of the service.
func (b *Board) heed(now time.Time, v *vantage, r check.Result) {
	first := r.First()
	switch {
	case r.CutOff() && (r.Cut != "" || b.lost(v.agent)):
		v.skip(now, r, b.text.T("inspect.cut", "what", b.text.Sentence(orElse(r.Cut, b.eye(v.agent).reason))))
		return
	case b.unproven(r):
		v.skip(now, r, b.text.T("inspect.never_worked", "what", b.text.Sentence(first.Reason)))
		return
	case first.Outcome == check.OK || first.Outcome == check.Slow:
		b.worked[r.Check] = true
	}
	v.judge(now, r, b.bar(v, r.Target, first.Start), b.cfg, b.text)
}

// Unproven says that a round says nothing of the service: its credentials were refused, and they never worked. A wrong setting is
// unknown, neither here nor in the figures an outage (DOMAIN 1.0 rule 6).
func (b *Board) Unproven(r check.Result) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.unproven(r)
}

func (b *Board) unproven(r check.Result) bool {
	first := r.First()
	return first.Outcome == check.Fail && first.Class == check.ClassAuth && first.Trouble == "" && !b.worked[r.Check]
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// Tick lets time pass: vantages that fell silent become unknown, and findings that waited for another vantage are told.
func (b *Board) Tick(now time.Time) (out []symptom.Symptom) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.ended {
		s.Firing, s.At, s.Since, s.Detail = false, now, now, b.text.T("inspect.check_gone")
		out = append(out, s)
	}
	b.ended = nil
	b.wake(now)
	for _, s := range b.services {
		out = append(out, b.tell(now, s)...)
		out = append(out, b.watch(now, s)...)
		b.askAgain(now, s)
	}
	return out
}

// tell settles the service's state and reports the difference to what was told before.
func (b *Board) tell(now time.Time, s *service) (out []symptom.Symptom) {
	worst, state, bad := b.weigh(now, s)
	s.doubt(bad)
	if state != s.state {
		s.state, s.since = state, now
	}
	if state == Unknown {
		return b.tellGap(now, s)
	}
	if s.gap {
		s.gap = false
		out = append(out, b.gapSymptom(now, s, false))
	}
	switch {
	case worst != nil && news(*worst, s.firing):
		worst.At = now
		s.firing = *worst
		out = append(out, *worst)
	case worst == nil && s.firing.Firing:
		end := s.firing
		end.Firing, end.At, end.Since = false, now, s.goodSince(now)
		end.Detail, end.Evidence = b.text.T("inspect.again"), nil
		s.firing, s.adopted, s.endedAt, s.over = symptom.Symptom{}, false, now, end
		end.Evidence, end.Run = s.evidence(b.text), b.samples(now, s)
		s.proven = end.Run.Good
		return append(out, end)
	}
	return append(out, b.prove(now, s)...)
}

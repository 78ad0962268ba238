package inspect

import (
	"maps"
	"slices"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/symptom"
)

// proof counts the good rounds in a row of a check that took part in a fault, which a recovery must have so many of (R5).
// Where several agents look on time, one round of each counts once. A round that could not run says nothing; one whose
// first answer failed was bad, though the service was good when asked again.
type proof struct {
	good  int
	by    map[string]bool // agents whose part of the next one is in
	why   string          // it last began anew
	spent bool            // nobody had a budget left to ask again that day: what was good stands for enough
}

// doubt begins to count for the checks of a fault that is being told.
func (s *service) doubt(names []string) {
	for _, name := range names {
		if s.proofs[name] == nil {
			s.proofs[name] = &proof{}
		}
	}
}

// count takes in the newest round of a vantage.
func (b *Board) count(now time.Time, s *service, v *vantage) {
	p := s.proofs[v.spec.Name]
	if p == nil {
		return
	}
	if v.gaps > 0 {
		if p.good > 0 && b.spent(now, s, v.spec.Name) {
			p.good, p.spent = contract.MaxSamples, true
		}
		return
	}
	if !v.clean() {
		*p = proof{why: describe(v.last.First(), b.text)}
		return
	}
	if p.by == nil {
		p.by = map[string]bool{}
	}
	p.by[v.agent] = true
	for _, o := range s.vantages {
		if o.spec.Name == v.spec.Name && !p.by[o.agent] && b.onTime(now, o, v) {
			return
		}
	}
	p.good, p.by = min(p.good+1, contract.MaxSamples), nil
}

// spent says that the budgets of all agents that look at a check are.
func (b *Board) spent(now time.Time, s *service, name string) bool {
	for _, v := range s.vantages {
		if v.spec.Name == name && !b.stale(now, v) && v.last.First().Class != check.ClassBudget {
			return false
		}
	}
	return true
}

// clean says that the newest round belongs to a row of good ones; while a service is slow, those that are not calm do not.
func (v *vantage) clean() bool { return v.good > 0 && (v.bad != symptom.Slow || !v.calmFrom.IsZero()) }

// onTime says that another vantage of a check looks by itself, so that the row waits for it.
func (b *Board) onTime(now time.Time, o, v *vantage) bool {
	if b.stale(now, o) || o.gaps >= b.cfg.StaleAfter || b.lost(o.agent) {
		return false
	}
	every := max(v.spec.Every, v.spec.Pace(now.In(b.zone)))
	return o.bad != "" || o.last.Request == "" && v.last.At.Sub(o.last.At) < 2*every
}

// samples is the row that all checks of the fault have, but for those whose failure is not this service's.
func (b *Board) samples(now time.Time, s *service) *symptom.Run {
	run := &symptom.Run{Good: contract.MaxSamples}
	for _, name := range slices.Sorted(maps.Keys(s.proofs)) {
		if o := b.verdict(now, s, name); o.class != "" && b.elsewhere(now, s, name, o.class) {
			continue
		}
		run.Of = append(run.Of, name)
		if s.proofs[name].spent {
			run.Spent = append(run.Spent, name)
		}
		run.Good = min(run.Good, s.proofs[name].good)
	}
	return run
}

// proving says that samples are counted of a fault that was told to be over.
func (s *service) proving(now time.Time) bool {
	if len(s.proofs) == 0 || s.firing.Firing {
		return false
	}
	if s.endedAt.IsZero() { // in another process: agents have some minutes to come back
		s.endedAt = now.Add(leastGap)
	}
	return true
}

// longest is how long the slowest of the checks that are counted may say nothing.
func (b *Board) longest(now time.Time, s *service) (longest time.Duration) {
	for name := range s.proofs {
		wait, _ := b.patience(now, b.specs[name])
		longest = max(longest, wait)
	}
	return longest
}

// prove tells how far the row has come since the fault was told to be over, as often as that changes.
func (b *Board) prove(now time.Time, s *service) (out []symptom.Symptom) {
	if !s.proving(now) {
		return nil
	}
	run := b.samples(now, s)
	was := s.proven
	if run.Good == contract.MaxSamples && now.Sub(s.endedAt) >= verifying {
		clear(s.proofs) // nobody asks for more
	}
	if s.proven = run.Good; run.Good == was {
		return nil
	}
	told := s.over
	told.At, told.Since, told.Detail, told.Run = now, s.goodSince(now), b.text.T("inspect.again"), run
	for _, name := range run.Of {
		if p := s.proofs[name]; run.Good < was && p.good == run.Good {
			told.Detail = b.text.T("inspect.broken", "check", name, "what", p.why)
		}
	}
	return append(out, told)
}

// unprove begins the row of a check anew, empty: of all: nobody has looked for a while.
func (s *service) unprove(name string) {
	for of, p := range s.proofs {
		if name == "" || of == name {
			*p, s.proven = proof{}, 0
		}
	}
}

// prune leaves out checks that are no longer the service's, and what waited for them alone waits no more.
func (b *Board) prune(s *service, there bool) {
	if len(s.proofs) == 0 {
		return
	}
	maps.DeleteFunc(s.proofs, func(name string, _ *proof) bool {
		spec, ok := b.specs[name]
		return !there || !ok || spec.Service != s.Name
	})
	if len(s.proofs) == 0 && !s.firing.Firing {
		b.free(s.over)
	}
}

// free ends a wait for samples of checks that there are no more: time alone is waited for then.
func (b *Board) free(over symptom.Symptom) {
	over.Run = &symptom.Run{Good: contract.MaxSamples}
	b.ended = append(b.ended, over)
}

// resume takes up a count where the last process left it: of a fault that is over and not proven, or that lasts.
func (b *Board) resume(svc *service, s symptom.Symptom) {
	if svc == nil {
		if !s.Firing {
			b.free(s)
		}
		return
	}
	run := symptom.Run{Of: []string{s.Component}}
	if s.Run != nil {
		run.Of = append(run.Of, s.Run.Of...)
	}
	if s.Run != nil && !s.Firing {
		run.Good, run.Spent = s.Run.Good, s.Run.Spent
		svc.over, svc.proven = s, run.Good
	}
	for _, name := range run.Of {
		if slices.Contains(svc.names, name) {
			svc.proofs[name] = &proof{good: run.Good, spent: slices.Contains(run.Spent, name)}
		}
	}
	if len(svc.proofs) == 0 && !s.Firing {
		b.free(s)
	}
}

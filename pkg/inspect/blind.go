package inspect

import (
	"strconv"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/symptom"
)

// RuleVantageLost names the symptom of an agent that sees nothing, though what it looks at is there.
const RuleVantageLost = "VantageLost"

// An agent whose checks all fail at once is itself suspected only when they are so many, of so many services.
const (
	leastChecks   = 3
	leastServices = 2
)

// eye is one agent's sight as a whole. While it is lost, what its checks fail to reach is unknown and nobody's outage.
type eye struct {
	of     []*vantage // all its checks
	lost   bool
	since  time.Time
	reason string
	dark   time.Time // first round that reached nothing since one that reached something; zero while none did
}

// saw takes a round of the agent: since when it reaches nothing is known of all its checks together, for one that fails by
// itself does so between others that are well.
func (e *eye) saw(r check.Result) {
	switch first := r.First(); {
	case r.CutOff():
		if e.dark.IsZero() {
			e.dark = r.At
		}
	case first.Outcome != check.Unknown && !first.Start.Before(e.dark):
		e.dark = time.Time{}
	}
}

func (e *eye) adopt(s symptom.Symptom) { e.lost, e.since, e.reason = true, s.Since, s.Detail }

func (b *Board) eye(agent string) *eye {
	e := b.eyes[agent]
	if e == nil { // agents are enrolled, so there are only so many
		e = &eye{}
		b.eyes[agent] = e
	}
	return e
}

func (b *Board) lost(agent string) bool {
	e := b.eyes[agent]
	return e != nil && e.lost
}

// Lost says whether an agent sees nothing, so that others should look in its place.
func (b *Board) Lost(agent string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lost(agent)
}

// sight is what an agent's checks say together.
type sight struct {
	blind        []*vantage // cut off, or failing for want of a connection
	services     map[string]bool
	since        time.Time // of the first of them
	sees         bool      // a check has reached its target since
	cut          string    // what its self-check says
	others, with int       // of the blind checks: seen well by another agent since, and seen as badly
}

// maxCompared bounds how many other agents' views are looked at.
const maxCompared = 64

// lookAround finds out whose sight a round has changed: its own agent's, or that of those who saw the same check fail.
func (b *Board) lookAround(now time.Time, s *service, v *vantage) (out []symptom.Symptom) {
	suspects := []string{}
	if v.last.CutOff() || b.lost(v.agent) {
		suspects = append(suspects, v.agent)
	} else {
		for _, o := range s.vantages {
			if o != v && o.spec.Name == v.spec.Name && o.bad != "" && !b.lost(o.agent) && o.last.CutOff() && len(suspects) < maxCompared {
				suspects = append(suspects, o.agent)
			}
		}
	}
	for _, agent := range suspects {
		if told := b.look(now, agent); told != nil {
			out = append(out, *told)
		}
	}
	return out
}

// look finds out whether the agent's sight was lost or has come back, and returns what is to be told of that.
func (b *Board) look(now time.Time, agent string) *symptom.Symptom {
	e := b.eye(agent)
	w := b.sightOf(now, agent)
	switch {
	case e.lost && w.sees && w.cut == "":
		e.lost = false
		for _, v := range e.of {
			if v.last.CutOff() { // what it knows of these is as old as the loss
				v.gaps, v.heard = 0, time.Time{}
			}
		}
		return b.lostSymptom(now, agent, e.since, b.text.T("inspect.vantage_back", "agent", agent), nil)
	case e.lost || w.sees || len(w.blind) < leastChecks || len(w.services) < leastServices:
		return nil
	case w.cut == "" && (w.others == 0 || w.others <= w.with):
		return nil // nobody sees otherwise: then it is so
	}
	if !e.dark.IsZero() && e.dark.Before(w.since) {
		w.since = later(e.dark, w.since.Add(-longestRound(w.blind)))
	}
	e.lost, e.since, e.reason = true, w.since, b.text.Sentence(w.cut)
	if e.reason == "" {
		e.reason = b.text.T("inspect.others_see", "n", strconv.Itoa(w.others))
	}
	s := b.lostSymptom(now, agent, w.since, b.text.T("inspect.vantage_lost", "agent", agent, "n", strconv.Itoa(len(w.blind)), "what", e.reason), w.blind)
	for _, v := range w.blind {
		v.forget()
		v.gaps = max(v.gaps, 1)
	}
	return s
}

// longestRound is within which time each of the vantages has spoken: what failed longer before that was no part of a loss of sight.
func longestRound(of []*vantage) (out time.Duration) {
	for _, v := range of {
		out = max(out, v.spec.Every+time.Duration(len(v.last.Attempts))*v.spec.Timeout)
	}
	return out
}

// sightOf puts together what an agent's checks say that were asked since the first of them failed.
func (b *Board) sightOf(now time.Time, agent string) (w sight) {
	w.services = map[string]bool{}
	var all []*vantage
	for _, v := range b.eye(agent).of {
		if b.stale(now, v) {
			continue
		}
		all = append(all, v)
		if start := v.last.First().Start; v.last.CutOff() && (w.since.IsZero() || start.Before(w.since)) {
			w.since = start
		}
	}
	newest := time.Time{}
	for _, v := range all {
		start := v.last.First().Start
		switch {
		case v.last.CutOff():
			w.blind = append(w.blind, v)
			w.services[v.spec.Service] = true
			w.cut = orElse(w.cut, v.last.Cut)
		case v.last.First().Outcome != check.Unknown && start.After(newest):
			newest = start
		}
	}
	w.sees = !newest.Before(w.since) && !newest.IsZero()
	if !w.sees && len(w.blind) >= leastChecks {
		for _, v := range w.blind {
			b.compare(now, v, &w)
		}
	}
	return w
}

// compare counts what other agents see of a check that this one cannot reach.
func (b *Board) compare(now time.Time, v *vantage, w *sight) {
	svc := b.find(v.spec.Service)
	if svc == nil {
		return
	}
	left := maxCompared
	for _, o := range svc.vantages {
		if left--; left < 0 {
			return
		}
		if o.agent == v.agent || o.spec.Name != v.spec.Name || b.stale(now, o) || b.lost(o.agent) || !o.looked(w.since) {
			continue
		}
		if o.last.CutOff() {
			w.with++
		} else {
			w.others++
		}
	}
}

// maybeBlind says that it may be the agent that reaches nothing and not the target that is away: it has reached nothing else since,
// it is about to ask for more, and there are other agents to tell the difference. What nobody else can ask needs this most.
func (b *Board) maybeBlind(v *vantage) bool {
	if !v.last.CutOff() || b.eye(v.agent).dark.IsZero() || !b.hasCompany(v.agent) {
		return false
	}
	for agent, e := range b.eyes {
		if agent != v.agent && len(e.of) > 0 {
			return true
		}
	}
	return false
}

// hasCompany says that an agent runs enough checks to tell its own fault from theirs.
func (b *Board) hasCompany(agent string) bool {
	checks, services := 0, map[string]bool{}
	for _, v := range b.eye(agent).of {
		if v.last.Request == "" {
			checks++
			services[v.spec.Service] = true
		}
	}
	return checks >= leastChecks && len(services) >= leastServices
}

// lostSymptom is told of the agent, whose host it stands on; what its checks saw is the evidence.
func (b *Board) lostSymptom(now time.Time, agent string, since time.Time, detail string, blind []*vantage) *symptom.Symptom {
	s := &symptom.Symptom{
		Source: symptom.FromFleet, Service: "host", Component: agent, Class: symptom.Unknown, Rule: RuleVantageLost,
		Level: b.cfg.level(check.Service{}, check.Spec{}, symptom.Unknown), Detail: detail, Firing: blind != nil, Since: since, At: now,
	}
	if !s.Firing {
		s.Since = now
	}
	for _, v := range blind[:min(len(blind), 20)] {
		s.Evidence = append(s.Evidence, symptom.Evidence{At: v.last.First().Start, Agent: agent, Text: v.spec.Name + " " + describe(v.last.First(), b.text)})
	}
	return s
}

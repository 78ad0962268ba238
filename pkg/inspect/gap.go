package inspect

import (
	"slices"
	"strconv"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/symptom"
)

// verifying is how long after its end a fault may still be under verification, however many samples have been good: then
// nobody looking is told too.
const verifying = 30 * time.Minute

// tellGap reports a gap when every vantage that still speaks says that it cannot look. Silent agents are fleet's to tell,
// and agents that are cut off are told as such, once for all services, except that a recovery under verification must not
// be taken for certain while nobody looks.
func (b *Board) tellGap(now time.Time, s *service) []symptom.Symptom {
	if s.gap {
		return nil
	}
	blind := s.proving(now) && now.Sub(s.endedAt) > b.longest(now, s)
	for _, v := range s.vantages {
		blind = blind || v.gaps >= b.cfg.StaleAfter && !b.stale(now, v) && !b.lost(v.agent)
	}
	if !blind {
		return nil
	}
	s.gap = true
	s.unprove("")
	return []symptom.Symptom{b.gapSymptom(now, s, true)}
}

func (b *Board) gapSymptom(now time.Time, s *service, firing bool) symptom.Symptom {
	detail := b.text.T("inspect.runs_again")
	if firing {
		detail = b.text.T("inspect.nobody_looks")
	}
	for _, v := range s.ordered() {
		if v.gaps > 0 {
			detail = b.text.T("inspect.cannot_run", "check", v.spec.Name, "agent", v.agent, "what", b.text.Sentence(v.detail))
		}
	}
	return symptom.Symptom{
		Source: symptom.FromFleet, Service: s.Name, Class: symptom.Unknown, Level: b.cfg.level(s.Service, check.Spec{}, symptom.Unknown),
		Detail: detail, Firing: firing, Since: now, At: now,
	}
}

// leastGap is how long nobody must have looked at a check, however often it is made, until that is told; else three
// intervals (stale_after) and a timeout must have passed.
const leastGap = 5 * time.Minute

// stoodStill is a pause between two ticks after which everybody has all his time again.
const stoodStill = time.Minute

// unseen is a check at which nobody looks.
type unseen struct {
	since time.Time // when somebody last did, or was first expected to
	from  time.Time // the later one from which on patience runs
	due   bool      // for so long that people are to know
	told  bool
}

// Unseen is a check at which nobody has looked for long: what it would show is unknown.
type Unseen struct {
	Check string
	Since time.Time
	Why   string
}

// watch finds out which checks of a service nobody looks at, and tells each that others of its service do not hide: a check
// that cannot run is no outage and no uptime, and its service looks well without it. What fleet has told, and agents that
// see nothing, are not told once more.
func (b *Board) watch(now time.Time, s *service) (out []symptom.Symptom) {
	for _, name := range s.names {
		u := s.unseen[name]
		last, seen := b.lookedAt(now, s, name)
		switch {
		case seen:
			if u != nil && u.told {
				out = append(out, b.unseenSymptom(now, s, name, *u, false))
			}
			delete(s.unseen, name)
			continue
		case u == nil:
			u = &unseen{since: now, from: now}
			if !last.IsZero() {
				u.since, u.from = last, later(last, b.awake)
			}
			s.unseen[name] = u
		}
		wait, some := b.patience(now, b.specs[name])
		if !some || u.told {
			continue
		}
		if u.due = now.Sub(u.from) > max(wait, leastGap); u.due && b.toldElsewhere(now, s, name) {
			u.from = now // and has as long again when it comes back
			continue
		}
		if u.due && s.state != Unknown {
			u.told = true
			s.unprove(name)
			out = append(out, b.unseenSymptom(now, s, name, *u, true))
		}
	}
	return out
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// wake gives every check all its time again after a pause, in which nobody can have looked.
func (b *Board) wake(now time.Time) {
	if now.Sub(b.ticked) > stoodStill {
		b.awake = now
		for _, s := range b.services {
			for _, u := range s.unseen {
				u.from = now
			}
		}
	}
	b.ticked = now
}

// lookedAt is when anybody's look at a check last said something, and whether anybody looks.
func (b *Board) lookedAt(now time.Time, s *service, name string) (last time.Time, seen bool) {
	for _, v := range s.vantages {
		if v.spec.Name == name {
			last = later(last, v.judged)
			seen = seen || !b.stale(now, v) && v.gaps < b.cfg.StaleAfter && !b.lost(v.agent)
		}
	}
	return last, seen
}

// toldElsewhere says that why nobody looks is told of an agent: it is silent, or sees nothing.
func (b *Board) toldElsewhere(now time.Time, s *service, name string) bool {
	for _, v := range s.vantages {
		if v.spec.Name != name {
			continue
		}
		if b.lost(v.agent) {
			return true
		}
		if v.gaps > 0 && !b.stale(now, v) {
			return false // it says itself why it cannot look
		}
	}
	return b.silent != nil && b.silent(name)
}

// why nobody looks: what the agents that cannot say, else which of them say nothing any more.
func (b *Board) why(now time.Time, s *service, name string) (why string) {
	for _, v := range s.ordered() {
		switch {
		case v.spec.Name != name:
		case v.gaps > 0 && !b.stale(now, v):
			return b.text.T("inspect.unable", "agent", v.agent, "what", b.text.Sentence(v.detail))
		case v.last.Request == "" || why == "":
			why = b.text.T("inspect.no_result", "agent", v.agent)
		}
	}
	return orElse(why, b.text.T("inspect.never_seen"))
}

func (b *Board) unseenSymptom(now time.Time, s *service, name string, u unseen, firing bool) symptom.Symptom {
	out := symptom.Symptom{
		Source: symptom.FromFleet, Service: s.Name, Component: name, Class: symptom.Unknown, Level: b.cfg.level(s.Service, b.specs[name], symptom.Unknown),
		Firing: firing, Since: now, At: now, Detail: b.text.T("inspect.seen_again", "check", name),
	}
	if firing {
		out.Since = u.since
		out.Detail = b.text.T("inspect.unseen", "check", name, "minutes", strconv.Itoa(int(now.Sub(u.since).Minutes())), "why", b.why(now, s, name))
	}
	return out
}

// unseenNow lists them by name.
func (b *Board) unseenNow(now time.Time, s *service) (out []Unseen) {
	for _, name := range s.names {
		if u := s.unseen[name]; u != nil && u.due {
			out = append(out, Unseen{name, u.since, b.why(now, s, name)})
		}
	}
	return out
}

// recount lays a new list of checks over what is known of those at which nobody looks, and ends what was told of others.
func (b *Board) recount(s *service) {
	s.names = s.names[:0]
	for name, spec := range b.specs {
		if spec.Service == s.Name {
			s.names = append(s.names, name)
		}
	}
	slices.Sort(s.names)
	for name, u := range s.unseen {
		if _, there := slices.BinarySearch(s.names, name); there {
			continue
		}
		if u.told {
			b.ended = append(b.ended, symptom.Symptom{
				Source: symptom.FromFleet, Service: s.Name, Component: name, Class: symptom.Unknown, Level: b.cfg.level(s.Service, check.Spec{}, symptom.Unknown),
			})
		}
		delete(s.unseen, name)
	}
}

// adoptGap takes over a gap that was told before a restart.
func (b *Board) adoptGap(svc *service, told symptom.Symptom) {
	switch {
	case svc == nil, told.Component != "" && !slices.Contains(svc.names, told.Component):
		b.ended = append(b.ended, told)
	case told.Component == "":
		svc.gap = true
	default:
		svc.unseen[told.Component] = &unseen{since: told.Since, from: told.At, due: true, told: true}
	}
}

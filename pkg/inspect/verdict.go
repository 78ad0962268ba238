package inspect

import (
	"slices"
	"strings"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/i18n"
	"xunjian/pkg/symptom"
)

// weigh is the gravest trouble of a service's checks, nil when there is none, and which of them have one.
func (b *Board) weigh(now time.Time, s *service) (worst *symptom.Symptom, state State, bad []string) {
	known := false
	for _, name := range s.checks() {
		o := b.verdict(now, s, name)
		known = known || o.known
		if o.class == "" || b.elsewhere(now, s, name, o.class) {
			continue
		}
		bad = append(bad, name)
		next := &symptom.Symptom{
			Source: symptom.FromProbe, Service: s.Name, Component: name, Class: o.class, Level: b.cfg.level(s.Service, b.specs[name], o.class),
			Firing: true, Since: o.since, Detail: s.detail(name), Evidence: s.evidence(b.text),
		}
		if worst == nil || graver(next, worst) {
			worst = next
		}
	}
	switch {
	case worst != nil:
		return worst, stateOf(worst.Class), bad
	case !known:
		return nil, Unknown, nil
	}
	return nil, OK, nil
}

func graver(a, b *symptom.Symptom) bool {
	if a.Level != b.Level {
		return a.Level.Graver(b.Level)
	}
	return stateRank[stateOf(a.Class)] > stateRank[stateOf(b.Class)]
}

var stateRank = map[State]int{OK: 0, Unknown: 1, Slow: 2, Partial: 3, Down: 4}

func stateOf(c symptom.Class) State {
	switch c {
	case symptom.Slow:
		return Slow
	case symptom.Partial:
		return Partial
	}
	return Down
}

// opinion is what is thought of one check.
type opinion struct {
	class symptom.Class // empty: no trouble
	since time.Time
	known bool // somebody looks
	held  bool // a trouble is seen by one, and not told until others have said what they see
}

// verdict is what the vantages of one check agree on (DOMAIN 1.0 rule 7). Two that see a trouble, and more of them than of
// those that have looked since it began and see none, make it one; fewer make it partial. A single vantage, with nobody
// else to look, alone decides. Slowness needs no second vantage.
func (b *Board) verdict(now time.Time, s *service, name string) (o opinion) {
	var bad, good, fresh int
	var only *vantage
	o.since = s.badSince(name)
	for _, v := range s.ordered() {
		if v.spec.Name != name || b.lost(v.agent) {
			continue
		}
		if v.bad != "" && (o.class == "" || stateRank[stateOf(v.bad)] < stateRank[stateOf(o.class)]) {
			o.class = v.bad // all agree on the mildest at least
		}
		if b.stale(now, v) || v.gaps >= b.cfg.StaleAfter {
			continue
		}
		o.known = true
		switch {
		case v.bad != "":
			bad++
			only = v
		case v.looked(o.since):
			fresh++
			fallthrough
		default:
			good++
		}
	}
	switch {
	case bad == 0:
		return opinion{known: o.known}
	case bad == 1 && !(s.firing.Firing && s.firing.Component == name) && b.held(now, only, fresh): // what was told stays told
		return opinion{known: true, held: true}
	case o.class == symptom.Slow, bad == 1 && good == 0, bad > 1 && bad > fresh:
		return o
	}
	o.class = symptom.Partial
	return o
}

// badSince is when the earliest of a check's vantages began to see a trouble.
func (s *service) badSince(name string) (since time.Time) {
	for _, v := range s.vantages {
		if v.spec.Name == name && v.bad != "" && (since.IsZero() || v.badSince.Before(since)) {
			since = v.badSince
		}
	}
	return since
}

// looked says that the vantage's newest round began after a moment, and could say something.
func (v *vantage) looked(since time.Time) bool {
	return v.gaps == 0 && len(v.last.Attempts) > 0 && !v.last.First().Start.Before(since)
}

// news says whether a finding differs from what was told: in being there at all, in class or in level.
func news(found, told symptom.Symptom) bool {
	return !told.Firing || told.Class != found.Class || told.Level != found.Level
}

func (s *service) checks() []string {
	var out []string
	for _, v := range s.vantages {
		if !slices.Contains(out, v.spec.Name) {
			out = append(out, v.spec.Name)
		}
	}
	slices.Sort(out)
	return out
}

func (s *service) ordered() []*vantage {
	out := make([]*vantage, 0, len(s.vantages))
	for _, v := range s.vantages {
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b *vantage) int { return strings.Compare(a.spec.Name+" "+a.agent, b.spec.Name+" "+b.agent) })
	return out
}

// detail is what the check's failing vantages saw, for people.
func (s *service) detail(name string) string {
	var out []string
	for _, v := range s.ordered() {
		if v.spec.Name == name && v.bad != "" && !slices.Contains(out, v.detail) {
			out = append(out, v.detail)
		}
	}
	return strings.Join(out, "; ")
}

// evidence is every attempt of the newest round of each vantage, at most 20: what is not well first, since a reader may have
// room for less.
func (s *service) evidence(text *i18n.Printer) (out []symptom.Evidence) {
	all := s.ordered()
	well := func(v *vantage) bool { return v.bad == "" }
	bad := slices.DeleteFunc(slices.Clone(all), well)
	for _, v := range append(bad, slices.DeleteFunc(slices.Clone(all), func(v *vantage) bool { return !well(v) })...) {
		for i, a := range v.last.Attempts {
			if len(out) == 20 {
				return out
			}
			if i == 0 && a.Outcome == check.OK && v.wasLate() {
				a.Outcome = check.Slow
			}
			line := v.spec.Name + " " + text.T("inspect.outcome."+string(a.Outcome))
			if a.Outcome == check.Fail || a.Outcome == check.Unknown {
				line += " " + a.Duration.Round(time.Millisecond).String()
			}
			out = append(out, symptom.Evidence{At: a.Start, Agent: v.agent, Text: line + " " + describe(a, text)})
		}
		out = append(out, v.stepEvidence(text, 20-len(out))...)
	}
	return out
}

// stepEvidence is the steps of the newest round's first attempt, at most so many.
func (v *vantage) stepEvidence(text *i18n.Printer, most int) (out []symptom.Evidence) {
	at := v.last.First().Start
	for _, s := range v.last.First().Steps {
		if len(out) >= most {
			return out
		}
		line := text.T("inspect.step_line", "check", v.spec.Name, "step", s.Name, "outcome", text.T("inspect.outcome."+string(s.Outcome)),
			"time", s.Duration.Round(time.Millisecond).String())
		if s.Reason != "" {
			line += " " + text.Sentence(s.Reason)
		}
		out = append(out, symptom.Evidence{At: at, Agent: v.agent, Text: line})
		at = at.Add(s.Duration)
	}
	return out
}

// goodSince is when the last of the vantages of what took part in the fault began to be good (R5: the first good one of the
// unbroken run).
func (s *service) goodSince(now time.Time) (at time.Time) {
	for _, v := range s.vantages {
		if v.bad == "" && v.goodFrom.After(at) && s.proofs[v.spec.Name] != nil {
			at = v.goodFrom
		}
	}
	if at.IsZero() {
		return now
	}
	return at
}

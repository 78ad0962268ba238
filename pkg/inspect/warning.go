package inspect

import (
	"cmp"
	"slices"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/i18n"
	"xunjian/pkg/symptom"
)

// Names of findings that the board itself makes.
const (
	findControl = "control" // the negative control went through: the probe is blind
	findAttempt = "attempt" // a failure that is only a warning
)

// maxFindings bounds what one check may tell beside its verdict.
const maxFindings = 32

// warnings are the findings of checks that are not well, by check and name.
type warnings map[string]map[string]*warning

// warning is one finding as its agents tell it.
type warning struct {
	told symptom.Symptom // zero until it is told
	by   map[string]noticed
}

type noticed struct {
	check.Finding
	at time.Time // first
	on time.Time // last
}

// warn takes in what a round tells beside its verdict, the last attempt's word on each. A certificate that has ended and for
// which the handshake failed is the verdict: it is told as the service's fault, and not once more beside it.
func (b *Board) warn(now time.Time, spec check.Spec, agent string, r check.Result) (out []symptom.Symptom) {
	last := map[string]check.Finding{}
	for _, a := range r.Attempts {
		var one check.Attempt // older agents may tell two things of one name
		one.Note(a.Findings...)
		for _, f := range one.Findings {
			if a.Class == check.ClassTLS && !f.Until.IsZero() && !f.Until.After(a.Start) {
				continue
			}
			last[f.Name] = f
		}
	}
	if a := r.Attempts[len(r.Attempts)-1]; a.Outcome == check.Fail && a.Trouble == check.Warning {
		last[findAttempt] = check.Finding{Name: findAttempt, Level: string(contract.Minor), Reason: describe(a, b.text)}
	} else if b.warnings[spec.Name][findAttempt] != nil && a.Outcome != check.Unknown {
		last[findAttempt] = check.Finding{Name: findAttempt}
	}
	names := make([]string, 0, len(last))
	for name := range last {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names[:min(len(names), maxFindings)] {
		if s := b.notice(now, spec, agent, last[name]); s != nil {
			out = append(out, *s)
		}
	}
	return out
}

// controlled takes in a negative control (DOMAIN 1.0 rule 3): one that went through says that the check would not see a fault.
func (b *Board) controlled(now time.Time, spec check.Spec, agent string, r check.Result) []symptom.Symptom {
	a := r.First()
	f := check.Finding{Name: findControl}
	switch a.Outcome {
	case check.Unknown:
		return nil
	case check.Fail:
		f.Level, f.Reason = string(contract.Minor), b.text.T("inspect.blind", "what", b.text.Sentence(a.Reason))
	}
	if s := b.notice(now, spec, agent, f); s != nil {
		return []symptom.Symptom{*s}
	}
	return nil
}

// notice takes in one finding and returns what is to be told: that it is new, that its level changed, or that all is well.
func (b *Board) notice(now time.Time, spec check.Spec, agent string, f check.Finding) *symptom.Symptom {
	w := b.warnings[spec.Name][f.Name]
	if w == nil {
		if f.Level == "" || len(b.warnings[spec.Name]) >= maxFindings {
			return nil
		}
		if b.warnings[spec.Name] == nil {
			b.warnings[spec.Name] = map[string]*warning{}
		}
		w = &warning{by: map[string]noticed{}}
		b.warnings[spec.Name][f.Name] = w
	}
	if f.Level == "" {
		delete(w.by, agent)
	} else {
		if _, err := contract.ParseLevel(f.Level); err != nil { // a word that this collector does not know
			f.Level = string(contract.Minor)
		}
		was, ok := w.by[agent]
		if !ok {
			was.at = now
		}
		w.by[agent] = noticed{f, was.at, now}
	}
	b.drop(now, spec, f.Name, w)
	worst, some := w.worst()
	if !some {
		delete(b.warnings[spec.Name], f.Name)
		return w.end(now, b.text.T("inspect.well_again"))
	}
	level := contract.Level(worst.Level)
	if w.told.Firing && w.told.Level == level {
		return nil
	}
	w.told = symptom.Symptom{
		Source: symptom.FromProbe, Service: spec.Service, Component: spec.Name, Class: symptom.Warning, Rule: f.Name, Level: level,
		Detail: b.text.T("inspect.finding", "name", b.nameOf(f.Name), "what", b.text.Sentence(worst.Reason)), Firing: true, Since: worst.at, At: now,
		Evidence: w.evidence(b.text),
	}
	told := w.told
	return &told
}

// nameOf is a finding's name in people's words, where there are some.
func (b *Board) nameOf(name string) string {
	if b.text.Has("inspect.finding." + name) {
		return b.text.T("inspect.finding." + name)
	}
	return name
}

// drop forgets agents that have not said anything of a finding while others have: they look no longer (standing by, gone). What is
// not well is told with each round, that a negative control went through each hour.
func (b *Board) drop(now time.Time, spec check.Spec, name string, w *warning) {
	silent := 10*time.Minute + time.Duration(b.cfg.StaleAfter)*max(spec.Every, spec.Hours.Otherwise)
	if name == findControl {
		silent += 2 * time.Hour
	}
	for agent, n := range w.by {
		if now.Sub(n.on) > silent {
			delete(w.by, agent)
		}
	}
}

func (w *warning) worst() (worst noticed, some bool) {
	for _, n := range w.by {
		l := contract.Level(n.Level)
		if !some || l.Graver(contract.Level(worst.Level)) || n.Level == worst.Level && n.at.Before(worst.at) {
			worst, some = n, true
		}
	}
	return worst, some
}

func (w *warning) end(now time.Time, detail string) *symptom.Symptom {
	if !w.told.Firing {
		return nil
	}
	s := w.told
	s.Firing, s.Since, s.At, s.Detail = false, now, now, detail
	return &s
}

func (w *warning) evidence(words *i18n.Printer) (out []symptom.Evidence) {
	for agent, n := range w.by {
		text := words.Sentence(n.Reason)
		if !n.Until.IsZero() {
			text += " (" + n.Until.UTC().Format(time.RFC3339) + ")"
		}
		out = append(out, symptom.Evidence{At: n.on, Agent: agent, Text: text})
	}
	slices.SortFunc(out, func(a, b symptom.Evidence) int { return cmp.Compare(a.Agent, b.Agent) })
	return out[:min(len(out), 20)]
}

// adopt takes over what was told before a restart. Nobody is known to see it, so that the next word decides.
func (ws warnings) adopt(s symptom.Symptom) {
	if ws[s.Component] == nil {
		ws[s.Component] = map[string]*warning{}
	}
	ws[s.Component][s.Rule] = &warning{told: s, by: map[string]noticed{}}
}

// leave ends the findings of checks that are no longer there.
func (ws warnings) leave(specs map[string]check.Spec) (out []symptom.Symptom) {
	for name, found := range ws {
		for _, w := range found {
			if spec, ok := specs[name]; ok && spec.Service == w.told.Service {
				continue
			}
			if w.told.Firing {
				out = append(out, w.told)
			}
			delete(ws, name)
		}
	}
	return out
}

// of lists a check's findings by name.
func (ws warnings) of(name string) (out []Finding) {
	for _, w := range ws[name] {
		if worst, ok := w.worst(); ok {
			out = append(out, Finding{worst.Finding, worst.at})
		}
	}
	slices.SortFunc(out, func(a, b Finding) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

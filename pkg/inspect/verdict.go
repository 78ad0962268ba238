package inspect

import (
	"slices"
	"strings"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/i18n"
	"xunjian/pkg/symptom"
)

// weigh is the gravest trouble of a service's checks, nil when there is none.
func (b *Board) weigh(now time.Time, s *service) (*symptom.Symptom, State) {
	var worst *symptom.Symptom
	known := false
	for _, name := range s.checks() {
		class, since, seen := b.verdict(now, s, name)
		known = known || seen
		if class == "" {
			continue
		}
		next := &symptom.Symptom{
			Source: symptom.FromProbe, Service: s.Name, Component: name, Class: class, Level: b.cfg.level(s.Service, class),
			Firing: true, Since: since, Detail: s.detail(name), Evidence: s.evidence(b.text),
		}
		if worst == nil || graver(next, worst) {
			worst = next
		}
	}
	switch {
	case worst != nil:
		return worst, stateOf(worst.Class)
	case !known:
		return nil, Unknown
	}
	return nil, OK
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

// verdict is what the vantages of one check agree on: the trouble when all that speak see one, partial when only some do
// (DOMAIN 1.0 rule 7; with a single vantage it alone decides).
func (b *Board) verdict(now time.Time, s *service, name string) (class symptom.Class, since time.Time, known bool) {
	speaking, bad := 0, 0
	for _, v := range s.ordered() {
		if v.spec.Name != name {
			continue
		}
		if v.bad != "" && (class == "" || stateRank[stateOf(v.bad)] < stateRank[stateOf(class)]) {
			class = v.bad // all agree on the mildest at least
		}
		if v.bad != "" && (since.IsZero() || v.badSince.Before(since)) {
			since = v.badSince
		}
		if v.stale(now, b.cfg) || v.gaps >= b.cfg.StaleAfter {
			continue
		}
		speaking++
		if v.bad != "" {
			bad++
		}
	}
	if speaking == 0 {
		return "", time.Time{}, false
	}
	switch {
	case bad == 0:
		return "", time.Time{}, true
	case bad < speaking && class != symptom.Slow:
		class = symptom.Partial
	}
	return class, since, true
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

// evidence is every attempt of the newest round of each vantage, at most 20.
func (s *service) evidence(text *i18n.Printer) (out []symptom.Evidence) {
	for _, v := range s.ordered() {
		for _, a := range v.last.Attempts {
			if len(out) == 20 {
				return out
			}
			line := v.spec.Name + " " + text.T("inspect.outcome."+string(a.Outcome))
			if a.Outcome == check.Fail || a.Outcome == check.Unknown {
				line += " " + a.Duration.Round(time.Millisecond).String()
			}
			out = append(out, symptom.Evidence{At: a.Start, Agent: v.agent, Text: line + " " + describe(a, text)})
		}
	}
	return out
}

// goodSince is when the last of the vantages began to be good (R5: the first good one of the unbroken run).
func (s *service) goodSince(now time.Time) (at time.Time) {
	for _, v := range s.vantages {
		if v.bad == "" && v.goodFrom.After(at) {
			at = v.goodFrom
		}
	}
	if at.IsZero() {
		return now
	}
	return at
}

// Status is a service's state for people.
type Status struct {
	Service check.Service
	State   State
	Since   time.Time // zero until something is known
	Detail  string
	Checks  []CheckStatus
}

// CheckStatus is the newest round of one check from one agent.
type CheckStatus struct {
	Check, Agent string
	Target       string
	Outcome      check.Outcome // Unknown when the newest round is too old to tell
	Class        check.Class
	Reason       string
	Duration     time.Duration
	At           time.Time
	CertExpiry   time.Time
}

// Services lists all services in the configuration's order.
func (b *Board) Services(now time.Time) []Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]Status, 0, len(b.services))
	for _, s := range b.services {
		worst, state := b.weigh(now, s)
		st := Status{Service: s.Service, State: state, Since: s.since}
		if worst != nil {
			st.Detail = worst.Detail
		}
		for _, v := range s.ordered() {
			st.Checks = append(st.Checks, v.status(now, b.cfg))
		}
		out = append(out, st)
	}
	return out
}

func (v *vantage) status(now time.Time, c Config) CheckStatus {
	a := v.last.First()
	st := CheckStatus{
		Check: v.spec.Name, Agent: v.agent, Target: v.spec.Target, Outcome: v.last.Outcome(), Class: a.Class,
		Reason: a.Reason, Duration: a.Duration, At: v.last.At, CertExpiry: a.CertExpiry,
	}
	if v.stale(now, c) {
		st.Outcome = check.Unknown
	}
	return st
}

package fleet

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/symptom"
)

// The rules' names in symptoms.
const (
	RuleSilent = "AgentSilent"
	RuleSkew   = "AgentClockSkew"
)

// skewEnds is the share of the limit under which a clock is right again.
const skewEnds = 0.8

// Seen notes that an agent is alive. It costs a lock and is to be called with each message.
func (r *Registry) Seen(now time.Time, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a := r.agents[name]; a != nil {
		a.seen(now)
	}
}

// Heard is Seen with what the agent says of itself.
func (r *Registry) Heard(now time.Time, name string, info Info) {
	info.Version, info.Host, info.Addr, info.Plan = clip(info.Version), clip(info.Host), clip(info.Addr), clip(info.Plan)
	r.mu.Lock()
	defer r.mu.Unlock()
	if a := r.agents[name]; a != nil {
		a.seen(now)
		info.Skew = a.offBy(info.Skew)
		a.Info = info
	}
}

// offBy is by how much an agent's clock is off, which its messages tell about once a minute. One that waited on its way, on a
// line that is full or in a machine that stood still, makes a clock look slow and never fast: slow is what two in a row say.
func (a *agent) offBy(skew time.Duration) time.Duration {
	before, again := a.skew, a.clocked
	a.skew, a.clocked = skew, true
	if skew < 0 && again {
		return max(skew, min(before, 0))
	}
	return skew
}

func (a *agent) seen(now time.Time) {
	a.mark, a.LastHeard, a.dirty = now, now.UTC(), true
	a.LeftAt, a.LeftBy = time.Time{}, ""
	if !a.Silent { // what was found of its host belongs to the silence that is told
		a.Host = Unclear
	}
	if a.Silent && a.backAt.IsZero() {
		a.backAt = now
	}
}

// Silent returns what has changed since it was last called: silences and wrong clocks, each told once when it begins and
// once when it ends. Silence counts only while the collector itself was looking: after its start, and after it stood
// still for several looks, every agent has the whole limit again.
func (r *Registry) Silent(now time.Time) []symptom.Symptom {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notePause(now)
	var out []symptom.Symptom
	for _, a := range r.agents {
		if s, ok := r.silence(now, a); ok {
			out = append(out, s)
		}
		if s, ok := r.skew(now, a); ok {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b symptom.Symptom) int { return strings.Compare(a.Key(), b.Key()) })
	return out
}

// notePause gives every agent the whole limit again after a gap in our own looking: a stopped process, a suspended machine.
func (r *Registry) notePause(now time.Time) {
	last := r.lastLook
	r.lastLook = now
	if last.IsZero() {
		last = now
	}
	// A suspended machine stops its monotonic clock, a stopped process does not: the longer of the two readings tells.
	gap := max(now.Sub(last), now.Round(0).Sub(last.Round(0)))
	if gap <= 3*Look {
		return
	}
	r.metrics.pauses.Inc()
	r.log.Warn("collector stood still; no agent counts as silent before its limit has passed again", "for", gap)
	for _, a := range r.agents {
		a.mark = later(a.mark, now.Add(r.comeback())) // their connections may have broken meanwhile
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func (r *Registry) silence(now time.Time, a *agent) (symptom.Symptom, bool) {
	gone := !a.RevokedAt.IsZero()
	s := symptom.Symptom{
		Source: symptom.FromFleet, Service: "host", Component: a.Name, Class: symptom.Silent, Rule: RuleSilent, At: now.UTC(),
	}
	level, key := r.level(a)
	s.Level = level
	switch {
	case !a.Silent && !gone && r.overdue(now, a):
		a.Silent, a.SilentFrom, a.Told, a.dirty = true, a.mark.UTC().Round(0), level, true
		s.Firing, s.Since = true, a.SilentFrom
		s.Detail = r.silenceText(key, a, now.Sub(a.mark))
	case a.Silent && !gone && a.backAt.IsZero() && a.Told != "" && level.Graver(a.Told):
		a.Told, a.dirty = level, true
		s.Firing, s.Since = true, a.SilentFrom
		s.Detail = r.silenceText(key, a, now.Sub(a.SilentFrom))
	case a.Silent && (gone || !a.backAt.IsZero()):
		s.Since = now.UTC()
		s.Detail = r.text.T("fleet.revoked", "agent", a.Name, "person", a.RevokedBy)
		if !gone {
			s.Since = a.backAt.UTC()
			s.Detail = r.text.T("fleet.back", "agent", a.Name, "seconds", seconds(a.backAt.Sub(a.SilentFrom)))
		}
		a.Silent, a.SilentFrom, a.backAt, a.dirty = false, time.Time{}, time.Time{}, true
		a.Host, a.Told = Unclear, ""
	default:
		return s, false
	}
	s.Evidence = []symptom.Evidence{{At: s.At, Agent: a.Name, Text: s.Detail}}
	return s, true
}

func (a *agent) lastAddr() string {
	if a.Info.Addr != "" {
		return a.Info.Addr
	}
	return a.From
}

func (r *Registry) skew(now time.Time, a *agent) (symptom.Symptom, bool) {
	off := a.Info.Skew.Abs()
	s := symptom.Symptom{
		Source: symptom.FromFleet, Service: "host", Component: a.Name, Class: symptom.Warning, Level: contract.Minor, Rule: RuleSkew,
		Since: a.LastHeard, At: now.UTC(),
	}
	gone := !a.RevokedAt.IsZero()
	switch {
	case !a.Skewed && !gone && off > r.cfg.SkewLimit:
		s.Firing = true
		s.Detail = r.text.T("fleet.skew", "agent", a.Name, "seconds", seconds(a.Info.Skew), "limit", seconds(r.cfg.SkewLimit))
	case a.Skewed && (gone || off <= time.Duration(float64(r.cfg.SkewLimit)*skewEnds)):
		s.Detail = r.text.T("fleet.skew_ended", "agent", a.Name, "seconds", seconds(a.Info.Skew))
	default:
		return s, false
	}
	a.Skewed, a.dirty = s.Firing, true
	s.Evidence = []symptom.Evidence{{At: s.At, Agent: a.Name, Text: s.Detail}}
	return s, true
}

// seconds has one decimal, which is as exact as people need.
func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) }

// look is one round of Run; it says whether something was told, which is then to be written down.
func (r *Registry) look(now time.Time) (told bool) {
	if r.observe == nil {
		return false
	}
	var errs []error
	for _, s := range r.Silent(now) {
		if err := r.observe(now, s); err != nil {
			errs = append(errs, err)
			r.untell(s)
			continue
		}
		told = true
	}
	if err := errors.Join(errs...); err != nil {
		r.log.Error("symptoms of the fleet were not taken; they are told again", "err", err)
	}
	return told
}

// untell takes back that a symptom was told, so that the next look tells it again.
func (r *Registry) untell(s symptom.Symptom) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.agents[s.Component]
	switch {
	case s.Rule == RuleSkew:
		a.Skewed = !s.Firing
	case s.Firing:
		a.Silent, a.SilentFrom, a.Told = false, time.Time{}, ""
	default:
		a.Silent, a.backAt = true, s.Since
	}
}

package pager

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"xunjian/pkg/config"
	"xunjian/pkg/contract"
	"xunjian/pkg/incident"
	"xunjian/pkg/roster"
)

// Step is one step of the escalation: who is called when an incident has waited so long for somebody to acknowledge it.
type Step struct {
	After  string           `yaml:"after"`            // 0s, 90s, 5m, or a share of the response time as 50%
	Who    []string         `yaml:"who"`              // duty, second, manager, or names
	By     []string         `yaml:"by,omitempty"`     // channels: the next one when one fails; default: all that reach people, as listed
	Levels []contract.Level `yaml:"levels,omitempty"` // default: urgent, general
	Hours  []string         `yaml:"hours,omitempty"`  // 08:00-22:00: outside them the step waits; default: at any time
	Repeat time.Duration    `yaml:"repeat,omitempty"` // again and again so long after, until somebody acknowledges
}

// DefaultSteps are R13: the resident engineer at once, second line and manager at half of the response time and again at
// 80 %, and for urgent faults everybody every five minutes from the deadline on.
func DefaultSteps() []Step {
	return []Step{
		{After: "0s", Who: []string{whoDuty}},
		{After: "50%", Who: []string{whoSecond, whoManager}},
		{After: "80%", Who: []string{whoSecond, whoManager}},
		{After: "100%", Who: []string{whoDuty, whoSecond, whoManager}, Levels: []contract.Level{contract.Urgent}, Repeat: 5 * time.Minute},
	}
}

// Words in a step's who that stand for whoever is on duty.
const (
	whoDuty    = "duty"
	whoSecond  = "second"
	whoManager = "manager"
)

var lines = map[string]roster.Line{whoDuty: roster.Resident, whoSecond: roster.Second, whoManager: roster.Manager}

// Bounds of a policy.
const (
	maxSteps  = 20
	minRepeat = 10 * time.Second
)

// offset is when a step is taken: after a time, or after a share of the response time.
type offset struct {
	after time.Duration
	share float64 // of the response time; 0: after counts
	isPct bool
}

func parseOffset(s string) (offset, error) {
	if pct, ok := strings.CutSuffix(s, "%"); ok {
		n, err := strconv.ParseFloat(pct, 64)
		if err != nil || !(n >= 0 && n <= 1000) {
			return offset{}, fmt.Errorf("%q: write a share of the response time as 50%%", s)
		}
		return offset{share: n / 100, isPct: true}, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > 24*time.Hour {
		return offset{}, fmt.Errorf("%q: write a time as 0s, 90s or 5m, or a share of the response time as 50%%", s)
	}
	return offset{after: d}, nil
}

// ValidateSteps reports each step that nobody could take, given the names of people and channels.
func ValidateSteps(steps []Step, people []roster.Person, channels []string, fail config.Fail) {
	if len(steps) > maxSteps {
		fail("", "%d steps, at most %d", len(steps), maxSteps)
	}
	for i, s := range steps {
		at := config.Under(fail, fmt.Sprintf("[%d]", i))
		if _, err := parseOffset(s.After); err != nil {
			at("after", "%v", err)
		}
		if len(s.Who) == 0 {
			at("who", "missing: write duty, second, manager, or names of people")
		}
		for _, w := range s.Who {
			if _, ok := lines[w]; !ok && !slices.ContainsFunc(people, func(p roster.Person) bool { return p.Name == w }) {
				at("who", "%q is neither duty, second or manager, nor anybody in people", w)
			}
		}
		for _, b := range s.By {
			if !slices.Contains(channels, b) {
				at("by", "%q is no channel: want one of %s", b, strings.Join(channels, ", "))
			}
		}
		for _, l := range s.Levels {
			if _, err := contract.ParseLevel(string(l)); err != nil {
				at("levels", "%v", err)
			}
		}
		if _, err := roster.ParseHours(s.Hours); err != nil {
			at("hours", "%v", err)
		}
		if s.Repeat != 0 && (s.Repeat < minRepeat || s.Repeat > 24*time.Hour) {
			at("repeat", "%v: want 10s to 24h, or nothing", s.Repeat)
		}
	}
}

// policy is steps made ready.
type policy struct {
	steps []rung
	loc   *time.Location
}

type rung struct {
	Step
	number int // from 1, as configured
	offset offset
	hours  roster.Hours
}

// newPolicy compiles steps that ValidateSteps has found good.
func newPolicy(steps []Step, loc *time.Location) (policy, error) {
	if len(steps) == 0 {
		steps = DefaultSteps()
	}
	p := policy{loc: loc}
	for i, s := range steps {
		o, err := parseOffset(s.After)
		if err != nil {
			return policy{}, fmt.Errorf("escalation step %d: %w", i+1, err)
		}
		h, err := roster.ParseHours(s.Hours)
		if err != nil {
			return policy{}, fmt.Errorf("escalation step %d: %w", i+1, err)
		}
		if len(s.Levels) == 0 {
			s.Levels = []contract.Level{contract.Urgent, contract.General}
		}
		p.steps = append(p.steps, rung{s, i + 1, o, h})
	}
	return p, nil
}

// timed is a step with the moment at which it is due.
type timed struct {
	rung
	at    time.Time
	plain time.Time // the same, whatever hours and relapses make of it: the order of the steps
}

// schedule lists the steps that an incident of this level has, the first due first. They count from when its response clock
// began to run for this level (an escalated incident has a deadline of its own, R11), or from its relapse.
func (p policy) schedule(r incident.Record) (out []timed) {
	base, due := r.SLAStart, r.ResponseDue
	if limit := r.Terms.Limits(r.Level, r.History.Agreed).Respond; !due.IsZero() && due.Add(-limit).After(base) {
		base = due.Add(-limit)
	}
	back := relapsed(r)
	for _, s := range p.steps {
		if !slices.Contains(s.Levels, r.Level) || s.offset.isPct && due.IsZero() {
			continue
		}
		at := base.Add(s.offset.after)
		if s.offset.isPct {
			at = base.Add(time.Duration(s.offset.share * float64(due.Sub(base))))
		}
		plain := at
		if at.Before(back) {
			at = back
		}
		out = append(out, timed{s, s.hours.Next(at, p.loc), plain})
	}
	slices.SortStableFunc(out, func(a, b timed) int { return cmp.Or(a.at.Compare(b.at), a.plain.Compare(b.plain)) })
	return out
}

// relapsed is when the fault came back as the same incident, zero: it never did. Calls from before do not count any more.
func relapsed(r incident.Record) (at time.Time) {
	for _, s := range r.History.Steps {
		if s.Kind == contract.Failing && s.At.After(at) {
			at = s.At
		}
	}
	return at
}

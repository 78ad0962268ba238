package rule

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"

	"xunjian/pkg/symptom"
)

const (
	maxTold = 10_000          // symptoms firing at one time; more are counted and tried again
	fresh   = 2 * time.Minute // series older than this cannot witness that trouble is over
)

type bookOptions struct {
	Query   rules.QueryFunc
	Sink    Sink
	Logger  *slog.Logger
	Metrics *metrics
	Max     int // symptoms firing at one time, default maxTold
}

// book holds what each rule finds now and what was told of it. Alerts that share a symptom's key (one condition at
// several levels) are one symptom of the gravest level.
type book struct {
	bookOptions

	mu     sync.Mutex            // held while telling, so that the sink hears changes in their order
	groups map[string][]ruleView // by rules.GroupKey; only groups of the set in use
	told   map[string]telling    // by symptom key, at most Max
}

// ruleView is one alerting rule as last evaluated. While it is not known (never evaluated without error) nothing that
// was told under its name ends.
type ruleView struct {
	name   string
	looks  [][]*labels.Matcher // the selectors of its expression
	known  bool
	alerts []finding
}

type finding struct {
	key     string
	state   rules.AlertState
	goodAt  time.Time // of an inactive one: first evaluation at which the condition was gone
	symptom symptom.Symptom
}

type telling struct {
	symptom symptom.Symptom
	held    bool // its alert is gone, and so is the data that could show that the trouble is
}

func newBook(o bookOptions) *book {
	if o.Max == 0 {
		o.Max = maxTold
	}
	return &book{bookOptions: o, groups: map[string][]ruleView{}, told: map[string]telling{}}
}

// expect starts anew with the rules of a set, none of them evaluated yet.
func (b *book) expect(s *set) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.groups = map[string][]ruleView{}
	s.each(func(file string, g rulefmt.RuleGroup, r rulefmt.Rule) {
		key := rules.GroupKey(file, g.Name)
		expr, err := promParser.ParseExpr(r.Expr)
		if err != nil || r.Alert == "" {
			return // the set was checked: only recording rules come here
		}
		b.groups[key] = append(b.groups[key], ruleView{name: r.Alert, looks: parser.ExtractSelectors(expr)})
	})
}

func (b *book) adopt(firing []symptom.Symptom) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range firing {
		if s.Source == symptom.FromRule && s.Firing && len(b.told) < b.Max {
			b.told[s.Key()] = telling{symptom: s}
		}
	}
}

// evaluated reads the alerts of a group that was just evaluated and tells what changed.
func (b *book) evaluated(ctx context.Context, g *rules.Group, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.view(g)
	b.tell(ctx, at)
}

func (b *book) view(g *rules.Group) {
	var now []*rules.AlertingRule
	for _, r := range g.Rules() {
		if ar, ok := r.(*rules.AlertingRule); ok {
			now = append(now, ar)
		}
	}
	views := b.groups[rules.GroupKey(g.File(), g.Name())]
	same := func(v ruleView, r *rules.AlertingRule) bool { return v.name == r.Name() }
	if !slices.EqualFunc(views, now, same) {
		return // a group on its way out after a reload
	}
	for i, r := range now {
		if r.Health() == rules.HealthGood { // else it stands as it was last known
			views[i].known, views[i].alerts = true, findings(r)
		}
	}
}

func findings(r *rules.AlertingRule) (out []finding) {
	r.ForEachActiveAlert(func(a *rules.Alert) {
		if quiet(a.Labels) {
			return
		}
		s := toSymptom(a)
		f := finding{key: s.Key(), state: a.State, symptom: s}
		if a.State == rules.StateInactive {
			f.goodAt = a.ResolvedAt
			if !a.KeepFiringSince.IsZero() {
				f.goodAt = a.KeepFiringSince
			}
		}
		out = append(out, f)
	})
	return out
}

// tell passes on every difference between what is found and what was told.
func (b *book) tell(ctx context.Context, at time.Time) {
	found := b.sum()
	next := maps.Clone(b.told)
	var out []symptom.Symptom
	for key, f := range found {
		t, old := next[key]
		switch {
		case f.state != rules.StateFiring, old && t.symptom.Level == f.symptom.Level:
			continue
		case !old && len(next) >= b.Max:
			b.Metrics.refused.Inc()
			b.Logger.Error("too many symptoms are firing: not told", "rule", f.symptom.Rule, "component", f.symptom.Component)
			continue
		}
		next[key] = telling{symptom: f.symptom}
		out = append(out, f.symptom)
	}
	for key, t := range b.told {
		f := found[key]
		if f.state == rules.StateFiring || f.state == rules.StatePending {
			t = next[key]
			t.held = false
			next[key] = t
			continue
		}
		if b.unsettled(t.symptom.Rule) {
			continue
		}
		if !b.witnessed(ctx, t.symptom, at) {
			t.held = true
			next[key] = t
			continue
		}
		delete(next, key)
		out = append(out, ended(t, f.goodAt, at))
	}
	b.hand(ctx, out, next)
}

func ended(t telling, goodAt, at time.Time) symptom.Symptom {
	s := t.symptom
	s.Firing, s.Since, s.At = false, at, at
	if !t.held && goodAt.After(t.symptom.Since) {
		s.Since = goodAt
	}
	return s
}

// hand gives the changes to the sink; they count as told only when it took them.
func (b *book) hand(ctx context.Context, out []symptom.Symptom, next map[string]telling) {
	if len(out) > 0 {
		slices.SortFunc(out, func(a, b symptom.Symptom) int { return strings.Compare(a.Key(), b.Key()) })
		if err := b.Sink(ctx, out); err != nil {
			b.Metrics.sinkFailures.Inc()
			b.Logger.Error("symptoms were not taken and will be told again", "count", len(out), "err", err)
			return
		}
	}
	b.told = next
	held := 0
	for _, t := range next {
		if t.held {
			held++
		}
	}
	for _, s := range out {
		if s.Firing {
			b.Metrics.told.Inc()
		} else {
			b.Metrics.ended.Inc()
		}
	}
	b.Metrics.firing.Set(float64(len(next)))
	b.Metrics.held.Set(float64(held))
}

// sum joins the findings of all rules by key: firing before pending before inactive, then the gravest; the trouble
// began when the first of the firing ones did.
func (b *book) sum() map[string]finding {
	out := map[string]finding{}
	for _, views := range b.groups {
		for _, v := range views {
			for _, f := range v.alerts {
				old, ok := out[f.key]
				if ok {
					f = join(old, f)
				}
				out[f.key] = f
			}
		}
	}
	return out
}

func join(a, b finding) finding {
	if c := cmp.Compare(rank(a.state), rank(b.state)); c < 0 || c == 0 && b.symptom.Level.Graver(a.symptom.Level) {
		a, b = b, a
	}
	if a.state == b.state && b.symptom.Since.Before(a.symptom.Since) {
		a.symptom.Since = b.symptom.Since
	}
	if a.goodAt.Before(b.goodAt) {
		a.goodAt = b.goodAt
	}
	return a
}

func rank(s rules.AlertState) int {
	return slices.Index([]rules.AlertState{rules.StateInactive, rules.StatePending, rules.StateFiring}, s)
}

// unsettled says that a rule of this name has yet to be evaluated without error.
func (b *book) unsettled(name string) bool {
	for _, views := range b.groups {
		for _, v := range views {
			if v.name == name && !v.known {
				return true
			}
		}
	}
	return false
}

// witnessed says whether the series that the rule looks at still come in for the symptom's host, target or check.
// An alert also goes away when its data does, and time without data is unknown, never a recovery.
func (b *book) witnessed(ctx context.Context, s symptom.Symptom, at time.Time) bool {
	looks := b.looks(s.Rule)
	whole, _, _ := strings.Cut(s.Component, " ")
	if len(looks) == 0 || whole == "" {
		return true // its rule was removed or looks at nothing, or speaks of no one in particular
	}
	for _, label := range []string{labelInstance, labelCheck} {
		for _, sel := range looks {
			v, err := b.Query(ctx, fmt.Sprintf("max(timestamp(%s))", narrowed(sel, label, whole)), at)
			if err == nil && len(v) == 1 && at.Sub(time.UnixMilli(int64(v[0].F*1000))) <= fresh {
				return true
			}
		}
	}
	return false
}

func (b *book) looks(name string) (out [][]*labels.Matcher) {
	for _, views := range b.groups {
		for _, v := range views {
			if v.name == name {
				out = append(out, v.looks...)
			}
		}
	}
	return out
}

// narrowed is a selector restricted to one value of a label.
func narrowed(sel []*labels.Matcher, label, value string) string {
	parts := []string{labels.MustNewMatcher(labels.MatchEqual, label, value).String()}
	for _, m := range sel {
		if m.Name != label {
			parts = append(parts, m.String())
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

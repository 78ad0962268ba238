package collector

import (
	"slices"
	"sync"
	"time"

	"xunjian/pkg/check"
)

// planner knows which agent runs which checks; it is uplink's Planner.
type planner struct {
	mu      sync.Mutex
	every   time.Duration
	checks  []check.Spec
	changed chan struct{} // closed at each change, then replaced
}

func newPlanner() *planner { return &planner{changed: make(chan struct{})} }

// set puts a new configuration in force; every stream sends the new plan at once.
func (p *planner) set(every time.Duration, checks []check.Spec) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.every, p.checks = every, checks
	close(p.changed)
	p.changed = make(chan struct{})
}

// Plan is the agent's plan now; the channel is closed when there may be a newer one.
func (p *planner) Plan(agent string) (check.Plan, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	plan := check.Plan{HostEvery: p.every}
	for _, s := range p.checks {
		if runs(s, agent) {
			plan.Checks = append(plan.Checks, s)
		}
	}
	plan.Stamp()
	return plan, p.changed
}

// assigned says whether the plan gives the check to the agent.
func (p *planner) assigned(agent, name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.checks, func(s check.Spec) bool { return s.Name == name })
	return i >= 0 && runs(p.checks[i], agent)
}

// runs says whether the agent is to run the check: every agent, unless the check names some.
func runs(s check.Spec, agent string) bool {
	return len(s.Agents) == 0 || slices.Contains(s.Agents, agent)
}

package fleet

import (
	"context"
	"sync"
	"time"

	"xunjian/pkg/contract"
)

// Reach is what is found out about the host of an agent that is not heard.
type Reach string

// What may be found.
const (
	Unclear Reach = ""      // nobody could try, or what answered may be another host
	Alive   Reach = "alive" // the host answers, so only its agent is silent
	Gone    Reach = "gone"  // the host does not answer either
)

const (
	tries      = 64               // hosts tried at once
	tryLimit   = 4 * time.Second  // for all of them together, within a Look
	tryAgain   = time.Minute      // while the silence lasts and the host is not known to be gone
	tryPatient = 15 * time.Second // how long a silence waits for its turn before it is told without
)

// try finds out about the hosts of agents that are silent. It works beside everything else: nothing waits for it but the
// next look, and it holds no lock while it tries.
func (r *Registry) try(ctx context.Context, now time.Time) {
	reach, todo := r.untried(now)
	if reach == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, tryLimit)
	defer cancel()
	found := make([]Reach, len(todo))
	var wg sync.WaitGroup
	for i, a := range todo {
		wg.Go(func() { found[i] = reach(ctx, a) })
	}
	wg.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, view := range todo {
		if a := r.agents[view.Name]; a != nil {
			a.Host, a.tried, a.dirty = found[i], now, true
		}
	}
}

// untried are silent agents whose hosts have not been tried, or not lately; as many as can be tried at once. With them comes
// how to try.
func (r *Registry) untried(now time.Time) (reach func(context.Context, Agent) Reach, out []Agent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.agents {
		switch {
		case len(out) == tries:
			return r.reach, out
		case !a.RevokedAt.IsZero() || now.Sub(a.mark) <= r.tryAfter(a):
		case a.tried.Before(a.mark), a.Silent && a.Host != Gone && now.Sub(a.tried) >= tryAgain:
			out = append(out, a.view())
		}
	}
	return r.reach, out
}

// tryAfter is after how long without a word an agent's host is tried: early enough to be known when the silence is told.
func (r *Registry) tryAfter(a *agent) time.Duration {
	if a.stopped() {
		return min(r.cfg.Silence, r.cfg.RestartGrace)
	}
	return r.cfg.Silence
}

// waits says that a silence is to be told once its host has been tried, which is soon.
func (r *Registry) waits(now time.Time, a *agent) bool {
	return r.reach != nil && a.tried.Before(a.mark) && now.Sub(a.mark) <= r.cfg.Silence+tryPatient
}

// level grades a silence (DOMAIN 4.1): a host that is gone is urgent unless another one of its group stands in for it; where
// only the agent is silent nobody is worse off but the monitoring.
func (r *Registry) level(a *agent) (contract.Level, string) {
	switch {
	case a.stopped():
		return contract.Minor, "fleet.stopped"
	case a.Host == Alive:
		return contract.Minor, "fleet.silent_alive"
	case a.Host == Gone && r.covered(a):
		return contract.General, "fleet.silent_covered"
	case a.Host == Gone:
		return contract.Urgent, "fleet.silent_gone"
	}
	return r.cfg.SilenceLevel, "fleet.silent"
}

// covered says that another agent of the same group is heard.
func (r *Registry) covered(a *agent) bool {
	group := r.cfg.group(a.Name)
	if group == "" {
		return false
	}
	for _, o := range r.cfg.Agents {
		peer := r.agents[o.Name]
		if o.Redundant == group && o.Name != a.Name && peer != nil && !peer.Silent && peer.LeftAt.IsZero() && peer.RevokedAt.IsZero() && !peer.LastHeard.IsZero() {
			return true
		}
	}
	return false
}

// group is the group of hosts that stand in for one another to which an agent's belongs; empty: none.
func (c Config) group(name string) string {
	for _, a := range c.Agents {
		if a.Name == name {
			return a.Redundant
		}
	}
	return ""
}

// Address is where the configuration says that an agent's host is, empty when it does not.
func (c Config) Address(name string) string {
	for _, a := range c.Agents {
		if a.Name == name {
			return a.Address
		}
	}
	return ""
}

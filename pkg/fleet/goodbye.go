package fleet

import (
	"cmp"
	"time"
)

// Leaves notes that an agent was ended on purpose, by a signal. That excuses the agent and not its host: for RestartGrace
// nothing is told, for it may be a restart; after it the agent was stopped, a minor gap; but a host that is found gone is told
// as ever.
func (r *Registry) Leaves(now time.Time, name, by string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.agents[name]
	if a == nil {
		return
	}
	a.seen(now)
	a.LeftAt, a.LeftBy, a.Host, r.parted = now.UTC().Round(0), cmp.Or(clip(by), "?"), Unclear, true
	r.log.Info("agent was ended on purpose", "agent", name, "signal", a.LeftBy)
}

// hasParted says whether an agent has taken its leave since it was last asked.
func (r *Registry) hasParted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.parted
	r.parted = false
	return was
}

// stopped says that the agent was ended on purpose and nothing shows that its host went with it.
func (h heard) stopped() bool { return !h.LeftAt.IsZero() && h.Host != Gone }

// overdue says that an agent has been away for longer than it may.
func (r *Registry) overdue(now time.Time, a *agent) bool {
	limit := r.cfg.Silence
	if a.stopped() {
		limit = r.cfg.RestartGrace
	}
	return now.Sub(a.mark) > limit && !r.waits(now, a)
}

// silenceText is what is told of an agent that is away, in one of the words that level chooses.
func (r *Registry) silenceText(key string, a *agent, away time.Duration) string {
	at := a.LeftAt.In(r.zone).Format("15:04")
	text := r.text.T(key, "agent", a.Name, "seconds", seconds(away), "addr", a.lastAddr(), "at", at, "signal", a.LeftBy)
	if !a.LeftAt.IsZero() && !a.stopped() {
		text += r.text.T("fleet.after_goodbye", "at", at, "signal", a.LeftBy)
	}
	return text
}

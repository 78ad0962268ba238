package collector

import (
	"cmp"
	"hash/fnv"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"xunjian/pkg/check"
	"xunjian/pkg/config"
)

// planner knows which agent runs which checks, on time or standing by; it is uplink's Planner.
type planner struct {
	mu       sync.Mutex
	every    time.Duration
	location string
	periods  []check.Period
	checks   []check.Spec
	labels   map[string]map[string]string // of agents, as configured
	known    []string                     // agents that are configured or have asked for a plan, in order
	accounts map[string]string            // by check that logs in
	onTime   map[string][]string          // by check that wants some vantages only: the agents that run it
	seen     map[string]time.Time         // when an agent was last there
	started  time.Time
	changed  chan struct{} // closed at each change, then replaced

	asks    *rate.Limiter // probes wanted at once
	request uint64
	now     func() time.Time
}

const (
	// away is how long an agent may be gone until another takes over its checks; a connection that breaks comes back sooner.
	away = 30 * time.Second
	// gathering is the time after the start in which agents come back, so that each check finds its usual ones.
	gathering = time.Minute
	// Out-of-turn probes of the whole fleet: an outage of everything must not double what is asked for long.
	asksPerSecond, asksBurst = 50, 500
)

func newPlanner(now func() time.Time) *planner {
	return &planner{
		changed: make(chan struct{}), onTime: map[string][]string{}, seen: map[string]time.Time{}, started: now(), now: now,
		asks: rate.NewLimiter(asksPerSecond, asksBurst),
	}
}

// set puts a new configuration in force; every stream sends the new plan at once.
func (p *planner) set(c Config) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.every, p.location, p.checks, p.labels = c.Host.Every, c.Location, c.Checks, map[string]map[string]string{}
	p.periods = c.Roster.Paces()
	for _, a := range c.Fleet.Agents {
		p.labels[a.Name] = a.Labels
		p.meet(a.Name)
	}
	onTime := map[string][]string{}
	p.accounts = map[string]string{}
	for _, s := range c.Checks {
		p.accounts[s.Name] = s.Account()
		if old := slices.DeleteFunc(p.onTime[s.Name], func(a string) bool { return !p.may(s, a) }); s.Vantages > 0 {
			onTime[s.Name] = old
		}
	}
	p.onTime = onTime
	p.choose(p.now())
	p.stir()
}

// stir tells every stream that there may be a newer plan. The caller holds mu.
func (p *planner) stir() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// meet makes an agent known. The caller holds mu.
func (p *planner) meet(agent string) {
	if i, found := slices.BinarySearch(p.known, agent); !found {
		p.known = slices.Insert(p.known, i, agent)
	}
}

// Plan is the agent's plan now; the channel is closed when there may be a newer one.
func (p *planner) Plan(agent string) (check.Plan, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	p.meet(agent)
	p.seen[agent] = now
	if p.choose(now) {
		p.stir()
	}
	plan := check.Plan{HostEvery: p.every, Location: p.location}
	for _, x := range p.periods {
		if now.Before(x.To) {
			plan.Periods = append(plan.Periods, x)
		}
	}
	for _, s := range p.checks {
		if p.may(s, agent) {
			s.Standby = s.Vantages > 0 && !slices.Contains(p.onTime[s.Name], agent)
			plan.Checks = append(plan.Checks, s)
		}
	}
	plan.Stamp()
	return plan, p.changed
}

// assigned says whether the plan gives the check to the agent, on time or standing by.
func (p *planner) assigned(agent, name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.checks, func(s check.Spec) bool { return s.Name == name })
	return i >= 0 && p.may(p.checks[i], agent)
}

// may says whether the agent may run the check: every agent, unless the check names some, or labels that they must have.
func (p *planner) may(s check.Spec, agent string) bool {
	return (len(s.Agents) == 0 || slices.Contains(s.Agents, agent)) && has(p.labels[agent], s.Vantage)
}

// has says whether labels hold all those wanted.
func has(labels, wanted map[string]string) bool {
	for name, value := range wanted {
		if labels[name] != value {
			return false
		}
	}
	return true
}

// tick notes which agents are there and sees, here once a second, and not while the board is locked.
func (p *planner) tick(now time.Time, there func(agent string) bool) {
	p.mu.Lock()
	agents := slices.Clone(p.known)
	some := len(p.onTime) > 0
	p.mu.Unlock()
	if !some {
		return
	}
	agents = slices.DeleteFunc(agents, func(a string) bool { return !there(a) })
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range agents {
		p.seen[a] = now
	}
	if p.choose(now) {
		p.stir()
	}
}

// choose gives each check that wants so many vantages as many agents that are there. Those who run it keep it while they
// are there; one that comes back stands by. Checks of one account go to the same agents as far as they may, for each agent counts
// refusals for itself, and together they would lock it. Says whether anything changed. The caller holds mu.
func (p *planner) choose(now time.Time) (changed bool) {
	settled := now.Sub(p.started) > gathering
	shown := map[string][]string{} // by account, where
	for name, agents := range p.onTime {
		if account := p.accounts[name]; account != "" && settled {
			shown[account] = append(shown[account], agents...)
		}
	}
	for _, s := range p.checks {
		if s.Vantages == 0 {
			continue
		}
		account := p.accounts[s.Name]
		var here, gone []string
		for _, a := range p.known {
			switch {
			case !p.may(s, a):
			case now.Sub(p.seen[a]) <= away:
				here = append(here, a)
			default:
				gone = append(gone, a)
			}
		}
		keeps := func(a string) int { return b2i(settled && slices.Contains(p.onTime[s.Name], a)) }
		shows := func(a string) int { return b2i(slices.Contains(shown[account], a)) }
		key := cmp.Or(account, s.Name)
		slices.SortFunc(here, func(a, b string) int {
			return cmp.Or(cmp.Compare(keeps(b), keeps(a)), cmp.Compare(shows(b), shows(a)), cmp.Compare(affinity(key, a), affinity(key, b)))
		})
		next := append(here, gone...) // one that is gone may run it all the same
		next = next[:min(s.Vantages, len(next))]
		slices.Sort(next)
		if account != "" {
			shown[account] = append(shown[account], next...)
		}
		if !slices.Equal(next, p.onTime[s.Name]) {
			p.onTime[s.Name], changed = next, true
		}
	}
	return changed
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// affinity spreads checks over agents, the same way at each start.
func affinity(check, agent string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(check + "\x00" + agent)) // never fails
	return h.Sum64()
}

// mostTried bounds how many agents are looked at to find one that can be asked.
const mostTried = 256

// another names an agent that runs or stands by for a check and is there: the one wanted, or any but one, on-time ones
// first. The request's name is unique while this process lives.
func (p *planner) another(name, want, but string, there func(agent string) bool) (agent, request string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.checks, func(s check.Spec) bool { return s.Name == name })
	if i < 0 || len(p.known) == 0 {
		return "", "", false
	}
	s := p.checks[i]
	first := int(affinity(name, but) % uint64(len(p.known)))
	candidates := slices.Clone(p.onTime[name])
	if want != "" {
		candidates = []string{want}
	}
	for n := range min(len(p.known), mostTried) {
		candidates = append(candidates, p.known[(first+n)%len(p.known)])
	}
	for _, a := range candidates {
		if a != but && p.may(s, a) && there(a) {
			if !p.asks.AllowN(p.now(), 1) {
				return "", "", false
			}
			p.request++
			return a, "q" + strconv.FormatUint(p.request, 10), true
		}
	}
	return "", "", false
}

// askOther is the board's Asker: it tells an agent that stands at another place to ask a check at once.
func (c *Collector) askOther(name, want, but string) bool {
	agent, request, ok := c.plans.another(name, want, but, c.uplink.Connected)
	return ok && c.uplink.ProbeNow(agent, name, request)
}

// silent says whether an agent that is to make the check is silent and that is told, so that it explains why nobody looks.
func (c *Collector) silent(name string) bool {
	for _, a := range c.fleet.Agents() {
		if a.Silent && c.plans.assigned(a.Name, name) {
			return true
		}
	}
	return false
}

// validateVantages sees that the agents which a check wants are there, and the check that goes around the gateway.
func (n *names) validateVantages(s check.Spec, fail config.Fail) {
	if s.Direct != "" && (s.Direct == s.Name || n.known[s.Direct] == "") {
		fail("direct", "%q is no other check", s.Direct)
	}
	if len(s.Vantage) == 0 {
		return
	}
	found := 0
	for _, a := range n.agents {
		if has(a.Labels, s.Vantage) && (len(s.Agents) == 0 || slices.Contains(s.Agents, a.Name)) {
			found++
		}
	}
	if found < max(1, s.Vantages) {
		fail("vantage", "%d agents of fleet.agents have these labels, want at least %d", found, max(1, s.Vantages))
	}
}

package collector

import (
	"strings"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/config"
	"xunjian/pkg/contract"
	"xunjian/pkg/incident"
)

// desk is what the incident desk takes from the configuration.
func (c *Config) desk() (incident.Settings, error) {
	calendar, err := c.calendar()
	if err != nil {
		return incident.Settings{}, err
	}
	office := c.Contract.Office
	s := incident.Settings{
		Services: c.Services, Terms: c.Contract.Terms, Pace: map[string]time.Duration{}, Emergency: c.Incidents.Emergency,
		Working: func(at time.Time) *contract.Working { return calendar.Working(office, at) },
	}
	for _, p := range c.Report.Planned {
		s.Planned = append(s.Planned, incident.Window{Services: p.Services, From: p.From.UTC(), To: p.To.UTC(), Reason: p.Reason})
	}
	periods := c.Roster.Important
	s.Frozen = func(from, to time.Time) string {
		for _, p := range periods {
			if p.From.Before(to) && from.Before(p.To) {
				return p.Name
			}
		}
		return ""
	}
	for _, k := range c.Checks {
		s.Pace[k.Service] = max(s.Pace[k.Service], k.Every)
	}
	return s, nil
}

// validateNeeds sees that what a service stands on is there, and does not stand on the service itself.
func (n *names) validateNeeds(s check.Service, fail config.Fail) {
	for _, on := range s.Needs {
		switch {
		case !n.defined[on]:
			fail("needs", "%q is not among the services", on)
		case n.reaches(on, s.Name, map[string]bool{}):
			fail("needs", "%q stands on %s itself: what fails first would be anybody's guess", on, s.Name)
		}
	}
	for _, h := range s.Hosts {
		if strings.TrimSpace(h) == "" {
			fail("hosts", "an empty name: want an agent's")
		}
	}
}

// reaches says whether one service stands on another, or is it.
func (n *names) reaches(from, to string, seen map[string]bool) bool {
	if from == to {
		return true
	}
	if seen[from] {
		return false
	}
	seen[from] = true
	for _, on := range n.needs[from] {
		if n.reaches(on, to, seen) {
			return true
		}
	}
	return false
}

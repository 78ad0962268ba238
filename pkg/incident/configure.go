package incident

import (
	"xunjian/pkg/check"
	"xunjian/pkg/contract"
)

// Configure takes new services and terms over. Incidents that are open keep the terms under which they opened.
func (d *Desk) Configure(services []check.Service, terms contract.Terms) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.o.Terms = terms
	d.services = map[string]check.Service{}
	for _, s := range services {
		d.services[s.Name] = s
	}
}

package incident

import (
	"fmt"
	"maps"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/contract"
)

// Configure takes new settings over. Incidents that are open keep the terms under which they opened.
func (d *Desk) Configure(s Settings) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.configure(s)
	d.wake()
}

func (d *Desk) configure(s Settings) {
	if s.Terms == (contract.Terms{}) {
		s.Terms = contract.DefaultTerms()
	}
	d.newCalendar = s.Working != nil
	d.set, d.estate, d.services = s, newEstate(s.Services), map[string]check.Service{}
	for _, one := range s.Services {
		d.services[one.Name] = one
	}
	maps.DeleteFunc(d.windows, func(_ string, w Window) bool { return w.By == "" })
	for i, w := range s.Planned {
		w.ID = fmt.Sprintf("config-%d", i+1)
		d.windows[w.ID] = w
	}
}

// terms are those of an incident that opens now.
func (d *Desk) terms(now time.Time) contract.Terms {
	t := d.set.Terms
	if d.set.Working != nil {
		t.Working = d.set.Working(now)
	}
	return t
}

// patience is how long a service's checks may take to find out that it is well.
func (d *Desk) patience(service string) time.Duration { return 2 * d.set.Pace[service] }

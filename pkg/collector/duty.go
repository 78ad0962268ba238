package collector

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"xunjian/pkg/access"
	"xunjian/pkg/config"
	"xunjian/pkg/i18n"
	"xunjian/pkg/pager"
	"xunjian/pkg/roster"
)

// foreseen is how far ahead a configuration is looked at for times in which nobody is on duty: a month and a few days.
const foreseen = 35 * 24 * time.Hour

// people is the configuration's, with nothing left to guess.
func (c *Config) people() []roster.Person { return roster.WithDefaults(c.People, c.Language) }

// dutyPlan is the roster of the configuration.
func (c *Config) dutyPlan() (*roster.Plan, error) {
	calendar, err := c.calendar()
	if err != nil {
		return nil, err
	}
	return roster.NewPlan(c.people(), c.Roster, calendar, c.location())
}

// validatePeople sees that everybody who is named is somebody.
func (c *Config) validatePeople(fail config.Fail) {
	roster.ValidatePeople(c.People, config.Under(fail, "people"))
	c.Roster.Validate(c.People, config.Under(fail, "roster"))
	pager.ValidateSteps(c.Pages.Escalation, c.People, c.Pages.Personal(), config.Under(fail, "pages.escalation"))
}

// Warnings are what a configuration may have and probably should not, for people to read.
func (c *Config) Warnings(now time.Time, p *i18n.Printer) (out []string) {
	out = append(c.accountsApart(p), c.unhurried(now, p)...)
	plan, err := c.dutyPlan()
	if err != nil {
		return out // told as a fault
	}
	stamp := func(t time.Time) string { return t.In(c.location()).Format("2006-01-02 15:04") }
	gaps := plan.Gaps(now, now.Add(foreseen), nil)
	for i, g := range gaps {
		if i == maxWarned {
			return append(out, p.T("roster.gap_more", "n", fmt.Sprint(len(gaps)-i)))
		}
		out = append(out, p.T("roster.gap", "line", p.T("roster.line."+string(g.Line)), "from", stamp(g.From), "to", stamp(g.To)))
	}
	return out
}

// unhurried names the checks that keep their pace in important periods to come.
func (c *Config) unhurried(now time.Time, p *i18n.Printer) (out []string) {
	for _, x := range c.Roster.Important {
		var names []string
		times := cmp.Or(x.Pace, 2)
		for _, s := range c.Checks {
			if times > 1 && !s.Hastens(times) {
				names = append(names, s.Name)
			}
		}
		if len(names) > 0 && now.Before(x.To) {
			out = append(out, p.T("roster.unhurried", "period", x.Name, "n", fmt.Sprint(len(c.Checks)-len(names)), "times", fmt.Sprint(times), "checks", strings.Join(names, ", ")))
		}
	}
	return out
}

// maxWarned bounds the list of gaps: a roster without nights has one each night.
const maxWarned = 10

func (c *Collector) openRoster() error {
	plan, err := c.cfg.dutyPlan()
	if err != nil {
		return err
	}
	if c.roster, err = roster.Open(c.records, plan, c.registry); err != nil {
		return err
	}
	return nil
}

// admit lets people act by the tokens that the configuration names.
func (c *Collector) admit() error {
	holders, err := access.ReadTokens(c.cfg.people())
	if err != nil {
		return err
	}
	c.access.Admit(holders)
	c.warn(c.cfg)
	return nil
}

// warn logs what is probably not meant.
func (c *Collector) warn(cfg Config) {
	for _, w := range cfg.Warnings(time.Now(), i18n.For("en")) {
		c.log.Warn("roster", "gap", w)
	}
}

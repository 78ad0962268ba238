package collector

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"xunjian/pkg/check"
	"xunjian/pkg/i18n"
)

// accountsApart warns of accounts that several agents show: each counts refusals for itself and stops at the second, so that
// together they may lock what one alone would not. The planner keeps checks of one account together where all may be made by
// the same agents.
func (c *Config) accountsApart(p *i18n.Printer) (out []string) {
	of := map[string][]check.Spec{}
	for _, s := range c.Checks {
		account := s.Account()
		if account == "" {
			continue
		}
		if s.Vantages > 1 {
			out = append(out, p.T("collector.account_vantages", "check", s.Name, "n", strconv.Itoa(s.Vantages)))
		}
		of[account] = append(of[account], s)
	}
	for _, account := range slices.Sorted(maps.Keys(of)) {
		if checks := of[account]; apart(checks) {
			var names []string
			for _, s := range checks {
				names = append(names, s.Name)
			}
			out = append(out, p.T("collector.account_apart", "checks", strings.Join(names, ", ")))
		}
	}
	return out
}

// apart says that checks may have to be made by different agents.
func apart(checks []check.Spec) bool {
	first := checks[0]
	return slices.ContainsFunc(checks[1:], func(s check.Spec) bool {
		return !slices.Equal(slices.Sorted(slices.Values(s.Agents)), slices.Sorted(slices.Values(first.Agents))) || !maps.Equal(s.Vantage, first.Vantage)
	})
}

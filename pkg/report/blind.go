package report

import (
	"cmp"
	"slices"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/incident"
	"xunjian/pkg/inspect"
)

// blind are the times in which an agent reached nothing, as the incidents about it say: what it could not see then was no
// service's fault, though its samples say that it failed.
func (s Sources) blind(asOf time.Time) func(agent string) []contract.Span {
	by := map[string][]contract.Span{}
	for _, r := range s.Faults {
		if r.Rule != inspect.RuleVantageLost || r.State == incident.FalseAlarm || r.FaultStart.After(asOf) {
			continue
		}
		end := asOf
		for _, t := range []time.Time{r.VerifyingSince, r.RecoveredAt} {
			if !t.IsZero() && t.Before(end) {
				end = t
			}
		}
		by[r.Component] = append(by[r.Component], contract.Span{From: r.FaultStart.UnixMilli(), To: end.UnixMilli()})
	}
	return func(agent string) []contract.Span { return joined(by[agent]) }
}

// joined are the spans in order, those that touch as one.
func joined(spans []contract.Span) (out []contract.Span) {
	slices.SortFunc(spans, func(a, b contract.Span) int { return cmp.Compare(a.From, b.From) })
	for _, s := range spans {
		if n := len(out); n > 0 && s.From <= out[n-1].To {
			out[n-1].To = max(out[n-1].To, s.To)
			continue
		}
		out = append(out, s)
	}
	return out
}

package report

import (
	"slices"

	"xunjian/pkg/contract"
	"xunjian/pkg/measure"
)

// summary is chapter 1: this month beside the one before, whose faults are old.
func (b *builder) summary(m *Model, before []ServiceLine, old []Fault) (out []Headline) {
	for _, s := range m.Services {
		h := Headline{
			Key: "availability", Subject: s.Name, TitleZH: s.ZH, TitleEN: s.EN, Unit: Share,
			Now: s.Always, Target: measure.Known(b.cfg.Target), Verdict: s.Verdict,
		}
		if i := slices.IndexFunc(before, func(p ServiceLine) bool { return p.Name == s.Name }); i >= 0 {
			h.Previous = before[i].Always
		}
		out = append(out, h)
	}
	done := Headline{Key: "inspections", Unit: Share, Now: inspected(m.Services), Previous: inspected(before), Target: measure.Known(b.cfg.InspectTarget)}
	done.Verdict = reach(done.Now, done.Target)
	out = append(out, done)
	sums := levels(old)
	for i, l := range contract.Levels {
		out = append(out, Headline{
			Key: "faults", Subject: string(l), Unit: Count, Verdict: NoTarget,
			Now: counted(m.Levels[i].Count, m.Watched), Previous: counted(sums[i].Count, watched(before, old)),
		})
	}
	last := len(sums) - 1
	sla := Headline{Key: "sla", Unit: Share, Now: kept(m.Levels[last]), Previous: kept(sums[last]), Target: measure.Known(1.0), Provisional: m.Levels[last].Provisional}
	sla.Verdict = reach(sla.Now, sla.Target)
	return append(out, sla)
}

// counted is a count of faults; in a month of which nothing was recorded it says nothing.
func counted(n int64, watched bool) measure.Maybe[float64] {
	return measure.Maybe[float64]{Value: float64(n), Known: watched}
}

// inspected is the share of the planned rounds that were done.
func inspected(lines []ServiceLine) measure.Maybe[float64] {
	var done, planned int64
	for _, s := range lines {
		done, planned = done+s.Done, planned+s.Planned
	}
	return measure.Ratio(done, planned)
}

// kept is the share of the faults with a settled deadline that met it.
func kept(l LevelSum) measure.Maybe[float64] { return measure.Ratio(l.Met, l.Met+l.Breached) }

func reach(v, target measure.Maybe[float64]) Verdict {
	switch {
	case !v.Known:
		return NoData
	case v.Value < target.Value:
		return Missed
	}
	return Met
}

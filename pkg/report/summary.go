package report

import "xunjian/pkg/contract"

// summary is chapter 1: this month beside the one before.
func (b *builder) summary(m *Model, before []ServiceLine, sums []LevelSum) (out []Headline) {
	for i, s := range m.Services {
		h := Headline{
			Key: "availability", Subject: s.Name, TitleZH: s.ZH, TitleEN: s.EN, Unit: Share,
			Now: s.Always, Previous: before[i].Always, Target: Known(b.cfg.Target), Verdict: s.Verdict,
		}
		out = append(out, h)
	}
	done := Headline{Key: "inspections", Unit: Share, Now: inspected(m.Services), Previous: inspected(before), Target: Known(b.cfg.InspectTarget)}
	done.Verdict = reach(done.Now, done.Target)
	out = append(out, done)
	for i, l := range contract.Levels {
		out = append(out, Headline{
			Key: "faults", Subject: string(l), Unit: Count, Verdict: NoTarget,
			Now: Known(float64(m.Levels[i].Count)), Previous: b.countBefore(sums[i], before),
		})
	}
	all, old := m.Levels[len(m.Levels)-1], sums[len(sums)-1]
	sla := Headline{Key: "sla", Unit: Share, Now: kept(all), Previous: kept(old), Target: Known(1.0)}
	sla.Verdict = reach(sla.Now, sla.Target)
	return append(out, sla)
}

// countBefore is the number of faults of the month before; in a month without any record of anything it says nothing.
func (b *builder) countBefore(s LevelSum, before []ServiceLine) Maybe[float64] {
	if s.Count > 0 || inspected(before).Known && doneAny(before) {
		return Known(float64(s.Count))
	}
	return Maybe[float64]{}
}

func doneAny(lines []ServiceLine) bool {
	for _, s := range lines {
		if s.Done > 0 {
			return true
		}
	}
	return false
}

// inspected is the share of the planned rounds that were done.
func inspected(lines []ServiceLine) Maybe[float64] {
	var done, planned int64
	for _, s := range lines {
		done, planned = done+s.Done, planned+s.Planned
	}
	return ratio(done, planned)
}

// kept is the share of the faults with a settled deadline that met it.
func kept(l LevelSum) Maybe[float64] { return ratio(l.Met, l.Met+l.Breached) }

func reach(v, target Maybe[float64]) Verdict {
	switch {
	case !v.Known:
		return NoData
	case v.Value < target.Value:
		return Missed
	}
	return Met
}

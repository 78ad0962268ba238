package measure

import (
	"context"
	"slices"
)

// What stands beside the figures of a check: planned windows, and the faults of others that it shows.

func (m *Maker) windows(c Check) set {
	if m.Planned == nil {
		return nil
	}
	return spansOf(m.Planned(c.Service, c.Name))
}

// elsewhere is when a check that goes through a gateway fails for what stands behind it: while the direct check of the same
// thing, of another service, is down (DOMAIN 1.0 rule 7). Before its first failing result the direct check may have been down
// for as long as its interval; the check itself shows the end at its own next round.
func (m *Maker) elsewhere(ctx context.Context, c Check, window span) (out set, err error) {
	i := slices.IndexFunc(m.Checks, func(d Check) bool { return c.Direct != "" && d.Name == c.Direct && d.Service != c.Service })
	if i < 0 {
		return nil, nil
	}
	of := m.reading(c, window)
	d := m.reading(m.Checks[i], span{window.from - of.back().Milliseconds(), window.to})
	d.exists = []span{d.window}
	vs, err := d.read(ctx, ofCheck)
	if err != nil {
		return nil, err
	}
	for _, r := range combine([]lane{d.lane(vs)}, d.window) {
		if r.state != down {
			continue
		}
		s := span{r.from - d.pace.at(r.from), r.to + of.pace.at(r.to)}
		if n := len(out); n > 0 && s.from <= out[n-1].to {
			s.from = out[n-1].from
			out = out[:n-1]
		}
		out = append(out, s)
	}
	return out, nil
}

func (m *Maker) blind(agent string) set {
	if m.Blind == nil {
		return nil
	}
	return spansOf(m.Blind(agent))
}

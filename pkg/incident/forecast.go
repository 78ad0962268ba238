package incident

import (
	"time"

	"xunjian/pkg/contract"
)

// warn writes down the shares of the recovery time that are used up, each once, however late it is noticed (R13). Those of
// the response time are the pager's, who knows whom to call next.
func (w *draft) warn() {
	if !w.rec.Open() {
		return
	}
	for _, o := range w.rec.Terms.Forecast(w.rec.History, w.now, 0) {
		for _, g := range o.Warnings {
			if w.rec.awaits(g) && !g.At.After(w.now) {
				w.add(Event{Kind: EventWarned, Of: g.At, Level: g.Level, Warning: &g})
			}
		}
	}
}

// awaits says that a warning is still to be given. At the whole time it is the missed deadline itself that is told.
func (r Record) awaits(g contract.Warning) bool {
	if g.Clock != contract.Recovery || g.Share >= 100 || !g.At.After(r.WarnAfter) {
		return false
	}
	for _, old := range r.Warned {
		if old.Clock == g.Clock && old.Level == g.Level && old.Share == g.Share {
			return false
		}
	}
	return true
}

// nextWarning is when warn will have something to write, in the record's time; zero: not by time alone.
func (r Record) nextWarning() (next time.Time) {
	if !r.Open() {
		return next
	}
	for _, o := range r.Terms.Forecast(r.History, r.UpdatedAt, 0) {
		for _, g := range o.Warnings {
			if r.awaits(g) {
				next = earlier(next, g.At)
			}
		}
	}
	return next
}

func (r *Record) warned(e Event) {
	r.Warned = append(r.Warned[:len(r.Warned):len(r.Warned)], *e.Warning)
}

// Similar incidents are those of the same key; of the same service and level where these are fewer than leastSimilar; or of
// the same level.
const (
	leastSimilar = 3
	mostSimilar  = 50 // the latest
)

func (r Record) kinships() []string {
	l := string(r.Level)
	return []string{l + "/" + r.Key, l + "/" + r.Service, l}
}

// learn takes a recovery time in. The caller holds mu.
func (d *Desk) learn(r Record) {
	if r.RecoveredAt.IsZero() || !r.Counts() {
		return
	}
	net := r.clocks(r.UpdatedAt).Recovery.Net
	for _, k := range r.kinships() {
		d.times[k] = append(d.times[k][max(0, len(d.times[k])-mostSimilar+1):], net)
	}
}

// Typical is the median recovery time of incidents similar to one, 0 when too few are known.
func (d *Desk) Typical(r Record) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, k := range r.kinships() {
		if len(d.times[k]) >= leastSimilar {
			return contract.Median(d.times[k])
		}
	}
	return 0
}

// Forecast says how an incident's running clocks stand at a moment of the wall clock, and what they come to.
func (d *Desk) Forecast(r Record, now time.Time) []contract.Outlook {
	if r.Filed() {
		return nil
	}
	out := r.Terms.Forecast(r.History, r.own(now), d.Typical(r))
	for i := range out {
		out[i].Due = r.desk(out[i].Due)
		for j := range out[i].Warnings {
			g := &out[i].Warnings[j]
			g.At, g.Due = r.desk(g.At), r.desk(g.Due)
		}
	}
	return out
}

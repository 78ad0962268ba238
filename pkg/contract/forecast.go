package contract

import (
	"slices"
	"time"
)

// The shares of a clock's time, in per cent, at which people are warned (R13).
var (
	ResponseShares = []int{50, 80, 100}
	RecoveryShares = []int{50, 75, 90, 100}
)

// Warning says that a share of a clock's time is used up at a moment. A share that comes again after an extension has a
// later moment than before.
type Warning struct {
	Clock ClockName `json:"clock"`
	Level Level     `json:"level"` // whose time it is
	Share int       `json:"share"` // in per cent
	At    time.Time `json:"at"`
	Due   time.Time `json:"due"` // the deadline it warns of
}

// Outlook is how a clock that has not stopped for good stands.
type Outlook struct {
	Clock    ClockName
	Level    Level         // whose deadline is next
	Due      time.Time     // moves on while the clock stands
	Allowed  time.Duration // the level's limit, or what an extension made of it
	Used     time.Duration // of it, pauses left out
	Left     time.Duration // below zero once it is missed
	Standing bool          // paused, or stopped to be verified
	Breached bool          // the deadline is missed, and none is left
	AtRisk   bool          // going on like this it will be missed
	Warnings []Warning     // by time; of a clock that stands only those which have passed
}

// Share is how much of its time the clock has used, 1 for all of it.
func (o Outlook) Share() float64 { return o.Used.Seconds() / o.Allowed.Seconds() }

// Forecast says how the clocks stand at now and what they come to if nothing happens: none for a clock that has stopped or
// has no limit. Typical is the median recovery time of similar incidents, 0 when there is none. Like Assess it
// depends on its arguments alone.
func (t Terms) Forecast(h History, now time.Time, typical time.Duration) (out []Outlook) {
	h = h.until(now)
	taken, acknowledged := h.acknowledged()
	if !acknowledged {
		r := t.run(h, Response, now)
		if o, ok := r.outlook(ResponseShares, false); ok {
			o.AtRisk = !o.Breached && o.Used*5 >= o.Allowed*4
			out = append(out, o)
		}
	}
	end, open, verifying := h.recoveryEnd(now)
	if !open {
		return out
	}
	r := t.run(h, Recovery, end)
	if o, ok := r.outlook(RecoveryShares, verifying); ok {
		need := typical
		if acknowledged {
			need = max(typical-r.usedSince(o.Level, taken), 0)
		}
		o.AtRisk = !o.Breached && (need > o.Left || o.Used*4 >= o.Allowed*3)
		out = append(out, o)
	}
	return out
}

// outlook looks at the next deadline that is still to be missed, or at the first one when all are; false: there is none.
func (r *run) outlook(shares []int, stopped bool) (Outlook, bool) {
	level, due := r.focus(false)
	if due.IsZero() {
		level, due = r.focus(true)
	}
	if due.IsZero() {
		return Outlook{}, false
	}
	o := Outlook{
		Clock: r.clock, Level: level, Due: due, Allowed: r.allowed[level], Used: r.used(level),
		Standing: stopped || !r.running(), Breached: r.missed(level),
	}
	o.Left = o.Allowed - o.Used
	for _, share := range shares {
		part := o.Allowed / 100 * time.Duration(share)
		if o.Standing && o.Used < part {
			break
		}
		o.Warnings = append(o.Warnings, Warning{r.clock, level, share, r.moment(level, part, false), due})
	}
	return o, true
}

// focus is the binding level whose deadline comes first, of those missed or of the others.
func (r *run) focus(missed bool) (level Level, due time.Time) {
	for _, l := range Levels {
		if !r.binds(l) || r.missed(l) != missed {
			continue
		}
		if d := r.dueOf(l); due.IsZero() || d.Before(due) {
			level, due = l, d
		}
	}
	return level, due
}

// usedSince is how much of a level's time has been used since a moment.
func (r *run) usedSince(l Level, t time.Time) (sum time.Duration) {
	for _, s := range r.ran {
		if s.from.Before(t) {
			s.from = t
		}
		sum += r.measured(l, s)
	}
	return sum
}

// NextWarning is the first warning after a moment; false when none is to come.
func NextWarning(outlooks []Outlook, after time.Time) (next Warning, ok bool) {
	for _, o := range outlooks {
		for _, w := range o.Warnings {
			if w.At.After(after) && (!ok || w.At.Before(next.At)) {
				next, ok = w, true
			}
		}
	}
	return next, ok
}

// Overdue is when a general fault must become urgent for having missed its recovery (R11): the last moment that would have
// met it. It is false while that is to come or the terms do not ask for it, and once the fault has weighed more.
func (t Terms) Overdue(h History, now time.Time) (time.Time, bool) {
	h = h.until(now)
	_, open, verifying := h.recoveryEnd(now)
	graded := slices.ContainsFunc(h.Steps, func(s Step) bool { return s.Kind == Graded && s.Level == Urgent })
	if !t.EscalateOverdue || h.levelNow() != General || h.Level == Urgent || graded || !open || verifying {
		return time.Time{}, false
	}
	for _, b := range t.run(h, Recovery, now).breaches {
		if b.Level == General {
			return b.At, true
		}
	}
	return time.Time{}, false
}

// ConfirmedBy is when a recovery counts as confirmed if nobody objects (默认确认, R10); false: never by itself.
func (t Terms) ConfirmedBy(recovered time.Time) (time.Time, bool) {
	if t.ConfirmDays == 0 || t.Working == nil || recovered.IsZero() {
		return time.Time{}, false
	}
	return t.Working.Days(recovered, t.ConfirmDays), true
}

// Median is the middle of some recovery times, 0 of none; the caller's order is left alone.
func Median(times []time.Duration) time.Duration {
	if len(times) == 0 {
		return 0
	}
	times = slices.Sorted(slices.Values(times))
	middle := len(times) / 2
	if len(times)%2 == 1 {
		return times[middle]
	}
	return (times[middle-1] + times[middle]) / 2
}

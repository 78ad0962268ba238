package incident

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/i18n"
)

// Clocks that rest on working days of a year whose holidays nobody had announced are counted anew when the notice comes.
// Nothing else that changes in a calendar changes a clock.

// Recount is what a holiday notice that came late made of an incident's clocks.
type Recount struct {
	Years   []int             `json:"years"`   // that were guessed until now
	Working *contract.Working `json:"working"` // what the clocks go by from now on
	Was     Counted           `json:"was"`
	Now     Counted           `json:"now"`
}

// Counted is how the clocks stood at the moment of the event.
type Counted struct {
	ResponseDue time.Time     `json:"response_due,omitzero"`
	RecoveryDue time.Time     `json:"recovery_due,omitzero"`
	ConfirmDue  time.Time     `json:"confirm_due,omitzero"`
	Response    time.Duration `json:"response,omitempty"` // used
	Recovery    time.Duration `json:"recovery,omitempty"` // used, pauses left out
}

// Guesses says that a clock rests on working days that nobody has announced, or the day on which the recovery counts as
// confirmed does.
func (r Record) Guesses(now time.Time) bool { return r.guesses(r.own(now)) }

func (r Record) guesses(at time.Time) bool {
	w := r.Terms.Working
	switch {
	case w == nil:
		return false
	case r.State == Recovered && !r.ConfirmDue.IsZero() && !w.Known(r.ConfirmFrom, r.ConfirmDue.Add(-1)):
		return true
	}
	return r.Terms.GeneralInOffice && r.clocks(at).Provisional
}

func (r Record) counted(at time.Time) Counted {
	c := r.clocks(at)
	return Counted{c.ResponseDue, c.RecoveryDue, r.ConfirmDue, c.Response.Elapsed, c.Recovery.Net}
}

// recount writes down what the desk's calendar makes of clocks that were guessed, if it knows more than they did.
func (w *draft) recount() {
	working := w.b.d.set.Working
	if working == nil || !w.rec.guesses(w.now) {
		return
	}
	old := w.rec.Terms.Working
	known, ok := old.Announced(working(w.rec.OpenedAt))
	if !ok {
		return
	}
	re := Recount{Working: known, Was: w.rec.counted(w.now)}
	re.Years = slices.DeleteFunc(slices.Clone(known.Years), func(y int) bool { return slices.Contains(old.Years, y) })
	after := *w
	after.events, after.pages = nil, nil
	after.rec.Terms.Working = known
	after.rec.confirmBy(after.rec.ConfirmFrom)
	after.judge() // what it was raised for may not have been missed
	re.Now = after.rec.counted(w.now)
	w.add(Event{Kind: EventRecounted, Recount: &re})
}

func (r *Record) recounted(e Event) {
	r.Terms.Working, r.ConfirmDue = e.Recount.Working, e.Recount.Now.ConfirmDue
	if !e.Recount.Was.RecoveryDue.Equal(e.Recount.Now.RecoveryDue) {
		r.Warned, r.WarnAfter = nil, e.At // of the new time
	}
}

// confirmBy sets anew until when nobody's objection confirms a recovery that was written down at a moment.
func (r *Record) confirmBy(from time.Time) {
	if r.State == Recovered && !r.ConfirmDue.IsZero() {
		r.ConfirmDue, _ = r.Terms.ConfirmedBy(from)
	}
}

// recountAll looks at the incidents whose clocks are guessed once a calendar has come. The caller holds mu.
func (d *Desk) recountAll(now time.Time) error {
	for some := range slices.Chunk(slices.Sorted(maps.Keys(d.guessed)), 256) { // what one transaction holds
		b, err := d.batch(now)
		if err != nil {
			return err
		}
		for _, id := range some {
			w, err := b.draft(id)
			if err != nil {
				return fmt.Errorf("count %s anew: %w", id, err)
			}
			w.settle(w.now)
		}
		if err := b.save(); err != nil {
			return err
		}
	}
	d.newCalendar = false
	return nil
}

// Tell says in lines why the clocks were counted anew and what came of it.
func (x Recount) Tell(p *i18n.Printer, loc *time.Location) []string {
	years := make([]string, len(x.Years))
	for i, y := range x.Years {
		years[i] = strconv.Itoa(y)
	}
	out := []string{p.T("incident.recount.why", "years", strings.Join(years, ", "))}
	moved := func(key, was, now string) {
		if was != now {
			out = append(out, p.T("incident.recount."+key, "was", was, "now", now))
		}
	}
	stamp := func(t time.Time) string {
		if t.IsZero() {
			return p.T("incident.recount.none")
		}
		return t.In(loc).Format(time.DateTime)
	}
	used := func(d time.Duration) string {
		s := int64(d / time.Second)
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	moved("response_due", stamp(x.Was.ResponseDue), stamp(x.Now.ResponseDue))
	moved("recovery_due", stamp(x.Was.RecoveryDue), stamp(x.Now.RecoveryDue))
	moved("confirm_due", stamp(x.Was.ConfirmDue), stamp(x.Now.ConfirmDue))
	moved("response", used(x.Was.Response), used(x.Now.Response))
	moved("recovery", used(x.Was.Recovery), used(x.Now.Recovery))
	if len(out) == 1 {
		out = append(out, p.T("incident.recount.same"))
	}
	return out
}

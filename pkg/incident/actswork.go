package incident

import (
	"errors"
	"slices"
	"strings"

	"xunjian/pkg/contract"
)

// What people do about a fault that lasts. Each of these acts shows that its person has taken the fault on.

// Diagnose says that the cause is looked for, and with Act.Note what has been found so far.
func (d *Desk) Diagnose(id string, a Act, _ Diagnosis) (Record, error) {
	return d.work(id, a, func(w *draft, a Act) error {
		w.add(w.act(EventDiagnosed, a))
		return nil
	})
}

// work runs an act that only makes sense while the fault lasts.
func (d *Desk) work(id string, a Act, fn func(w *draft, a Act) error) (Record, error) {
	return d.act(id, a, func(w *draft, a Act) error {
		if err := w.in(lasting...); err != nil {
			return err
		}
		w.imply(a)
		return fn(w, a)
	})
}

// Arrive notes when somebody came to the site (到场时间).
func (d *Desk) Arrive(id string, a Act, v Arrival) (Record, error) {
	return d.work(id, a, func(w *draft, a Act) error {
		at, err := backdated(a, w.now, w.own(v.At), w.rec.Terms.Backdate)
		if err != nil {
			return rename(err, "reported_at", "at")
		}
		e := w.act(EventArrived, a)
		e.Of = at
		w.add(e)
		return nil
	})
}

// rename puts the act's own word for a field into a complaint.
func rename(err error, from, to string) error {
	if bad, ok := errors.AsType[*BadAct](err); ok && bad.Field == from {
		bad.Field = to
	}
	return err
}

// Propose lays a proposal before party A; the recovery clock stands until Decide (R7).
func (d *Desk) Propose(id string, a Act, p Proposal) (Record, error) {
	return d.work(id, a, func(w *draft, a Act) error {
		if err := need(
			field{"measure", p.Measure, maxText, true}, field{"risk", p.Risk, maxText, true}, field{"rollback", p.Rollback, maxText, true},
		); err != nil {
			return err
		}
		e := w.act(EventAsked, a)
		e.Proposal = &p
		w.add(e)
		return nil
	})
}

// Decide writes down party A's word on the proposal that waits; the recovery clock goes on.
func (d *Desk) Decide(id string, a Act, v Decision) (Record, error) {
	return d.act(id, a, func(w *draft, a Act) error {
		if err := w.in(lasting...); err != nil {
			return err
		}
		if w.rec.waiting() == nil {
			return &Conflict{What: "nothing_asked", Incident: id, At: w.rec.UpdatedAt, Version: w.rec.Version}
		}
		if err := need(field{"party_a", v.PartyA, maxName, true}, field{"note", a.Note, maxText, !v.Consent}); err != nil {
			return err
		}
		e := w.act(EventDecided, a)
		e.Consent, e.PartyA = v.Consent, v.PartyA
		w.add(e)
		return nil
	})
}

// Handle writes down what was done. While party A has a proposal before it, only what was approved beforehand may be.
func (d *Desk) Handle(id string, a Act, s Step) (Record, error) {
	d.mu.Lock()
	catalogue := d.set.Emergency
	d.mu.Unlock()
	return d.work(id, a, func(w *draft, a Act) error {
		if s.Emergency != "" && !slices.Contains(catalogue, s.Emergency) {
			return &BadAct{Field: "emergency", Key: "incident.need.emergency", Pairs: []string{"catalogue", strings.Join(catalogue, ", ")}}
		}
		if s.Action == "" {
			s.Action = s.Emergency
		}
		if err := need(field{"action", s.Action, maxText, true}); err != nil {
			return err
		}
		if c := w.rec.waiting(); c != nil && s.Emergency == "" {
			return &Conflict{What: string(Awaiting), Incident: id, Person: c.By, At: c.At, Version: w.rec.Version}
		}
		e := w.act(EventActed, a)
		e.Step = &s
		w.add(e)
		return nil
	})
}

// Bypass says that users can work although the root of the fault is still to be mended (R6). It counts as recovery at once
// if party A agrees; else when the check that watches does, which it must be about to.
func (d *Desk) Bypass(id string, a Act, v Workaround) (Record, error) {
	return d.work(id, a, func(w *draft, a Act) error {
		if err := need(
			field{"measure", v.Measure, maxText, true}, field{"follow_up", v.FollowUp, maxText, true},
			field{"party_a", v.PartyA, maxName, w.rec.VerifyingSince.IsZero()},
		); err != nil {
			return err
		}
		e := w.act(EventBypassed, a)
		e.Workaround, e.PartyA = &v, v.PartyA
		w.add(e)
		if v.PartyA != "" {
			e := w.act(EventRecovered, a)
			e.PartyA = v.PartyA
			w.recovered(e)
		}
		return nil
	})
}

// Pause says that one waits for a third party or the platform of the level above, where the terms let that pause the
// recovery clock (R7). The response clock never pauses.
func (d *Desk) Pause(id string, a Act, p Pausing) (Record, error) {
	return d.work(id, a, func(w *draft, a Act) error {
		if p.Why == contract.Consent || !slices.Contains(contract.Reasons, p.Why) {
			return &BadAct{Field: "why", Key: "incident.need.why"}
		}
		if !w.rec.Terms.Pauses(p.Why) {
			return &BadAct{Field: "why", Key: "incident.need.pause_allowed"}
		}
		if i := w.rec.pausedFor(p.Why); i >= 0 {
			return &Conflict{What: "paused", Incident: id, Person: w.rec.Pauses[i].By, At: w.rec.Pauses[i].From, Version: w.rec.Version}
		}
		if err := need(field{"note", a.Note, maxText, true}); err != nil {
			return err
		}
		e := w.act(EventPaused, a)
		e.Why = p.Why
		w.add(e)
		return nil
	})
}

// Resume says that what was waited for has come.
func (d *Desk) Resume(id string, a Act, p Pausing) (Record, error) {
	return d.act(id, a, func(w *draft, a Act) error {
		if w.rec.pausedFor(p.Why) < 0 {
			return &Conflict{What: "not_paused", Incident: id, At: w.rec.UpdatedAt, Version: w.rec.Version}
		}
		e := w.act(EventResumed, a)
		e.Why = p.Why
		w.add(e)
		return nil
	})
}

// Extend grants more time to a general fault's recovery, if it is asked before the old deadline has passed (R8).
func (d *Desk) Extend(id string, a Act, x Extension) (Record, error) {
	return d.work(id, a, func(w *draft, a Act) error {
		r := w.rec
		x.Until = w.own(x.Until)
		late := slices.IndexFunc(r.Breaches, func(b contract.Breach) bool { return b.Clock == contract.Recovery })
		switch {
		case late >= 0:
			return &Conflict{What: "overdue", Incident: id, At: r.Breaches[late].At, Version: r.Version}
		case r.Level != contract.General || r.RecoveryDue.IsZero():
			return &BadAct{Field: "until", Key: "incident.need.extend_general"}
		case !x.Until.After(r.RecoveryDue):
			return &BadAct{Field: "until", Key: "incident.need.until"}
		}
		if err := need(field{"approver", x.Approver, maxName, true}, field{"note", a.Note, maxText, true}); err != nil {
			return err
		}
		e := w.act(EventExtended, a)
		e.Until, e.PartyA = x.Until, x.Approver
		w.add(e)
		return nil
	})
}

// RecordImpact writes down whom the fault has hit (影响范围); a later word replaces the one before.
func (d *Desk) RecordImpact(id string, a Act, v Impact) (Record, error) {
	return d.act(id, a, func(w *draft, a Act) error {
		if err := w.in(unsigned...); err != nil {
			return err
		}
		if v.People < 0 || v == (Impact{}) {
			return &BadAct{Field: "people", Key: "incident.need.impact"}
		}
		if err := need(field{"departments", v.Departments, maxText, false}, field{"functions", v.Functions, maxText, false}); err != nil {
			return err
		}
		e := w.act(EventImpact, a)
		e.Impact = &v
		w.add(e)
		return nil
	})
}

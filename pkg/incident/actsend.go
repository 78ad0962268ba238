package incident

import (
	"errors"
	"slices"
	"strings"
)

// How a fault ends: recovered, confirmed, archived; or merged, or a false alarm.

// Resolve writes down cause and handling. Where no check watches the fault it also declares the recovery,
// provisional until it is confirmed; else the check itself must stay good (R5).
func (d *Desk) Resolve(id string, a Act, c Account) (Record, error) {
	return d.act(id, a, func(w *draft, a Act) error {
		if err := w.in(unsigned...); err != nil {
			return err
		}
		if err := c.check(true); err != nil {
			return err
		}
		w.imply(a)
		w.add(w.accounted(EventResolved, a, c))
		if w.rec.Open() && (!w.rec.Linked || c.Declare) {
			if w.rec.Linked && a.Note == "" {
				return &BadAct{Field: "note", Key: "incident.need.declare_reason"}
			}
			w.recovered(w.act(EventRecovered, a))
		}
		return nil
	})
}

func (w *draft) accounted(kind EventKind, a Act, c Account) Event {
	e := w.act(kind, a)
	e.Cause, e.Category, e.Handling, e.Prevention = c.Cause, c.Category, c.Handling, c.Prevention
	return e
}

func (c Account) check(must bool) error {
	if c.Category != "" && !slices.Contains(Categories, c.Category) {
		return &BadAct{Field: "category", Key: "incident.need.category"}
	}
	return need(
		field{"cause", c.Cause, maxText, must},
		field{"handling", c.Handling, maxText, must},
		field{"prevention", c.Prevention, maxText, false},
	)
}

// Confirm writes down party A's word that the fault is over (R10).
func (d *Desk) Confirm(id string, a Act, c Confirmation) (Record, error) {
	return d.act(id, a, func(w *draft, a Act) error {
		if err := w.in(Recovered); err != nil {
			return err
		}
		return w.confirmed(a, c)
	})
}

func (w *draft) confirmed(a Act, c Confirmation) error {
	if err := need(field{"party_a", c.PartyA, maxName, true}); err != nil {
		return err
	}
	e := w.act(EventConfirmed, a)
	e.PartyA = c.PartyA
	w.add(e)
	return nil
}

// Refuse writes down party A's word that the fault is not over: the clock goes on from its original start (R9).
func (d *Desk) Refuse(id string, a Act, c Confirmation) (Record, error) {
	return d.act(id, a, func(w *draft, a Act) error {
		if err := w.in(Recovered, Confirmed); err != nil {
			return err
		}
		if err := need(field{"party_a", c.PartyA, maxName, true}, field{"note", a.Note, maxText, true}); err != nil {
			return err
		}
		e := w.act(EventRefused, a)
		e.PartyA = c.PartyA
		return w.again(e)
	})
}

// Reopen says that the fault is not over after all: the clock goes on from its original start (R9).
func (d *Desk) Reopen(id string, a Act) (Record, error) {
	return d.act(id, a, func(w *draft, a Act) error {
		if err := need(field{"note", a.Note, maxText, true}); err != nil {
			return err
		}
		if w.rec.Open() {
			return &Conflict{What: "open", Incident: id, At: w.rec.OpenedAt, Version: w.rec.Version}
		}
		if err := w.in(Recovered, Confirmed, Archived, FalseAlarm); err != nil {
			return err
		}
		return w.again(w.act(EventReopened, a))
	})
}

// again opens an incident anew, unless its key has another open by now.
func (w *draft) again(e Event) error {
	last, err := w.b.latest(w.rec.Key)
	if err != nil {
		return err
	}
	if last != nil && last != w && last.rec.Failing() {
		return &Conflict{What: "open", Incident: last.rec.ID, At: last.rec.OpenedAt, Version: last.rec.Version}
	}
	w.add(e)
	return nil
}

// Archive files an incident that has recovered and been confirmed, and whose cause and handling are known (R10). With the
// name of who of party A confirmed it, it confirms the recovery too.
func (d *Desk) Archive(id string, a Act, c Account) (Record, error) {
	return d.act(id, a, func(w *draft, a Act) error {
		if err := w.in(Recovered, Confirmed); err != nil {
			return err
		}
		w.imply(a)
		if w.rec.State == Recovered {
			if err := w.confirmed(a, Confirmation{c.PartyA}); err != nil {
				return rekey(err, "incident.need.confirmation")
			}
		}
		e := w.accounted(EventArchived, a, c)
		after := w.rec
		after.account(e)
		all := Account{Cause: after.Cause, Category: after.Category, Handling: after.Handling, Prevention: after.Prevention}
		if all.Category == "" {
			return &BadAct{Field: "category", Key: "incident.need.category"}
		}
		if err := all.check(true); err != nil {
			return err
		}
		w.add(e)
		return nil
	})
}

// rekey gives a complaint another text.
func rekey(err error, key string) error {
	if bad, ok := errors.AsType[*BadAct](err); ok {
		bad.Key = key
	}
	return err
}

// Merge lists an incident under another which is the same fault. Both keep their events; only the other counts and is told
// from now on.
func (d *Desk) Merge(id string, a Act, m Merging) (Record, error) {
	return d.act(id, a, func(w *draft, a Act) error {
		if err := w.in(append(slices.Clone(lasting), Recovered)...); err != nil {
			return err
		}
		if err := need(field{"into", m.Into, 64, true}, field{"note", a.Note, maxText, true}); err != nil {
			return err
		}
		if m.Into == id {
			return &BadAct{Field: "into", Key: "incident.need.into_other"}
		}
		parent, err := w.b.draft(m.Into)
		if err != nil {
			return err
		}
		if err := parent.in(append(slices.Clone(lasting), Recovered)...); err != nil {
			return err
		}
		if w.rec.Failing() && !parent.rec.Failing() { // it would stand by itself again at once
			return &Conflict{What: "over", Incident: m.Into, At: parent.rec.RecoveredAt, Version: parent.rec.Version}
		}
		return w.b.join(w, parent, w.act(EventMerged, a))
	})
}

// Split makes an incident that is listed under another stand by itself: machines do not put it back.
func (d *Desk) Split(id string, a Act) (Record, error) {
	return d.act(id, a, func(w *draft, a Act) error {
		if w.rec.State != Merged {
			return &Conflict{What: "not_merged", Incident: id, At: w.rec.UpdatedAt, Version: w.rec.Version}
		}
		if err := need(field{"note", a.Note, maxText, true}); err != nil {
			return err
		}
		w.leave(w.act(EventSplit, a))
		return nil
	})
}

// Doubt says that an incident is a false alarm; Act.Note says why. A second person must agree (R10).
func (d *Desk) Doubt(id string, a Act, v Dismissal) (Record, error) {
	return d.act(id, a, func(w *draft, a Act) error {
		if err := w.in(unsigned...); err != nil {
			return err
		}
		if by := w.rec.Doubt; by != nil {
			return &Conflict{What: "doubted", Incident: id, Person: by.By, At: by.At, Version: w.rec.Version}
		}
		if err := need(field{"note", a.Note, maxText, true}, field{"party_a", v.PartyA, maxName, false}); err != nil {
			return err
		}
		w.imply(a)
		e := w.act(EventDoubted, a)
		e.PartyA = v.PartyA
		w.add(e)
		return nil
	})
}

// Dismiss agrees that an incident is a false alarm and files it: never the person who said so first. It stays listed, and
// counts unless party A agrees (4.4).
func (d *Desk) Dismiss(id string, a Act, v Dismissal) (Record, error) {
	return d.act(id, a, func(w *draft, a Act) error {
		if err := w.doubted(); err != nil {
			return err
		}
		if sameName(a.Person, w.rec.Doubt.By) {
			return &BadAct{Field: "person", Key: "incident.need.second_person", Pairs: []string{"person", w.rec.Doubt.By}}
		}
		if err := need(field{"party_a", v.PartyA, maxName, false}); err != nil {
			return err
		}
		e := w.act(EventFalse, a)
		e.PartyA = v.PartyA
		w.add(e)
		return nil
	})
}

// Uphold says that it was no false alarm; who doubted may say so too.
func (d *Desk) Uphold(id string, a Act) (Record, error) {
	return d.act(id, a, func(w *draft, a Act) error {
		if err := w.doubted(); err != nil {
			return err
		}
		w.add(w.act(EventUpheld, a))
		return nil
	})
}

func (w *draft) doubted() error {
	if err := w.in(unsigned...); err != nil {
		return err
	}
	if w.rec.Doubt == nil {
		return &Conflict{What: "not_doubted", Incident: w.rec.ID, At: w.rec.UpdatedAt, Version: w.rec.Version}
	}
	return nil
}

func sameName(a, b string) bool { return strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b)) }

// Excuse says that an incident is not to be counted, as party A agreed (4.4). It is possible at any time.
func (d *Desk) Excuse(id string, a Act, x Excuse) (Record, error) {
	return d.act(id, a, func(w *draft, a Act) error {
		if !slices.Contains(Excuses, x.Why) {
			return &BadAct{Field: "why", Key: "incident.need.excuse"}
		}
		if err := need(field{"party_a", x.PartyA, maxName, true}, field{"note", a.Note, maxText, true}); err != nil {
			return err
		}
		e := w.act(EventExcused, a)
		e.Excused, e.PartyA = x.Why, x.PartyA
		w.add(e)
		return nil
	})
}

package incident

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/symptom"
)

// Longest texts that an act may carry, in bytes.
const (
	maxName = 128
	maxText = 8192
)

// check tidies an act and refuses one that names nobody.
func (a Act) check() (Act, error) {
	a.Person, a.Note, a.Via = strings.TrimSpace(a.Person), strings.TrimSpace(a.Note), clip(a.Via, 32)
	a.Device, a.Address = clip(strings.ToValidUTF8(a.Device, "?"), 200), clip(a.Address, 64)
	if a.At.IsZero() {
		a.At = time.Now()
	}
	return a, need(
		field{"person", a.Person, maxName, true},
		field{"note", a.Note, maxText, false},
	)
}

// field is a text of an act: how long it may be, and whether it must be there.
type field struct {
	name, value string
	most        int
	must        bool
}

func need(fields ...field) error {
	for _, f := range fields {
		switch {
		case f.must && strings.TrimSpace(f.value) == "":
			return &BadAct{Field: f.name, Key: "incident.need." + f.name}
		case len(f.value) > f.most:
			return &BadAct{Field: f.name, Key: "incident.need.shorter"}
		}
	}
	return nil
}

// Open opens an incident that a person reports.
func (d *Desk) Open(a Act, o Opening) (Record, error) {
	a, err := a.check()
	if err != nil {
		return Record{}, err
	}
	if err := o.check(); err != nil {
		return Record{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	b, err := d.batch(a.At)
	if err != nil {
		return Record{}, err
	}
	if o.ReportedAt, err = backdated(a, b.now, d.clock.now(o.ReportedAt), d.set.Terms.Backdate); err != nil {
		return Record{}, err
	}
	w, err := b.reported(a, o)
	if err != nil {
		return Record{}, err
	}
	if err := b.save(); err != nil {
		return Record{}, err
	}
	return w.rec, nil
}

// reported drafts the incident that a person opens.
func (b *batch) reported(a Act, o Opening) (*draft, error) {
	w, err := b.blank()
	if err != nil {
		return nil, err
	}
	key, err := b.keyFor(o, w.rec.ID)
	if err != nil {
		return nil, err
	}
	if o.Reporter == "" {
		o.Reporter = a.Person
	}
	s := symptom.Symptom{
		Source: symptom.FromPerson, Service: o.Service, Component: o.Component, Class: symptom.Reported,
		Level: o.Level, Detail: o.Detail, Firing: true, Since: o.ReportedAt, At: b.now,
	}
	e := w.act(EventOpened, a)
	e.Incident, e.Of, e.Level, e.Reporter, e.Symptom = w.rec.ID, o.ReportedAt, o.Level, o.Reporter, &s
	e.Opened = &Opened{Key: key, ReportedAt: o.ReportedAt, Separate: o.Separate, Terms: b.d.terms(b.now)}
	e.Opened.ServiceZH, e.Opened.ServiceEN = b.d.titles(o.Service)
	w.add(e)
	b.keys[key] = w.rec.ID
	w.settle(w.now)
	return w, nil
}

func (o Opening) check() error {
	if _, err := contract.ParseLevel(string(o.Level)); err != nil {
		return &BadAct{Field: "level", Key: "incident.need.level"}
	}
	return need(
		field{"service", o.Service, 64, true},
		field{"component", o.Component, 256, false},
		field{"detail", o.Detail, 1024, true},
		field{"reporter", o.Reporter, maxName, false},
	)
}

// backdated checks when a user called: not to come, and not further back than the terms allow, with a reason (R2).
func backdated(a Act, now, reported time.Time, most time.Duration) (time.Time, error) {
	switch {
	case reported.IsZero():
		return now, nil
	case reported.After(now):
		return now, &BadAct{Field: "reported_at", Key: "incident.need.past"}
	case now.Sub(reported) > most:
		return now, &BadAct{Field: "reported_at", Key: "incident.need.recent", Pairs: []string{"limit", most.String()}}
	case now.Sub(reported) >= time.Minute && a.Note == "":
		return now, &BadAct{Field: "note", Key: "incident.need.backdate_reason"}
	}
	return reported, nil
}

// keyFor joins a reported fault to its service's key, so that what monitoring sees of it later is the same incident.
// Minor wishes and separate faults stand alone.
func (b *batch) keyFor(o Opening, id string) (string, error) {
	_, known := b.d.services[o.Service]
	if !known || o.Separate || o.Level == contract.Minor {
		return "reported/" + id, nil
	}
	key := serviceKey(o.Service)
	last, err := b.latest(key)
	if err != nil || last == nil {
		return key, err
	}
	switch r := last.rec; {
	case r.Failing():
		return "", &Conflict{What: "open", Incident: cmp.Or(r.Parent, r.ID), At: r.OpenedAt, Version: r.Version}
	case b.now.Sub(r.desk(r.RecoveredAt)) <= r.Terms.Relapse:
		return "", &Conflict{What: "recovered", Incident: r.ID, At: r.RecoveredAt, Version: r.Version}
	}
	return key, nil
}

// act runs one act on one incident; fn adds its events or says why not.
func (d *Desk) act(id string, a Act, fn func(w *draft, a Act) error) (Record, error) {
	a, err := a.check()
	if err != nil {
		return Record{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	b, err := d.batch(a.At)
	if err != nil {
		return Record{}, err
	}
	w, err := b.draft(id)
	if err != nil {
		return Record{}, err
	}
	r := w.rec
	if a.Version != 0 && (a.Version < r.ActedN || a.Version > r.Version) {
		return r, &Conflict{What: "changed", Incident: id, Person: r.ActedBy, At: r.ActedAt, Version: r.Version}
	}
	w.settle(w.now)
	if err := fn(w, a); err != nil {
		return r, err
	}
	w.settle(w.now)
	if err := b.save(); err != nil {
		return r, err
	}
	return w.rec, nil
}

// in refuses an act that an incident's state does not allow, and says which state that is.
func (w *draft) in(allowed ...State) error {
	r := w.rec
	if slices.Contains(allowed, r.State) {
		return nil
	}
	c := &Conflict{What: string(r.State), Incident: r.ID, Version: r.Version, At: r.UpdatedAt}
	switch r.State {
	case Archived, FalseAlarm:
		c.What, c.Person, c.At = map[State]string{Archived: "closed", FalseAlarm: "false_alarm"}[r.State], r.ClosedBy, r.ClosedAt
	case Merged:
		c.Other = r.Parent
	case Confirmed:
		c.Person, c.At = r.ConfirmedBy, r.ConfirmedAt
	case Recovered:
		c.What, c.At = "over", r.RecoveredAt
	case Awaiting:
		c.Person, c.At = r.waiting().By, r.waiting().At
	default:
		c.What, c.At = "failing", r.FaultStart
	}
	return c
}

// The states in which acts are possible.
var (
	lasting  = []State{Detected, Acknowledged, Diagnosing, Awaiting, Handling}
	unsigned = append(slices.Clone(lasting), Recovered, Confirmed) // not filed yet
)

// Ack takes an incident on; only the first ack counts and a second one is told whose it was (R3).
func (d *Desk) Ack(id string, a Act) (Record, error) {
	return d.act(id, a, func(w *draft, a Act) error {
		if err := w.in(unsigned...); err != nil {
			return err
		}
		if r := w.rec; !r.AckAt.IsZero() {
			return &Conflict{What: "acknowledged", Incident: id, Person: r.AckBy, At: r.AckAt, Version: r.Version}
		}
		w.add(w.acknowledged(a))
		return nil
	})
}

// Note adds a remark; it is possible at any time, also once the incident is archived.
func (d *Desk) Note(id string, a Act) (Record, error) {
	return d.act(id, a, func(w *draft, a Act) error {
		if err := need(field{"note", a.Note, maxText, true}); err != nil {
			return err
		}
		w.add(w.act(EventNoted, a))
		return nil
	})
}

// Report adds a user's call to an incident; the clocks then start at the earlier moment (R1, R2).
func (d *Desk) Report(id string, a Act, rep Report) (Record, error) {
	return d.act(id, a, func(w *draft, a Act) error {
		if err := w.in(unsigned...); err != nil {
			return err
		}
		if err := need(
			field{"reporter", rep.Reporter, maxName, true}, field{"party_a", rep.PartyA, maxName, false}, field{"note", a.Note, maxText, rep.PartyA != ""},
		); err != nil {
			return err
		}
		at, err := backdated(a, w.now, w.own(rep.ReportedAt), w.rec.Terms.Backdate)
		if err != nil {
			return err
		}
		e := w.act(EventReported, a)
		e.Of, e.Reporter, e.PartyA = at, rep.Reporter, rep.PartyA
		w.add(e)
		return nil
	})
}

// SetLevel grades an incident by a person's judgement; machines only propose from then on (4.1). To lower the level
// needs the name of who of party A agreed (R11).
func (d *Desk) SetLevel(id string, a Act, g Grading) (Record, error) {
	return d.act(id, a, func(w *draft, a Act) error {
		if err := w.in(unsigned...); err != nil {
			return err
		}
		if err := g.check(a, w.rec.Level); err != nil {
			return err
		}
		e := w.act(EventGraded, a)
		e.Level, e.PartyA, e.Agreed = g.Level, g.PartyA, g.Agreed
		w.add(e)
		return nil
	})
}

func (g Grading) check(a Act, old contract.Level) error {
	if _, err := contract.ParseLevel(string(g.Level)); err != nil {
		return &BadAct{Field: "level", Key: "incident.need.level"}
	}
	if g.Agreed != (contract.Limits{}) && (g.Level != contract.Minor || g.Agreed.Respond < 0 || g.Agreed.Recover < 0) {
		return &BadAct{Field: "agreed", Key: "incident.need.agreed"}
	}
	return need(
		field{"note", a.Note, maxText, true},
		field{"party_a", g.PartyA, maxName, old.Graver(g.Level)},
	)
}

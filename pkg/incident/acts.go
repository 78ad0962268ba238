package incident

import (
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
	now := clean(a.At)
	d.mu.Lock()
	defer d.mu.Unlock()
	if o.ReportedAt, err = d.backdated(a, now, o.ReportedAt, d.o.Terms.Backdate); err != nil {
		return Record{}, err
	}
	w, err := d.blank(now)
	if err != nil {
		return Record{}, err
	}
	key, err := d.keyFor(o, w.rec.ID, now)
	if err != nil {
		return Record{}, err
	}
	if o.Reporter == "" {
		o.Reporter = a.Person
	}
	s := symptom.Symptom{
		Source: symptom.FromPerson, Service: o.Service, Component: o.Component, Class: symptom.Reported,
		Level: o.Level, Detail: o.Detail, Firing: true, Since: o.ReportedAt, At: now,
	}
	e := w.act(EventOpened, a)
	e.Incident, e.Of, e.Level, e.Reporter, e.Symptom = w.rec.ID, o.ReportedAt, o.Level, o.Reporter, &s
	e.Opened = &Opened{Key: key, ReportedAt: o.ReportedAt, Terms: d.o.Terms}
	e.Opened.ServiceZH, e.Opened.ServiceEN = d.titles(o.Service)
	w.add(e)
	w.settle(w.now)
	return w.rec, d.save(w)
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
func (d *Desk) backdated(a Act, now, reported time.Time, most time.Duration) (time.Time, error) {
	reported = clean(reported)
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
func (d *Desk) keyFor(o Opening, id string, now time.Time) (string, error) {
	_, known := d.services[o.Service]
	if !known || o.Separate || o.Level == contract.Minor {
		return "reported/" + id, nil
	}
	key := serviceKey(o.Service)
	last, err := d.latest(key)
	switch {
	case err != nil:
		return "", err
	case last.ID != "" && last.Open():
		return "", &Conflict{What: "open", Incident: last.ID, At: last.OpenedAt, Version: last.Version}
	case last.ID != "" && now.Sub(last.RecoveredAt) <= last.Terms.Relapse:
		return "", &Conflict{What: "recovered", Incident: last.ID, At: last.RecoveredAt, Version: last.Version}
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
	r, err := d.find(id)
	if err != nil {
		return Record{}, err
	}
	if a.Version != 0 && a.Version != r.Version {
		return r, &Conflict{What: "changed", Incident: id, At: r.UpdatedAt, Version: r.Version}
	}
	w := newDraft(r, a.At)
	w.settle(w.now)
	if err := fn(w, a); err != nil {
		return r, err
	}
	w.settle(w.now)
	if err := d.save(w); err != nil {
		return r, err
	}
	return w.rec, nil
}

func closedConflict(r Record) error {
	return &Conflict{What: "closed", Incident: r.ID, Person: r.ClosedBy, At: r.ClosedAt, Version: r.Version}
}

// Ack takes an incident on; only the first ack counts and a second one is told whose it was (R3).
func (d *Desk) Ack(id string, a Act) (Record, error) {
	return d.act(id, a, func(w *draft, a Act) error {
		switch r := w.rec; {
		case r.State == Closed:
			return closedConflict(r)
		case !r.AckAt.IsZero():
			return &Conflict{What: "acknowledged", Incident: id, Person: r.AckBy, At: r.AckAt, Version: r.Version}
		}
		w.add(w.acknowledged(a))
		return nil
	})
}

// Note adds a remark; it is possible at any time, also once the incident is closed.
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
		if w.rec.State == Closed {
			return closedConflict(w.rec)
		}
		if err := need(field{"reporter", rep.Reporter, maxName, true}); err != nil {
			return err
		}
		at, err := d.backdated(a, w.now, rep.ReportedAt, w.rec.Terms.Backdate)
		if err != nil {
			return err
		}
		e := w.act(EventReported, a)
		e.Of, e.Reporter = at, rep.Reporter
		w.add(e)
		return nil
	})
}

// SetLevel grades an incident by a person's judgement; machines only propose from then on (4.1). To lower the level
// needs the name of who of party A agreed (R11).
func (d *Desk) SetLevel(id string, a Act, g Grading) (Record, error) {
	return d.act(id, a, func(w *draft, a Act) error {
		if w.rec.State == Closed {
			return closedConflict(w.rec)
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

// Resolve writes down cause and handling. Where no check watches the fault it also declares the recovery,
// provisional until it is confirmed; else the check itself must stay good (R5).
func (d *Desk) Resolve(id string, a Act, c Account) (Record, error) {
	return d.act(id, a, func(w *draft, a Act) error {
		if w.rec.State == Closed {
			return closedConflict(w.rec)
		}
		if err := c.check(true); err != nil {
			return err
		}
		w.imply(a)
		e := w.act(EventResolved, a)
		e.Cause, e.Handling = c.Cause, c.Handling
		w.add(e)
		if w.rec.Open() && (!w.rec.Linked || c.Declare) {
			if w.rec.Linked && a.Note == "" {
				return &BadAct{Field: "note", Key: "incident.need.declare_reason"}
			}
			w.add(w.act(EventRecovered, a))
		}
		return nil
	})
}

func (c Account) check(must bool) error {
	return need(
		field{"cause", c.Cause, maxText, must},
		field{"handling", c.Handling, maxText, must},
	)
}

// Close files an incident that has recovered and whose cause and handling are known (R10).
func (d *Desk) Close(id string, a Act, c Account) (Record, error) {
	return d.act(id, a, func(w *draft, a Act) error {
		switch {
		case w.rec.State == Closed:
			return closedConflict(w.rec)
		case w.rec.State != Recovered:
			return &Conflict{What: "failing", Incident: id, At: w.rec.FaultStart, Version: w.rec.Version}
		}
		if c.Cause == "" {
			c.Cause = w.rec.Cause
		}
		if c.Handling == "" {
			c.Handling = w.rec.Handling
		}
		if err := c.check(true); err != nil {
			return err
		}
		w.imply(a)
		e := w.act(EventClosed, a)
		e.Cause, e.Handling = c.Cause, c.Handling
		w.add(e)
		return nil
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
		last, err := d.latest(w.rec.Key)
		if err != nil {
			return err
		}
		if last.ID != id && last.Open() {
			return &Conflict{What: "open", Incident: last.ID, At: last.OpenedAt, Version: last.Version}
		}
		w.add(w.act(EventReopened, a))
		return nil
	})
}

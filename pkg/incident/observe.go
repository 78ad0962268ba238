package incident

import (
	"fmt"
	"slices"
	"time"

	"xunjian/pkg/symptom"
)

// Seen is what became of a symptom.
type Seen struct {
	Record  Record // the incident that it belongs to, zero if it opened none
	Changed bool   // false: it told nothing new
	Err     error  // it could not be taken in
}

// Observe takes in a symptom. Firing, it opens an incident, or adds to the one that its key has open, or reopens that
// which recovered just now (R9, R12); ended, it starts the verification of the recovery. Changed is false when it
// tells nothing new.
func (d *Desk) Observe(now time.Time, s symptom.Symptom) (r Record, changed bool, err error) {
	seen, err := d.ObserveAll(now, []symptom.Symptom{s})
	if err == nil {
		err = seen[0].Err
	}
	if err != nil {
		return Record{}, false, fmt.Errorf("observe symptom of %s: %w", s.Service, err)
	}
	return seen[0].Record, seen[0].Changed, nil
}

// ObserveAll takes in symptoms in their order, all in one transaction: a storm of them costs one write to disk. An error
// means that none is taken in and all may be told again.
func (d *Desk) ObserveAll(now time.Time, all []symptom.Symptom) ([]Seen, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b, err := d.batch(now)
	if err != nil {
		return nil, err
	}
	out := make([]Seen, len(all))
	for i, s := range all {
		before := b.written()
		w, err := b.observe(s)
		if out[i].Err = err; w != nil {
			out[i].Record = w.rec
		}
		out[i].Changed = b.written() > before
	}
	if err := b.save(); err != nil {
		return nil, err
	}
	for i, s := range out {
		if w := b.drafts[s.Record.ID]; w != nil {
			out[i].Record = w.rec
		}
	}
	return out, nil
}

// written counts the events of the batch.
func (b *batch) written() (n int) {
	for _, w := range b.order {
		n += len(w.events)
	}
	return n
}

// observe drafts what a symptom does, and returns the incident that it belongs to, nil if there is none.
func (b *batch) observe(s symptom.Symptom) (*draft, error) {
	clock := &b.d.clock
	s.Since, s.At = clock.past(clock.now(s.Since), b.now), clock.past(clock.now(s.At), b.now)
	s, err := tidy(s, b.now)
	if err != nil {
		return nil, err
	}
	if err := b.blind(s); err != nil {
		return nil, err
	}
	w, err := b.latest(s.Key())
	if err != nil {
		return nil, err
	}
	if !s.Firing {
		b.unhold(s.Key())
		if w != nil {
			w.ended(w.local(s))
		}
		return w, nil
	}
	if w != nil && w.muted(s) {
		return w, nil
	}
	if w != nil && w.rec.Failing() {
		w.settle(w.rec.own(s.Since)) // the good run held until the fault came back, or it did not
	}
	if w != nil && w.rec.Failing() {
		w.failing(w.local(s))
		w.settle(w.now)
		return w, nil
	}
	if b.hold(s) {
		return nil, nil
	}
	b.unhold(s.Key())
	if w != nil && s.Class != symptom.Unknown && s.Since.Sub(w.rec.desk(w.rec.RecoveredAt)) <= w.rec.Terms.Relapse {
		s = w.local(s)
		w.add(Event{Kind: EventReopened, Of: later(s.Since, w.rec.RecoveredAt), Symptom: &s})
		w.failing(s)
		w.settle(w.now)
		return w, nil
	}
	return b.open(s, w)
}

// open drafts the first event of a new incident; last is the one before of the same key, if any.
func (b *batch) open(s symptom.Symptom, last *draft) (*draft, error) {
	w, err := b.blank()
	if err != nil {
		return nil, err
	}
	o := Opened{Key: s.Key(), Window: b.after, Terms: b.d.terms(b.now)}
	if last != nil && s.Since.Sub(last.rec.desk(last.rec.RecoveredAt)) <= o.Terms.Recurrence {
		o.RecurrenceOf = last.rec.ID
	}
	o.ServiceZH, o.ServiceEN = b.d.titles(s.Service)
	w.add(Event{Kind: EventOpened, Of: s.Since, Level: s.Level, Symptom: &s, Opened: &o})
	b.keys[o.Key] = w.rec.ID
	w.settle(w.now)
	return w, nil
}

// ended takes in the good news that ends a symptom.
func (w *draft) ended(s symptom.Symptom) {
	switch {
	case w.rec.Failing() && w.rec.Linked:
		w.good(s)
		w.settle(w.now)
	case w.rec.Muted:
		w.add(Event{Kind: EventEnded, Of: s.Since})
	}
}

// muted says that a symptom tells nothing that people did not know when they said that the fault was over.
func (w *draft) muted(s symptom.Symptom) bool {
	return w.rec.Muted && !s.Level.Graver(w.rec.Level) && weights[s.Class] <= weights[w.rec.Class]
}

// blind drafts what a gap in watching a service, which has a key of its own, does to that service's incident: a good
// run that nobody could see to its end does not count, and starts anew when the gap ends (R5).
func (b *batch) blind(s symptom.Symptom) error {
	key := serviceKey(s.Service)
	if s.Class != symptom.Unknown || s.Key() == key {
		return nil
	}
	w, err := b.latest(key)
	if err != nil || w == nil || !w.rec.Failing() || s.Component != "" && !w.rec.watchedBy(s.Component) {
		return err // nobody looks at another check, which says nothing of this fault
	}
	s = w.local(s)
	switch {
	case s.Firing && !w.rec.VerifyingSince.IsZero():
		w.settle(s.Since)
		if !w.rec.VerifyingSince.IsZero() {
			w.add(Event{Kind: EventGap, Of: s.Since, Text: s.Detail})
		}
	case !s.Firing && w.rec.Blind:
		w.good(s)
	}
	w.settle(w.now)
	return nil
}

// watchedBy says that a check took part in the fault.
func (r Record) watchedBy(check string) bool {
	return check == r.Component || r.Samples != nil && slices.Contains(r.Samples.Of, check)
}

func serviceKey(service string) string {
	return symptom.Symptom{Source: symptom.FromProbe, Service: service}.Key()
}

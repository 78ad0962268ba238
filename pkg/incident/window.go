package incident

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/store"
	"xunjian/pkg/symptom"
)

// Window is a planned window (计划维护): an approved change in which what fails within its scope is no fault. What still
// fails at its end is one, and so is whatever lies outside (R14).
type Window struct {
	ID       string    `json:"id"` // WIN-20261128-001; config-1 for those of the configuration
	Services []string  `json:"services,omitempty"`
	Hosts    []string  `json:"hosts,omitempty"`
	Checks   []string  `json:"checks,omitempty"` // with services and hosts empty too: everything
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Reason   string    `json:"reason"`
	Approval string    `json:"approval,omitempty"` // number of the approved change
	PartyA   string    `json:"party_a,omitempty"`  // who of party A approved it
	Override string    `json:"override,omitempty"` // why it must be although changes are frozen (R19)

	By          string    `json:"by,omitempty"`
	At          time.Time `json:"at,omitzero"`
	CancelledAt time.Time `json:"cancelled_at,omitzero"`
	CancelledBy string    `json:"cancelled_by,omitempty"`
	CancelNote  string    `json:"cancel_note,omitempty"`
}

// Bounds of a window: a longer one would hide a fault rather than allow for a change, and one that began long ago would
// rewrite what people were told.
const (
	maxWindow   = 7 * 24 * time.Hour
	windowGrace = 5 * time.Minute
	maxAhead    = 366 * 24 * time.Hour
	maxScope    = 200 // names
)

// WindowEvent is one thing that happened to a window. They only grow.
type WindowEvent struct {
	Window string    `json:"window"`
	N      int       `json:"n"`
	Kind   string    `json:"kind"` // planned, cancelled
	At     time.Time `json:"at"`
	Person string    `json:"person"`
	Via    string    `json:"via,omitempty"`
	Text   string    `json:"text,omitempty"`
	Plan   *Window   `json:"plan,omitempty"`
}

// held is a symptom that a window keeps from being an incident.
type held struct {
	Symptom symptom.Symptom `json:"symptom"`
	Window  string          `json:"window"`
}

var (
	windows      = store.NewTable[Window]("incident_windows")
	windowEvents = store.NewTable[WindowEvent]("incident_window_events") // <id>/<n>
	holds        = store.NewTable[held]("incident_held")                 // by symptom key
)

// end is when a window stops to be one.
func (w Window) end() time.Time {
	if !w.CancelledAt.IsZero() && w.CancelledAt.Before(w.To) {
		return w.CancelledAt
	}
	return w.To
}

func (w Window) everything() bool { return len(w.Services)+len(w.Hosts)+len(w.Checks) == 0 }

// covers says whether a symptom lies in the window's scope and time.
func (w Window) covers(s symptom.Symptom, now time.Time) bool {
	if s.Since.Before(w.From) || !now.Before(w.end()) {
		return false
	}
	host, _, _ := strings.Cut(s.Component, " ")
	return w.everything() ||
		slices.Contains(w.Services, s.Service) ||
		s.Service == "host" && slices.Contains(w.Hosts, host) ||
		s.Source == symptom.FromProbe && slices.Contains(w.Checks, s.Component)
}

// Plan makes a planned window. It must be approved, and not begin in the past; while changes are frozen it needs a reason
// why it must be all the same.
func (d *Desk) Plan(a Act, w Window) (Window, error) {
	a, err := a.check()
	if err != nil {
		return Window{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now := clean(a.At)
	w.From, w.To, w.By, w.At = clean(w.From), clean(w.To), a.Person, now
	if w, err = d.checkWindow(w, now); err != nil {
		return Window{}, err
	}
	err = d.db.Update(func(tx *store.Tx) error {
		n, err := windows.NextSequence(tx)
		if err != nil {
			return err
		}
		w.ID = fmt.Sprintf("WIN-%s-%03d", w.From.In(d.o.Location).Format("20060102"), n)
		return writeWindow(tx, w, WindowEvent{Kind: "planned", At: now, Person: a.Person, Via: a.Via, Text: a.Note, Plan: &w})
	})
	if err != nil {
		return Window{}, fmt.Errorf("plan a window: %w", err)
	}
	d.windows[w.ID] = w
	return w, nil
}

func (d *Desk) checkWindow(w Window, now time.Time) (Window, error) {
	w.CancelledAt, w.CancelledBy, w.CancelNote = time.Time{}, "", ""
	switch {
	case w.From.IsZero() || w.From.Before(now.Add(-windowGrace)) || w.From.After(now.Add(maxAhead)):
		return w, &BadAct{Field: "from", Key: "incident.need.window_from"}
	case !w.To.After(w.From) || w.To.Sub(w.From) > maxWindow:
		return w, &BadAct{Field: "to", Key: "incident.need.window_to", Pairs: []string{"most", maxWindow.String()}}
	}
	for _, name := range w.Services {
		if _, ok := d.services[name]; !ok {
			return w, &BadAct{Field: "services", Key: "incident.need.known_service", Pairs: []string{"service", clip(name, 64)}}
		}
	}
	for _, name := range slices.Concat(w.Hosts, w.Checks) {
		if strings.TrimSpace(name) == "" || len(name) > maxName {
			return w, &BadAct{Field: "hosts", Key: "incident.need.scope"}
		}
	}
	if len(w.Services)+len(w.Hosts)+len(w.Checks) > maxScope {
		return w, &BadAct{Field: "services", Key: "incident.need.scope"}
	}
	if d.set.Frozen != nil {
		if period := d.set.Frozen(w.From, w.To); period != "" && strings.TrimSpace(w.Override) == "" {
			return w, &BadAct{Field: "override", Key: "incident.need.override", Pairs: []string{"period", period}}
		}
	}
	return w, need(
		field{"reason", w.Reason, maxText, true}, field{"party_a", w.PartyA, maxName, true},
		field{"approval", w.Approval, maxName, false}, field{"override", w.Override, maxText, false},
	)
}

// CancelWindow takes a window back, or ends it early; Act.Note says why.
func (d *Desk) CancelWindow(id string, a Act) (Window, error) {
	a, err := a.check()
	if err != nil {
		return Window{}, err
	}
	if err := need(field{"note", a.Note, maxText, true}); err != nil {
		return Window{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	w, ok := d.windows[id]
	now := later(clean(a.At), w.At)
	switch {
	case !ok:
		return Window{}, fmt.Errorf("%s: %w", clip(id, 64), ErrNotFound)
	case w.By == "":
		return w, &BadAct{Field: "id", Key: "incident.need.own_window"}
	case !w.CancelledAt.IsZero():
		return w, &Conflict{What: "cancelled", Incident: id, Person: w.CancelledBy, At: w.CancelledAt}
	case !now.Before(w.To):
		return w, &Conflict{What: "ended", Incident: id, At: w.To}
	}
	w.CancelledAt, w.CancelledBy, w.CancelNote = now, a.Person, a.Note
	err = d.db.Update(func(tx *store.Tx) error {
		return writeWindow(tx, w, WindowEvent{Kind: "cancelled", At: now, Person: a.Person, Via: a.Via, Text: a.Note})
	})
	if err != nil {
		return Window{}, fmt.Errorf("cancel window %s: %w", id, err)
	}
	d.windows[id] = w
	d.wake()
	return w, nil
}

// writeWindow writes a window and the event that made it so. Of two acts at once the store sees one first.
func writeWindow(tx *store.Tx, w Window, e WindowEvent) error {
	e.Window, e.N = w.ID, 1
	for {
		_, err := windowEvents.Get(tx, fmt.Sprintf("%s/%04d", w.ID, e.N))
		if errors.Is(err, store.ErrNotFound) {
			break
		}
		if err != nil {
			return err
		}
		e.N++
	}
	if err := windowEvents.Put(tx, fmt.Sprintf("%s/%04d", w.ID, e.N), e); err != nil {
		return err
	}
	return windows.Put(tx, w.ID, w)
}

// Windows lists the planned windows that touch [from, to), the configuration's too, by their beginning. Zero times do not
// narrow.
func (d *Desk) Windows(from, to time.Time) (out []Window) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.windows {
		if (to.IsZero() || w.From.Before(to)) && (from.IsZero() || w.end().After(from)) {
			out = append(out, w)
		}
	}
	slices.SortFunc(out, func(a, b Window) int { return cmp.Or(a.From.Compare(b.From), strings.Compare(a.ID, b.ID)) })
	return out
}

// WindowEvents are what happened to a window, in order.
func (d *Desk) WindowEvents(id string) (out []WindowEvent, err error) {
	err = d.db.View(func(tx *store.Tx) error {
		out = nil
		for e, err := range windowEvents.Under(tx, id+"/") {
			if err != nil {
				return err
			}
			out = append(out, e.Value)
		}
		return nil
	})
	return out, missing(id, err)
}

// Planned are the times in which a check of a service may fail, in order, overlapping ones as one: the figures leave them out.
func (d *Desk) Planned(service, check string) (out []contract.Span) {
	for _, w := range d.Windows(time.Time{}, time.Time{}) {
		if !w.end().After(w.From) || !w.everything() && !slices.Contains(w.Services, service) && !slices.Contains(w.Checks, check) {
			continue
		}
		s := contract.Span{From: w.From.UnixMilli(), To: w.end().UnixMilli()}
		if n := len(out); n > 0 && s.From <= out[n-1].To {
			out[n-1].To = max(out[n-1].To, s.To)
			continue
		}
		out = append(out, s)
	}
	return out
}

// Held are the symptoms that windows keep from being incidents: what a source that starts anew must know to tell their end.
func (d *Desk) Held() (out []symptom.Symptom) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, h := range d.held {
		out = append(out, h.Symptom)
	}
	slices.SortFunc(out, func(a, b symptom.Symptom) int { return strings.Compare(a.Key(), b.Key()) })
	return out
}

func (d *Desk) readWindows(tx *store.Tx) error {
	all, err := windows.All(tx)
	if err != nil {
		return err
	}
	for _, e := range all {
		d.windows[e.Key] = e.Value
	}
	kept, err := holds.All(tx)
	for _, e := range kept {
		d.held[e.Key] = e.Value
	}
	return err
}

// hold keeps a symptom that lies in a window; false when it lies in none.
func (b *batch) hold(s symptom.Symptom) bool {
	for id, w := range b.d.windows {
		if w.covers(s, b.now) && len(b.d.held) < b.d.o.MaxOpen {
			b.held[s.Key()] = &held{s, id}
			return true
		}
	}
	return false
}

// unhold forgets a symptom that has ended within its window.
func (b *batch) unhold(key string) {
	if _, ok := b.isHeld(key); ok {
		b.held[key] = nil
	}
}

func (b *batch) isHeld(key string) (held, bool) {
	if h, ok := b.held[key]; ok {
		if h == nil {
			return held{}, false
		}
		return *h, true
	}
	h, ok := b.d.held[key]
	return h, ok
}

// writeHeld makes what the batch holds durable.
func (b *batch) writeHeld(tx *store.Tx) error {
	for key, h := range b.held {
		if h == nil {
			if err := holds.Delete(tx, key); err != nil {
				return err
			}
		} else if err := holds.Put(tx, key, *h); err != nil {
			return err
		}
	}
	return nil
}

// release opens the incidents of what still fails at the end of its window (升级期间出现故障现场处理): they begin there.
func (d *Desk) release(now time.Time) error {
	var due []held
	for _, h := range d.held {
		if !d.windows[h.Window].end().After(now) {
			due = append(due, h)
		}
	}
	slices.SortFunc(due, func(a, b held) int { return strings.Compare(a.Symptom.Key(), b.Symptom.Key()) })
	for some := range slices.Chunk(due, 256) {
		b := d.blankBatch(now)
		for _, h := range some {
			b.held[h.Symptom.Key()] = nil
			s := h.Symptom
			s.Since = later(s.Since, d.windows[h.Window].end())
			s.At = later(s.At, s.Since)
			b.after = h.Window
			_, err := b.observe(s)
			b.after = ""
			if err != nil {
				return err
			}
		}
		if err := b.save(); err != nil {
			return err
		}
	}
	return nil
}

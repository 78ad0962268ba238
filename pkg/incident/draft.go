package incident

import (
	"slices"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/symptom"
)

// draft is a record with the events and pages that one transaction will add to it.
type draft struct {
	b       *batch
	base    int // version that the store must still have
	rec     Record
	now     time.Time
	events  []Event
	pages   []Page
	related int // how many of the events other incidents have taken notice of
}

// newDraft begins a draft at a time of the desk.
func newDraft(r Record, now time.Time) *draft {
	return &draft{base: r.Version, rec: r, now: later(r.own(now), r.UpdatedAt)}
}

// add appends an event. Times never run backwards within an incident, whatever the wall clock does.
func (w *draft) add(e Event) {
	before := w.rec
	if e.Incident == "" {
		e.Incident = w.rec.ID
	}
	e.N, e.At, e.Of, e.Until = w.rec.Version+1, w.now, clean(e.Of), clean(e.Until)
	w.rec = w.rec.with(e)
	w.events = append(w.events, e)
	switch e.Kind {
	case EventOpened, EventReopened, EventRefused:
		n := w.rec.node()
		w.b.places[n] = append(w.b.places[n], w.rec.ID)
	case EventMerged:
		if w.base == 0 { // nobody has been told of it yet, and nobody need be
			w.pages = nil
			return
		}
	}
	if kind, now := paging(before, w.rec, e); now {
		w.pages = append(w.pages, Page{Kind: kind, At: w.now, Level: w.rec.Level, Record: brief(w.rec)})
	}
}

// PageEvery is how often people are told of one incident at most. What is urgent is told at once all the same, and so is
// each end.
const PageEvery = 5 * time.Minute

// paging says as what an event is told, empty: not at all, and whether now or when PageEvery has passed.
func paging(before, after Record, e Event) (kind PageKind, now bool) {
	kind, ok := pageFor(before, after, e)
	if !ok {
		return "", false
	}
	urgent := after.Level == contract.Urgent || after.Proposed == contract.Urgent
	update := kind == PageProposed || kind == PageEscalated || kind == PageReopened
	return kind, !update || urgent || e.Kind == EventTold || before.PagedAt.IsZero() || e.At.Sub(before.PagedAt) >= PageEvery
}

// pageFor says whether an event is told, and as what. Of what is listed under another incident only the other is told;
// who was told of it before learns that it has gone there.
func pageFor(before, after Record, e Event) (PageKind, bool) {
	switch {
	case e.Kind == EventMerged:
		return PageMerged, before.Parent == "" && before.Open()
	case after.Parent != "":
		return "", false
	case e.Kind == EventTold:
		return before.Owed, true
	case e.Kind == EventSplit:
		return PageSplit, after.Open()
	case e.Kind == EventGraded:
		return PageEscalated, after.Level.Graver(before.Level)
	case e.Kind == EventBreached:
		return PageBreached, after.Open()
	case e.Kind == EventFalse:
		return PageDismissed, before.Open()
	}
	kind, ok := pageOf[e.Kind]
	return kind, ok
}

var pageOf = map[EventKind]PageKind{
	EventOpened: PageOpened, EventEscalated: PageEscalated, EventProposed: PageProposed,
	EventReopened: PageReopened, EventRefused: PageReopened, EventRecovered: PageRecovered, EventAsked: PageAsked,
	EventWarned: PageWarned,
}

// brief is a record with as much as a message carries.
func brief(r Record) Record {
	r.Evidence = r.Evidence[:min(len(r.Evidence), 3)]
	r.Handling, r.Cause, r.Diagnosis = clip(r.Handling, 512), clip(r.Cause, 512), clip(r.Diagnosis, 512)
	r.Consents = r.Consents[max(0, len(r.Consents)-1):]
	r.Actions, r.Extensions, r.Pauses = nil, nil, nil
	r.Children = r.Children[:min(len(r.Children), 20)]
	return r
}

// settle writes down what time alone has brought: a recovery that held until at, deadlines missed by now,
// and breaches that do not stand because a fact from before them came late.
func (w *draft) settle(at time.Time) {
	w.recount()
	if v := w.rec.VerifyingSince; !v.IsZero() && !w.rec.Unproven() && !at.Before(v.Add(w.rec.Terms.VerifyTime(w.rec.Level))) {
		w.recovered(Event{Of: v})
	}
	w.warn()
	w.judge()
	if at, ok := w.rec.Terms.Overdue(w.rec.History, w.now); ok && w.rec.Open() {
		w.raise(contract.Urgent, at, "")
		w.judge() // it was urgent since then
	}
	if r := w.rec; r.State == Recovered && r.Doubt == nil && !r.ConfirmDue.IsZero() && !w.now.Before(r.ConfirmDue) {
		w.add(Event{Kind: EventConfirmed, Of: r.ConfirmDue})
	}
	if w.rec.Owed != "" && w.rec.Open() && !w.now.Before(w.rec.PagedAt.Add(PageEvery)) {
		w.add(Event{Kind: EventTold})
	}
	if r := w.rec; r.State == Merged && r.Failing() && r.VerifyingSince.IsZero() && !r.LeaveBy.IsZero() && !w.now.Before(r.LeaveBy) {
		w.leave(Event{Of: r.LeaveBy})
	}
}

// judge writes down the deadlines that were missed by now, and those that were not after all.
func (w *draft) judge() {
	for {
		due := w.rec.clocks(w.now).Breaches
		i := slices.IndexFunc(w.rec.Breaches, func(b contract.Breach) bool { return !slices.Contains(due, b) })
		if i < 0 {
			break
		}
		b := w.rec.Breaches[i]
		w.add(Event{Kind: EventCorrected, Of: b.At, Breach: &b}) // which may take back a level, and what was missed by it
	}
	for _, b := range w.rec.clocks(w.now).Breaches {
		if !slices.Contains(w.rec.Breaches, b) {
			w.add(Event{Kind: EventBreached, Of: b.At, Level: b.Level, Breach: &b})
		}
	}
}

// recovered ends the fault; from now on party A has so many working days to object (R10).
func (w *draft) recovered(e Event) {
	e.Kind = EventRecovered
	e.Until, _ = w.rec.Terms.ConfirmedBy(w.now)
	w.add(e)
}

// raise makes a fault graver by a machine's judgement. A level that a person has set is only proposed to be raised.
func (w *draft) raise(l contract.Level, at time.Time, why string) {
	switch {
	case !l.Graver(w.rec.Level):
	case !w.rec.PersonLevel:
		w.add(Event{Kind: EventEscalated, Of: later(at, w.rec.SLAStart), Level: l, Text: why})
	case l != w.rec.Proposed:
		w.add(Event{Kind: EventProposed, Level: l, Text: why})
	}
}

// next is the desk's time at which settle will have something to write, if nothing happens before; zero: never.
func next(r Record) time.Time {
	at := r.clocks(r.UpdatedAt).Next
	if !at.IsZero() {
		at = at.Add(time.Millisecond) // limits are inclusive
	}
	if !r.VerifyingSince.IsZero() && !r.Unproven() {
		at = earlier(at, r.VerifyingSince.Add(r.Terms.VerifyTime(r.Level)))
	}
	if r.State == Recovered && r.Doubt == nil {
		at = earlier(at, r.ConfirmDue)
	}
	if r.Owed != "" && r.Open() {
		at = earlier(at, r.PagedAt.Add(PageEvery))
	}
	if r.State == Merged && r.Failing() && r.VerifyingSince.IsZero() {
		at = earlier(at, r.LeaveBy)
	}
	return r.desk(earlier(at, r.nextWarning()))
}

// failing takes in a symptom that fires on an incident whose fault lasts.
func (w *draft) failing(s symptom.Symptom) {
	unknown := s.Class == symptom.Unknown
	switch {
	case !w.rec.VerifyingSince.IsZero() && unknown:
		w.add(Event{Kind: EventGap, Of: s.Since, Symptom: &s})
	case !w.rec.VerifyingSince.IsZero(), w.rec.Blind && !unknown:
		w.add(Event{Kind: EventRelapsed, Of: s.Since, Symptom: &s})
	case w.news(s):
		w.add(Event{Kind: EventSeen, Of: s.Since, Symptom: &s})
	}
	w.raise(s.Level, s.At, s.Detail)
}

// news says whether a symptom tells more than is written down, and there is room for it.
func (w *draft) news(s symptom.Symptom) bool {
	r := w.rec
	if !r.Linked {
		return true
	}
	if s.Level.Graver(r.Level) && !r.PersonLevel {
		return true
	}
	return r.Seen < MaxSeen && (s.Class != r.LastClass || s.Detail != r.Detail)
}

// sampledEvery is how often the good samples of a slow check are written down as they come; what is enough is at once.
const sampledEvery = time.Minute

// good takes in that the symptom ended: recovery starts to be verified from the first good sample (R5), and how many samples
// have been good since then.
func (w *draft) good(s symptom.Symptom) {
	have, enough := w.rec.Samples, w.rec.Terms.Samples
	switch {
	case w.rec.VerifyingSince.IsZero():
		if s.Run == nil || s.Run.Good > 0 || !w.rec.Blind { // the row that a bad sample broke has not begun yet
			w.add(Event{Kind: EventVerifying, Of: later(s.Since, w.rec.FaultStart), Symptom: &s})
		}
	case s.Run == nil || have == nil || enough == 0:
	case s.Run.Good < have.Good:
		if w.settle(s.At); !w.rec.VerifyingSince.IsZero() { // else it had held until then
			w.add(Event{Kind: EventBroken, Of: s.At, Text: s.Detail})
		}
	case s.Run.Good > have.Good && have.Good < enough:
		if s.Run.Good >= enough || have.Good == 0 || w.now.Sub(w.rec.UpdatedAt) >= sampledEvery {
			w.add(Event{Kind: EventSampled, Run: s.Run})
		}
	}
}

// imply acknowledges in the name of a person whose act shows that they have taken the fault on.
func (w *draft) imply(a Act) {
	if w.rec.AckAt.IsZero() {
		e := w.acknowledged(a)
		e.Text = "" // the note speaks of the act itself
		w.add(e)
	}
}

func (w *draft) act(kind EventKind, a Act) Event {
	return Event{Kind: kind, Person: a.Person, Via: a.Via, Device: a.Device, Address: a.Address, Text: a.Note}
}

// acknowledged also says when the person was told, so that the time from page to acknowledgement can be derived.
func (w *draft) acknowledged(a Act) Event {
	e := w.act(EventAcknowledged, a)
	if e.PagedAt = w.own(a.PagedAt); e.PagedAt.IsZero() || e.PagedAt.After(w.now) {
		e.PagedAt = w.rec.OpenedAt
	}
	return e
}

// own is the record's time of a reading of the wall clock.
func (w *draft) own(t time.Time) time.Time { return w.rec.own(w.b.d.clock.now(t)) }

// local is a symptom in the record's time.
func (w *draft) local(s symptom.Symptom) symptom.Symptom {
	s.Since, s.At = w.rec.own(s.Since), w.rec.own(s.At)
	return s
}

func clean(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Round(0)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// clip shortens a text to at most n bytes at a rune's edge.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}

// tidy bounds what comes from outside: lengths, and times that no clock here can have seen.
func tidy(s symptom.Symptom, now time.Time) (symptom.Symptom, error) {
	if _, err := contract.ParseLevel(string(s.Level)); err != nil && s.Firing {
		return s, err
	}
	s.Service, s.Component, s.Rule = clip(s.Service, 64), clip(s.Component, 256), clip(s.Rule, 128)
	s.Detail = clip(s.Detail, 1024)
	s.At, s.Since = clean(s.At), clean(s.Since)
	if s.At.IsZero() || s.At.After(now) {
		s.At = now
	}
	if s.Since.IsZero() || s.Since.After(s.At) {
		s.Since = s.At
	}
	s.Evidence = slices.Clone(s.Evidence[:min(len(s.Evidence), MaxEvidence/2)]) // what matters stands first
	for i, e := range s.Evidence {
		s.Evidence[i] = symptom.Evidence{At: clean(e.At), Agent: clip(e.Agent, 128), Text: clip(e.Text, 256)}
	}
	return s, nil
}

package incident

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/symptom"
)

// Fold adds events up to their record. They must be all of one incident's, in order.
func Fold(events []Event) (Record, error) {
	var r Record
	for i, e := range events {
		if e.N != i+1 || e.Incident != events[0].Incident || (e.Kind == EventOpened) != (i == 0) {
			return Record{}, fmt.Errorf("fold %s: event %d is missing or out of place", events[0].Incident, i+1)
		}
		r = r.with(e)
	}
	return r, nil
}

// with is the record after one more event. It shares no slice with the record before.
func (r Record) with(e Event) Record {
	before := r
	if e.Kind == EventOpened {
		r = open(e)
	}
	r.Version, r.UpdatedAt = e.N, e.At
	if e.Person != "" {
		r.ActedN, r.ActedBy, r.ActedAt = e.N, e.Person, e.At
	}
	r.History.Steps = slices.Clone(r.History.Steps)
	if e.Symptom != nil {
		r.see(*e.Symptom, e.Kind)
	}
	if apply, ok := applies[e.Kind]; ok {
		apply(&r, e)
	}
	c := r.clocks(e.At)
	r.SLAStart, r.ResponseDue, r.RecoveryDue = c.Start, c.ResponseDue, c.RecoveryDue
	switch kind, now := paging(before, r, e); {
	case now:
		r.PagedAt, r.Owed = e.At, ""
	case kind != "":
		r.Owed = kind
	}
	r.Form = recordForm
	return r
}

// recordForm is raised when records hold more of what their events say than they did: older ones are folded anew.
const recordForm = 3

// applies says what each kind of event changes; kinds that are not here only add to the list of events.
var applies = map[EventKind]func(r *Record, e Event){
	EventEscalated:    (*Record).grade,
	EventGraded:       (*Record).grade,
	EventProposed:     func(r *Record, e Event) { r.Proposed = e.Level },
	EventReported:     (*Record).report,
	EventAcknowledged: (*Record).acknowledge,
	EventDiagnosed:    (*Record).diagnose,
	EventArrived:      (*Record).arrive,
	EventAsked:        (*Record).ask,
	EventDecided:      (*Record).decide,
	EventActed:        (*Record).acted,
	EventBypassed:     (*Record).bypass,
	EventPaused:       (*Record).pause,
	EventResumed:      (*Record).resume,
	EventExtended:     (*Record).extend,
	EventImpact:       func(r *Record, e Event) { r.Impact = *e.Impact },
	EventVerifying:    (*Record).verify,
	EventSampled:      func(r *Record, e Event) { r.Samples = e.Run },
	EventBroken:       (*Record).relapse,
	EventRelapsed:     (*Record).relapse,
	EventGap:          (*Record).relapse,
	EventRecovered:    (*Record).recover,
	EventReopened:     (*Record).reopen,
	EventRefused:      (*Record).reopen,
	EventResolved:     func(r *Record, e Event) { r.account(e); r.ResolvedBy = e.Person },
	EventConfirmed:    (*Record).confirm,
	EventArchived:     (*Record).archive,
	EventClosed:       (*Record).archive,
	EventDoubted:      (*Record).doubt,
	EventUpheld:       func(r *Record, _ Event) { r.Doubt = nil },
	EventFalse:        (*Record).dismiss,
	EventExcused:      func(r *Record, e Event) { r.Excused, r.ExcusedBy, r.ExcusedOn = e.Excused, e.PartyA, e.Text },
	EventMerged:       (*Record).merge,
	EventSplit:        (*Record).split,
	EventJoined:       (*Record).join,
	EventLeft:         (*Record).leave,
	EventOrphaned:     func(r *Record, e Event) { r.LeaveBy = e.Until },
	EventEvidence:     (*Record).curved,
	EventEnded:        func(r *Record, _ Event) { r.Muted = false },
	EventBreached:     (*Record).breach,
	EventWarned:       (*Record).warned,
	EventCorrected:    (*Record).correct,
	EventStepped:      func(r *Record, e Event) { r.Skew = e.Skew },
	EventRecounted:    (*Record).recounted,
}

// when is the time at which an event took effect.
func (e Event) when() time.Time {
	if e.Of.IsZero() {
		return e.At
	}
	return e.Of
}

func open(e Event) Record {
	s, o := *e.Symptom, *e.Opened
	r := Record{
		ID: e.Incident, State: Detected, Key: o.Key,
		Service: s.Service, ServiceZH: o.ServiceZH, ServiceEN: o.ServiceEN, Component: s.Component, Rule: s.Rule, Source: s.Source,
		Level: e.Level, PersonLevel: e.Person != "",
		FaultStart: s.Since, ReportedAt: o.ReportedAt, Reporter: e.Reporter,
		OpenedAt: e.At, OpenedBy: e.Person, RecurrenceOf: o.RecurrenceOf, Terms: o.Terms,
	}
	r.Alone, r.Window = o.Separate, o.Window
	r.History = contract.History{FaultStart: s.Since, Reported: o.ReportedAt, Level: e.Level}
	return r
}

// see takes in what a symptom says of the fault; the good news that ends one is evidence only.
func (r *Record) see(s symptom.Symptom, kind EventKind) {
	r.Evidence = evidence(r.Evidence, s)
	if kind == EventVerifying {
		return
	}
	if kind == EventSeen {
		r.Seen++
	}
	r.Detail, r.LastClass = s.Detail, s.Class
	if weights[s.Class] >= weights[r.Class] {
		r.Class = s.Class
	}
	if s.Source == symptom.FromPerson {
		return
	}
	r.Linked, r.Watcher = true, s.Source
	if r.DetectedAt.IsZero() {
		r.DetectedAt, r.History.Detected = s.At, earlier(r.History.Detected, s.At)
	}
	if s.Since.Before(r.FaultStart) {
		r.FaultStart, r.History.FaultStart = s.Since, s.Since
	}
}

// weights order the classes, so that a record is named after the gravest.
var weights = map[symptom.Class]int{
	symptom.Reported: 1, symptom.Unknown: 2, symptom.Warning: 3, symptom.Slow: 4, symptom.Host: 4, symptom.External: 4,
	symptom.Partial: 5, symptom.Silent: 5, symptom.Unusable: 6, symptom.Wrong: 6, symptom.Down: 6,
}

// evidence keeps the first half of the room for what was seen first and the rest for what was seen last.
func evidence(have []symptom.Evidence, s symptom.Symptom) []symptom.Evidence {
	add := s.Evidence
	if len(add) == 0 && s.Detail != "" {
		add = []symptom.Evidence{{At: s.At, Text: s.Detail}}
	}
	out := slices.Concat(have, add)
	if over := len(out) - MaxEvidence; over > 0 {
		out = slices.Delete(out, MaxEvidence/2, MaxEvidence/2+over)
	}
	return out
}

func (r *Record) step(kind contract.StepKind, at time.Time) *contract.Step {
	r.History.Steps = append(r.History.Steps, contract.Step{Kind: kind, At: at})
	return &r.History.Steps[len(r.History.Steps)-1]
}

func (r *Record) unstep(kind contract.StepKind) {
	r.History.Steps = slices.DeleteFunc(r.History.Steps, func(s contract.Step) bool { return s.Kind == kind })
}

func (r *Record) grade(e Event) {
	if e.Person != "" {
		r.PersonLevel = true
	}
	r.Level, r.Proposed = e.Level, ""
	if e.Agreed != (contract.Limits{}) {
		r.History.Agreed = e.Agreed
	}
	r.step(contract.Graded, e.when()).Level = e.Level
}

func (r *Record) report(e Event) {
	if e.PartyA != "" { // all calls before were wrong
		if !r.Linked && r.FaultStart.Equal(r.ReportedAt) { // nobody but the caller knew of it
			r.FaultStart, r.History.FaultStart = e.Of, e.Of
		}
		r.ReportedAt, r.Reporter = e.Of, e.Reporter
		r.History.Reported = earlier(r.CarriedCall, e.Of)
		return
	}
	if r.ReportedAt.IsZero() || e.Of.Before(r.ReportedAt) {
		r.ReportedAt, r.Reporter = e.Of, e.Reporter
	}
	r.History.Reported = earlier(r.History.Reported, e.Of) // another incident's call may be in it
}

func (r *Record) acknowledge(e Event) { r.taken(Carried{AckAt: e.At, AckBy: e.Person, AckVia: e.Via}) }

// taken notes the person who has the fault in hand.
func (r *Record) taken(by Carried) {
	r.AckAt, r.AckBy, r.AckVia = by.AckAt, by.AckBy, by.AckVia
	if r.State == Detected {
		r.State = Acknowledged
	}
	r.step(contract.Acknowledged, by.AckAt)
}

// working is the state of a fault that is not over and about which nothing further is known.
func (r *Record) working() State {
	switch {
	case r.Parent != "":
		return Merged
	case r.AckAt.IsZero():
		return Detected
	case r.waiting() != nil:
		return Awaiting
	}
	return Acknowledged
}

func (r *Record) verify(e Event) {
	r.VerifyingSince, r.Blind = e.Of, false
	if e.Symptom != nil && e.Symptom.Run != nil {
		r.Samples = e.Symptom.Run
	}
	r.step(contract.Good, e.Of)
}

// relapse undoes verify: a run that broke never stopped the clock.
func (r *Record) relapse(e Event) {
	if e.Kind == EventRelapsed {
		r.Relapses++
	}
	r.VerifyingSince, r.Blind = time.Time{}, e.Kind != EventRelapsed
	if r.Samples != nil { // that they are counted holds
		r.Samples = &symptom.Run{Of: r.Samples.Of}
	}
	r.unstep(contract.Good)
}

func (r *Record) recover(e Event) {
	r.Muted = e.Person != "" && r.Linked && r.Workaround != nil && r.VerifyingSince.IsZero()
	r.over(e.when())
	r.Provisional, r.ConfirmDue, r.ConfirmFrom = e.Person != "", e.Until, e.At
	if r.Parent == "" {
		r.State = Recovered
	}
}

// over ends the fault, and all waiting with it.
func (r *Record) over(at time.Time) {
	r.RecoveredAt, r.VerifyingSince, r.Blind, r.Samples = at, time.Time{}, false, nil
	r.unstep(contract.Good)
	if c := r.waiting(); c != nil {
		asked := c.At
		r.Consents, c = last(r.Consents)
		c.DecidedAt = later(at, asked)
		r.step(contract.Resumed, c.DecidedAt)
	}
	for i := range r.Pauses {
		if r.Pauses[i].To.IsZero() {
			r.endPause(i, later(at, r.Pauses[i].From))
		}
	}
	r.step(contract.Recovered, at)
}

func (r *Record) reopen(e Event) {
	r.Relapses++
	r.RecoveredAt, r.ClosedAt, r.ClosedBy, r.Provisional = time.Time{}, time.Time{}, "", false
	r.ConfirmDue, r.ConfirmFrom, r.ConfirmedAt, r.ConfirmedBy = time.Time{}, time.Time{}, time.Time{}, ""
	r.Muted, r.Workaround, r.Doubt = false, nil, nil
	if r.Excused == ExcusedFalse {
		r.Excused, r.ExcusedBy, r.ExcusedOn = "", "", ""
	}
	r.State = r.working()
	if e.Person != "" {
		r.Linked = false // its check is content, so the end must be declared unless the check fails again
	}
	r.step(contract.Failing, e.when())
}

// account keeps what was written before where the event says nothing.
func (r *Record) account(e Event) {
	r.Cause, r.Handling = cmp.Or(e.Cause, r.Cause), cmp.Or(e.Handling, r.Handling)
	r.Category, r.Prevention = cmp.Or(e.Category, r.Category), cmp.Or(e.Prevention, r.Prevention)
}

func (r *Record) confirm(e Event) {
	r.State, r.ConfirmedAt, r.ConfirmedBy, r.Provisional = Confirmed, e.when(), e.PartyA, false
}

func (r *Record) archive(e Event) {
	r.State, r.ClosedAt, r.ClosedBy = Archived, e.At, e.Person
	r.account(e)
}

func (r *Record) breach(e Event) {
	r.Breaches = slices.Concat(r.Breaches, []contract.Breach{*e.Breach})
}

func (r *Record) correct(e Event) {
	b := *e.Breach
	r.Breaches = slices.DeleteFunc(slices.Clone(r.Breaches), func(x contract.Breach) bool { return x == b })
	if b.Clock != contract.Recovery || b.Level != contract.General || r.PersonLevel {
		return
	}
	steps := len(r.History.Steps) // what was raised to urgent only for it is general again
	r.History.Steps = slices.DeleteFunc(r.History.Steps, func(s contract.Step) bool {
		return s.Kind == contract.Graded && s.Level == contract.Urgent && s.At.Equal(b.At)
	})
	if len(r.History.Steps) < steps {
		r.Level = r.clocks(e.At).Level
	}
}

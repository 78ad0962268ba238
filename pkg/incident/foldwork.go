package incident

import (
	"cmp"
	"slices"
	"time"

	"xunjian/pkg/contract"
)

// What people do about a fault, folded into its record.

func (r *Record) diagnose(e Event) {
	if r.State.open() && r.State != Awaiting {
		r.State = Diagnosing
	}
	if e.Text != "" {
		r.Diagnosis = e.Text
	}
}

func (r *Record) arrive(e Event) {
	if r.ArrivedAt.IsZero() || e.when().Before(r.ArrivedAt) {
		r.ArrivedAt, r.ArrivedBy = e.when(), e.Person
	}
}

// ask lays a proposal before party A. One that waits already is replaced, and the clock goes on standing.
func (r *Record) ask(e Event) {
	if old := r.waiting(); old != nil {
		r.Consents, old = last(r.Consents)
		old.DecidedAt = e.At
	} else {
		r.step(contract.Paused, e.At)
	}
	r.Consents = keep(r.Consents, Consent{Proposal: *e.Proposal, By: e.Person, At: e.At})
	r.State = Awaiting
}

func (r *Record) decide(e Event) {
	list, c := last(r.Consents)
	c.DecidedAt, c.Agreed, c.PartyA, c.Reason = e.At, e.Consent, e.PartyA, e.Text
	r.Consents = list
	if r.State = Diagnosing; e.Consent {
		r.State = Handling
	}
	r.step(contract.Resumed, e.At)
}

func (r *Record) acted(e Event) {
	r.Actions = keep(r.Actions, Action{Step: *e.Step, By: e.Person, At: e.At, Agreed: e.Step.Emergency == "" && r.agreed()})
	if r.State.open() && r.State != Awaiting {
		r.State = Handling
	}
}

func (r *Record) bypass(e Event) {
	r.Workaround = &Bypass{Workaround: *e.Workaround, By: e.Person, At: e.At}
}

func (r *Record) pause(e Event) {
	r.Pauses = keep(r.Pauses, Pause{Pausing: Pausing{e.Why}, By: e.Person, Reason: e.Text, From: e.At})
	r.step(contract.Paused, e.At).Reason = e.Why
}

func (r *Record) resume(e Event) {
	if i := r.pausedFor(e.Why); i >= 0 {
		r.endPause(i, e.At)
	}
}

// pausedFor is the pause that lasts for a reason, -1 when there is none.
func (h *Handled) pausedFor(why contract.Reason) int {
	return slices.IndexFunc(h.Pauses, func(p Pause) bool { return p.Why == why && p.To.IsZero() })
}

func (r *Record) endPause(i int, at time.Time) {
	r.Pauses = slices.Clone(r.Pauses)
	r.Pauses[i].To = at
	r.step(contract.Resumed, at).Reason = r.Pauses[i].Why
}

func (r *Record) extend(e Event) {
	r.Extensions = keep(r.Extensions, Granted{
		Extension: Extension{Until: e.Until, Approver: e.PartyA}, Was: r.RecoveryDue, By: e.Person, At: e.At, Reason: e.Text,
	})
	r.step(contract.Extended, e.At).Until = e.Until
	r.Warned, r.WarnAfter = nil, e.At // of the new time
}

func (r *Record) doubt(e Event) {
	r.Doubt = &Doubt{By: e.Person, At: e.At, Reason: e.Text, PartyA: e.PartyA}
}

// dismiss files a false alarm. Its clocks stop here, for it counts all the same unless party A agrees.
func (r *Record) dismiss(e Event) {
	if r.RecoveredAt.IsZero() {
		r.Muted = r.Linked && r.VerifyingSince.IsZero()
		r.over(e.At)
	}
	r.State, r.ClosedAt, r.ClosedBy = FalseAlarm, e.At, e.Person
	if by := cmp.Or(e.PartyA, r.Doubt.PartyA); by != "" {
		r.Excused, r.ExcusedBy, r.ExcusedOn = ExcusedFalse, by, r.Doubt.Reason
	}
}

// merge lists an incident under another. Both clocks stand from now on: the parent's count.
func (r *Record) merge(e Event) {
	r.State, r.Parent, r.LeaveBy, r.Alone, r.Owed = Merged, e.Other, time.Time{}, false, ""
	r.step(contract.Joined, e.At)
}

// split makes it an incident of its own again, whose clocks go on from where they stood. Who has taken the parent on has
// taken this on.
func (r *Record) split(e Event) {
	r.Parent, r.LeaveBy, r.Alone = "", time.Time{}, e.Person != ""
	r.step(contract.Left, e.At)
	if c := e.Carried; c != nil && !c.AckAt.IsZero() && r.AckAt.IsZero() {
		r.taken(*c)
	}
	if r.State = r.working(); !r.RecoveredAt.IsZero() {
		r.State = Recovered
	}
}

func (r *Record) join(e Event) {
	if len(r.Children) < MaxChildren && !slices.Contains(r.Children, e.Other) {
		r.Children = append(slices.Clone(r.Children), e.Other)
	}
	c := e.Carried
	if c == nil {
		return
	}
	r.History.Detected = earlier(r.History.Detected, c.DetectedAt)
	r.History.Reported = earlier(r.History.Reported, c.ReportedAt)
	r.CarriedCall = earlier(r.CarriedCall, c.ReportedAt)
	if r.AckAt.IsZero() && !c.AckAt.IsZero() {
		r.taken(*c)
	}
}

func (r *Record) leave(e Event) {
	r.Children = slices.DeleteFunc(slices.Clone(r.Children), func(id string) bool { return id == e.Other })
}

// earlier is the earlier of two times of which zero means none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

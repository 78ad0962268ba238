package report

import (
	"cmp"
	"slices"
	"time"

	"xunjian/pkg/measure"

	"xunjian/pkg/contract"
	"xunjian/pkg/incident"
	"xunjian/pkg/symptom"
)

// faults lists the incidents whose clock started in the month, and those carried over into it, by the start of their clocks.
func (b *builder) faults(m Month) (out []Fault) {
	for _, r := range b.src.Faults {
		carried := r.SLAStart.Before(m.From()) && (r.RecoveredAt.IsZero() || !r.RecoveredAt.Before(m.From()))
		if r.SLAStart.After(b.asOf) || !carried && !m.Has(r.SLAStart) {
			continue
		}
		f := faultOf(r, b.asOf)
		f.CarriedIn = carried
		f.Spared = r.ExcusedBy != "" && slices.Contains(b.cfg.Assessment.Deductions.Excluded, r.Exclusion())
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b Fault) int {
		return cmp.Or(a.SLAStart.Compare(b.SLAStart), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// faultOf is what the report says of an incident as it stood at asOf.
func faultOf(r incident.Record, asOf time.Time) Fault {
	c := r.Clocks(asOf)
	f := Fault{
		ID: r.ID, Level: c.Level, Service: r.Service, ZH: r.ServiceZH, EN: r.ServiceEN, Component: r.Component,
		Class: r.Class, Detail: r.Detail, ByUser: r.Source == symptom.FromPerson, Recurrence: r.RecurrenceOf != "",
		SLAStart: r.SLAStart.UTC(), Start: until(r.FaultStart, asOf), Detected: until(r.DetectedAt, asOf), Reported: until(r.ReportedAt, asOf),
		Responded: until(r.AckAt, asOf), Recovered: until(r.RecoveredAt, asOf), Confirmed: until(cmp.Or(r.ConfirmedAt, r.ClosedAt), asOf),
		Paused: c.Recovery.Paused, Breaches: c.Breaches, Parent: r.Parent, Excused: r.Excused, Agreed: r.ExcusedBy, Why: r.ExcusedOn, Cause: r.Cause, Handling: r.Handling,
		Limited: !c.ResponseDue.IsZero() || !c.RecoveryDue.IsZero() || len(c.Breaches) > 0,
		Settled: !c.Response.Open && !c.Recovery.Open, Provisional: c.Provisional,
	}
	f.ByDefault = !f.Confirmed.IsZero() && !r.ConfirmedAt.IsZero() && r.ConfirmedBy == ""
	if !f.Responded.IsZero() {
		f.Responder, f.Response = r.AckBy, measure.Known(c.Response.Elapsed)
	}
	if !f.Recovered.IsZero() {
		f.Net, f.Raw = measure.Known(c.Recovery.Net), measure.Known(c.Recovery.Raw)
	}
	return f
}

// until blanks a time that had not come.
func until(t, asOf time.Time) time.Time {
	if t.After(asOf) {
		return time.Time{}
	}
	return t.UTC()
}

// Lateness says how a fault kept its deadlines, a key of the catalogue under report.late.
type Lateness string

// The kinds of lateness.
const (
	InTime       Lateness = "no"
	LateResponse Lateness = "response"
	LateRecovery Lateness = "recovery"
	LateBoth     Lateness = "both"
	Running      Lateness = "running" // a clock still runs, within its deadline
	NoLimit      Lateness = "nolimit"
	Joined       Lateness = "joined"  // another incident counts for it
	Excused      Lateness = "excused" // party A agreed that it is not counted
)

// Late is the fault's lateness.
func (f Fault) Late() Lateness {
	response := f.missed(contract.Response)
	recovery := f.missed(contract.Recovery)
	switch {
	case f.Parent != "":
		return Joined
	case f.Spared:
		return Excused
	case !f.Limited:
		return NoLimit
	case response && recovery:
		return LateBoth
	case response:
		return LateResponse
	case recovery:
		return LateRecovery
	case !f.Settled:
		return Running
	}
	return InTime
}

func (f Fault) missed(c contract.ClockName) bool {
	return slices.ContainsFunc(f.Breaches, func(b contract.Breach) bool { return b.Clock == c })
}

// levels sums up the faults of the month by level, and all of them in the last line. A fault is met when both clocks have
// stopped in time, breached as soon as one deadline has passed, and neither while it runs or has no deadline.
func levels(faults []Fault) []LevelSum {
	out := make([]LevelSum, 0, len(contract.Levels)+1)
	for _, l := range contract.Levels {
		out = append(out, sum(l, faults))
	}
	return append(out, sum("", faults))
}

func sum(l contract.Level, faults []Fault) LevelSum {
	s := LevelSum{Level: l}
	var response, recovery mean
	for _, f := range faults {
		if f.CarriedIn || f.Parent != "" || f.Spared || l != "" && f.Level != l {
			continue
		}
		s.Count++
		s.Provisional = s.Provisional || f.Provisional && f.Limited
		response.add(f.Response)
		recovery.add(f.Net)
		if f.Recurrence {
			s.Repeats++
		}
		if f.Limited {
			s.Limited++
		}
		switch f.Late() {
		case InTime:
			s.Met++
		case LateResponse, LateRecovery, LateBoth:
			s.Breached++
		}
	}
	s.Response, s.Recovery = response.value(), recovery.value()
	return s
}

// mean is the mean of the durations that are known.
type mean struct {
	sum time.Duration
	n   int64
}

func (m *mean) add(d measure.Maybe[time.Duration]) {
	if d.Known {
		m.sum, m.n = m.sum+d.Value, m.n+1
	}
}

func (m *mean) value() measure.Maybe[time.Duration] {
	if m.n == 0 {
		return measure.Maybe[time.Duration]{}
	}
	return measure.Known((m.sum / time.Duration(m.n)).Round(time.Millisecond))
}

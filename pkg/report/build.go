package report

import (
	"context"
	"fmt"
	"slices"
	"time"

	"xunjian/pkg/contract"

	"xunjian/pkg/incident"
	"xunjian/pkg/symptom"
)

// builder works out one model.
type builder struct {
	cfg   Config
	src   Sources
	month Month
	asOf  time.Time
}

// window is the part of a month that has passed at asOf.
func (b *builder) window(m Month) contract.Span {
	to := m.To()
	if b.asOf.Before(to) {
		to = b.asOf
	}
	from := m.From().UnixMilli()
	return contract.Span{From: from, To: max(to.UnixMilli(), from)}
}

func (b *builder) build(ctx context.Context) (*Model, error) {
	if b.src.Calendar == nil || b.src.Samples == nil {
		return nil, fmt.Errorf("report of %s: no calendar or no samples given", b.month)
	}
	if b.asOf.Before(b.month.From()) {
		return nil, fmt.Errorf("report of %s: the month has not begun at %s", b.month, b.asOf.Format(time.RFC3339))
	}
	m := &Model{
		Month: b.month.String(), From: b.month.From().UTC(), To: b.month.To().UTC(), AsOf: b.asOf.UTC(),
		Zone: b.month.loc.String(), loc: b.month.loc, Unfinished: b.asOf.Before(b.month.To()), Rules: b.rules(),
	}
	before, _, _, err := b.services(ctx, b.month.Previous())
	if err != nil {
		return nil, err
	}
	var known bool
	if m.Services, m.Steps, known, err = b.services(ctx, b.month); err != nil {
		return nil, err
	}
	m.Provisional = !known
	if m.Hosts, err = b.hosts(ctx); err != nil {
		return nil, err
	}
	if m.Expiries, err = b.expiring(ctx); err != nil {
		return nil, err
	}
	m.Faults, m.Warnings = apart(b.faults(b.month))
	m.Watched = watched(m.Services, m.Faults)
	m.Levels = levels(m.Faults)
	m.Score = b.score(b.month)
	m.Guessed = m.Score.Provisional || slices.ContainsFunc(m.Faults, func(f Fault) bool { return f.Provisional })
	old, _ := apart(b.faults(b.month.Previous()))
	m.Summary = b.summary(m, before, old)
	return m, nil
}

func (b *builder) rules() Rules {
	c := b.cfg
	r := Rules{
		Project: c.Project, ContractNo: c.ContractNo, ServicePeriod: c.ServicePeriod, Customer: c.Customer, Vendor: c.Vendor,
		Target: c.Target, InspectTarget: c.InspectTarget, Confirm: c.Confirm, Hold: c.Hold, GapLimit: c.GapLimit,
		OfficeHours: c.Office.Hours, SummerHours: c.Office.Summer, SummerFrom: c.Office.SummerFrom, SummerTo: c.Office.SummerTo,
	}
	for d := b.month.From(); d.Before(b.month.To()); d = d.AddDate(0, 0, 1) {
		if work, _ := b.src.Calendar.Workday(d); work {
			r.Workdays++
		}
	}
	return r
}

// outageFaults are the spans of the incidents that say a service was not usable.
func (b *builder) outageFaults(service string) (out []contract.Span) {
	for _, r := range b.src.Faults {
		if r.Service != service || r.FaultStart.IsZero() || !interrupts(r) {
			continue
		}
		end := b.asOf
		if !r.RecoveredAt.IsZero() && r.RecoveredAt.Before(end) {
			end = r.RecoveredAt
		}
		out = append(out, contract.Span{From: r.FaultStart.UnixMilli(), To: end.UnixMilli() + 1})
	}
	return out
}

func interrupts(r incident.Record) bool {
	return r.Class == symptom.Down || r.Class == symptom.Wrong || r.Class == symptom.Unusable
}

// watched says whether anything was recorded: a count of nothing means something only where somebody looked.
func watched(services []ServiceLine, faults []Fault) bool {
	return len(faults) > 0 || slices.ContainsFunc(services, func(s ServiceLine) bool { return s.Done > 0 })
}

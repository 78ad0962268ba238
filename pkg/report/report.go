// Package report works out a month's figures once from the records and writes them as Word and Excel files.
package report

import (
	"context"
	"slices"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/i18n"
	"xunjian/pkg/incident"
	"xunjian/pkg/measure"
)

// Host is a server under contract; Name is the value of its series' agent label.
type Host struct {
	Name, IP, Role string
	Every          time.Duration // between its reports; default 10 s
	Since          time.Time     // zero: since its first sample, looked for from the start of the month before
}

// Sources is all that a month's figures depend on besides the month and the moment.
type Sources struct {
	Samples  measure.Samples
	Services []check.Service
	Gone     []string // services that are in the configuration no more: they stand in the months in which they were looked at
	Checks   []measure.Check
	Hosts    []Host
	Calendar *contract.Calendar
	Planned  func(service, check string) []contract.Span // planned windows; nil for none
	Kept     measure.Kept                                // figures of days past; nil: worked out anew
	Faults   []incident.Record                           // those that touch the month or the one before; others are passed over
}

// Keep works out the days of the last fortnight, so that those which are final are kept.
func (s Sources) Keep(ctx context.Context, cfg Config, loc *time.Location, now time.Time) error {
	y, m, d := now.In(loc).Date()
	today := time.Date(y, m, d, 0, 0, 0, 0, loc)
	for _, service := range s.all() {
		maker := s.maker(cfg, loc, now)
		if _, err := maker.Between(ctx, service.Name, today.AddDate(0, 0, -14), today, now); err != nil {
			return err
		}
	}
	return nil
}

// all are the services, those that are gone last.
func (s Sources) all() []check.Service {
	out := slices.Clone(s.Services)
	for _, name := range s.Gone {
		zh, en := i18n.For("zh-CN"), i18n.For("en")
		out = append(out, check.Service{Name: name, ZH: zh.T("report.gone", "service", name), EN: en.T("report.gone", "service", name)})
	}
	return out
}

func (s Sources) maker(cfg Config, loc *time.Location, now time.Time) *measure.Maker {
	return &measure.Maker{
		Rules:   measure.Rules{Confirm: cfg.Confirm, Hold: cfg.Hold},
		Samples: s.Samples, Checks: s.Checks, Calendar: s.Calendar, Office: cfg.Office, Location: loc,
		Planned: s.Planned, Blind: s.blind(now), Kept: s.Kept,
	}
}

// Build works out the figures of a month as they stand at asOf. Nothing but its arguments and the records goes in.
func Build(ctx context.Context, cfg Config, src Sources, month Month, asOf time.Time) (*Model, error) {
	b := builder{cfg: cfg, src: src, month: month, asOf: asOf.Truncate(time.Second)}
	return b.build(ctx)
}

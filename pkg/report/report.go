// Package report works out a month's figures once from the records and writes them as Word and Excel files.
package report

import (
	"context"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/incident"
	"xunjian/pkg/metric"
)

// Samples hands out stored samples. For each series of the name that carries all the labels, fn gets its samples of
// [from, to) in order of time; a long series may come in several calls, and t and v may be used again after each.
// NaN is a reading that the series did not have. An error from fn ends the selection and is returned.
type Samples interface {
	Select(ctx context.Context, from, to time.Time, name string, labels map[string]string, fn func(series metric.Series, t []int64, v []float64) error) error
}

// The labels by which the report finds its series.
const (
	LabelCheck = "check"
	LabelAgent = "agent"
)

// Check is a check and since when it has been in the plan.
type Check struct {
	check.Spec
	Since time.Time // zero: since its first sample, looked for from the start of the month before
}

// Host is a server under contract; Name is the value of its series' agent label.
type Host struct {
	Name, IP, Role string
	Every          time.Duration // between its reports; default 10 s
	Since          time.Time     // as Check.Since
}

// Sources is all that a month's figures depend on besides the month and the moment.
type Sources struct {
	Samples  Samples
	Services []check.Service
	Checks   []Check
	Hosts    []Host
	Calendar *Calendar
	Faults   []incident.Record // those that touch the month or the one before; others are passed over
}

// Build works out the figures of a month as they stand at asOf. Nothing but its arguments and the records goes in.
func Build(ctx context.Context, cfg Config, src Sources, month Month, asOf time.Time) (*Model, error) {
	b := builder{cfg: cfg, src: src, month: month, asOf: asOf.Truncate(time.Second)}
	return b.build(ctx)
}

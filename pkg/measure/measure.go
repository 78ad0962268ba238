// Package measure works out how available, fast and stable each service and each step of its checks was, day by day.
package measure

import (
	"context"
	"fmt"
	"slices"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/metric"
)

// Samples hands out stored samples. For each series of the name that carries all the labels, fn gets its samples of
// [from, to) in order of time; a long series may come in several calls, and t and v may be used again after each.
// NaN is a reading that the series did not have. An error from fn ends the selection and is returned.
type Samples interface {
	Select(ctx context.Context, from, to time.Time, name string, labels map[string]string, fn func(series metric.Series, t []int64, v []float64) error) error
}

// The labels by which series are found.
const (
	LabelCheck = "check"
	LabelAgent = "agent"
	labelStep  = "step"
)

// Check is a check and since when it has been in the plan.
type Check struct {
	check.Spec
	Since time.Time // zero: since its first sample, looked for from the start of the month before
	Gone  bool      // it is in the plan no more: only its samples say at which pace it was asked, and until when
}

// Rules are how results become time up and down (DOMAIN 1.0). They are these:
//
//   - A result holds until the next of its vantage, at most Hold intervals, then the vantage is unknown.
//   - What an agent could not reach while it reached nothing is unknown.
//   - A check is down when all of its vantages that know anything say so, or two at least and more than say that it is up.
//   - A service is down while any of its checks is down, else unknown while any of them is unknown, else up.
//   - A check that goes through a gateway says nothing while the direct check of the same thing is down, which is another
//     service's fault: the other checks decide.
//   - Availability is up / (up + down); unknown time and planned windows are in neither and stand beside it. Rounds in planned
//     windows are in no count either.
//   - An outage runs from the first failing result to the next good one. It is sure when one vantage had Confirm failing
//     results in a row in it, or when an incident says so.
//   - Response times are those of good answers; rounds are due at the ticks of each vantage's grid while the check existed.
//   - A check with hours is looked at in its hours only, each at the interval that is then in force.
type Rules struct {
	Confirm int
	Hold    int
}

// Maker works figures out of samples. Nothing but its fields and the samples goes in.
type Maker struct {
	Rules
	Samples  Samples
	Checks   []Check
	Calendar *contract.Calendar
	Office   contract.Office
	Location *time.Location
	Planned  func(service, check string) []contract.Span // planned windows of a check in order; nil for none
	Blind    func(agent string) []contract.Span          // when an agent reached nothing (vantage lost), in order; nil for never
	Kept     Kept                                        // nil: every day is worked out anew
}

// Subject is what is measured: a service as a whole, or one step of one of its checks.
type Subject struct {
	Service string `json:"service"`
	Check   string `json:"check,omitempty"`
	Step    string `json:"step,omitempty"`
}

// Line is a subject's figures around the clock (7×24) and in office hours (5×8).
type Line struct {
	Subject
	Always Figures `json:"always"`
	Office Figures `json:"office"`
}

// Sheet is a service's figures over a span of time: the service first, then the steps of its checks.
type Sheet struct {
	Lines       []Line `json:"lines"`
	Provisional bool   `json:"provisional,omitempty"` // no holiday notice covers some of its days: office hours are guessed
}

// Whole is the service itself.
func (s *Sheet) Whole() *Line { return &s.Lines[0] }

// add appends the sheet of the span that follows.
func (s *Sheet) add(next *Sheet) {
	s.Provisional = s.Provisional || next.Provisional
	for _, l := range next.Lines {
		i := slices.IndexFunc(s.Lines, func(x Line) bool { return x.Subject == l.Subject })
		if i < 0 {
			s.Lines = append(s.Lines, l)
			continue
		}
		s.Lines[i].Always.Add(&l.Always)
		s.Lines[i].Office.Add(&l.Office)
	}
}

// Kept holds the figures of days that will not change any more.
type Kept interface {
	// Day is false when the day is not kept.
	Day(service string, day time.Time) (Sheet, bool, error)
	Keep(service string, day time.Time, s Sheet) error
}

// final is how long after its end a day may still change: agents that were cut off bring their readings later.
const final = 96 * time.Hour

// Between works out a service's figures of the days of [from, to), which are midnights, as known at asOf.
func (m *Maker) Between(ctx context.Context, service string, from, to, asOf time.Time) (*Sheet, error) {
	exists, err := m.existence(ctx, service, from, to)
	if err != nil {
		return nil, err
	}
	out := &Sheet{Lines: []Line{{Subject: Subject{Service: service}}}}
	for day := from; day.Before(to); day = day.AddDate(0, 0, 1) {
		s, err := m.day(ctx, service, day, asOf, exists)
		if err != nil {
			return nil, fmt.Errorf("figures of service %s on %s: %w", service, day.Format(time.DateOnly), err)
		}
		out.add(&s)
	}
	return out, nil
}

// day is one day's sheet: the kept one, or one worked out anew, which is kept when it is final. A past month is asked for as of
// its end, at which its last days were not final yet: they are kept all the same by the time that it is asked for.
func (m *Maker) day(ctx context.Context, service string, day, asOf time.Time, exists map[string]life) (Sheet, error) {
	end := day.AddDate(0, 0, 1)
	done := m.Kept != nil && end.Add(final).Before(asOf)
	var kept Sheet
	if m.Kept != nil && !end.After(asOf) {
		s, ok, err := m.Kept.Day(service, day)
		if _, known := m.Calendar.Workday(day); err != nil || ok && !(s.Provisional && known) {
			return s, err
		}
		kept = s
	}
	s, err := m.work(ctx, service, day, earlier(end, asOf), exists)
	if kept.Provisional && err == nil {
		s = kept.announced(s)
	}
	if err == nil && done && s.Whole().Always.Due > 0 { // of a day on which nothing was looked at there is nothing to keep
		err = m.Kept.Keep(service, day, s)
	}
	return s, err
}

// announced is a kept sheet with the office hours of another that was made when the day's holiday notice had come. Without
// all of the samples that it was made of it stays as it is.
func (s Sheet) announced(now Sheet) Sheet {
	if now.Provisional || now.Whole().Always.Done < s.Whole().Always.Done {
		return s
	}
	out := Sheet{Lines: slices.Clone(s.Lines)}
	for i, l := range out.Lines {
		if j := slices.IndexFunc(now.Lines, func(x Line) bool { return x.Subject == l.Subject }); j >= 0 {
			out.Lines[i].Office = now.Lines[j].Office
		}
	}
	return out
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

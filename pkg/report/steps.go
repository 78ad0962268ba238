package report

import (
	"cmp"
	"slices"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/measure"
)

// Stability is how fast and steady a service was under one calendar.
type Stability struct {
	P50       measure.Maybe[time.Duration] `json:"p50"`
	P95       measure.Maybe[time.Duration] `json:"p95"`
	Max       measure.Maybe[time.Duration] `json:"max"`
	Slow      measure.Maybe[float64]       `json:"slow"`      // share of the good answers that were late
	Variation measure.Maybe[float64]       `json:"variation"` // p95 / p50
	Outages   measure.Maybe[int64]         `json:"outages"`
	Flaps     int64                        `json:"flaps"`   // outages over within half an hour
	Longest   measure.Maybe[time.Duration] `json:"longest"` // missing when there was none
	MTBF      measure.Maybe[time.Duration] `json:"mtbf"`
	MTTR      measure.Maybe[time.Duration] `json:"mttr"`
	WorstAt   time.Time                    `json:"worst_at,omitzero"` // the hour of the clock with the lowest success
	Worst     measure.Maybe[float64]       `json:"worst"`             // its success
	Planned   time.Duration                `json:"planned"`           // planned windows, in no other figure
}

// StepLine is a step of a check in a month (2.2): one business function as a transaction goes through it.
type StepLine struct {
	Service   string                       `json:"service"`
	ServiceZH string                       `json:"service_zh"`
	ServiceEN string                       `json:"service_en"`
	Check     string                       `json:"check"`
	Step      string                       `json:"step"`
	ZH        string                       `json:"zh,omitempty"`
	EN        string                       `json:"en,omitempty"`
	Done      int64                        `json:"done"`
	Failed    int64                        `json:"failed"`
	Most      bool                         `json:"most"` // no step of this check failed more often
	Success   measure.Maybe[float64]       `json:"success"`
	Always    measure.Maybe[float64]       `json:"availability"`
	Office    measure.Maybe[float64]       `json:"availability_office"`
	P50       measure.Maybe[time.Duration] `json:"p50"`
	P95       measure.Maybe[time.Duration] `json:"p95"`
	Max       measure.Maybe[time.Duration] `json:"max"`
	Slow      measure.Maybe[float64]       `json:"slow"`
	Verdict   Verdict                      `json:"verdict"`
}

func stability(f *measure.Figures) Stability {
	s := Stability{
		P50: f.Latency.Quantile(0.5), P95: f.Latency.Quantile(0.95), Max: f.Latency.Largest(), Slow: f.SlowShare(), Variation: f.Variation(),
		Flaps: f.Flaps(), Longest: f.Longest(), MTBF: f.MTBF(), MTTR: f.MTTR(), Worst: f.Worst.Success(), Planned: millis(f.Planned),
	}
	if f.Availability().Known {
		s.Outages = measure.Known(int64(len(f.Interruptions())))
	}
	if s.Worst.Known {
		s.WorstAt = time.UnixMilli(f.Worst.At).UTC()
	}
	return s
}

// steps lists the steps of a service's checks in the order of the configuration, those of checks that are there no more behind.
func (b *builder) steps(s check.Service, sheet *measure.Sheet) (out []StepLine) {
	for _, c := range b.src.Checks {
		var lines []StepLine
		most := int64(0)
		for _, l := range sheet.Lines[1:] {
			if l.Check != c.Name {
				continue
			}
			line := stepLine(s, c.Spec, l)
			line.Verdict = b.stepVerdict(line)
			most = max(most, line.Failed)
			lines = append(lines, line)
		}
		for i := range lines {
			lines[i].Most = most > 0 && lines[i].Failed == most
		}
		slices.SortStableFunc(lines, func(x, y StepLine) int { return cmp.Compare(rank(c.Spec, x.Step), rank(c.Spec, y.Step)) })
		out = append(out, lines...)
	}
	return out
}

func stepLine(s check.Service, c check.Spec, l measure.Line) StepLine {
	f := &l.Always
	out := StepLine{
		Service: s.Name, ServiceZH: s.ZH, ServiceEN: s.EN, Check: c.Name, Step: l.Step,
		Done: f.Done, Failed: f.Done - f.Passed, Success: f.Success(), Always: f.Availability(), Office: l.Office.Availability(),
		P50: f.Latency.Quantile(0.5), P95: f.Latency.Quantile(0.95), Max: f.Latency.Largest(), Slow: f.SlowShare(),
	}
	if i := rank(c, l.Step); i < len(steps(c)) {
		out.ZH, out.EN = steps(c)[i].ZH, steps(c)[i].EN
	}
	return out
}

func steps(c check.Spec) []check.FlowStep {
	if c.SMS != nil {
		return check.SMSSteps
	}
	f := c.OwnFlow()
	if f == nil {
		return nil
	}
	return slices.Concat(f.Steps, f.Finally)
}

// rank is a step's place in its flow; steps of other kinds keep the order of their names, behind.
func rank(c check.Spec, name string) int {
	all := steps(c)
	if i := slices.IndexFunc(all, func(s check.FlowStep) bool { return s.Name == name }); i >= 0 {
		return i
	}
	return len(all)
}

// stepVerdict holds a step to the target of availability.
func (b *builder) stepVerdict(l StepLine) Verdict {
	return reach(l.Always, measure.Known(b.cfg.Target))
}

package report

import (
	"context"
	"fmt"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/measure"
)

// services works out 2.1 and 2.2 for a month, by measure's rules.
func (b *builder) services(ctx context.Context, m Month) (out []ServiceLine, steps []StepLine, known bool, err error) {
	known = true
	for i, s := range b.src.all() {
		sheet, err := b.sheet(ctx, s, m)
		if err != nil {
			return nil, nil, false, err
		}
		if gone := i >= len(b.src.Services); gone && sheet.Whole().Always.Due == 0 {
			continue
		}
		known = known && !sheet.Provisional
		out, steps = append(out, b.line(s, sheet)), append(steps, b.steps(s, sheet)...)
	}
	return out, steps, known, nil
}

// sheet is a service's month so far.
func (b *builder) sheet(ctx context.Context, s check.Service, m Month) (*measure.Sheet, error) {
	maker := b.src.maker(b.cfg, m.loc, b.asOf)
	sheet, err := maker.Between(ctx, s.Name, m.From(), earlier(m.To(), b.asOf), b.asOf)
	if err != nil {
		return nil, err
	}
	incidents := b.outageFaults(s.Name)
	sheet.Whole().Always.Confirm(incidents)
	sheet.Whole().Office.Confirm(incidents)
	return sheet, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func (b *builder) line(s check.Service, sheet *measure.Sheet) ServiceLine {
	always, office := &sheet.Whole().Always, &sheet.Whole().Office
	line := ServiceLine{
		Name: s.Name, ZH: s.ZH, EN: s.EN, Planned: always.Due, Done: always.Done, Passed: always.Passed, Success: always.Success(),
		Always: always.Availability(), Office: office.Availability(),
		Up: millis(always.Up), Down: millis(always.Down), Unknown: millis(always.Unknown),
		P50: always.Latency.Quantile(0.5), P95: always.Latency.Quantile(0.95), Max: always.Latency.Largest(),
	}
	if line.Always.Known {
		line.Outages = measure.Known(int64(len(always.Interruptions())))
		line.Longest, line.MTTR, line.Lasting = always.Longest(), always.MTTR(), always.Lasting()
	}
	line.OfficeGuessed = sheet.Provisional
	line.Detail, line.OfficeDetail = stability(always), stability(office)
	line.Verdict = b.verdict(&line)
	return line
}

func (b *builder) verdict(line *ServiceLine) Verdict {
	total := line.Up + line.Down + line.Unknown
	switch {
	case !line.Always.Known:
		return NoData
	case line.Always.Value < b.cfg.Target:
		return Missed
	case float64(line.Unknown) > b.cfg.GapLimit*float64(total):
		return MetWithGap
	}
	return Met
}

func millis(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

// hostEvery is between the reports of a host.
func hostEvery(h Host) time.Duration {
	if h.Every <= 0 {
		return 10 * time.Second
	}
	return h.Every
}

// existence is the part of the month's window in which a host existed: since the time given, or else since its first sample.
func (b *builder) existence(ctx context.Context, h Host, series string) (contract.Span, error) {
	window := b.window(b.month)
	since := h.Since.UnixMilli()
	if h.Since.IsZero() {
		var err error
		since, err = measure.FirstSample(ctx, b.src.Samples, series, map[string]string{measure.LabelAgent: h.Name}, b.month.From(), time.UnixMilli(window.To))
		if err != nil {
			return contract.Span{}, fmt.Errorf("first sample of host %s: %w", h.Name, err)
		}
	}
	return contract.Span{From: min(max(since, window.From), window.To), To: window.To}, nil
}

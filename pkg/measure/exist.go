package measure

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"xunjian/pkg/metric"
)

// life is when a check existed, and at which pace it was asked where no plan tells it any more.
type life struct {
	span
	every time.Duration
}

var errEnough = errors.New("enough samples seen")

// existence is when each check of the service existed: since the time given, or else since its first sample, which is looked
// for from a month before; and until now, or else until its last sample.
func (m *Maker) existence(ctx context.Context, service string, from, to time.Time) (map[string]life, error) {
	out := map[string]life{}
	for _, c := range m.Checks {
		if c.Service != service {
			continue
		}
		var err error
		x := life{span: span{c.Since.UnixMilli(), math.MaxInt64}}
		switch {
		case c.Gone:
			x, err = m.traces(ctx, c, from, to)
		case c.Since.IsZero():
			x.from, err = FirstSample(ctx, m.Samples, metric.ProbeSuccess, map[string]string{LabelCheck: c.Name}, from, to)
		}
		if err != nil {
			return nil, fmt.Errorf("samples of check %s: %w", c.Name, err)
		}
		out[c.Name] = x
	}
	return out, nil
}

// FirstSample is when a series has its first sample, looked for from a month before from up to to; the moment to when it has
// none. What has one before from is only known to.
func FirstSample(ctx context.Context, samples Samples, series string, labels map[string]string, from, to time.Time) (int64, error) {
	first := to.UnixMilli()
	err := samples.Select(ctx, from.AddDate(0, -1, 0), to, series, labels, func(_ metric.Series, t []int64, _ []float64) error {
		if len(t) > 0 {
			first = min(first, t[0])
		}
		if first <= from.UnixMilli() {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return 0, err
	}
	return first, nil
}

// traces are what is left of a check that is in the plan no more: when it was asked, and at the pace at which it was mostly.
func (m *Maker) traces(ctx context.Context, c Check, from, to time.Time) (out life, err error) {
	out.span = span{to.UnixMilli(), from.UnixMilli()}
	last, gaps := map[string]int64{}, map[int64]int{}
	err = m.Samples.Select(ctx, from.AddDate(0, -1, 0), to, metric.ProbeSuccess, map[string]string{LabelCheck: c.Name}, func(s metric.Series, ts []int64, _ []float64) error {
		key := s.String()
		for _, t := range ts {
			if before, ok := last[key]; ok && t > before {
				gaps[t-before]++
			}
			last[key] = t
			out.from, out.to = min(out.from, t), max(out.to, t)
		}
		return nil
	})
	most := 0
	for gap, n := range gaps {
		if every := millis(gap); n > most || n == most && every < out.every {
			most, out.every = n, every
		}
	}
	out.to += max(out.every, time.Millisecond).Milliseconds() // the last result holds as any other, until the next would have come
	return out, err
}

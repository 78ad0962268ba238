package report

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/metric"
)

// The series of the checks.
const (
	seriesSuccess  = "probe_success"
	seriesDuration = "probe_duration_seconds"
)

// vantage is one check as one series sees it over a month.
type vantage struct {
	*timeline
	agent        string
	done, passed int64
	latency      *sketch
	cursor       int // into the timeline, while latencies are read
}

// services works out 2.1 for a month. Its rules:
//
//   - A result holds until the next of its vantage, at most Hold intervals, then the vantage is unknown.
//   - A check is up when one of its vantages says so, and down when all that know anything say so.
//   - A service is down while any of its checks is down, else unknown while any of them is unknown, else up.
//   - Availability is up / (up + down); unknown time is in neither and stands beside it.
//   - An outage runs from the first failing result to the next good one. It counts when one vantage had Confirm failing
//     results in a row in it, or when an incident (down, wrong, unusable) says so: agents ask again within a second, so an
//     outage may be confirmed by an incident though it lasted for a single round.
//   - Response times are those of good answers; planned rounds are the ticks of each vantage's grid while the check existed.
func (b *builder) services(ctx context.Context, m Month) (out []ServiceLine, known bool, err error) {
	office, known, err := b.src.Calendar.office(m, b.cfg)
	if err != nil {
		return nil, false, err
	}
	for _, s := range b.src.Services {
		line, err := b.service(ctx, s, m, office)
		if err != nil {
			return nil, false, fmt.Errorf("figures of service %s in %s: %w", s.Name, m, err)
		}
		out = append(out, line)
	}
	return out, known, nil
}

func (b *builder) service(ctx context.Context, s check.Service, m Month, office []span) (ServiceLine, error) {
	line := ServiceLine{Name: s.Name, ZH: s.ZH, EN: s.EN}
	var lanes []lane
	all := newSketch()
	for _, c := range b.src.Checks {
		if c.Service != s.Name {
			continue
		}
		vs, exists, err := b.check(ctx, c, m)
		if err != nil {
			return line, fmt.Errorf("check %s: %w", c.Name, err)
		}
		n := lane{exists: exists}
		for _, v := range vs {
			n.vantages = append(n.vantages, v.timeline)
			line.Done += v.done
			line.Passed += v.passed
			all.merge(v.latency)
		}
		line.Planned += planned(c, vs, exists)
		lanes = append(lanes, n)
	}
	line.P50, line.P95, line.Max = all.quantile(0.5), all.quantile(0.95), all.largest()
	b.judge(&line, lanes, b.window(m), office)
	return line, nil
}

// judge fills in what follows from the timelines.
func (b *builder) judge(line *ServiceLine, lanes []lane, window span, office []span) {
	line.Success = ratio(line.Passed, line.Done)
	runs := combine(lanes, window)
	all := within(runs, []span{window})
	line.Up, line.Down, line.Unknown = millis(all.up), millis(all.down), millis(all.unknown)
	line.Always, line.Office = all.share(), within(runs, office).share()
	if line.Always.Known {
		b.countOutages(line, lanes, runs)
	}
	line.Verdict = b.verdict(line)
}

func (b *builder) countOutages(line *ServiceLine, lanes []lane, runs []stretch) {
	faults := b.outageFaults(line.Name)
	var sure [][]span
	for _, n := range lanes {
		for _, v := range n.vantages {
			var spans []span
			for _, r := range v.runs {
				if r.state == down && r.results >= b.cfg.Confirm {
					spans = append(spans, r.span)
				}
			}
			sure = append(sure, spans)
		}
	}
	found := outages(runs, func(s span) bool {
		return slices.ContainsFunc(sure, func(spans []span) bool { return touches(spans, s) }) ||
			slices.ContainsFunc(faults, func(f span) bool { return f.from < s.to && s.from < f.to })
	})
	line.Outages = Known(int64(len(found)))
	var sum, ended, longest int64
	for _, o := range found {
		longest = max(longest, o.down)
		line.Lasting = !o.ended
		if o.ended {
			sum, ended = sum+o.down, ended+1
		}
	}
	if len(found) > 0 {
		line.Longest = Known(millis(longest))
	}
	if ended > 0 {
		line.MTTR = Known(millis(sum / ended))
	}
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

// check reads a check's results of a month, and of the time before it for which a result may stand. It returns its vantages in
// the order of their series, and the part of the month in which the check existed.
func (b *builder) check(ctx context.Context, c Check, m Month) ([]*vantage, span, error) {
	window := b.window(m)
	exists, err := b.existence(ctx, c.Since, seriesSuccess, map[string]string{LabelCheck: c.Name}, m)
	if err != nil || exists.to <= exists.from {
		return nil, exists, err
	}
	vs := map[string]*vantage{}
	labels := map[string]string{LabelCheck: c.Name}
	back := time.Duration(b.cfg.Hold+b.cfg.Confirm) * every(c.Every)
	err = b.src.Samples.Select(ctx, m.From().Add(-back), time.UnixMilli(window.to), seriesSuccess, labels, func(s metric.Series, t []int64, v []float64) error {
		key := metric.Series{Labels: s.Labels}.String()
		if vs[key] == nil {
			vs[key] = &vantage{timeline: newTimeline(every(c.Every), b.cfg.Hold), agent: s.Get(LabelAgent), latency: newSketch()}
		}
		return vs[key].results(t, v, window)
	})
	if err != nil {
		return nil, exists, err
	}
	for _, v := range vs {
		v.close(window.to)
	}
	err = b.src.Samples.Select(ctx, m.From(), time.UnixMilli(window.to), seriesDuration, labels, func(s metric.Series, t []int64, v []float64) error {
		if w := vs[metric.Series{Labels: s.Labels}.String()]; w != nil {
			w.latencies(t, v)
		}
		return nil
	})
	return ordered(vs), exists, err
}

func every(d time.Duration) time.Duration {
	if d <= 0 {
		return 10 * time.Second
	}
	return d
}

func ordered(vs map[string]*vantage) []*vantage {
	keys := make([]string, 0, len(vs))
	for k := range vs {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	out := make([]*vantage, 0, len(vs))
	for _, k := range keys {
		out = append(out, vs[k])
	}
	return out
}

func (v *vantage) results(ts []int64, vals []float64, window span) error {
	for i, t := range ts {
		fresh := !v.seen || t > v.last
		if err := v.add(t, vals[i]); err != nil {
			return err
		}
		if fresh && t >= window.from && t < window.to && !math.IsNaN(vals[i]) {
			v.done++
			if vals[i] > 0 {
				v.passed++
			}
		}
	}
	return nil
}

// latencies takes the durations of good answers.
func (v *vantage) latencies(ts []int64, vals []float64) {
	for i, t := range ts {
		var s state
		if s, v.cursor = v.at(t, v.cursor); s == up {
			v.latency.add(vals[i])
		}
	}
}

var errEnough = errors.New("enough samples seen")

// existence is the part of the month's window in which a thing existed: since the time given, or else since its first
// sample, which is looked for from the start of the month before.
func (b *builder) existence(ctx context.Context, since time.Time, series string, labels map[string]string, m Month) (span, error) {
	window := b.window(m)
	if !since.IsZero() {
		return span{min(max(since.UnixMilli(), window.from), window.to), window.to}, nil
	}
	first := window.to
	err := b.src.Samples.Select(ctx, m.Previous().From(), time.UnixMilli(window.to), series, labels, func(_ metric.Series, t []int64, _ []float64) error {
		if len(t) > 0 {
			first = min(first, t[0])
		}
		if first <= window.from {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return span{}, err
	}
	return span{max(first, window.from), window.to}, nil
}

// planned counts the rounds that were due: for each agent that the check names, and for each other that was heard while it
// was heard.
func planned(c Check, vs []*vantage, exists span) (n int64) {
	heard := map[string]*vantage{}
	for _, v := range vs {
		heard[v.agent] = v
	}
	for _, a := range c.Agents {
		grid := newTimeline(every(c.Every), 1)
		if v := heard[a]; v != nil {
			grid = v.timeline
		}
		n += grid.ticks(exists)
		delete(heard, a)
	}
	for _, v := range heard {
		own := exists
		if len(c.Agents) > 0 {
			own = span{max(exists.from, v.first), min(exists.to, v.last+v.every)}
		}
		n += v.ticks(own)
	}
	return n
}

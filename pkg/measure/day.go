package measure

import (
	"context"
	"slices"
	"strings"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/metric"
)

// trio names the three series of which a subject's figures are made.
type trio struct{ success, duration, slow string }

var (
	ofCheck = trio{metric.ProbeSuccess, "probe_duration_seconds", "xunjian_probe_slow"}
	ofSteps = trio{metric.StepSuccess, "xunjian_probe_step_duration_seconds", "xunjian_probe_step_slow"}
)

// reading is one day of one check as its agents saw it.
type reading struct {
	*Maker
	Check
	window    span   // the part of the day that has passed
	calendar  [2]set // 7×24 and 5×8, planned windows left out
	pace      pace
	exists    []span
	planned   set
	elsewhere set // while its failing is another service's fault
}

func (m *Maker) reading(c Check, window span) reading {
	return reading{Maker: m, Check: c, window: window, pace: paceOf(c.Spec, window, m.Location)}
}

// lane is the check, or one of its steps, as its vantages saw it.
func (r *reading) lane(vs []*vantage) lane {
	out := lane{exists: r.exists, planned: r.planned}
	for _, v := range vs {
		out.vantages = append(out.vantages, v.timeline)
	}
	return out
}

// set is a set of spans in order.
type set []span

func (s set) has(t int64) bool {
	i, found := slices.BinarySearchFunc(s, t, func(x span, t int64) int {
		switch {
		case x.to <= t:
			return -1
		case x.from > t:
			return 1
		}
		return 0
	})
	return found && i < len(s)
}

// vantage is one check or step as one series sees it over a day.
type vantage struct {
	*timeline
	agent  string
	step   string
	blind  set
	rounds [2]rounds // by calendar
	cursor int       // into the timeline, while latencies are read
}

// rounds counts what came in under one calendar.
type rounds struct {
	done, passed, slow int64
	latency            Sketch
	hours              [25]Hour // of the day, in order; 25 where a clock is set back
}

// work works a day out, up to the moment given.
func (m *Maker) work(ctx context.Context, service string, day, until time.Time, exists map[string]life) (Sheet, error) {
	window := span{day.UnixMilli(), max(until.UnixMilli(), day.UnixMilli())}
	office, known, err := m.Office.Spans(m.Calendar, day, until)
	if err != nil {
		return Sheet{}, err
	}
	calendar := [2]set{{window}, spansOf(office)}
	out := Sheet{Lines: []Line{{Subject: Subject{Service: service}}}, Provisional: !known}
	var lanes []lane
	var all []*vantage
	var due [2]int64
	for _, c := range m.Checks {
		x, ok := exists[c.Name]
		if c.Service != service || !ok || x.from >= window.to || x.to <= window.from {
			continue
		}
		if c.Gone {
			c.Every = x.every
		}
		r := m.reading(c, window)
		r.exists = r.pace.spans(span{max(window.from, x.from), min(x.to, window.to)})
		r.planned = m.windows(c)
		for i := range calendar {
			r.calendar[i] = without(calendar[i], r.planned)
		}
		if r.elsewhere, err = m.elsewhere(ctx, c, window); err != nil {
			return out, err
		}
		vs, err := r.read(ctx, ofCheck)
		if err != nil {
			return out, err
		}
		lanes, all = append(lanes, r.lane(vs)), append(all, vs...)
		for i := range due {
			due[i] += r.due(vs, r.calendar[i])
		}
		steps, err := r.read(ctx, ofSteps)
		if err != nil {
			return out, err
		}
		out.Lines = append(out.Lines, r.steps(steps, calendar)...)
	}
	out.Lines[0].fill(lanes, all, window, calendar, m.Confirm)
	out.Lines[0].Always.Due, out.Lines[0].Office.Due = due[0], due[1]
	return out, nil
}

func spansOf(in []contract.Span) []span {
	out := make([]span, 0, len(in))
	for _, s := range in {
		out = append(out, span{s.From, s.To})
	}
	return out
}

// steps makes a line for each step, in the order of their names as the check's own order is not in the samples.
func (r *reading) steps(vs []*vantage, calendar [2]set) (out []Line) {
	by := map[string][]*vantage{}
	var names []string
	for _, v := range vs {
		if by[v.step] == nil {
			names = append(names, v.step)
		}
		by[v.step] = append(by[v.step], v)
	}
	slices.Sort(names)
	for _, name := range names {
		l := Line{Subject: Subject{Service: r.Service, Check: r.Name, Step: name}}
		l.fill([]lane{r.lane(by[name])}, by[name], r.window, calendar, r.Confirm)
		l.Always.Due, l.Office.Due = r.due(by[name], r.calendar[0]), r.due(by[name], r.calendar[1])
		out = append(out, l)
	}
	return out
}

// fill works out both calendars from what the vantages saw.
func (l *Line) fill(lanes []lane, vs []*vantage, window span, calendar [2]set, confirm int) {
	runs := combine(lanes, window)
	sure := sureSpans(vs, confirm)
	confirmed := func(s span) bool {
		return slices.ContainsFunc(sure, func(spans []span) bool { return touches(spans, s) })
	}
	for i, f := range [2]*Figures{&l.Always, &l.Office} {
		f.take(clip(runs, calendar[i]), confirmed)
		var hours [25]Hour
		for _, v := range vs {
			r := &v.rounds[i]
			f.Done, f.Passed, f.Slow = f.Done+r.done, f.Passed+r.passed, f.Slow+r.slow
			f.Latency.merge(&r.latency)
			for h := range hours {
				hours[h] = Hour{window.from + int64(h)*3_600_000, hours[h].Done + r.hours[h].Done, hours[h].Passed + r.hours[h].Passed}
			}
		}
		for _, h := range hours {
			if h.Done > 0 {
				f.Worst = worseHour(f.Worst, h)
			}
		}
	}
}

// sureSpans are, for each vantage, the stretches of enough failing results in a row.
func sureSpans(vs []*vantage, confirm int) [][]span {
	out := make([][]span, 0, len(vs))
	for _, v := range vs {
		var spans []span
		for _, r := range v.runs {
			if r.state == down && r.results >= confirm {
				spans = append(spans, r.span)
			}
		}
		out = append(out, spans)
	}
	return out
}

// read reads a day's samples of a check, and results of the time before it for as long as one may stand or help to confirm.
func (r *reading) read(ctx context.Context, of trio) ([]*vantage, error) {
	vs := map[string]*vantage{}
	from, to, labels := time.UnixMilli(r.window.from), time.UnixMilli(r.window.to), map[string]string{LabelCheck: r.Name}
	err := r.Samples.Select(ctx, from.Add(-r.back()), to, of.success, labels, func(s metric.Series, t []int64, v []float64) error {
		key := metric.Series{Labels: s.Labels}.String()
		if vs[key] == nil {
			vs[key] = &vantage{timeline: newTimeline(r.pace, r.Hold), agent: s.Get(LabelAgent), step: s.Get(labelStep), blind: r.blind(s.Get(LabelAgent))}
		}
		return r.results(vs[key], t, v)
	})
	if err != nil {
		return nil, err
	}
	for _, v := range vs {
		v.close(r.window.to)
	}
	each := func(name string, take func(v *vantage, t []int64, x []float64)) error {
		return r.Samples.Select(ctx, from, to, name, labels, func(s metric.Series, t []int64, x []float64) error {
			if v := vs[metric.Series{Labels: s.Labels}.String()]; v != nil {
				take(v, t, x)
			}
			return nil
		})
	}
	if err := each(of.duration, r.latencies); err != nil {
		return nil, err
	}
	return ordered(vs), each(of.slow, r.slowness)
}

// back is how long before the day results may stand in it, or help to confirm.
func (r *reading) back() time.Duration { return millis(r.pace.longest() * int64(r.Hold+r.Confirm)) }

func ordered(vs map[string]*vantage) []*vantage {
	keys := make([]string, 0, len(vs))
	for k := range vs {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, strings.Compare)
	out := make([]*vantage, 0, len(vs))
	for _, k := range keys {
		out = append(out, vs[k])
	}
	return out
}

func (r *reading) results(v *vantage, ts []int64, vals []float64) error {
	for i, t := range ts {
		fresh, s := !v.seen || t > v.last, says(vals[i])
		switch {
		case s == down && v.blind.has(t):
			s = unknown
		case s == down && r.elsewhere.has(t):
			s = absent
		}
		if err := v.add(t, s); err != nil {
			return err
		}
		if !fresh || t < r.window.from || s != up && s != down {
			continue
		}
		for c := range r.calendar {
			if r.calendar[c].has(t) {
				v.rounds[c].count(t-r.window.from, s == up)
			}
		}
	}
	return nil
}

// count takes a round at a time since the day's beginning.
func (n *rounds) count(since int64, passed bool) {
	h := &n.hours[min(since/3_600_000, 24)]
	n.done++
	h.Done++
	if passed {
		n.passed++
		h.Passed++
	}
}

// latencies takes the durations of good answers.
func (r *reading) latencies(v *vantage, ts []int64, vals []float64) {
	for i, t := range ts {
		var s state
		if s, v.cursor = v.at(t, v.cursor); s != up {
			continue
		}
		for c := range r.calendar {
			if r.calendar[c].has(t) {
				v.rounds[c].latency.add(vals[i])
			}
		}
	}
}

func (r *reading) slowness(v *vantage, ts []int64, vals []float64) {
	for i, t := range ts {
		for c := range r.calendar {
			if vals[i] > 0 && r.calendar[c].has(t) {
				v.rounds[c].slow++
			}
		}
	}
}

package report

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/measure"

	"xunjian/pkg/metric"
)

// The series of the hosts.
const (
	seriesCPU       = "node_cpu_seconds_total"
	seriesMemory    = "node_memory_MemTotal_bytes"
	seriesAvailable = "node_memory_MemAvailable_bytes"
	seriesSize      = "node_filesystem_size_bytes"
	seriesFree      = "node_filesystem_free_bytes"
	seriesAvail     = "node_filesystem_avail_bytes"
)

// Limits of a host's verdict (DOMAIN 4.1): from Watch on a person should look, from Bad on work suffers.
const (
	watchShare = 0.85
	badShare   = 0.95
	watchDays  = 30
	badDays    = 7
)

// hosts works out 2.3. Loads are worked out by the minute of the clock: a minute's processor use is 1 − idle time / elapsed
// time over all processors, its memory use 1 − mean available / mean total; mean, P95 (nearest rank) and peak are those of
// the minutes. Pairs of readings more than Hold intervals apart, and counters that went back, are left out.
func (b *builder) hosts(ctx context.Context) (out []HostLine, err error) {
	for _, h := range b.src.Hosts {
		line, err := b.host(ctx, h)
		if err != nil {
			return nil, fmt.Errorf("figures of host %s in %s: %w", h.Name, b.month, err)
		}
		out = append(out, line)
	}
	return out, nil
}

func (b *builder) host(ctx context.Context, h Host) (HostLine, error) {
	line := HostLine{Name: h.Name, IP: h.IP, Role: h.Role}
	var err error
	if line.CPU, err = b.processor(ctx, h); err != nil {
		return line, err
	}
	if line.Memory, line.Online, err = b.memory(ctx, h); err != nil {
		return line, err
	}
	if line.Mounts, err = b.mounts(ctx, h); err != nil {
		return line, err
	}
	line.Verdict = line.judge()
	return line, nil
}

func (b *builder) selectHost(ctx context.Context, h Host, name string, fn func(metric.Series, []int64, []float64) error) error {
	w := b.window(b.month)
	return b.src.Samples.Select(ctx, time.UnixMilli(w.From), time.UnixMilli(w.To), name, map[string]string{measure.LabelAgent: h.Name}, fn)
}

// minutes adds up whole numbers by the minute of the month, so that the order of adding cannot matter.
type minutes struct {
	from       int64
	part, base []int64
}

func newMinutes(w contract.Span) *minutes {
	n := (w.To-w.From)/60_000 + 1
	return &minutes{w.From, make([]int64, n), make([]int64, n)}
}

func (m *minutes) add(t, part, base int64) {
	if i := (t - m.from) / 60_000; i >= 0 && i < int64(len(m.part)) {
		m.part[i] += part
		m.base[i] += base
	}
}

// load is the use that the minutes show, where part is what was not used of base.
func (m *minutes) load() Load {
	var use []float64
	var sum float64
	for i, base := range m.base {
		if base > 0 {
			u := min(max(1-float64(m.part[i])/float64(base), 0), 1)
			use, sum = append(use, u), sum+u
		}
	}
	if len(use) == 0 {
		return Load{}
	}
	slices.Sort(use)
	return Load{measure.Known(sum / float64(len(use))), measure.Known(nearest(use, 0.95)), measure.Known(use[len(use)-1])}
}

// reading is the newest sample of a counter.
type reading struct {
	t int64
	v float64
}

// processor reads the idle time of every processor. Times are added up in microseconds.
func (b *builder) processor(ctx context.Context, h Host) (Load, error) {
	w := b.window(b.month)
	m, last := newMinutes(w), map[string]reading{}
	hold := hostEvery(h).Milliseconds() * int64(b.cfg.Hold)
	err := b.selectHost(ctx, h, seriesCPU, func(s metric.Series, ts []int64, vs []float64) error {
		if s.Get("mode") != "idle" {
			return nil
		}
		key := s.Get("cpu")
		for i, t := range ts {
			if math.IsNaN(vs[i]) {
				continue
			}
			old, ok := last[key]
			last[key] = reading{t, vs[i]}
			if gap := t - old.t; ok && gap > 0 && gap <= hold && vs[i] >= old.v {
				m.add(t-1, int64(math.Round((vs[i]-old.v)*1e6)), gap*1000)
			}
		}
		return nil
	})
	return m.load(), err
}

// memory reads how much was available, and takes these samples as the host's signs of life.
func (b *builder) memory(ctx context.Context, h Host) (Load, measure.Maybe[float64], error) {
	w := b.window(b.month)
	exists, err := b.existence(ctx, h, seriesAvailable)
	if err != nil {
		return Load{}, measure.Maybe[float64]{}, err
	}
	avail, total := newMinutes(w), newMinutes(w)
	life := life{exists: exists, hold: hostEvery(h).Milliseconds() * int64(b.cfg.Hold)}
	err = b.selectHost(ctx, h, seriesAvailable, func(_ metric.Series, ts []int64, vs []float64) error {
		for i, t := range ts {
			if math.IsNaN(vs[i]) {
				continue
			}
			avail.add(t, int64(vs[i]/1024), 1)
			life.add(t)
		}
		return nil
	})
	if err != nil {
		return Load{}, measure.Maybe[float64]{}, err
	}
	err = b.selectHost(ctx, h, seriesMemory, func(_ metric.Series, ts []int64, vs []float64) error {
		for i, t := range ts {
			if !math.IsNaN(vs[i]) {
				total.add(t, int64(vs[i]/1024), 1)
			}
		}
		return nil
	})
	life.add(w.To)
	return memoryLoad(avail, total), measure.Ratio(life.up, exists.To-exists.From), err
}

// life adds up the time for which readings stand: each until the next, at most for hold.
type life struct {
	exists   contract.Span
	hold     int64
	last, up int64
	seen     bool
}

func (l *life) add(t int64) {
	if l.seen {
		from, to := max(l.last, l.exists.From), min(t, l.last+l.hold, l.exists.To)
		l.up += max(to-from, 0)
	}
	l.last, l.seen = t, true
}

// memoryLoad sets the means of both by the minute against each other, in KiB.
func memoryLoad(avail, total *minutes) Load {
	for i := range avail.part {
		if avail.base[i] == 0 || total.base[i] == 0 {
			avail.base[i] = 0
			continue
		}
		avail.part[i] /= avail.base[i]
		avail.base[i] = total.part[i] / total.base[i]
	}
	return avail.load()
}

// nearest is the nearest-rank quantile of sorted values.
func nearest(sorted []float64, q float64) float64 {
	return sorted[max(int(math.Ceil(q*float64(len(sorted)))), 1)-1]
}

// judge weighs what is known of a host.
func (l HostLine) judge() Verdict {
	known, worst := false, Healthy
	note := func(v measure.Maybe[float64], watch, bad float64) {
		known = known || v.Known
		switch {
		case v.Known && v.Value >= bad:
			worst = Bad
		case v.Known && v.Value >= watch && worst == Healthy:
			worst = Watch
		}
	}
	note(l.CPU.P95, watchShare, badShare)
	note(l.Memory.Mean, watchShare, badShare)
	for _, m := range l.Mounts {
		note(m.Used, watchShare, badShare)
		if m.FullDays.Known {
			note(measure.Known(-m.FullDays.Value), -watchDays, -badDays)
		}
	}
	if !known {
		return NoData
	}
	return worst
}

func compareMounts(a, b Mount) int { return cmp.Compare(a.Path, b.Path) }

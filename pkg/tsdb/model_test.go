package tsdb

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"xunjian/pkg/metric"
)

// model is what a store must hold, in plain maps. It forgets nothing; what retention has dropped it only knows by time.
type model struct {
	values map[string]map[int64]float64 // by series with labels
	stream map[string]string            // of each series
	rows   map[string]map[int64]bool    // by stream
	done   map[string]bool              // agent, boot, seq
	newest int64                        // stamp

	rawGone int64 // up to here samples may be dropped
}

func newModel() *model {
	return &model{values: map[string]map[int64]float64{}, stream: map[string]string{}, rows: map[string]map[int64]bool{}, done: map[string]bool{}}
}

type point struct {
	ms   int64
	bits uint64
}

// isSparse says which streams of the model are: those of the rules.
func isSparse(stream string) bool { return strings.HasSuffix(stream, "/rule") }

// points are a series within [from, to]: where a row lacks it after one that had it, its end.
func (m *model) points(name string, from, to int64) (out []point) {
	had, stream := false, m.stream[name]
	for _, ms := range slices.Sorted(maps.Keys(m.rows[stream])) {
		if ms < from || ms > to {
			continue
		}
		v, has := m.values[name][ms]
		if has {
			out = append(out, point{ms, math.Float64bits(v)})
		} else if had && !isSparse(stream) {
			out = append(out, point{ms, staleBits})
		}
		had = has
	}
	return out
}

func reportKey(r metric.Report) string { return fmt.Sprint(r.Agent, "/", r.Boot, "/", r.Seq) }
func streamKey(r metric.Report) string { return r.Agent + "/" + r.Kind }

func modelStream(r metric.Report) Stream {
	s := streamOf(r)
	s.Sparse = isSparse(streamKey(r))
	return s
}

// take books a report with the outcome that the store gave it and says when that is wrong.
func (m *model) take(r metric.Report, got Outcome, now time.Time, since int64, o Options) error {
	ms, want := r.At.UnixMilli(), Stored
	collides := m.rows[streamKey(r)][ms] && !isSparse(streamKey(r))
	switch {
	case m.done[reportKey(r)]:
		want = Duplicate
	case r.At.Before(now.Add(-o.MaxAge)) || ms <= since:
		want = TooOld
	case r.At.After(now.Add(o.MaxAhead)):
		want = Future
	case collides && got == SameTime:
		want = SameTime // allowed, while the first row is in an open segment
	}
	if got != want {
		return fmt.Errorf("report %s at %v: %v, want %v", reportKey(r), r.At.Sub(now), got, want)
	}
	m.done[reportKey(r)] = true
	if got == Stored {
		m.store(r, ms)
	}
	return nil
}

func (m *model) store(r metric.Report, ms int64) {
	key := streamKey(r)
	if m.rows[key] == nil {
		m.rows[key] = map[int64]bool{}
	}
	m.rows[key][ms] = true
	m.newest = max(m.newest, ms)
	for _, s := range r.Samples {
		name := withLabels(s.Series, streamOf(r).Labels).String()
		if m.values[name] == nil {
			m.values[name] = map[int64]float64{}
			m.stream[name] = key
		}
		if IsAbsent(s.Value) || math.IsNaN(s.Value) && !isSparse(key) {
			continue
		}
		if _, there := m.values[name][ms]; !there {
			m.values[name][ms] = s.Value
		}
	}
}

// compare reads everything in [from, to] and says what differs.
func (m *model) compare(db *DB, from, to int64) error {
	from = max(from, m.rawGone+1)
	left := map[string]bool{}
	for name := range m.values {
		if len(m.points(name, from, to)) > 0 {
			left[name] = true
		}
	}
	for s, err := range db.Select(context.Background(), from, to) {
		if err != nil {
			return err
		}
		name := s.Series.String()
		if !left[name] {
			return fmt.Errorf("%s is not wanted, or came twice: %v", name, s)
		}
		delete(left, name)
		var got []point
		for i, ms := range s.T {
			got = append(got, point{ms, math.Float64bits(s.V[i])})
		}
		if want := m.points(name, from, to); !slices.Equal(got, want) {
			return fmt.Errorf("%s: %s", name, firstDifference(got, want))
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("missing: %v", left)
	}
	return nil
}

// firstDifference says where two series part, and on which day.
func firstDifference(got, want []point) string {
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	text := func(list []point) string {
		if i == len(list) {
			return "nothing"
		}
		return fmt.Sprintf("%v at %d on day %d", math.Float64frombits(list[i].bits), list[i].ms, dayOf(list[i].ms))
	}
	return fmt.Sprintf("point %d of %d is %s, want %s of %d", i, len(got), text(got), text(want), len(want))
}

// dropped is the end of the newest day of which a store may have nothing left that is kept for so long.
func (m *model) dropped(now time.Time, keep time.Duration) int64 {
	return dayEnd(dropBefore(time.UnixMilli(min(m.newest, now.UnixMilli())), keep))
}

// aggregates are the windows of a series that end in (from, to].
func (m *model) aggregates(name string, from, to int64) map[int64]*modelWindow {
	out := map[int64]*modelWindow{}
	for _, ms := range slices.Sorted(maps.Keys(m.values[name])) {
		end := (ms + 299_999) / 300_000 * 300_000
		if end <= from || end > to {
			continue
		}
		w := out[end]
		if w == nil {
			w = &modelWindow{min: math.Inf(1), max: math.Inf(-1)}
			out[end] = w
		}
		v := m.values[name][ms]
		w.count, w.sum, w.size, w.last = w.count+1, w.sum+v, w.size+math.Abs(v), v
		w.min, w.max = min(w.min, v), max(w.max, v)
	}
	return out
}

type modelWindow struct{ count, sum, size, min, max, last float64 }

// sumIs allows for the order of adding; where that overflows, PromQL's own sum is no number to compare with.
func (w *modelWindow) sumIs(got float64) bool {
	return got == w.sum || w.size > 1e300 || math.Abs(got-w.sum) <= 1e-9*w.size
}

// compareRollup reads all aggregates with ends in (from, to] and says what differs. What is due to be dropped may be
// there or not.
func (m *model) compareRollup(db *DB, from, to int64, due int64) error {
	left := map[string]bool{}
	for name := range m.values {
		if len(m.aggregates(name, max(from, due), to)) > 0 && !isSparse(m.stream[name]) {
			left[name] = true
		}
	}
	for w, err := range db.Rollup(context.Background(), from, to) {
		if err != nil {
			return err
		}
		name := w.Series.String()
		delete(left, name)
		if m.values[name] == nil && len(w.At) == 0 {
			continue // of a report that was refused
		}
		if raw := isSparse(m.stream[name]) || strings.HasSuffix(w.Series.Name, "_total"); w.Raw != raw {
			return fmt.Errorf("aggregates of %s: raw is %v", name, w.Raw)
		}
		if isSparse(m.stream[name]) {
			if len(w.At) > 0 {
				return fmt.Errorf("aggregates of %s, which is sparse: %v", name, w)
			}
			continue
		}
		if err := compareWindows(&w, m.aggregates(name, from, to), due); err != nil {
			return fmt.Errorf("aggregates of %s: %w", name, err)
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("no aggregates of %v", left)
	}
	return nil
}

func compareWindows(got *Windows, want map[int64]*modelWindow, due int64) error {
	for i, at := range got.At {
		w := want[at]
		switch {
		case i > 0 && got.At[i-1] >= at:
			return fmt.Errorf("%d comes after %d", at, got.At[i-1])
		case w == nil:
			return fmt.Errorf("there is none at %d", at)
		case at <= due:
		case got.Count[i] != w.count:
			return fmt.Errorf("count %v at %d, want %v", got.Count[i], at, w.count)
		case got.Raw:
			if got.Last[i] != w.last {
				return fmt.Errorf("last %v at %d, want %v", got.Last[i], at, w.last)
			}
		case got.Min[i] != w.min || got.Max[i] != w.max || !w.sumIs(got.Sum[i]):
			return fmt.Errorf("sum %v, min %v, max %v at %d, want %+v", got.Sum[i], got.Min[i], got.Max[i], at, *w)
		}
		delete(want, at)
	}
	for at := range want {
		if at > due {
			return fmt.Errorf("nothing at %d", at)
		}
	}
	return nil
}

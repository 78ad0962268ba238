package tsdb

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"xunjian/pkg/metric"
)

// RollupStep is the length of a window of aggregates in ms; windows end at multiples of it, and a row at that very
// time is theirs, as in PromQL's ranges.
const RollupStep = 300_000

func windowEnd(ms int64) int64 { return (ms + RollupStep - 1) / RollupStep * RollupStep }

// The aggregates of a stream's day are a block whose rows are windows. The column of a series is
//
//	kind | rollOwnCounts, then each with its length: [counts], and of a gauge sum, min, max, and a sketch of the day
//	(keys, then counts); of a counter the last value
//
// and one more column has the number of rows of each window, which is the count of every series without one of its own.
const (
	rollNone = iota // no value that day
	rollGauge
	rollCounter
	rollKind      = 3
	rollOwnCounts = 4
	rollSketch    = 16
	rollAlike     = 8 // a gauge whose sum, min and max are the same, as with one row a window: only the first is there
)

// sketchRows is how many rows a day must have to be worth a sketch: of fewer, the windows tell nearly as much.
const sketchRows = 1000

// isCounter says whether a series only ever rises, so that its sums mean nothing.
func isCounter(name string) bool {
	if d, ok := metric.Describe(name); ok {
		return d.Type == metric.Counter
	}
	return slices.ContainsFunc([]string{"_total", "_count", "_sum", "_bucket"}, func(end string) bool { return strings.HasSuffix(name, end) })
}

// windows are the aggregates of one series, or the axis that the series of a stream share.
type windows struct {
	at                         []int64
	count, sum, min, max, last []float64
}

func (w *windows) reset() {
	w.at, w.count, w.sum, w.min, w.max, w.last = w.at[:0], w.count[:0], w.sum[:0], w.min[:0], w.max[:0], w.last[:0]
}

// axis takes the windows of rising stamps, with how many rows each has.
func (w *windows) axis(stamps []int64) {
	w.reset()
	for _, t := range stamps {
		end := windowEnd(t)
		if n := len(w.at); n == 0 || w.at[n-1] != end {
			w.at, w.count = append(w.at, end), append(w.count, 0)
		}
		w.count[len(w.count)-1]++
	}
}

// fill works out a series over the windows of an axis; v has a value or Absent for each row.
func (w *windows) fill(axis *windows, v []float64) {
	w.reset()
	row := 0
	for _, rows := range axis.count {
		lo, hi, sum, c, last, n := Absent, Absent, 0.0, 0.0, Absent, 0
		for range int(rows) {
			x := v[row]
			row++
			if IsAbsent(x) {
				continue
			}
			if n++; n == 1 {
				lo, hi = x, x
			}
			lo, hi, last = min(lo, x), max(hi, x), x
			sum, c = kahan(x, sum, c)
		}
		if n == 0 {
			sum, c = Absent, 0
		}
		if math.IsInf(sum, 0) {
			c = 0 // infinity less infinity
		}
		w.count, w.sum = append(w.count, float64(n)), append(w.sum, sum+c)
		w.min, w.max, w.last = append(w.min, lo), append(w.max, hi), append(w.last, last)
	}
}

// kahan adds x to a sum with its error, as PromQL's engine adds.
func kahan(x, sum, c float64) (float64, float64) {
	t := sum + x
	switch {
	case math.IsInf(t, 0):
		c = 0
	case math.Abs(sum) >= math.Abs(x):
		c += (sum - t) + x
	default:
		c += (x - t) + sum
	}
	return t, c
}

// decimals rounds sums to the decimals that the summands have: 0.1 added ten times is 1, which is short to store.
func decimals(sums []float64, scale int) {
	p := pow10[scale]
	for i, s := range sums {
		if q := math.RoundToEven(s * p); q < 1<<53 && q > -(1<<53) {
			sums[i] = q / p
		}
	}
}

// rollupEncoder makes the aggregates of a stream's day.
type rollupEncoder struct {
	blockEncoder
	shared, own windows
	piece       []byte
	sketch      Sketch
	keys        []int32
	sketched    int // rows that a day must have for a sketch
	sketchBytes int // of all sketches since start
	numbers     []float64
}

func (e *rollupEncoder) start(stamps []int64) {
	e.begin()
	e.sketchBytes = 0
	e.shared.axis(stamps)
}

// series adds the aggregates of the next column of the day.
func (e *rollupEncoder) series(name string, v []float64) {
	at := len(e.body)
	e.body = append(e.body, rollNone)
	defer func() { e.ends = append(e.ends, len(e.body)) }()
	if !slices.ContainsFunc(v, func(x float64) bool { return !IsAbsent(x) }) {
		return
	}
	w := &e.own
	w.fill(&e.shared, v)
	kind := byte(rollGauge)
	if isCounter(name) {
		kind = rollCounter
	}
	if !slices.Equal(w.count, e.shared.count) {
		kind |= rollOwnCounts
		e.put(w.count)
	}
	e.body[at] = kind
	if kind&rollKind == rollCounter {
		e.put(w.last)
		return
	}
	if have, _ := e.present(v); len(have) > 0 {
		if s, ok := e.scale(have); ok && len(e.exceptions) == 0 {
			decimals(w.sum, s)
		}
	}
	e.put(w.sum)
	if slices.EqualFunc(w.sum, w.min, sameValue) && slices.EqualFunc(w.sum, w.max, sameValue) {
		e.body[at] |= rollAlike
	} else {
		e.put(w.min)
		e.put(w.max)
	}
	if len(v) < e.sketched {
		return
	}
	e.body[at] |= rollSketch
	before := len(e.body)
	e.keys = e.sketch.make(v, e.keys)
	e.numbers = e.numbers[:0]
	for _, k := range e.sketch.keys {
		e.numbers = append(e.numbers, float64(k))
	}
	e.body = binary.AppendUvarint(e.body, uint64(len(e.numbers)))
	e.put(e.numbers)
	e.put(e.sketch.counts)
	e.sketchBytes += len(e.body) - before
}

func sameValue(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }

func (e *rollupEncoder) put(v []float64) {
	e.piece = e.columnEncoder.encode(e.piece[:0], v)
	e.body = binary.AppendUvarint(e.body, uint64(len(e.piece)))
	e.body = append(e.body, e.piece...)
}

func (e *rollupEncoder) done(key []byte, sh *shape) []byte {
	e.add(e.shared.count)
	return e.finish(key, sh, blockRollup, e.shared.at)
}

// rollupSketch reads the sketch of a series; it stays empty for a series without one.
func (d *blockDecoder) rollupSketch(s *Sketch, k *block, column int) error {
	r, head, err := k.rollupHead(column)
	if err != nil || head&rollSketch == 0 {
		return err
	}
	before := 3
	if head&rollAlike != 0 {
		before = 1
	}
	for range before + int(head&rollOwnCounts)/rollOwnCounts {
		r.bytes(r.count(len(r.b)))
	}
	n := r.count(1 << sketchBits)
	keys, err := d.decode(nil, r.bytes(r.count(len(r.b))), n)
	if err == nil {
		s.counts, err = d.decode(nil, r.bytes(r.count(len(r.b))), n)
	}
	if err != nil || r.bad {
		return fmt.Errorf("block %x: sketch of column %d: %w", k.key, column, ErrCorrupt)
	}
	for _, x := range keys {
		s.keys = append(s.keys, int32(x))
	}
	return nil
}

func (k *block) rollupHead(column int) (r *reader, head byte, err error) {
	b, err := k.columnBytes(column)
	r = &reader{b: b}
	if err == nil && len(b) > 0 {
		head = r.u8()
	}
	return r, head, err
}

// rollupColumn reads the aggregates of a series from an opened block; shared are the counts that the series have in
// common. Where a window has none of it, count is 0.
func (d *blockDecoder) rollupColumn(w *windows, k *block, column int, shared []float64) (kind byte, err error) {
	w.reset()
	r, head, err := k.rollupHead(column)
	if err != nil || head == rollNone {
		return rollNone, err
	}
	next := func(dst []float64) []float64 {
		piece := r.bytes(r.count(len(r.b)))
		if r.bad || err != nil {
			return dst
		}
		dst, err = d.decode(dst, piece, k.rows)
		return dst
	}
	if head&rollOwnCounts != 0 {
		w.count = next(w.count)
	} else {
		w.count = append(w.count, shared...)
	}
	switch head & rollKind {
	case rollGauge:
		if w.sum = next(w.sum); head&rollAlike != 0 {
			w.min, w.max = append(w.min, w.sum...), append(w.max, w.sum...)
		} else {
			w.min, w.max = next(w.min), next(w.max)
		}
	case rollCounter:
		w.last = next(w.last)
	}
	if err != nil || r.bad {
		return rollNone, fmt.Errorf("block %x: aggregates of column %d: %w", k.key, column, ErrCorrupt)
	}
	return head & rollKind, nil
}

// Windows are the aggregates of one series, window by window; only windows with a sample are there.
type Windows struct {
	Series metric.Series
	// Raw says that there are no sums: of a counter only Count and Last are there, and of a series that Rollup cannot
	// tell (of a sparse stream, or of several) nothing. Ask Select.
	Raw                        bool
	At                         []int64 // ends of the windows, rising multiples of RollupStep
	Count, Sum, Min, Max, Last []float64
}

// room sets memory aside once for all windows that a kind has.
func (w *Windows) room(kind byte, n int) {
	if w.At != nil || kind == rollNone {
		return
	}
	w.At, w.Count = make([]int64, 0, n), make([]float64, 0, n)
	if kind == rollCounter {
		w.Last = make([]float64, 0, n)
		return
	}
	w.Sum, w.Min, w.Max = make([]float64, 0, n), make([]float64, 0, n), make([]float64, 0, n)
}

// take appends the windows of a day that end in (from, to]. It appends them by the run: a window at a time, most of the
// time goes into the collector's write barriers.
func (w *Windows) take(at []int64, day *windows, kind byte, from, to int64) {
	if kind == rollNone {
		return
	}
	end := sort.Search(len(at), func(i int) bool { return at[i] > to })
	for lo := sort.Search(len(at), func(i int) bool { return at[i] > from }); lo < end; {
		hi := lo
		for hi < end && day.count[hi] != 0 {
			hi++
		}
		if hi > lo {
			w.run(at, day, kind, lo, hi)
		}
		for lo = hi; lo < end && day.count[lo] == 0; {
			lo++
		}
	}
}

func (w *Windows) run(at []int64, day *windows, kind byte, lo, hi int) {
	w.At, w.Count = append(w.At, at[lo:hi]...), append(w.Count, day.count[lo:hi]...)
	if kind == rollCounter {
		w.Last = append(w.Last, day.last[lo:hi]...)
		return
	}
	w.Sum, w.Min, w.Max = append(w.Sum, day.sum[lo:hi]...), append(w.Min, day.min[lo:hi]...), append(w.Max, day.max[lo:hi]...)
}

package query

import (
	"slices"
	"strconv"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
)

// PartLabel tells the columns of a native histogram apart in the store, which keeps numbers only. It is added on
// append and taken away on read, so nobody outside ever sees it.
const PartLabel = "__part__"

// The parts of a sample. Buckets are p or n and their index, custom bounds b and their place.
const (
	partValue         = "" // a number; it has no label
	partStart         = "start"
	partKind          = "kind" // flags, and what makes a row a histogram
	partCount         = "count"
	partSum           = "sum"
	partSchema        = "schema"
	partZero          = "zero"
	partZeroThreshold = "zero_threshold"
	positive          = 'p'
	negative          = 'n'
	bound             = 'b'
)

// A kind is the counter reset hint, twice, plus one when counts are floating-point.
const kindFloat = 1

type part struct {
	name  string
	value float64
}

func floatParts(h *histogram.FloatHistogram) []part {
	out := headParts(kindFloat, h.Schema, h.Count, h.Sum)
	out = append(out, part{partZero, h.ZeroCount}, part{partZeroThreshold, h.ZeroThreshold})
	out = bucketParts(out, positive, h.PositiveSpans, func(i int) float64 { return h.PositiveBuckets[i] })
	out = bucketParts(out, negative, h.NegativeSpans, func(i int) float64 { return h.NegativeBuckets[i] })
	return boundParts(out, h.CustomValues)
}

// integerParts keeps the absolute count of a bucket, exact up to 2^53.
func integerParts(h *histogram.Histogram) []part {
	out := headParts(0, h.Schema, float64(h.Count), h.Sum)
	out = append(out, part{partZero, float64(h.ZeroCount)}, part{partZeroThreshold, h.ZeroThreshold})
	sum := func(deltas []int64) func(int) float64 {
		var total int64
		return func(i int) float64 { total += deltas[i]; return float64(total) }
	}
	out = bucketParts(out, positive, h.PositiveSpans, sum(h.PositiveBuckets))
	out = bucketParts(out, negative, h.NegativeSpans, sum(h.NegativeBuckets))
	return boundParts(out, h.CustomValues)
}

func headParts(kind float64, schema int32, count, sum float64) []part {
	return []part{{partKind, kind}, {partSchema, float64(schema)}, {partCount, count}, {partSum, sum}}
}

func bucketParts(out []part, sign byte, spans []histogram.Span, at func(int) float64) []part {
	index, n := int32(0), 0
	for _, s := range spans {
		index += s.Offset
		for range s.Length {
			out = append(out, part{string(sign) + strconv.Itoa(int(index)), at(n)})
			index, n = index+1, n+1
		}
	}
	return out
}

func boundParts(out []part, bounds []float64) []part {
	for i, b := range bounds {
		out = append(out, part{string(bound) + strconv.Itoa(i), b})
	}
	return out
}

// column is what the store has of one part.
type column struct {
	index int // of a bucket or bound
	t     []int64
	v     []float64
	next  int
}

// at is the value of a millisecond; it is asked for rising ones.
func (c *column) at(t int64) (float64, bool) {
	if c == nil {
		return 0, false
	}
	for c.next < len(c.t) && c.t[c.next] < t {
		c.next++
	}
	if c.next == len(c.t) || c.t[c.next] != t {
		return 0, false
	}
	return c.v[c.next], true
}

// columns are all parts of one series but its plain numbers.
type columns struct {
	named                   map[string]*column
	positive, negative, set []*column // by rising index; set are the custom bounds
}

// add takes a part and says whether it is one.
func (c *columns) add(name string, t []int64, v []float64) bool {
	col := &column{t: t, v: v}
	switch name {
	case partStart, partKind, partCount, partSum, partSchema, partZero, partZeroThreshold:
		if c.named == nil {
			c.named = map[string]*column{}
		}
		c.named[name] = col
		return true
	}
	var err error
	if col.index, err = strconv.Atoi(name[1:]); err != nil {
		return false
	}
	switch name[0] {
	case positive:
		c.positive = append(c.positive, col)
	case negative:
		c.negative = append(c.negative, col)
	case bound:
		c.set = append(c.set, col)
	default:
		return false
	}
	return true
}

// reading is one native histogram: i or f.
type reading struct {
	i *histogram.Histogram
	f *histogram.FloatHistogram
}

// readings puts the parts of each histogram together again, in time.
func (c *columns) readings() (t []int64, out []reading) {
	kinds := c.named[partKind]
	if kinds == nil {
		return nil, nil
	}
	byIndex := func(a, b *column) int { return a.index - b.index }
	slices.SortFunc(c.positive, byIndex)
	slices.SortFunc(c.negative, byIndex)
	slices.SortFunc(c.set, byIndex)
	for i, at := range kinds.t {
		out = append(out, c.reading(at, int(kinds.v[i])))
	}
	return kinds.t, out
}

func (c *columns) reading(t int64, kind int) reading {
	get := func(name string) float64 { v, _ := c.named[name].at(t); return v }
	h := &histogram.FloatHistogram{
		CounterResetHint: histogram.CounterResetHint(kind / 2), Schema: int32(get(partSchema)),
		Count: get(partCount), Sum: get(partSum), ZeroCount: get(partZero), ZeroThreshold: get(partZeroThreshold),
	}
	h.PositiveSpans, h.PositiveBuckets = buckets(c.positive, t)
	h.NegativeSpans, h.NegativeBuckets = buckets(c.negative, t)
	for _, col := range c.set {
		if v, ok := col.at(t); ok {
			h.CustomValues = append(h.CustomValues, v)
		}
	}
	if kind%2 == kindFloat {
		return reading{f: h}
	}
	return reading{i: toInteger(h)}
}

// buckets are those that a row has; empty ones count as there when they were appended so.
func buckets(all []*column, t int64) (spans []histogram.Span, counts []float64) {
	after := int32(0) // the index behind the last bucket
	for _, col := range all {
		v, ok := col.at(t)
		if !ok {
			continue
		}
		index := int32(col.index)
		if len(spans) == 0 || index != after {
			spans = append(spans, histogram.Span{Offset: index - after})
		}
		spans[len(spans)-1].Length++
		counts = append(counts, v)
		after = index + 1
	}
	return spans, counts
}

func toInteger(f *histogram.FloatHistogram) *histogram.Histogram {
	deltas := func(counts []float64) (out []int64) {
		var last int64
		for _, c := range counts {
			out = append(out, int64(c)-last)
			last = int64(c)
		}
		return out
	}
	return &histogram.Histogram{
		CounterResetHint: f.CounterResetHint, Schema: f.Schema, ZeroThreshold: f.ZeroThreshold, ZeroCount: uint64(f.ZeroCount),
		Count: uint64(f.Count), Sum: f.Sum, PositiveSpans: f.PositiveSpans, NegativeSpans: f.NegativeSpans,
		PositiveBuckets: deltas(f.PositiveBuckets), NegativeBuckets: deltas(f.NegativeBuckets), CustomValues: f.CustomValues,
	}
}

// succession says whether a histogram that came without a hint follows on the one before without a reset: as Prometheus'
// storage does, and like it, it leaves a reset that it finds unsaid.
func succession(h, last *histogram.FloatHistogram) histogram.CounterResetHint {
	switch {
	case h.CounterResetHint == histogram.GaugeType, h.CounterResetHint == histogram.CounterReset:
		return h.CounterResetHint
	case last == nil || last.CounterResetHint == histogram.GaugeType || value.IsStaleNaN(last.Sum) || value.IsStaleNaN(h.Sum):
		return histogram.UnknownCounterReset
	}
	if unsaid := *h; unsaid.CounterResetHint != histogram.UnknownCounterReset {
		unsaid.CounterResetHint = histogram.UnknownCounterReset
		h = &unsaid
	}
	if h.DetectReset(last) {
		return histogram.UnknownCounterReset
	}
	return histogram.NotCounterReset
}

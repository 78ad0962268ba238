package query

import (
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"

	"xunjian/pkg/metric"
	"xunjian/pkg/tsdb"
)

func toLabels(s metric.Series) labels.Labels {
	b := labels.NewScratchBuilder(len(s.Labels) + 1)
	b.Add(model.MetricNameLabel, s.Name)
	for _, l := range s.Labels {
		b.Add(l.Name, l.Value)
	}
	b.Sort()
	return b.Labels()
}

// series is one series' samples within the query's range.
type series struct {
	labels labels.Labels
	t      []int64
	v      []float64
	h      []reading // nil when all samples are numbers; else one for each, empty where it is a number
	st     []int64   // start stamps; nil when no sample has one
}

func (s *series) Labels() labels.Labels { return s.labels }

func (s *series) Iterator(it chunkenc.Iterator) chunkenc.Iterator {
	if old, ok := it.(*cursor); ok {
		*old = cursor{s: s, i: -1}
		return old
	}
	return &cursor{s: s, i: -1}
}

// assemble makes samples of a series' parts. Where a millisecond has a number and a histogram, the number wins.
func (s *series) assemble(c *columns) {
	if ht, h := c.readings(); len(ht) > 0 {
		s.mix(ht, h)
	}
	if starts := c.named[partStart]; starts != nil && len(s.t) > 0 {
		s.st = make([]int64, len(s.t))
		for i, t := range s.t {
			v, _ := starts.at(t)
			s.st[i] = int64(v)
		}
	}
}

// mix merges histograms into the numbers, in time.
func (s *series) mix(ht []int64, h []reading) {
	t, v, n := s.t, s.v, len(s.t)+len(ht)
	s.t, s.v, s.h = make([]int64, 0, n), make([]float64, 0, n), make([]reading, 0, n)
	for len(t)+len(ht) > 0 {
		switch {
		case len(ht) == 0 || len(t) > 0 && t[0] <= ht[0]:
			if len(ht) > 0 && t[0] == ht[0] {
				ht, h = ht[1:], h[1:]
			}
			s.t, s.v, s.h = append(s.t, t[0]), append(s.v, v[0]), append(s.h, reading{})
			t, v = t[1:], v[1:]
		default:
			s.t, s.v, s.h = append(s.t, ht[0]), append(s.v, 0), append(s.h, h[0])
			ht, h = ht[1:], h[1:]
		}
	}
}

// set walks loaded series.
type set struct {
	all      []*series
	i        int
	warnings annotations.Annotations
}

func (s *set) Next() bool                        { s.i++; return s.i < len(s.all) }
func (s *set) At() storage.Series                { return s.all[s.i] }
func (s *set) Err() error                        { return nil }
func (s *set) Warnings() annotations.Annotations { return s.warnings }

// millis is the engine's time. The alias keeps vet from taking Seek for that of io.Seeker.
type millis = int64

// cursor walks one series.
type cursor struct {
	s *series
	i int
}

func (c *cursor) Next() chunkenc.ValueType { return c.to(c.i + 1) }

func (c *cursor) Seek(t millis) chunkenc.ValueType {
	from := min(max(c.i, 0), len(c.s.t))
	i, _ := slices.BinarySearch(c.s.t[from:], t)
	return c.to(from + i)
}

func (c *cursor) to(i int) chunkenc.ValueType {
	c.i = min(i, len(c.s.t))
	switch {
	case c.i == len(c.s.t):
		return chunkenc.ValNone
	case c.s.h == nil || c.s.h[c.i] == reading{}:
		return chunkenc.ValFloat
	case c.s.h[c.i].f != nil:
		return chunkenc.ValFloatHistogram
	}
	return chunkenc.ValHistogram
}

func (c *cursor) At() (int64, float64) { return c.s.t[c.i], c.s.v[c.i] }
func (c *cursor) AtT() int64           { return c.s.t[c.i] }
func (*cursor) Err() error             { return nil }

func (c *cursor) AtST() int64 {
	if c.s.st == nil {
		return 0
	}
	return c.s.st[c.i]
}

func (c *cursor) AtHistogram(to *histogram.Histogram) (int64, *histogram.Histogram) {
	h := c.s.h[c.i].i
	if to == nil {
		return c.s.t[c.i], h.Copy()
	}
	h.CopyTo(to)
	return c.s.t[c.i], to
}

func (c *cursor) AtFloatHistogram(to *histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	r := c.s.h[c.i]
	switch {
	case r.i != nil:
		return c.s.t[c.i], r.i.ToFloat(to)
	case to == nil:
		return c.s.t[c.i], r.f.Copy()
	}
	r.f.CopyTo(to)
	return c.s.t[c.i], to
}

// parted gathers the series that have more than plain numbers, by their labels' text.
type parted map[string]*partedSeries

type partedSeries struct {
	labels labels.Labels
	columns
}

// take keeps a part; false means that s is a series of plain numbers.
func (p parted) take(s tsdb.Samples) bool {
	name := s.Series.Get(PartLabel)
	if name == "" {
		return false
	}
	whole := without(s.Series)
	key := whole.String()
	if p[key] == nil {
		p[key] = &partedSeries{labels: toLabels(whole)}
	}
	p[key].add(name, s.T, s.V)
	return true
}

// join puts the parts to the numbers of their series, or to a series of their own.
func (p parted) join(all []*series) []*series {
	if len(p) == 0 {
		return all
	}
	numbers := make(map[uint64][]*series, len(all))
	for _, s := range all {
		h := s.labels.Hash()
		numbers[h] = append(numbers[h], s)
	}
	for _, c := range p {
		var whole *series
		for _, s := range numbers[c.labels.Hash()] {
			if labels.Equal(s.labels, c.labels) {
				whole = s
			}
		}
		if whole == nil {
			whole = &series{labels: c.labels}
			all = append(all, whole)
		}
		whole.assemble(&c.columns)
	}
	return all
}

// without is the series that a part belongs to.
func without(s metric.Series) metric.Series {
	out := metric.Series{Name: s.Name, Labels: make([]metric.Label, 0, len(s.Labels)-1)}
	for _, l := range s.Labels {
		if l.Name != PartLabel {
			out.Labels = append(out.Labels, l)
		}
	}
	return out
}

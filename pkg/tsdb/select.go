package tsdb

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sort"
	"sync"

	bolt "go.etcd.io/bbolt"

	"xunjian/pkg/metric"
)

const (
	daysAtOnce   = 8       // of one read transaction: an open one keeps the pages that writers free
	valuesAtOnce = 1 << 20 // of the series that are read together
)

// Samples is one series with what Select found of it, rising in time.
type Samples struct {
	Series metric.Series
	T      []int64 // ms
	V      []float64
}

// Select walks the series that match all matchers and have samples in [from, to] (ms), in no given order.
// Where a series has two values of one millisecond, the one stored first wins. When a row lacks a series that the
// row before had, a stale marker stands at its time (IsStale). No transaction is open and no lock is held while the
// caller works, and the slices are the caller's to keep, not to change: series of one report may share their times.
func (db *DB) Select(ctx context.Context, from, to int64, matchers ...Matcher) iter.Seq2[Samples, error] {
	return func(yield func(Samples, error) bool) {
		tasks := db.tasks(from, to, matchers)
		each(ctx, db.o.ReadWorkers, len(tasks), func() func(int) ([]Samples, error) {
			return func(i int) ([]Samples, error) {
				x := scanner(db, from, to)
				found, err := x.run(ctx, tasks[i])
				x.release()
				return found, err
			}
		}, yield)
	}
}

// task is a handful of series that are read together: all of one stream, or one series that several streams have.
type task []*entry

// tasks groups the entries so that a stream's blocks are opened once for many of its series.
func (db *DB) tasks(from, to int64, matchers []Matcher) (out []task) {
	entries := db.catalog.match(matchers)
	bySeries := make(map[string][]*entry, len(entries))
	for _, e := range entries {
		if text := e.series.String(); e.stream.alive(from, to) {
			bySeries[text] = append(bySeries[text], e)
		}
	}
	byStream := map[*stream]task{}
	for _, list := range bySeries {
		if len(list) > 1 {
			slices.SortFunc(list, func(a, b *entry) int { return int(a.stream.id) - int(b.stream.id) })
			out = append(out, list)
		} else {
			byStream[list[0].stream] = append(byStream[list[0].stream], list[0])
		}
	}
	for s, list := range byStream {
		slices.SortFunc(list, func(a, b *entry) int { return a.order - b.order })
		out = slices.AppendSeq(out, slices.Chunk(list, s.together(from, to)))
	}
	return out
}

// alive reports whether the stream has rows that may lie in [from, to].
func (s *stream) alive(from, to int64) bool {
	first, last := s.span()
	return first <= to && last >= from
}

// span is the time of the stream's rows, first and last.
func (s *stream) span() (first, last int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.life.First, s.life.Last
}

// together is how many series of a stream are read at a time, so that memory stays bounded whatever the range.
func (s *stream) together(from, to int64) int {
	return max(1, min(64, valuesAtOnce/s.rows(from, to)))
}

// rows is about how many rows the stream has in [from, to], at least 1.
func (s *stream) rows(from, to int64) int {
	first, last := s.span()
	return int(max(0, (min(to, last)-max(from, first))/max(s.def.EveryMS, 1000))) + 1
}

// scan reads one task after the other; it is not for concurrent use.
type scan struct {
	db       *DB
	from, to int64
	dec      blockDecoder
	day      dayRows
	part     []float64
}

// scanners lie ready with their scratch: a small query would spend much of its time on making it.
var scanners = sync.Pool{New: func() any { return new(scan) }}

func scanner(db *DB, from, to int64) *scan {
	x := scanners.Get().(*scan)
	x.db, x.from, x.to = db, from, to
	return x
}

// release gives the scratch to the next, without what it points to elsewhere.
func (x *scan) release() {
	x.db = nil
	x.day.forget()
	scanners.Put(x)
}

func (x *scan) run(ctx context.Context, t task) ([]Samples, error) {
	if len(t) == 1 || t[0].stream == t[1].stream {
		return x.stream(ctx, t)
	}
	var all []Samples
	for i := range t {
		one, err := x.stream(ctx, t[i:i+1])
		if err != nil {
			return nil, err
		}
		all = append(all, one...)
	}
	if len(all) < 2 {
		return all, nil
	}
	return []Samples{joined(all)}, nil
}

// stream reads series of one stream.
func (x *scan) stream(ctx context.Context, t task) ([]Samples, error) {
	s := t[0].stream
	c := collector{from: x.from, to: x.to, values: make([][]float64, len(t)), sparse: s.def.Sparse, part: x.part}
	c.room = min(s.rows(x.from, x.to), valuesAtOnce)
	err := x.eachDay(ctx, s, t, func(entries []entry) (err error) {
		lo, hi := c.times(x.day.plan.stamps)
		for i := range entries {
			if lo < hi && err == nil {
				err = c.take(i, lo, hi, func(dst []float64) ([]float64, error) { return x.day.column(dst, &x.dec, &entries[i]) })
			}
		}
		return err
	})
	x.part = c.part
	if err != nil {
		return nil, fmt.Errorf("select: %w", err)
	}
	out := make([]Samples, 0, len(t))
	for i, e := range t {
		if smp := c.finish(i); len(smp.T) > 0 {
			smp.Series = e.series
			out = append(out, smp)
		}
	}
	return out, nil
}

// eachDay calls fn for every day of the stream within the scan's range, with the day loaded and the entries as they
// were then.
func (x *scan) eachDay(ctx context.Context, s *stream, t task, fn func([]entry) error) error {
	// The head is pinned before a transaction begins: a block that moves to disk in between is then in memory
	// still; the other way round it would be in neither.
	mem, hot := s.pin(x.from, x.to)
	x.day.from, x.day.to = x.from, x.to
	first, last := s.span()
	day, end := dayOf(max(x.from, first)), dayOf(min(x.to, last))
	for day <= end {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := view(x.db.ddb, func(tx *bolt.Tx) error {
			entries := x.db.catalog.now(t)
			readAhead(tx, bucketDay, s, day, end)
			for n := 0; n < daysAtOnce && day <= end; n, day = n+1, day+1 {
				if err := x.day.load(tx, &x.dec, s, day, ofDay(hot, day), ofDay(mem, day)); err != nil {
					return err
				}
				if len(x.day.parts) == 0 {
					day = max(day, nextDay(tx, hot, mem, day)-1)
					continue
				}
				if err := fn(entries); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ofDay filters what is pinned.
func ofDay[P interface{ day() uint32 }](all []P, day uint32) (out []P) {
	for _, p := range all {
		if p.day() == day {
			out = append(out, p)
		}
	}
	return out
}

// nextDay is the first day after one that may hold rows.
func nextDay(tx *bolt.Tx, hot []hotRef, mem []pinned, day uint32) uint32 {
	next := uint32(1<<32 - 1)
	if k, _ := tx.Bucket(bucketDay).Cursor().Seek(key32(day + 1)); len(k) == 4 {
		next = keyDay(k)
	}
	for _, h := range hot {
		if d := h.day(); d > day {
			next = min(next, d)
		}
	}
	for _, m := range mem {
		if d := m.day(); d > day {
			next = min(next, d)
		}
	}
	return next
}

// pinned is a segment as it was at one moment.
type pinned struct {
	number     uint64
	schema     uint32
	lo         int64
	stamps     []int64
	rows       rowStore
	key, block []byte
}

func (p pinned) day() uint32 { return dayOf(p.lo) }

// pin takes what lies within a stretch of time: segments in memory, and the places of blocks on disk.
func (s *stream) pin(from, to int64) (mem []pinned, hot []hotRef) {
	s.mu.Lock()
	defer s.mu.Unlock()
	take := func(g *segment) {
		if g != nil && g.lo <= to && g.hi >= from {
			mem = append(mem, pinned{g.number, g.schema.id, g.lo, g.stamps, g.rows, g.key, g.block})
		}
	}
	for _, g := range s.sealed {
		take(g)
	}
	for _, g := range s.open {
		take(g)
	}
	for _, h := range s.hot {
		if (int64(h.start)-1)*1000 <= to && h.last >= from {
			hot = append(hot, h)
		}
	}
	return mem, hot
}

// collector gathers the rows of several series of one stream.
type collector struct {
	from, to int64
	sparse   bool
	room     int // rows to make room for at once
	rows     int // of the day in hand
	part     []float64
	t        []int64
	values   [][]float64
}

// times takes the stamps of a day that lie in the range and returns which they are.
func (c *collector) times(stamps []int64) (lo, hi int) {
	lo = sort.Search(len(stamps), func(i int) bool { return stamps[i] >= c.from })
	hi = lo + sort.Search(len(stamps)-lo, func(i int) bool { return stamps[lo+i] > c.to })
	if c.t == nil {
		c.t = make([]int64, 0, c.room)
	}
	c.rows = len(stamps)
	c.t = append(c.t, stamps[lo:hi]...)
	return lo, hi
}

// take appends what of a day's column lies in the range.
func (c *collector) take(i, lo, hi int, column func([]float64) ([]float64, error)) (err error) {
	if c.values[i] == nil {
		c.values[i] = make([]float64, 0, c.room)
	}
	if lo == 0 && hi == c.rows { // the whole day
		c.values[i], err = column(c.values[i])
		return err
	}
	c.part, err = column(c.part[:0])
	if err == nil {
		c.values[i] = append(c.values[i], c.part[lo:hi]...)
	}
	return err
}

// finish is a series without its absent values; the first row that lacks it marks its end.
func (c *collector) finish(i int) Samples {
	v := c.values[i]
	first := slices.IndexFunc(v, IsAbsent)
	if first < 0 {
		return Samples{T: c.t[:len(c.t):len(c.t)], V: v}
	}
	out := Samples{T: slices.Clone(c.t[:first]), V: v[:first]}
	for at, had := first, first > 0; at < len(v); at++ {
		switch {
		case !IsAbsent(v[at]):
			out.T, out.V, had = append(out.T, c.t[at]), append(out.V, v[at]), true
		case had && !c.sparse:
			out.T, out.V, had = append(out.T, c.t[at]), append(out.V, staleMarker), false
		}
	}
	return out
}

// joined puts together one series that several streams have: a value wins over an end, then the first stream.
func joined(all []Samples) Samples {
	type sample struct {
		t int64
		v float64
	}
	var list []sample
	for _, s := range all {
		for i, t := range s.T {
			list = append(list, sample{t, s.V[i]})
		}
	}
	sort.SliceStable(list, func(i, j int) bool {
		a, b := list[i], list[j]
		return a.t < b.t || a.t == b.t && !IsStale(a.v) && IsStale(b.v)
	})
	out := Samples{Series: all[0].Series}
	for _, s := range list {
		if n := len(out.T); n == 0 || out.T[n-1] != s.t {
			out.T, out.V = append(out.T, s.t), append(out.V, s.v)
		}
	}
	return out
}

// Series lists the matching series whose streams had a schema with them in use within [from, to] (ms), sorted.
func (db *DB) Series(from, to int64, matchers ...Matcher) []metric.Series {
	found := map[string]metric.Series{}
	for _, e := range db.catalog.match(matchers) {
		if db.catalog.inUse(e, from, to) {
			found[e.series.String()] = e.series
		}
	}
	out := make([]metric.Series, 0, len(found))
	for _, text := range slices.Sorted(maps.Keys(found)) {
		out = append(out, found[text])
	}
	return out
}

// LabelNames lists the label names of those series, sorted, with __name__.
func (db *DB) LabelNames(from, to int64, matchers ...Matcher) []string {
	found := map[string]bool{}
	for _, s := range db.Series(from, to, matchers...) {
		found[NameLabel] = true
		for _, l := range s.Labels {
			found[l.Name] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// LabelValues lists the values of one label of those series, sorted.
func (db *DB) LabelValues(name string, from, to int64, matchers ...Matcher) []string {
	found := map[string]bool{}
	for _, s := range db.Series(from, to, matchers...) {
		v := s.Name
		if name != NameLabel {
			v = s.Get(name)
		}
		if v != "" {
			found[v] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

package tsdb

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sort"

	bolt "go.etcd.io/bbolt"

	"xunjian/pkg/metric"
)

// blocksAtOnce bounds a read transaction: an open one keeps the pages that writers free.
const blocksAtOnce = 256

// Samples is one series with what Select found of it, rising in time.
type Samples struct {
	Series metric.Series
	T      []int64 // ms
	V      []float64
}

// Select walks the series that match all matchers and have samples in [from, to] (ms), in no given order.
// Where a series has two values of one millisecond, the one stored first wins. No transaction is open and no
// lock is held while the caller works, and the slices are the caller's to keep.
func (db *DB) Select(ctx context.Context, from, to int64, matchers ...Matcher) iter.Seq2[Samples, error] {
	return func(yield func(Samples, error) bool) {
		q := query{db: db, from: from, to: to}
		for _, job := range jobs(db.catalog.match(matchers)) {
			if err := ctx.Err(); err != nil {
				yield(Samples{}, fmt.Errorf("select: %w", err))
				return
			}
			if !q.run(job, yield) {
				return
			}
		}
	}
}

// jobs groups the entries so that a stream's blocks are read once for all its series. A series that several
// streams have is a job of its own, so that it comes out once.
func jobs(entries []entry) [][]entry {
	bySeries := make(map[string][]entry, len(entries))
	for _, e := range entries {
		text := e.series.String()
		bySeries[text] = append(bySeries[text], e)
	}
	byStream := map[*stream][]entry{}
	var out [][]entry
	for _, list := range bySeries {
		if len(list) > 1 {
			out = append(out, list)
		} else {
			byStream[list[0].stream] = append(byStream[list[0].stream], list[0])
		}
	}
	return slices.AppendSeq(out, maps.Values(byStream))
}

// query is one Select at work.
type query struct {
	db       *DB
	from, to int64
	dec      blockDecoder
}

// run reads one job: all its entries are of one stream, or all are of one series.
func (q *query) run(job []entry, yield func(Samples, error) bool) bool {
	shared := len(job) > 1 && job[0].stream != job[1].stream
	var parts []part
	if shared {
		for i := range job {
			more, err := q.collect(job[i : i+1])
			if err != nil {
				return yield(Samples{}, err)
			}
			parts = append(parts, more...)
		}
		job = job[:1]
		slices.SortStableFunc(parts, func(a, b part) int { return cmp.Compare(a.number, b.number) })
	} else {
		var err error
		if parts, err = q.collect(job); err != nil {
			return yield(Samples{}, err)
		}
	}
	for i, e := range job {
		s := q.merge(parts, i)
		if s.Series = e.series; len(s.T) > 0 && !yield(s, nil) {
			return false
		}
	}
	return true
}

// part is what one block or segment has of the wanted series: values by entry, nil where it lacks it.
type part struct {
	number uint64
	stamps []int64
	values [][]float64
}

// collect reads the entries of one stream, first stored first.
func (q *query) collect(entries []entry) (parts []part, err error) {
	s := entries[0].stream
	// The head is pinned before a transaction begins: a block that moves to disk in between is then in memory
	// still; the other way round it would be in neither.
	mem, hot := s.pin(q.from, q.to, q.db.readSpan)
	for refs := range slices.Chunk(hot, blocksAtOnce) {
		parts, err = q.fromDisk(parts, entries, refs)
		if err != nil {
			return nil, err
		}
	}
	for _, m := range mem {
		p, err := q.fromMemory(entries, m)
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	slices.SortStableFunc(parts, func(a, b part) int { return cmp.Compare(a.number, b.number) })
	return parts, nil
}

// pinned is a segment as it was at one moment.
type pinned struct {
	number     uint64
	schema     uint32
	stamps     []int64
	rows       []float64
	key, block []byte
}

// pin takes what lies within a stretch of time: segments in memory, and the places of blocks on disk.
func (s *stream) pin(from, to, span int64) (mem []pinned, hot []hotRef) {
	s.mu.Lock()
	defer s.mu.Unlock()
	take := func(g *segment) {
		if g != nil && g.lo <= to && g.hi >= from {
			mem = append(mem, pinned{g.number, g.schema.id, g.stamps, g.rows, g.key, g.block})
		}
	}
	for _, g := range s.sealed {
		take(g)
	}
	for _, g := range s.open {
		take(g)
	}
	for _, h := range s.hot {
		if start := int64(h.start) * 1000; start <= to && start+1000+span >= from {
			hot = append(hot, h)
		}
	}
	return mem, hot
}

func (q *query) fromMemory(entries []entry, m pinned) (part, error) {
	if m.block != nil {
		b, err := openBlock(m.key, m.block)
		if err != nil {
			return part{}, err
		}
		return q.decode(part{number: m.number}, entries, &b)
	}
	p := part{number: m.number, stamps: m.stamps, values: make([][]float64, len(entries))}
	cols := len(m.rows) / len(m.stamps)
	for i, e := range entries {
		at := e.at(m.schema)
		if at < 0 {
			continue
		}
		v := make([]float64, len(m.stamps))
		for r := range v {
			v[r] = m.rows[r*cols+at]
		}
		p.values[i] = v
	}
	if !slices.IsSorted(p.stamps) {
		p.sort()
	}
	return p, nil
}

// sort brings a part into order of time; its stamps belong to the head and are copied.
func (p *part) sort() {
	order := make([]int, len(p.stamps))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(p.stamps[a], p.stamps[b]) })
	stamps := make([]int64, len(order))
	for i, o := range order {
		stamps[i] = p.stamps[o]
	}
	for k, old := range p.values {
		if old == nil {
			continue
		}
		v := make([]float64, len(order))
		for i, o := range order {
			v[i] = old[o]
		}
		p.values[k] = v
	}
	p.stamps = stamps
}

// at is the column of an entry in a schema, -1 when it has none.
func (e *entry) at(schema uint32) int {
	for _, c := range e.columns {
		if c.schema == schema {
			return c.at
		}
	}
	return -1
}

// fromDisk copies the wanted columns out of one short transaction and decodes them after it.
func (q *query) fromDisk(parts []part, entries []entry, refs []hotRef) ([]part, error) {
	type taken struct {
		ref hotRef
		block
	}
	var copies []taken
	err := view(q.db.ddb, func(tx *bolt.Tx) error {
		copies = copies[:0]
		hot := tx.Bucket(bucketHot)
		for _, r := range refs {
			key := r.key(entries[0].stream.id)
			b, err := openBlock(key, hot.Get(key))
			if err != nil {
				return err
			}
			b.keepOnly(entries)
			copies = append(copies, taken{r, b})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("select: %s: %w", dataFile, err)
	}
	for i := range copies {
		p, err := q.decode(part{number: copies[i].ref.number}, entries, &copies[i].block)
		if err != nil {
			return nil, fmt.Errorf("select: %s: %w", dataFile, err)
		}
		parts = append(parts, p)
	}
	return parts, nil
}

// keepOnly copies the columns that the entries want and lets go of the rest.
func (k *block) keepOnly(entries []entry) {
	old := k.columns
	k.columns = make([][]byte, len(old))
	k.devs = bytes.Clone(k.devs)
	for _, e := range entries {
		if at := e.at(k.schema); at >= 0 && at < len(old) {
			k.columns[at] = bytes.Clone(old[at])
		}
	}
}

func (q *query) decode(p part, entries []entry, b *block) (part, error) {
	var err error
	if p.stamps, err = q.dec.stamps(nil, b); err != nil {
		return p, err
	}
	p.values = make([][]float64, len(entries))
	for i, e := range entries {
		if at := e.at(b.schema); at >= 0 {
			if p.values[i], err = q.dec.values(nil, b, at); err != nil {
				return p, err
			}
		}
	}
	return p, nil
}

// merge puts the parts of one entry together, in time and without absent values.
func (q *query) merge(parts []part, entry int) (out Samples) {
	rising := true
	for _, p := range parts {
		v := p.values[entry]
		if v == nil {
			continue
		}
		lo := sort.Search(len(p.stamps), func(i int) bool { return p.stamps[i] >= q.from })
		for i := lo; i < len(p.stamps) && p.stamps[i] <= q.to; i++ {
			if IsAbsent(v[i]) {
				continue
			}
			if n := len(out.T); n > 0 && out.T[n-1] >= p.stamps[i] {
				rising = false
			}
			out.T, out.V = append(out.T, p.stamps[i]), append(out.V, v[i])
		}
	}
	if !rising {
		out.order()
	}
	return out
}

// order sorts by time and keeps the first of equal stamps.
func (s *Samples) order() {
	sort.Stable((*byTime)(s))
	n := 0
	for i, t := range s.T {
		if i == 0 || t != s.T[n-1] {
			s.T[n], s.V[n] = t, s.V[i]
			n++
		}
	}
	s.T, s.V = s.T[:n], s.V[:n]
}

type byTime Samples

func (b *byTime) Len() int           { return len(b.T) }
func (b *byTime) Less(i, j int) bool { return b.T[i] < b.T[j] }
func (b *byTime) Swap(i, j int) {
	b.T[i], b.T[j] = b.T[j], b.T[i]
	b.V[i], b.V[j] = b.V[j], b.V[i]
}

// Series lists the matching series whose streams had a schema with them in use within [from, to] (ms), sorted.
func (db *DB) Series(from, to int64, matchers ...Matcher) []metric.Series {
	found := map[string]metric.Series{}
	for _, e := range db.catalog.match(matchers) {
		if e.inUse(from, to) {
			found[e.series.String()] = e.series
		}
	}
	out := make([]metric.Series, 0, len(found))
	for _, text := range slices.Sorted(maps.Keys(found)) {
		out = append(out, found[text])
	}
	return out
}

func (e *entry) inUse(from, to int64) bool {
	e.stream.mu.Lock()
	defer e.stream.mu.Unlock()
	for _, c := range e.columns {
		if u, ok := e.stream.used[c.schema]; ok && u.First <= to && u.Last >= from {
			return true
		}
	}
	return false
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

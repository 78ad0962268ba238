package tsdb

import (
	"encoding/binary"
	"hash/fnv"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// laneCount is how many segments of one stream may be open at a time: fresh rows, a backlog that is
// being delivered, and what else comes out of order.
const laneCount = 4

// stream is one agent's reports of one kind, and their newest rows.
type stream struct {
	id     uint32
	def    streamDef
	agent  *agent
	layout atomic.Pointer[layout]

	entries map[string]*entry   // catalog.mu
	columns map[uint32][]*entry // catalog.mu: by schema
	schemas []uint32            // catalog.mu

	plan      [laneCount]lanePlan // the committer's own
	journaled bool                // the committer's own: the definition is in the journal
	seals     int                 // the committer's own

	mu     sync.Mutex
	open   [laneCount]*segment
	sealed []*segment          // not yet in data.db, in order of sealing
	hot    []hotRef            // in data.db, in order of flushing
	upTo   [laneCount]uint64   // the newest journal number of each lane that is in data.db
	used   map[uint32]useRange // by schema
	life   useRange            // of all rows; a stream without any ends before it begins
	last   lastRow
}

// useRange is the time for which a stream's rows have a schema.
type useRange struct{ First, Last int64 }

// lastRow is the newest row; after a start its values are nil until somebody asks or a newer row comes.
type lastRow struct {
	ms     int64
	schema *schema
	values []float64
}

// hotRef finds a block in data.db.
type hotRef struct {
	start  uint32 // second of the first row, rounded up, which keeps it in its day
	number uint64 // journal number of the last row stored, which is also its rank among equal stamps
	last   int64  // ms that no row is later than
}

func (h hotRef) day() uint32 { return dayOf(int64(h.start) * 1000) }

func (h hotRef) key(stream uint32) []byte { return hotKey(h.start, stream, h.number) }

// hotKey orders blocks by time, so that new ones go to the end of the tree.
func hotKey(start, stream uint32, number uint64) []byte {
	k := binary.BigEndian.AppendUint32(make([]byte, 0, 16), start)
	k = binary.BigEndian.AppendUint32(k, stream)
	return binary.BigEndian.AppendUint64(k, number)
}

// segment is a run of rows of one schema within one span of time, in order of arrival. Rows are only ever
// appended, under stream.mu; a reader that has taken the slices may read on without it.
type segment struct {
	stream *stream
	lane   int
	schema *schema
	born   time.Time
	keep   uint64 // the oldest journal key that its rows need
	number uint64 // journal number of the last row
	lo, hi int64
	stamps []int64
	rows   rowStore // empty once block is there
	block  []byte   // under stream.mu
	key    []byte
}

// lanePlan is the committer's view of a lane, ahead of the commit that fills it.
type lanePlan struct {
	schema uint32
	n      int
	lo, hi int64
	stamps []int64
	used   uint64 // journal number, for the choice of the one to close
}

// placement says where a row goes.
type placement struct {
	lane      int
	sealFirst bool // the open segment of that lane is closed before
	sealAfter bool // the row fills its segment
}

// headRules are the bounds of a segment.
type headRules struct {
	rows int
	span int64 // ms
}

// limit is the number of rows at which the stream's next segment is full. The first one is shorter by an amount of the
// stream's own, so that streams that began together do not seal together, nor have full segments at one time: as many
// are at each row of their segments as at every other, and all together take little more than half of what they can.
func (r headRules) limit(s *stream) int {
	if s.seals > 0 || r.rows < 8 {
		return r.rows
	}
	h := fnv.New32a()
	h.Write(key32(s.id))
	least := r.rows / 8
	return least + int(h.Sum32()%uint32(r.rows-least))
}

// joins says whether a row may stand in the segment of a lane: within its span, and on its day.
func (r headRules) joins(l *lanePlan, ms int64) bool {
	return max(l.hi, ms)-min(l.lo, ms) <= r.span && dayOf(l.lo) == dayOf(ms)
}

// sameTime reports whether a row of that millisecond is in an open segment.
func (s *stream) sameTime(ms int64) bool {
	for i := range s.plan {
		if s.plan[i].has(ms) {
			return true
		}
	}
	return false
}

func (p *lanePlan) has(ms int64) bool {
	return p.n > 0 && ms >= p.lo && ms <= p.hi && slices.Contains(p.stamps, ms)
}

// place chooses the lane of a row and books it there.
func (s *stream) place(r headRules, schema uint32, ms int64, number uint64) placement {
	return s.book(r, s.choose(r, schema, ms), schema, ms, number)
}

// placeAgain books a row that the journal gives back in the lane that it was given. What was sealed but not
// yet in data.db is open again then, so a row of the same millisecond may be in its way: that one was first,
// and its segment is closed before.
func (s *stream) placeAgain(r headRules, lane int, w row) (p placement, closed []*segment) {
	for i := range s.plan {
		if l := &s.plan[i]; !s.def.Sparse && l.has(w.ms) || i == lane && l.n > 0 && (l.schema != w.schema.id || !r.joins(l, w.ms)) {
			s.closePlan(i)
			s.mu.Lock()
			closed = s.seal(i, closed)
			s.mu.Unlock()
		}
	}
	return s.book(r, placement{lane: lane}, w.schema.id, w.ms, w.number), closed
}

func (s *stream) book(r headRules, p placement, schema uint32, ms int64, number uint64) placement {
	l := &s.plan[p.lane]
	if p.sealFirst {
		s.closePlan(p.lane)
	}
	if l.n == 0 {
		l.schema, l.lo, l.hi = schema, ms, ms
	}
	l.n, l.lo, l.hi, l.used = l.n+1, min(l.lo, ms), max(l.hi, ms), number
	l.stamps = append(l.stamps, ms)
	if l.n >= r.limit(s) {
		p.sealAfter = true
		s.closePlan(p.lane)
	}
	return p
}

func (s *stream) closePlan(lane int) {
	s.plan[lane].n, s.plan[lane].stamps = 0, s.plan[lane].stamps[:0]
	s.seals++
}

// choose prefers the segment that grows least, then one that time has left behind, then a free lane,
// then the lane that was idle longest.
func (s *stream) choose(r headRules, schema uint32, ms int64) placement {
	fit, behind, free, idle := -1, -1, -1, 0
	for i := range s.plan {
		l := &s.plan[i]
		switch {
		case l.n == 0:
			if free < 0 {
				free = i
			}
		case l.schema != schema:
		case r.joins(l, ms):
			if fit < 0 || l.distance(ms) < s.plan[fit].distance(ms) {
				fit = i
			}
		case ms > l.hi && (behind < 0 || l.hi > s.plan[behind].hi):
			behind = i
		}
		if l.used < s.plan[idle].used {
			idle = i
		}
	}
	switch {
	case fit >= 0:
		return placement{lane: fit}
	case behind >= 0:
		return placement{lane: behind, sealFirst: true}
	case free >= 0:
		return placement{lane: free}
	default:
		return placement{lane: idle, sealFirst: true}
	}
}

func (p *lanePlan) distance(ms int64) int64 { return max(0, p.lo-ms, ms-p.hi) }

// row is a committed report.
type row struct {
	schema *schema
	ms     int64
	number uint64
	keep   uint64 // key under which the journal holds it
	values []float64
}

// add puts a committed row in its place and returns the segments that are closed by it.
func (s *stream) add(p placement, r row, now time.Time) (closed []*segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.sealFirst {
		closed = s.seal(p.lane, closed)
	}
	g := s.open[p.lane]
	if g == nil {
		g = &segment{stream: s, lane: p.lane, schema: r.schema, born: now, keep: r.keep, lo: r.ms, hi: r.ms}
		s.open[p.lane] = g
	}
	g.number, g.lo, g.hi = r.number, min(g.lo, r.ms), max(g.hi, r.ms)
	g.rows.add(len(g.stamps), r.values)
	g.stamps = append(g.stamps, r.ms)
	s.note(r)
	if p.sealAfter {
		closed = s.seal(p.lane, closed)
	}
	return closed
}

// note keeps the newest row and the time for which the schema is in use; under mu.
func (s *stream) note(r row) {
	s.extend(r.schema.id, useRange{r.ms, r.ms})
	if r.ms >= s.last.ms {
		s.last = lastRow{r.ms, r.schema, append(s.last.values[:0], r.values...)}
	}
}

// extend widens the time for which a schema is in use; under mu.
func (s *stream) extend(schema uint32, u useRange) {
	if s.used == nil {
		s.used = map[uint32]useRange{}
	}
	if old, ok := s.used[schema]; ok {
		u = useRange{min(u.First, old.First), max(u.Last, old.Last)}
	}
	s.used[schema] = u
	s.life = useRange{min(s.life.First, u.First), max(s.life.Last, u.Last)}
}

// seal closes the open segment of a lane; under mu.
func (s *stream) seal(lane int, closed []*segment) []*segment {
	g := s.open[lane]
	if g == nil {
		return closed
	}
	s.open[lane] = nil
	s.sealed = append(s.sealed, g)
	return append(closed, g)
}

// sealOld closes the segments that were opened before a time.
func (s *stream) sealOld(before time.Time) (closed []*segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for lane, g := range s.open {
		if g != nil && !g.born.After(before) {
			closed = s.seal(lane, closed)
			s.closePlan(lane)
		}
	}
	return closed
}

// oldestKey is the oldest journal key that the rows outside data.db need.
func (s *stream) oldestKey(newest uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.open {
		if g != nil {
			newest = min(newest, g.keep)
		}
	}
	for _, g := range s.sealed {
		newest = min(newest, g.keep)
	}
	return newest
}

// flushed moves a segment from memory to the list of blocks on disk.
func (s *stream) flushed(g *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sealed = slices.DeleteFunc(s.sealed, func(x *segment) bool { return x == g })
	s.hot = append(s.hot, g.ref())
	s.upTo[g.lane] = max(s.upTo[g.lane], g.number)
}

func (g *segment) ref() hotRef {
	return hotRef{start: uint32((g.lo + 999) / 1000), number: g.number, last: g.hi}
}

// held counts rows that are in no block yet, and blocks on disk.
func (s *stream) held() (rows, blocks int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.open {
		if g != nil {
			rows += len(g.stamps)
		}
	}
	for _, g := range s.sealed {
		rows += len(g.stamps)
	}
	return rows, len(s.hot)
}

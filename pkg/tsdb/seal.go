package tsdb

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// sealQueueLimit is how many closed segments wait to be encoded; the committer waits when it is full,
// and with it everybody who appends.
const sealQueueLimit = 32

// metaEvery is how many journal numbers may pass before what only the journal knows is written to data.db,
// even when no block is; the journal could not be cut otherwise.
const metaEvery = 1 << bucketShift

// dirtySet is what the journal knows and data.db does not yet; it belongs to catalog.mu.
type dirtySet struct {
	agents  map[*agent]bool
	streams map[*stream]bool
	schemas map[*schema]bool
	upTo    uint64 // journal number of the newest of it
}

func newDirtySet(upTo uint64) dirtySet {
	return dirtySet{map[*agent]bool{}, map[*stream]bool{}, map[*schema]bool{}, upTo}
}

// sealer encodes closed segments and writes them to data.db.
type sealer struct {
	db      *DB
	enc     blockEncoder
	order   []int
	stamps  []int64
	rows    []float64
	waiting []*segment
	bytes   int
	full    bool // the last flush found no room
}

// run ends when the queue is closed, after a last flush.
func (s *sealer) run() {
	tick, again := time.NewTicker(s.db.o.FlushEvery), time.NewTicker(tryAgain)
	defer tick.Stop()
	defer again.Stop()
	for {
		select {
		case g, ok := <-s.db.sealQueue:
			if !ok {
				if len(s.waiting) > 0 || s.db.metaDue(1) {
					s.flush()
				}
				return
			}
			s.encode(g)
			if s.bytes >= s.db.o.FlushBytes && !s.full {
				s.flush()
			}
		case <-again.C:
			if s.full {
				s.flush()
			}
		case <-tick.C:
			if len(s.waiting) > 0 || s.db.metaDue(metaEvery) {
				s.flush()
			}
		}
	}
}

// metaDue reports whether so many numbers of the journal stand for things that data.db does not know.
func (db *DB) metaDue(numbers uint64) bool {
	db.catalog.mu.RLock()
	defer db.catalog.mu.RUnlock()
	return db.dirty.upTo >= db.persisted.Load()+numbers
}

// encode turns a segment into a block, in order of time, and lets go of its rows.
func (s *sealer) encode(g *segment) {
	start := time.Now()
	key := g.ref().key(g.stream.id)
	stamps, rows := s.sorted(g)
	b := s.enc.encode(key, g.schema.id, stamps, rows)
	g.stream.mu.Lock()
	g.key, g.block, g.rows, g.stamps = key, b, rowStore{}, nil
	g.stream.mu.Unlock()
	s.waiting = append(s.waiting, g)
	s.bytes += len(b)
	s.db.unflushed.Add(int64(len(b)))
	m := s.db.metrics
	m.blocks.Inc()
	m.blockBytes.Add(float64(len(b)))
	m.encode.Add(time.Since(start).Seconds())
}

// sorted is the segment's rows by time, one after the other; they mostly are in that order already.
func (s *sealer) sorted(g *segment) ([]int64, []float64) {
	n := len(g.stamps)
	s.order, s.stamps, s.rows = s.order[:0], s.stamps[:0], s.rows[:0]
	for i := range n {
		s.order = append(s.order, i)
	}
	if !slices.IsSorted(g.stamps) {
		slices.SortStableFunc(s.order, func(a, b int) int { return cmp.Compare(g.stamps[a], g.stamps[b]) }) // of equal stamps the first wins
	}
	for _, i := range s.order {
		s.stamps = append(s.stamps, g.stamps[i])
		s.rows = append(s.rows, g.rows.row(i)...)
	}
	return s.stamps, s.rows
}

// flush writes the waiting blocks with all that the journal must not be the only one to know.
func (s *sealer) flush() {
	if s.db.Err() != nil {
		return
	}
	start := time.Now()
	set := s.db.takeDirty()
	for _, g := range s.waiting {
		set.streams[g.stream] = true
	}
	slices.SortFunc(s.waiting, func(a, b *segment) int { return slices.Compare(a.key, b.key) })
	meta, err := s.db.packMeta(set, s.waiting)
	if err == nil {
		err = s.db.update(s.db.ddb, func(tx *bolt.Tx) error { return s.write(tx, meta) })
	}
	if s.full = errors.Is(err, ErrNoSpace); s.full {
		s.db.giveBackDirty(set)
		return // the journal holds all of it
	}
	if err != nil {
		s.db.fail(fmt.Errorf("flush blocks: %w", err))
		return
	}
	for _, g := range s.waiting {
		g.stream.flushed(g)
	}
	s.db.persisted.Store(set.upTo)
	s.db.unflushed.Add(-int64(s.bytes))
	s.db.metrics.flushes.Observe(time.Since(start).Seconds())
	clear(s.waiting)
	s.waiting, s.bytes = s.waiting[:0], 0
	select {
	case s.db.cutWanted <- struct{}{}:
	default: // the committer has been told already
	}
}

func (s *sealer) write(tx *bolt.Tx, meta []metaRecord) error {
	hot := tx.Bucket(bucketHot)
	hot.FillPercent = 1 // keys mostly rise
	for _, g := range s.waiting {
		if err := hot.Put(g.key, g.block); err != nil {
			return fmt.Errorf("block %x: %w", g.key, err)
		}
	}
	for _, m := range meta {
		if err := tx.Bucket(m.bucket).Put(m.key, m.raw); err != nil {
			return fmt.Errorf("%s %x: %w", m.bucket, m.key, err)
		}
	}
	return nil
}

// takeDirty hands the set over to one flush.
func (db *DB) takeDirty() dirtySet {
	db.catalog.mu.Lock()
	defer db.catalog.mu.Unlock()
	set := db.dirty
	db.dirty = newDirtySet(set.upTo)
	return set
}

// giveBackDirty keeps the set of a flush that found no room for the next one.
func (db *DB) giveBackDirty(set dirtySet) {
	db.catalog.mu.Lock()
	defer db.catalog.mu.Unlock()
	maps.Copy(db.dirty.agents, set.agents)
	maps.Copy(db.dirty.streams, set.streams)
	maps.Copy(db.dirty.schemas, set.schemas)
}

// The records of data.db.
type (
	streamRecord struct {
		streamDef
		Schemas []schemaUse       `json:"schemas"`
		UpTo    [laneCount]uint64 `json:"up_to"` // newest journal number in blocks, by lane
	}
	schemaUse struct {
		ID    uint32 `json:"id"`
		First int64  `json:"first_ms"`
		Last  int64  `json:"last_ms"`
	}
)

type metaRecord struct {
	bucket, key, raw []byte
}

// packMeta makes the records of everything in the set, as it will be once the blocks are in.
func (db *DB) packMeta(set dirtySet, blocks []*segment) (out []metaRecord, err error) {
	pack := func(bucket, key []byte, v any) {
		raw, e := packRecord(key, v)
		if e != nil {
			err = e
		}
		out = append(out, metaRecord{bucket, key, raw})
	}
	upTo := map[*stream][laneCount]uint64{}
	for _, g := range blocks {
		u := upTo[g.stream]
		u[g.lane] = max(u[g.lane], g.number)
		upTo[g.stream] = u
	}
	for s := range set.schemas {
		pack(bucketSchemas, key32(s.id), s.series)
	}
	for s := range set.streams {
		pack(bucketStreams, key32(s.id), s.record(upTo[s]))
	}
	db.catalog.mu.RLock()
	defer db.catalog.mu.RUnlock()
	for a := range set.agents {
		pack(bucketSeen, []byte(a.name), a.seen)
	}
	return out, err
}

// record is the stream as data.db knows it, with lanes moved up to what is being written.
func (s *stream) record(upTo [laneCount]uint64) streamRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := streamRecord{streamDef: s.def}
	for lane := range r.UpTo {
		r.UpTo[lane] = max(s.upTo[lane], upTo[lane])
	}
	for id, u := range s.used {
		r.Schemas = append(r.Schemas, schemaUse{id, u.First, u.Last})
	}
	slices.SortFunc(r.Schemas, func(a, b schemaUse) int { return cmp.Compare(a.ID, b.ID) })
	return r
}

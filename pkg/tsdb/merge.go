package tsdb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

// mergeBytes bounds the work of one transaction that merges.
const mergeBytes = 16 << 20

// merger turns the hot blocks of days that are over into one block for each stream and day, with its aggregates, and
// drops what is too old. One pass runs at a time.
type merger struct {
	db     *DB
	mu     sync.Mutex
	scan   scan
	enc    blockEncoder
	roll   rollupEncoder
	column []float64
	ready  []mergedDay
	most   int // rows of one part of a day
	bytes  int
	stats  MergeStats
}

// mergedDay is a stream's day ready to be written.
type mergedDay struct {
	stream *stream
	day    uint32
	parts  [][]byte
	rollup []byte // nil for sparse streams
	hot    []hotRef
	late   bool // too late for a day that was dropped: the blocks go, and that is all
}

// MergeStats says what a pass did.
type MergeStats struct {
	Days, HotBlocks    int   // stream-days written, blocks merged into them
	RawBytes, DayBytes int64 // of the blocks merged, and of those written
	RollupBytes        int64
	SketchBytes        int64 // of RollupBytes, the sketches
	MergeTime          time.Duration
	Drops              []Drop
}

// Drop is a day that retention dropped, a transaction each.
type Drop struct {
	Aggregates bool          // not its samples
	Read, Took time.Duration // reading its pages, and then the transaction
	Disk       time.Duration // of Took, writing pages and waiting until the disk has them
}

// run merges every few minutes; a failure that is not final is tried again.
func (m *merger) run(ctx context.Context) {
	tick := time.NewTicker(min(5*time.Minute, m.db.o.MergeAfter/4+1))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if _, err := m.db.Merge(ctx); err != nil && ctx.Err() == nil {
				m.db.o.Logger.Error("merge days", "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// Merge merges every day that is over and drops what is too old, as Run does by itself from time to time.
func (db *DB) Merge(ctx context.Context) (MergeStats, error) {
	m := &db.merger
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := db.Err(); err != nil {
		return MergeStats{}, err
	}
	m.stats = MergeStats{}
	start := time.Now()
	for _, day := range db.ripe(db.o.Now()) {
		if err := m.mergeDay(ctx, day); err != nil {
			return m.stats, fmt.Errorf("merge day %d: %w", day, err)
		}
	}
	m.stats.MergeTime = time.Since(start)
	err := m.retain(ctx)
	db.metrics.merged(m.stats)
	return m.stats, err
}

// ripe lists the days that are over and have hot blocks, oldest first.
func (db *DB) ripe(now time.Time) []uint32 {
	newest := now.Add(-db.o.MergeAfter).UnixMilli()
	found := map[uint32]bool{}
	for _, s := range db.catalog.allStreams() {
		s.mu.Lock()
		for _, h := range s.hot {
			if d := h.day(); dayEnd(d) <= newest {
				found[d] = true
			}
		}
		s.mu.Unlock()
	}
	days := make([]uint32, 0, len(found))
	for d := range found {
		days = append(days, d)
	}
	slices.Sort(days)
	return days
}

func (m *merger) mergeDay(ctx context.Context, day uint32) error {
	m.ready, m.bytes = m.ready[:0], 0
	streams := m.db.catalog.allStreams()
	slices.SortFunc(streams, func(a, b *stream) int { return int(a.id) - int(b.id) })
	for _, s := range streams {
		if err := errors.Join(ctx.Err(), m.db.Err()); err != nil {
			return err
		}
		hot := s.mergeable(day)
		if len(hot) == 0 {
			continue
		}
		if err := m.merge(s, day, hot); err != nil {
			return err
		}
		if m.bytes >= mergeBytes {
			if err := m.write(day); err != nil {
				return err
			}
		}
	}
	return m.write(day)
}

// mergeable lists the stream's hot blocks of a day, unless rows of it are still in memory: what is merged was
// stored before all that is not.
func (s *stream) mergeable(day uint32) []hotRef {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range append(s.sealed, s.open[:]...) {
		if g != nil && dayOf(g.lo) == day {
			return nil
		}
	}
	return ofDay(s.hot, day)
}

// merge encodes a stream's day anew from all its blocks.
func (m *merger) merge(s *stream, day uint32, hot []hotRef) error {
	out := mergedDay{stream: s, day: day, hot: hot}
	err := view(m.db.ddb, func(tx *bolt.Tx) error {
		x := &m.scan
		if out.late = m.db.rawDropped(tx, s, day); out.late {
			return nil
		}
		if err := x.day.load(tx, &x.dec, s, day, hot, nil); err != nil {
			return err
		}
		sh, entries, err := m.shape(s)
		if err != nil {
			return err
		}
		if sh.columns > maxBlockCols || len(sh.schemas) > maxSchemas {
			if out.late = day <= m.db.tooOld(m.db.o.Retain); out.late {
				return nil
			}
			m.db.o.Logger.Warn("day stays in small blocks: its series change too much", "agent", s.def.Agent, "kind", s.def.Kind, "series", sh.columns)
			return nil
		}
		m.stats.RawBytes += int64(x.day.raw)
		return m.encode(&out, &sh, entries)
	})
	if err != nil {
		return fmt.Errorf("stream %d: %w", s.id, err)
	}
	if len(out.parts) > 0 || out.late {
		m.ready = append(m.ready, out)
	}
	return nil
}

// rawDropped reports whether a stream's day lives on in aggregates only, to which nothing can be added.
func (db *DB) rawDropped(tx *bolt.Tx, s *stream, day uint32) bool {
	has := func(bucket []byte) bool {
		b := tx.Bucket(bucket).Bucket(key32(day))
		return b != nil && b.Get(key32(s.id)) != nil
	}
	return !has(bucketDay) && has(bucketRollup)
}

// shape joins the shapes of all parts of the day.
func (m *merger) shape(s *stream) (sh shape, entries []entry, err error) {
	var list []*entry
	seen, have := map[uint32]bool{}, map[*entry]bool{}
	for i := range m.scan.day.parts {
		for _, id := range m.scan.day.parts[i].blk.schemas {
			if seen[id] {
				continue
			}
			seen[id] = true
			columns := m.db.catalog.entriesOf(s, id)
			if columns == nil {
				return sh, nil, fmt.Errorf("schema %d is not known: %w", id, ErrCorrupt)
			}
			sh.add(id, len(columns), func(at int) bool { return !have[columns[at]] })
			for _, e := range columns {
				if !have[e] {
					have[e] = true
					list = append(list, e)
				}
			}
		}
	}
	return sh, m.db.catalog.now(list), nil
}

func (m *merger) encode(out *mergedDay, sh *shape, entries []entry) (err error) {
	day, stamps := &m.scan.day, m.scan.day.plan.stamps
	rollup := !out.stream.def.Sparse
	if rollup {
		m.roll.start(stamps)
	}
	for part := 0; part*m.most < len(stamps); part++ {
		from, to := part*m.most, min((part+1)*m.most, len(stamps))
		m.enc.begin()
		for i := range entries {
			if m.column, err = day.column(m.column[:0], &m.scan.dec, &entries[i]); err != nil {
				return err
			}
			m.enc.add(m.column[from:to])
			if rollup && part == 0 {
				m.roll.series(entries[i].series.Name, m.column)
			}
		}
		flags := byte(0)
		if to < len(stamps) {
			flags = moreParts
		}
		b := m.enc.finish(dayKey(bucketDay, out.day, out.stream.id, part), sh, flags, stamps[from:to])
		out.parts = append(out.parts, b)
		m.bytes += len(b)
		m.stats.DayBytes += int64(len(b))
	}
	if rollup {
		out.rollup = m.roll.done(dayKey(bucketRollup, out.day, out.stream.id, 0), sh)
		m.bytes += len(out.rollup)
		m.stats.RollupBytes += int64(len(out.rollup))
		m.stats.SketchBytes += int64(m.roll.sketchBytes)
	}
	m.stats.Days++
	m.stats.HotBlocks += len(out.hot)
	return nil
}

// dayKey is what the checksums of a day's block are bound to.
func dayKey(bucket []byte, day, stream uint32, part int) []byte {
	return slices.Concat(bucket, key32(day), partKey(stream, part))
}

// write puts what is ready in place of its hot blocks, in one transaction.
func (m *merger) write(day uint32) error {
	if len(m.ready) == 0 {
		return nil
	}
	err := m.db.update(m.db.ddb, func(tx *bolt.Tx) error {
		days, err := tx.Bucket(bucketDay).CreateBucketIfNotExists(key32(day))
		if err != nil {
			return err
		}
		rollups, err := tx.Bucket(bucketRollup).CreateBucketIfNotExists(key32(day))
		if err != nil {
			return err
		}
		days.FillPercent, rollups.FillPercent = 1, 1 // streams come in order
		for i := range m.ready {
			if err := m.ready[i].put(tx, days, rollups); err != nil {
				return fmt.Errorf("stream %d: %w", m.ready[i].stream.id, err)
			}
		}
		return nil
	})
	if errors.Is(err, ErrNoSpace) {
		return err // the hot blocks are where they were, and the next pass finds them
	}
	if err != nil {
		m.db.fail(fmt.Errorf("merge day %d: %w", day, err))
		return m.db.Err()
	}
	for _, d := range m.ready {
		d.stream.merged(d.hot)
	}
	clear(m.ready)
	m.ready, m.bytes = m.ready[:0], 0
	return nil
}

func (d *mergedDay) put(tx *bolt.Tx, days, rollups *bolt.Bucket) error {
	for part, b := range d.parts {
		if err := days.Put(partKey(d.stream.id, part), b); err != nil {
			return err
		}
	}
	if d.rollup != nil {
		if err := rollups.Put(key32(d.stream.id), d.rollup); err != nil {
			return err
		}
	}
	for _, h := range d.hot {
		if err := tx.Bucket(bucketHot).Delete(h.key(d.stream.id)); err != nil {
			return err
		}
	}
	return nil
}

// merged takes blocks off the list; a reader that has pinned them finds them in the day.
func (s *stream) merged(hot []hotRef) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hot = slices.DeleteFunc(s.hot, func(h hotRef) bool { return slices.Contains(hot, h) })
}

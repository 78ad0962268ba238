package tsdb

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"
)

const dayMS = 24 * 60 * 60 * 1000

// dayOf is the number of the day that holds a stamp. Day n ends at n·24 h, its last millisecond included, for PromQL's
// ranges are open at their left end: so no window of aggregates straddles two days.
func dayOf(ms int64) uint32 { return uint32((ms + dayMS - 1) / dayMS) }

// dayEnd is the last stamp of a day.
func dayEnd(day uint32) int64 { return int64(day) * dayMS }

// moreParts is the block flag of a day's part that another one follows.
const moreParts = 4

// partKey is the key of a part of a stream's day: the first one's is the stream's number alone.
func partKey(stream uint32, part int) []byte {
	k := key32(stream)
	if part > 0 {
		k = binary.BigEndian.AppendUint16(k, uint16(part))
	}
	return k
}

// dayPart is a run of rows: a block, or a segment that is still in memory.
type dayPart struct {
	number uint64 // rank among parts: what was stored first wins
	blk    block
	lo, hi int     // rows of blk that are read
	mem    *pinned // instead of blk
}

// dayRows are all rows that one stream has in one day, wherever they lie. It points into a transaction, and is to be
// used for one day after the other.
type dayRows struct {
	parts   []dayPart
	plan    plan
	stamps  [][]int64
	columns [][]float64
	raw     int // bytes of the blocks

	from, to int64 // rows of other times may be left out; to 0: none may
}

// forget lets go of everything but scratch.
func (d *dayRows) forget() {
	clear(d.parts[:cap(d.parts)])
	d.parts, d.plan.stamps = d.parts[:0], nil
}

// load finds the rows; hot and mem are those of the day.
func (d *dayRows) load(tx *bolt.Tx, dec *blockDecoder, s *stream, day uint32, hot []hotRef, mem []pinned) error {
	d.parts, d.raw = d.parts[:0], 0
	if err := d.merged(tx, s, day); err != nil {
		return err
	}
	merged := len(d.parts)
	for _, h := range hot {
		key := h.key(s.id)
		raw := tx.Bucket(bucketHot).Get(key)
		if raw == nil && merged > 0 {
			continue // it was merged since it was pinned
		}
		if err := d.add(h.number, key, raw); err != nil {
			return err
		}
	}
	for i := range mem {
		m := &mem[i]
		if m.block == nil {
			d.parts = append(d.parts, dayPart{number: m.number, mem: m})
		} else if err := d.add(m.number, m.key, m.block); err != nil {
			return err
		}
	}
	slices.SortStableFunc(d.parts, func(a, b dayPart) int { return cmp.Compare(a.number, b.number) })
	return d.order(dec)
}

// merged adds the day's own block, all of whose rows were stored before those of any other part.
func (d *dayRows) merged(tx *bolt.Tx, s *stream, day uint32) error {
	b := tx.Bucket(bucketDay).Bucket(key32(day))
	if b == nil {
		return nil
	}
	for part := 0; ; part++ {
		key := partKey(s.id, part)
		raw := b.Get(key)
		if raw == nil && part == 0 {
			return nil
		}
		if err := d.add(0, slices.Concat(bucketDay, key32(day), key), raw); err != nil {
			return err
		}
		if d.parts[len(d.parts)-1].blk.flags&moreParts == 0 {
			return nil
		}
	}
}

func (d *dayRows) add(number uint64, key, raw []byte) error {
	d.parts = append(d.parts, dayPart{number: number})
	d.raw += len(raw)
	return d.parts[len(d.parts)-1].blk.open(key, raw)
}

// order reads the stamps and plans.
func (d *dayRows) order(dec *blockDecoder) (err error) {
	for len(d.stamps) < len(d.parts) {
		d.stamps, d.columns = append(d.stamps, nil), append(d.columns, nil)
	}
	all := make([][]int64, len(d.parts))
	for i := range d.parts {
		p := &d.parts[i]
		if p.mem != nil {
			all[i] = p.mem.stamps
			continue
		}
		p.lo, p.hi = 0, p.blk.rows
		if d.to != 0 && len(d.parts) == 1 && p.blk.devs == nil && p.blk.step > 0 {
			p.lo, p.hi = p.blk.within(d.from, d.to)
			d.stamps[i] = p.blk.grid(d.stamps[i][:0], p.lo, p.hi)
		} else if d.stamps[i], err = dec.stamps(d.stamps[i][:0], &p.blk); err != nil {
			return err
		}
		all[i] = d.stamps[i]
	}
	d.plan.make(all)
	return nil
}

// column appends a series' values in the order of the plan, Absent where a row lacks it.
func (d *dayRows) column(dst []float64, dec *blockDecoder, e *entry) ([]float64, error) {
	var err error
	for _, i := range d.plan.seq {
		if dst, _, err = d.parts[i].values(dst, dec, e, true); err != nil {
			return dst, err
		}
	}
	if len(d.plan.seq) > 0 {
		return dst, nil
	}
	columns := make([][]float64, len(d.parts))
	for i := range d.parts {
		v, has, err := d.parts[i].values(d.columns[i][:0], dec, e, false)
		if err != nil {
			return dst, err
		}
		if d.columns[i] = v; has {
			columns[i] = v
		}
	}
	return d.plan.column(dst, columns), nil
}

// values appends the part's values of a series; where it has none, Absent for each row if fill is set.
func (p *dayPart) values(dst []float64, dec *blockDecoder, e *entry, fill bool) (out []float64, has bool, err error) {
	at, rows := 0, p.hi-p.lo
	if p.mem != nil {
		at, rows = e.at(p.mem.schema), len(p.mem.stamps)
	} else {
		at = p.blk.column(e)
	}
	switch {
	case at < 0 && fill:
		for range rows {
			dst = append(dst, Absent)
		}
	case at < 0:
	case p.mem != nil:
		if at >= p.mem.rows.columns {
			return dst, false, fmt.Errorf("row of %d columns lacks column %d: %w", p.mem.rows.columns, at, ErrCorrupt)
		}
		dst = p.mem.rows.column(dst, rows, at)
	default:
		dst, err = dec.valuesOf(dst, &p.blk, at, p.lo, p.hi)
	}
	return dst, at >= 0, err
}

// keyDay is the day that is the key of a bucket.
func keyDay(k []byte) uint32 { return binary.BigEndian.Uint32(k) }

package tsdb

import (
	"context"
	"fmt"
	"iter"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// Rollup walks the series that match all matchers, in no given order, with their windows that end in (from, to] (ms).
// What it says is exact: it comes from stored aggregates where a day is merged, and from the rows elsewhere.
func (db *DB) Rollup(ctx context.Context, from, to int64, matchers ...Matcher) iter.Seq2[Windows, error] {
	return func(yield func(Windows, error) bool) {
		tasks := db.tasks(from+1, to, matchers)
		each(ctx, db.o.ReadWorkers, len(tasks), func() func(int) ([]Windows, error) {
			x := rollupScan{scan: scan{db: db, from: from + 1, to: to}}
			return func(i int) ([]Windows, error) { return x.run(ctx, tasks[i]) }
		}, yield)
	}
}

// rollupScan reads the aggregates of one task after the other; it is not for concurrent use.
type rollupScan struct {
	scan
	blk     block
	axis    windows
	one     windows
	windows int // at most, of each series
	column  []float64
}

func (x *rollupScan) run(ctx context.Context, t task) ([]Windows, error) {
	out := make([]Windows, len(t))
	for i, e := range t {
		out[i] = Windows{Series: e.series, Raw: isCounter(e.series.Name)}
	}
	switch {
	case len(t) > 1 && t[0].stream != t[1].stream:
		out = out[:1]
		out[0].Raw = true
	case t[0].stream.def.Sparse:
		for i := range out {
			out[i].Raw = true
		}
	default:
		if err := x.stream(ctx, t, out); err != nil {
			return nil, fmt.Errorf("aggregates: %w", err)
		}
	}
	return slices.DeleteFunc(out, func(w Windows) bool { return !w.Raw && len(w.At) == 0 }), nil
}

func (x *rollupScan) stream(ctx context.Context, t task, out []Windows) error {
	s := t[0].stream
	mem, hot := s.pin(x.from, x.to)
	first, last := s.span()
	x.windows = int(max(0, windowEnd(min(x.to, last))-max(x.from, first))/RollupStep) + 1
	day, end := dayOf(max(x.from, first)), dayOf(min(x.to, last))
	for day <= end {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := view(x.db.ddb, func(tx *bolt.Tx) error {
			entries := x.db.catalog.now(t)
			readAhead(tx, bucketRollup, s, day, end)
			for n := 0; n < daysAtOnce && day <= end; n, day = n+1, day+1 {
				h, m := ofDay(hot, day), ofDay(mem, day)
				found, err := x.stored(tx, s, day, entries, out, len(h)+len(m) > 0)
				if err == nil && !found {
					err = x.fromRows(tx, s, day, h, m, entries, out)
				}
				if err != nil {
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

// open opens the day's aggregates, if they are there.
func (x *rollupScan) open(tx *bolt.Tx, s *stream, day uint32) (bool, error) {
	b := tx.Bucket(bucketRollup).Bucket(key32(day))
	if b == nil {
		return false, nil
	}
	raw := b.Get(key32(s.id))
	if raw == nil {
		return false, nil
	}
	if err := x.blk.open(dayKey(bucketRollup, day, s.id, 0), raw); err != nil {
		return false, err
	}
	if x.blk.flags&blockRollup == 0 {
		return false, fmt.Errorf("block %x: no aggregates: %w", x.blk.key, ErrCorrupt)
	}
	return true, nil
}

// stored takes the day's aggregates, if they are there and nothing came in after them.
func (x *rollupScan) stored(tx *bolt.Tx, s *stream, day uint32, entries []entry, out []Windows, later bool) (bool, error) {
	if later && !x.db.rawDropped(tx, s, day) {
		return false, nil
	}
	if found, err := x.open(tx, s, day); err != nil || !found {
		return false, err
	}
	x.axis.reset()
	var err error
	if x.axis.at, err = x.dec.stamps(x.axis.at, &x.blk); err != nil {
		return false, err
	}
	if x.axis.count, err = x.dec.values(x.axis.count, &x.blk, x.blk.columns); err != nil {
		return false, err
	}
	for i := range entries {
		at := x.blk.column(&entries[i])
		if at < 0 {
			continue
		}
		kind, err := x.dec.rollupColumn(&x.one, &x.blk, at, x.axis.count)
		if err != nil {
			return false, err
		}
		out[i].room(kind, x.windows)
		out[i].take(x.axis.at, &x.one, kind, x.from-1, x.to)
	}
	return true, nil
}

// fromRows works the windows out.
func (x *rollupScan) fromRows(tx *bolt.Tx, s *stream, day uint32, hot []hotRef, mem []pinned, entries []entry, out []Windows) (err error) {
	if err := x.day.load(tx, &x.dec, s, day, hot, mem); err != nil || len(x.day.parts) == 0 {
		return err
	}
	x.axis.axis(x.day.plan.stamps)
	for i := range entries {
		if x.column, err = x.day.column(x.column[:0], &x.dec, &entries[i]); err != nil {
			return err
		}
		x.one.fill(&x.axis, x.column)
		kind := byte(rollGauge)
		if out[i].Raw {
			kind = rollCounter
		}
		out[i].room(kind, x.windows)
		out[i].take(x.axis.at, &x.one, kind, x.from-1, x.to)
	}
	return nil
}

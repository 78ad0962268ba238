package tsdb

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	bolt "go.etcd.io/bbolt"

	"xunjian/pkg/metric"
)

// Last calls fn with each series in the newest row of each stream, ordered by stream. A stream that has fallen
// silent still has its newest row: atMS tells.
func (db *DB) Last(fn func(series metric.Series, atMS int64, v float64)) error {
	streams := db.catalog.allStreams()
	slices.SortFunc(streams, func(a, b *stream) int { return cmp.Compare(a.id, b.id) })
	for _, s := range streams {
		row, err := db.lastRow(s)
		if err != nil {
			return err
		}
		if row.schema == nil {
			continue
		}
		for i, series := range db.catalog.fullSeries(s, row.schema.id) {
			if v := row.values[i]; !math.IsNaN(v) { // markers of the end are none to show
				fn(series, row.ms, v)
			}
		}
	}
	return nil
}

// lastRow copies the newest row of a stream, looking for it on disk when nothing came since the start.
func (db *DB) lastRow(s *stream) (lastRow, error) {
	s.mu.Lock()
	row := s.last
	row.values = slices.Clone(row.values)
	hot := slices.Clone(s.hot)
	s.mu.Unlock()
	if row.values != nil || len(hot) == 0 {
		return row, nil
	}
	row, err := db.lastOnDisk(s, hot, row.ms)
	if err != nil {
		return lastRow{}, fmt.Errorf("last row of stream %d: %w", s.id, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last.values == nil {
		s.last = row
		row.values = slices.Clone(row.values)
	}
	return row, nil
}

// lastOnDisk finds the row of a time in the blocks that may hold it, which are few.
func (db *DB) lastOnDisk(s *stream, hot []hotRef, ms int64) (row lastRow, err error) {
	var d blockDecoder
	for i := len(hot) - 1; i >= 0 && row.values == nil; i-- {
		if start := int64(hot[i].start) * 1000; start > ms || start+1000+db.readSpan < ms {
			continue
		}
		if row, err = db.rowAt(&d, hot[i].key(s.id), ms); err != nil {
			return row, err
		}
	}
	return row, nil
}

func (db *DB) rowAt(d *blockDecoder, key []byte, ms int64) (row lastRow, err error) {
	var raw []byte
	if err = view(db.ddb, func(tx *bolt.Tx) error {
		raw = slices.Clone(tx.Bucket(bucketHot).Get(key))
		return nil
	}); err != nil {
		return row, err
	}
	b, err := openBlock(key, raw)
	if err != nil {
		return row, err
	}
	stamps, err := d.stamps(nil, &b)
	if err != nil {
		return row, err
	}
	at, ok := slices.BinarySearch(stamps, ms)
	sc := db.catalog.schemaByID(b.schema)
	if !ok || sc == nil || len(sc.series) != len(b.columns) {
		return row, nil
	}
	row = lastRow{ms: ms, schema: sc, values: make([]float64, len(sc.series))}
	var column []float64
	for c := range row.values {
		if column, err = d.values(column[:0], &b, c); err != nil {
			return lastRow{}, err
		}
		row.values[c] = column[at]
	}
	return row, nil
}

func (c *catalog) schemaByID(id uint32) *schema {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.schemaID[id]
}

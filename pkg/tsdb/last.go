package tsdb

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

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
		for i, e := range db.catalog.entriesOf(s, row.schema.id) {
			if v := row.values[i]; !math.IsNaN(v) { // markers of the end are none to show
				fn(e.series, row.ms, v)
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
	schema := s.schemaAt(row.ms)
	s.mu.Unlock()
	if row.values != nil || schema == 0 {
		return row, nil
	}
	row, err := db.lastOnDisk(s, schema, row.ms)
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

// schemaAt is the schema whose last row is of that time, 0 when there is none; under mu.
func (s *stream) schemaAt(ms int64) uint32 {
	for id, u := range s.used {
		if u.Last == ms {
			return id
		}
	}
	return 0
}

// lastOnDisk reads the row of a time.
func (db *DB) lastOnDisk(s *stream, schema uint32, ms int64) (row lastRow, err error) {
	sc, entries := db.catalog.schemaByID(schema), db.catalog.entriesOf(s, schema)
	x := scan{db: db, from: ms, to: ms}
	err = x.eachDay(context.Background(), s, entries, func(now []entry) error {
		at, ok := slices.BinarySearch(x.day.plan.stamps, ms)
		if !ok {
			return nil
		}
		row = lastRow{ms: ms, schema: sc, values: make([]float64, len(now))}
		var column []float64
		for i := range now {
			var err error
			if column, err = x.day.column(column[:0], &x.dec, &now[i]); err != nil {
				return err
			}
			row.values[i] = column[at]
		}
		return nil
	})
	return row, err
}

func (c *catalog) schemaByID(id uint32) *schema {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.schemaID[id]
}

package tsdb

import (
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// forgetOld takes streams and schemas out of the index whose last row is older than anything that is kept. It works
// on opening, when nobody can be about to use them, and spares what the journal still speaks of: its numbers must go
// on meaning the same.
func (db *DB) forgetOld(uses map[*stream][]schemaUse) error {
	newest := db.newest()
	for _, list := range uses {
		for _, u := range list {
			newest = max(newest, u.Last)
		}
	}
	if newest == 0 {
		return nil
	}
	now := time.UnixMilli(min(newest, db.o.Now().UnixMilli())) // as in retain: never by the clock alone
	var gone [][]byte
	for s, list := range uses {
		if len(s.hot) > 0 {
			continue // its blocks are yet to be merged, which takes their schemas
		}
		horizon := dayEnd(dropBefore(now, db.o.RetainRollup))
		if s.def.Sparse { // of which there are no aggregates
			horizon = dayEnd(dropBefore(now, db.o.Retain))
		}
		kept := list[:0]
		for _, u := range list {
			if u.Last > horizon {
				kept = append(kept, u)
			}
		}
		if uses[s] = kept; len(kept) > 0 || len(s.schemas) > 0 || db.dirty.streams[s] {
			continue
		}
		delete(uses, s)
		delete(db.catalog.streams, s.def.key())
		delete(db.catalog.byID, s.id)
		gone = append(gone, key32(s.id))
	}
	return db.deleteRecords(bucketStreams, gone)
}

// forgetSchemas takes out those that no stream uses.
func (db *DB) forgetSchemas() error {
	c, used := db.catalog, map[uint32]bool{}
	for _, s := range c.byID {
		for _, id := range s.schemas {
			used[id] = true
		}
	}
	var gone [][]byte
	for id, sc := range c.schemaID {
		if !used[id] && !db.dirty.schemas[sc] {
			delete(c.schemaID, id)
			delete(c.schemas, hashSchema(sc.series))
			delete(db.schemaWritten, id)
			gone = append(gone, key32(id))
		}
	}
	return db.deleteRecords(bucketSchemas, gone)
}

func (db *DB) deleteRecords(bucket []byte, keys [][]byte) error {
	if len(keys) == 0 {
		return nil
	}
	err := db.ddb.Update(func(tx *bolt.Tx) error {
		for _, k := range keys {
			if err := tx.Bucket(bucket).Delete(k); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("forget %d old %s: %w", len(keys), bucket, err)
	}
	return nil
}

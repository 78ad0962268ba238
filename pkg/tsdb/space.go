package tsdb

import (
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// Space is what the pages of data.db hold, in bytes of whole pages.
type Space struct {
	File       int64 // as long as the file is; bbolt adds 16 MiB at a time
	Days       int64 // column blocks of days that are over
	Aggregates int64 // 5-minute aggregates and sketches of days
	Hot        int64 // small blocks of days that are not merged
	Free       int64 // pages given back, for what comes next
	Unused     int64 // behind the last page that ever held anything
}

// Space looks at all pages but those that only hold the rest of a block, so it takes a while in a large file that no cache holds.
func (db *DB) Space() (s Space, err error) {
	s.File = fileSize(db.ddb)
	err = view(db.ddb, func(tx *bolt.Tx) error {
		for _, b := range []struct {
			name []byte
			into *int64
		}{{bucketDay, &s.Days}, {bucketRollup, &s.Aggregates}, {bucketHot, &s.Hot}} {
			pages := tx.Bucket(b.name).Stats()
			*b.into = int64(pages.BranchAlloc + pages.LeafAlloc)
		}
		free := db.ddb.Stats()
		s.Unused = max(0, s.File-tx.Size())
		s.Free = int64(free.FreePageN+free.PendingPageN) * int64(db.ddb.Info().PageSize)
		return nil
	})
	if err != nil {
		return s, fmt.Errorf("weigh %s: %w", dataFile, err)
	}
	return s, nil
}

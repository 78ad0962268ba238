package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime/debug"

	bolt "go.etcd.io/bbolt"
)

// catch is for deferring around reads of a memory map: a fault of the disk under it, or damage that bbolt throws at,
// becomes ErrCorrupt.
func catch(path string, err *error) func() {
	before := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(before)
		if r := recover(); r != nil {
			*err = fmt.Errorf("read %s: %v: %w", path, r, ErrCorrupt)
		}
	}
}

// verify checks the checksum of every record.
func (db *DB) verify() error {
	return View(db.bolt, func(tx *bolt.Tx) error {
		return tx.ForEach(func(table []byte, b *bolt.Bucket) error {
			if bytes.Equal(table, metaBucket) {
				return nil
			}
			return b.ForEach(func(k, raw []byte) error {
				switch {
				case len(raw) < 5 || binary.LittleEndian.Uint32(raw[1:]) != checksum(string(k), raw[5:]):
					return fmt.Errorf("record %s %q: checksum: %w", table, k, ErrCorrupt)
				case raw[0] > recordVersion:
					return fmt.Errorf("record %s %q: version %d, this program knows up to %d: %w", table, k, raw[0], recordVersion, ErrNewer)
				case raw[0] < recordVersion:
					return fmt.Errorf("record %s %q: version %d: %w", table, k, raw[0], ErrCorrupt)
				}
				return nil
			})
		})
	})
}

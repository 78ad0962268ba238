package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// catch is for deferring around reads of a memory map: a fault of the disk under it, or damage that bbolt throws at,
// becomes ErrCorrupt.
func catch(path string, err *error) func() {
	before := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(before)
		if r := recover(); r != nil {
			*err = fmt.Errorf("read %s: %v (%s): %w", path, r, thrower(), ErrCorrupt)
		}
	}
}

// thrower is the line that panicked: where it is none of bbolt's, the fault may be the program's own.
func thrower() string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for within := false; ; {
		f, more := frames.Next()
		inRuntime := strings.HasPrefix(f.Function, "runtime.")
		if within && !inRuntime || !more {
			return fmt.Sprintf("%s:%d", filepath.Base(f.File), f.Line)
		}
		within = within || inRuntime
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

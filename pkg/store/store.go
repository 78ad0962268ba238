// Package store keeps typed, checksummed tables of small records in one bbolt file.
package store

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Schema is the version of the records file that this program writes. A file with a newer one is refused.
const Schema = 1

// Sentinels that callers branch on.
var (
	ErrNotFound = errors.New("not found")
	ErrCorrupt  = errors.New("data are damaged")
	ErrLocked   = errors.New("another process holds the file")
	ErrNewer    = errors.New("file was written by a newer version")
)

// DB is one open records file. Transactions are small functions that may be run again; none may be held
// across a send, a callback or a second transaction.
type DB struct {
	bolt *bolt.DB
	path string

	once    sync.Once
	failed  chan struct{}
	failure error // before failed is closed
}

// Tx is a transaction: a read-only view or the one writer.
type Tx struct{ tx *bolt.Tx }

// Options tunes Open.
type Options struct {
	LockTimeout time.Duration // how long to wait for another process; default 1 s
	ReadOnly    bool
}

var (
	metaBucket = []byte("meta")
	schemaKey  = []byte("schema")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// Open opens or makes the file. A file that is there is checked whole, pages and every record. Open fails with
// ErrLocked, ErrNewer or ErrCorrupt (wrapped, naming the file) and never replaces a file that it cannot read.
func Open(path string, o Options) (*DB, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open records: %w", err)
	}
	b, err := openOrMake(path, recordsOptions(o))
	if err != nil {
		return nil, refused(err, dir)
	}
	db := &DB{bolt: b, path: path, failed: make(chan struct{})}
	err = db.checkSchema(o.ReadOnly)
	if err == nil {
		if err = db.verify(); err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
	}
	if err != nil {
		return nil, errors.Join(refused(err, dir), b.Close())
	}
	return db, nil
}

func recordsOptions(o Options) bolt.Options {
	if o.LockTimeout == 0 {
		o.LockTimeout = time.Second
	}
	return bolt.Options{Timeout: o.LockTimeout, ReadOnly: o.ReadOnly, FreelistType: bolt.FreelistMapType, InitialMmapSize: 256 << 20}
}

func openOrMake(path string, o bolt.Options) (*bolt.DB, error) {
	b, err := OpenBolt(path, o)
	if errors.Is(err, os.ErrNotExist) && !o.ReadOnly {
		return bolt.Open(path, 0o600, &o)
	}
	return b, err
}

// refused names the remedy where there is one.
func refused(err error, dir string) error {
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("open records: %w: %w", ErrLocked, err)
	case errors.Is(err, ErrCorrupt):
		return fmt.Errorf("open records: %w; %s", err, Remedy(dir))
	}
	return fmt.Errorf("open records: %w", err)
}

// checkSchema writes only into a new file: a program that starts on a full disk must be able to read.
func (db *DB) checkSchema(readOnly bool) error {
	fresh := false
	err := db.bolt.View(func(tx *bolt.Tx) error {
		m := tx.Bucket(metaBucket)
		if m == nil {
			fresh = !readOnly
			return map[bool]error{false: fmt.Errorf("%s: no schema version: %w", db.path, ErrCorrupt)}[fresh]
		}
		v, err := strconv.Atoi(string(m.Get(schemaKey)))
		if err != nil {
			return fmt.Errorf("%s: schema version unreadable: %w", db.path, ErrCorrupt)
		}
		if v > Schema {
			return fmt.Errorf("%s: schema %d, this program knows up to %d: %w; run the newer program", db.path, v, Schema, ErrNewer)
		}
		return nil
	})
	if err != nil || !fresh {
		return err
	}
	return Update(db.bolt, func(tx *bolt.Tx) error {
		m, err := tx.CreateBucket(metaBucket)
		if err != nil {
			return err
		}
		return m.Put(schemaKey, []byte(strconv.Itoa(Schema)))
	})
}

// Close releases the file.
func (db *DB) Close() error { return db.bolt.Close() }

// Path is the file's name.
func (db *DB) Path() string { return db.path }

// Update runs fn in a write transaction; it is durable when Update returns nil. ErrNoSpace may be tried again; after
// ErrFailed no transaction is taken any more.
func (db *DB) Update(fn func(*Tx) error) error {
	if err := db.Err(); err != nil {
		return err
	}
	err := Update(db.bolt, func(tx *bolt.Tx) error { return fn(&Tx{tx}) })
	if errors.Is(err, ErrFailed) {
		db.once.Do(func() {
			db.failure = fmt.Errorf("%s: %w", db.path, err)
			close(db.failed)
		})
	}
	return err
}

// Failed is closed after a failure that only opening the file anew can mend; Err says which.
func (db *DB) Failed() <-chan struct{} { return db.failed }

// Err is the failure after which nothing is written any more, nil while all is well.
func (db *DB) Err() error {
	select {
	case <-db.failed:
		return db.failure
	default:
		return nil
	}
}

// View runs fn in a read transaction.
func (db *DB) View(fn func(*Tx) error) error {
	return db.bolt.View(func(tx *bolt.Tx) error { return fn(&Tx{tx}) })
}

// Table is a named set of records of one type under string keys in byte order.
type Table[V any] struct{ name string }

// NewTable names a table; it comes into being with its first record.
func NewTable[V any](name string) Table[V] { return Table[V]{name} }

// Get reads one record; ErrNotFound, or ErrCorrupt naming table and key.
func (t Table[V]) Get(tx *Tx, key string) (V, error) {
	var zero V
	b := tx.tx.Bucket([]byte(t.name))
	if b == nil {
		return zero, fmt.Errorf("%s %q: %w", t.name, key, ErrNotFound)
	}
	raw := b.Get([]byte(key))
	if raw == nil {
		return zero, fmt.Errorf("%s %q: %w", t.name, key, ErrNotFound)
	}
	return t.decode(key, raw)
}

// Put writes one record.
func (t Table[V]) Put(tx *Tx, key string, v V) error {
	b, err := tx.tx.CreateBucketIfNotExists([]byte(t.name))
	if err != nil {
		return fmt.Errorf("table %s: %w", t.name, err)
	}
	raw, err := t.encode(key, v)
	if err != nil {
		return err
	}
	if err := b.Put([]byte(key), raw); err != nil {
		return fmt.Errorf("%s %q: %w", t.name, key, err)
	}
	return nil
}

// Delete removes a record; a missing one is no error.
func (t Table[V]) Delete(tx *Tx, key string) error {
	b := tx.tx.Bucket([]byte(t.name))
	if b == nil {
		return nil
	}
	return b.Delete([]byte(key))
}

// NextSequence is the table's own counter, from 1; it moves only when the transaction commits.
func (t Table[V]) NextSequence(tx *Tx) (uint64, error) {
	b, err := tx.tx.CreateBucketIfNotExists([]byte(t.name))
	if err != nil {
		return 0, fmt.Errorf("table %s: %w", t.name, err)
	}
	return b.NextSequence()
}

// Entry is a key with its record.
type Entry[V any] struct {
	Key   string
	Value V
}

// Scan walks keys ≥ from in order; the second value is the damage of that record, if any. The walk must end
// before the transaction does, and the table must not be changed during it.
func (t Table[V]) Scan(tx *Tx, from string) iter.Seq2[Entry[V], error] {
	return func(yield func(Entry[V], error) bool) {
		b := tx.tx.Bucket([]byte(t.name))
		if b == nil {
			return
		}
		c := b.Cursor()
		for k, raw := c.Seek([]byte(from)); k != nil; k, raw = c.Next() {
			v, err := t.decode(string(k), raw)
			if !yield(Entry[V]{string(k), v}, err) {
				return
			}
		}
	}
}

// Under walks the keys that begin with a prefix, otherwise as Scan: damage behind them is not met.
func (t Table[V]) Under(tx *Tx, prefix string) iter.Seq2[Entry[V], error] {
	return func(yield func(Entry[V], error) bool) {
		for e, err := range t.Scan(tx, prefix) {
			if !strings.HasPrefix(e.Key, prefix) || !yield(e, err) {
				return
			}
		}
	}
}

// All reads the whole table, stopping at the first damaged record.
func (t Table[V]) All(tx *Tx) ([]Entry[V], error) {
	var out []Entry[V]
	for e, err := range t.Scan(tx, "") {
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// encode: version byte, CRC32C over key and body, JSON body. bbolt has no checksum on its data pages.
const recordVersion = 1

func (t Table[V]) encode(key string, v V) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %s %q: %w", t.name, key, err)
	}
	raw := make([]byte, 5, 5+len(body))
	raw[0] = recordVersion
	binary.LittleEndian.PutUint32(raw[1:], checksum(key, body))
	return append(raw, body...), nil
}

func (t Table[V]) decode(key string, raw []byte) (V, error) {
	var v V
	if len(raw) < 5 || raw[0] != recordVersion || binary.LittleEndian.Uint32(raw[1:]) != checksum(key, raw[5:]) {
		return v, fmt.Errorf("%s %q: %w", t.name, key, ErrCorrupt)
	}
	if err := json.Unmarshal(raw[5:], &v); err != nil {
		return v, fmt.Errorf("%s %q: %w: %w", t.name, key, ErrCorrupt, err)
	}
	return v, nil
}

func checksum(key string, body []byte) uint32 {
	return crc32.Update(crc32.Checksum([]byte(key), castagnoli), castagnoli, body)
}

package tsdb

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// Small records in data.db: version, CRC32C over key and body, body as JSON.
const recordVersion = 1

func packRecord(key []byte, v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("pack record: %w", err)
	}
	raw := make([]byte, 5, 5+len(body))
	raw[0] = recordVersion
	binary.LittleEndian.PutUint32(raw[1:], checksum(key, body))
	return append(raw, body...), nil
}

// verifyRecord checks every byte of a record.
func verifyRecord(key, raw []byte) error {
	switch {
	case len(raw) < 5:
		return fmt.Errorf("record of %d bytes: %w", len(raw), ErrCorrupt)
	case raw[0] > recordVersion:
		return fmt.Errorf("record version %d, this program knows up to %d: %w", raw[0], recordVersion, ErrNewer)
	case binary.LittleEndian.Uint32(raw[1:]) != checksum(key, raw[5:]):
		return fmt.Errorf("record checksum: %w", ErrCorrupt)
	}
	return nil
}

func unpackRecord(key, raw []byte, v any) error {
	if err := verifyRecord(key, raw); err != nil {
		return err
	}
	if err := json.Unmarshal(raw[5:], v); err != nil {
		return fmt.Errorf("record: %w: %w", ErrCorrupt, err)
	}
	return nil
}

// eachRecord unpacks a whole bucket of records.
func eachRecord[V any](tx *bolt.Tx, bucket []byte, fn func(key []byte, v V) error) error {
	b := tx.Bucket(bucket)
	if b == nil {
		return fmt.Errorf("no bucket %s: %w", bucket, ErrCorrupt)
	}
	return b.ForEach(func(k, raw []byte) error {
		var v V
		if err := unpackRecord(k, raw, &v); err != nil {
			return fmt.Errorf("%s %x: %w", bucket, k, err)
		}
		return fn(k, v)
	})
}

func key32(id uint32) []byte { return binary.BigEndian.AppendUint32(nil, id) }
func key64(n uint64) []byte  { return binary.BigEndian.AppendUint64(nil, n) }

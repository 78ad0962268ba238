package store

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"syscall"

	bolt "go.etcd.io/bbolt"
)

// compactSuffix is of a file that is being made in place of another. One that is left over is worth nothing.
const compactSuffix = ".compact"

// compactTx bounds the transactions of a compaction.
const compactTx = 16 << 20

// Wasteful says whether an open file is longer than above, and more than half of it free.
func Wasteful(b *bolt.DB, above int64) bool {
	size, free := sizes(b)
	return size > above && 2*free > size
}

func sizes(b *bolt.DB) (size, free int64) {
	_ = b.View(func(tx *bolt.Tx) error { size = tx.Size(); return nil })
	return size, int64(b.Stats().FreePageN) * int64(b.Info().PageSize)
}

// Compact makes a file that nobody has open anew, without its free pages. The new one is compared with the old one and on
// disk before it takes its place in one step; whenever the machine stops, one whole file is there.
func Compact(path string, o bolt.Options) (before, after int64, err error) {
	src, err := OpenBolt(path, o)
	if err != nil {
		return 0, 0, fmt.Errorf("compact: %w", err)
	}
	defer func() { err = errors.Join(err, src.Close()) }() // until then nobody else gets the lock of the old file
	fresh := path + compactSuffix
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, 0, fmt.Errorf("compact: %w", err)
	}
	size, free := sizes(src)
	if err := roomFor(filepath.Dir(path), size-free); err != nil {
		return size, size, fmt.Errorf("compact %s: %w", path, err)
	}
	after, err = rewrite(fresh, src, o)
	if err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		return size, size, errors.Join(fmt.Errorf("compact %s: %w", path, err), os.Remove(fresh))
	}
	return size, after, SyncDir(filepath.Dir(path))
}

func roomFor(dir string, need int64) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return err
	}
	if free := int64(st.Bavail) * st.Bsize; free < need+need/10 {
		return fmt.Errorf("%w: %d MiB are needed, %d are free", ErrNoSpace, need>>20, free>>20)
	}
	return nil
}

// rewrite copies what is in use and sees that the copy says the same.
func rewrite(fresh string, src *bolt.DB, o bolt.Options) (size int64, err error) {
	defer catch(src.Path(), &err)()
	o.NoSync, o.NoGrowSync, o.OpenFile, o.ReadOnly = true, true, nil, false // it is worth nothing before the sync at the end
	dst, err := bolt.Open(fresh, 0o600, &o)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	if err := bolt.Compact(dst, src, compactTx); err != nil {
		return 0, err
	}
	if err := SameContents(src, dst); err != nil {
		return 0, err
	}
	size, _ = sizes(dst)
	return size, dst.Sync()
}

// SameContents compares all that two files say, wherever it stands in them.
func SameContents(one, two *bolt.DB) error {
	a, err := contents(one)
	if err != nil {
		return err
	}
	b, err := contents(two)
	if err != nil {
		return err
	}
	if a != b {
		return fmt.Errorf("the copy differs: %w", ErrCorrupt)
	}
	return nil
}

// contents is a sum over all that a file says, wherever it stands in it.
func contents(b *bolt.DB) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	err = b.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, in *bolt.Bucket) error { return sumBucket(h, name, in) })
	})
	h.Sum(sum[:0])
	return sum, err
}

func sumBucket(h hash.Hash, name []byte, b *bolt.Bucket) error {
	piece := func(kind byte, raw []byte) {
		var head [9]byte
		head[0] = kind
		binary.LittleEndian.PutUint64(head[1:], uint64(len(raw)))
		h.Write(head[:])
		h.Write(raw)
	}
	piece('b', name)
	piece('s', binary.LittleEndian.AppendUint64(nil, b.Sequence()))
	err := b.ForEach(func(k, v []byte) error {
		if v == nil {
			return sumBucket(h, k, b.Bucket(k))
		}
		piece('k', k)
		piece('v', v)
		return nil
	})
	piece('e', nil)
	return err
}

// CompactRecords makes a records file that nobody has open anew.
func CompactRecords(path string) (before, after int64, err error) {
	return Compact(path, recordsOptions(Options{}))
}

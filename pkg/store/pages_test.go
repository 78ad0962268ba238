package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// key is n in so many bytes, big-endian.
func key(size int, n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n)[8-size:] }

// readUsed reads the part of a file that its pages take.
func readUsed(t testing.TB, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, err := Used(f)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, n)
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

func FuzzCheckPages(f *testing.F) {
	path := filepath.Join(f.TempDir(), "small")
	b, err := bolt.Open(path, 0o600, &bolt.Options{PageSize: 1024})
	if err != nil {
		f.Fatal(err)
	}
	err = b.Update(func(tx *bolt.Tx) error {
		top, err := tx.CreateBucket([]byte("a"))
		if err != nil {
			return err
		}
		in, err := top.CreateBucket([]byte("inner"))
		if err != nil {
			return err
		}
		for i := range 100 {
			err = errors.Join(err, in.Put(key(4, uint64(i)), make([]byte, 30)), top.Put(key(8, uint64(i)), nil))
		}
		return err
	})
	if err = errors.Join(err, b.Close()); err != nil {
		f.Fatal(err)
	}
	whole := readUsed(f, path)
	if err := CheckPages(bytes.NewReader(whole), int64(len(whole))); err != nil {
		f.Fatal(err)
	}
	f.Add(len(whole)-1, byte(1), 4000, uint64(3))
	f.Fuzz(func(t *testing.T, at int, flip byte, word int, value uint64) {
		b := bytes.Clone(whole)
		b[uint(at)%uint(len(b))] ^= flip
		binary.LittleEndian.PutUint64(b[uint(word)%uint(len(b)-8):], value)
		_ = CheckPages(bytes.NewReader(b), int64(len(b))) // must return
	})
}

// TestPageInTwoPlaces: two buckets that share their pages would be written through each other.
func TestPageInTwoPlaces(t *testing.T) {
	b, err := bolt.Open(filepath.Join(t.TempDir(), "b"), 0o600, &bolt.Options{PageSize: 4096})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var roots [2]uint64
	if err := b.Update(func(tx *bolt.Tx) error {
		for _, name := range []string{"one", "two"} {
			in, err := tx.CreateBucket([]byte(name))
			if err != nil {
				return err
			}
			for i := range 100 {
				if err := in.Put(key(8, uint64(i)), make([]byte, 100)); err != nil {
					return err
				}
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := b.View(func(tx *bolt.Tx) error {
		roots = [2]uint64{uint64(tx.Bucket([]byte("one")).Root()), uint64(tx.Bucket([]byte("two")).Root())}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	raw := readUsed(t, b.Path())
	if err := CheckPages(bytes.NewReader(raw), int64(len(raw))); err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	old, twice := le.AppendUint64([]byte("two"), roots[1]), le.AppendUint64([]byte("two"), roots[0])
	if raw = bytes.ReplaceAll(raw, old, twice); !bytes.Contains(raw, twice) {
		t.Fatal("the bucket was not found")
	}
	if err := CheckPages(bytes.NewReader(raw), int64(len(raw))); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("checked with %v", err)
	}
}

// TestWarmReadsOneBucket: each node of the bucket is read, which shows where one is torn, and no other bucket's.
func TestWarmReadsOneBucket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "b")
	b, err := bolt.Open(path, 0o600, &bolt.Options{PageSize: 4096})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	warm := func(name string) error {
		return b.View(func(tx *bolt.Tx) error { return Warm(tx.Bucket([]byte(name))) })
	}
	if err := b.Update(func(tx *bolt.Tx) error {
		for _, name := range []string{"one", "other", "within its parent"} {
			in, err := tx.CreateBucket([]byte(name))
			for i := uint64(0); i < 600 && err == nil && name != "within its parent"; i++ {
				err = in.Put(key(8, i), bytes.Repeat([]byte(name[:3]), 1000)) // a leaf for two, so that branches have branches below them
			}
			if err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one", "other", "within its parent"} {
		if err := warm(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	torn := int64(bytes.Index(readUsed(t, path), append(key(8, 300), "oneone"...))) // the first of its leaf
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(make([]byte, 8), torn/4096*4096); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(warm("other"), warm("within its parent")); err != nil {
		t.Error(err)
	}
	if err := warm("one"); err == nil {
		t.Error("a leaf that is torn was not read")
	}
}

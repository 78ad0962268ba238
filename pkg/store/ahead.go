package store

import (
	"errors"
	"fmt"
	"io"
	"os"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// Warm has the first page of each node of a bucket in memory, all children of a branch asked for at once: what walks them
// afterwards in a write transaction then waits for no disk, and nobody waits for it.
func Warm(b *bolt.Bucket) (err error) {
	if b.Root() == 0 {
		return nil // it lies within its parent's page
	}
	tx := b.Tx()
	f, err := os.Open(tx.DB().Path())
	if err != nil {
		return fmt.Errorf("read ahead: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size := int64(tx.DB().Info().PageSize)
	c := &pageCheck{f: f, size: tx.Size(), ahead: aheadOf(f), meta: pageMeta{pageSize: size, pages: uint64(tx.Size() / size)}}
	c.used = make([]uint64, c.meta.pages/64+1)
	return c.tree(uint64(b.Root()), nil, nil, 0)
}

// aheadOf asks the kernel to read parts of a file that will be wanted soon; nil for what is no file.
func aheadOf(r io.ReaderAt) func(off, n int64) {
	f, ok := r.(*os.File)
	if !ok {
		return nil
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return nil
	}
	return func(off, n int64) {
		_ = raw.Control(func(fd uintptr) { _ = unix.Fadvise(int(fd), off, n, unix.FADV_WILLNEED) })
	}
}

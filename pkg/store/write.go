package store

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	bolt "go.etcd.io/bbolt"
)

// Failures of writing.
var (
	// ErrNoSpace: the disk had no room for a write, or took none. The file is as it was before, and a later try may do.
	ErrNoSpace = errors.New("no room on the disk")
	// ErrFailed: what the disk holds is not known. The handle must not be written again: end the process, so that the
	// file is checked when it is opened anew.
	ErrFailed = errors.New("write has failed, the file must be opened anew")
)

// readOnly is a flag of Statfs.
const readOnly = 1

// Update runs a write transaction of a bbolt file and tells the two kinds of failure apart. An error of fn is given
// back as it is; nothing was written then.
//
// bbolt writes data pages, syncs, writes the meta page, syncs. Pages go to free places of the file only, so a write that
// finds no room leaves everything that the meta page reaches as it was, and bbolt takes its free list back. After
// a failed sync nobody knows: the kernel may have dropped the pages and call them clean, so a second try would succeed
// without them being on disk.
func Update(b *bolt.DB, fn func(*bolt.Tx) error) error {
	var mine error
	var id int
	var path string // Close clears it, and waits for the transaction only
	err := b.Update(func(tx *bolt.Tx) error {
		id, path = tx.ID(), b.Path()
		mine = fn(tx)
		return mine
	})
	switch {
	case err == nil:
		return stillWritable(path)
	case mine != nil || id == 0: // id: it did not begin
		return err
	case noRoom(err) && untouched(b, id):
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	default:
		return fmt.Errorf("%w: %w", ErrFailed, err)
	}
}

// noRoom tells a write that the disk refused from a sync that failed. Writes come as *fs.PathError out of os.File; syncs
// come bare, or as text when the file was being made longer. A sync can say "no space" too, and is a failed sync then.
func noRoom(err error) bool {
	refusals := []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS}
	var p *fs.PathError
	for _, no := range refusals {
		if errors.As(err, &p) && p.Op == "write" && errors.Is(p.Err, no) {
			return true
		}
		// bbolt makes text of this one; nothing has been written yet at that moment
		if text := err.Error(); strings.HasPrefix(text, "file resize error: ") && strings.HasSuffix(text, no.Error()) {
			return true
		}
	}
	return false
}

// untouched sees that the meta page of a refused transaction is not to be seen in the file.
func untouched(b *bolt.DB, id int) bool {
	err := b.View(func(tx *bolt.Tx) error {
		if tx.ID() >= id {
			return ErrFailed
		}
		return nil
	})
	return err == nil
}

// stillWritable distrusts a success on a file system that has become read-only: it may take writes into memory and
// answer a sync without writing.
func stillWritable(path string) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(path, &st); err == nil && st.Flags&readOnly != 0 {
		return fmt.Errorf("%w: the file system became read-only meanwhile", ErrFailed)
	}
	return nil
}

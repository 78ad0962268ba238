package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"xunjian/pkg/disk/disktest"
)

// TestNoRoomIsAWriteThatWasRefused: everything else, and above all a failed sync, is final.
func TestNoRoomIsAWriteThatWasRefused(t *testing.T) {
	write := func(e error) error { return &fs.PathError{Op: "write", Path: "x", Err: e} }
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"no space":             {write(syscall.ENOSPC), true},
		"quota":                {write(syscall.EDQUOT), true},
		"read-only":            {write(syscall.EROFS), true},
		"wrapped":              {fmt.Errorf("x: %w", write(syscall.ENOSPC)), true},
		"growing":              {errors.New("file resize error: truncate x: " + syscall.ENOSPC.Error()), true},
		"input/output error":   {write(syscall.EIO), false},
		"sync without space":   {syscall.ENOSPC, false},
		"sync of a quota":      {syscall.EDQUOT, false},
		"sync error":           {syscall.EIO, false},
		"sync while growing":   {errors.New("file sync error: sync x: " + syscall.ENOSPC.Error()), false},
		"growing with trouble": {errors.New("file resize error: truncate x: " + syscall.EIO.Error()), false},
	} {
		if got := noRoom(c.err); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestFullDiskKeepsRecords fills a disk: writes are refused and may be tried again, reads go on, nothing is lost.
func TestFullDiskKeepsRecords(t *testing.T) {
	if !disktest.Apart(t) {
		return
	}
	dir := disktest.Tmpfs(t, 8)
	path := filepath.Join(dir, "records.db")
	db, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	big := strings.Repeat("x", 20_000)
	put(t, db, "first", thing{Name: big})
	ballast := disktest.Fill(t, dir, 0)
	n := 0
	write := func() error {
		return db.Update(func(tx *Tx) error { return things.Put(tx, fmt.Sprint("k", n), thing{Name: big, N: n}) })
	}
	for err = nil; err == nil && n < 10_000; n++ {
		err = write()
	}
	if !errors.Is(err, ErrNoSpace) || db.Err() != nil {
		t.Fatalf("%d written, then %v", n, err)
	}
	n--
	for i := range n {
		if v, err := get(db, fmt.Sprint("k", i)); err != nil || v.N != i {
			t.Fatalf("record %d: %v", i, err)
		}
	}
	if _, err := get(db, fmt.Sprint("k", n)); !errors.Is(err, ErrNotFound) {
		t.Errorf("the refused record: %v", err)
	}
	if err := write(); !errors.Is(err, ErrNoSpace) {
		t.Errorf("again: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if db, err = Open(path, Options{}); err != nil {
		t.Fatalf("opening on a full disk: %v", err)
	}
	defer db.Close()
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := write(); err != nil {
		t.Fatalf("with room again: %v", err)
	}
}

// TestAfterAFailedSyncNothingIsTaken has the file closed under the store, so that its sync fails.
func TestAfterAFailedSyncNothingIsTaken(t *testing.T) {
	db := newDB(t)
	put(t, db, "a", thing{N: 1})
	var fd int
	if err := filepath.WalkDir("/proc/self/fd", func(path string, d fs.DirEntry, err error) error {
		if to, e := os.Readlink(path); e == nil && to == db.Path() {
			_, err = fmt.Sscan(d.Name(), &fd)
		}
		return err
	}); err != nil || fd == 0 {
		t.Fatalf("no file descriptor found: %v", err)
	}
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	// writes to a descriptor that is open for reading fail with EBADF: no want of room
	if err := syscall.Dup3(int(null.Fd()), fd, 0); err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *Tx) error { return things.Put(tx, "b", thing{N: 2}) })
	if !errors.Is(err, ErrFailed) {
		t.Fatalf("updated with %v", err)
	}
	if err := db.Update(func(*Tx) error { t.Error("a transaction after the failure"); return nil }); !errors.Is(err, ErrFailed) {
		t.Errorf("again: %v", err)
	}
	select {
	case <-db.Failed():
	default:
		t.Error("nobody is told")
	}
}

package store

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

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

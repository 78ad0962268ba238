package host

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"
)

const (
	maxFile  = 8 << 20 // a file of procfs that is longer is refused
	keepFile = 64 << 10
)

var errLong = errors.New("file is too long")

// readFile reads a whole file of procfs into buf, which grows as needed; it spares what os.File costs for the poller.
func readFile(name string, buf []byte) ([]byte, error) {
	if cap(buf) > keepFile { // after one long file, do not hold its room for ever
		buf = nil
	}
	buf = buf[:0]
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	for err == unix.EINTR {
		fd, err = unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return buf, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	for {
		if cap(buf)-len(buf) < 4096 {
			buf = append(make([]byte, 0, 2*cap(buf)+8192), buf...)
		}
		n, err := unix.Read(fd, buf[len(buf):cap(buf)])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return buf[:0], &fs.PathError{Op: "read", Path: name, Err: err}
		case n == 0:
			return buf, nil
		case len(buf)+n > maxFile:
			return buf[:0], &fs.PathError{Op: "read", Path: name, Err: errLong}
		}
		buf = buf[:len(buf)+n]
	}
}

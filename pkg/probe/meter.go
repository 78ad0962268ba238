package probe

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
)

// meter lets a stated number of bytes through, then fails: no target can make the probe read for ever.
type meter struct {
	src   io.Reader
	left  int64
	ended bool // the other side has said its last
}

var errTooMuch = errors.New("more than the probe reads")

func (m *meter) Read(p []byte) (int, error) {
	if m.left <= 0 {
		return 0, errTooMuch
	}
	n, err := m.src.Read(p[:min(int64(len(p)), m.left)])
	m.left -= int64(n)
	m.ended = err == io.EOF
	return n, err
}

// line is a connection as the system gives it. What comes is counted below TLS, too, which may be made to carry each byte in a
// record of its own. HTTP/2 reads it in a goroutine of its own.
type line struct {
	net.Conn
	left atomic.Int64
}

var errLine = fmt.Errorf("more than %d KiB came over the connection", maxBody>>10)

func newLine(conn net.Conn, left int64) *line {
	l := &line{Conn: conn}
	l.left.Store(left)
	return l
}

func (l *line) Read(p []byte) (int, error) {
	left := l.left.Load()
	if left <= 0 {
		return 0, errLine
	}
	n, err := l.Conn.Read(p[:min(int64(len(p)), left)])
	l.left.Add(-int64(n))
	return n, err
}

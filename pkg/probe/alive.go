package probe

import (
	"net"
	"syscall"
)

// alive looks at an idle connection without taking anything from it: an end, an error or a word out of turn mean that it is
// not to be used again.
func alive(conn net.Conn) bool {
	if l, ok := conn.(*line); ok {
		conn = l.Conn
	}
	sys, ok := conn.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := sys.SyscallConn()
	if err != nil {
		return false
	}
	quiet := false
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = err == syscall.EAGAIN
		return true
	})
	return err == nil && quiet
}

package collector

import (
	"context"
	"net"
	"os"
	"syscall"
	"time"
)

// ping asks for an echo over a socket that needs no rights of its own. False also where the system does not allow it.
func ping(ctx context.Context, ip net.IP) bool {
	family, protocol, kind := syscall.AF_INET, syscall.IPPROTO_ICMP, byte(8)
	if ip.To4() == nil {
		family, protocol, kind = syscall.AF_INET6, syscall.IPPROTO_ICMPV6, byte(128)
	}
	fd, err := syscall.Socket(family, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, protocol)
	if err != nil {
		return false
	}
	f := os.NewFile(uintptr(fd), "ping")
	defer f.Close()
	conn, err := net.FilePacketConn(f)
	if err != nil {
		return false
	}
	defer conn.Close()
	if until, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(until); err != nil {
			return false
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // unblocks the read
	defer stop()
	echo := []byte{kind, 0, 0, 0, 0, 0, 0, 1} // the kernel fills in identity and checksum
	if _, err := conn.WriteTo(echo, &net.UDPAddr{IP: ip}); err != nil {
		return false
	}
	buf := make([]byte, 64)
	_, _, err = conn.ReadFrom(buf)
	return err == nil
}

package simulator

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// door is a listener that can be shut, so that connections are refused, and opened again on the same port.
type door struct {
	addr   string
	opened atomic.Int64 // connections ever accepted

	mu       sync.Mutex
	changed  *sync.Cond
	listener *net.TCPListener // nil while shut
	closed   bool
	guests   map[*guest]struct{}
}

// guest is an open connection that the door can throw out.
type guest struct {
	*net.TCPConn
	door *door
}

// Close also takes the connection off the door's list.
func (g *guest) Close() error {
	g.door.mu.Lock()
	delete(g.door.guests, g)
	g.door.mu.Unlock()
	return g.TCPConn.Close()
}

func openDoor(port int) (*door, error) {
	d := &door{guests: map[*guest]struct{}{}}
	d.changed = sync.NewCond(&d.mu)
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	d.listener, d.addr = l, l.Addr().String()
	return d, nil
}

// Accept waits through times at which the door is shut.
func (d *door) Accept() (net.Conn, error) {
	for {
		l := d.waitOpen()
		if l == nil {
			return nil, net.ErrClosed
		}
		conn, err := l.AcceptTCP()
		if err != nil {
			if d.isCurrent(l) {
				return nil, err
			}
			continue
		}
		if g := d.admit(l, conn); g != nil {
			return g, nil
		}
	}
}

func (d *door) waitOpen() *net.TCPListener {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.listener == nil && !d.closed {
		d.changed.Wait()
	}
	if d.closed {
		return nil
	}
	return d.listener
}

func (d *door) isCurrent(l *net.TCPListener) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.listener == l && !d.closed
}

func (d *door) admit(l *net.TCPListener, conn *net.TCPConn) *guest {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.listener != l {
		conn.Close()
		return nil
	}
	g := &guest{conn, d}
	d.guests[g] = struct{}{}
	d.opened.Add(1)
	return g
}

// shut refuses newcomers and throws out everybody inside.
func (d *door) shut() {
	d.mu.Lock()
	l := d.listener
	d.listener = nil
	d.mu.Unlock()
	if l != nil {
		l.Close()
	}
	d.clear()
}

// clear throws out everybody inside: kept connections too must feel a fault at once.
func (d *door) clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for g := range d.guests {
		g.TCPConn.Close()
		delete(d.guests, g)
	}
}

// reopen takes the same port again.
func (d *door) reopen() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.listener != nil || d.closed {
		return nil
	}
	addr, err := net.ResolveTCPAddr("tcp", d.addr)
	if err != nil {
		return fmt.Errorf("reopen: %w", err)
	}
	for range 50 { // somebody may hold the port for a moment
		if d.listener, err = net.ListenTCP("tcp", addr); err == nil {
			d.changed.Broadcast()
			return nil
		}
		d.listener = nil
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("reopen: %w", err)
}

// Close ends Accept for good.
func (d *door) Close() error {
	d.mu.Lock()
	d.closed = true
	d.changed.Broadcast()
	d.mu.Unlock()
	d.shut()
	return nil
}

// Addr is where the door is, open or shut.
func (d *door) Addr() net.Addr {
	addr, _ := net.ResolveTCPAddr("tcp", d.addr)
	return addr
}

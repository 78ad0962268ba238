package main

import (
	"io"
	"net"
	"sync/atomic"
)

// relay is a TCP proxy on loopback that counts what passes, both ways: payload, without TCP and IP headers.
type relay struct {
	net.Listener
	to    string
	bytes atomic.Int64
}

func newRelay(to string) (*relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{Listener: l, to: to}
	go r.serve()
	return r, nil
}

func (r *relay) serve() {
	for {
		c, err := r.Accept()
		if err != nil {
			return
		}
		go r.pass(c)
	}
}

func (r *relay) pass(c net.Conn) {
	defer c.Close()
	up, err := net.Dial("tcp", r.to)
	if err != nil {
		return
	}
	defer up.Close()
	go func() {
		_, _ = io.Copy(up, counted{c, &r.bytes}) // either end may break off
		up.Close()
	}()
	_, _ = io.Copy(c, counted{up, &r.bytes})
}

type counted struct {
	io.Reader
	n *atomic.Int64
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n.Add(int64(n))
	return n, err
}

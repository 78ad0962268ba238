package sms

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// platform answers what a client sends by SMPP, for as long as it is well.
type platform struct {
	conn net.Conn
	well func(id uint32) bool
}

func (p *platform) run() {
	defer p.conn.Close()
	for {
		var head [16]byte
		if _, err := io.ReadFull(p.conn, head[:]); err != nil {
			return
		}
		n := binary.BigEndian.Uint32(head[:])
		if _, err := io.CopyN(io.Discard, p.conn, int64(n)-16); err != nil {
			return
		}
		id := binary.BigEndian.Uint32(head[4:])
		if id&0x80000000 != 0 || !p.well(id) {
			continue
		}
		binary.BigEndian.PutUint32(head[0:], 16)
		binary.BigEndian.PutUint32(head[4:], id|0x80000000)
		if _, err := p.conn.Write(head[:]); err != nil {
			return
		}
	}
}

func stay(t *testing.T, well func(id uint32) bool) (*Session, *platform, func() error) {
	ours, theirs := net.Pipe()
	p := &platform{theirs, well}
	go p.run()
	codec := smppCodec{Account{User: "ops", From: "1"}}
	s := NewWire(t.Context(), ours, ours, codec, nil).Stay(Hear{Report: func(Report) {}, Message: func(Message) bool { return true }})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	return s, p, func() error { cancel(); return <-ended }
}

const enquire = 0x15

// A session lives as long as the platform answers its signs of life, and is found dead soon after it does not.
func TestSessionDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var deaf atomic.Bool
		s, p, stop := stay(t, func(id uint32) bool { return !deaf.Load() || id != enquire })
		time.Sleep(10 * time.Minute)
		select {
		case <-s.over:
			t.Fatal("ended though the platform is well")
		default:
		}
		deaf.Store(true)
		begin := time.Now()
		<-s.over
		if took := time.Since(begin); took > idleTime+answerTime {
			t.Errorf("found dead after %v", took)
		}
		if _, err := s.Ask(t.Context(), s.codec.Keepalive, Alive); !errors.Is(err, ErrOver) {
			t.Errorf("asked when it is over: %v", err)
		}
		p.conn.Close()
		if err := stop(); err == nil || !strings.Contains(err.Error(), "sign of life") {
			t.Errorf("ended with %v", err)
		}
	})
}

// A session takes its leave when its context ends, whether the platform answers that or not.
func TestSessionTakesLeave(t *testing.T) {
	for _, polite := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var asked atomic.Bool
			_, _, stop := stay(t, func(id uint32) bool {
				if id == 0x06 { // unbind
					asked.Store(true)
				}
				return polite
			})
			time.Sleep(time.Second)
			begin := time.Now()
			if err := stop(); err != nil || !asked.Load() || time.Since(begin) > partTime {
				t.Errorf("ended with %v after %v, asked: %v", err, time.Since(begin), asked.Load())
			}
		})
	}
}

// What a platform sends without end or measure ends the session; so does a platform that hangs up.
func TestSessionFlooded(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(p *platform, codec Codec)
		want string
	}{
		"flood": {func(p *platform, codec Codec) {
			for {
				b, _ := codec.Keepalive(1)
				if _, err := p.conn.Write(b); err != nil {
					return
				}
			}
		}, "packets a minute"},
		"hangs up":  {func(p *platform, _ Codec) { p.conn.Close() }, "EOF"},
		"too large": {func(p *platform, _ Codec) { _, _ = p.conn.Write([]byte{1, 0, 0, 0}) }, "length"},
		"unbinds": {func(p *platform, codec Codec) {
			b, _ := codec.Terminate(1)
			_, _ = p.conn.Write(b)
		}, "ended"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				p := &platform{theirs, func(uint32) bool { return true }}
				codec := smppCodec{Account{User: "ops"}}
				s := NewWire(t.Context(), ours, ours, codec, nil).Stay(Hear{})
				go func() { _, _ = io.Copy(io.Discard, theirs) }()
				go c.do(p, codec)
				err := s.Run(t.Context())
				theirs.Close()
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("ended with %v", err)
				}
			})
		})
	}
}

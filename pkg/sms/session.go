package sms

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	idleTime    = 30 * time.Second // between two signs of life
	answerTime  = 10 * time.Second // of the platform, to a sign of life
	partTime    = time.Second      // of the platform, to our leave
	mostAMinute = 1000             // packets of the platform's
)

// Session is a connection that stays open. Several may ask over it at once; it is kept alive, and what the platform delivers
// is heard as it comes.
type Session struct {
	conn   net.Conn
	codec  Codec
	reader *bufio.Reader
	hear   Hear

	mu    sync.Mutex // over the writing, too
	seq   uint32
	asked map[uint32]chan Packet // holds one
	over  chan struct{}          // closed when nothing more can come
}

// Hear is told of what the platform delivers, one at a time. What Message does not take is not acknowledged either: the
// platform brings it again.
type Hear struct {
	Report  func(Report)
	Message func(Message) (taken bool)
}

// Stay makes a session of a wire that has logged in, and is used no more. It starts nothing.
func (w *Wire) Stay(hear Hear) *Session {
	return &Session{conn: w.conn, codec: w.codec, reader: w.reader, hear: hear, seq: w.seq, asked: map[uint32]chan Packet{}, over: make(chan struct{})}
}

// Run hears until the session ends, and closes the connection. It takes leave and returns nil when ctx ends.
func (s *Session) Run(ctx context.Context) error {
	s.conn.SetDeadline(time.Time{})
	kept := make(chan error, 1)
	go func() { kept <- s.keep(ctx) }()
	end := s.listen()
	s.conn.Close()
	close(s.over)
	if why := <-kept; why != nil { // it has closed the connection
		end = why
	}
	if ctx.Err() == nil {
		return end
	}
	return nil
}

// keep shows the platform that somebody is there, and closes the connection when the platform is not, or when ctx ends.
func (s *Session) keep(ctx context.Context) error {
	defer s.conn.Close()
	t := time.NewTicker(idleTime)
	defer t.Stop()
	for {
		select {
		case <-s.over:
			return nil
		case <-ctx.Done():
			part, cancel := context.WithTimeout(context.WithoutCancel(ctx), partTime)
			defer cancel()
			_, _ = s.Ask(part, s.codec.Terminate, Terminated) // how it ends changes nothing
			return nil
		case <-t.C:
		}
		answer, cancel := context.WithTimeout(ctx, answerTime)
		_, err := s.Ask(answer, s.codec.Keepalive, Alive)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			return errors.New("the platform gives no sign of life")
		}
	}
}

// listen reads what comes until nothing more can.
func (s *Session) listen() error {
	minute, packets := time.Now(), 0
	for {
		frame, err := frame(s.reader, s.codec.Least())
		if err != nil {
			return err
		}
		if time.Since(minute) > time.Minute {
			minute, packets = time.Now(), 0
		}
		if packets++; packets > mostAMinute {
			return fmt.Errorf("more than %d packets a minute", mostAMinute)
		}
		p, err := decode(s.codec, frame)
		if err != nil {
			return err
		}
		if err := s.take(p); err != nil {
			return err
		}
	}
}

func (s *Session) take(p Packet) error {
	taken := true
	switch {
	case p.Report != nil:
		p.Report.At = time.Now()
		s.hear.Report(*p.Report)
	case p.Message != nil:
		taken = s.hear.Message(*p.Message)
	}
	if p.Reply != nil && taken {
		s.mu.Lock()
		_, err := s.write(p.Reply)
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
	if p.Act == Ended {
		return ErrEnded
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if who := s.asked[p.Seq]; who != nil && p.Act != Other {
		delete(s.asked, p.Seq)
		who <- p
	}
	return nil // a refusal of no packet in particular leaves whoever asked to the end of his patience
}

// write gives up on a platform that does not read. The caller holds mu.
func (s *Session) write(b []byte) (int, error) {
	s.conn.SetWriteDeadline(time.Now().Add(answerTime))
	return s.conn.Write(b)
}

// ErrOver says that a session had ended before anything was sent over it.
var ErrOver = errors.New("the session is over")

// Ask sends a packet and waits for its answer. It is ErrOver when nothing was sent.
func (s *Session) Ask(ctx context.Context, pack func(seq uint32) ([]byte, error), want Act) (Packet, error) {
	select {
	case <-s.over:
		return Packet{}, ErrOver
	default:
	}
	answer := make(chan Packet, 1)
	s.mu.Lock()
	s.seq++
	seq := s.seq
	b, err := pack(seq)
	if err == nil {
		s.asked[seq] = answer
		_, err = s.write(b)
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.asked, seq)
	}()
	if err != nil {
		return Packet{}, err
	}
	select {
	case p := <-answer:
		if p.Act != want && p.Act != Nack {
			return p, fmt.Errorf("%w: not what was asked for", ErrPacket)
		}
		return p, nil
	case <-s.over:
		return Packet{}, ErrEnded
	case <-ctx.Done():
		return Packet{}, ctx.Err()
	}
}

// Close ends the session: Run returns.
func (s *Session) Close() { s.conn.Close() }

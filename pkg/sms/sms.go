// Package sms speaks to short message centres: SMPP 3.4, CMPP 2.0 and 3.0, over a connection that its caller gives.
package sms

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// What a session may cost at most, whatever the other side sends.
const (
	MaxPacket  = 4 << 10
	MaxHeard   = 1 << 20 // for callers to bound what a session reads
	maxPackets = 5000
)

// Act says what a packet of the platform's is to us.
type Act int

// The acts.
const (
	Other Act = iota // answered when it wants an answer, and passed over
	LoggedIn
	Alive
	Submitted
	Terminated
	Nack  // refuses a packet of ours as such
	Ended // the platform ends the session
)

// Packet is what was understood of a packet.
type Packet struct {
	Act     Act
	Seq     uint32
	Status  uint32   // 0 is good
	Cause   Cause    // what a status that is not 0 means
	Word    string   // the status in the standard's words
	ID      string   // of the message that was submitted
	Report  *Report  // nil for none
	Message *Message // nil for none
	Reply   []byte   // to be sent at once; nil for none
}

// Good says whether what was asked for was granted.
func (p Packet) Good() bool { return p.Status == 0 && p.Act != Nack }

// Cause says why a packet was refused.
type Cause int

// The causes.
const (
	Refused     Cause = iota
	Throttled         // flow control
	Credentials       // account or password
	Busy              // the account is logged in already
)

// Delivered is the one state of a message that is good.
const Delivered = "DELIVRD"

// Report is a delivery report.
type Report struct {
	ID, Stat string
	At       time.Time // heard
}

// Final is false while the message is under way.
func (r Report) Final() bool { return r.Stat != "ENROUTE" && r.Stat != "ACCEPTD" }

// Message is what somebody has sent from a telephone.
type Message struct {
	From, Text string
}

// Account is what a platform knows its customer by.
type Account struct {
	User, Password string
	From           string // sender, the platform's number for us
	Service        string // what the platform books it under; may be empty
	System         string // SMPP: system type; may be empty
	Transmitter    bool   // SMPP: bind to send only
	HexIDs         bool   // SMPP: answers give ids in hexadecimal, reports in decimal
	Version        string // CMPP: 2.0 or 3.0 (default)
}

// Codec makes and reads the packets of one protocol. Read is given whole packets of Least bytes or more.
type Codec interface {
	Least() int
	Login(seq uint32) ([]byte, error)
	Keepalive(seq uint32) ([]byte, error)
	Submit(seq uint32, number, text string) ([]byte, error)
	Terminate(seq uint32) ([]byte, error)
	Read(packet []byte) (Packet, error)
}

// Wire is a session's connection. One goroutine uses it: it reads only while it waits for something.
type Wire struct {
	ctx     context.Context
	conn    net.Conn
	codec   Codec
	reader  *bufio.Reader
	heard   func(Report)
	seq     uint32
	packets int
}

// NewWire speaks over a connection. What is read comes from r, which bounds it; heard is given delivery reports.
func NewWire(ctx context.Context, conn net.Conn, r io.Reader, codec Codec, heard func(Report)) *Wire {
	return &Wire{ctx: ctx, conn: conn, codec: codec, reader: bufio.NewReaderSize(r, MaxPacket), heard: heard}
}

// What ends a session from the other side.
var (
	ErrPacket = errors.New("malformed packet")
	ErrEnded  = errors.New("the platform ended the session")
	ErrFlood  = fmt.Errorf("more than %d packets", maxPackets)
)

// Send numbers a packet and writes it.
func (w *Wire) Send(make func(seq uint32) ([]byte, error)) (uint32, error) {
	w.seq++
	b, err := make(w.seq)
	if err != nil {
		return 0, fmt.Errorf("make packet: %w", err)
	}
	_, err = w.conn.Write(b)
	return w.seq, err
}

// Ask sends a packet and waits for its answer.
func (w *Wire) Ask(make func(seq uint32) ([]byte, error), want Act, wait time.Duration) (Packet, error) {
	until := time.Now().Add(wait)
	seq, err := w.Send(make)
	if err != nil {
		return Packet{}, err
	}
	for {
		p, err := w.Next(until)
		switch {
		case err != nil:
			return Packet{}, err
		case p.Act == want && p.Seq == seq, p.Act == Nack && (p.Seq == seq || p.Seq == 0):
			return p, nil
		case p.Act == Ended:
			return Packet{}, ErrEnded
		}
	}
}

// Next reads one packet and answers it. What has come of a packet by until stays for the next time.
func (w *Wire) Next(until time.Time) (Packet, error) {
	w.conn.SetReadDeadline(until)
	if w.ctx.Err() != nil { // its own deadline, which was just laid over, is the nearer one
		return Packet{}, os.ErrDeadlineExceeded
	}
	frame, err := frame(w.reader, w.codec.Least())
	if err != nil {
		return Packet{}, err
	}
	if w.packets++; w.packets > maxPackets {
		return Packet{}, ErrFlood
	}
	p, err := decode(w.codec, frame)
	if err != nil {
		return p, err
	}
	if p.Report != nil {
		p.Report.At = time.Now()
		w.heard(*p.Report)
	}
	if p.Reply != nil {
		_, err = w.conn.Write(p.Reply)
	}
	return p, err
}

// frame reads a packet. It looks at the length before it waits for, or makes room for, what is said to follow.
func frame(r *bufio.Reader, least int) ([]byte, error) {
	head, err := r.Peek(4)
	if err != nil {
		return nil, cutOff(head, err)
	}
	n := binary.BigEndian.Uint32(head)
	if n < uint32(least) || n > MaxPacket {
		return nil, fmt.Errorf("%w: its length is %d", ErrPacket, n)
	}
	whole, err := r.Peek(int(n))
	if err != nil {
		return nil, cutOff(whole, err)
	}
	frame := bytes.Clone(whole)
	_, err = r.Discard(int(n))
	return frame, err
}

func cutOff(have []byte, err error) error {
	if errors.Is(err, io.EOF) && len(have) > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}

// decode keeps what a hostile packet does to the libraries from costing more than the packet.
func decode(codec Codec, frame []byte) (p Packet, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v", ErrPacket, v)
		}
	}()
	if p, err = codec.Read(frame); err != nil {
		err = fmt.Errorf("%w: %w", ErrPacket, err)
	}
	return p, err
}

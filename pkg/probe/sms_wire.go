package probe

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"xunjian/pkg/check"
)

// What a session may cost at most, whatever the other side sends.
const (
	maxSMSPacket  = 4 << 10
	maxSMSHeard   = 1 << 20
	maxSMSPackets = 5000
)

// smsAct says what a packet of the platform's is to us.
type smsAct int

const (
	smsOther smsAct = iota // answered when it wants an answer, and passed over
	smsLoggedIn
	smsAlive
	smsSubmitted
	smsTerminated
	smsNack  // refuses a packet of ours as such
	smsEnded // the platform ends the session
)

// smsPacket is what was understood of a packet.
type smsPacket struct {
	act    smsAct
	seq    uint32
	status uint32     // 0 is good
	cause  smsCause   // what a status that is not 0 means
	word   string     // the status in the standard's words
	id     string     // of the message that was submitted
	report *smsReport // nil for none
	reply  []byte     // to be sent at once; nil for none
}

func (p smsPacket) good() bool { return p.status == 0 && p.act != smsNack }

// smsCause says why a packet was refused.
type smsCause int

const (
	smsRefused     smsCause = iota
	smsThrottled            // flow control
	smsCredentials          // account or password
	smsBusy                 // the account is logged in already
)

// smsDelivered is the one state of a message that is good.
const smsDelivered = "DELIVRD"

// smsReport is a delivery report.
type smsReport struct {
	id, stat string
	at       time.Time
}

// final is false while the message is under way.
func (r smsReport) final() bool { return r.stat != "ENROUTE" && r.stat != "ACCEPTD" }

// smsCodec makes and reads the packets of one protocol. read is given whole packets of least bytes or more.
type smsCodec interface {
	least() int
	login(seq uint32) ([]byte, error)
	keepalive(seq uint32) ([]byte, error)
	submit(seq uint32, number, text string) ([]byte, error)
	terminate(seq uint32) ([]byte, error)
	read(packet []byte) (smsPacket, error)
}

// smsWire is a session's connection. One goroutine uses it: it reads only while it waits for something.
type smsWire struct {
	ctx     context.Context
	link    *link
	codec   smsCodec
	reader  *bufio.Reader
	heard   func(smsReport)
	seq     uint32
	packets int
}

func newSMSWire(ctx context.Context, l *link, codec smsCodec, heard func(smsReport)) *smsWire {
	l.meter.left = maxSMSHeard
	return &smsWire{ctx: ctx, link: l, codec: codec, reader: bufio.NewReaderSize(&l.meter, maxSMSPacket), heard: heard}
}

var (
	errSMSPacket = errors.New("malformed packet")
	errSMSEnded  = errors.New("the platform ended the session")
	errSMSFlood  = fmt.Errorf("more than %d packets", maxSMSPackets)
)

// send numbers a packet and writes it.
func (w *smsWire) send(make func(seq uint32) ([]byte, error)) (uint32, error) {
	w.seq++
	b, err := make(w.seq)
	if err != nil {
		return 0, fmt.Errorf("make packet: %w", err)
	}
	_, err = w.link.Write(b)
	return w.seq, err
}

// ask sends a packet and waits for its answer.
func (w *smsWire) ask(make func(seq uint32) ([]byte, error), want smsAct, wait time.Duration) (smsPacket, error) {
	until := time.Now().Add(wait)
	seq, err := w.send(make)
	if err != nil {
		return smsPacket{}, err
	}
	for {
		p, err := w.next(until)
		switch {
		case err != nil:
			return smsPacket{}, err
		case p.act == want && p.seq == seq, p.act == smsNack && (p.seq == seq || p.seq == 0):
			return p, nil
		case p.act == smsEnded:
			return smsPacket{}, errSMSEnded
		}
	}
}

// next reads one packet and answers it. What has come of a packet by until stays for the next time.
func (w *smsWire) next(until time.Time) (smsPacket, error) {
	frame, err := w.frame(until)
	if err != nil {
		return smsPacket{}, err
	}
	if w.packets++; w.packets > maxSMSPackets {
		return smsPacket{}, errSMSFlood
	}
	p, err := decodeSMS(w.codec, frame)
	if err != nil {
		return p, err
	}
	if p.report != nil {
		p.report.at = time.Now()
		w.heard(*p.report)
	}
	if p.reply != nil {
		_, err = w.link.Write(p.reply)
	}
	return p, err
}

// frame looks at the length before it waits for, or makes room for, what is said to follow.
func (w *smsWire) frame(until time.Time) ([]byte, error) {
	w.link.raw.SetReadDeadline(until)
	if w.ctx.Err() != nil { // its own deadline, which was just laid over, is the nearer one
		return nil, os.ErrDeadlineExceeded
	}
	head, err := w.reader.Peek(4)
	if err != nil {
		return nil, cutOff(head, err)
	}
	n := binary.BigEndian.Uint32(head)
	if n < uint32(w.codec.least()) || n > maxSMSPacket {
		return nil, fmt.Errorf("%w: its length is %d", errSMSPacket, n)
	}
	whole, err := w.reader.Peek(int(n))
	if err != nil {
		return nil, cutOff(whole, err)
	}
	frame := bytes.Clone(whole)
	_, err = w.reader.Discard(int(n))
	return frame, err
}

func cutOff(have []byte, err error) error {
	if errors.Is(err, io.EOF) && len(have) > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}

// decodeSMS keeps what a hostile packet does to the libraries from costing more than the packet.
func decodeSMS(codec smsCodec, frame []byte) (p smsPacket, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v", errSMSPacket, v)
		}
	}()
	if p, err = codec.read(frame); err != nil {
		err = fmt.Errorf("%w: %w", errSMSPacket, err)
	}
	return p, err
}

// blame turns what ended a wait into a fault.
func (w *smsWire) blame(doing string, err error) *fault {
	switch {
	case errors.Is(err, errSMSPacket), errors.Is(err, errSMSFlood), errors.Is(err, errTooMuch):
		return failed(check.ClassContent, "%s: %v", doing, err)
	case errors.Is(err, errSMSEnded):
		return failed(check.ClassReset, "%s: %v", doing, err)
	case isTimeout(err) && w.ctx.Err() == nil:
		return failed(check.ClassTimeout, "%s: no answer in time", doing)
	}
	return blame(w.ctx, doing, err, check.ClassReset)
}

package simulator

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Who may log in at the short message centre.
const (
	SMPPUser    = "xunjian"
	CMPPUser    = "901234" // an SP id has six characters
	SMSPassword = "demo-sms"
)

// Faults of the short message centre's own.
const (
	LoginRefused   Mode = "login-refused"   // wrong password, it says
	AnyPassword    Mode = "any-password"    // every password is taken
	AnySignature   Mode = "any-signature"   // over HTTP messages are taken whatever their signature
	LoginSilent    Mode = "login-silent"    // a login gets no answer
	SubmitRefused  Mode = "submit-refused"  //
	Throttled      Mode = "throttled"       // flow control: SMPP 0x58, CMPP 8
	ReportMissing  Mode = "report-missing"  // messages are taken and never heard of again
	ReportLate     Mode = "report-late"     // after delay_ms, 90000 when left out
	ReportForeign  Mode = "report-foreign"  // before each report one of a message that somebody else has sent
	Undeliverable1 Mode = "undeliv-first"   // a session's first message is not delivered
	Undeliverable  Mode = "undeliv"         // none is
	BalanceLow     Mode = "balance-low"     // three days of 500 messages
	BalanceZero    Mode = "balance-zero"    //
	LogFailing     Mode = "send-log-failed" // most messages of the send log were not delivered
)

var (
	smscModes    = []Mode{LoginRefused, AnyPassword, LoginSilent, SubmitRefused, Throttled, ReportMissing, ReportLate, ReportForeign, Undeliverable1, Undeliverable}
	balanceModes = []Mode{BalanceLow, BalanceZero, LogFailing, AnySignature, SubmitRefused, Throttled, ReportMissing, Undeliverable}
)

const (
	smscPacketMost = 4 << 10
	smscPatience   = 10 * time.Minute // an idle session is closed
	smscReportTime = 300 * time.Millisecond
	smscHeldMost   = 1000
	smscBalance    = 10000
)

// centre is what the two doors of the short message centre, and its page of figures, have in common.
type centre struct {
	mu       sync.Mutex
	taken    int // messages
	arrived  int // of them
	ids      uint64
	sessions map[*smscSession]bool
	held     map[string][]smscMessage // by account: reports and replies that no session was there to hear
	log      []Telegram               // the last that were taken
	asked    map[string]smscMessage   // by id: those taken over HTTP, of which is told when asked
}

func newCentre() *centre {
	return &centre{ids: uint64(time.Now().Unix()) << 20, sessions: map[*smscSession]bool{}, held: map[string][]smscMessage{}, asked: map[string]smscMessage{}}
}

// smscMessage is a message, and then its report; with a text it is what a telephone has sent.
type smscMessage struct {
	id           uint64
	number, stat string
	text         string
	at           time.Time
}

// smscAct is what a packet asks for.
type smscAct int

const (
	smscOther smscAct = iota
	smscLogin
	smscAlive
	smscSubmit
	smscHeard // acknowledges what was delivered
	smscEnd
)

// smscPacket is a request of a client's.
type smscPacket struct {
	act     smscAct
	user    string
	allowed bool // the password is right
	hears   bool // wants reports on this session
	number  string
	text    string
	seq     uint32 // of what is acknowledged
	raw     any    // of the protocol
}

// smscAnswer is what there is to say to a request.
type smscAnswer int

const (
	smscFine smscAnswer = iota
	smscWrongPassword
	smscRefused
	smscThrottled
)

// smscCodec is one protocol, with what it knows of a connection.
type smscCodec interface {
	read(packet []byte) (smscPacket, error)
	answer(p smscPacket, how smscAnswer, id uint64) ([]byte, error)
	report(seq uint32, m smscMessage) ([]byte, error)
	message(seq uint32, m smscMessage) ([]byte, error)
}

// smscSession is one connection.
type smscSession struct {
	*centre
	venue *venue
	codec smscCodec
	conn  net.Conn
	user  string
	hears bool
	count int // of messages

	write sync.Mutex
	seq   uint32
	open  map[uint32]smscMessage // replies that were delivered and not acknowledged
}

// door serves connections of one protocol.
func (c *centre) door(codec func() smscCodec) func(context.Context, *venue, net.Conn) {
	return func(ctx context.Context, v *venue, conn net.Conn) {
		s := &smscSession{centre: c, venue: v, codec: codec(), conn: conn, open: map[uint32]smscMessage{}}
		defer s.leave()
		r := bufio.NewReaderSize(conn, smscPacketMost)
		for ctx.Err() == nil && s.serveOne(ctx, r) {
		}
	}
}

// leave keeps what was not acknowledged for the next session.
func (s *smscSession) leave() {
	s.mu.Lock()
	delete(s.sessions, s)
	s.mu.Unlock()
	s.write.Lock()
	defer s.write.Unlock()
	for _, m := range s.open {
		s.hand(s.user, m)
	}
}

// serveOne reads one packet and answers as the fault in force has it; false ends the connection.
func (s *smscSession) serveOne(ctx context.Context, r *bufio.Reader) bool {
	s.conn.SetReadDeadline(time.Now().Add(smscPatience))
	packet, err := readPacket(r)
	if err != nil {
		return false
	}
	p, err := s.codec.read(packet)
	if err != nil {
		return false
	}
	switch p.act {
	case smscOther:
		return true
	case smscHeard:
		s.heard(p.seq)
		return true
	}
	f, changed := s.venue.fault.request("")
	switch f.Mode {
	case Hang:
		_, _ = io.Copy(io.Discard, s.conn) // until the client has enough of it
		return false
	case Reset:
		abort(s.conn)
		return false
	case Slow:
		if !pause(ctx, changed, time.Duration(f.DelayMS)*time.Millisecond) {
			return false
		}
	}
	return s.respond(p, f)
}

func readPacket(r *bufio.Reader) ([]byte, error) {
	head, err := r.Peek(4)
	if err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(head))
	if n < 12 || n > smscPacketMost {
		return nil, errors.New("length " + strconv.Itoa(n))
	}
	packet := make([]byte, n)
	_, err = io.ReadFull(r, packet)
	return packet, err
}

// pause ends early when the fault that asked for it does.
func pause(ctx context.Context, changed <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-changed:
	case <-ctx.Done():
		return false
	}
	return true
}

func (s *smscSession) respond(p smscPacket, f Fault) bool {
	how, more := smscFine, true
	var m smscMessage
	switch p.act {
	case smscLogin:
		if f.Mode == LoginSilent {
			return true
		}
		if !p.allowed && f.Mode != AnyPassword || f.Mode == LoginRefused {
			how, more = smscWrongPassword, false
		}
	case smscSubmit:
		switch {
		case s.user == "" || f.Mode == SubmitRefused:
			how = smscRefused
		case f.Mode == Throttled:
			how = smscThrottled
		default:
			m = s.take(p, f.Mode)
		}
	case smscEnd:
		more = false
	}
	b, err := s.codec.answer(p, how, m.id)
	if err != nil || !s.say(b) {
		return false
	}
	if p.act == smscLogin && how == smscFine {
		s.enter(p)
	}
	if m.id != 0 && f.Mode != ReportMissing {
		s.later(m, f)
	}
	return more
}

func (s *smscSession) say(b []byte) bool {
	s.write.Lock()
	defer s.write.Unlock()
	s.conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
	_, err := s.conn.Write(b)
	return err == nil
}

// enter opens the session, and hands out what was held for its account.
func (s *smscSession) enter(p smscPacket) {
	s.mu.Lock()
	s.user, s.hears = p.user, p.hears
	var held []smscMessage
	if s.hears {
		s.sessions[s] = true
		held = s.held[s.user]
		delete(s.held, s.user)
	}
	s.mu.Unlock()
	for _, m := range held {
		s.tell(m)
	}
}

func (s *smscSession) take(p smscPacket, mode Mode) smscMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	s.taken++
	s.ids++
	s.note(p.number, p.text)
	m := smscMessage{id: s.ids, number: p.number, stat: "DELIVRD", at: time.Now()}
	if mode == Undeliverable || mode == Undeliverable1 && s.count == 1 {
		m.stat = "UNDELIV"
	} else if mode != ReportMissing {
		s.arrived++
	}
	return m
}

// later tells of the message after a while, as a handset needs one.
func (s *smscSession) later(m smscMessage, f Fault) {
	wait := smscReportTime
	if f.Mode == ReportLate {
		wait = time.Duration(f.DelayMS) * time.Millisecond
	}
	user := s.user
	time.AfterFunc(wait, func() {
		if f.Mode == ReportForeign {
			s.hand(user, smscMessage{id: m.id - 1<<19, number: "13900001111", stat: "DELIVRD", at: m.at})
		}
		s.hand(user, m)
	})
}

// hand gives a report to any session of the account, as real centres do, or holds it for the next one.
func (c *centre) hand(user string, m smscMessage) {
	c.mu.Lock()
	var to *smscSession
	for s := range c.sessions {
		if s.user == user {
			to = s
		}
	}
	if to == nil && len(c.held[user]) < smscHeldMost {
		c.held[user] = append(c.held[user], m)
	}
	c.mu.Unlock()
	if to != nil {
		to.tell(m)
	}
}

func (s *smscSession) tell(m smscMessage) {
	s.write.Lock()
	s.seq++
	make := s.codec.report
	if m.text != "" {
		make = s.codec.message
		s.open[s.seq] = m
	}
	b, err := make(s.seq, m)
	s.write.Unlock()
	if err == nil {
		s.say(b)
	}
}

// figures is the centre's own interface for the balance, and its send log.
func (c *centre) figures(success bool, code string) http.Handler {
	mux := routes(notFound)
	mux.HandleFunc("GET /balance", func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		left := smscBalance - c.taken
		c.mu.Unlock()
		switch modeOf(r) {
		case BalanceLow:
			left = 1500
		case BalanceZero:
			left = 0
		}
		if !success {
			left = 0
		}
		writeJSON(w, http.StatusOK, map[string]any{"success": success, "rspcod": code, "balance": left})
	})
	if success {
		c.clouds(mux)
	}
	mux.HandleFunc("GET /send-log", func(w http.ResponseWriter, r *http.Request) {
		sent, delivered := 200, 198
		if modeOf(r) == LogFailing || !success {
			delivered = 60
		}
		writeJSON(w, http.StatusOK, map[string]any{"success": success, "sent": sent, "delivered": delivered, "delay_seconds": 4.2})
	})
	return mux
}

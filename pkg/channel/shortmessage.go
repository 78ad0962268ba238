package channel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"sync"
	"time"

	"xunjian/pkg/config"
	"xunjian/pkg/sms"
)

// SMS is how a short message centre is spoken to, over an account of paging's own: what the checks of the platform use is
// another one.
type SMS struct {
	From    string        `yaml:"from"`              // sender
	Service string        `yaml:"service,omitempty"` // what the platform books it under
	System  string        `yaml:"system,omitempty"`  // smpp: system type
	HexIDs  bool          `yaml:"hex_ids,omitempty"` // smpp: answers give ids in hexadecimal, reports in decimal
	Version string        `yaml:"version,omitempty"` // cmpp: 2.0 or 3.0 (default)
	TLS     bool          `yaml:"tls,omitempty"`
	Replies *bool         `yaml:"replies,omitempty"` // keeps a session open, over which people answer; default true, false where the line allows sending alone
	Report  time.Duration `yaml:"report,omitempty"`  // a message counts as delivered when its report has come within this; default: when the platform has taken it
}

const (
	maxReportWait = time.Minute
	throttledFor  = 5 * time.Second
)

func validateSMPP(s Settings, fail config.Fail) { s.validateSMS(fail, 15, "smpp.example.org:2775") }

func validateCMPP(s Settings, fail config.Fail) {
	s.validateSMS(fail, 6, "cmpp.example.org:7890")
	if m := s.SMS; m != nil {
		if m.Version != "" && m.Version != "2.0" && m.Version != "3.0" {
			fail("sms.version", "%q: want 2.0 or 3.0", m.Version)
		}
		if m.System != "" || m.HexIDs {
			fail("sms", "system and hex_ids are of smpp: remove them")
		}
	}
}

func (s Settings) validateSMS(fail config.Fail, user int, example string) {
	needServer(s, fail, example)
	if s.User == "" || len(s.User) > user {
		fail("user", "%q: want the account's name, 1 to %d characters", s.User, user)
	}
	if !s.Token.Set() {
		fail("token", "missing: the account's password, as {file: sms.password} or {env: SMS_PASSWORD}")
	}
	for i, n := range s.To {
		if !phone.MatchString(n) {
			fail(index("to", i), "%q is no telephone number: digits, with + before the code of a country", n)
		}
	}
	if s.SMS == nil {
		fail("sms", "missing: give at least from, the sender's number")
		return
	}
	if !sender.MatchString(s.SMS.From) {
		fail("sms.from", "%q: want 1 to 20 letters or digits", s.SMS.From)
	}
	if len(s.SMS.Service) > 10 || len(s.SMS.System) > 12 {
		fail("sms.service", "at most 10 characters, and 12 of system")
	}
	if s.SMS.Report < 0 || s.SMS.Report > maxReportWait {
		fail("sms.report", "%v: want at most %v", s.SMS.Report, maxReportWait)
	}
}

var sender = regexp.MustCompile(`^[A-Za-z0-9]{1,20}$`)

// shortMessage hands short messages to a centre: over the session that Listen keeps open, else in one of its own for each page.
type shortMessage struct {
	base
	wiring
	newCodec func(sms.Account) (sms.Codec, error)
	letters  letters
	line     line

	mu    sync.Mutex
	taken map[string]string // ids of messages whose report has not come, by key and number
}

func newSMPP(b base, w wiring) (Channel, error) {
	return &shortMessage{base: b, wiring: w, newCodec: sms.NewSMPP, taken: map[string]string{}}, nil
}

func newCMPP(b base, w wiring) (Channel, error) {
	return &shortMessage{base: b, wiring: w, newCodec: sms.NewCMPP, taken: map[string]string{}}, nil
}

// conversation is how messages are handed over, and what becomes of them is heard.
type conversation interface {
	submit(number, text string) (sms.Packet, error)
	report(id string, wait time.Duration) (state string, err error)
}

// session is one connection, for one page.
type session struct {
	*sms.Wire
	codec   sms.Codec
	until   time.Time
	reports map[string]string // states by id
}

// Send makes one try for each person.
func (c *shortMessage) Send(ctx context.Context, m Message) (Receipt, error) {
	to, err := addressees(m, c.s.To, phoneOf)
	if err != nil {
		return Receipt{}, err
	}
	if c.line.stays() {
		return c.overLine(ctx, m, to)
	}
	until := time.Now().Add(c.s.Timeout)
	ctx, cancel := context.WithDeadline(ctx, until.Add(c.s.SMS.Report))
	defer cancel()
	s := &session{until: until, reports: map[string]string{}}
	conn, err := c.begin(ctx, s, true)
	if err != nil {
		return Receipt{}, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	receipt, err := c.letters.each(ctx, m, to, func(_ context.Context, a addressee) (Receipt, error) { return c.one(s, m, a) })
	_, _ = s.Ask(s.codec.Terminate, sms.Terminated, min(time.Second, time.Until(until))) // how the session ends changes nothing
	return receipt, err
}

// begin connects and logs in. Of a session for one page only so much is read.
func (c *shortMessage) begin(ctx context.Context, s *session, onePage bool) (net.Conn, error) {
	password, err := c.s.token()
	if err != nil {
		return nil, err
	}
	if s.codec, err = c.newCodec(sms.Account{
		User: c.s.User, Password: password, From: c.s.SMS.From, Service: c.s.SMS.Service, System: c.s.SMS.System, HexIDs: c.s.SMS.HexIDs, Version: c.s.SMS.Version,
		Transmitter: !c.Hears() && c.s.SMS.Report == 0,
	}); err != nil {
		return nil, err
	}
	conn, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	var r io.Reader = conn
	if onePage {
		r = io.LimitReader(conn, sms.MaxHeard)
	}
	s.Wire = sms.NewWire(ctx, conn, r, s.codec, func(r sms.Report) {
		if r.Final() && len(s.reports) < 1000 {
			s.reports[r.ID] = r.Stat
		}
	})
	if err := s.login(); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func (c *shortMessage) open(ctx context.Context) (net.Conn, error) {
	dialing, cancel := context.WithTimeout(ctx, c.s.Timeout)
	defer cancel()
	conn, err := c.dial(dialing, "tcp", c.s.Server)
	if err != nil || !c.s.SMS.TLS {
		return conn, err
	}
	cfg := c.tls.Clone()
	cfg.ServerName, _, _ = net.SplitHostPort(c.s.Server) // Validate has seen it
	secure := tls.Client(conn, cfg)
	if err := secure.HandshakeContext(dialing); err != nil {
		conn.Close()
		return nil, fmt.Errorf("tls: %w", err)
	}
	return secure, nil
}

func (s *session) login() error {
	p, err := s.Ask(s.codec.Login, sms.LoggedIn, time.Until(s.until))
	switch {
	case err != nil:
		return fmt.Errorf("login: %w", plainly(err))
	case p.Good():
		return nil
	case p.Cause == sms.Throttled:
		return &Refusal{Cause: CauseLimit, RetryAfter: throttledFor, Text: "login: " + shorten(p.Word)}
	case p.Cause == sms.Credentials:
		return &Refusal{Cause: CauseCredentials, Text: "login: " + shorten(p.Word)}
	}
	return &Refusal{Cause: CauseReceiver, Text: "login: " + shorten(p.Word)}
}

// one sends to one number. Of a message that was taken in an earlier try only the report is still awaited, for a while.
func (c *shortMessage) one(s conversation, m Message, a addressee) (Receipt, error) {
	number := a.at
	if c.s.Kind == "cmpp" {
		number = national(number)
	}
	key := m.Key + " " + number
	if id := c.known(key); id != "" && c.s.SMS.Report > 0 {
		if stat, err := s.report(id, c.s.SMS.Report/2); err == nil && stat == sms.Delivered {
			return c.delivered(key, number, stat), nil
		}
	}
	text := c.words(m, c.language(a.Person), false).Short
	p, err := s.submit(number, text)
	switch {
	case errors.Is(err, sms.ErrOver):
		return Receipt{}, err
	case err != nil:
		return Receipt{}, &afterSending{fmt.Errorf("submit: %w", plainly(err))}
	case p.Cause == sms.Throttled:
		return Receipt{}, &Refusal{Cause: CauseLimit, RetryAfter: throttledFor, Text: "submit: " + shorten(p.Word)}
	case !p.Good():
		return Receipt{}, &Refusal{Cause: CauseContent, PageOnly: true, Text: maskNumber(number) + ": " + shorten(p.Word)}
	case p.ID == "":
		return Receipt{}, &Refusal{Cause: CauseNoVerdict, Text: maskNumber(number) + ": taken without an id"}
	}
	if c.s.SMS.Report == 0 {
		return Receipt{Answer: fmt.Sprintf("%s: taken as %s", maskNumber(number), Clip(p.ID, 32))}, nil
	}
	c.remember(key, p.ID)
	stat, err := s.report(p.ID, c.s.SMS.Report)
	switch {
	case err != nil:
		return Receipt{}, &Refusal{Cause: CauseNoVerdict, Text: fmt.Sprintf("%s: taken, but %v", maskNumber(number), err)}
	case stat != sms.Delivered:
		c.remember(key, "")
		return Receipt{}, &Refusal{Cause: CauseReceiver, PageOnly: true, Text: maskNumber(number) + ": " + shorten(stat)}
	}
	return c.delivered(key, number, stat), nil
}

func (c *shortMessage) delivered(key, number, stat string) Receipt {
	c.remember(key, "")
	return Receipt{Answer: maskNumber(number) + ": " + shorten(stat)}
}

func (c *shortMessage) known(key string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.taken[key]
}

func (c *shortMessage) remember(key, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.taken) >= rememberAll {
		clear(c.taken)
	}
	if id == "" {
		delete(c.taken, key)
		return
	}
	c.taken[key] = id
}

func (s *session) submit(number, text string) (sms.Packet, error) {
	return s.Ask(func(seq uint32) ([]byte, error) { return s.codec.Submit(seq, number, text) }, sms.Submitted, time.Until(s.until))
}

// report waits for what became of a message.
func (s *session) report(id string, wait time.Duration) (string, error) {
	until := time.Now().Add(wait)
	for {
		if stat := s.reports[id]; stat != "" {
			return stat, nil
		}
		if !time.Now().Before(until) {
			return "", fmt.Errorf("no delivery report within %v", wait)
		}
		if p, err := s.Next(until); err != nil || p.Act == sms.Ended {
			if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
				continue
			}
			return "", fmt.Errorf("no delivery report: the session ended")
		}
	}
}

var errNoAnswer = errors.New("no answer in time")

// plainly says what ended a wait.
func plainly(err error) error {
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return errNoAnswer
	}
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return errors.New("the connection was closed")
	}
	return err
}

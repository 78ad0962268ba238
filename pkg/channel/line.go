package channel

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"xunjian/pkg/sms"
)

// Reply is what somebody has answered by telephone.
type Reply struct{ From, Text string }

// Hearing is told of what comes over a line that stays open. The platform brings a reply again that is not taken.
type Hearing struct {
	Reply func(Reply) (taken bool)
	State func(open bool, why error)
}

// Listener is a channel over which people may be able to answer. Listen hears them until ctx ends, and returns nil then; what
// is sent meanwhile goes over the same session.
type Listener interface {
	Channel
	Hears() bool
	Listen(ctx context.Context, h Hearing) error
}

const (
	lineFirst  = time.Second // after a session has ended; doubles
	lineLong   = time.Minute // up to this
	mostStates = 10_000      // of messages whose report nobody has asked for yet
)

// line is the session that stays open while Listen runs.
type line struct {
	mu     sync.Mutex
	on     bool
	live   *sms.Session // nil: there is none at the moment
	codec  sms.Codec
	why    error             // there is none
	turn   chan struct{}     // closed by the next login, whatever comes of it
	wanted chan struct{}     // holds one: somebody waits for a session
	states map[string]string // of messages, by id
	news   chan struct{}     // closed when a report comes
}

// Hears says whether people can answer over this channel.
func (c *shortMessage) Hears() bool { return c.s.SMS.Replies == nil || *c.s.SMS.Replies }

// Listen keeps a session open, and opens a new one when it ends.
func (c *shortMessage) Listen(ctx context.Context, h Hearing) error {
	l := &c.line
	l.mu.Lock()
	l.on, l.turn, l.wanted, l.states, l.news = true, make(chan struct{}), make(chan struct{}, 1), map[string]string{}, make(chan struct{})
	l.mu.Unlock()
	defer func() {
		l.settle(nil, nil, sms.ErrOver)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.on = false
	}()
	for failures := 0; ctx.Err() == nil; {
		begin := time.Now()
		err := c.stay(ctx, h)
		if ctx.Err() != nil {
			break
		}
		l.settle(nil, nil, err)
		h.State(false, err)
		if failures++; time.Since(begin) > lineLong {
			failures = 1
		}
		l.pause(ctx, min(lineFirst<<min(failures-1, 6), lineLong))
	}
	return nil
}

// pause waits for the next login, which comes sooner, but not at once, when somebody has something to send.
func (l *line) pause(ctx context.Context, wait time.Duration) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(lineFirst/2 + rand.N(lineFirst)):
	}
	select {
	case <-ctx.Done():
	case <-l.wanted:
	case <-time.After(wait - lineFirst):
	}
}

// stay is one session from its login to its end.
func (c *shortMessage) stay(ctx context.Context, h Hearing) error {
	login, cancel := context.WithTimeout(ctx, c.s.Timeout)
	defer cancel()
	s := &session{until: time.Now().Add(c.s.Timeout), reports: map[string]string{}}
	conn, err := c.begin(login, s, false)
	if err != nil {
		return err
	}
	defer conn.Close()
	live := s.Stay(sms.Hear{
		Report:  c.line.reported,
		Message: func(m sms.Message) bool { return h.Reply(Reply{From: m.From, Text: Clip(m.Text, 1024)}) },
	})
	c.line.settle(live, s.codec, nil)
	h.State(true, nil)
	return plainly(live.Run(ctx))
}

func (l *line) stays() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.on
}

// settle says what came of a login, or that the session has ended.
func (l *line) settle(live *sms.Session, codec sms.Codec, why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.live, l.codec, l.why = live, codec, why
	close(l.turn)
	l.turn = make(chan struct{})
}

func (l *line) reported(r sms.Report) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !r.Final() {
		return
	}
	if len(l.states) >= mostStates {
		clear(l.states)
	}
	l.states[r.ID] = r.Stat
	close(l.news)
	l.news = make(chan struct{})
}

// session is the one that is open, or the next.
func (l *line) session(ctx context.Context) (*sms.Session, sms.Codec, error) {
	l.mu.Lock()
	live, codec, turn := l.live, l.codec, l.turn
	l.mu.Unlock()
	if live != nil {
		return live, codec, nil
	}
	select {
	case l.wanted <- struct{}{}:
	default:
	}
	select {
	case <-turn:
	case <-ctx.Done():
		return nil, nil, errNoAnswer
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.live == nil {
		return nil, nil, l.why
	}
	return l.live, l.codec, nil
}

// overLine sends over the session that stays open.
func (c *shortMessage) overLine(ctx context.Context, m Message, to []addressee) (Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, c.s.Timeout+c.s.SMS.Report)
	defer cancel()
	soon, late := context.WithTimeout(ctx, c.s.Timeout)
	defer late()
	live, codec, err := c.line.session(soon)
	if err != nil {
		return Receipt{}, err
	}
	t := &talk{line: &c.line, live: live, codec: codec, soon: soon, ctx: ctx}
	return c.letters.each(ctx, m, to, func(_ context.Context, a addressee) (Receipt, error) { return c.one(t, m, a) })
}

// talk is what one page has to say over the line.
type talk struct {
	*line
	live  *sms.Session
	codec sms.Codec
	soon  context.Context // for answers
	ctx   context.Context // for reports
}

// submit gives up on a session that does not answer: the next page gets another.
func (t *talk) submit(number, text string) (sms.Packet, error) {
	p, err := t.live.Ask(t.soon, func(seq uint32) ([]byte, error) { return t.codec.Submit(seq, number, text) }, sms.Submitted)
	if err != nil && t.ctx.Err() == nil && t.soon.Err() != nil {
		t.live.Close()
		err = errNoAnswer
	}
	return p, err
}

// report waits for what became of a message.
func (t *talk) report(id string, wait time.Duration) (string, error) {
	over := time.NewTimer(wait)
	defer over.Stop()
	for {
		t.mu.Lock()
		state, news := t.states[id], t.news
		delete(t.states, id)
		t.mu.Unlock()
		if state != "" {
			return state, nil
		}
		select {
		case <-news:
			continue
		case <-over.C:
		case <-t.ctx.Done():
		}
		return "", fmt.Errorf("no delivery report within %v", wait)
	}
}

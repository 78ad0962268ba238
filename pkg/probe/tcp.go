package probe

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"xunjian/pkg/check"
)

// maxHeard bounds what is read of a plain connection before what is expected must have come.
const maxHeard = 4 << 10

// tcpAsker connects, says something, and waits for what it expects to hear.
type tcpAsker struct {
	dialer
	secure   bool // TLS at some time
	send     string
	expect   *regexp.Regexp
	dialogue []turn
}

// turn is one exchange of a dialogue.
type turn struct {
	check.Exchange
	expect *regexp.Regexp
}

func newTCP(spec check.Spec, env Env) (Asker, error) {
	host, port, err := hostPort(spec)
	if err != nil {
		return nil, err
	}
	t := &tcpAsker{send: spec.TCP.Send, secure: overTLS(spec)}
	if t.dialer, err = newDialer(spec, env, host, port); err != nil {
		return nil, err
	}
	if t.tls, err = tlsConfig(spec, host); err != nil {
		return nil, err
	}
	if t.starttls, err = startTLS(spec.TCP.StartTLS); err != nil {
		return nil, err
	}
	if t.expect, err = compile(spec.TCP.Expect); err != nil {
		return nil, fmt.Errorf("tcp.expect: %w", err)
	}
	for i, e := range spec.TCP.Dialogue {
		re, err := compile(e.Expect)
		if err != nil {
			return nil, fmt.Errorf("tcp.query_response[%d].expect: %w", i, err)
		}
		t.dialogue = append(t.dialogue, turn{e, re})
	}
	return t, nil
}

// Ask always opens a new connection: opening it is what is being tried.
func (t *tcpAsker) Ask(ctx context.Context, _ bool) check.Attempt {
	w, d := startWatch(), t.dialer
	if t.turnsLater() {
		d.tls = nil
	}
	l, bad := d.open(ctx, w)
	var heard int64
	if bad == nil {
		heard, bad = t.talk(ctx, l)
		if t.send != "" || t.expect != nil || t.dialogue != nil {
			w.lap("processing")
		}
	}
	a := verdict(bad)
	a.Phases, a.Bytes, a.Values = w.phases, heard, netValues(nil, l, t.secure)
	l.tell(&a, t.expiry)
	return a
}

// turnsLater says that TLS begins in the middle of the dialogue.
func (t *tcpAsker) turnsLater() bool {
	for _, e := range t.dialogue {
		if e.StartTLS {
			return true
		}
	}
	return false
}

func (t *tcpAsker) talk(ctx context.Context, l *link) (int64, *fault) {
	defer l.raw.Close()
	stop := l.endWith(ctx)
	defer stop()
	if t.dialogue != nil {
		l.meter.left = maxHead
		bad := t.converse(ctx, l)
		return maxHead - l.meter.left, bad
	}
	if t.send != "" {
		if _, err := io.WriteString(l, strings.ReplaceAll(t.send, check.Nonce, newNonce())); err != nil {
			return 0, blame(ctx, "send", err, check.ClassReset)
		}
	}
	if t.expect == nil {
		return 0, nil
	}
	return t.listen(ctx, l)
}

// converse goes through the dialogue as blackbox_exporter does: an expectation skips the lines before it, what is sent may name
// groups of the line that matched and gets a line feed.
func (t *tcpAsker) converse(ctx context.Context, l *link) *fault {
	nonce := newNonce()
	for i, e := range t.dialogue {
		said := e.Send
		switch {
		case e.expect != nil:
			line, match, bad := t.await(ctx, l, i, e.expect)
			if bad != nil {
				return bad
			}
			said = string(e.expect.Expand(nil, []byte(e.Send), line, match))
		case e.ExpectBytes != "":
			if bad := t.awaitBytes(ctx, l, i, e.ExpectBytes); bad != nil {
				return bad
			}
		}
		if said != "" {
			if !strings.Contains(said, "\x00") { // bytes of a binary protocol, which a line feed would break
				said += "\n"
			}
			if _, err := io.WriteString(l, strings.ReplaceAll(said, check.Nonce, nonce)); err != nil {
				return blame(ctx, fmt.Sprintf("send %d", i+1), err, check.ClassReset)
			}
		}
		if e.StartTLS {
			if bad := t.handshake(ctx, l); bad != nil {
				return bad
			}
			l.listen()
		}
	}
	return nil
}

func (t *tcpAsker) await(ctx context.Context, l *link, i int, want *regexp.Regexp) (line []byte, match []int, bad *fault) {
	last := ""
	for {
		line, err := readLong(l.reader)
		if err == nil {
			if match := want.FindSubmatchIndex(line); match != nil {
				return line, match, nil
			}
			last = string(line)
			continue
		}
		switch {
		case ctx.Err() != nil:
			bad = blame(ctx, fmt.Sprintf("expect %d", i+1), err, check.ClassReset)
		case errors.Is(err, io.EOF) && last != "":
			bad = failed(check.ClassContent, "expect %d: heard %q last, want a match of %s", i+1, check.Clip(last, maxSeen), check.Clip(want.String(), maxSeen))
		case l.meter.left <= 0:
			bad = failed(check.ClassContent, "expect %d: %d KiB heard without a match of %s", i+1, maxHead>>10, check.Clip(want.String(), maxSeen))
		default:
			bad = blame(ctx, fmt.Sprintf("expect %d", i+1), err, check.ClassContent)
		}
		return nil, nil, bad
	}
}

// readLong is a line however long: the meter bounds it.
func readLong(r *bufio.Reader) (line []byte, err error) {
	for {
		part, err := r.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			line = append(line, part...)
			continue
		case err == nil && line == nil:
			return bytes.TrimRight(part, "\r\n"), nil
		}
		line = append(line, part...)
		if err == io.EOF && len(line) > 0 {
			err = nil // the last line needs no end
		}
		return bytes.TrimRight(line, "\r\n"), err
	}
}

func (t *tcpAsker) awaitBytes(ctx context.Context, l *link, i int, want string) *fault {
	got := make([]byte, len(want))
	n, err := io.ReadFull(l.reader, got)
	switch {
	case err != nil && n == 0, ctx.Err() != nil:
		return blame(ctx, fmt.Sprintf("expect %d", i+1), err, check.ClassReset)
	case string(got) != want:
		return failed(check.ClassContent, "expect %d: heard %q, want %q", i+1, check.Clip(string(got[:n]), maxSeen), check.Clip(want, maxSeen))
	}
	return nil
}

func (t *tcpAsker) listen(ctx context.Context, l *link) (int64, *fault) {
	heard := make([]byte, 0, maxHeard)
	for len(heard) < maxHeard {
		n, err := l.Read(heard[len(heard):maxHeard])
		heard = heard[:len(heard)+n]
		switch {
		case n > 0 && t.expect.Match(heard):
			return int64(len(heard)), nil
		case errors.Is(err, io.EOF) && len(heard) > 0:
			return int64(len(heard)), t.unexpected(heard)
		case err != nil:
			return int64(len(heard)), blame(ctx, "listen", err, check.ClassReset)
		}
	}
	return int64(len(heard)), t.unexpected(heard)
}

func (t *tcpAsker) unexpected(heard []byte) *fault {
	return failed(check.ClassContent, "heard %q, want a match of %s", check.Clip(string(heard), maxSeen), check.Clip(t.expect.String(), maxSeen))
}

// Close has nothing to give back.
func (t *tcpAsker) Close() error { return nil }

package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"

	"xunjian/pkg/check"
)

// maxHeard bounds what is read of a plain connection before what is expected must have come.
const maxHeard = 4 << 10

// tcpAsker connects, says something, and waits for what it expects to hear.
type tcpAsker struct {
	dialer
	send   string
	expect *regexp.Regexp
}

func newTCP(spec check.Spec, env Env) (Asker, error) {
	host, port, err := net.SplitHostPort(spec.Target)
	if _, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || host == "" {
		return nil, fmt.Errorf("target %s: not host:port", maskTarget(spec.Target))
	}
	t := &tcpAsker{dialer: dialer{env: env, host: host, port: port}, send: spec.TCP.Send}
	if t.tls, err = tlsConfig(spec, host); err != nil {
		return nil, err
	}
	if t.expect, err = compile(spec.TCP.Expect); err != nil {
		return nil, fmt.Errorf("tcp.expect: %w", err)
	}
	return t, nil
}

// Ask always opens a new connection: opening it is what is being tried.
func (t *tcpAsker) Ask(ctx context.Context, _ bool) check.Attempt {
	w := startWatch()
	l, bad := t.open(ctx, w)
	a := check.Attempt{Phases: w.phases}
	if l != nil {
		a.CertExpiry = l.expiry
	}
	if bad == nil {
		a.Bytes, bad = t.talk(ctx, l)
		if t.send != "" || t.expect != nil {
			w.lap("processing")
		}
		a.Phases = w.phases
	}
	a.Outcome = check.OK
	if bad != nil {
		a.Outcome, a.Class, a.Reason = bad.outcome, bad.class, bad.reason
	}
	return a
}

func (t *tcpAsker) talk(ctx context.Context, l *link) (int64, *fault) {
	defer l.raw.Close()
	stop := l.endWith(ctx)
	defer stop()
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
	return failed(check.ClassContent, "heard %q, want a match of %s", clipTo(string(heard), maxSeen), clipTo(t.expect.String(), maxSeen))
}

// Close has nothing to give back.
func (t *tcpAsker) Close() error { return nil }

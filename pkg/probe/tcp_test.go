package probe

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/check"
)

func TestTCPVerdicts(t *testing.T) {
	say := func(text string) func(net.Conn) {
		return func(conn net.Conn) { io.WriteString(conn, text); hang(conn) }
	}
	tests := map[string]struct {
		serve   func(net.Conn)
		tcp     check.TCP
		outcome check.Outcome
		class   check.Class
		reason  string
	}{
		"connects":            {hang, check.TCP{}, check.OK, "", ""},
		"banner":              {say("220 mail ready\r\n"), check.TCP{Expect: "^220 "}, check.OK, "", ""},
		"other banner":        {func(c net.Conn) { io.WriteString(c, "554 go away\r\n") }, check.TCP{Expect: "^220 "}, check.Fail, check.ClassContent, `heard "554 go away`},
		"no banner":           {hang, check.TCP{Expect: "^220 "}, check.Fail, check.ClassTimeout, "listen: no answer in time"},
		"hangs up in silence": {func(net.Conn) {}, check.TCP{Expect: "^220 "}, check.Fail, check.ClassReset, "listen"},
		"answers what is said": {func(c net.Conn) {
			b := make([]byte, 16)
			n, _ := c.Read(b)
			io.WriteString(c, "+"+string(b[:n]))
		}, check.TCP{Send: "PING\r\n", Expect: `^\+PING`}, check.OK, "", ""},
		"a long line":      {say("first\n" + strings.Repeat("x", 5000) + " ready\r\n"), check.TCP{Dialogue: []check.Exchange{{Expect: "x ready$"}}}, check.OK, "", ""},
		"a long last line": {func(c net.Conn) { io.WriteString(c, strings.Repeat("x", 5000)+" ready") }, check.TCP{Dialogue: []check.Exchange{{Expect: "x ready$"}}}, check.OK, "", ""},
		"an endless line":  {func(c net.Conn) { drip(c, strings.Repeat("x", 5000), 0) }, check.TCP{Dialogue: []check.Exchange{{Expect: "ready"}}}, check.Fail, check.ClassContent, "64 KiB heard without a match"},
		"endless talk":     {func(c net.Conn) { drip(c, strings.Repeat("x", 1000), 0) }, check.TCP{Expect: "y"}, check.Fail, check.ClassContent, "heard"},
		"comes in pieces": {func(c net.Conn) {
			for _, b := range "220 ready" {
				io.WriteString(c, string(b))
				time.Sleep(time.Millisecond)
			}
			hang(c)
		}, check.TCP{Expect: "^220 ready"}, check.OK, "", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			spec := patientTCP(rawServer(t, tc.serve), tc.tcp)
			if tc.class == check.ClassTimeout {
				spec = hasty(spec)
			}
			wantAttempt(t, ask(t, spec), tc.outcome, tc.class, tc.reason)
		})
	}
	t.Run("nobody", func(t *testing.T) {
		wantAttempt(t, ask(t, patientTCP(closedPort(t), check.TCP{})), check.Fail, check.ClassConnect, "refused")
	})
}

func TestTCPOverTLS(t *testing.T) {
	ca := newTestCA(t)
	config := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, time.Now().Add(time.Hour))}}
	addr := rawServer(t, func(conn net.Conn) {
		c := tls.Server(conn, config)
		io.WriteString(c, "hello\n")
		c.Read(make([]byte, 1))
	})
	spec := patientTCP(addr, check.TCP{TLS: true, Expect: "hello"})
	spec.TLS.CA = ca.pem
	a := ask(t, spec)
	wantAttempt(t, a, check.OK, "", "")
	if a.CertExpiry.IsZero() {
		t.Error("no expiry")
	}
	spec.TLS.CA = newTestCA(t).pem
	wantAttempt(t, ask(t, spec), check.Fail, check.ClassTLS, "unknown authority")
}

package check

import "fmt"

// TCP is what is said to and heard from a plain connection.
type TCP struct {
	Send     string     `yaml:"send,omitempty" json:"send,omitempty"`
	Expect   string     `yaml:"expect,omitempty" json:"expect,omitempty"`     // regular expression on the first bytes heard
	TLS      bool       `yaml:"tls,omitempty" json:"tls,omitempty"`           // from the first byte
	StartTLS string     `yaml:"starttls,omitempty" json:"starttls,omitempty"` // smtp, imap, pop3, ftp, postgres: as that protocol turns to TLS, before all else
	Dialogue []Exchange `yaml:"query_response,omitempty" json:"query_response,omitempty"`
}

// Exchange is one turn of a dialogue, with blackbox_exporter's meaning: lines are read until one matches, then Send is said with
// a line feed behind it, $1 standing for the match's first group, then TLS begins.
type Exchange struct {
	Expect      string `yaml:"expect,omitempty" json:"expect,omitempty"`             // regular expression on a line
	ExpectBytes string `yaml:"expect_bytes,omitempty" json:"expect_bytes,omitempty"` // exactly these come next; Send is then said as it is
	Send        string `yaml:"send,omitempty" json:"send,omitempty"`
	StartTLS    bool   `yaml:"starttls,omitempty" json:"starttls,omitempty"`
}

// maxTurns bounds a dialogue.
const maxTurns = 32

// StartTLS lists the protocols whose turn to TLS is known.
func StartTLS() []string { return []string{"ftp", "imap", "pop3", "postgres", "smtp"} }

func (t TCP) validate(fail func(path, format string, args ...any)) {
	if len(t.Send) > maxSent {
		fail("tcp.send", "longer than %d bytes", maxSent)
	}
	validatePattern(fail, "tcp.expect", t.Expect)
	validateStartTLS(fail, "tcp.starttls", t.StartTLS)
	if t.TLS && t.StartTLS != "" {
		fail("tcp.starttls", "tls is given too, which begins with the first byte: want one of the two")
	}
	if len(t.Dialogue) > 0 && (t.Send != "" || t.Expect != "") {
		fail("tcp.query_response", "send or expect are given too: want one of the two ways")
	}
	if len(t.Dialogue) > maxTurns {
		fail("tcp.query_response", "%d turns: want at most %d", len(t.Dialogue), maxTurns)
	}
	for i, e := range t.Dialogue {
		at := fmt.Sprintf("tcp.query_response[%d]", i)
		validatePattern(fail, at+".expect", e.Expect)
		if len(e.Send) > maxSent || len(e.ExpectBytes) > maxPattern {
			fail(at, "longer than %d bytes", maxSent)
		}
		if e.Expect != "" && e.ExpectBytes != "" {
			fail(at, "gives expect and expect_bytes: want one of the two")
		}
		if e.StartTLS && t.TLS {
			fail(at+".starttls", "the connection speaks TLS already")
		}
	}
}

func validateStartTLS(fail func(path, format string, args ...any), path, protocol string) {
	switch protocol {
	case "", "ftp", "imap", "pop3", "postgres", "smtp":
	default:
		fail(path, "%q: want one of %v", protocol, StartTLS())
	}
}

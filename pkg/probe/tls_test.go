package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"xunjian/pkg/check"
)

func patientTLS(target string, options check.TLS) check.Spec {
	spec := patient(target)
	spec.Kind, spec.TLS = "tls", options
	return spec
}

// tlsServer shakes hands and says nothing.
func tlsServer(t testing.TB, config *tls.Config) string {
	return rawServer(t, func(c net.Conn) { s := tls.Server(c, config); s.Handshake(); hang(s) })
}

func TestHandshakeVerdicts(t *testing.T) {
	ca := newTestCA(t)
	with := func(until time.Duration, change func(*tls.Config)) string {
		c := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, time.Now().Add(until))}}
		if change != nil {
			change(c)
		}
		return tlsServer(t, c)
	}
	good := with(99*24*time.Hour, nil)
	old := with(99*24*time.Hour, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS11, tls.VersionTLS11 })
	tests := map[string]struct {
		target  string
		tls     check.TLS
		outcome check.Outcome
		class   check.Class
		reason  string
		level   string // of the finding, "none" for no finding
	}{
		"good":                  {good, check.TLS{CA: ca.pem}, check.OK, "", "", ""},
		"no finding wanted":     {good, check.TLS{CA: ca.pem, Expiry: check.Expiry{Off: true}}, check.OK, "", "", "none"},
		"foreign CA":            {good, check.TLS{CA: newTestCA(t).pem}, check.Fail, check.ClassTLS, "unknown authority", ""},
		"another name":          {good, check.TLS{CA: ca.pem, ServerName: "other.example"}, check.Fail, check.ClassTLS, "other.example", ""},
		"further names":         {good, check.TLS{CA: ca.pem, Names: []string{"svc.example", "127.0.0.1"}}, check.OK, "", "", ""},
		"a further name not":    {good, check.TLS{CA: ca.pem, Names: []string{"www.example"}}, check.Fail, check.ClassTLS, "www.example", ""},
		"expired":               {with(-time.Hour, nil), check.TLS{CA: ca.pem}, check.Fail, check.ClassTLS, "expired", "urgent"},
		"expired, not verified": {with(-time.Hour, nil), check.TLS{SkipVerify: true}, check.OK, "", "", "urgent"},
		"6 days left":           {with(6*24*time.Hour, nil), check.TLS{CA: ca.pem}, check.OK, "", "", "general"},
		"9 days left":           {with(9*24*time.Hour, nil), check.TLS{CA: ca.pem}, check.OK, "", "", "minor"},
		"9 days, asked for 8":   {with(9*24*time.Hour, nil), check.TLS{CA: ca.pem, Expiry: check.Expiry{Minor: 8 * 24 * time.Hour}}, check.OK, "", "", ""},
		"old protocol":          {old, check.TLS{CA: ca.pem}, check.Fail, check.ClassTLS, "protocol version", "none"},
		"old protocol allowed":  {old, check.TLS{CA: ca.pem, MinVersion: "TLS10"}, check.OK, "", "", ""},
		"newest only":           {with(99*24*time.Hour, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }), check.TLS{CA: ca.pem, MinVersion: "TLS13"}, check.Fail, check.ClassTLS, "protocol version", "none"},
		"says nothing":          {rawServer(t, hang), check.TLS{}, check.Fail, check.ClassTimeout, "no answer in time", "none"},
		"nobody":                {closedPort(t), check.TLS{}, check.Fail, check.ClassConnect, "refused", "none"},
		"forbidden":             {"169.254.169.254:443", check.TLS{}, check.Unknown, check.ClassSetup, "refused to connect", "none"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			spec := patientTLS(tc.target, tc.tls)
			if tc.class == check.ClassTimeout {
				spec = hasty(spec)
			}
			a := ask(t, spec)
			wantAttempt(t, a, tc.outcome, tc.class, tc.reason)
			level := "none"
			if len(a.Findings) > 0 {
				level = a.Findings[0].Level
				if f := a.Findings[0]; f.Name != "certificate" || f.Until.IsZero() || (f.Reason == "") != (f.Level == "") {
					t.Errorf("finding %+v", f)
				}
			}
			if level != tc.level {
				t.Errorf("finding %q, want %q: %+v", level, tc.level, a.Findings)
			}
		})
	}
}

func TestTLSSeries(t *testing.T) {
	ca := newTestCA(t)
	spec := patientTLS(tlsServer(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, time.Now().Add(time.Hour))}, MaxVersion: tls.VersionTLS12}), check.TLS{CA: ca.pem})
	_, samples := newTestProber(t, spec, Options{}).Run(t.Context(), time.Now())
	if v := value(t, samples, "probe_ssl_last_chain_expiry_timestamp_seconds", ""); !(v > float64(time.Now().Unix())) {
		t.Errorf("chain until %v", v)
	}
	for _, s := range samples {
		if s.Series.Name == "probe_tls_version_info" && (s.Value == 1) != (s.Series.Get("version") == "TLS 1.2") {
			t.Errorf("%s is %v", s.Series, s.Value)
		}
	}
}

// starter plays a server of a protocol that turns to TLS. Each text is said after a line was heard, the first at once.
func starter(config *tls.Config, binary bool, says ...string) func(net.Conn) {
	return func(c net.Conn) {
		r := bufio.NewReader(c)
		for i, text := range says {
			if i > 0 || binary {
				if binary {
					io.ReadFull(r, make([]byte, 8))
				} else if _, err := r.ReadString('\n'); err != nil {
					return
				}
			}
			io.WriteString(c, text)
		}
		s := tls.Server(c, config)
		if s.Handshake() == nil {
			io.WriteString(s, "secret hello\r\n")
			hang(s)
		}
	}
}

func TestStartTLS(t *testing.T) {
	ca := newTestCA(t)
	config := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, time.Now().Add(time.Hour))}}
	tests := map[string]struct {
		protocol string
		serve    func(net.Conn)
		outcome  check.Outcome
		class    check.Class
		reason   string
	}{
		"smtp":           {"smtp", starter(config, false, "220-mail\r\n220 ready\r\n", "250-mail\r\n250 STARTTLS\r\n", "220 go\r\n"), check.OK, "", ""},
		"smtp refuses":   {"smtp", starter(config, false, "220 ready\r\n", "250 mail\r\n", "454 not now\r\n"), check.Fail, check.ClassTLS, `refused with "454 not now"`},
		"imap":           {"imap", starter(config, false, "* OK ready\r\n", "* CAPABILITY\r\na1 OK go\r\n"), check.OK, "", ""},
		"imap refuses":   {"imap", starter(config, false, "* OK ready\r\n", "a1 NO\r\n"), check.Fail, check.ClassTLS, "refused"},
		"pop3":           {"pop3", starter(config, false, "+OK ready\r\n", "+OK go\r\n"), check.OK, "", ""},
		"ftp":            {"ftp", starter(config, false, "220 ready\r\n", "234 go\r\n"), check.OK, "", ""},
		"postgres":       {"postgres", starter(config, true, "S"), check.OK, "", ""},
		"postgres plain": {"postgres", starter(config, true, "N"), check.Fail, check.ClassTLS, `refused with "N"`},
		"endless banner": {"smtp", func(c net.Conn) { drip(c, "220-more\r\n", 0) }, check.Fail, check.ClassTLS, "more than the probe reads"},
		"endless line":   {"smtp", func(c net.Conn) { drip(c, "220-more", 0) }, check.Fail, check.ClassTLS, "a line of over"},
		"silent":         {"smtp", hang, check.Fail, check.ClassTimeout, "ask for TLS: no answer in time"},
		"hangs up":       {"smtp", func(net.Conn) {}, check.Fail, check.ClassReset, "ask for TLS"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			addr := rawServer(t, tc.serve)
			spec := patientTLS(addr, check.TLS{CA: ca.pem, StartTLS: tc.protocol})
			tcp := patientTCP(addr, check.TCP{StartTLS: tc.protocol, Expect: "secret"})
			tcp.TLS.CA = ca.pem
			if tc.class == check.ClassTimeout {
				spec, tcp = hasty(spec), hasty(tcp)
			}
			wantAttempt(t, ask(t, spec), tc.outcome, tc.class, tc.reason)
			wantAttempt(t, ask(t, tcp), tc.outcome, tc.class, tc.reason)
		})
	}
}

// irc welcomes who answers its ping.
func irc(c net.Conn) {
	r := bufio.NewReader(c)
	r.ReadString('\n')
	io.WriteString(c, ":srv NOTICE * :wait\r\nPING :k9\r\n")
	if line, _ := r.ReadString('\n'); line == "PONG k9\n" {
		io.WriteString(c, ":srv 001 welcome\r\n")
	}
	hang(c)
}

func TestDialogue(t *testing.T) {
	ca := newTestCA(t)
	config := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, time.Now().Add(time.Hour))}}
	tests := map[string]struct {
		serve    func(net.Conn)
		dialogue []check.Exchange
		outcome  check.Outcome
		class    check.Class
		reason   string
	}{
		"groups are said back":  {irc, []check.Exchange{{Send: "NICK p"}, {Expect: "PING :([^ ]+)", Send: "PONG ${1}"}, {Expect: "^:[^ ]+ 001"}}, check.OK, "", ""},
		"ends without a match":  {func(c net.Conn) { io.WriteString(c, "one\ntwo\n") }, []check.Exchange{{Expect: "three"}}, check.Fail, check.ClassContent, `expect 1: heard "two" last, want a match of three`},
		"last line without end": {func(c net.Conn) { io.WriteString(c, "one\ntwo") }, []check.Exchange{{Expect: "two"}}, check.OK, "", ""},
		"endless lines":         {func(c net.Conn) { drip(c, "no\n", 0) }, []check.Exchange{{Expect: "yes"}}, check.Fail, check.ClassContent, "64 KiB heard"},
		"endless line":          {func(c net.Conn) { drip(c, "no", 0) }, []check.Exchange{{Expect: "yes"}}, check.Fail, check.ClassContent, "64 KiB heard without a match"},
		"silence":               {hang, []check.Exchange{{Expect: "yes"}}, check.Fail, check.ClassTimeout, "no answer in time"},
		"bytes":                 {func(c net.Conn) { c.Read(make([]byte, 8)); c.Write([]byte("S\x00")); hang(c) }, []check.Exchange{{Send: "\x00\x00\x00\x08"}, {ExpectBytes: "S\x00"}}, check.OK, "", ""},
		"other bytes":           {func(c net.Conn) { c.Write([]byte("N\x00")); hang(c) }, []check.Exchange{{ExpectBytes: "S\x00"}}, check.Fail, check.ClassContent, `heard "N?", want "S?"`},
		"turns to TLS": {starter(config, false, "220 ready\r\n", "220 go\r\n"), []check.Exchange{
			{Expect: "^220", Send: "STARTTLS\r"}, {Expect: "^220"}, {StartTLS: true}, {Expect: "^secret hello$"},
		}, check.OK, "", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			spec := patientTCP(rawServer(t, tc.serve), check.TCP{Dialogue: tc.dialogue})
			spec.TLS.CA = ca.pem
			if tc.class == check.ClassTimeout {
				spec = hasty(spec)
			}
			a := ask(t, spec)
			wantAttempt(t, a, tc.outcome, tc.class, tc.reason)
			if name == "turns to TLS" && (a.CertExpiry.IsZero() || len(a.Findings) != 1) {
				t.Errorf("no certificate was seen: %+v", a)
			}
		})
	}
}

// A kept connection does not hide a certificate that has been changed: the next full handshake, at a stated pace, sees it, and any
// failure makes one at once.
func TestKeptConnectionDoesNotHideTheCertificate(t *testing.T) {
	ca := newTestCA(t)
	var current atomic.Pointer[tls.Certificate]
	var handshakes atomic.Int64
	good, expired := ca.issue(t, time.Now().Add(99*24*time.Hour)), ca.issue(t, time.Now().Add(-time.Minute))
	current.Store(&good)
	var broken atomic.Bool
	config := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		handshakes.Add(1)
		return current.Load(), nil
	}}
	addr := rawServer(t, func(c net.Conn) {
		s := tls.Server(c, config)
		for r := bufio.NewReader(s); ; {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			req.Body.Close()
			status := "200 OK"
			if broken.Load() {
				status = "500 No"
			}
			fmt.Fprintf(s, "HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n", status)
		}
	})
	for name, spoil := range map[string]func(p *Prober){
		"at the stated pace": func(p *Prober) { time.Sleep(p.asker.(*httpAsker).env.FullEvery) },
		"at once on a failure": func(p *Prober) {
			broken.Store(true)
			defer broken.Store(false)
			if a := p.attempt(context.Background(), false); a.Class != check.ClassStatus {
				t.Errorf("%+v", a)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			current.Store(&good)
			spec := patient("https://" + addr)
			spec.Every, spec.TLS.CA = time.Second, ca.pem
			every := time.Minute
			if strings.HasPrefix(name, "at the stated") {
				every = 1500 * time.Millisecond
			}
			p := newTestProber(t, spec, Options{FullEvery: every})
			before := handshakes.Load()
			for range 5 {
				r, _ := p.Run(t.Context(), time.Now())
				wantAttempt(t, r.First(), check.OK, "", "")
			}
			if n := handshakes.Load() - before; n != 1 && every == time.Minute {
				t.Errorf("%d handshakes for five checks, want one", n)
			}
			current.Store(&expired)
			spoil(p)
			r, _ := p.Run(t.Context(), time.Now())
			wantAttempt(t, r.First(), check.Fail, check.ClassTLS, "expired")
			if f := r.First().Findings; len(f) != 1 || f[0].Level != "urgent" {
				t.Errorf("findings %+v", f)
			}
			if r.Outcome() != check.Fail || !r.Confirmed() {
				t.Errorf("round %s, confirmed %v", r.Outcome(), r.Confirmed())
			}
		})
	}
}

func FuzzStartTLS(f *testing.F) {
	f.Add("smtp", []byte("220-a\r\n220 b\r\n250 c\r\n220 d\r\n"))
	f.Add("imap", []byte("* OK\r\na1 OK\r\n"))
	f.Add("postgres", []byte("S"))
	f.Fuzz(func(t *testing.T, protocol string, said []byte) {
		begin, err := startTLS(protocol)
		if begin == nil || err != nil {
			return
		}
		l := &link{raw: deaf{}}
		l.Conn, l.meter.left = deaf{}, maxHead
		l.meter.src = strings.NewReader(string(said))
		l.reader = bufio.NewReader(&l.meter)
		_ = begin(l)
	})
}

// deaf is a connection that takes everything and says nothing.
type deaf struct{ net.Conn }

func (deaf) Write(p []byte) (int, error) { return len(p), nil }

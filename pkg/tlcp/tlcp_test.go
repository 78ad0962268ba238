package tlcp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"xunjian/pkg/ses"
	"xunjian/pkg/tlcp/tlcptest"
)

// server is one side of a handshake as far as it goes in the clear; fields change what it does.
type server struct {
	signing, encryption ses.Identity
	suite               Suite
	certs               [][]byte // default: signing, encryption
	prover              ses.Identity
	extra               []byte // put in front of its flight
	split               int    // bytes a record; 0: a record a message
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newServer(t testing.TB, suite Suite) server {
	t.Helper()
	now := time.Now()
	ca, err := ses.NewAuthority("root", now.Add(-time.Hour), now.Add(1000*time.Hour))
	must(t, err)
	signing, err := ca.Issue("sign", ses.ServerSigning, now.Add(-time.Hour), now.Add(100*time.Hour), "")
	must(t, err)
	encryption, err := ca.Issue("enc", ses.ServerEncryption, now.Add(-time.Hour), now.Add(50*time.Hour), "")
	must(t, err)
	return server{
		signing: signing, encryption: encryption, prover: signing, suite: suite,
		certs: [][]byte{signing.Cert.Raw, encryption.Cert.Raw, ca.Cert.Raw},
	}
}

func message(kind uint8, fill func(b *cryptobyte.Builder)) []byte {
	var b cryptobyte.Builder
	b.AddUint8(kind)
	b.AddUint24LengthPrefixed(fill)
	return b.BytesOrPanic()
}

func record(kind uint8, body []byte) []byte {
	return append([]byte{kind, 1, 1, byte(len(body) >> 8), byte(len(body))}, body...)
}

// flight is what the server sends to a client with the random bytes given.
func (s server) flight(t testing.TB, client []byte) []byte {
	t.Helper()
	random := bytes.Repeat([]byte{7}, 32)
	hello := message(messageServerHello, func(b *cryptobyte.Builder) {
		b.AddUint16(Version)
		b.AddBytes(random)
		b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte("session")) })
		b.AddUint16(uint16(s.suite))
		b.AddUint8(0)
	})
	certs := message(messageCertificate, func(b *cryptobyte.Builder) {
		b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
			for _, der := range s.certs {
				b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(der) })
			}
		})
	})
	params := []byte{3, 0, 41, 4, 1, 2, 3, 4}
	signed := append(append([]byte{}, client...), random...)
	if s.suite.ephemeral() {
		signed = append(signed, params...)
	} else {
		n := len(s.encryption.Cert.Raw)
		signed = append(append(signed, byte(n>>16), byte(n>>8), byte(n)), s.encryption.Cert.Raw...)
	}
	signature, err := s.prover.Sign(signed)
	must(t, err)
	exchange := message(messageExchange, func(b *cryptobyte.Builder) {
		if s.suite.ephemeral() {
			b.AddBytes(params)
		}
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(signature) })
	})
	request := message(messageRequest, func(b *cryptobyte.Builder) { b.AddBytes([]byte{1, 80, 0, 0}) })
	done := message(messageDone, func(*cryptobyte.Builder) {})
	return s.records(hello, certs, exchange, request, done)
}

func (s server) records(messages ...[]byte) []byte {
	out := bytes.Clone(s.extra)
	if s.split == 0 {
		for _, m := range messages {
			out = append(out, record(recordHandshake, m)...)
		}
		return out
	}
	for all := bytes.Join(messages, nil); len(all) > 0; {
		n := min(s.split, len(all))
		out = append(out, record(recordHandshake, all[:n])...)
		all = all[n:]
	}
	return out
}

func (s server) scan(t testing.TB) (*Hello, error) {
	t.Helper()
	f := flight{client: [32]byte{1, 2, 3}}
	return f.read(bytes.NewReader(s.flight(t, f.client[:])))
}

func TestEverySuite(t *testing.T) {
	for _, suite := range Suites {
		s := newServer(t, suite)
		for _, split := range []int{0, 1 << 10, 16 << 10} {
			s.split = split
			h, err := s.scan(t)
			if err != nil {
				t.Errorf("%v in records of %d: %v", suite, split, err)
				continue
			}
			if h.Suite != suite || !h.Signing().Equal(s.signing.Cert) || !h.Encryption().Equal(s.encryption.Cert) || len(h.Chain) != 3 {
				t.Errorf("%v: got %v with %d certificates", suite, h.Suite, len(h.Chain))
			}
		}
	}
}

func TestProof(t *testing.T) {
	for _, suite := range Suites {
		s := newServer(t, suite)
		s.prover = s.encryption // shows a signing certificate whose key it lacks
		h, err := s.scan(t)
		if !errors.Is(err, ErrProof) || h == nil || len(h.Chain) != 3 {
			t.Errorf("%v: got %v, %v", suite, h, err)
		}
	}
}

func TestRefused(t *testing.T) {
	suite := Suites[0]
	with := func(change func(s *server)) server {
		s := newServer(t, suite)
		change(&s)
		return s
	}
	tests := map[string]struct {
		server server
		want   error
		text   string
	}{
		"alert":             {with(func(s *server) { s.extra = record(recordAlert, []byte{2, 40}) }), Alert(40), "handshake failure"},
		"alert of TLS":      {with(func(s *server) { s.extra = []byte{21, 3, 3, 0, 2, 2, 70} }), Alert(70), "protocol version"},
		"TLS":               {with(func(s *server) { s.extra = []byte{22, 3, 3, 0, 2, 2, 0} }), ErrOther, "version 0303"},
		"HTTP":              {with(func(s *server) { s.extra = []byte("HTTP/1.1 400 Bad Request\r\n") }), ErrOther, "HTTP/"},
		"no certificate":    {with(func(s *server) { s.certs = nil }), ErrInvalid, "no certificate"},
		"one certificate":   {with(func(s *server) { s.certs = s.certs[:1] }), ErrProof, "no encryption certificate"},
		"many certificates": {with(func(s *server) { s.certs = make([][]byte, 17) }), ErrInvalid, "type 11"},
		"bad certificate":   {with(func(s *server) { s.certs[1] = []byte("der") }), ErrInvalid, "certificate 2"},
		"suite not offered": {with(func(s *server) { s.suite = 0xe019 }), ErrInvalid, "e019"},
		"data first":        {with(func(s *server) { s.extra = record(23, []byte("x")) }), ErrInvalid, "record type 23"},
		"empty record":      {with(func(s *server) { s.extra = record(recordHandshake, nil) }), ErrInvalid, "0 bytes"},
		"huge record":       {with(func(s *server) { s.extra = []byte{22, 1, 1, 0xff, 0xff} }), ErrInvalid, "65535 bytes"},
		"finished first":    {with(func(s *server) { s.extra = record(recordHandshake, message(20, func(*cryptobyte.Builder) {})) }), ErrInvalid, "type 20"},
		"done first":        {with(func(s *server) { s.extra = record(recordHandshake, message(14, func(*cryptobyte.Builder) {})) }), ErrInvalid, "type 14"},
		"dribble":           {with(func(s *server) { s.split = 1 }), ErrInvalid, "over 64 records"},
		"flood":             {with(func(s *server) { s.extra = flood() }), ErrInvalid, "over 128 KiB"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := tc.server.scan(t)
			if !errors.Is(err, tc.want) || !strings.Contains(fmt.Sprint(err), tc.text) {
				t.Errorf("got %v, want %v with %q", err, tc.want, tc.text)
			}
		})
	}
}

// flood is one message that never ends.
func flood() []byte {
	out := record(recordHandshake, append([]byte{messageServerHello, 0xff, 0xff, 0xff}, make([]byte, 16000)...))
	for range 20 {
		out = append(out, record(recordHandshake, make([]byte, 16000))...)
	}
	return out
}

func TestCutShort(t *testing.T) {
	s := newServer(t, Suites[0])
	f := flight{}
	whole := s.flight(t, f.client[:])
	for n := 0; n < len(whole); n += 97 {
		f := flight{}
		if _, err := f.read(bytes.NewReader(whole[:n])); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("after %d of %d bytes: %v", n, len(whole), err)
		}
	}
}

func TestScanEndsWithContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Scan(ctx, conn, ""); !errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() == nil {
		t.Errorf("got %v", err)
	}
}

// The greeting names the server where it has a name, and nowhere else.
func TestGreeting(t *testing.T) {
	for name, want := range map[string]bool{"seal.example.org": true, "127.0.0.1": false, "": false} {
		if got := bytes.Contains(clientHello([32]byte{}, name), []byte("seal.example.org")); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

// TestPeer shakes hands with a server made with another library.
func TestPeer(t *testing.T) {
	s := newServer(t, Suites[1])
	addr := tlcptest.Start(t, s.signing, s.encryption)
	for _, name := range []string{"", "localhost"} {
		conn, err := net.Dial("tcp", addr)
		must(t, err)
		defer conn.Close()
		h, err := Scan(t.Context(), conn, name)
		if err != nil {
			t.Fatalf("with name %q: %v", name, err)
		}
		if h.Suite.String() != "ECC_SM4_CBC_SM3" || !h.Signing().Equal(s.signing.Cert) || !h.Encryption().Equal(s.encryption.Cert) {
			t.Errorf("got %v and %d certificates", h.Suite, len(h.Chain))
		}
	}
}

func FuzzFlight(f *testing.F) {
	for _, suite := range Suites[1:3] {
		s := newServer(f, suite)
		f.Add(s.flight(f, make([]byte, 32)))
		s.split = 700
		f.Add(s.flight(f, make([]byte, 32)))
	}
	f.Add(record(recordAlert, []byte{2, 40}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var fl flight
		h, err := fl.read(bytes.NewReader(b))
		if err == nil && (h == nil || len(h.Chain) == 0 || h.Signing() == nil) {
			t.Error("no error, and no certificate")
		}
	})
}

// Package tlcp reads what a server of the Chinese TLS (TLCP, GB/T 38636-2020) shows in the clear: version, suite, certificates.
package tlcp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/emmansun/gmsm/smx509"
)

// Version is the only one that there is: the number says 1.1, the state machine is TLS 1.1's.
const Version = 0x0101

// Suites are offered, the best first (GB/T 38636 table 2).
var Suites = []Suite{0xe053, 0xe013, 0xe051, 0xe011}

// Suite is a cipher suite's number on the wire.
type Suite uint16

var suiteNames = map[Suite]string{
	0xe011: "ECDHE_SM4_CBC_SM3",
	0xe013: "ECC_SM4_CBC_SM3",
	0xe051: "ECDHE_SM4_GCM_SM3",
	0xe053: "ECC_SM4_GCM_SM3",
}

// String is the standard's name of the suite, without its number.
func (s Suite) String() string {
	if name, ok := suiteNames[s]; ok {
		return name
	}
	return fmt.Sprintf("%04x", uint16(s))
}

// ephemeral suites send the signed half of a key exchange, the others sign the encryption certificate.
func (s Suite) ephemeral() bool { return s == 0xe011 || s == 0xe051 }

// Caps on what a server may make the scan read.
const (
	maxRecords = 64
	maxRecord  = 16<<10 + 2048
	maxBytes   = 128 << 10 // of all records
	maxCerts   = 16
)

// Errors that callers tell apart from a broken connection.
var (
	ErrOther   = errors.New("the server does not speak TLCP")     // another protocol, or TLS alone
	ErrInvalid = errors.New("the server breaks TLCP's rules")     // a message that cannot be read, or more of them than the caps allow
	ErrProof   = errors.New("the server's proof does not verify") // it does not own the signing certificate that it shows
)

// Alert is a fatal refusal, or the warning with which a server says good-bye.
type Alert byte

var alertNames = map[Alert]string{
	0: "close notify", 10: "unexpected message", 20: "bad record MAC", 40: "handshake failure", 42: "bad certificate", 43: "unsupported certificate",
	45: "certificate expired", 46: "certificate unknown", 47: "illegal parameter", 48: "unknown CA", 49: "access denied", 50: "decode error",
	51: "decrypt error", 70: "protocol version", 71: "insufficient security", 80: "internal error", 112: "unrecognized name",
}

// Error names the alert.
func (a Alert) Error() string {
	if name, ok := alertNames[a]; ok {
		return fmt.Sprintf("the server refused the handshake: alert %d, %s", byte(a), name)
	}
	return fmt.Sprintf("the server refused the handshake: alert %d", byte(a))
}

// Hello is what a server showed.
type Hello struct {
	Suite Suite
	Chain []*smx509.Certificate // as sent: signing, encryption, then those of authorities
}

// Signing is the certificate with which the server proves who it is.
func (h *Hello) Signing() *smx509.Certificate { return h.Chain[0] }

// Encryption is the certificate under which clients send their secrets; nil when the server shows none, which breaks the standard.
func (h *Hello) Encryption() *smx509.Certificate {
	if len(h.Chain) < 2 || h.Chain[1].IsCA {
		return nil
	}
	return h.Chain[1]
}

// Scan greets the server on an open connection, reads to the end of its first flight and says good-bye. The handshake is not
// finished, so no key of a client is needed, and yet the server has to prove that it owns its signing certificate. What was
// read of the certificates comes back beside ErrProof, too. Scan ends when ctx does and leaves closing conn to its caller.
func Scan(ctx context.Context, conn net.Conn, serverName string) (*Hello, error) {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	f := flight{}
	rand.Read(f.client[:])
	if _, err := conn.Write(clientHello(f.client, serverName)); err != nil {
		return nil, fmt.Errorf("send greeting: %w", err)
	}
	hello, err := f.read(conn)
	if err == nil || errors.Is(err, ErrProof) {
		_, _ = conn.Write([]byte{recordAlert, 1, 1, 0, 2, 1, 0}) // good-bye; whether it is heard does not matter
	}
	return hello, err
}

// flight is the server's first run of messages, as far as it has come.
type flight struct {
	client, server [32]byte // both sides' random bytes
	suite          Suite
	certs          [][]byte
	exchange       []byte // body of the server's key exchange
	done           bool
}

// read takes records until the server has said that its flight is over.
func (f *flight) read(r io.Reader) (*Hello, error) {
	var pending []byte // of handshake messages, which need not end with a record
	total := 0
	for range maxRecords {
		kind, body, err := readRecord(r)
		if err != nil {
			return nil, err
		}
		if total += len(body); total > maxBytes {
			return nil, fmt.Errorf("%w: a first flight over %d KiB", ErrInvalid, maxBytes>>10)
		}
		switch kind {
		case recordAlert:
			if len(body) != 2 {
				return nil, fmt.Errorf("%w: an alert of %d bytes", ErrInvalid, len(body))
			}
			return nil, Alert(body[1])
		case recordHandshake:
			pending = append(pending, body...)
		default:
			return nil, fmt.Errorf("%w: record type %d before the handshake's end", ErrInvalid, kind)
		}
		if pending, err = f.take(pending); err != nil {
			return nil, err
		}
		if f.done {
			return f.hello()
		}
	}
	return nil, fmt.Errorf("%w: a first flight of over %d records", ErrInvalid, maxRecords)
}

// hello parses the certificates and holds the server to its proof.
func (f *flight) hello() (*Hello, error) {
	h := &Hello{Suite: f.suite}
	for i, der := range f.certs {
		c, err := smx509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("%w: certificate %d: %w", ErrInvalid, i+1, err)
		}
		h.Chain = append(h.Chain, c)
	}
	if len(h.Chain) == 0 {
		return nil, fmt.Errorf("%w: no certificate", ErrInvalid)
	}
	return h, f.prove(h)
}

package tlcp

import (
	"crypto/ecdsa"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/emmansun/gmsm/sm2"
	"golang.org/x/crypto/cryptobyte"
)

// Types of records and of handshake messages.
const (
	recordAlert     = 21
	recordHandshake = 22

	messageClientHello = 1
	messageServerHello = 2
	messageCertificate = 11
	messageExchange    = 12
	messageRequest     = 13
	messageDone        = 14
)

// extensionName is RFC 6066's server_name. The standard has no extensions, so one is sent only where a name is asked for.
const extensionName = 0

// clientHello is the greeting, its record header included.
func clientHello(random [32]byte, serverName string) []byte {
	var b cryptobyte.Builder
	b.AddUint8(recordHandshake)
	b.AddUint16(Version)
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint8(messageClientHello)
		b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
			b.AddUint16(Version)
			b.AddBytes(random[:])
			b.AddUint8(0) // no session to resume
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				for _, s := range Suites {
					b.AddUint16(uint16(s))
				}
			})
			b.AddBytes([]byte{1, 0}) // no compression
			addName(b, serverName)
		})
	})
	return b.BytesOrPanic()
}

func addName(b *cryptobyte.Builder, name string) {
	if _, err := netip.ParseAddr(name); name == "" || err == nil || len(name) > 255 {
		return // an address is no name
	}
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint16(extensionName)
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				b.AddUint8(0) // a host name
				b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(name)) })
			})
		})
	})
}

// readRecord reads one record. Its body is only read once its header says that this is TLCP.
func readRecord(r io.Reader) (kind byte, body []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, fmt.Errorf("read record: %w", err)
	}
	kind, length := head[0], int(binary.BigEndian.Uint16(head[3:]))
	switch version := binary.BigEndian.Uint16(head[1:]); {
	case kind < 20 || kind > 23 || head[1] != 1 && head[1] != 3:
		return 0, nil, fmt.Errorf("%w: it answers %q", ErrOther, head)
	case version != Version && (kind != recordAlert || length != 2):
		return 0, nil, fmt.Errorf("%w: it answers in version %04x", ErrOther, version)
	case length == 0 || length > maxRecord:
		return 0, nil, fmt.Errorf("%w: a record of %d bytes", ErrInvalid, length)
	}
	// An alert may come in TLS' version, for the server has not agreed to ours.
	body = make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, nil, fmt.Errorf("read record: %w", noEOF(err))
	}
	return kind, body, nil
}

// noEOF tells an end within a message from one between two.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// take reads the whole messages off the front and returns what is left.
func (f *flight) take(pending []byte) ([]byte, error) {
	s := cryptobyte.String(pending)
	for !f.done {
		rest := s
		var kind uint8
		var body cryptobyte.String
		if !s.ReadUint8(&kind) || !s.ReadUint24LengthPrefixed(&body) {
			return rest, nil // the rest of the message is yet to come; the caps bound it
		}
		if err := f.message(kind, body); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// message takes one message; each comes at most once, in the standard's order.
func (f *flight) message(kind uint8, body cryptobyte.String) error {
	ok := false
	switch kind {
	case messageServerHello:
		ok = f.suite == 0 && f.serverHello(body)
		if ok && suiteNames[f.suite] == "" {
			return fmt.Errorf("%w: suite %v, which was not offered", ErrInvalid, f.suite)
		}
	case messageCertificate:
		ok = f.suite != 0 && f.certs == nil && f.certificates(body)
	case messageExchange:
		ok = f.certs != nil && f.exchange == nil && len(body) > 0
		f.exchange = body
	case messageRequest:
		ok = f.certs != nil // that it wants a client's certificate is no concern of ours
	case messageDone:
		ok = f.certs != nil && body.Empty()
		f.done = true
	default:
		return fmt.Errorf("%w: message type %d in its first flight", ErrInvalid, kind)
	}
	if !ok {
		return fmt.Errorf("%w: message type %d cannot be read, or not here", ErrInvalid, kind)
	}
	return nil
}

func (f *flight) serverHello(s cryptobyte.String) bool {
	var version, suite uint16
	var session cryptobyte.String
	var compression uint8
	ok := s.ReadUint16(&version) && version == Version && s.CopyBytes(f.server[:]) &&
		s.ReadUint8LengthPrefixed(&session) && s.ReadUint16(&suite) && s.ReadUint8(&compression) && compression == 0
	f.suite = Suite(suite)
	return ok && suite != 0
}

func (f *flight) certificates(s cryptobyte.String) bool {
	var list cryptobyte.String
	if !s.ReadUint24LengthPrefixed(&list) || !s.Empty() {
		return false
	}
	f.certs = [][]byte{}
	for !list.Empty() {
		var der cryptobyte.String
		if !list.ReadUint24LengthPrefixed(&der) || len(f.certs) == maxCerts {
			return false
		}
		f.certs = append(f.certs, der)
	}
	return true
}

// prove checks the signature in the server's key exchange (GB/T 38636 6.4.5.4): over both sides' random bytes, so that it was
// made for this connection, and the encryption certificate or the ephemeral key.
func (f *flight) prove(h *Hello) error {
	key, ok := h.Signing().PublicKey.(*ecdsa.PublicKey)
	if !ok || !sm2.IsSM2PublicKey(key) {
		return fmt.Errorf("%w: the signing certificate holds no SM2 key", ErrProof)
	}
	s := cryptobyte.String(f.exchange)
	var b cryptobyte.Builder
	b.AddBytes(f.client[:])
	b.AddBytes(f.server[:])
	switch {
	case f.suite.ephemeral():
		var params cryptobyte.String
		if !readParams(&s, &params) {
			return fmt.Errorf("%w: no ephemeral key", ErrProof)
		}
		b.AddBytes(params)
	case len(f.certs) < 2:
		return fmt.Errorf("%w: no encryption certificate", ErrProof)
	default:
		b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(f.certs[1]) })
	}
	var signature cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&signature) || !s.Empty() || !sm2.VerifyASN1WithSM2(key, nil, b.BytesOrPanic(), signature) {
		return fmt.Errorf("%w: its signature is not of the certificate shown", ErrProof)
	}
	return nil
}

// readParams takes the ephemeral key off the front, as it was signed: curve type, curve, point.
func readParams(s, params *cryptobyte.String) bool {
	start := *s
	var kind uint8
	var curve uint16
	var point cryptobyte.String
	if !s.ReadUint8(&kind) || !s.ReadUint16(&curve) || !s.ReadUint8LengthPrefixed(&point) {
		return false
	}
	*params = start[:len(start)-len(*s)]
	return true
}

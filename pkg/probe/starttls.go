package probe

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"xunjian/pkg/check"
)

// refusedTLS is the other side's word that it does not turn to TLS.
type refusedTLS struct{ said string }

func (r refusedTLS) Error() string {
	return fmt.Sprintf("ask for TLS: refused with %q", check.Clip(r.said, maxSeen))
}

// startTLS is how a protocol turns a plain connection to TLS (RFC 3207, 2595, 4217; PostgreSQL's SSLRequest).
func startTLS(protocol string) (func(l *link) error, error) {
	switch protocol {
	case "":
		return nil, nil
	case "smtp":
		return func(l *link) error {
			return say(l, codeLine("220"), "EHLO xunjian\r\n", codeLine("250"), "STARTTLS\r\n", codeLine("220"))
		}, nil
	case "ftp":
		return func(l *link) error { return say(l, codeLine("220"), "AUTH TLS\r\n", codeLine("234")) }, nil
	case "imap":
		return func(l *link) error { return say(l, wordLine("* OK"), "a1 STARTTLS\r\n", wordLine("a1 OK", "a1 ")) }, nil
	case "pop3":
		return func(l *link) error { return say(l, wordLine("+OK"), "STLS\r\n", wordLine("+OK")) }, nil
	case "postgres":
		return func(l *link) error { return say(l, "\x00\x00\x00\x08\x04\xd2\x16\x2f", oneByte('S')) }, nil
	}
	return nil, fmt.Errorf("starttls: this agent does not know how %q turns to TLS", protocol)
}

// hears reads what must come next.
type hears func(r *bufio.Reader) error

// say goes through a dialogue of texts to send and answers to hear.
func say(l *link, turns ...any) error {
	for _, t := range turns {
		var err error
		switch t := t.(type) {
		case string:
			_, err = io.WriteString(l.raw, t)
		case hears:
			err = t(l.reader)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// codeLine reads a reply of SMTP or FTP, which goes on while its code is followed by a hyphen.
func codeLine(want string) hears {
	return func(r *bufio.Reader) error {
		for {
			line, err := readLine(r)
			if err != nil {
				return err
			}
			if !bytes.HasPrefix(line, []byte(want)) {
				return refusedTLS{string(line)}
			}
			if len(line) == len(want) || line[len(want)] != '-' {
				return nil
			}
		}
	}
}

// wordLine reads lines until one begins with the first text; of those that begin with a later one the first ends it.
func wordLine(want string, stops ...string) hears {
	return func(r *bufio.Reader) error {
		for {
			line, err := readLine(r)
			switch {
			case err != nil:
				return err
			case bytes.HasPrefix(line, []byte(want)):
				return nil
			case len(stops) == 0:
				return refusedTLS{string(line)}
			}
			for _, s := range stops {
				if strings.HasPrefix(string(line), s) {
					return refusedTLS{string(line)}
				}
			}
		}
	}
}

func oneByte(want byte) hears {
	return func(r *bufio.Reader) error {
		b, err := r.ReadByte()
		if err == nil && b != want {
			err = refusedTLS{string(b)}
		}
		return err
	}
}

// readLine is a line without its end. Lines longer than the buffer are an error: nobody talks like this.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, fmt.Errorf("a line of over %d bytes", len(line))
	case err == io.EOF && len(line) > 0:
		err = nil // the last line needs no end
	}
	return bytes.TrimRight(line, "\r\n"), err
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// addrHash is blackbox_exporter's: it tells that the address changed, not which it is.
func addrHash(a netip.Addr) float64 {
	h := fnv.New32a()
	h.Write(a.Unmap().AsSlice()) // never fails
	return float64(h.Sum32())
}

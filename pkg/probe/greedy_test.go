package probe

import (
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"xunjian/pkg/check"
)

// byRecord says each byte in a TLS record of its own, which costs 23 on the wire.
func byRecord(config *tls.Config, first, again string) func(net.Conn) {
	return func(conn net.Conn) {
		c := tls.Server(conn, config)
		if c.Handshake() != nil {
			return
		}
		go io.Copy(io.Discard, c)
		for text := first; ; text = again {
			for i := range len(text) {
				if _, err := io.WriteString(c, text[i:i+1]); err != nil {
					return
				}
			}
		}
	}
}

// However little of it is an answer, of a connection no more than 1 MiB is read.
func TestRecordsOfOneByte(t *testing.T) {
	ca := newTestCA(t)
	config := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, time.Now().Add(99*24*time.Hour))}, NextProtos: []string{"h2", "http/1.1"}}
	const ok, many = "HTTP/1.1 200 OK\r\n", "more than 1024 KiB"
	for name, tc := range map[string]struct {
		first, again string
		spoil        func(s *check.Spec)
		reason       string
	}{
		"body": {ok + "\r\n", "y", func(*check.Spec) {}, "read body: " + many},
		"head": {ok + "X: ", "y", func(*check.Spec) {}, "read answer: " + many},
		"dialogue": {"", "x\n", func(s *check.Spec) {
			s.Kind, s.TCP = "tcp", check.TCP{TLS: true, Dialogue: []check.Exchange{{Expect: "never"}}}
		}, many},
		"gRPC": {string(frame(0x4, 0, "")), string(frame(0x77, 0, "")), func(s *check.Spec) { s.Kind, s.GRPC.TLS = "grpc", true }, many},
	} {
		t.Run(name, func(t *testing.T) {
			spec := patient("https://" + rawServer(t, byRecord(config, tc.first, tc.again)))
			spec.TLS.CA = ca.pem
			if tc.spoil(&spec); spec.Kind != "http" {
				spec.Target = strings.TrimPrefix(spec.Target, "https://")
			}
			var eaten appetite
			a := newTestProber(t, spec, Options{Dial: eaten.dial}).attempt(t.Context(), true)
			wantAttempt(t, a, check.Fail, check.ClassContent, tc.reason)
			if n := eaten.read.Load(); n > maxBody {
				t.Errorf("read %d bytes", n)
			}
		})
	}
}

// A chain is read up to 256 KiB, and told of in time.
func TestLargeChains(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		DNSNames: []string{"localhost"}, ExtraExtensions: []pkix.Extension{{Id: []int{1, 2, 3}, Value: make([]byte, 2000)}},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	for n, reason := range map[int]string{100: "failed to verify", 200: "exceeds maximum"} {
		chain := make([][]byte, n)
		for i := range chain {
			chain[i] = der
		}
		config := &tls.Config{Certificates: []tls.Certificate{{Certificate: chain, PrivateKey: key}}}
		spec := patient(rawServer(t, func(conn net.Conn) { tls.Server(conn, config).Handshake(); hang(conn) }))
		spec.Kind = "tls"
		var eaten appetite
		wantAttempt(t, newTestProber(t, spec, Options{Dial: eaten.dial}).attempt(t.Context(), true), check.Fail, check.ClassTLS, reason)
		if got := eaten.read.Load(); got > 300<<10 {
			t.Errorf("%d certificates: read %d bytes", n, got)
		}
	}
}

// All hops of an attempt share what it reads, and cookies are kept within bounds.
func TestGreedyRedirects(t *testing.T) {
	const moved = "HTTP/1.1 302 Found\r\nLocation: /x\r\n"
	hops := 0
	large := rawServer(t, func(conn net.Conn) {
		if readRequest(conn); hops < 10 {
			hops++
			io.WriteString(conn, moved+"X: "+strings.Repeat("y", 63<<10)+"\r\nContent-Length: 0\r\n\r\n")
			return
		}
		io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		drip(conn, strings.Repeat("y", 4096), 0)
	})
	cookies := rawServer(t, func(conn net.Conn) {
		readRequest(conn)
		var b strings.Builder
		for i := range 3000 {
			fmt.Fprintf(&b, "Set-Cookie: c%d=v\r\n", i)
		}
		io.WriteString(conn, moved+b.String()+"Content-Length: 0\r\n\r\n")
	})
	for target, tc := range map[string]struct {
		class  check.Class
		reason string
	}{
		large:   {check.ClassContent, "read body: more than 1024 KiB"},
		cookies: {check.ClassStatus, "302 Found to /x"},
	} {
		spec := patient("http://" + target)
		spec.HTTP.Redirects = 10
		var eaten appetite
		p := newTestProber(t, spec, Options{Dial: eaten.dial})
		before := allocated()
		wantAttempt(t, p.attempt(t.Context(), true), check.Fail, tc.class, tc.reason)
		if n := eaten.read.Load(); n > maxBody {
			t.Errorf("%s: read %d bytes", tc.reason, n)
		}
		if got := allocated() - before; got > 32<<20 { // the server's part included
			t.Errorf("%s: allocated %d KiB", tc.reason, got>>10)
		}
	}
}

// The cookies of every hop come along, as with a browser; those of another host and those that were taken back do not.
func TestCookiesOfRedirects(t *testing.T) {
	mux := http.NewServeMux()
	var other string
	set := func(path, to string, cookies ...string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			for _, c := range cookies {
				w.Header().Add("Set-Cookie", c)
			}
			w.Header().Set("Location", strings.ReplaceAll(to, "OTHER", other))
			w.WriteHeader(http.StatusFound)
		})
	}
	set("/1", "/2", "a=1", "gone=1", "deep=1; Path=/deep")
	set("/2", "/3", "b=2", "a=3")
	set("/3", "/end", "gone=; Max-Age=0")
	set("/away", "OTHER/end", "a=1")
	mux.HandleFunc("/end", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "[%s]", r.Header.Get("Cookie")) })
	s := httptest.NewServer(mux)
	defer s.Close()
	other = strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
	for path, want := range map[string]string{"/1": `^\[own=0; (a=3; b=2|b=2; a=3)\]$`, "/away": `^\[\]$`} {
		spec := patient(s.URL + path)
		spec.HTTP.Redirects, spec.HTTP.Headers = 5, map[string]string{"Cookie": "own=0"}
		spec.HTTP.Expect = []check.Expect{{Body: true, Match: want}}
		wantAttempt(t, ask(t, spec), check.OK, "", "")
	}
}

// What is packed twice is unpacked once, and what unpacks to nothing is still read only so far.
func TestOddCompression(t *testing.T) {
	pack := func(b []byte) []byte {
		var out bytes.Buffer
		z := gzip.NewWriter(&out)
		z.Write(b)
		z.Close()
		return out.Bytes()
	}
	twice, nothing := pack(pack(make([]byte, 64<<20))), pack(nil)
	serve := func(text []byte, again bool) string {
		return rawServer(t, func(conn net.Conn) {
			readRequest(conn)
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n")
			if conn.Write(text); again {
				drip(conn, string(bytes.Repeat(text, 50)), 0)
			}
		})
	}
	for target, reason := range map[string]string{
		serve(twice, false):  "want a match of nothing",
		serve(nothing, true): "body over",
		serve([]byte("\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\xff"+strings.Repeat("n", 4096)), true): "gzip: invalid header",
	} {
		spec := patient("http://" + target)
		spec.HTTP.Compression, spec.HTTP.Expect = "gzip", []check.Expect{{Body: true, Match: "nothing"}}
		var eaten appetite
		p := newTestProber(t, spec, Options{Dial: eaten.dial})
		before := allocated()
		wantAttempt(t, p.attempt(t.Context(), true), check.Fail, check.ClassContent, reason)
		if n, got := eaten.read.Load(), allocated()-before; n > maxBody || got > 16<<20 {
			t.Errorf("%s: read %d bytes, allocated %d KiB", reason, n, got>>10)
		}
	}
}

// A body that takes long to look through does not delay the verdict: time is looked at between assertions.
func TestManyAssertionsOnALargeBody(t *testing.T) {
	addr := rawServer(t, func(conn net.Conn) {
		readRequest(conn)
		io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n"+strings.Repeat("error ", 160_000))
	})
	spec := patient("http://" + addr)
	spec.Timeout, spec.Slow = 400*time.Millisecond, 400*time.Millisecond
	for i := range 32 {
		spec.HTTP.Expect = append(spec.HTTP.Expect, check.Expect{Body: true, Refuse: fmt.Sprintf(`(?i)(errors|failed)\s*:\s*[a-z ]{%d,}x$`, i+1)})
	}
	wantAttempt(t, ask(t, spec), check.Fail, check.ClassTimeout, "assertions were made in time")
}

// A greeting without a line's end is refused after 4 KiB, in every protocol.
func TestGreetingsWithoutEnd(t *testing.T) {
	for _, protocol := range []string{"smtp", "ftp", "imap", "pop3"} {
		spec := patient(rawServer(t, func(conn net.Conn) { drip(conn, strings.Repeat("2", 4096), 0) }))
		spec.Kind, spec.TLS.StartTLS = "tls", protocol
		var eaten appetite
		wantAttempt(t, newTestProber(t, spec, Options{Dial: eaten.dial}).attempt(t.Context(), true), check.Fail, check.ClassTLS, "a line of over 4096 bytes")
		if n := eaten.read.Load(); n > maxHead {
			t.Errorf("%s: read %d bytes", protocol, n)
		}
	}
}

func frame(kind http2.FrameType, flags http2.Flags, payload string) []byte {
	var b bytes.Buffer
	f := http2.NewFramer(&b, nil)
	f.AllowIllegalWrites = true
	stream := uint32(0)
	if kind <= http2.FrameHeaders {
		stream = 1
	}
	f.WriteRawFrame(kind, flags, stream, []byte(payload))
	return b.Bytes()
}

// awaitRequest reads a client's HTTP/2 frames up to its first request: a stream is not to be answered before it is open.
func awaitRequest(conn net.Conn) {
	if _, err := io.CopyN(io.Discard, conn, int64(len(http2.ClientPreface))); err != nil {
		return
	}
	conn.Write(frame(http2.FrameSettings, 0, "")) // some clients ask once they have seen it
	for f := http2.NewFramer(io.Discard, conn); ; {
		if got, err := f.ReadFrame(); err != nil || got.Header().Type == http2.FrameHeaders {
			return
		}
	}
}

// Frames that HTTP/2 does not know are passed over, as the standard wants, and leave no line each in the log.
func TestUnknownFrames(t *testing.T) {
	var logged bytes.Buffer
	before := log.Writer()
	log.SetOutput(&logged)
	defer log.SetOutput(before)
	head := func(fields ...string) string {
		var b bytes.Buffer
		e := hpack.NewEncoder(&b)
		for i := 0; i < len(fields); i += 2 {
			e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
		}
		return b.String()
	}
	odd := func() []byte { return append(frame(0x10, 0, "u=1"), frame(0xf0, 0xff, strings.Repeat("x", 16<<10))...) }
	healthy := rawServer(t, func(conn net.Conn) {
		awaitRequest(conn)
		conn.Write(bytes.Join([][]byte{
			odd(), frame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, head(":status", "200", "content-type", "application/grpc")), odd(),
			frame(http2.FrameData, 0, "\x00\x00\x00\x00\x02\x08\x01"), odd(),
			frame(http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream, head("grpc-status", "0")),
		}, nil))
		hang(conn)
	})
	wantAttempt(t, ask(t, patientGRPC(healthy, check.GRPC{})), check.OK, "", "")
	endless := rawServer(t, func(conn net.Conn) {
		go io.Copy(io.Discard, conn)
		conn.Write(frame(http2.FrameSettings, 0, ""))
		drip(conn, strings.Repeat(string(frame(0x77, 0, "")), 100), 0)
	})
	wantAttempt(t, ask(t, patientGRPC(endless, check.GRPC{})), check.Fail, check.ClassContent, "more than 1024 KiB")
	plain := rawServer(t, func(conn net.Conn) { io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n"); hang(conn) })
	wantAttempt(t, ask(t, patientGRPC(plain, check.GRPC{})), check.Fail, check.ClassContent, "ask for health: ")
	if n := bytes.Count(logged.Bytes(), []byte("\n")); n > 0 {
		t.Errorf("%d lines in the log, as %.200s", n, logged.String())
	}
}

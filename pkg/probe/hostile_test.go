package probe

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"xunjian/pkg/check"
)

var discardLog = log.New(io.Discard, "", 0)

// drip writes a text again and again until the other side has enough.
func drip(conn net.Conn, text string, every time.Duration) {
	for {
		if _, err := io.WriteString(conn, text); err != nil {
			return
		}
		time.Sleep(every)
	}
}

func hang(conn net.Conn) { io.Copy(io.Discard, conn) }

func reset(conn net.Conn) {
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
}

// Each of these servers is bad in its own way; the verdict comes in time and costs little memory.
func TestHostileServers(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	z.Write(make([]byte, 64<<20))
	z.Close()
	say := func(text string) func(net.Conn) {
		return func(conn net.Conn) { readRequest(conn); io.WriteString(conn, text) }
	}
	sayAndHang := func(text string) func(net.Conn) {
		return func(conn net.Conn) { readRequest(conn); io.WriteString(conn, text); hang(conn) }
	}
	tests := map[string]struct {
		serve   func(net.Conn)
		expect  []check.Expect
		outcome check.Outcome
		class   check.Class
		reason  string
	}{
		"accepts and hangs":     {hang, nil, check.Fail, check.ClassTimeout, "read answer: no answer in time"},
		"hangs up at once":      {func(net.Conn) {}, nil, check.Fail, check.ClassReset, "connection broke"},
		"resets at once":        {reset, nil, check.Fail, check.ClassReset, "connection broke"},
		"resets at the request": {func(conn net.Conn) { readRequest(conn); reset(conn) }, nil, check.Fail, check.ClassReset, "connection broke"},
		"half a status line":    {say("HTTP/1.1 20"), nil, check.Fail, check.ClassReset, "connection broke"},
		"half the headers":      {say(ok + "Content-Le"), nil, check.Fail, check.ClassReset, "connection broke"},
		"headers, then nothing": {sayAndHang(ok + "Content-Length: 4\r\n\r\n"), nil, check.Fail, check.ClassTimeout, "read body: no answer in time"},
		"body ends early":       {say(ok + "Content-Length: 9\r\n\r\ntrue"), nil, check.Fail, check.ClassReset, "read body: connection broke"},
		"not HTTP":              {say("SSH-2.0-OpenSSH_9.2\r\n\r\n"), nil, check.Fail, check.ClassContent, "malformed HTTP"},
		"bad status":            {say("HTTP/1.1 abc OK\r\n\r\n"), nil, check.Fail, check.ClassContent, "malformed HTTP status code"},
		"bad header":            {say(ok + "no colon here\r\n\r\n"), nil, check.Fail, check.ClassContent, "malformed"},
		"bad chunk":             {say(ok + "Transfer-Encoding: chunked\r\n\r\nzz\r\n"), nil, check.Fail, check.ClassContent, "read body"},
		"chunk without end":     {sayAndHang(ok + "Transfer-Encoding: chunked\r\n\r\n4\r\ntrue\r\n"), nil, check.Fail, check.ClassTimeout, "read body"},
		"two lengths":           {say(ok + "Content-Length: 4\r\nContent-Length: 5\r\n\r\ntrue"), nil, check.Fail, check.ClassContent, "read answer"},
		"slow drip of headers": {func(conn net.Conn) {
			readRequest(conn)
			io.WriteString(conn, ok)
			drip(conn, "X: y\r\n", 10*time.Millisecond)
		}, nil, check.Fail, check.ClassTimeout, "no answer in time"},
		"slow drip of a body": {func(conn net.Conn) {
			readRequest(conn)
			io.WriteString(conn, ok+"\r\n")
			drip(conn, "x", 10*time.Millisecond)
		}, nil, check.Fail, check.ClassTimeout, "read body"},
		"one huge header": {func(conn net.Conn) {
			readRequest(conn)
			io.WriteString(conn, ok+"X: ")
			drip(conn, strings.Repeat("y", 4096), 0)
		}, nil, check.Fail, check.ClassContent, "headers over 64 KiB"},
		"endless headers": {func(conn net.Conn) { readRequest(conn); io.WriteString(conn, ok); drip(conn, "X: y\r\n", 0) }, nil, check.Fail, check.ClassContent, "headers over 64 KiB"},
		"endless body": {func(conn net.Conn) {
			readRequest(conn)
			io.WriteString(conn, ok+"\r\n")
			drip(conn, strings.Repeat("y", 4096), 0)
		}, nil, check.Fail, check.ClassContent, "body over 1048576 bytes"},
		"endless body of a 500": {func(conn net.Conn) {
			readRequest(conn)
			io.WriteString(conn, "HTTP/1.1 500 No\r\n\r\n")
			drip(conn, strings.Repeat("y", 4096), 0)
		}, nil, check.Fail, check.ClassStatus, "500"},
		"endless small chunks": {func(conn net.Conn) {
			readRequest(conn)
			io.WriteString(conn, ok+"Transfer-Encoding: chunked\r\n\r\n")
			drip(conn, "1;"+strings.Repeat("e", 900)+"\r\ny\r\n", 0)
		}, nil, check.Fail, check.ClassContent, ""},
		"endless chunk extension": {func(conn net.Conn) {
			readRequest(conn)
			io.WriteString(conn, ok+"Transfer-Encoding: chunked\r\n\r\n4;")
			drip(conn, strings.Repeat("e", 4096), 0)
		}, nil, check.Fail, check.ClassContent, "header line too long"},
		"endless trailers": {func(conn net.Conn) {
			readRequest(conn)
			io.WriteString(conn, ok+"Transfer-Encoding: chunked\r\n\r\n0\r\n")
			drip(conn, "X: y\r\n", 0)
		}, nil, check.Fail, check.ClassContent, "suspiciously long trailer"},
		"trailers without end": {sayAndHang(ok + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n"), nil, check.Fail, check.ClassTimeout, "read body: no answer in time"},
		"a length of 8 EiB": {func(conn net.Conn) {
			readRequest(conn)
			io.WriteString(conn, ok+"Content-Length: 9223372036854775807\r\n\r\n")
			drip(conn, strings.Repeat("y", 4096), 0)
		}, nil, check.Fail, check.ClassContent, "body over 1048576 bytes"},
		"large interim answers": {func(conn net.Conn) {
			readRequest(conn)
			drip(conn, "HTTP/1.1 100 Continue\r\nX: "+strings.Repeat("y", 20_000)+"\r\n\r\n", 0)
		}, nil, check.Fail, check.ClassContent, "headers over 64 KiB"},
		"endless interim answers": {func(conn net.Conn) { readRequest(conn); drip(conn, "HTTP/1.1 103 Early Hints\r\n\r\n", 0) }, nil, check.Fail, check.ClassContent, "interim"},
		"one interim answer":      {say("HTTP/1.1 103 Early Hints\r\n\r\n" + ok + "Content-Length: 0\r\n\r\n"), nil, check.OK, "", ""},
		"gzip bomb":               {say(fmt.Sprintf("%sContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", ok, bomb.Len(), bomb.Bytes())), nil, check.OK, "", ""},
		"gzip that is to be read": {say(fmt.Sprintf("%sContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", ok, bomb.Len(), bomb.Bytes())), []check.Expect{{Body: true, Match: "true"}}, check.Fail, check.ClassContent, "came gzip-encoded"},
		"redirect loop":           {say("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"), nil, check.Fail, check.ClassStatus, "302 Found to /"},
		"redirect to metadata":    {say("HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest\r\nContent-Length: 0\r\n\r\n"), nil, check.Fail, check.ClassStatus, "302"},
		"switches protocols":      {say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"), nil, check.Fail, check.ClassStatus, "101"},
		"control bytes":           {say("HTTP/1.1 500 No\r\nContent-Type: text/plain\r\n\r\n\x1b[2J\x00\xff两\n"), nil, check.Fail, check.ClassStatus, ": ?[2J??两"},
		"deep JSON":               {say(ok + "\r\n" + strings.Repeat("[", 1<<19)), []check.Expect{{JSON: "a", Exists: true}}, check.Fail, check.ClassContent, "nested over"},
		"unasked extra answer":    {say(ok + "Content-Length: 4\r\n\r\ntrueHTTP/1.1 500 No\r\n\r\n"), []check.Expect{{Body: true, Equals: new("true")}}, check.OK, "", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			spec := patient("http://" + rawServer(t, tc.serve))
			if tc.class == check.ClassTimeout {
				spec = hasty(spec)
			}
			spec.HTTP.Expect = tc.expect
			var eaten appetite
			p := newTestProber(t, spec, Options{Dial: eaten.dial})
			before := allocated()
			start := time.Now()
			a := p.attempt(t.Context(), false)
			if n := eaten.read.Load(); n > 1<<20 {
				t.Errorf("read %d bytes", n)
			}
			if took := time.Since(start); took > spec.Timeout+margin {
				t.Errorf("verdict after %v, timeout %v", took, spec.Timeout)
			}
			if got := allocated() - before; got > 16<<20 {
				t.Errorf("allocated %d KiB", got>>10)
			}
			wantAttempt(t, a, tc.outcome, tc.class, tc.reason)
			if a.Bytes > maxBody {
				t.Errorf("read %d bytes of body", a.Bytes)
			}
			if kept := p.asker.(*httpAsker).kept; kept != nil && name != "one interim answer" && name != "gzip bomb" {
				t.Error("kept a connection to a server like this")
			}
		})
	}
}

// appetite counts what is read of the connections that it opens.
type appetite struct{ read atomic.Int64 }

func (a *appetite) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := plainDialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return eater{conn, a}, nil
}

type eater struct {
	net.Conn
	*appetite
}

func (e eater) Read(p []byte) (int, error) {
	n, err := e.Conn.Read(p)
	e.read.Add(int64(n))
	return n, err
}

// hasty is for where nothing happens, which takes no longer on a busy machine.
func hasty(spec check.Spec) check.Spec {
	spec.Timeout, spec.Slow = 200*time.Millisecond, 200*time.Millisecond
	return spec
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func TestHostileHandshakes(t *testing.T) {
	tests := map[string]struct {
		serve  func(net.Conn)
		class  check.Class
		reason string
	}{
		"hangs":          {hang, check.ClassTimeout, "TLS handshake: no answer in time"},
		"resets":         {func(c net.Conn) { c.Read(make([]byte, 16)); reset(c) }, check.ClassReset, "TLS handshake"},
		"speaks plainly": {func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n"); hang(c) }, check.ClassTLS, "first record does not look like a TLS handshake"},
		"alerts": {func(c net.Conn) {
			tls.Server(c, &tls.Config{MaxVersion: tls.VersionTLS10, MinVersion: tls.VersionTLS10, Certificates: []tls.Certificate{newTestCA(t).issue(t, time.Now().Add(time.Hour))}}).Handshake()
		}, check.ClassTLS, "protocol version"},
		"drips": {func(c net.Conn) { drip(c, "\x16", 10*time.Millisecond) }, check.ClassTLS, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			addr := rawServer(t, tc.serve)
			spec := patient("https://" + addr)
			if tc.class == check.ClassTimeout {
				spec = hasty(spec)
			}
			wantAttempt(t, ask(t, spec), check.Fail, tc.class, tc.reason)
			spec.Kind, spec.Target, spec.TCP.TLS = "tcp", addr, true
			wantAttempt(t, ask(t, spec), check.Fail, tc.class, tc.reason)
		})
	}
}

func TestNobodyListens(t *testing.T) {
	addr := closedPort(t)
	a := ask(t, patient("http://"+addr))
	wantAttempt(t, a, check.Fail, check.ClassConnect, "connection refused")
	if len(a.Phases) != 2 || a.Phases[1].Name != "connect" {
		t.Errorf("phases %v, want up to connect, where it failed", a.Phases)
	}
}

// names answers every lookup alike.
type names struct {
	addrs []netip.Addr
	err   error
}

func (n names) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	if n.err == nil && n.addrs == nil {
		<-ctx.Done()
		return nil, &net.DNSError{Err: ctx.Err().Error(), IsTimeout: true}
	}
	return n.addrs, n.err
}

func TestNames(t *testing.T) {
	server := rawServer(t, func(conn net.Conn) {
		readRequest(conn)
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	_, port, _ := net.SplitHostPort(server)
	many := make([]netip.Addr, 1000)
	for i := range many {
		many[i] = netip.AddrFrom4([4]byte{127, 9, byte(i >> 8), byte(i)})
	}
	loopback := netip.MustParseAddr("127.0.0.1")
	tests := map[string]struct {
		names   names
		outcome check.Outcome
		class   check.Class
		reason  string
		dials   int64
	}{
		"found":               {names{addrs: []netip.Addr{loopback}}, check.OK, "", "", 1},
		"second one works":    {names{addrs: []netip.Addr{many[0], loopback}}, check.OK, "", "", 2},
		"does not exist":      {names{err: &net.DNSError{Err: "no such host", IsNotFound: true}}, check.Fail, check.ClassDNS, "no such host", 0},
		"has no address":      {names{addrs: []netip.Addr{}}, check.Fail, check.ClassDNS, "no address", 0},
		"server fails":        {names{err: &net.DNSError{Err: "server misbehaving", IsTemporary: true}}, check.Unknown, check.ClassDNS, "server misbehaving", 0},
		"server hangs":        {names{}, check.Unknown, check.ClassDNS, "no answer in time", 0},
		"1,000 dead ones":     {names{addrs: many}, check.Fail, check.ClassConnect, "refused", maxAddresses},
		"rebound to metadata": {names{addrs: []netip.Addr{netip.MustParseAddr("169.254.169.254")}}, check.Unknown, check.ClassSetup, "refused to connect", 0},
		"metadata in between": {names{addrs: []netip.Addr{netip.MustParseAddr("::ffff:169.254.169.254"), loopback}}, check.OK, "", "", 1},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var dials counting
			spec := patient("http://svc.example:" + port)
			spec.Allow = []string{"127.0.0.0/8"}
			if tc.reason == "no answer in time" {
				spec = hasty(spec)
			}
			p := newTestProber(t, spec, Options{Dial: dials.dial, Resolver: tc.names})
			start := time.Now()
			wantAttempt(t, p.attempt(t.Context(), true), tc.outcome, tc.class, tc.reason)
			if took := time.Since(start); took > spec.Timeout+margin {
				t.Errorf("verdict after %v", took)
			}
			if dials.n.Load() != tc.dials {
				t.Errorf("%d dials, want %d", dials.n.Load(), tc.dials)
			}
		})
	}
}

// The deadline holds for the real resolver and a name server that takes questions and never answers.
func TestSilentNameServer(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	// The resolver goes on asking after its caller has left, for as long as the system's settings say; here the test ends it.
	asking, stop := context.WithCancel(context.Background())
	defer stop()
	resolver := &net.Resolver{PreferGo: true, Dial: func(_ context.Context, _, _ string) (net.Conn, error) {
		conn, err := plainDialer.DialContext(asking, "udp", silent.LocalAddr().String())
		if err == nil {
			context.AfterFunc(asking, func() { conn.Close() })
		}
		return conn, err
	}}
	spec := hasty(patient("http://svc.example/"))
	start := time.Now()
	a := newTestProber(t, spec, Options{Resolver: resolver}).attempt(t.Context(), true)
	wantAttempt(t, a, check.Unknown, check.ClassDNS, "resolve svc.example")
	if took := time.Since(start); took > spec.Timeout+margin {
		t.Errorf("verdict after %v", took)
	}
}

func TestForbiddenAddresses(t *testing.T) {
	var dials counting
	for _, host := range []string{
		"169.254.169.254", "169.254.0.1", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[fe80::1]", "[fe80::1%25lo]", "[febf::1]",
		"100.100.100.200", "[::ffff:100.100.100.200]", "[fd00:ec2::254]", "[64:ff9b::169.254.169.254]", "[64:ff9b::6464:64c8]",
		"168.63.129.16", "[fd20:ce::254]", "[64:ff9b:1::a9fe:a9fe]", "[::a9fe:a9fe]", "[::ffff:0:a9fe:a9fe]", "[2002:a9fe:a9fe::1]",
	} {
		for _, kind := range []string{"http", "tcp", "tls", "dns", "grpc", "icmp"} {
			spec := patient("http://" + host + "/latest/meta-data")
			bare := strings.ReplaceAll(host, "%25", "%")
			switch spec.Kind = kind; kind {
			case "http":
			case "icmp":
				spec.Target = strings.Trim(bare, "[]")
			default:
				spec.Target = bare + ":80"
			}
			spec.DNS.Name = "a.example"
			a := newTestProber(t, spec, Options{Dial: dials.dial}).attempt(t.Context(), true)
			wantAttempt(t, a, check.Unknown, check.ClassSetup, "refused to connect")
		}
	}
	if dials.n.Load() != 0 {
		t.Errorf("%d dials", dials.n.Load())
	}
	for _, host := range []string{"127.0.0.1", "10.0.0.1", "::1", "fd00::1", "100.100.100.201", "64:ff9b::10.0.0.1", "::ffff:192.168.1.1", "2002:a00:1::1", "::a00:1", "2001:db8::a9fe:a9fe"} {
		if isForbidden(netip.MustParseAddr(host)) {
			t.Errorf("%s is forbidden", host)
		}
	}
}

// What the machine cannot do says nothing of the target.
func TestMachineCannotAsk(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.EADDRNOTAVAIL, syscall.EPERM} {
		var dials atomic.Int64
		fail := func(context.Context, string, string) (net.Conn, error) {
			dials.Add(1)
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", errno)}
		}
		r, _ := newTestProber(t, patient("http://127.0.0.1"), Options{Dial: fail}).Run(t.Context(), time.Now())
		wantAttempt(t, r.First(), check.Unknown, check.ClassSetup, errno.Error())
		if dials.Load() != 1 || len(r.Attempts) != 1 {
			t.Errorf("%v: %d attempts and %d dials, asking again helps nobody", errno, len(r.Attempts), dials.Load())
		}
	}
	unreachable := func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}
	}
	a := newTestProber(t, patient("http://127.0.0.1"), Options{Dial: unreachable}).attempt(t.Context(), true)
	wantAttempt(t, a, check.Fail, check.ClassConnect, "no route to host")
}

func TestOutOfDescriptorsForReal(t *testing.T) {
	addr := rawServer(t, hang)
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	p := newTestProber(t, patient("http://"+addr), Options{})
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 3, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	a := p.attempt(t.Context(), true)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	wantAttempt(t, a, check.Unknown, check.ClassSetup, syscall.EMFILE.Error())
}

func TestReasonsKeepSecrets(t *testing.T) {
	const secret = "geheim-9f2c/+x="
	echo := rawServer(t, func(conn net.Conn) {
		b := make([]byte, 4096)
		n, _ := conn.Read(b)
		fmt.Fprintf(conn, "HTTP/1.1 500 No\r\nContent-Type: text/plain\r\n\r\n%s", bytes.TrimPrefix(b[:n], []byte("GET ")))
	})
	for name, spoil := range map[string]func(*check.Spec){
		"header":   func(s *check.Spec) { s.HTTP.Headers = map[string]string{"Authorization": "Bearer " + secret} },
		"API key":  func(s *check.Spec) { s.HTTP.Headers = map[string]string{"apikey": secret} },
		"userinfo": func(s *check.Spec) { s.Target = "http://u:geheim-9f2c@" + echo },
		"query":    func(s *check.Spec) { s.Target += "?access_token=geheim-9f2c&a=1" },
	} {
		t.Run(name, func(t *testing.T) {
			spec := patient("http://" + echo)
			spoil(&spec)
			r, samples := newTestProber(t, spec, Options{}).Run(t.Context(), time.Now())
			for _, a := range r.Attempts {
				wantAttempt(t, a, check.Fail, check.ClassStatus, "500")
				if strings.Contains(a.Reason, "geheim") {
					t.Errorf("reason %s", a.Reason)
				}
			}
			if strings.Contains(r.Target, "geheim") || strings.Contains(samples[0].Series.String(), "geheim") {
				t.Errorf("target %s, series %s", r.Target, samples[0].Series)
			}
			if got := samples[0].Series.Get("instance"); got != r.Target { // by which the collector finds what is usual
				t.Errorf("instance %s, target %s", got, r.Target)
			}
		})
	}
}

func TestMaskTarget(t *testing.T) {
	for in, want := range map[string]string{
		"https://h/p?nonce={nonce}&a=1":       "https://h/p?nonce={nonce}&a=1",
		"https://u:p@h:1/p":                   "https://***@h:1/p",
		"https://h/p?sessionToken=x&sign=y&b": "https://h/p?sessionToken=***&sign=***&b",
		"db.example:3306":                     "db.example:3306",
		"[::1]:22":                            "[::1]:22",
	} {
		if got := maskTarget(in); got != want {
			t.Errorf("%s is shown as %s, want %s", in, got, want)
		}
	}
}

func TestClip(t *testing.T) {
	for in, want := range map[string]string{
		"a\r\nb\tc":    "a  b c",
		"\x1b[31m\x00": "?[31m?",
		"\xff\xfe":     "??",
		"监测":           "监测",
	} {
		if got := clip(in); got != want {
			t.Errorf("%q is clipped to %q, want %q", in, got, want)
		}
	}
	if got := clip(strings.Repeat("监", 1000)); len(got) > maxReason || !strings.HasSuffix(got, "监…") {
		t.Errorf("%d bytes: %s", len(got), got)
	}
}

func TestOrderlyEndOfPipesIsAReset(t *testing.T) {
	if bad := blame(t.Context(), "x", fmt.Errorf("read: %w", io.ErrClosedPipe), check.ClassContent); bad.class != check.ClassReset {
		t.Errorf("%+v", bad)
	}
	if bad := blame(t.Context(), "x", errors.New("odd"), check.ClassContent); bad.class != check.ClassContent {
		t.Errorf("%+v", bad)
	}
}

package channel

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"xunjian/pkg/config"
	"xunjian/pkg/simulator"
)

func secretFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// door is an HTTP server that behaves; on "off" it is not there.
type door struct {
	how     atomic.Value
	count   atomic.Int64
	bytes   atomic.Int64
	yes, no string
	gate    *gate
	last    atomic.Value // of the last request
}

// lastRequest is what a door saw.
type lastRequest struct {
	url, body string
	header    http.Header
}

func newDoor(t *testing.T, yes, no string) (*door, string) {
	t.Helper()
	d := &door{yes: yes, no: no}
	d.how.Store(accepts)
	d.gate = newGate(t)
	server := httptest.NewUnstartedServer(d)
	server.Listener.Close()
	server.Listener = d.gate
	server.Config.SetKeepAlivesEnabled(false)
	server.Start()
	t.Cleanup(func() { d.how.Store(accepts); server.CloseClientConnections(); server.Close() })
	return d, "http://" + d.gate.addr
}

// gate is a listener that can be gone for a while: connections to it are refused then.
type gate struct {
	t    *testing.T
	addr string
	come chan net.Conn
	over chan struct{}
	once sync.Once

	mu       sync.Mutex
	listener net.Listener // nil while gone
}

func newGate(t *testing.T) *gate {
	t.Helper()
	g := &gate{t: t, addr: "127.0.0.1:0", come: make(chan net.Conn), over: make(chan struct{})}
	g.gone(false)
	t.Cleanup(func() { g.Close() })
	return g
}

func (g *gate) gone(gone bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case gone && g.listener != nil:
		g.listener.Close()
		g.listener = nil
	case !gone && g.listener == nil:
		l, err := net.Listen("tcp", g.addr)
		if err != nil {
			g.t.Errorf("listen again: %v", err)
			return
		}
		g.listener, g.addr = l, l.Addr().String()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				select {
				case g.come <- c:
				case <-g.over:
					c.Close()
				}
			}
		}()
	}
}

// Accept, Close and Addr make it a listener.
func (g *gate) Accept() (net.Conn, error) {
	select {
	case c := <-g.come:
		return c, nil
	case <-g.over:
		return nil, net.ErrClosed
	}
}

func (g *gate) Close() error {
	g.once.Do(func() { close(g.over) })
	g.gone(true)
	return nil
}

func (g *gate) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	d.last.Store(lastRequest{r.URL.String(), string(b), r.Header})
	switch d.how.Load() {
	case accepts:
		d.count.Add(1)
		io.WriteString(w, d.yes)
	case refuses:
		if d.no == "" {
			w.WriteHeader(http.StatusBadRequest)
		}
		io.WriteString(w, d.no)
	case hangs:
		<-r.Context().Done()
	case dribbles:
		io.WriteString(w, "{")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	case closes:
		panic(http.ErrAbortHandler)
	case nonsense:
		io.WriteString(w, "\x00\xff<html>please log in</html>")
	case busy:
		w.Header().Set("Retry-After", "120")
		w.WriteHeader(http.StatusTooManyRequests)
	case redirects:
		if r.URL.Path == "/login" {
			io.WriteString(w, d.yes)
			return
		}
		http.Redirect(w, r, "/login", http.StatusFound)
	case huge:
		block := []byte(strings.Repeat("x", 64<<10))
		for n := 0; n < 1<<30; n += len(block) {
			if _, err := w.Write(block); err != nil {
				return
			}
			d.bytes.Add(int64(len(block)))
		}
	}
}

func (d *door) side(s Settings) *side {
	return &side{
		settings: s, taken: func() int { return int(d.count.Load()) }, written: func() int { return int(d.bytes.Load()) }, wait: Refusal{RetryAfter: 2 * time.Minute},
		become: func(how string) { d.gate.gone(how == off); d.how.Store(how) },
	}
}

func webhookSide(t *testing.T) *side {
	d, at := newDoor(t, "", `{"errcode":1,"errmsg":"no"}`)
	s := d.side(Settings{URL: at + "/hook?key=" + secretWord, Token: secret(t)})
	s.repeats, s.alsoYes = true, []string{nonsense, huge} // Alertmanager's webhook says yes with any 2xx
	return s
}

func alertmanagerSide(t *testing.T) *side {
	d, at := newDoor(t, "", "")
	s := d.side(Settings{URL: at, User: "ops", Token: secret(t)})
	s.repeats = true
	return s
}

func robotSide(_, yes, no string) func(t *testing.T) *side {
	return func(t *testing.T) *side {
		d, at := newDoor(t, yes, no)
		s := d.side(Settings{URL: at + "/robot", Token: secret(t)})
		s.repeats = true
		return s
	}
}

func gatewaySide(t *testing.T) *side {
	d, at := newDoor(t, `{"code":"0","msg":"accepted"}`, `{"code":"13","msg":"balance"}`)
	return d.side(Settings{
		URL: at + "/send?account={user}", User: "xunjian", Token: secret(t),
		Gateway: &Gateway{Headers: map[string]string{"X-Token": "{token}"}, Body: `{"mobile":"{phone}","content":"{short}"}`, Yes: Yes{JSON: "code", Equals: "0"}},
	})
}

// mailSide is a small SMTP server.
func mailSide(t *testing.T) *side {
	m := newMailServer(t, nil)
	return &side{
		settings: Settings{Server: m.addr, Mail: &Mail{From: "xunjian@example.org", TLS: "none"}},
		become:   func(how string) { m.gate.gone(how == off); m.how.Store(how) },
		taken:    func() int { return len(m.all()) }, written: func() int { return int(m.bytes.Load()) },
	}
}

// mailServer takes mails as RFC 5321 has it, without TLS unless it has a certificate.
type mailServer struct {
	addr  string
	how   atomic.Value
	gate  *gate
	bytes atomic.Int64
	ext   []string                // what EHLO offers
	begin func(net.Conn) net.Conn // at STARTTLS, which ext offers
	auth  func(line string, ask func(string) string) bool

	mu    sync.Mutex
	mails []string
}

func (m *mailServer) all() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.mails...)
}

func newMailServer(t *testing.T, wrap func(net.Conn) net.Conn) *mailServer {
	t.Helper()
	l := newGate(t)
	m := &mailServer{addr: l.addr, gate: l}
	m.how.Store(accepts)
	var wg sync.WaitGroup
	over, stop := context.WithCancel(context.Background())
	t.Cleanup(func() { l.Close(); stop(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if wrap != nil {
				c = wrap(c)
			}
			context.AfterFunc(over, func() { c.Close() })
			wg.Go(func() { defer c.Close(); m.serve(c) })
		}
	})
	return m
}

func (m *mailServer) serve(c net.Conn) {
	switch how := m.how.Load(); how {
	case hangs:
		io.Copy(io.Discard, c)
	case dribbles:
		io.WriteString(c, "220-mail")
		io.Copy(io.Discard, c)
	case closes:
	case nonsense:
		io.WriteString(c, "\x00\xff hello\r\n")
	case huge:
		block := "220-" + strings.Repeat("x", 1000) + "\r\n"
		for {
			n, err := io.WriteString(c, block)
			if m.bytes.Add(int64(n)); err != nil {
				return
			}
		}
	case redirects:
		io.WriteString(c, "554 no service here\r\n")
	case busy:
		io.WriteString(c, "421 too many connections\r\n")
	default:
		m.converse(c, how == refuses)
	}
}

func (m *mailServer) converse(c net.Conn, refuse bool) {
	r := bufio.NewReader(c)
	say := func(s string) { io.WriteString(c, s+"\r\n") }
	say("220 mail.example.org ESMTP")
	var mail strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
		switch verb {
		case "EHLO":
			for _, e := range append([]string{"mail.example.org", "8BITMIME", "SMTPUTF8"}, m.ext...) {
				say("250-" + e)
			}
			say("250 HELP")
		case "STARTTLS":
			say("220 go ahead")
			c = m.begin(c)
			r = bufio.NewReader(c)
		case "AUTH":
			if m.auth(line, func(q string) string { say(q); s, _ := r.ReadString('\n'); return strings.TrimSpace(s) }) {
				say("235 welcome")
			} else {
				say("535 wrong password other-pass")
			}
		case "RCPT":
			if refuse {
				say("550 no such user")
				continue
			}
			fmt.Fprintf(&mail, "%s\n", line)
			say("250 ok")
		case "DATA":
			say("354 go on")
			m.receive(r, &mail)
			say("250 queued as 4711")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

func (m *mailServer) receive(r *bufio.Reader, mail *strings.Builder) {
	for {
		l, err := r.ReadString('\n')
		if err != nil || l == ".\r\n" {
			break
		}
		mail.WriteString(strings.TrimPrefix(l, "."))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mails = append(m.mails, mail.String())
	mail.Reset()
}

// centreSide is the simulator's short message centre; what it cannot do is done by a bare connection in between.
func centreSide(t *testing.T) *side {
	t.Helper()
	kind := t.Name()[strings.LastIndex(t.Name(), "/")+1:]
	sim := startSimulator(t)
	w := newWire(t, strings.TrimPrefix(sim.URL(kind), "tcp://"))
	modes := map[string]simulator.Mode{refuses: simulator.SubmitRefused, busy: simulator.Throttled, redirects: simulator.LoginRefused, hangs: simulator.LoginSilent}
	return &side{
		settings: Settings{
			Server: w.addr, User: map[string]string{"smpp": simulator.SMPPUser, "cmpp": simulator.CMPPUser}[kind],
			Token: config.Secret{File: secretFile(t, simulator.SMSPassword)}, SMS: &SMS{From: "10690000"},
		},
		become: func(how string) {
			w.gate.gone(how == off)
			w.how.Store(how)
			mode := modes[how]
			if mode == "" {
				mode = simulator.OK
			}
			if err := sim.Break(kind, simulator.Fault{Mode: mode}); err != nil {
				t.Error(err)
			}
		},
		taken: func() int { return centreTaken(t, sim) }, written: func() int { return int(w.bytes.Load()) }, wait: Refusal{RetryAfter: throttledFor},
	}
}

func centreTaken(t *testing.T, sim *simulator.Simulator) int {
	t.Helper()
	client := &http.Client{Transport: trusting(t, sim.CA())}
	defer client.CloseIdleConnections()
	resp, err := client.Get(sim.URL(simulator.SMS) + "/balance")
	if err != nil {
		t.Error(err)
		return -1
	}
	defer resp.Body.Close()
	var figures struct{ Balance int }
	if err := json.NewDecoder(resp.Body).Decode(&figures); err != nil {
		t.Error(err)
	}
	return 10000 - figures.Balance
}

func startSimulator(t *testing.T) *simulator.Simulator {
	t.Helper()
	s, err := simulator.New(simulator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// wire stands between us and a server, and spoils what comes back.
type wire struct {
	addr  string
	how   atomic.Value
	gate  *gate
	bytes atomic.Int64
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l := newGate(t)
	w := &wire{addr: l.addr, gate: l}
	w.how.Store(accepts)
	var wg sync.WaitGroup
	over, stop := context.WithCancel(context.Background())
	t.Cleanup(func() { l.Close(); stop(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(over, func() { c.Close() })
			wg.Go(func() { defer c.Close(); w.serve(c, to) })
		}
	})
	return w
}

func (w *wire) serve(c net.Conn, to string) {
	switch w.how.Load() {
	case closes:
		return
	case nonsense:
		io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
		io.Copy(io.Discard, c)
		return
	case dribbles:
		c.Write([]byte{0, 0, 0, 200, 0x80})
		io.Copy(io.Discard, c)
		return
	case huge:
		packet := make([]byte, 16) // keepalives without end
		packet[3] = 12
		packet[7] = 8
		for {
			n, err := c.Write(packet[:12])
			if w.bytes.Add(int64(n)); err != nil {
				return
			}
		}
	}
	there, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer there.Close()
	go func() { io.Copy(there, c); there.Close() }()
	io.Copy(c, there)
}

package channel

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// relay is a proxy that knows CONNECT and SOCKS 5, and counts the ways through.
func relay(t *testing.T, socks bool) (addr string, ways *atomic.Int64) {
	t.Helper()
	g := newGate(t)
	ways = &atomic.Int64{}
	go func() {
		for {
			c, err := g.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				var to string
				if socks {
					to = socksTo(c)
				} else {
					r, err := http.ReadRequest(bufio.NewReader(c))
					if err != nil || r.Method != http.MethodConnect {
						io.WriteString(c, "HTTP/1.1 405 Method Not Allowed\r\n\r\n")
						return
					}
					to = r.Host
					io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n")
				}
				there, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer there.Close()
				ways.Add(1)
				go func() { io.Copy(there, c); there.Close() }()
				io.Copy(c, there)
			}()
		}
	}()
	return g.addr, ways
}

func socksTo(c net.Conn) string {
	b := make([]byte, 300)
	io.ReadFull(c, b[:2])
	io.ReadFull(c, b[:b[1]])
	c.Write([]byte{5, 0})
	io.ReadFull(c, b[:4])
	var host string
	switch b[3] {
	case 1:
		io.ReadFull(c, b[:4])
		host = net.IP(b[:4]).String()
	case 3:
		io.ReadFull(c, b[:1])
		n := b[0]
		io.ReadFull(c, b[:n])
		host = string(b[:n])
	}
	io.ReadFull(c, b[:2])
	c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	return net.JoinHostPort(host, fmt.Sprint(int(b[0])<<8|int(b[1])))
}

// Every kind reaches its receiver through either proxy, whatever it speaks; a proxy that refuses is an error.
func TestEveryKindGoesThroughAProxy(t *testing.T) {
	for _, kind := range []string{"email", "smpp", "cmpp"} {
		for _, socks := range []bool{false, true} {
			t.Run(fmt.Sprintf("socks=%v/%s", socks, kind), func(t *testing.T) {
				other := sides[kind](t)
				addr, ways := relay(t, socks)
				s := other.settings
				s.Name, s.Kind, s.Timeout, s.Proxy = "duty", kind, 5*time.Second, "http://"+addr
				if socks {
					s.Proxy = "socks5://" + addr
				}
				sendTo(t, make1(t, s), contractMessage("k"))
				if ways.Load() != 1 || other.taken() != 1 {
					t.Errorf("%d ways through the proxy, %d taken", ways.Load(), other.taken())
				}
			})
		}
	}
	d, at := newDoor(t, `{"errcode":0}`, "")
	addr, ways := relay(t, true)
	sendTo(t, make1(t, Settings{Name: "duty", Kind: "wecom", URL: at + "/robot", Token: secret(t), Proxy: "socks5://" + addr}), contractMessage("k"))
	if ways.Load() != 1 || d.count.Load() != 1 {
		t.Errorf("robot: %d ways, %d taken", ways.Load(), d.count.Load())
	}
	other := mailSide(t)
	s := other.settings
	s.Name, s.Kind, s.Proxy = "duty", "email", at // answers CONNECT, but is no proxy
	d.how.Store(busy)
	if _, err := make1(t, s).Send(t.Context(), contractMessage("k")); err == nil || Unsure(err) {
		t.Errorf("a proxy that refuses: %v", err)
	}
}

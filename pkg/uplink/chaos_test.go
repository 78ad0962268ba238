package uplink

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/spool"
)

// TestChaos breaks connections, crashes the collector and slows its disk at random, for hours of fake time. In the end every
// report has had its effect exactly once, in whatever way it came.
func TestChaos(t *testing.T) {
	for seed := range chaosSeeds() {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			r := newRig(t, nil)
			q := testSpool(t)
			small := func(o *ClientOptions) { o.Spool, o.MaxMemory = q, 40*memory(host(0)) }
			a := r.agent("srv-1", small)
			sent := 0
			for range 400 {
				switch rnd.IntN(12) {
				case 0:
					r.cut()
				case 1:
					r.down(rnd.IntN(2) == 0)
				case 2, 3, 4:
					if r.server == nil {
						r.up()
					}
				case 5:
					slow := time.Duration(rnd.IntN(3)*rnd.IntN(6000)) * time.Millisecond
					r.recv.set(func() { r.recv.slow = slow })
				case 6:
					time.Sleep(time.Duration(rnd.IntN(60_000)) * time.Millisecond)
				default:
					for range rnd.IntN(30) {
						a.Send(probe(fmt.Sprint("check-", rnd.IntN(4)), sent, check.OK), rnd.IntN(5) == 0)
						sent++
						time.Sleep(time.Duration(rnd.IntN(100)) * time.Millisecond)
					}
				}
				if st := a.Stats(); st.Bytes > 2*40*memory(host(0)) {
					t.Fatalf("seed %d: %d bytes in memory", seed, st.Bytes)
				}
			}
			if r.server == nil {
				r.up()
			}
			r.recv.set(func() { r.recv.slow = 0 })
			time.Sleep(10 * time.Minute)
			st := a.Stats()
			if st.Waiting != 0 || st.Bytes != 0 || q.Len() != 0 || len(st.Dropped) != 0 || len(st.Spool.Dropped) != 0 {
				t.Errorf("seed %d: %+v", seed, st)
			}
			got := r.recv.seqs()
			wantSeqs(t, got, sent)
			results := make(map[time.Time]bool)
			for _, x := range r.recv.results {
				results[x.At] = true
			}
			if len(results) != sent {
				t.Errorf("seed %d: results of %d ticks, want %d", seed, len(results), sent)
			}
			t.Logf("seed %d: %d reports, %d came twice, %d reconnects, %d spooled, %d frames drained",
				seed, sent, r.recv.twice, st.Reconnects, st.Spooled, st.Drained)
			a.stop()
			r.down(true)
			r.recv.wait.Wait()
		})
	}
}

// chaosSeeds is how many runs TestChaos makes; UPLINK_TEST_SEEDS asks for more.
func chaosSeeds() uint64 {
	if n, err := strconv.ParseUint(os.Getenv("UPLINK_TEST_SEEDS"), 10, 32); err == nil {
		return n
	}
	return 3
}

// TestKilledConnections breaks real loopback connections at random bytes while reports flow.
func TestKilledConnections(t *testing.T) {
	ca, recv := newTestCA(), newReceiver()
	address, _ := tcp(t, ServerOptions{Receiver: recv, Certs: ca.source()})
	q := testSpool(t)
	var healed atomic.Bool
	c := must(NewClient(ClientOptions{
		Address: address, TLS: must(ca.identity("srv-1").TLS()), Spool: q, SpoolAfter: 50 * time.Millisecond, Linger: time.Millisecond,
		Dial: func(ctx context.Context, address string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
			if err != nil || healed.Load() {
				return c, err
			}
			return &mortal{Conn: c, left: 4000 + rand.IntN(8000)}, nil
		},
	}))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	sent := 0
	for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); sent++ {
		c.Send(probe("gate", sent, check.OK), sent%10 == 0)
		time.Sleep(time.Millisecond)
	}
	healed.Store(true)
	for deadline := time.Now().Add(2 * time.Minute); recv.count() < sent || q.Len() > 0 || c.Stats().Waiting > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d came: %+v", recv.count(), sent, c.Stats())
		}
		time.Sleep(20 * time.Millisecond)
	}
	cancel()
	<-done
	wantSeqs(t, recv.seqs(), sent)
	if st := c.Stats(); st.Reconnects == 0 || len(st.Dropped) != 0 {
		t.Errorf("%+v", st)
	}
}

// mortal is a connection that breaks after a number of bytes.
type mortal struct {
	net.Conn
	mu   sync.Mutex
	left int
}

func (m *mortal) spend(n int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n = min(n, m.left)
	m.left -= n
	return n
}

func (m *mortal) Write(p []byte) (int, error) {
	n := m.spend(len(p))
	if n == len(p) {
		return m.Conn.Write(p)
	}
	m.Conn.Write(p[:n])
	m.Conn.Close()
	return n, io.ErrClosedPipe
}

// childAgent is the process that TestKilledAgent kills: it sends a report every few milliseconds and says what it knows.
func childAgent(dir string) {
	id, err := LoadIdentity(dir)
	if err != nil {
		fmt.Println("error", err)
		return
	}
	q, err := spool.Open(spool.Options{Dir: filepath.Join(dir, "spool")})
	if err != nil {
		fmt.Println("error", err)
		return
	}
	boot, _ := strconv.ParseUint(os.Getenv("UPLINK_TEST_BOOT"), 10, 64)
	c := must(NewClient(ClientOptions{
		Address: os.Getenv("UPLINK_TEST_ADDRESS"), TLS: must(id.TLS()), Spool: q, Boot: boot, SpoolAfter: 30 * time.Millisecond,
	}))
	go c.Run(context.Background())
	for n := 0; ; n++ {
		c.Send(host(n), false)
		time.Sleep(5 * time.Millisecond)
		st := c.Stats()
		fmt.Println("safe", max(st.Acked, st.Spooled))
	}
}

// TestKilledAgent kills the agent's process again and again while the collector comes and goes. All that an agent knew to be
// spooled or acknowledged reaches the collector, and has its effect once.
func TestKilledAgent(t *testing.T) {
	ca, recv := newTestCA(), newReceiver()
	address, _ := tcp(t, ServerOptions{Receiver: recv, Certs: ca.source()})
	nobody := must(net.Listen("tcp", "127.0.0.1:0"))
	nobody.Close()
	dir := t.TempDir()
	if err := ca.identity("srv-1").Save(dir); err != nil {
		t.Fatal(err)
	}
	safe := make(map[uint64]int)
	const lives = 12
	for life := range uint64(lives) {
		there := address
		if life%3 == 1 {
			there = nobody.Addr().String()
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "UPLINK_TEST_CHILD="+dir, "UPLINK_TEST_ADDRESS="+there, fmt.Sprint("UPLINK_TEST_BOOT=", life+1))
		out := must(cmd.StdoutPipe())
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill := sync.OnceFunc(func() { // once it has begun, however long a busy machine takes to start it
			time.AfterFunc(time.Duration(200+rand.IntN(300))*time.Millisecond, func() { cmd.Process.Kill() })
		})
		for s := bufio.NewScanner(out); s.Scan(); {
			kill()
			n, ok := strings.CutPrefix(s.Text(), "safe ")
			if !ok {
				t.Errorf("agent: %s", s.Text())
			}
			safe[life+1], _ = strconv.Atoi(n)
		}
		cmd.Wait()
	}
	q, err := spool.Open(spool.Options{Dir: filepath.Join(dir, "spool")})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	c := must(NewClient(ClientOptions{Address: address, TLS: must(must(LoadIdentity(dir)).TLS()), Spool: q}))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	for deadline := time.Now().Add(30 * time.Second); q.Len() > 0 && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
	cancel()
	<-done
	if st := q.Stats(); st.Frames > 0 || len(st.Dropped) > 0 {
		t.Errorf("spool %+v", st)
	}
	got := make(map[uint64]int)
	for _, x := range recv.reports() {
		got[x.Boot]++
	}
	total := 0
	for boot, n := range safe {
		if got[boot] < n {
			t.Errorf("boot %d: %d reports came, %d were known to be safe", boot, got[boot], n)
		}
		total += n
	}
	if total < lives*3 {
		t.Errorf("only %d reports were safe in all: the test tests nothing", total)
	}
}

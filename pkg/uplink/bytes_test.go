package uplink

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"xunjian/pkg/check"
	"xunjian/pkg/metric"
	"xunjian/pkg/spool"
)

// recording is testdata/rounds.txt: rounds 15 s apart of the reader and four HTTP probes on a real machine, as batches.
func recording(t testing.TB) (rounds [][]Batch) {
	t.Helper()
	f, err := os.Open("testdata/rounds.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	series := make(map[string][]metric.Series)
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		part := strings.Split(s.Text(), "\t")
		what, kind, _ := strings.Cut(part[0], " ")
		if what == "series" {
			for _, x := range part[1:] {
				series[kind] = append(series[kind], parseSeries(x))
			}
			continue
		}
		r := metric.Report{Kind: kind, Every: 15 * time.Second, At: must(time.Parse(time.RFC3339, part[1]))}
		for i, v := range strings.Fields(part[2]) {
			r.Samples = append(r.Samples, metric.Sample{Series: series[kind][i], Value: must(strconv.ParseFloat(v, 64))})
		}
		b := Batch{Reports: []metric.Report{r}}
		if len(part) > 3 {
			var res check.Result
			if err := json.Unmarshal([]byte(part[3]), &res); err != nil {
				t.Fatal(err)
			}
			b.Results = []check.Result{res}
		}
		if kind == metric.KindHost {
			rounds = append(rounds, nil)
		}
		rounds[len(rounds)-1] = append(rounds[len(rounds)-1], b)
	}
	return rounds
}

var labelText = regexp.MustCompile(`(\w+)="([^"]*)"`)

func parseSeries(s string) metric.Series {
	name, labels, _ := strings.Cut(s, "{")
	var pairs []string
	for _, m := range labelText.FindAllStringSubmatch(labels, -1) {
		pairs = append(pairs, m[1], m[2])
	}
	return metric.New(name, pairs...)
}

// later moves a recorded round to another number of the same grid, values unchanged.
func later(round []Batch, shift time.Duration) []Batch {
	out := make([]Batch, len(round))
	for i, b := range round {
		r := b.Reports[0]
		r.At = r.At.Add(shift)
		out[i] = Batch{Reports: []metric.Report{r}}
		for _, res := range b.Results {
			res.At = res.At.Add(shift)
			a := res.Attempts[0]
			a.Start = a.Start.Add(shift)
			res.Attempts = []check.Attempt{a}
			out[i].Results = append(out[i].Results, res)
		}
	}
	return out
}

// TestSizeOfAReport holds the column code to its aim on real readings.
func TestSizeOfAReport(t *testing.T) {
	enc := newEncoder()
	var host, probes, n int
	for i, round := range recording(t) {
		for _, b := range round {
			b.Reports[0].Seq = enc.seq + 1
			size := proto.Size(enc.encode(b))
			switch {
			case i < 8: // definitions, and histories to grow
			case b.Reports[0].Kind == metric.KindHost:
				host += size
				n++
			default:
				probes += size
			}
		}
	}
	t.Logf("%d host values in %d bytes, a probe's report and result in %.1f", 143, host/n, float64(probes)/float64(4*n))
	if host/n > 200 || probes/(4*n) > 45 {
		t.Errorf("host report %d bytes, want at most 200; probe %d, want at most 45", host/n, probes/(4*n))
	}
}

// counter counts what passes a connection, both ways.
type counter struct {
	net.Conn
	up, down *atomic.Int64
}

func (c counter) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.down.Add(int64(n))
	return n, err
}

func (c counter) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.up.Add(int64(n))
	return n, err
}

// TestSizeOfARound counts all bytes of a steady round of 15 s with TLS, HTTP/2, keepalive and acknowledgements: when all five
// reports share a tick, and when each comes at its own time.
func TestSizeOfARound(t *testing.T) {
	for _, c := range []struct {
		name  string
		apart time.Duration
		limit int64
	}{
		{"together", 0, 550},
		{"apart", 3 * time.Second, 700},
	} {
		t.Run(c.name, func(t *testing.T) {
			rounds := recording(t)
			bubble(t, nil, func(t *testing.T, r *rig) {
				r.recv.slow = 250 * time.Millisecond // as the store's commits do
				var up, down atomic.Int64
				a := r.agent("srv-1", func(o *ClientOptions) {
					o.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
						c, err := r.dial(ctx, addr)
						return counter{c, &up, &down}, err
					}
				})
				defer a.stop()
				time.Sleep(time.Second)
				const warm = 8
				for i, round := range rounds {
					if i == warm {
						up.Store(0)
						down.Store(0)
					}
					start := time.Now()
					for _, b := range round {
						a.Send(b, false)
						time.Sleep(c.apart)
					}
					time.Sleep(15*time.Second - time.Since(start))
				}
				n := int64(len(rounds) - warm)
				t.Logf("%d bytes a round: %d up, %d down", (up.Load()+down.Load())/n, up.Load()/n, down.Load()/n)
				if got := (up.Load() + down.Load()) / n; got > c.limit {
					t.Errorf("%d bytes a round, want at most %d", got, c.limit)
				}
				wantSeqs(t, r.recv.seqs(), 5*len(rounds))
			})
		})
	}
}

// TestSizeOfTheSpool: three days of readings, spooled every few seconds, fit the default spool.
func TestSizeOfTheSpool(t *testing.T) {
	var bytes, frames int
	rounds := recording(t)
	for _, round := range rounds {
		for i := 0; i < len(round); i += 2 { // as if every tick of 15 s were spread over three frames
			frame, err := pack(1, round[i:min(i+2, len(round))])
			if err != nil {
				t.Fatal(err)
			}
			bytes += len(frame) + 20
			frames++
		}
	}
	days := float64(bytes) / float64(len(rounds)) * 72 * 240 / (1 << 20)
	t.Logf("%d bytes a frame, %.1f MiB in 72 h", bytes/frames, days)
	if days > 56 {
		t.Errorf("72 h take %.1f MiB of the 64", days)
	}
}

// proxy passes loopback connections on and counts.
type proxy struct {
	l        net.Listener
	up, down atomic.Int64
	wg       sync.WaitGroup
}

func newProxy(t testing.TB, target string) *proxy {
	p := &proxy{l: must(net.Listen("tcp", "127.0.0.1:0"))}
	p.wg.Go(func() {
		for {
			c, err := p.l.Accept()
			if err != nil {
				return
			}
			d, err := net.Dial("tcp", target)
			if err != nil {
				c.Close()
				continue
			}
			pass := func(to, from net.Conn, n *atomic.Int64) {
				io.Copy(counter{Conn: to, up: n, down: new(atomic.Int64)}, from)
				to.Close()
				from.Close()
			}
			p.wg.Go(func() { pass(d, c, &p.up) })
			p.wg.Go(func() { pass(c, d, &p.down) })
		}
	})
	t.Cleanup(func() { p.l.Close() })
	return p
}

// BenchmarkRound sends recorded rounds over loopback TLS, each when the one before is acknowledged, through a counting proxy.
func BenchmarkRound(b *testing.B) {
	ca, recv := newTestCA(), newReceiver()
	s := must(NewServer(ServerOptions{Receiver: recv, Certs: ca.source()}))
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	p := newProxy(b, l.Addr().String())
	q, err := spool.Open(spool.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	c := must(NewClient(ClientOptions{Address: p.l.Addr().String(), TLS: must(ca.identity("srv-1").TLS()), Spool: q}))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	rounds := recording(b)
	total := uint64(0)
	send := func(round []Batch) {
		for i, x := range round {
			c.Send(x, i == len(round)-1)
		}
		for total += 5; c.Stats().Acked < total; {
			time.Sleep(100 * time.Microsecond)
		}
	}
	for _, r := range rounds {
		send(r)
	}
	p.up.Store(0)
	p.down.Store(0)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		send(later(rounds[n%len(rounds)], time.Duration(n/len(rounds)+1)*time.Duration(len(rounds))*15*time.Second))
	}
	b.ReportMetric(float64(p.up.Load())/float64(n), "B-up/round")
	b.ReportMetric(float64(p.down.Load())/float64(n), "B-down/round")
	cancel()
	<-done
	s.Stop(b.Context())
	<-served
	q.Close()
}

package uplink

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/spool"
)

// ClientOptions is what an agent's end needs. Zero values mean the defaults given.
type ClientOptions struct {
	Address string
	TLS     *tls.Config // Identity.TLS makes it
	Dial    func(ctx context.Context, address string) (net.Conn, error)
	Spool   *spool.Queue     // nil keeps everything in memory only
	OnPlan  func(check.Plan) // called from Run when the plan's revision changes; must return soon

	// OnProbeNow is called from Run when the collector wants a check asked at once; it must return soon.
	OnProbeNow func(check, request string)

	Plan    string // revision of the plan held from an earlier run
	Version string // of the agent's software
	Host    string // fingerprint of the machine
	Boot    uint64 // default: drawn at random

	Linger     time.Duration // default 200 ms: how long a healthy batch waits for company
	SpoolAfter time.Duration // default 3 s: how long a batch may stay unacknowledged in memory only
	MaxMemory  int64         // default 4 MiB, of batches in memory; beyond it they are spooled at once, beyond twice it the oldest are dropped
	Logger     *slog.Logger
}

func (o ClientOptions) withDefaults() ClientOptions {
	o.Linger = orDefault(o.Linger, 200*time.Millisecond)
	o.SpoolAfter = orDefault(o.SpoolAfter, 3*time.Second)
	o.MaxMemory = orDefault(o.MaxMemory, 4<<20)
	for o.Boot == 0 {
		o.Boot = rand.Uint64()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// ClientStats counts since the start.
type ClientStats struct {
	Connected  bool
	Since      time.Time // of the present stream, or of its loss
	LastError  string    // why the last stream ended or none could be opened
	Boot       uint64
	Waiting    int // batches in memory, not yet acknowledged
	Bytes      int64
	Sent       uint64 // batches, each sending counts
	Acked      uint64 // batches
	Spooled    uint64 // batches written to the spool
	Drained    uint64 // spool frames acknowledged
	Reconnects uint64
	Skew       time.Duration     // this clock minus the collector's, at the last greeting
	Dropped    map[string]uint64 // batches and frames lost for good, by reason: memory, refused, too_large, shutdown
	Spool      spool.Stats
}

// Client is the agent's end. Batches wait in memory until the collector has acknowledged them, and go to the spool when
// that takes longer than SpoolAfter. A killed agent therefore loses what was collected in its last SpoolAfter and a second,
// and nothing that was acknowledged; what was under way is sent again, with the same boot and sequence.
type Client struct {
	opts ClientOptions
	log  *slog.Logger
	wake chan struct{} // of one, for the sender
	keep chan struct{} // of one, for the keeper

	mu      sync.Mutex
	seq     uint64
	units   []*unit // not acknowledged, in order of sequence
	bytes   int64
	line    *line // the present stream, nil when there is none
	copies  []*copied
	goodbye *goodbye            // nil until the agent takes its leave
	done    map[spool.Mark]bool // copies that were acknowledged and wait for their turn to be dropped
	plan    string
	stats   ClientStats
}

// unit is a batch as Send got it; it is sent and refused as a whole.
type unit struct {
	batch  Batch
	size   int64 // in memory
	wire   int   // bound on the wire
	added  time.Time
	urgent bool
	alone  bool    // was refused with others, so it is sent by itself
	number uint64  // of the message that carries it on the present stream, 0 when it was not sent on it
	copied *copied // nil while it is in memory only
}

// copied is a spool frame with batches that are also still in memory, under way to the collector.
type copied struct {
	mark spool.Mark
	live int  // batches that are not acknowledged
	lost bool // a batch left memory unacknowledged, so the frame must be sent
}

// NewClient prepares; Run does the work.
func NewClient(o ClientOptions) (*Client, error) {
	if o.TLS == nil || o.Address == "" {
		return nil, errors.New("make uplink client: address and TLS are needed")
	}
	o = o.withDefaults()
	return &Client{
		opts: o, log: o.Logger, plan: o.Plan,
		wake: make(chan struct{}, 1), keep: make(chan struct{}, 1),
		done:  make(map[spool.Mark]bool),
		stats: ClientStats{Boot: o.Boot, Dropped: make(map[string]uint64), Since: time.Now()},
	}, nil
}

// Send hands over a batch and never waits for network or disk. It sets Boot and Seq of the reports, in the order of its
// calls; the caller must not change them or their samples afterwards. An urgent batch leaves at once and takes along
// what waits for company.
func (c *Client) Send(b Batch, urgent bool) {
	if len(b.Reports)+len(b.Results) == 0 {
		return
	}
	u := &unit{batch: b, size: memory(b), wire: roughSize(b), added: time.Now(), urgent: urgent}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range b.Reports {
		c.seq++
		b.Reports[i].Boot, b.Reports[i].Seq = c.opts.Boot, c.seq
	}
	if u.wire > defaultMaxMessage { // thousands of series in one reading
		c.stats.Dropped["too_large"]++
		c.log.Error("batch is too large to be sent", "bytes", u.wire, "reports", len(b.Reports))
		return
	}
	c.units = append(c.units, u)
	c.bytes += u.size
	if c.bytes > 2*c.opts.MaxMemory {
		c.evict()
	}
	if n := len(c.units); c.bytes > c.opts.MaxMemory || n == 1 || c.units[n-2].copied != nil {
		nudge(c.keep) // the keeper has nothing to wait for, or has it sooner than it thinks
	}
	nudge(c.wake)
}

func nudge(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// evict makes room: copies of what is spooled go first, then the oldest is lost.
func (c *Client) evict() {
	kept := c.units[:0]
	for _, u := range c.units {
		if c.bytes <= 2*c.opts.MaxMemory || u.copied == nil {
			kept = append(kept, u)
			continue
		}
		c.bytes -= u.size
		u.copied.live--
		u.copied.lost = true
	}
	c.setUnits(kept)
	for c.bytes > 2*c.opts.MaxMemory && len(c.units) > 1 {
		c.bytes -= c.units[0].size
		c.units = c.units[1:]
		c.stats.Dropped["memory"]++
	}
	c.settleCopies()
}

// setUnits puts a filtered slice of units in their place and lets go of the rest.
func (c *Client) setUnits(kept []*unit) {
	clear(c.units[len(kept):])
	c.units = kept
}

// settleCopies lets the backlog have the frames whose batches are no longer under way.
func (c *Client) settleCopies() {
	const most = 4096 // beyond it frames are sent twice, which is harmless
	for len(c.copies) > 0 && c.copies[0].live <= 0 {
		if f := c.copies[0]; !f.lost && len(c.done) < most {
			c.done[f.mark] = true
		}
		c.copies = c.copies[1:]
	}
}

// Run keeps a stream open until ctx is done, then spools what is not acknowledged. It must be called once.
func (c *Client) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { c.keepSafe(ctx) })
	c.stayConnected(ctx)
	wg.Wait()
	c.shelve("shutdown")
	return nil
}

// Stats is a snapshot.
func (c *Client) Stats() ClientStats {
	c.mu.Lock()
	st := c.stats
	st.Connected, st.Waiting, st.Bytes = c.line != nil, len(c.units), c.bytes
	st.Dropped = make(map[string]uint64)
	for why, n := range c.stats.Dropped {
		st.Dropped[why] = n
	}
	c.mu.Unlock()
	if c.opts.Spool != nil {
		st.Spool = c.opts.Spool.Stats()
	}
	return st
}

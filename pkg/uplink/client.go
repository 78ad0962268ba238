package uplink

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/spool"
)

// ClientOptions is what an agent's end needs. Zero values mean the defaults given.
type ClientOptions struct {
	Address string
	TLS     *tls.Config // Identity.TLS makes it; nil means no encryption, for tests over memory pipes only
	Dial    func(ctx context.Context, address string) (net.Conn, error)
	Spool   *spool.Queue     // nil keeps everything in memory only
	OnPlan  func(check.Plan) // called from Run when the plan's revision changes; must return soon

	Plan    string // revision of the plan held from an earlier run
	Version string // of the agent's software
	Host    string // fingerprint of the machine
	Boot    uint64 // default: drawn at random

	Linger     time.Duration // default 200 ms: how long a healthy batch waits for company
	SpoolAfter time.Duration // default 3 s: how long a batch may stay unacknowledged in memory only
	MaxMemory  int64         // default 4 MiB, of batches in memory
	Logger     *slog.Logger
}

// ClientStats counts since the start.
type ClientStats struct {
	Connected  bool
	Since      time.Time // of the present stream, or of its loss
	LastError  string
	Boot       uint64
	Waiting    int // batches in memory, not yet acknowledged
	Bytes      int64
	Sent       uint64 // batches, each sending counts
	Acked      uint64 // batches
	Spooled    uint64 // batches written to the spool
	Drained    uint64 // spool frames acknowledged
	Reconnects uint64
	Skew       time.Duration     // this clock minus the collector's, at the last greeting
	Dropped    map[string]uint64 // batches and frames lost for good, by reason: memory, spool, refused, damage
	Spool      spool.Stats
}

// Client is the agent's end.
type Client struct{}

// NewClient prepares; Run does the work.
func NewClient(o ClientOptions) (*Client, error) { return &Client{}, nil }

// Send hands over a batch and never waits for network or disk. The client sets Boot and Seq of the reports;
// the caller must not change them or their samples afterwards.
func (c *Client) Send(b Batch, urgent bool) {}

// Run keeps a stream open until ctx is done, then spools what is not acknowledged.
func (c *Client) Run(ctx context.Context) error { return nil }

// Stats is a snapshot.
func (c *Client) Stats() ClientStats { return ClientStats{} }

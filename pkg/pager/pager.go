// Package pager tells people about incidents over every configured channel until each receiver has said yes.
package pager

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"xunjian/pkg/incident"
	"xunjian/pkg/store"
)

// Options tunes New.
type Options struct {
	Channels    []Channel
	ExternalURL string         // of the console, for links
	Language    string         // of the pages: zh-CN (default) or en
	Location    *time.Location // of the times in pages; default Asia/Shanghai
	Registerer  prometheus.Registerer
	Logger      *slog.Logger
}

// Channel is one receiver of pages. Send makes one try and returns nil only on the receiver's own yes.
type Channel interface {
	Name() string
	Send(ctx context.Context, m Message) error
}

// Pending is a page that a channel has not delivered.
type Pending struct {
	Channel  string
	Page     incident.Page
	Tries    int
	LastTry  time.Time // zero: not tried yet
	NextTry  time.Time
	Answer   string    // what came of the last try
	GaveUpAt time.Time // zero: still being tried
}

// Pager follows the desk's outbox.
type Pager struct{}

// Message is a page made ready for receivers.
type Message struct{}

func New(desk *incident.Desk, db *store.DB, o Options) (*Pager, error) {
	return nil, errors.New("not built yet")
}
func (p *Pager) Run(ctx context.Context) error   { return nil }
func (p *Pager) Undelivered() ([]Pending, error) { return nil, nil }

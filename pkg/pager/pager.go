// Package pager tells people about incidents over every configured channel until each receiver has said yes.
package pager

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"xunjian/pkg/channel"
	"xunjian/pkg/i18n"
	"xunjian/pkg/incident"
	"xunjian/pkg/store"
)

// Patience is how long a page is tried before it is given up and stays listed as undelivered.
const Patience = 24 * time.Hour

// Options tunes New.
type Options struct {
	Channels    []channel.Channel
	Roster      Roster           // nil: nobody is called by name
	Steps       []Step           // of the escalation; nil: DefaultSteps
	ExternalURL string           // of the console, for links
	Language    string           // of the pages: zh-CN (default) or en
	Location    *time.Location   // of the times in pages; default Asia/Shanghai
	Now         func() time.Time // the desk's; default time.Now
	Registerer  prometheus.Registerer
	Logger      *slog.Logger
}

// Pager follows the desk's outbox. Each channel has its own worker, so that none delays another.
type Pager struct {
	desk    *incident.Desk
	db      *store.DB
	o       Options
	printer *i18n.Printer
	metrics *metrics
	workers []*worker
	paces   map[string]*pace // by channel
	people  *escalator       // nil without a roster
	secret  []byte           // signs acknowledge links
	wrong   guesses
}

// New reads where each channel stands. A channel that is new starts with the pages to come. It starts nothing.
func New(desk *incident.Desk, db *store.DB, o Options) (*Pager, error) {
	if o.Location == nil {
		loc, err := time.LoadLocation("Asia/Shanghai")
		if err != nil {
			return nil, fmt.Errorf("open pager: %w", err)
		}
		o.Location = loc
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Pager{desk: desk, db: db, o: o, printer: i18n.For(o.Language), metrics: newMetrics(o.Registerer), paces: map[string]*pace{}}
	places := map[string]bool{} // in the outbox
	for _, c := range o.Channels {
		if p.paces[c.Name()] != nil {
			return nil, fmt.Errorf("open pager: two channels are named %q", c.Name())
		}
		p.metrics.begin(c.Name())
		p.paces[c.Name()] = newPace(channel.TermsOf(c).PerMinute)
		if places[c.Name()] = broadcasts(c); places[c.Name()] {
			p.workers = append(p.workers, newWorker(p, c))
		}
	}
	if err := p.callPeople(places); err != nil {
		return nil, fmt.Errorf("open pager: %w", err)
	}
	if err := p.restore(places); err != nil {
		return nil, fmt.Errorf("open pager: %w", err)
	}
	return p, nil
}

// Run sends until ctx ends and returns nil then. What is being sent at that moment is sent again, with the same key,
// after the next start.
func (p *Pager) Run(ctx context.Context) error {
	if len(p.o.Channels) == 0 {
		p.o.Logger.Warn("no paging channel is configured: nobody is told about incidents")
	}
	var wg sync.WaitGroup
	for _, w := range p.workers {
		wg.Go(func() { w.run(ctx) })
	}
	if p.people != nil {
		wg.Go(func() { p.people.run(ctx) })
	}
	for _, c := range p.o.Channels {
		if l, ok := c.(channel.Listener); ok && l.Hears() {
			wg.Go(func() { p.hear(ctx, l) })
		}
	}
	p.sweep(ctx)
	wg.Wait()
	return nil
}

// answers says that a receiver has just said yes to something: what waits for it need not wait any longer.
func (p *Pager) answers(channel string) {
	for _, w := range p.workers {
		if w.channel.Name() == channel {
			select {
			case w.back <- struct{}{}:
			default:
			}
		}
	}
}

// callPeople makes the escalation ready, with a place in the outbox of its own.
func (p *Pager) callPeople(places map[string]bool) (err error) {
	if p.secret, err = linkSecret(p.db); err != nil || p.o.Roster == nil {
		return err
	}
	places[followed] = true
	p.people, err = newEscalator(p, p.o.Steps)
	return err
}

// sweep removes pages that every channel is done with.
func (p *Pager) sweep(ctx context.Context) {
	t := time.NewTicker(10 * time.Minute)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if err := p.forgetLinks(p.o.Now()); err != nil {
			p.o.Logger.Error("old acknowledge links not removed", "err", err)
		}
		for n := sweepBatch; n == sweepBatch && ctx.Err() == nil; {
			var err error
			if n, err = p.forget(); err != nil {
				p.o.Logger.Error("old pages not removed", "err", err)
			}
		}
	}
}

const sweepBatch = 500

func (p *Pager) forget() (int, error) {
	upTo := ^uint64(0)
	for _, w := range p.workers {
		c, err := p.cursor(w.channel.Name())
		if err != nil {
			return 0, err
		}
		upTo = min(upTo, c.Done)
	}
	if p.people != nil {
		c, err := p.cursor(followed)
		if err != nil {
			return 0, err
		}
		upTo = min(upTo, c.Done)
	}
	return p.desk.Forget(upTo, sweepBatch)
}

// Pending is a page that a channel has not delivered.
type Pending struct {
	Channel  string        `json:"channel"`
	Person   string        `json:"person,omitempty"` // who was to be called; empty: whoever sits behind the receiver
	Page     incident.Page `json:"page"`
	Tries    int           `json:"tries"`
	LastTry  time.Time     `json:"last_try,omitzero"` // zero: not tried yet
	NextTry  time.Time     `json:"next_try,omitzero"`
	Answer   string        `json:"answer,omitempty"`    // what came of the last try
	GaveUpAt time.Time     `json:"gave_up_at,omitzero"` // zero: still being tried
}

// Undelivered lists what each channel has not delivered, given up or still being tried, oldest first; at most limit
// of each channel and kind.
func (p *Pager) Undelivered(limit int) ([]Pending, error) {
	var out []Pending
	for _, w := range p.workers {
		name := w.channel.Name()
		lost, err := p.lost(name, limit)
		if err != nil {
			return nil, fmt.Errorf("list undelivered pages: %w", err)
		}
		waiting, err := p.waiting(name, limit)
		if err != nil {
			return nil, fmt.Errorf("list undelivered pages: %w", err)
		}
		out = append(append(out, lost...), waiting...)
	}
	if p.people != nil {
		out = append(out, p.people.unreached(limit)...)
	}
	return out, nil
}

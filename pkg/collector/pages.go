package collector

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"xunjian/pkg/channel"
	"xunjian/pkg/incident"
	"xunjian/pkg/pager"
)

// pages runs the pager of the configuration in force. What each channel has delivered is on disk, so a new configuration
// simply gets a new pager, and no page is lost or repeated by the change.
type pages struct {
	mu      sync.Mutex
	current *pager.Pager
	own     *prometheus.Registry // of the present pager: its counters begin anew with it
	names   []string             // of its channels
	swapped chan struct{}        // holds one: a new pager is to take over
}

// set puts a pager in force.
func (p *pages) set(c *Collector, channels []channel.Channel, cfg Config) error {
	own := prometheus.NewRegistry()
	next, err := pager.New(c.desk, c.records, pager.Options{
		Channels: channels, Roster: c.roster, Steps: cfg.Pages.Escalation, ExternalURL: cfg.externalURL(), Language: cfg.Language, Location: cfg.location(), Now: c.clock.Now, Registerer: own, Logger: c.log,
	})
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.current, p.own, p.names = next, own, nil
	for _, ch := range channels {
		p.names = append(p.names, ch.Name())
	}
	p.mu.Unlock()
	select {
	case p.swapped <- struct{}{}:
	default: // the change before has not been noticed yet and will find this one
	}
	return nil
}

func (p *pages) now() (*pager.Pager, *prometheus.Registry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current, p.own
}

// run lets one pager work at a time.
func (p *pages) run(ctx context.Context) error {
	for ctx.Err() == nil {
		current, _ := p.now()
		turn, end := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- current.Run(turn) }()
		select {
		case <-ctx.Done():
		case <-p.swapped:
		}
		end()
		if err := <-done; err != nil {
			return err
		}
	}
	return nil
}

// Undelivered are the pages that the pager in force has not delivered.
func (p *pages) Undelivered() ([]pager.Pending, error) {
	current, _ := p.now()
	return current.Undelivered(shownPages)
}

// Channels are the names of those in force.
func (p *pages) Channels() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.names
}

// Test sends a test page by the pager in force.
func (p *pages) Test(ctx context.Context, name, by string, to ...channel.Person) ([]pager.Tested, error) {
	current, _ := p.now()
	return current.Test(ctx, name, by, to...)
}

// Gather makes the present pager's metrics part of /metrics.
func (p *pages) Gather() ([]*dto.MetricFamily, error) {
	_, own := p.now()
	return own.Gather()
}

// Look reads an acknowledge link.
func (p *pages) Look(now time.Time, token string) (pager.Linked, error) {
	current, _ := p.now()
	return current.Look(now, token)
}

// Take acknowledges by a link.
func (p *pages) Take(now time.Time, token, device, address string) (pager.Linked, error) {
	current, _ := p.now()
	return current.Take(now, token, device, address)
}

// Calls lists who was called about an incident.
func (p *pages) Calls(id string) ([]pager.Call, error) {
	current, _ := p.now()
	return current.Calls(id)
}

// answered is the desk of those who acknowledge: it adds when the person was told.
type answered struct {
	*incident.Desk
	pages *pages
}

// Ack takes an incident on.
func (a answered) Ack(id string, act incident.Act) (incident.Record, error) {
	if r, err := a.Record(id); err == nil && act.PagedAt.IsZero() {
		current, _ := a.pages.now()
		act.PagedAt = current.PagedAt(r, act.Person)
	}
	return a.Desk.Ack(id, act)
}

// replies is what gateways of short messages hand in, under the configuration in force.
type replies struct{ c *Collector }

func (r replies) config() pager.Replies {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	return r.c.cfg.Pages.Replies
}

// Admit compares in a time that depends on neither; without a token nobody is admitted.
func (r replies) Admit(token string) bool {
	ref := r.config().Token
	if !ref.Set() {
		return false
	}
	want, err := ref.Read()
	if err != nil {
		r.c.log.Error("token of the gateway for replies not read", "error", err)
		return false
	}
	a, b := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(want))
	return want != "" && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// Fields are the names of a reply's fields.
func (r replies) Fields() (phone, text string) {
	cfg := r.config()
	return cfg.Phone, cfg.Text
}

// Reply acknowledges by the code in a short message.
func (r replies) Reply(now time.Time, phone, text string) (taken bool, err error) {
	current, _ := r.c.pages.now()
	if _, err = current.Reply(now, "", phone, text); pager.Declined(err) {
		return false, nil
	}
	return err == nil, err
}

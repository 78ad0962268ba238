package collector

import (
	"context"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"xunjian/pkg/channel"
	"xunjian/pkg/pager"
)

// pages runs the pager of the configuration in force. What each channel has delivered is on disk, so a new configuration
// simply gets a new pager, and no page is lost or repeated by the change.
type pages struct {
	mu      sync.Mutex
	current *pager.Pager
	own     *prometheus.Registry // of the present pager: its counters begin anew with it
	swapped chan struct{}        // holds one: a new pager is to take over
}

// set puts a pager in force.
func (p *pages) set(c *Collector, channels []channel.Channel, cfg Config) error {
	own := prometheus.NewRegistry()
	next, err := pager.New(c.desk, c.records, pager.Options{
		Channels: channels, ExternalURL: cfg.externalURL(), Language: cfg.Language, Location: cfg.location(), Registerer: own, Logger: c.log,
	})
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.current, p.own = next, own
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

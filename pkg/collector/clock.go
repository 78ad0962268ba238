package collector

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"xunjian/pkg/incident"
	"xunjian/pkg/store"
)

// keptClock is what the next process must know of the machine's clock being set.
type keptClock struct {
	Off  time.Duration `json:"off"`            // how far it is ahead of the collector's own
	Open bool          `json:"open,omitempty"` // incidents are open, whose deadlines hang on the collector's own
}

var clockTable = store.NewTable[keptClock]("collector_clock")

const (
	clockKey  = "clock"
	clockSeen = time.Second      // a change of Off that is worth a note
	clockSame = time.Millisecond // an Off under it is none
)

// stepped is what is known of the machine's clock being set.
type stepped struct {
	kept keptClock
	off  time.Duration // as last seen
}

// openClock lets the clock go on where it stood if incidents were open. Otherwise it begins with the machine's.
func (c *Collector) openClock() error {
	err := c.records.View(func(tx *store.Tx) (err error) { c.stepped.kept, err = clockTable.Get(tx, clockKey); return err })
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if kept := c.stepped.kept; kept.Open && kept.Off.Abs() > clockSeen {
		c.clock.Resume(kept.Off)
		c.stepped.off = kept.Off
		c.log.Warn("the machine's clock was set earlier; the collector goes on by its own while incidents are open", "off", kept.Off)
	}
	c.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "xunjian_collector_clock_off_seconds", Help: "How far the machine's clock was set ahead of the collector's own, which does not jump.",
	}, func() float64 { return c.clock.Off().Seconds() }))
	return nil
}

// steady is the clock as the desk reads it: which sees no step while this process runs, but those of before.
func (c *Collector) steady() func() (time.Time, time.Duration) {
	start := c.clock.Now()
	return func() (time.Time, time.Duration) {
		now := c.clock.Now()
		return now.UTC().Round(0), now.Sub(start)
	}
}

// followClock looks each second whether the machine's clock was set. While no incident is open the collector's comes
// nearer to it; restarting the collector then takes it over at once.
func (c *Collector) followClock() {
	off := c.clock.Off()
	if change := off - c.stepped.off; change.Abs() > clockSeen/2 {
		c.log.Warn("the machine's clock was set", "by", change, "off", off)
	}
	open := false
	if off.Abs() > clockSame {
		known, err := c.desk.List(incident.Filter{State: "open", Limit: 1})
		open = err != nil || len(known) > 0
	}
	c.clock.Follow(!open)
	c.stepped.off = c.clock.Off()
	next, kept := keptClock{c.stepped.off.Round(time.Millisecond), open}, c.stepped.kept
	if (next.Off-kept.Off).Abs() < clockSeen && (next.Open == kept.Open || next.Off.Abs() < clockSeen) {
		return
	}
	if err := c.records.Update(func(tx *store.Tx) error { return clockTable.Put(tx, clockKey, next) }); err != nil {
		return // a full disk; it is tried again in a second, and told by others
	}
	c.stepped.kept = next
}

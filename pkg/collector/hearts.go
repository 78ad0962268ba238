package collector

import (
	"fmt"
	"os"
	"time"

	"xunjian/pkg/heartbeat"
)

// ticksWithin is how old the last tick of a collector that works can be.
const ticksWithin = 15 * time.Second

// openHearts makes the heartbeat, which stands on nothing that it speaks for.
func (c *Collector) openHearts() error {
	name, err := os.Hostname()
	if err != nil {
		name = "collector"
	}
	c.hearts = heartbeat.New(heartbeat.Options{
		Receivers: c.cfg.Heartbeat, Instance: name, Healthy: c.healthy, Logger: c.log, Registerer: c.registry,
	})
	return nil
}

// healthy says whether the collector really works: what comes in can be kept, and time passes for those who judge.
func (c *Collector) healthy() error {
	if err := c.ready(); err != nil {
		return err
	}
	if late := time.Since(time.UnixMilli(c.ticked.Load())); late > ticksWithin {
		return fmt.Errorf("nothing was judged for %v", late.Round(time.Second))
	}
	return nil
}

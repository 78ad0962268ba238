package uplink

import (
	"context"
	"errors"
	"time"
)

// frameSize is about how much goes into one spool frame before it is compressed.
const frameSize = 256 << 10

// keepSafe spools what has waited too long for an acknowledgement, or does not fit in memory.
func (c *Client) keepSafe(ctx context.Context) {
	if c.opts.Spool == nil {
		return
	}
	timer := time.NewTimer(c.opts.SpoolAfter)
	defer timer.Stop()
	for {
		timer.Reset(c.untilSpool(time.Now()))
		select {
		case <-ctx.Done():
			return
		case <-c.keep:
		case <-timer.C:
		}
		if c.untilSpool(time.Now()) > 0 {
			continue
		}
		if !c.shelve("spool") { // the disk is full or failing: memory is all there is, for a while
			timer.Reset(time.Second)
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
		}
	}
}

// untilSpool is how long nothing needs to be spooled.
func (c *Client) untilSpool(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, u := range c.units {
		if u.copied != nil {
			continue
		}
		if c.bytes > c.opts.MaxMemory {
			return 0
		}
		return max(0, u.added.Add(c.opts.SpoolAfter).Sub(now))
	}
	return time.Hour // Send nudges before
}

// shelve writes to the spool all that is in memory only. While connected it stays in memory too, as it may be acknowledged
// any moment. Without a spool, or when it fails, everything stays in memory; at shutdown it is then lost.
func (c *Client) shelve(occasion string) bool {
	c.mu.Lock()
	var units []*unit
	for _, u := range c.units {
		if u.copied == nil {
			units = append(units, u)
		}
	}
	c.mu.Unlock()
	for len(units) > 0 {
		n, size := 1, units[0].wire
		for n < len(units) && size+units[n].wire <= frameSize {
			size += units[n].wire
			n++
		}
		if err := c.spoolFrame(units[:n]); err != nil {
			c.notShelved(occasion, len(units), err)
			return false
		}
		units = units[n:]
	}
	nudge(c.wake)
	return true
}

func (c *Client) spoolFrame(units []*unit) error {
	if c.opts.Spool == nil {
		return errNoSpool
	}
	batches := make([]Batch, len(units))
	for i, u := range units {
		batches[i] = u.batch
	}
	frame, err := pack(c.opts.Boot, batches)
	if err != nil {
		return err
	}
	if err := c.opts.Spool.Append(time.Now(), frame); err != nil {
		return err
	}
	c.spooled(&copied{mark: c.opts.Spool.Tail()}, units)
	return nil
}

// spooled notes what is safe now. Units that were acknowledged meanwhile are not counted as under way.
func (c *Client) spooled(f *copied, units []*unit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	safe := make(map[*unit]bool, len(units))
	for _, u := range units {
		safe[u] = true
	}
	c.stats.Spooled += uint64(len(units))
	kept := c.units[:0]
	for _, u := range c.units {
		switch {
		case !safe[u]:
			kept = append(kept, u)
		case c.line == nil:
			c.bytes -= u.size
			f.lost = true
		default:
			u.copied = f
			f.live++
			kept = append(kept, u)
		}
	}
	c.setUnits(kept)
	c.copies = append(c.copies, f)
	c.settleCopies()
}

func (c *Client) notShelved(occasion string, n int, err error) {
	if occasion == "shutdown" {
		c.mu.Lock()
		c.stats.Dropped[occasion] += uint64(n)
		c.mu.Unlock()
	}
	if !errors.Is(err, errNoSpool) {
		c.log.Error("batches cannot be spooled", "occasion", occasion, "batches", n, "error", err)
	} else if occasion == "shutdown" {
		c.log.Warn("batches are lost with the process, as there is no spool", "batches", n)
	}
}

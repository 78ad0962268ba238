package collector

import (
	"context"
	"time"
)

// figuresEvery is how often days that have become final are looked for.
const figuresEvery = time.Hour

// keptBack is how far back checks that are in the configuration no more are looked for: more than the fortnight that Keep sees to.
const keptBack = 21 * 24 * time.Hour

// keepFigures works out the figures of days that will not change any more, and keeps them: they outlive the samples, and
// what is changed in the configuration later does not change them.
func (c *Collector) keepFigures(ctx context.Context) error {
	tick := time.NewTicker(figuresEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			if err := (reports{c}).keep(ctx, now); err != nil && ctx.Err() == nil {
				c.log.Error("figures of past days not kept, will be tried again", "error", err)
			}
		}
	}
}

// keep sees to the last fortnight, which covers a collector that was away for ten days.
func (r reports) keep(ctx context.Context, now time.Time) error {
	r.c.mu.Lock()
	cfg := r.c.cfg
	r.c.mu.Unlock()
	src, err := r.sources(cfg, now.Add(-keptBack), now)
	if err != nil {
		return err
	}
	return src.Keep(ctx, cfg.Report, cfg.location(), now)
}

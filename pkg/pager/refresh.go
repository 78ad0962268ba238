package pager

import (
	"context"
	"time"

	"xunjian/pkg/channel"
	"xunjian/pkg/incident"
)

// refresh tells a receiver that forgets of what is open, when it is time. It returns how long until the next time, 0: never.
func (w *worker) refresh(ctx context.Context, now time.Time) time.Duration {
	r, ok := w.channel.(channel.Refresher)
	if !ok {
		return 0
	}
	if wait := w.refreshAt.Sub(now); wait > 0 {
		return wait
	}
	w.refreshAt = now.Add(r.Every())
	open, err := w.p.desk.List(incident.Filter{State: "open"})
	if err != nil {
		w.log.Error("open incidents not read", "err", err)
		return r.Every()
	}
	var ms []channel.Message
	for _, rec := range open {
		if w.terms.Takes(rec.Level, false) {
			ms = append(ms, w.p.message(incident.Page{Kind: incident.PageOpened, At: rec.DetectedAt, Level: rec.Level, Record: rec}, w.channel.Name()))
		}
	}
	if len(ms) == 0 {
		return r.Every()
	}
	if err := r.Refresh(ctx, ms); err != nil && ctx.Err() == nil {
		w.log.Warn("open faults not told again", "faults", len(ms), "err", err)
	}
	return r.Every()
}

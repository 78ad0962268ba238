package pager

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"xunjian/pkg/channel"
	"xunjian/pkg/incident"
)

const (
	firstWait = time.Second     // after a failed try; doubles
	longWait  = 5 * time.Minute // up to this
	mostHold  = time.Hour       // of a receiver's Retry-After
	maxQueued = 100_000         // pages that a worker knows of; later ones wait in the outbox
	maxAtHand = 64              // of them held whole; the others are read again when their turn comes
)

// worker sends the pages of one channel, oldest first. A receiver that fails is asked again later, and at once (but not
// within a second) when a new page comes, since that is when it matters. A page that alone is refused waits by itself;
// only later pages of its own incident wait behind it, so that no receiver hears of an end before its beginning.
type worker struct {
	p       *Pager
	channel channel.Channel
	log     *slog.Logger

	started  bool
	queue    []*item            // by number; the first is not settled
	read     uint64             // the last page read from the outbox
	earlier  map[uint64]attempt // tries of the run before, for the first load
	failures int                // in a row
	failedAt time.Time
	ready    time.Time // the receiver is not asked before
	held     bool      // because it said so itself
}

type item struct {
	seq      uint64
	incident string
	page     *incident.Page // nil: read it again
	attempt
	delivered bool // the receiver has said yes, though the store does not know it yet
}

func (w *worker) run(ctx context.Context) {
	changed, stop := w.p.desk.Subscribe()
	defer stop()
	for ctx.Err() == nil {
		if err := w.load(); err != nil {
			w.log.Error("outbox not read", "err", err)
			w.delay(firstWait)
		}
		it, wait := w.pick(time.Now())
		if it == nil {
			w.sleep(ctx, changed, wait)
			continue
		}
		w.try(ctx, it)
	}
}

// load queues the pages that are new in the outbox. They make a receiver that failed worth asking again.
func (w *worker) load() error {
	if !w.started {
		if err := w.start(); err != nil {
			return err
		}
	}
	fresh := false
	for len(w.queue) < maxQueued {
		pages, err := w.p.desk.Outbox(w.read, 500)
		if err != nil {
			return err
		}
		for _, page := range pages {
			w.add(page)
			fresh = true
		}
		if len(pages) < 500 {
			break
		}
	}
	w.earlier = nil
	if again := w.failedAt.Add(firstWait); fresh && !w.held && again.Before(w.ready) {
		w.ready = again
	}
	w.count()
	return nil
}

// start reads where the channel stood and what is known of the pages that it was not done with.
func (w *worker) start() error {
	c, err := w.p.cursor(w.channel.Name())
	if err != nil {
		return err
	}
	if w.earlier, err = w.p.tried(w.channel.Name()); err != nil {
		return err
	}
	w.read, w.started = c.Done, true
	return nil
}

func (w *worker) add(page incident.Page) {
	w.read = page.Seq
	it := &item{seq: page.Seq, incident: page.Record.ID, attempt: w.earlier[page.Seq]}
	it.NextTry = time.Time{} // a fresh start asks at once
	if len(w.queue) < maxAtHand {
		it.page = &page
	}
	w.queue = append(w.queue, it)
}

// pick is the page whose turn it is, or how long until there is one; 0 is until something changes.
func (w *worker) pick(now time.Time) (*item, time.Duration) {
	if len(w.queue) == 0 && w.failedAt.IsZero() {
		return nil, 0
	}
	if wait := w.ready.Sub(now); wait > 0 {
		return nil, wait
	}
	var first time.Duration
	blocked := map[string]bool{}
	for _, it := range w.queue {
		if !it.SettledAt.IsZero() || blocked[it.incident] {
			continue
		}
		wait := it.NextTry.Sub(now)
		if wait <= 0 {
			return it, 0
		}
		blocked[it.incident] = true
		if first == 0 || wait < first {
			first = wait
		}
	}
	return nil, first
}

func (w *worker) sleep(ctx context.Context, changed <-chan struct{}, wait time.Duration) {
	var over <-chan time.Time
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-ctx.Done():
	case <-changed:
	case <-over:
	}
}

// try sends a page once and keeps what came of it. No transaction is open while it sends.
func (w *worker) try(ctx context.Context, it *item) {
	if it.page == nil && !w.fetch(it) {
		return
	}
	if !it.delivered && w.p.outdated(*it.page) {
		w.log.Warn("page not sent: the backup that was restored is older than its delivery may be", "incident", it.incident, "kind", it.page.Kind)
		w.giveUp(it, "not sent after a backup was restored: it was waiting in the copy, and is older than an hour")
		return
	}
	if !it.delivered {
		_, err := w.channel.Send(ctx, w.p.message(*it.page, w.channel.Name()))
		if ctx.Err() != nil {
			return // unknown whether it arrived: it goes again with the same key
		}
		if err != nil {
			w.refused(it, err)
			return
		}
		it.delivered = true
		w.p.metrics.sent.WithLabelValues(w.channel.Name()).Inc()
		w.p.metrics.delay.WithLabelValues(w.channel.Name()).Observe(time.Since(it.page.At).Seconds())
	}
	w.failures, w.failedAt, w.ready, w.held = 0, time.Time{}, time.Time{}, false
	w.settle(it, nil)
}

// fetch reads a page again; one that is damaged is given up.
func (w *worker) fetch(it *item) bool {
	pages, err := w.p.desk.Outbox(it.seq-1, 1)
	switch {
	case err != nil:
		w.log.Error("page not read again", "page", it.seq, "err", err)
		w.delay(firstWait)
		return false
	case len(pages) == 0 || pages[0].Seq != it.seq:
		w.giveUp(it, "the page is damaged")
		return false
	}
	it.page = &pages[0]
	return true
}

// refused plans the next try, of this page or of the whole receiver, or gives the page up.
func (w *worker) refused(it *item, err error) {
	now, name := time.Now(), w.channel.Name()
	w.p.metrics.failed.WithLabelValues(name).Inc()
	r := channel.RefusalIn(err)
	it.Tries, it.LastTry, it.Answer = it.Tries+1, now, channel.Clip(err.Error(), 512)
	if now.Sub(it.page.At) >= Patience {
		w.log.Error("page given up", "incident", it.incident, "kind", it.page.Kind, "tries", it.Tries, "err", err)
		w.giveUp(it, it.Answer)
		return
	}
	if r.PageOnly {
		it.NextTry = now.Add(backoff(it.Tries))
	} else {
		w.failures++
		w.failedAt, w.held = now, r.RetryAfter > 0
		w.ready = now.Add(max(backoff(w.failures), min(r.RetryAfter, mostHold)))
		it.NextTry = w.ready
	}
	w.log.Warn("page not delivered", "incident", it.incident, "kind", it.page.Kind, "tries", it.Tries, "next", it.NextTry, "err", err)
	kept := it.attempt
	if !r.PageOnly {
		it.NextTry = time.Time{} // the receiver waits, not the page
	}
	if err := w.p.keep(name, outcome{seq: it.seq, keep: &kept}); err != nil {
		w.log.Error("try not written down", "page", it.seq, "err", err)
	}
}

// backoff is a random time around 1 s, 2 s, 4 s, … 5 min, so that receivers do not get all retries at once.
func backoff(failures int) time.Duration {
	d := longWait
	if n := failures - 1; n < 9 {
		d = min(firstWait<<n, longWait)
	}
	return d/2 + rand.N(d/2+1)
}

func (w *worker) giveUp(it *item, answer string) {
	w.p.metrics.gaveUp.WithLabelValues(w.channel.Name()).Inc()
	it.Answer = answer
	var page incident.Page
	if page.Seq = it.seq; it.page != nil {
		page = *it.page
	}
	lost := pending(w.channel.Name(), page, it.attempt)
	lost.GaveUpAt = time.Now()
	w.settle(it, &lost)
}

// settle marks a page as done with and moves the cursor as far as it can. When the store fails, the mark is tried
// again later, but the page is not sent again.
func (w *worker) settle(it *item, lost *Pending) {
	o := outcome{seq: it.seq, lost: lost}
	settled := it.attempt
	settled.SettledAt = time.Now()
	n := 0
	for n < len(w.queue) && (w.queue[n] == it || !w.queue[n].SettledAt.IsZero()) {
		o.cursor, o.passed = w.queue[n].seq, append(o.passed, w.queue[n].seq)
		n++
	}
	if n == 0 || w.queue[0].seq > it.seq {
		o.keep = &settled
	}
	if err := w.p.keep(w.channel.Name(), o); err != nil {
		w.log.Error("delivery not written down", "page", it.seq, "err", err)
		w.failures++
		w.delay(backoff(w.failures))
		return
	}
	it.attempt, it.page = settled, nil
	w.queue = w.queue[n:]
	w.count()
}

// delay keeps the worker from its next round for a while, whatever changes.
func (w *worker) delay(d time.Duration) {
	w.failedAt, w.ready, w.held = time.Now(), time.Now().Add(d), true
}

func (w *worker) count() {
	n := 0
	for _, it := range w.queue {
		if it.SettledAt.IsZero() {
			n++
		}
	}
	w.p.metrics.undelivered.WithLabelValues(w.channel.Name()).Set(float64(n))
}

package pager

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
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

// worker sends the pages of one channel, the gravest first. A receiver that fails is asked again later, and at once (but not
// within a second) when a new page comes, since that is when it matters. A page that alone is refused waits by itself;
// only later pages of its own incident wait behind it, so that no receiver hears of an end before its beginning. What is more
// than the channel may send becomes one message (batch).
type worker struct {
	p       *Pager
	channel channel.Channel
	terms   channel.Terms
	pace    *pace
	log     *slog.Logger
	back    chan struct{} // holds one: the receiver has said yes to something else meanwhile

	started    bool
	queue      []*item            // by number; the first is not settled
	read       uint64             // the last page read from the outbox
	earlier    map[uint64]attempt // tries of the run before, for the first load
	merged     *merged            // a digest that may have arrived, and goes again as it was
	mostMerged int                // pages in a digest: halved when the receiver refuses one as such
	first      bool               // nothing was sent since the start
	failures   int                // in a row
	awaySince  time.Time          // of them the first
	missedTo   uint64             // the last page that it has missed when it was away for long
	failedAt   time.Time
	readyAt    time.Time // the receiver is not asked before
	held       bool      // because it said so itself
	refreshAt  time.Time // of a receiver that forgets
}

func newWorker(p *Pager, c channel.Channel) *worker {
	terms := channel.TermsOf(c)
	return &worker{p: p, channel: c, terms: terms, pace: p.paces[c.Name()], log: p.o.Logger.With("channel", c.Name()), back: make(chan struct{}, 1), mostMerged: maxDigest, first: true}
}

func (w *worker) run(ctx context.Context) {
	changed, stop := w.p.desk.Subscribe()
	defer stop()
	for ctx.Err() == nil {
		if err := w.load(); err != nil {
			w.log.Error("outbox not read", "err", err)
			w.delay(firstWait)
		}
		refresh := w.refresh(ctx, w.p.o.Now())
		wait, sent := w.step(ctx, w.p.o.Now())
		if sent {
			continue
		}
		if refresh > 0 && (wait == 0 || refresh < wait) {
			wait = refresh
		}
		w.sleep(ctx, changed, wait)
	}
}

// step sends one message, or writes down what was done with pages; else it says how long there is nothing to do, 0: until
// something changes.
func (w *worker) step(ctx context.Context, now time.Time) (wait time.Duration, done bool) {
	if len(w.queue) == 0 && w.failedAt.IsZero() {
		return 0, false
	}
	if wait := w.readyAt.Sub(now); wait > 0 {
		return wait, false
	}
	if its := w.unwritten(); len(its) > 0 {
		w.settle(its, nil)
		return 0, true
	}
	ready, wait := w.ready(now)
	if len(ready) == 0 {
		return wait, false
	}
	front, urgent := foremost(ready)
	room, until := w.pace.room(now, urgent)
	if room == 0 {
		return until, false
	}
	its := w.resume()
	if its == nil && w.first {
		its = ready[:1] // what was under way when the process died goes by itself, under its own key
	}
	if its == nil {
		its = w.batch(ready, len(front) <= min(room, storm), now)
	}
	w.first = false
	w.try(ctx, its)
	return 0, true
}

// unwritten are the pages that are done with, though the store does not know it yet.
func (w *worker) unwritten() (out []*item) {
	for _, it := range w.queue {
		if !it.settled() && (it.delivered != "" || it.foreign) {
			out = append(out, it)
		}
	}
	return out
}

// resume is the digest that was under way, as far as its pages are still there.
func (w *worker) resume() (out []*item) {
	if w.merged == nil {
		return nil
	}
	for _, it := range w.queue {
		if !it.settled() && slices.Contains(w.merged.Pages, it.seq) {
			out = append(out, it)
		}
	}
	if len(out) != len(w.merged.Pages) {
		w.merged = nil // some were given up since: what is left is put together anew
		return nil
	}
	order := map[uint64]int{}
	for i, seq := range w.merged.Pages {
		order[seq] = i
	}
	slices.SortFunc(out, func(a, b *item) int { return order[a.seq] - order[b.seq] })
	return out
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
	if again := w.failedAt.Add(firstWait); fresh && !w.held && again.Before(w.readyAt) {
		w.readyAt = again
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
	if w.merged, err = w.p.underWay(w.channel.Name()); err != nil {
		return err
	}
	w.read, w.started = c.Done, true
	return nil
}

func (w *worker) add(page incident.Page) {
	w.read = page.Seq
	it := &item{seq: page.Seq, incident: page.Record.ID, level: page.Level, attempt: w.earlier[page.Seq], foreign: !w.terms.Takes(page.Level, page.Kind.Ends())}
	it.NextTry = time.Time{} // a fresh start asks at once
	if len(w.queue) < maxAtHand {
		it.page = &page
	}
	w.queue = append(w.queue, it)
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
	case <-w.back:
		w.readyAt = time.Time{} // it is there again: what waits for it goes now
	case <-over:
	}
}

// try sends some pages once, as one message, and keeps what came of it. No transaction is open while it sends.
func (w *worker) try(ctx context.Context, its []*item) {
	its = w.fetch(its)
	if len(its) == 0 {
		return
	}
	m := w.p.message(*its[0].page, w.channel.Name())
	if len(its) > 1 || w.merged != nil {
		pages := make([]incident.Page, len(its))
		for i, it := range its {
			pages[i] = *it.page
		}
		m = w.p.digest(pages, w.channel.Name())
		if err := w.merge(its, m.Key); err != nil {
			w.log.Error("digest not written down", "err", err)
			w.delay(firstWait)
			return
		}
	}
	w.pace.spend(w.p.o.Now())
	_, err := w.channel.Send(ctx, m)
	if ctx.Err() != nil {
		return // unknown whether it arrived: it goes again with the same key
	}
	if err != nil {
		w.refused(its, err)
		return
	}
	if w.away(w.p.o.Now()) {
		w.missedTo = w.read
	}
	w.failures, w.awaySince, w.failedAt, w.readyAt, w.held, w.mostMerged = 0, time.Time{}, time.Time{}, time.Time{}, false, min(2*w.mostMerged, maxDigest)
	now := w.p.o.Now()
	for _, it := range its {
		it.delivered = m.Key
		w.p.metrics.sent.WithLabelValues(w.channel.Name()).Inc()
		w.p.metrics.delay.WithLabelValues(w.channel.Name()).Observe(now.Sub(it.page.At).Seconds())
	}
	if len(its) > 1 {
		w.p.metrics.digests.WithLabelValues(w.channel.Name()).Inc()
		w.log.Info("pages delivered in one message", "pages", len(its), "key", m.Key)
	}
	w.settle(its, nil)
}

// merge writes down what a digest is made of before it is sent, so that it goes again under the same key.
func (w *worker) merge(its []*item, key string) error {
	if w.merged != nil && w.merged.Key == key {
		return nil
	}
	next := &merged{Key: key, At: w.p.o.Now()}
	for _, it := range its {
		next.Pages = append(next.Pages, it.seq)
	}
	if err := w.p.keep(w.channel.Name(), outcome{merged: next}); err != nil {
		return err
	}
	w.merged = next
	return nil
}

// fetch reads pages again that are not at hand, and leaves out those that must not be sent: damaged ones, and those which a
// restored backup takes for undelivered though hours have passed.
func (w *worker) fetch(its []*item) (out []*item) {
	for _, it := range its {
		if it.page == nil && !w.read1(it, its) {
			continue
		}
		if w.p.outdated(*it.page) {
			w.log.Warn("page not sent: the backup that was restored is older than its delivery may be", "incident", it.incident, "kind", it.page.Kind)
			w.giveUp(it, "not sent after a backup was restored: it was waiting in the copy, and is older than an hour")
			continue
		}
		out = append(out, it)
	}
	return out
}

// read1 reads a page again, and those behind it that are wanted too; one that is damaged is given up.
func (w *worker) read1(it *item, wanted []*item) bool {
	pages, err := w.p.desk.Outbox(it.seq-1, max(min(len(wanted), maxDigest), 1))
	switch {
	case err != nil:
		w.log.Error("page not read again", "page", it.seq, "err", err)
		w.delay(firstWait)
		return false
	case len(pages) == 0 || pages[0].Seq != it.seq:
		w.giveUp(it, "the page is damaged")
		return false
	}
	at := map[uint64]*incident.Page{}
	for i := range pages {
		at[pages[i].Seq] = &pages[i]
	}
	for _, other := range wanted {
		if page := at[other.seq]; page != nil && other.page == nil {
			other.page = page
		}
	}
	return true
}

// refused plans the next try, of these pages or of the whole receiver, or gives pages up.
func (w *worker) refused(its []*item, err error) {
	now, name := w.p.o.Now(), w.channel.Name()
	w.p.metrics.failed.WithLabelValues(name).Inc()
	r, unsure := channel.RefusalIn(err), channel.Unsure(err)
	o := outcome{}
	if w.merged != nil {
		w.merged.unsure = w.merged.unsure || unsure
		if r.PageOnly || !w.merged.unsure { // it may be put together anew when it surely did not arrive, or never will
			o.unmerge, w.merged = true, nil
		}
	}
	alone := r.PageOnly && len(its) == 1
	if r.PageOnly && len(its) > 1 {
		w.mostMerged = max(len(its)/2, 1)
	}
	if !r.PageOnly {
		w.failures++
		if w.failedAt, w.held = now, r.RetryAfter > 0; w.awaySince.IsZero() {
			w.awaySince = now
		}
		w.readyAt = now.Add(max(backoff(w.failures), min(r.RetryAfter, mostHold)))
	}
	var late []*item
	for _, it := range its {
		it.Tries, it.LastTry, it.Answer = it.Tries+1, now, channel.Clip(err.Error(), 512)
		it.Unsure = len(its) == 1 && w.merged == nil && (it.Unsure || unsure)
		if now.Sub(it.page.At) >= Patience {
			late = append(late, it)
			continue
		}
		kept := it.attempt
		if kept.NextTry = w.readyAt; alone {
			it.NextTry = now.Add(backoff(it.Tries))
			kept.NextTry = it.NextTry
		}
		o.keeps = append(o.keeps, kept1{it.seq, kept})
	}
	w.log.Warn("page not delivered", "incident", its[0].incident, "kind", its[0].page.Kind, "pages", len(its), "tries", its[0].Tries, "next", w.readyAt, "err", err)
	if err := w.p.keep(name, o); err != nil {
		w.log.Error("try not written down", "page", its[0].seq, "err", err)
	}
	for _, it := range late {
		w.log.Error("page given up", "incident", it.incident, "kind", it.page.Kind, "tries", it.Tries, "err", err)
		w.giveUp(it, it.Answer)
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
	lost.GaveUpAt = w.p.o.Now()
	w.settle([]*item{it}, &lost)
}

// settle marks pages as done with and moves the cursor as far as it can. When the store fails, the mark is tried
// again later, but what was delivered is not sent again.
func (w *worker) settle(its []*item, lost *Pending) {
	o := outcome{lost: lost, unmerge: w.merged != nil && slices.ContainsFunc(its, func(it *item) bool { return it.delivered == w.merged.Key })}
	marks := map[uint64]attempt{}
	for _, it := range its {
		a := it.attempt
		a.SettledAt, a.Key = w.p.o.Now(), it.delivered
		marks[it.seq] = a
	}
	n := 0
	for n < len(w.queue) && (w.queue[n].settled() || !marks[w.queue[n].seq].SettledAt.IsZero()) {
		o.cursor, o.passed = w.queue[n].seq, append(o.passed, w.queue[n].seq)
		n++
	}
	for _, it := range its {
		if n == 0 || it.seq > o.cursor {
			o.keeps = append(o.keeps, kept1{it.seq, marks[it.seq]})
		}
	}
	if err := w.p.keep(w.channel.Name(), o); err != nil {
		w.log.Error("delivery not written down", "page", its[0].seq, "pages", len(its), "err", err)
		w.failures++
		w.delay(backoff(w.failures))
		return
	}
	if o.unmerge {
		w.merged = nil
	}
	for _, it := range its {
		it.attempt, it.page = marks[it.seq], nil
	}
	w.queue = w.queue[n:]
	w.count()
}

// delay keeps the worker from its next round for a while, whatever changes.
func (w *worker) delay(d time.Duration) {
	w.failedAt, w.readyAt, w.held = w.p.o.Now(), w.p.o.Now().Add(d), true
}

func (w *worker) count() {
	n := 0
	for _, it := range w.queue {
		if !it.settled() && !it.foreign {
			n++
		}
	}
	w.p.metrics.undelivered.WithLabelValues(w.channel.Name()).Set(float64(n))
}

package pager

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"xunjian/pkg/channel"
	"xunjian/pkg/contract"
	"xunjian/pkg/i18n"
	"xunjian/pkg/incident"
	"xunjian/pkg/store"
)

// atOnce is how many calls of one channel are under way at a time: a gateway that hangs for one person must not keep the
// others from being called.
const atOnce = 4

// Most messages to one person over one channel within a minute. What is more waits for the minute to end; by then most of it
// is acknowledged or over, and is not sent at all.
const perPerson = 6

// caller sends the calls of one channel, the gravest first, one try each: what follows a refusal is the escalation's to say.
type caller struct {
	e       *escalator
	channel personal
	terms   channel.Terms
	pace    *pace // shared with the pages that the channel is sent
	log     *slog.Logger
	more    chan struct{} // holds one

	mu   sync.Mutex
	jobs []Call
	sent map[string][]time.Time // to each person in the last minute
}

func newCaller(e *escalator, c personal) *caller {
	return &caller{e: e, channel: c, terms: channel.TermsOf(c), pace: e.p.paces[c.Name()], log: e.log.With("channel", c.Name()), more: make(chan struct{}, 1), sent: map[string][]time.Time{}}
}

func (c *caller) queue(job Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.jobs = append(c.jobs, job)
	c.kick()
}

func (c *caller) kick() {
	select {
	case c.more <- struct{}{}:
	default:
	}
}

func (c *caller) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, atOnce)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		job, ok := c.await(ctx)
		if !ok {
			return
		}
		wg.Go(func() {
			defer func() { <-slots }()
			c.call(ctx, job)
		})
	}
}

// await is the next call that may be sent.
func (c *caller) await(ctx context.Context) (Call, bool) {
	for {
		job, wait, ok := c.pick(c.e.p.o.Now())
		if ok {
			return job, true
		}
		var over <-chan time.Time
		if wait > 0 {
			over = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return Call{}, false
		case <-c.more:
		case <-over:
		}
	}
}

var weights = map[contract.Level]int{contract.Urgent: 0, contract.General: 1, contract.Minor: 2}

// pick takes the gravest and oldest call whose person has not been sent too much of late, or says how long to wait.
func (c *caller) pick(now time.Time) (job Call, wait time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n, w := c.pace.room(now); n == 0 && len(c.jobs) > 0 {
		return Call{}, w, false
	}
	best := -1
	for i, j := range c.jobs {
		if w := c.room(now, j.Person); w > 0 {
			if wait == 0 || w < wait {
				wait = w
			}
			continue
		}
		if best < 0 || cmp.Or(cmp.Compare(weights[j.Level], weights[c.jobs[best].Level]), j.At.Compare(c.jobs[best].At)) < 0 {
			best = i
		}
	}
	if best < 0 {
		return Call{}, wait, false
	}
	job = c.jobs[best]
	c.jobs = slices.Delete(c.jobs, best, best+1)
	c.sent[job.Person] = append(c.sent[job.Person], now)
	return job, 0, true
}

// room is how long a person must be left in peace; it forgets what is over a minute ago.
func (c *caller) room(now time.Time, person string) time.Duration {
	past := slices.DeleteFunc(c.sent[person], func(t time.Time) bool { return now.Sub(t) >= time.Minute })
	if len(past) == 0 {
		delete(c.sent, person)
		return 0
	}
	c.sent[person] = past
	if len(past) < perPerson {
		return 0
	}
	return past[0].Add(time.Minute).Sub(now)
}

// unused gives a place in the minute back that was not needed after all.
func (c *caller) unused(person string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.sent[person]; len(s) > 0 {
		c.sent[person] = s[:len(s)-1]
	}
	c.kick()
}

// call makes one try, if it is still wanted, and keeps what came of it.
func (c *caller) call(ctx context.Context, job Call) {
	m, ok := c.prepare(ctx, job)
	if !ok {
		c.unused(job.Person)
		return
	}
	start := c.e.p.o.Now()
	c.pace.spend(start)
	receipt, err := c.channel.Send(ctx, m)
	if ctx.Err() != nil {
		return // unknown whether it arrived: it goes again with the same key
	}
	name, now := c.channel.Name(), c.e.p.o.Now().UTC().Round(0)
	job.Tries, job.TriedAt = job.Tries+1, now
	if err != nil {
		job.FailedAt, job.Answer = now, channel.Clip(err.Error(), 512)
		c.e.p.metrics.failed.WithLabelValues(name).Inc()
		c.log.Warn("person not reached", "incident", job.Incident, "person", job.Person, "tries", job.Tries, "took", now.Sub(start), "err", err)
	} else {
		job.SentAt, job.Answer = now, channel.Clip(receipt.Answer, 512)
		c.e.p.metrics.sent.WithLabelValues(name).Inc()
		c.e.p.metrics.delay.WithLabelValues(name).Observe(now.Sub(job.At).Seconds())
		c.e.p.answers(name)
		c.log.Info("person called", "incident", job.Incident, "person", job.Person, "step", job.Step, "kind", job.Kind)
	}
	c.keep(ctx, job)
}

// prepare makes the message, unless somebody has acknowledged meanwhile, or it is over, or the person has gone.
func (c *caller) prepare(ctx context.Context, job Call) (m channel.Message, ok bool) {
	c.e.mu.Lock()
	u := c.e.pursued[job.Incident]
	wanted := u != nil && u.calls[job.N-1].waiting()
	code := ""
	if u != nil {
		code = u.Code
	}
	c.e.mu.Unlock()
	if !wanted {
		return m, false
	}
	r, err := c.e.p.desk.Record(job.Incident)
	if err != nil {
		c.log.Error("incident not read", "incident", job.Incident, "err", err)
		c.later(ctx, job)
		return m, false
	}
	person, known := c.e.p.o.Roster.Person(job.Person)
	over := !job.ends() && !r.Open() || job.Step > 0 && !r.AckAt.IsZero()
	if over || !known {
		if !known {
			job.FailedAt, job.Answer = c.e.p.o.Now().UTC(), "person is no longer in the configuration"
			c.keep(ctx, job)
		}
		c.e.mu.Lock()
		c.e.touch(u) // it drops the call
		c.e.mu.Unlock()
		return m, false
	}
	return c.e.p.callMessage(job, r, addressed(person), code), true
}

// later queues a call again when the store comes to itself.
func (c *caller) later(ctx context.Context, job Call) {
	select {
	case <-ctx.Done():
	case <-time.After(firstWait):
		c.queue(job)
	}
}

// keep writes an outcome down. When the store does not take it, it is tried again; the call itself is not repeated.
func (c *caller) keep(ctx context.Context, job Call) {
	for {
		err := c.e.p.db.Update(func(tx *store.Tx) error { return calls.Put(tx, callKey(job.Incident, job.N), job) })
		if err == nil {
			break
		}
		c.log.Error("call not written down", "incident", job.Incident, "err", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(firstWait):
		}
	}
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	u := c.e.pursued[job.Incident]
	if u == nil {
		return
	}
	if dropped := u.calls[job.N-1].DroppedAt; !dropped.IsZero() && job.SentAt.IsZero() {
		job.DroppedAt = dropped
	}
	u.calls[job.N-1] = job
	c.e.touch(u)
}

// callMessage is a page for one person, in that person's language.
func (p *Pager) callMessage(c Call, r incident.Record, to channel.Person, code string) channel.Message {
	page := incident.Page{Kind: c.Kind, At: c.At, Level: c.Level, Record: r}
	m := p.message(page, c.Channel)
	m.Key, m.To = c.Key(), []channel.Person{to}
	if c.ends() {
		return m
	}
	m.Link, m.Code = p.ackAddress(c), code
	if m.Link != "" && len(m.Link) <= longLink {
		page.Record.ID = m.Link // there is room for one of them; the page behind the link has the number
	}
	m.Short = p.short(page, p.printer, code)
	for language, w := range m.Translations {
		w.Short = p.short(page, i18n.For(language), code)
		m.Translations[language] = w
	}
	return m
}

// longLink is the longest link that stands in a short message, in place of the incident's number.
const longLink = 48

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

// Most messages to one person over one channel within a minute: six at once, of which three are for urgent calls alone, then
// one every ten seconds. When more are at hand than may go, one holds them all.
const perPerson = 12

// caller sends the calls of one channel, the gravest first, one try each: what follows a refusal is the escalation's to say.
// What is more than one person may be sent becomes one message (together).
type caller struct {
	e       *escalator
	channel personal
	terms   channel.Terms
	pace    *pace // shared with the pages that the channel is sent
	log     *slog.Logger
	more    chan struct{} // holds one

	mu     sync.Mutex
	jobs   []Call           // the gravest and oldest first
	person map[string]*pace // of each who was called
}

func newCaller(e *escalator, c personal) *caller {
	return &caller{e: e, channel: c, terms: channel.TermsOf(c), pace: e.p.paces[c.Name()], log: e.log.With("channel", c.Name()), more: make(chan struct{}, 1), person: map[string]*pace{}}
}

func (c *caller) queue(some ...Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.jobs = append(c.jobs, some...)
	slices.SortStableFunc(c.jobs, before)
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
		some, ok := c.await(ctx)
		if !ok {
			return
		}
		wg.Go(func() {
			defer func() { <-slots }()
			c.call(ctx, some)
		})
	}
}

// await is what may be sent next: one call, or several to one person as one message.
func (c *caller) await(ctx context.Context) ([]Call, bool) {
	for {
		some, wait := c.pick(c.e.p.o.Now())
		if len(some) > 0 {
			return some, true
		}
		var over <-chan time.Time
		if wait > 0 {
			over = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return nil, false
		case <-c.more:
		case <-over:
		}
	}
}

var weights = map[contract.Level]int{contract.Urgent: 0, contract.General: 1, contract.Minor: 2}

// pick takes the gravest and oldest call that may go now, or says how long to wait. No call goes before a graver one to the same
// person: it will be in one message with it, or behind it.
func (c *caller) pick(now time.Time) (some []Call, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	waits := map[string]bool{}
	for _, job := range c.jobs {
		if waits[job.Person] {
			continue
		}
		person := c.paceOf(job.Person)
		_, w := c.pace.room(now, job.urgent())
		left, own := person.room(now, job.urgent())
		if w = max(w, own); w == 0 {
			person.spend(now)
			return c.together(job, left), 0
		}
		waits[job.Person] = true
		if wait == 0 || w < wait {
			wait = w
		}
	}
	return nil, wait
}

// paceOf is what keeps a person from being drowned. The caller holds mu.
func (c *caller) paceOf(person string) *pace {
	p := c.person[person]
	if p == nil {
		p = newPace(perPerson)
		c.person[person] = p
	}
	return p
}

func before(a, b Call) int {
	return cmp.Or(cmp.Compare(weights[a.Level], weights[b.Level]), a.At.Compare(b.At))
}

// unused gives a person's place back that was not needed after all.
func (c *caller) unused(person string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paceOf(person).unspent()
	c.kick()
}

// call makes one try of some calls to one person, as far as they are still wanted, and keeps what came of it.
func (c *caller) call(ctx context.Context, some []Call) {
	m, wanted, ok := c.message(ctx, some)
	if !ok {
		c.unused(some[0].Person)
		return
	}
	start := c.e.p.o.Now()
	c.pace.spend(start)
	receipt, err := c.channel.Send(ctx, m)
	if ctx.Err() != nil {
		return // unknown whether it arrived: it goes again with the same key
	}
	now, name := c.e.p.o.Now().UTC().Round(0), c.channel.Name()
	if err == nil {
		c.e.p.answers(name)
		if len(wanted) > 1 {
			c.e.p.metrics.digests.WithLabelValues(name).Inc()
		}
	}
	for i := range wanted {
		c.outcome(&wanted[i], start, now, receipt, err)
	}
	c.keep(ctx, wanted)
}

// outcome is what came of a call.
func (c *caller) outcome(job *Call, start, now time.Time, receipt channel.Receipt, err error) {
	name, log := c.channel.Name(), c.log.With("incident", job.Incident, "person", job.Person)
	job.Tries, job.TriedAt = job.Tries+1, now
	if err != nil {
		job.FailedAt, job.Answer = now, channel.Clip(err.Error(), 512)
		if !channel.Unsure(err) {
			job.Digest = "" // that message has surely not arrived: there need be none like it
		}
		c.e.p.metrics.failed.WithLabelValues(name).Inc()
		log.Warn("person not reached", "tries", job.Tries, "took", now.Sub(start), "err", err)
		return
	}
	job.SentAt, job.Answer = now, channel.Clip(receipt.Answer, 512)
	c.e.p.metrics.sent.WithLabelValues(name).Inc()
	c.e.p.metrics.delay.WithLabelValues(name).Observe(now.Sub(job.At).Seconds())
	log.Info("person called", "step", job.Step, "kind", job.Kind, "key", job.Key())
}

// prepare reads what a call is about, unless somebody has acknowledged meanwhile, or it is over, or the person has gone.
func (c *caller) prepare(ctx context.Context, job Call) (a asked, ok bool) {
	c.e.mu.Lock()
	u := c.e.pursued[job.Incident]
	wanted := u != nil && u.calls[job.N-1].waiting()
	a.Call = job
	if u != nil {
		a.code = u.Code
	}
	c.e.mu.Unlock()
	if !wanted {
		return a, false
	}
	var err error
	if a.rec, err = c.e.p.desk.Record(job.Incident); err != nil {
		c.log.Error("incident not read", "incident", job.Incident, "err", err)
		c.later(ctx, job)
		return a, false
	}
	person, known := c.e.p.o.Roster.Person(job.Person)
	a.to = addressed(person)
	over := !job.ends() && !a.rec.Open() || job.Step > 0 && !a.rec.AckAt.IsZero()
	if over || !known {
		if !known {
			job.FailedAt, job.Answer = c.e.p.o.Now().UTC(), "person is no longer in the configuration"
			c.keep(ctx, []Call{job})
		}
		c.e.mu.Lock()
		c.e.touch(u) // it drops the call
		c.e.mu.Unlock()
		return a, false
	}
	return a, true
}

// later queues calls again when the store comes to itself.
func (c *caller) later(ctx context.Context, some ...Call) {
	select {
	case <-ctx.Done():
	case <-time.After(firstWait):
		c.queue(some...)
	}
}

// keep writes outcomes down. When the store does not take them, that is tried again; the calls themselves are not repeated.
func (c *caller) keep(ctx context.Context, some []Call) {
	for {
		err := c.write(some)
		if err == nil {
			break
		}
		c.log.Error("calls not written down", "incident", some[0].Incident, "calls", len(some), "err", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(firstWait):
		}
	}
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	for _, job := range some {
		u := c.e.pursued[job.Incident]
		if u == nil {
			continue
		}
		if dropped := u.calls[job.N-1].DroppedAt; !dropped.IsZero() && job.SentAt.IsZero() {
			job.DroppedAt = dropped
		}
		u.calls[job.N-1] = job
		c.e.touch(u)
	}
}

func (c *caller) write(some []Call) error {
	return c.e.p.db.Update(func(tx *store.Tx) error {
		for _, job := range some {
			if err := calls.Put(tx, callKey(job.Incident, job.N), job); err != nil {
				return err
			}
		}
		return nil
	})
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

package pager

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"sync"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/incident"
	"xunjian/pkg/roster"
	"xunjian/pkg/store"
)

// Roster tells who there is and who is on duty.
type Roster interface {
	On(at time.Time) roster.Duty
	People() []roster.Person
	Person(name string) (roster.Person, bool)
}

// followed is the name under which the escalation's place in the outbox is kept, which no channel can have.
const followed = "_people"

// chase is what is kept of an incident about which people are, or were, called, until all that is over.
type chase struct {
	Code string    `json:"code,omitempty"` // by which people reply
	At   time.Time `json:"at"`
}

var chases = store.NewTable[chase]("pager_chases")

// escalator calls people about incidents that nobody has acknowledged. It follows the outbox for what is new, and time for
// what is due; what it decides is written down before anybody is called.
type escalator struct {
	p       *Pager
	policy  policy
	log     *slog.Logger
	by      []string // channels that reach people, in the order of the configuration
	callers map[string]*caller
	wake    chan struct{} // holds one

	mu      sync.Mutex
	read    uint64 // the last page read from the outbox
	pursued map[string]*pursuit
}

// pursuit is a chase at work.
type pursuit struct {
	chase
	id      string
	kept    bool // in the store
	level   contract.Level
	ended   incident.PageKind
	news    []news
	calls   []Call
	next    time.Time // zero: not before something happens
	looking bool      // something happened
}

func newEscalator(p *Pager, steps []Step) (*escalator, error) {
	policy, err := newPolicy(steps, p.o.Location)
	if err != nil {
		return nil, err
	}
	e := &escalator{p: p, policy: policy, log: p.o.Logger.With("part", "escalation"), callers: map[string]*caller{}, wake: make(chan struct{}, 1), pursued: map[string]*pursuit{}}
	for _, c := range p.o.Channels {
		if who, ok := c.(personal); ok && who.Personal() {
			e.by = append(e.by, c.Name())
			e.callers[c.Name()] = newCaller(e, who)
		}
	}
	return e, nil
}

// run calls people until ctx ends. It never polls: it sleeps until the desk, a caller or the clock has something for it.
func (e *escalator) run(ctx context.Context) {
	changed, stop := e.p.desk.Subscribe()
	defer stop()
	var wg sync.WaitGroup
	for _, c := range e.callers {
		wg.Go(func() { c.run(ctx) })
	}
	defer wg.Wait()
	loaded := false
	for ctx.Err() == nil {
		var wait time.Duration
		var err error
		if !loaded {
			err = e.load(e.p.o.Now())
			loaded = err == nil
		}
		if err == nil {
			wait, err = e.round(e.p.o.Now())
		}
		if err != nil {
			e.log.Error("escalation waits for the store", "err", err)
			wait = firstWait
		}
		e.sleep(ctx, changed, wait, err != nil)
	}
}

func (e *escalator) sleep(ctx context.Context, changed <-chan struct{}, wait time.Duration, whole bool) {
	var over <-chan time.Time
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		over = t.C
	}
	wake := (<-chan struct{})(e.wake)
	if whole { // the store does not take anything: not before the time is over
		changed, wake = nil, nil
	}
	select {
	case <-ctx.Done():
	case <-changed:
	case <-wake:
	case <-over:
	}
}

// load takes up what was going on when the last process ended, and incidents that are open without anybody having been called.
func (e *escalator) load(now time.Time) error {
	c, err := e.p.cursor(followed)
	if err != nil {
		return err
	}
	open, err := e.p.desk.List(incident.Filter{State: "open"})
	if err != nil {
		return err
	}
	var kept []store.Entry[chase]
	err = e.p.db.View(func(tx *store.Tx) (err error) {
		kept, err = chases.All(tx)
		return err
	})
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.read = c.Done
	for _, k := range kept {
		u, err := e.pursue(k.Key)
		if err != nil {
			return err
		}
		u.chase, u.kept = k.Value, true
	}
	for _, r := range open {
		if e.outdated(r) {
			continue
		}
		if _, err := e.pursue(r.ID); err != nil {
			return err
		}
	}
	var waiting []Call
	for _, u := range e.pursued {
		u.looking = true
		for _, c := range u.calls {
			if c.waiting() { // a channel that is no longer there was dropped by pursue
				waiting = append(waiting, c)
			}
		}
	}
	e.queue(waiting)
	return nil
}

// queue hands calls to their channels, those of one channel at once: they may belong together.
func (e *escalator) queue(some []Call) {
	of := map[string][]Call{}
	for _, c := range some {
		of[c.Channel] = append(of[c.Channel], c)
	}
	for name, mine := range of {
		e.callers[name].queue(mine...)
	}
}

// outdated says that a record came out of a backup and nobody has seen its fault since: people were called about it then.
func (e *escalator) outdated(r incident.Record) bool {
	restored := e.p.desk.Restored()
	return !restored.At.IsZero() && r.UpdatedAt.Before(restored.At) && r.OpenedAt.Before(restored.At.Add(-stale))
}

// pursue is the pursuit of an incident, begun with what is known of it. The caller holds mu.
func (e *escalator) pursue(id string) (*pursuit, error) {
	if u := e.pursued[id]; u != nil {
		return u, nil
	}
	known, err := e.p.Calls(id)
	if err != nil {
		return nil, err
	}
	u := &pursuit{id: id, ended: incident.PageRecovered, calls: known}
	for i, c := range u.calls {
		if c.waiting() && e.callers[c.Channel] == nil {
			u.calls[i].FailedAt, u.calls[i].Answer = e.p.o.Now(), "channel is no longer configured"
		}
		if c.Page > 0 && !c.ends() && c.SentAt.IsZero() && c.DroppedAt.IsZero() {
			u.news = append(u.news, news{c.Page, c.Kind})
		}
	}
	e.pursued[id] = u
	return u, nil
}

// roundOf is how many incidents one transaction takes.
const roundOf = 200

// round reads what is new and decides on every incident for which something has happened or is due. It says when the next
// is due, 0: not before something happens.
func (e *escalator) round(now time.Time) (time.Duration, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.follow(); err != nil {
		return 0, err
	}
	var ready []*pursuit
	for _, u := range e.pursued {
		if u.looking || !u.next.IsZero() && !u.next.After(now) {
			ready = append(ready, u)
		}
	}
	slices.SortFunc(ready, func(a, b *pursuit) int { // the gravest first: their calls go first
		switch {
		case a.level.Graver(b.level):
			return -1
		case b.level.Graver(a.level):
			return 1
		}
		return cmp.Compare(a.id, b.id)
	})
	for len(ready) > 0 {
		n := min(len(ready), roundOf)
		if err := e.decide(now, ready[:n], n == len(ready)); err != nil {
			return 0, err
		}
		ready = ready[n:]
	}
	e.count()
	var first time.Time
	for _, u := range e.pursued {
		if !u.next.IsZero() && (first.IsZero() || u.next.Before(first)) {
			first = u.next
		}
	}
	if first.IsZero() {
		return 0, nil
	}
	return max(first.Sub(now), time.Millisecond), nil
}

// follow takes in the pages that are new in the outbox.
func (e *escalator) follow() error {
	for {
		pages, err := e.p.desk.Outbox(e.read, 500)
		if err != nil {
			return err
		}
		for _, page := range pages {
			r := page.Record
			if !e.p.outdated(page) {
				u, err := e.pursue(r.ID)
				if err != nil {
					return err
				}
				u.looking, u.level = true, page.Level
				switch {
				case page.Kind.Ends():
					u.ended = page.Kind
				case urges(page):
					u.news = append(u.news, news{page.Seq, page.Kind})
				}
			}
			e.read = page.Seq
		}
		if len(pages) < 500 {
			return nil
		}
	}
}

// plan is what one incident's decision changes in the store.
type plan struct {
	u    *pursuit
	d    decision
	over bool // nothing is left to be done
	code string
}

// decide makes the decisions on some incidents durable, and only then hands the calls to their channels. The caller holds mu.
func (e *escalator) decide(now time.Time, some []*pursuit, last bool) error {
	var plans []plan
	duty, people := e.p.o.Roster.On(now), e.p.o.Roster.People()
	for _, u := range some {
		r, err := e.p.desk.Record(u.id)
		if errors.Is(err, incident.ErrNotFound) {
			delete(e.pursued, u.id)
			continue
		}
		if err != nil {
			return err
		}
		u.level = r.Level
		d := e.policy.due(situation{
			now: now, rec: r, ended: u.ended, calls: u.calls, news: u.news, duty: duty, people: people, by: e.by, reach: e.reach(r.Level), tells: e.tells,
		})
		pl := plan{u: u, d: d, code: u.Code}
		if len(d.fresh) > 0 && pl.code == "" {
			pl.code = e.code()
			u.Code = pl.code // taken, for the other plans of this round
		}
		for i := range pl.d.fresh {
			c := &pl.d.fresh[i]
			c.Incident, c.N, c.At, c.After = u.id, len(u.calls)+1+i, now.UTC().Round(0), e.p.desk.Restored().At
		}
		pl.over = !r.Open() && len(d.fresh) == 0 && len(d.again) == 0 && d.next.IsZero() && !slices.ContainsFunc(u.calls, func(c Call) bool { return c.waiting() && c.ends() })
		plans = append(plans, pl)
	}
	if err := e.write(now, plans, last); err != nil {
		return err
	}
	var next []Call
	for _, pl := range plans {
		next = append(next, e.follows(now, pl)...)
	}
	e.queue(next)
	return nil
}

// reach says which channels take calls of a level to a person.
func (e *escalator) reach(l contract.Level) func(name string, p roster.Person) bool {
	return func(name string, p roster.Person) bool {
		c := e.callers[name]
		return c != nil && c.channel.Reaches(addressed(p)) && c.terms.Takes(l, false)
	}
}

// tells says which channels are told of ends.
func (e *escalator) tells(name string) bool {
	c := e.callers[name]
	return c != nil && c.terms.Ends
}

// write makes plans durable in one transaction; the last of a round also moves the place in the outbox.
func (e *escalator) write(now time.Time, plans []plan, last bool) error {
	idle := !slices.ContainsFunc(plans, func(pl plan) bool { return len(pl.d.fresh)+len(pl.d.drop) > 0 || pl.over && pl.u.kept })
	if idle && !last {
		return nil
	}
	return e.p.db.Update(func(tx *store.Tx) error {
		for _, pl := range plans {
			if err := pl.write(tx, now, e.p.o.Roster); err != nil {
				return err
			}
		}
		if !last {
			return nil
		}
		if c, err := cursors.Get(tx, followed); err == nil && c.Done == e.read {
			return nil
		}
		return cursors.Put(tx, followed, cursor{e.read})
	})
}

func (pl plan) write(tx *store.Tx, now time.Time, people Roster) error {
	u := pl.u
	for i := range pl.d.fresh {
		c := &pl.d.fresh[i]
		if !c.ends() {
			n, err := links.NextSequence(tx)
			if err != nil {
				return err
			}
			c.Link = n
			l := link{Incident: u.id, Call: c.N, Person: c.Person, Expires: now.Add(linkLife).UTC().Truncate(time.Second)}
			if err := links.Put(tx, linkKey(n), l); err != nil {
				return err
			}
		}
		if err := calls.Put(tx, callKey(u.id, c.N), *c); err != nil {
			return err
		}
	}
	for _, n := range pl.d.drop {
		c := u.calls[n-1]
		c.DroppedAt = now.UTC()
		if err := calls.Put(tx, callKey(u.id, n), c); err != nil {
			return err
		}
	}
	switch {
	case pl.over:
		return chases.Delete(tx, u.id)
	case len(pl.d.fresh) > 0 && !u.kept:
		return chases.Put(tx, u.id, chase{Code: pl.code, At: now.UTC()})
	}
	return nil
}

// follows takes over in memory what has become durable, and gives the calls that are to be sent.
func (e *escalator) follows(now time.Time, pl plan) (next []Call) {
	u := pl.u
	u.looking, u.next = false, pl.d.next
	u.calls = append(u.calls, pl.d.fresh...)
	u.kept = u.kept || len(pl.d.fresh) > 0
	for _, n := range pl.d.drop {
		u.calls[n-1].DroppedAt = now.UTC()
	}
	for _, n := range pl.d.again {
		u.calls[n-1].FailedAt = time.Time{}
		next = append(next, u.calls[n-1])
	}
	for _, c := range pl.d.fresh {
		if c.Step > 0 {
			e.p.metrics.steps.WithLabelValues(fmt.Sprint(c.Step), string(c.Level)).Inc()
		}
		next = append(next, c)
	}
	if pl.over {
		delete(e.pursued, u.id)
	}
	return next
}

// touch lets the escalation look at an incident again. The caller holds mu.
func (e *escalator) touch(u *pursuit) {
	u.looking = true
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// code draws a reply code that no other incident has: four digits, more where so many incidents are open that one could be
// hit by chance. The caller holds mu.
func (e *escalator) code() string {
	taken := map[string]bool{}
	for _, u := range e.pursued {
		taken[u.Code] = true
	}
	digits, most := 4, int64(9000)
	if len(taken) > 450 {
		digits, most = 6, 900_000
	}
	for {
		n, err := rand.Int(rand.Reader, big.NewInt(most))
		if err != nil {
			panic(err) // the system's source of randomness does not fail
		}
		if c := fmt.Sprintf("%0*d", digits, n.Int64()+most/9); !taken[c] {
			return c
		}
	}
}

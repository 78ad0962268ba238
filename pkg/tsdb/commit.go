package tsdb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"xunjian/pkg/metric"
)

// queueLimit is how many reports wait for the committer; Append waits when it is full.
const queueLimit = 2048

// maxGroup bounds the bytes of one commit.
const maxGroup = 4 << 20

// maxAgentBytes bounds the name of a sender, which is a key in data.db.
const maxAgentBytes = 256

// pending is a report on its way to the journal.
type pending struct {
	resolved
	boot, seq uint64
	ms        int64
	outcome   Outcome
	urgent    bool
	durable   func(Outcome, error)
	place     placement
}

// pendings are there to be used again: at full speed they would be a third of all garbage.
var pendings = sync.Pool{New: func() any { return new(pending) }}

// recycle gives back a report that everybody is done with; its values were copied into the head.
func (p *pending) recycle() {
	*p = pending{resolved: resolved{values: p.values[:0]}}
	pendings.Put(p)
}

func (p *pending) bytes() int { return 64 + 8*len(p.values) }

// Append queues a report and returns; it waits only while the queue is full. durable is called once, from
// the committing goroutine, when the outcome is on disk or the store has failed: it must not block.
// When Append returns an error, durable is never called.
func (db *DB) Append(ctx context.Context, s Stream, r metric.Report, durable func(Outcome, error)) error {
	if err := db.Err(); err != nil {
		return err
	}
	if s.Agent == "" || !validText(s.Agent, maxAgentBytes) {
		return fmt.Errorf("append report: agent %.64q is no name", s.Agent)
	}
	a, err := db.catalog.agent(s.Agent)
	if err != nil {
		return fmt.Errorf("append report: %w", err)
	}
	p := pendings.Get().(*pending)
	room := p.values
	*p = pending{resolved: resolved{agent: a}, boot: r.Boot, seq: r.Seq, ms: r.At.UnixMilli(), urgent: s.Urgent, durable: durable}
	now := db.o.Now()
	switch {
	case db.catalog.hasSeen(a, r.Boot, r.Seq):
		p.outcome = Duplicate
	case r.At.Before(now.Add(-db.o.MaxAge)) || p.ms < 0 || db.isDropped(p.ms):
		p.outcome = TooOld
	case r.At.After(now.Add(db.o.MaxAhead)):
		p.outcome = Future
	default:
		p.resolved, p.outcome = db.catalog.resolve(a, streamDef{s.Agent, s.Kind, s.Every.Milliseconds(), s.Labels, s.Sparse}, r.Samples, room)
	}
	return db.enqueue(ctx, p)
}

// enqueue holds the gate, so that nobody can slip in a report after the committer's last look.
func (db *DB) enqueue(ctx context.Context, p *pending) error {
	db.gate.RLock()
	defer db.gate.RUnlock()
	select {
	case <-db.stopping:
		return ErrClosed
	default:
	}
	select {
	case db.queue <- p:
		return nil
	case <-db.stopping:
		return ErrClosed
	case <-db.failed:
		return db.Err()
	case <-ctx.Done():
		return fmt.Errorf("append report: %w", ctx.Err())
	}
}

// commitLoop is the only writer of the journal and the only one who opens and closes segments.
func (db *DB) commitLoop() {
	db.handOver(db.recovered)
	db.recovered = nil
	tick := time.NewTicker(min(time.Minute, db.o.BlockSpan/4+1))
	defer tick.Stop()
	for {
		select {
		case p := <-db.queue:
			db.commit(db.gather(p))
		case <-db.cutWanted:
			db.cut()
		case <-tick.C:
			db.sealOld(time.Now())
		case <-db.stopping:
			db.lastCommits()
			return
		}
	}
}

// lastCommits empties the queue once no Append can add to it.
func (db *DB) lastCommits() {
	db.gate.Lock()
	db.gate.Unlock() //nolint:staticcheck // waiting for those inside is all that is wanted
	for {
		select {
		case p := <-db.queue:
			db.commit(db.drain([]*pending{p}, p.bytes()))
		default:
			return
		}
	}
}

// gather waits for company until the linger is over, enough reports wait, or one is urgent.
func (db *DB) gather(p *pending) []*pending {
	group, size := []*pending{p}, p.bytes()
	if db.o.Linger > 0 {
		timer := time.NewTimer(db.o.Linger)
		defer timer.Stop()
		for waiting := true; waiting && !p.urgent && len(group) < db.o.GroupReports && size < maxGroup; {
			select {
			case p = <-db.queue:
				group, size = append(group, p), size+p.bytes()
			case <-timer.C:
				waiting = false
			case <-db.stopping:
				waiting = false
			}
		}
	}
	return db.drain(group, size)
}

// drain adds what waits already.
func (db *DB) drain(group []*pending, size int) []*pending {
	for size < maxGroup {
		select {
		case p := <-db.queue:
			group, size = append(group, p), size+p.bytes()
		default:
			return group
		}
	}
	return group
}

// commit makes a group durable, shows it to readers, and only then tells the senders.
func (db *DB) commit(group []*pending) {
	g, err := db.tryCommit(group)
	if err != nil {
		if errors.Is(err, ErrNoSpace) {
			db.metrics.noSpace.Add(float64(len(group)))
		} else {
			db.fail(err)
			err = db.Err()
		}
		for _, p := range group {
			p.tell(0, err)
		}
		return
	}
	closed := db.apply(group, &g)
	for _, p := range group {
		db.metrics.outcome(p.outcome)
		p.tell(p.outcome, nil)
		p.recycle()
	}
	db.handOver(closed)
	clear(g.records)
	clear(g.reports)
	db.spare = commitGroup{records: g.records[:0], reports: g.reports[:0]}
}

// tryCommit leaves everything as it was when there is no room. After any other error the plans are wrong, and the store
// has failed.
func (db *DB) tryCommit(group []*pending) (g commitGroup, err error) {
	if err := db.Err(); err != nil {
		return g, err
	}
	if err := db.refusal(time.Now()); err != nil {
		return g, err
	}
	next := db.journal.next
	if g, err = db.planGroup(group); err != nil {
		return g, err
	}
	if err = db.write(&g); errors.Is(err, ErrNoSpace) {
		db.undo(&g, next)
	}
	return g, err
}

func (p *pending) tell(o Outcome, err error) {
	if p.durable != nil {
		p.durable(o, err)
	}
}

// commitGroup is what a group writes.
type commitGroup struct {
	records []record
	streams []*stream // defined by this group
	schemas []*schema
	reports []*pending // by record, nil for definitions
	zipped  bool
	first   uint64
}

type reportID struct {
	agent     *agent
	boot, seq uint64
}

// planGroup decides what becomes of each report, ahead of the commit. It books rows in lanes; undo takes that back.
func (db *DB) planGroup(group []*pending) (g commitGroup, err error) {
	g.records, g.reports = db.spare.records, db.spare.reports
	db.spare = commitGroup{}
	inGroup := db.inGroup
	clear(inGroup)
	for _, p := range group {
		id := reportID{p.agent, p.boot, p.seq}
		if inGroup[id] || db.catalog.hasSeen(p.agent, p.boot, p.seq) {
			p.outcome = Duplicate
			continue
		}
		inGroup[id] = true
		if p.outcome == Stored && !p.stream.def.Sparse && p.stream.sameTime(p.ms) {
			p.outcome = SameTime
		}
		if p.outcome != Stored {
			g.add(record{kind: kindSeen, agent: p.agent.name, boot: p.boot, seq: p.seq}, p)
			continue
		}
		if err := g.define(db, p); err != nil {
			return g, err
		}
		number := db.journal.next + uint64(len(g.records))
		p.place = p.stream.place(db.rules, p.schema.id, p.ms, number)
		g.add(record{
			kind: kindRow, stream: p.stream.id, lane: byte(p.place.lane), boot: p.boot, seq: p.seq,
			ms: p.ms, schema: p.schema.id, values: p.values,
		}, p)
	}
	return g, nil
}

func (g *commitGroup) add(r record, p *pending) {
	g.records, g.reports = append(g.records, r), append(g.reports, p)
}

// define writes a stream's and a schema's meaning ahead of their first row.
func (g *commitGroup) define(db *DB, p *pending) error {
	if !db.schemaWritten[p.schema.id] {
		db.schemaWritten[p.schema.id] = true
		r, err := record{kind: kindSchema, schema: p.schema.id}.define(p.schema.series)
		if err != nil {
			return err
		}
		g.schemas = append(g.schemas, p.schema)
		g.add(r, nil)
	}
	if !p.stream.journaled {
		p.stream.journaled = true
		r, err := record{kind: kindStream, stream: p.stream.id}.define(p.stream.def)
		if err != nil {
			return err
		}
		g.streams = append(g.streams, p.stream)
		g.add(r, nil)
	}
	return nil
}

func (db *DB) write(g *commitGroup) error {
	if len(g.records) == 0 {
		return nil
	}
	start := time.Now()
	var values []value
	values, g.first, g.zipped = db.journal.layOut(g.records)
	if err := db.update(db.jdb, func(tx *bolt.Tx) error { return putGroup(tx, values) }); err != nil {
		return fmt.Errorf("commit reports: %w", err)
	}
	db.metrics.commits.Observe(time.Since(start).Seconds())
	return nil
}

// apply shows a committed group to readers and remembers its reports as done with.
func (db *DB) apply(group []*pending, g *commitGroup) (closed []*segment) {
	now := time.Now()
	for i, p := range g.reports {
		if p == nil || p.outcome != Stored {
			continue
		}
		number := g.first + uint64(i)
		keep := number
		if g.zipped {
			keep = g.first
		}
		db.metrics.samples.Add(float64(len(p.values)))
		closed = append(closed, p.stream.add(p.place, row{p.schema, p.ms, number, keep, p.values}, now)...)
	}
	c := db.catalog
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range g.reports {
		if p != nil {
			p.agent.seen.add(p.boot, p.seq)
			db.dirty.agents[p.agent] = true
		}
	}
	for _, p := range group {
		if p.dropped > 0 && p.outcome == Stored {
			p.agent.dropped.samples += uint64(p.dropped)
			p.agent.dropped.last = now.UnixMilli()
			db.metrics.droppedSamples.Add(float64(p.dropped))
		}
		db.outcomes[p.outcome]++
		if p.outcome > Duplicate {
			p.agent.refused[p.outcome]++
		}
	}
	for _, s := range g.streams {
		db.dirty.streams[s] = true
	}
	for _, s := range g.schemas {
		db.dirty.schemas[s] = true
	}
	db.dirty.upTo = db.journal.next - 1
	return closed
}

// handOver gives closed segments to the sealer; it waits while that one is behind.
func (db *DB) handOver(closed []*segment) {
	for _, g := range closed {
		select {
		case db.sealQueue <- g:
		case <-db.failed:
			return
		}
	}
}

// sealOld closes what has been open for too long.
func (db *DB) sealOld(now time.Time) {
	for _, s := range db.catalog.allStreams() {
		db.handOver(s.sealOld(now.Add(-db.o.BlockSpan)))
	}
}

// cut drops the journal's buckets that nothing needs any more.
func (db *DB) cut() {
	keep := db.persisted.Load() + 1
	for _, s := range db.catalog.allStreams() {
		keep = s.oldestKey(keep)
	}
	for dropped := cutAtOnce; dropped == cutAtOnce && db.Err() == nil && db.cutWorthwhile(keep); {
		err := db.update(db.jdb, func(tx *bolt.Tx) (err error) {
			if dropped, err = cutJournal(tx, keep); err != nil {
				return err
			}
			return tx.Bucket(bucketMeta).Put(metaNext, key64(db.journal.next))
		})
		if errors.Is(err, ErrNoSpace) {
			return // after the next flush
		}
		if err != nil {
			db.fail(err)
			return
		}
		db.metrics.cut.Add(float64(dropped))
	}
}

// cutWorthwhile looks before a write transaction is spent.
func (db *DB) cutWorthwhile(keep uint64) (worth bool) {
	err := view(db.jdb, func(tx *bolt.Tx) error {
		worth = len(doneBuckets(tx, keep, 1)) > 0
		return nil
	})
	return err == nil && worth
}

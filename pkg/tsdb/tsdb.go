// Package tsdb keeps samples in two bbolt files: a journal of fresh reports, and column blocks for good.
package tsdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	bolt "go.etcd.io/bbolt"

	"xunjian/pkg/metric"
	"xunjian/pkg/store"
)

// Sentinels that callers branch on.
var (
	ErrLocked  = store.ErrLocked
	ErrCorrupt = store.ErrCorrupt
	ErrNewer   = store.ErrNewer
	ErrClosed  = errors.New("store is closed")
	ErrFailed  = errors.New("store has failed and takes no more reports until it is opened anew")
	ErrLimit   = errors.New("store is at its limit")
)

// Options tunes Open; zero values stand for the defaults in brackets.
type Options struct {
	Linger       time.Duration // how long a commit waits for company [250 ms]; negative: not at all
	GroupReports int           // waiting reports that cut the linger short [100]
	BlockRows    int           // rows of a full block [120]
	BlockSpan    time.Duration // longest time from a block's first row to its last, and longest wait to be sealed [2 h]
	FlushEvery   time.Duration // longest wait of a sealed block for its transaction [60 s]
	FlushBytes   int           // sealed bytes that cut that wait short [16 MiB]
	MaxAge       time.Duration // older reports are refused [7 d]
	MaxAhead     time.Duration // reports further in the future are refused [5 min]
	LockTimeout  time.Duration // wait for another process to let go of the files [1 s]
	MergeAfter   time.Duration // how long a day is over when its blocks are merged [2 h]
	Retain       time.Duration // how long every sample is kept [400 d]
	RetainRollup time.Duration // how long aggregates are kept [5 y]
	CompactAbove int64         // a longer file that is more than half free is made anew by Open [256 MiB]
	ReadWorkers  int           // goroutines of one Select [the processors, at most 4]
	MmapSize     int           // address space set aside for each file [64 GiB on 64-bit machines]
	Limits       Limits

	Now  func() time.Time // nil: time.Now
	Room func() error     // asked before each commit: its error refuses the reports with ErrNoSpace; nil: there is always room

	Damaged func(error) // told of each damaged place that is found while the store runs; nil: only logged

	Registerer prometheus.Registerer // nil: metrics are kept but shown nowhere
	Logger     *slog.Logger          // nil: silent
}

// Limits caps what reports can make the store hold; zero values stand for the defaults in brackets. Of a report with
// more series, those that fit are kept, and OverflowSeries counts the others.
type Limits struct {
	ReportSeries int // series in one report [500]
	AgentSeries  int // series an agent has ever sent in all its streams [8,000]
	Series       int // series in all [100,000]
	Streams      int // streams in all [20,000]
	LabelBytes   int // longest name or value [128]
}

// or takes the first value that is set.
func or[V comparable](v, def V) V {
	var zero V
	if v == zero {
		return def
	}
	return v
}

func (o Options) withDefaults() Options {
	o.Linger = or(o.Linger, 250*time.Millisecond)
	o.GroupReports = or(o.GroupReports, 100)
	o.BlockRows = or(o.BlockRows, 120)
	o.BlockSpan = or(o.BlockSpan, 2*time.Hour)
	o.FlushEvery = or(o.FlushEvery, time.Minute)
	o.FlushBytes = or(o.FlushBytes, 16<<20)
	o.MaxAge = or(o.MaxAge, 7*24*time.Hour)
	o.MaxAhead = or(o.MaxAhead, 5*time.Minute)
	o.MergeAfter = or(o.MergeAfter, 2*time.Hour)
	o.Retain = or(o.Retain, 400*24*time.Hour)
	o.RetainRollup = or(o.RetainRollup, 5*366*24*time.Hour)
	o.ReadWorkers = or(o.ReadWorkers, min(4, runtime.GOMAXPROCS(0)))
	o.LockTimeout = or(o.LockTimeout, time.Second)
	o.CompactAbove = or(o.CompactAbove, 256<<20)
	o.MmapSize = or(o.MmapSize, 1<<(30+6*(bits.UintSize/64)))
	o.Limits.ReportSeries = or(o.Limits.ReportSeries, 500)
	o.Limits.AgentSeries = or(o.Limits.AgentSeries, 8_000)
	o.Limits.Series = or(o.Limits.Series, 100_000)
	o.Limits.Streams = or(o.Limits.Streams, 20_000)
	o.Limits.LabelBytes = or(o.Limits.LabelBytes, 128)
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Logger = or(o.Logger, slog.New(slog.DiscardHandler))
	return o
}

// Stream names one agent's reports of one kind; Urgent is no part of the name.
type Stream struct {
	Agent  string
	Kind   string
	Every  time.Duration
	Labels []metric.Label // added to each series, such as instance and job
	Urgent bool           // commit at once, do not linger
	// Sparse: absence in a row says nothing, NaN are values, and a millisecond may have several rows. Of two values of
	// one millisecond the first wins for certain only where each series comes with one and the same set of others.
	Sparse bool
}

// Outcome is what became of a report that is done with: whatever it is, the agent need not send it again.
type Outcome uint8

// The outcomes. All but Stored and Duplicate are refusals, which Stats and the metrics count.
const (
	Stored      Outcome = iota + 1
	Duplicate           // (agent, boot, seq) was done with before
	TooOld              // older than MaxAge
	Future              // further ahead than MaxAhead
	SameTime            // the stream has a row of that millisecond; the first one stays
	BadSeries           // none of its series is one: unnamed, doubled, a label over Limits.LabelBytes or not UTF-8
	SeriesLimit         // Limits.AgentSeries or Limits.Series reached, and none of its series is known
	StreamLimit         // Limits.Streams reached
	outcomes            // how many there are
)

var outcomeNames = [outcomes]string{"failed", "stored", "duplicate", "too_old", "future", "same_time", "bad_series", "series_limit", "stream_limit"}

func (o Outcome) String() string { return outcomeNames[o%outcomes] }

// DB is one open store. Append works while Run runs; reads work from Open to Close, also after a failure.
type DB struct {
	o        Options
	rules    headRules
	jdb, ddb *bolt.DB
	metrics  *metrics
	catalog  *catalog

	queue     chan *pending // bound: queueLimit; full: Append waits
	gate      sync.RWMutex  // held for reading while a report enters the queue
	sealQueue chan *segment // bound: sealQueueLimit; full: the committer waits
	cutWanted chan struct{} // bound: 1; full: one telling is enough

	dir           string
	damage        sync.Map // places known to be damaged
	room          room
	journal       *journalWriter    // the committer's own
	schemaWritten map[uint32]bool   // the committer's own
	spare         commitGroup       // the committer's own: room for the next group
	inGroup       map[reportID]bool // the committer's own
	recovered     []*segment        // closed while the journal was read; Run hands them to the sealer

	dirty     dirtySet         // catalog.mu
	outcomes  [outcomes]uint64 // catalog.mu
	readSpan  int64            // ms; the longest block that data.db can hold
	persisted atomic.Uint64    // data.db knows all that the journal says up to this number
	unflushed atomic.Int64
	written   struct{ journal, data atomic.Int64 } // bytes of pages
	rawSince  atomic.Int64
	merger    merger

	stopOnce, failOnce sync.Once
	stopping, failed   chan struct{}
	failure            error // before failed is closed
	runs               sync.Mutex
	started            bool // under runs
	ended              chan struct{}
	closeOnce          sync.Once
	closeErr           error
}

// Open opens the store in dir or makes a new one in an empty dir. It starts nothing: see Run.
// It fails with ErrLocked, ErrNewer or ErrCorrupt, and never replaces a file that it cannot read.
func Open(dir string, o Options) (*DB, error) {
	o = o.withDefaults()
	jdb, ddb, err := files{dir: dir, lock: o.LockTimeout, mmap: o.MmapSize, log: o.Logger, above: o.CompactAbove}.open()
	if err != nil {
		return nil, err
	}
	db := newDB(dir, o, jdb, ddb)
	if err := db.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open samples in %s: %w", dir, err), jdb.Close(), ddb.Close())
	}
	db.metrics = newMetrics(o.Registerer, db.Stats)
	return db, nil
}

func newDB(dir string, o Options, jdb, ddb *bolt.DB) *DB {
	db := &DB{
		o: o, jdb: jdb, ddb: ddb, rules: headRules{rows: o.BlockRows, span: o.BlockSpan.Milliseconds()},
		catalog: newCatalog(o.Limits), schemaWritten: map[uint32]bool{}, inGroup: map[reportID]bool{},
		queue: make(chan *pending, queueLimit), sealQueue: make(chan *segment, sealQueueLimit), cutWanted: make(chan struct{}, 1),
		stopping: make(chan struct{}), failed: make(chan struct{}), ended: make(chan struct{}),
	}
	db.merger.db, db.merger.scan.db, db.merger.most = db, db, maxBlockRows
	db.merger.roll.sketched = sketchRows
	db.room.ask, db.dir = o.Room, dir
	return db
}

// load checks what is there and makes the store's memory of it.
func (db *DB) load() error {
	err := db.check()
	if err == nil {
		err = db.recover()
	}
	if errors.Is(err, ErrCorrupt) {
		err = fmt.Errorf("%w; %s", err, store.Remedy(db.dir))
	}
	return err
}

// Run commits, seals and flushes until ctx ends; it returns nil after a last commit and flush, or the failure.
// It runs once.
func (db *DB) Run(ctx context.Context) error {
	db.runs.Lock()
	if db.started {
		db.runs.Unlock()
		return errors.New("run samples: it ran before")
	}
	db.started = true
	db.runs.Unlock()
	defer close(db.ended)
	var committing, sealing, merging sync.WaitGroup
	mergeCtx, stopMerging := context.WithCancel(ctx)
	defer stopMerging()
	merging.Go(func() { db.merger.run(mergeCtx) })
	merging.Go(func() { db.scrub(mergeCtx) })
	committing.Go(db.commitLoop)
	sealing.Go((&sealer{db: db}).run)
	select {
	case <-ctx.Done():
	case <-db.failed:
	case <-db.stopping:
	}
	db.stop()
	committing.Wait()
	close(db.sealQueue)
	sealing.Wait()
	stopMerging()
	merging.Wait()
	db.cut()
	return db.failure
}

func (db *DB) stop() { db.stopOnce.Do(func() { close(db.stopping) }) }

// fail makes the first failure the last word: nothing is acknowledged after it.
func (db *DB) fail(err error) {
	db.failOnce.Do(func() {
		db.failure = fmt.Errorf("%w: %w", ErrFailed, err)
		db.metrics.failed.Set(1)
		close(db.failed)
	})
}

// Err is the failure after which nothing is acked any more, nil while all is well.
func (db *DB) Err() error {
	select {
	case <-db.failed:
		return db.failure
	default:
		return nil
	}
}

// Close ends Run, waits for it, and releases the files. Reports still queued without a Run are told ErrClosed.
func (db *DB) Close() error {
	db.closeOnce.Do(func() {
		db.stop()
		db.runs.Lock()
		started := db.started
		db.started = true // no later Run
		db.runs.Unlock()
		if started {
			<-db.ended
		} else {
			db.refuseQueued()
		}
		db.closeErr = errors.Join(db.jdb.Close(), db.ddb.Close())
	})
	return db.closeErr
}

func (db *DB) refuseQueued() {
	db.gate.Lock()
	defer db.gate.Unlock()
	for {
		select {
		case p := <-db.queue:
			p.tell(0, ErrClosed)
		default:
			return
		}
	}
}

// Stats is a look at the store's insides.
type Stats struct {
	Streams, Series, Schemas int
	MaxSeries, MaxStreams    int   // Limits.Series and Limits.Streams
	HeadRows                 int   // rows not yet in a sealed block
	UnflushedBytes           int64 // sealed blocks waiting for their transaction
	HotBlocks                int
	JournalBytes, DataBytes  int64 // file sizes
	// Bytes of pages written to each file since Open. The kernel's own account of a process (write_bytes) may be many times
	// as much: it counts all of a folio of which one page has changed, and folios of files read ahead have up to 512.
	JournalWritten, DataWritten int64
	NoSpace                     bool               // the disk takes no writes, so no report is taken
	Outcomes                    map[Outcome]uint64 // since Open
}

// Stats counts what is held now and what became of the reports since Open.
func (db *DB) Stats() Stats {
	s := Stats{UnflushedBytes: db.unflushed.Load(), JournalBytes: fileSize(db.jdb), DataBytes: fileSize(db.ddb), Outcomes: map[Outcome]uint64{}}
	s.JournalWritten, s.DataWritten = db.written.journal.Load(), db.written.data.Load()
	s.NoSpace = db.NoSpace() != nil
	for _, st := range db.catalog.allStreams() {
		rows, blocks := st.held()
		s.HeadRows += rows
		s.HotBlocks += blocks
	}
	c := db.catalog
	c.mu.RLock()
	defer c.mu.RUnlock()
	s.Streams, s.Series, s.Schemas = len(c.streams), c.entries, len(c.schemas)
	s.MaxStreams, s.MaxSeries = c.limits.Streams, c.limits.Series
	for o, n := range db.outcomes {
		if n > 0 {
			s.Outcomes[Outcome(o)] = n
		}
	}
	return s
}

// Refused calls fn with each agent's refusals since Open, by reason.
func (db *DB) Refused(fn func(agent string, o Outcome, n uint64)) {
	c := db.catalog
	type refusal struct {
		agent  string
		counts [outcomes]uint64
	}
	var all []refusal
	c.mu.RLock()
	for name, a := range c.agents {
		all = append(all, refusal{name, a.refused})
	}
	c.mu.RUnlock()
	slices.SortFunc(all, func(a, b refusal) int { return strings.Compare(a.agent, b.agent) })
	for _, r := range all {
		for o, n := range r.counts {
			if n > 0 {
				fn(r.agent, Outcome(o), n)
			}
		}
	}
}

// Dropped calls fn with each agent that has lost samples to the caps since Open: how many, and when last.
func (db *DB) Dropped(fn func(agent string, samples uint64, last time.Time)) {
	type lost struct {
		agent string
		drops
	}
	var all []lost
	c := db.catalog
	c.mu.RLock()
	for name, a := range c.agents {
		if a.dropped.samples > 0 {
			all = append(all, lost{name, a.dropped})
		}
	}
	c.mu.RUnlock()
	slices.SortFunc(all, func(a, b lost) int { return strings.Compare(a.agent, b.agent) })
	for _, l := range all {
		fn(l.agent, l.samples, time.UnixMilli(l.last))
	}
}

func fileSize(db *bolt.DB) int64 {
	st, err := os.Stat(db.Path())
	if err != nil {
		return 0
	}
	return st.Size()
}

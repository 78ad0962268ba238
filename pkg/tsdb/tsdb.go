// Package tsdb keeps samples in two bbolt files: a journal of fresh reports, and column blocks for good.
package tsdb

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"xunjian/pkg/metric"
)

// Sentinels that callers branch on.
var (
	ErrLocked  = errors.New("another process holds the store")
	ErrCorrupt = errors.New("store is damaged")
	ErrNewer   = errors.New("store was written by a newer version")
	ErrClosed  = errors.New("store is closed")
	ErrFailed  = errors.New("store has failed and takes no more reports until it is opened anew")
	ErrLimit   = errors.New("store is at its limit")
)

// Options tunes Open; zero values stand for the defaults in brackets.
type Options struct {
	Linger       time.Duration // how long a commit waits for company [250 ms]; negative: not at all
	GroupReports int           // waiting reports that cut the linger short [100]
	BlockRows    int           // rows of a full block [240]
	BlockSpan    time.Duration // longest time from a block's first row to its last, and longest wait to be sealed [2 h]
	FlushEvery   time.Duration // longest wait of a sealed block for its transaction [60 s]
	FlushBytes   int           // sealed bytes that cut that wait short [16 MiB]
	MaxAge       time.Duration // older reports are refused [7 d]
	MaxAhead     time.Duration // reports further in the future are refused [5 min]
	LockTimeout  time.Duration // wait for another process to let go of the files [1 s]
	MmapSize     int           // address space set aside for each file [64 GiB on 64-bit machines]
	Limits       Limits

	Registerer prometheus.Registerer // nil: metrics are kept but shown nowhere
	Logger     *slog.Logger          // nil: silent
}

// Limits caps what reports can make the store hold; zero values stand for the defaults in brackets.
type Limits struct {
	ReportSeries int // series in one report [500]
	AgentSeries  int // series an agent has ever sent in all its streams [5,000]
	Series       int // series in all [100,000]
	Streams      int // streams in all [20,000]
	LabelBytes   int // longest name or value [128]
}

// Stream names one agent's reports of one kind; Urgent is no part of the name.
type Stream struct {
	Agent  string
	Kind   string
	Every  time.Duration
	Labels []metric.Label // added to each series, such as instance and job
	Urgent bool           // commit at once, do not linger
}

// Outcome is what became of a report that is done with: whatever it is, the agent need not send it again.
type Outcome uint8

// The outcomes. All but Stored and Duplicate are refusals, which Stats and the metrics count.
const (
	Stored        Outcome = iota + 1
	Duplicate             // (agent, boot, seq) was done with before
	TooOld                // older than MaxAge
	Future                // further ahead than MaxAhead
	SameTime              // the stream has a row of that millisecond; the first one stays
	TooManySeries         // more than Limits.ReportSeries
	BadSeries             // an unnamed or doubled series, a label over Limits.LabelBytes or not UTF-8
	SeriesLimit           // Limits.AgentSeries or Limits.Series reached
	StreamLimit           // Limits.Streams reached
)

// Samples is one series with what Select found of it, rising in time.
type Samples struct {
	Series metric.Series
	T      []int64 // ms
	V      []float64
}

// DB is one open store. Append works while Run runs; reads work from Open to Close, also after a failure.
type DB struct{}

// Open opens the store in dir or makes a new one in an empty dir. It starts nothing: see Run.
// It fails with ErrLocked, ErrNewer or ErrCorrupt, and never replaces a file that it cannot read.
func Open(dir string, o Options) (*DB, error) { return nil, errors.ErrUnsupported }

// Run commits, seals and flushes until ctx ends; it returns nil after a last commit and flush, or the failure.
func (db *DB) Run(ctx context.Context) error { return errors.ErrUnsupported }

// Append queues a report and returns; it waits only while the queue is full. durable is called once, from
// the committing goroutine, when the outcome is on disk or the store has failed: it must not block.
// When Append returns an error, durable is never called.
func (db *DB) Append(ctx context.Context, s Stream, r metric.Report, durable func(Outcome, error)) error {
	return errors.ErrUnsupported
}

// Select walks the series that match all matchers and have samples in [from, to] (ms), in no given order.
// No transaction is open while the caller works.
func (db *DB) Select(ctx context.Context, from, to int64, matchers ...Matcher) iter.Seq2[Samples, error] {
	return func(func(Samples, error) bool) {}
}

// Series lists the matching series whose streams had a schema with them in use within [from, to] (ms), sorted.
func (db *DB) Series(from, to int64, matchers ...Matcher) []metric.Series { return nil }

// LabelNames lists the label names of those series, sorted, with __name__.
func (db *DB) LabelNames(from, to int64, matchers ...Matcher) []string { return nil }

// LabelValues lists the values of one label of those series, sorted.
func (db *DB) LabelValues(name string, from, to int64, matchers ...Matcher) []string { return nil }

// Last calls fn with each series in the newest row of each stream.
func (db *DB) Last(fn func(series metric.Series, atMS int64, v float64)) error {
	return errors.ErrUnsupported
}

// Err is the failure after which nothing is acked any more, nil while all is well.
func (db *DB) Err() error { return nil }

// Stats is a look at the store's insides.
type Stats struct {
	Streams, Series, Schemas int
	HeadRows                 int   // rows not yet in a sealed block
	UnflushedBytes           int64 // sealed blocks waiting for their transaction
	HotBlocks                int
	JournalBytes, DataBytes  int64 // file sizes
	Outcomes                 map[Outcome]uint64
}

// Stats counts what is held now and what became of the reports since Open.
func (db *DB) Stats() Stats { return Stats{} }

// Close ends Run, waits for it, and releases the files.
func (db *DB) Close() error { return nil }

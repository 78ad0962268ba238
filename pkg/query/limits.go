package query

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/util/annotations"
)

// Queries that are stopped for what they read.
var (
	ErrBusy    = errors.New("too many large queries at one time: ask for less, or again later")
	ErrTooMuch = errors.New("query reads too much: choose fewer series or a shorter range")
)

const (
	perSeries  = 16      // samples that a series' labels are counted as
	largeFrom  = 500_000 // samples read from which on a query is large
	maxWaiting = 8       // large queries that wait; each holds what it has read by then
	maxListed  = 50_000  // series in one list
)

var errListed = fmt.Errorf("%w: only the first %d series are listed: add matchers", annotations.PromQLWarning, maxListed)

// limits bound what one query reads.
type limits struct {
	samples int // that it holds
	scan    int // that it reads, held or not
}

// budget is what one query may still do. It is for use by several goroutines.
type budget struct {
	limits         limits
	loaded, worked atomic.Int64
}

func newBudget(l limits) *budget { return &budget{limits: l} }

// load accounts for samples that stay in memory until the query ends.
func (b *budget) load(n int) error {
	if b.loaded.Add(int64(n)) > int64(b.limits.samples) {
		return promql.ErrTooManySamples("query execution")
	}
	return nil
}

// scan accounts for samples that were read. A query that turns out to be large waits for the turn of the large ones.
func (b *budget) scan(ctx context.Context, n int) error {
	read := b.worked.Add(int64(n))
	if read > int64(b.limits.scan) {
		return fmt.Errorf("%w: more than %d samples", ErrTooMuch, b.limits.scan)
	}
	if t, ok := ctx.Value(turnKey{}).(*turn); ok && read > largeFrom {
		return t.large(ctx)
	}
	return nil
}

// lanes are the turns of people's queries: small ones go side by side, and of the large ones, which read cold pages of
// the disk and keep all processors busy, one at a time.
type lanes struct {
	small   chan struct{} // room for Config.Concurrency
	one     chan struct{} // room for one
	waiting atomic.Int32
}

func newLanes(small int) *lanes {
	return &lanes{small: make(chan struct{}, small), one: make(chan struct{}, 1)}
}

type turnKey struct{}

// turn is a query's place in the lanes. Its methods are for one goroutine at a time.
type turn struct {
	lanes *lanes
	in    chan struct{} // the lane that it is in; nil: none
}

// take waits for a turn among the small queries.
func (l *lanes) take(ctx context.Context) (*turn, error) {
	select {
	case l.small <- struct{}{}:
		return &turn{l, l.small}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// large changes lanes: it gives the small turn away while it waits for the large one, so that small queries go on.
func (t *turn) large(ctx context.Context) error {
	if t.in == t.lanes.one {
		return nil
	}
	if t.lanes.waiting.Add(1) > maxWaiting {
		t.lanes.waiting.Add(-1)
		return ErrBusy
	}
	defer t.lanes.waiting.Add(-1)
	t.leave()
	select {
	case t.lanes.one <- struct{}{}:
		t.in = t.lanes.one
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the turn of a large query: %w", ctx.Err())
	}
}

// leave gives the turn to the next.
func (t *turn) leave() {
	if t.in != nil {
		<-t.in
		t.in = nil
	}
}

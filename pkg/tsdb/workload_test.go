package tsdb

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"xunjian/pkg/metric"
	"xunjian/pkg/store"
)

// childDir names the store that a child process of the test appends to until it is killed.
const childDir = "XUNJIAN_TSDB_TEST_STORE"

// workload is what a child process does, told on its standard input. Its reports follow from their numbers, so that the
// parent can say what any store that came of them must hold. Time passes with the numbers: days end within seconds.
type workload struct {
	Base     int64  // ms: the time of number 0
	From, To uint64 // To 0: until it is killed
	Out      int    // reports under way at a time
	NoSync   bool   // the control, which does what a store must not
	Backups  string // a folder to copy the store into, again and again
	Refusals bool   // writes will be refused: nothing is sent twice, and refused reports are sent until they are acked
}

const (
	workStep  = time.Minute // from one number to the next
	workLate  = time.Hour
	workOld   = 30 * time.Hour // by then the day is merged
	senders   = 6              // the last one is sparse
	workEvery = senders * workStep

	workRetain = 3 * 24 * time.Hour
)

// now is the child's time when it sends a number.
func (w workload) now(n uint64) time.Time {
	return time.UnixMilli(w.Base).Add(time.Duration(n)*workStep + time.Second)
}

// report is the one of a number. Some come from a backlog, some for days that are long merged; the millisecond tells
// which, so that no two fall on one stamp. Every fifty rounds the series change.
func (w workload) report(n uint64) (Stream, metric.Report) {
	round, sender := n/senders, n%senders
	at := time.UnixMilli(w.Base).Add(time.Duration(n) * workStep)
	switch {
	case round%31 == 7 && round > 400:
		at = at.Add(2*time.Millisecond - workOld)
	case round%3 == 0:
		at = at.Add(time.Millisecond - workLate)
	}
	r := metric.Report{Boot: 1, Seq: round + 1, At: at, Every: workEvery}
	add := func(name string, v float64) {
		r.Samples = append(r.Samples, metric.Sample{Series: metric.New(name), Value: v})
	}
	if sender == senders-1 {
		r.Agent, r.Kind = "rules", "rule"
		add("r", float64(n))
		if n%5 == 0 {
			add("odd", staleMarker)
		}
		return Stream{Agent: r.Agent, Kind: r.Kind, Every: r.Every, Sparse: true}, r
	}
	r.Agent, r.Kind = fmt.Sprint("web", sender), metric.KindHost
	add("a", float64(n))
	add("b", -float64(n))
	switch round / 50 % 3 {
	case 1:
		add("c", float64(n)/8)
	case 2:
		add("c", math.NaN())
	}
	return streamOf(r), r
}

// number is the inverse of report.
func (w workload) number(ms int64) uint64 {
	back := map[int64]time.Duration{0: 0, 1: workLate, 2: workOld}[ms%1000]
	return uint64((ms - ms%1000 + back.Milliseconds() - w.Base) / workStep.Milliseconds())
}

// workBase is a whole second, some days before now.
func workBase() int64 { return time.Date(2026, 3, 1, 7, 0, 0, 0, time.UTC).UnixMilli() }

// options are those of child and parent alike; clock says the newest number sent.
func (w workload) options(clock func() uint64) Options {
	return Options{
		BlockRows: 16, BlockSpan: 2 * time.Hour, FlushEvery: 20 * time.Millisecond, Linger: time.Millisecond, MmapSize: 1 << 28,
		MaxAge: 2 * 24 * time.Hour, Retain: workRetain, RetainRollup: 2 * workRetain,
		Now: func() time.Time { return w.now(clock()) },
	}
}

// childMain appends as the workload says, printing each number when it is acked, in one write each.
func childMain(dir string) error {
	var w workload
	if err := json.NewDecoder(os.Stdin).Decode(&w); err != nil {
		return err
	}
	c := &child{workload: w, dir: dir, room: make(chan struct{}, w.Out), refused: make(chan uint64, w.Out)}
	c.clock.Store(w.From)
	if _, err := os.Stat(filepath.Join(dir, dataFile)); err == nil {
		if _, err := Compact(dir); err != nil {
			return err
		}
	}
	if w.To == 0 || w.NoSync || w.Refusals {
		return c.session(w.From, w.To)
	}
	half := (w.From + w.To) / 2
	if err := c.session(w.From, half); err != nil {
		return err
	}
	if _, err := Compact(dir); err != nil {
		return err
	}
	return c.session(half+1, w.To)
}

// session opens the store and sends numbers.
func (c *child) session(from, to uint64) error {
	w := c.workload
	var err error
	if c.db, err = Open(c.dir, w.options(c.clock.Load)); err != nil {
		return err
	}
	c.db.jdb.NoSync, c.db.ddb.NoSync, c.db.jdb.NoGrowSync, c.db.ddb.NoGrowSync = w.NoSync, w.NoSync, w.NoSync, w.NoSync
	go func() { _ = c.db.Run(context.Background()) }()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var others sync.WaitGroup
	others.Go(func() { c.mergeForEver(ctx) })
	if w.Backups != "" {
		others.Go(func() { c.copyForEver(ctx) })
	}
	for n := from; to == 0 || n <= to; n++ {
		c.clock.Store(n)
		if err := c.send(n, "new"); err != nil {
			return err
		}
		if n%17 == 0 && n > 300 && !w.Refusals { // an agent that has lost an acknowledgement
			if err := c.send(n-300, "again"); err != nil {
				return err
			}
		}
	}
	if err := c.finish(); err != nil {
		return err
	}
	stop()
	others.Wait()
	return c.db.Close()
}

// mergeForEver keeps up with the days that end.
func (c *child) mergeForEver(ctx context.Context) {
	for ctx.Err() == nil && c.db.Err() == nil {
		time.Sleep(5 * time.Millisecond)
		if _, err := c.db.Merge(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, ErrFailed) && !errors.Is(err, ErrNoSpace) {
			fmt.Fprintln(os.Stderr, "merge:", err)
		}
	}
}

// copyForEver takes backups, the one in place of the other. A kill may come at any moment: what bears the name is whole.
func (c *child) copyForEver(ctx context.Context) {
	part, whole, old := filepath.Join(c.Backups, "part"), filepath.Join(c.Backups, "whole"), filepath.Join(c.Backups, "old")
	for ctx.Err() == nil && c.db.Err() == nil {
		err := errors.Join(os.RemoveAll(part), os.RemoveAll(old), os.MkdirAll(part, 0o700))
		if err == nil {
			_, err = c.db.Backup(ctx, part, &store.Copying{})
		}
		if err == nil {
			_ = os.Rename(whole, old) // the first time there is none
			err = errors.Join(os.Rename(part, whole), os.RemoveAll(old))
		}
		if err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "backup:", err)
		}
	}
}

type child struct {
	workload
	dir     string
	db      *DB
	clock   atomic.Uint64
	room    chan struct{} // bound: Out; full: the sender waits
	refused chan uint64   // bound: Out; to be sent again
}

// send waits for room and appends. The ack is printed before the committer goes on, so that a trace has both in order.
func (c *child) send(n uint64, what string) error {
	for {
		select {
		case again := <-c.refused:
			time.Sleep(10 * time.Millisecond)
			if err := c.append(again, "new"); err != nil {
				return err
			}
		case c.room <- struct{}{}:
			return c.append(n, what)
		}
	}
}

// append is called with room taken, which a report keeps until it is acked.
func (c *child) append(n uint64, what string) error {
	s, r := c.report(n)
	err := c.db.Append(context.Background(), s, r, func(o Outcome, err error) { c.told(n, what, o, err) })
	if errors.Is(err, ErrNoSpace) {
		c.told(n, what, 0, err)
		return nil
	}
	return err
}

func (c *child) told(n uint64, what string, o Outcome, err error) {
	fmt.Println(what, n, o, strings.ReplaceAll(fmt.Sprint(err), "\n", " "))
	if errors.Is(err, ErrNoSpace) {
		c.refused <- n
		return
	}
	<-c.room
}

// finish waits until all are acked.
func (c *child) finish() error {
	for held := 0; held < c.Out; {
		select {
		case again := <-c.refused:
			time.Sleep(10 * time.Millisecond)
			if err := c.append(again, "new"); err != nil {
				return err
			}
		case c.room <- struct{}{}:
			held++
		}
	}
	for range c.Out {
		<-c.room
	}
	return nil
}

// ack is a line that a child printed.
type ack struct {
	again   bool
	number  uint64
	outcome string
	fault   string
}

// done reports whether the number is in the store for good.
func (a ack) done() bool { return a.fault == "<nil>" }

func parseAck(line string) (a ack, err error) {
	var what string
	if _, err = fmt.Sscan(line, &what, &a.number, &a.outcome); err != nil {
		return a, fmt.Errorf("child said %q: %w", line, err)
	}
	_, a.fault, _ = strings.Cut(line, a.outcome+" ")
	a.again = what == "again"
	want := Stored
	if a.again {
		want = Duplicate
	}
	if a.done() && a.outcome != want.String() {
		return a, fmt.Errorf("child said %q", line)
	}
	return a, nil
}

// start runs a child of this workload over a store, behind a wrapper such as strace where one is given.
func (w workload) start(t *testing.T, dir string, wrapper ...string) (*exec.Cmd, io.Reader) {
	t.Helper()
	in, err := json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	args := append(slices.Clone(wrapper), os.Args[0])
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, out
}

// stored reads everything in the store and says which numbers it holds; a value that is none of the workload's, one that
// is there twice, and a report of which a part is missing are faults.
func (w workload) stored(db *DB) (map[uint64]bool, error) {
	values := map[uint64]int{}
	for s, err := range db.Select(context.Background(), 0, math.MaxInt64) {
		if err != nil {
			return nil, err
		}
		for i, ms := range s.T {
			if i > 0 && s.T[i-1] >= ms {
				return nil, fmt.Errorf("%s: %d comes after %d", s.Series, ms, s.T[i-1])
			}
			n := w.number(ms)
			v, there, err := w.value(n, ms, s.Series)
			switch {
			case err != nil:
				return nil, err
			case there && math.Float64bits(v) == math.Float64bits(s.V[i]):
				values[n]++
			case there || !IsStale(s.V[i]):
				return nil, fmt.Errorf("%s at %d is %v, want %v of number %d", s.Series, ms, s.V[i], v, n)
			}
		}
	}
	out := make(map[uint64]bool, len(values))
	for n, got := range values {
		_, r := w.report(n)
		want := 0
		for _, s := range r.Samples {
			if r.Agent == "rules" || !math.IsNaN(s.Value) {
				want++
			}
		}
		if got != want {
			return nil, fmt.Errorf("number %d has %d values, want %d", n, got, want)
		}
		out[n] = true
	}
	return out, nil
}

// value is what a series has at a time, if it has one there.
func (w workload) value(n uint64, ms int64, s metric.Series) (v float64, there bool, err error) {
	stream, r := w.report(n)
	if r.At.UnixMilli() != ms || s.Get("instance") != (metric.Series{Labels: stream.Labels}).Get("instance") {
		return 0, false, fmt.Errorf("%s has a value at %d, when there was no report", s, ms)
	}
	for _, x := range r.Samples {
		if x.Series.Name == s.Name && (stream.Sparse || !math.IsNaN(x.Value)) {
			return x.Value, true, nil
		}
	}
	return 0, false, nil
}

// ledger is what the outside knows of a store: which numbers were acked, and up to which they may have been sent.
type ledger struct {
	workload
	acked map[uint64]bool
	sent  uint64
}

// lost compares the store with the acks; what retention may have dropped is no loss.
func (l *ledger) lost(db *DB) (stored map[uint64]bool, err error) {
	if stored, err = l.stored(db); err != nil {
		return nil, err
	}
	since := db.RawSince()
	if oldest := l.now(l.sent).Add(-workRetain).UnixMilli(); since > oldest {
		return nil, fmt.Errorf("raw samples before %d were dropped, want none after %d", since, oldest)
	}
	for n := range l.acked {
		_, r := l.report(n)
		if stored[n] {
			continue
		}
		if r.At.UnixMilli() > since {
			return nil, fmt.Errorf("number %d was acked and is gone", n)
		}
		delete(l.acked, n) // dropped for its age
	}
	return stored, nil
}

// goOn runs the store and sends the newest numbers once more, as agents would: what is there is a duplicate, all else is
// stored. In the end nothing is missing.
func (l *ledger) goOn(t *testing.T, db *DB, from uint64, stored map[uint64]bool) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ran := make(chan error, 1)
	go func() { ran <- db.Run(ctx) }()
	type told struct {
		number  uint64
		outcome Outcome
		err     error
	}
	acks := make(chan told, l.sent-from+1)
	for n := from; n <= l.sent; n++ {
		s, r := l.report(n)
		if err := db.Append(ctx, s, r, func(o Outcome, err error) { acks <- told{n, o, err} }); err != nil {
			return err
		}
	}
	for n := from; n <= l.sent; n++ {
		a := <-acks
		want := Stored
		if stored[a.number] {
			want = Duplicate
		}
		if a.err != nil || a.outcome != want {
			return fmt.Errorf("number %d again: %v, %w, want %v", a.number, a.outcome, a.err, want)
		}
		l.acked[a.number] = true
	}
	cancel()
	if err := <-ran; err != nil {
		return err
	}
	_, err := l.lost(db)
	return err
}

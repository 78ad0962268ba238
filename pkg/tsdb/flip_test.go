package tsdb

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"xunjian/pkg/metric"
)

var bitFlips = flag.Int("flips", 150, "flips of the test that flips bits")

// grownStore is a store with rows in the journal, hot blocks, merged days and their aggregates. Its clock can be moved on.
type grownStore struct {
	workload
	dir   string
	clock atomic.Uint64
}

func growStore(t *testing.T) *grownStore {
	g := &grownStore{workload: workload{Base: workBase()}, dir: t.TempDir()}
	db, stop := running(t, g.dir, g.options())
	db.merger.mu.Lock()
	db.merger.roll.sketched = 0 // its days are short
	db.merger.mu.Unlock()
	for n := uint64(1); n <= 4000; n += 10 {
		g.clock.Store(n + 9)
		sendRange(t, db, g.workload, n, n+9)
		if n%1000 == 1 {
			if _, err := db.Merge(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop()
	db = mustOpen(t, g.dir, g.options())
	s := db.Stats()
	days, err := 0, error(nil)
	for range db.Sketches(t.Context(), 0, math.MaxInt64) {
		days++
	}
	if err = errors.Join(err, db.Close()); err != nil || s.HeadRows == 0 || s.HotBlocks == 0 || days == 0 {
		t.Fatalf("the store lacks something: %+v, %d sketches, %v", s, days, err)
	}
	return g
}

func (g *grownStore) options() Options {
	o := g.workload.options(g.clock.Load)
	o.Retain, o.RetainRollup = 0, 0 // by default for years
	return o
}

// sendRange stores numbers, all of them new.
func sendRange(t *testing.T, db *DB, w workload, from, to uint64) {
	t.Helper()
	acks := make(chan Outcome, to-from+1)
	for n := from; n <= to; n++ {
		s, r := w.report(n)
		if err := db.Append(t.Context(), s, r, func(o Outcome, _ error) { acks <- o }); err != nil {
			t.Fatal(err)
		}
	}
	for n := from; n <= to; n++ {
		if o := <-acks; o != Stored {
			t.Fatalf("one of %d to %d: %v", from, to, o)
		}
	}
}

// shown is all that a store shows, a line for each sample and each window; at a refusal, what it showed before.
func shown(db *DB) (lines map[string]bool, err error) {
	lines = map[string]bool{}
	note := func(format string, a ...any) { lines[fmt.Sprintf(format, a...)] = true }
	ctx := context.Background()
	for s, err := range db.Select(ctx, 0, math.MaxInt64) {
		if err != nil {
			return lines, err
		}
		for i, ms := range s.T {
			note("%s %d %x", s.Series, ms, math.Float64bits(s.V[i]))
		}
	}
	for w, err := range db.Rollup(ctx, 0, math.MaxInt64/RollupStep*RollupStep) {
		if err != nil {
			return lines, err
		}
		for i, at := range w.At {
			if w.Raw {
				note("%s %d %v %v", w.Series, at, w.Count[i], w.Last[i])
			} else {
				note("%s %d %v %v %v %v", w.Series, at, w.Count[i], w.Sum[i], w.Min[i], w.Max[i])
			}
		}
	}
	for s, err := range db.Sketches(ctx, 0, math.MaxInt64) {
		if err != nil {
			return lines, err
		}
		note("sketch %+v", s)
	}
	err = db.Last(func(s metric.Series, ms int64, v float64) { note("last %s %d %v", s, ms, v) })
	return lines, err
}

// harm opens a store that something was done to and says what came of it.
func (g *grownStore) harm(t *testing.T, dir string, truth map[string]bool) (outcome string, err error) {
	db, err := Open(dir, g.options())
	if err != nil {
		return "refused at the start", named(err)
	}
	defer db.Close()
	lines, err := shown(db)
	for line := range lines {
		if !truth[line] {
			return "wrong", fmt.Errorf("shows %s", line)
		}
	}
	if err != nil {
		return "refused on reading", named(err)
	}
	if len(lines) != len(truth) {
		for line := range truth {
			if !lines[line] {
				return "wrong", fmt.Errorf("%d of %d lines are missing in silence, such as %s", len(truth)-len(lines), len(truth), line)
			}
		}
	}
	// What hides in a free page or a free list may come out when the store is written to: a day is merged.
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- db.Run(ctx) }()
	was := g.clock.Load()
	g.clock.Store(was + 2000)
	_, mergeErr := db.Merge(ctx)
	g.clock.Store(was)
	cancel()
	if err := errors.Join(mergeErr, <-ran); err != nil {
		return "refused on writing", named(err)
	}
	after, err := shown(db)
	for line := range truth {
		if !after[line] && !strings.HasPrefix(line, "sketch") && err == nil { // sketches take in late rows
			return "wrong", fmt.Errorf("a merge has lost %s", line)
		}
	}
	if err != nil {
		return "refused on writing", named(err)
	}
	return "invisible", nil
}

// named wants a refusal to say that the store is damaged, and where.
func named(err error) error {
	if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewer) {
		return fmt.Errorf("refused for something else: %w", err)
	}
	if text := err.Error(); !strings.Contains(text, journalFile) && !strings.Contains(text, dataFile) {
		return fmt.Errorf("the refusal does not name the file: %w", err)
	}
	return nil
}

// TestBitFlips flips one bit anywhere in either file: the store is refused, or a read is, or all it shows is true.
func TestBitFlips(t *testing.T) {
	g := growStore(t)
	truth := g.truth(t)
	rnd := rand.New(rand.NewPCG(5, 6))
	count := map[string]int{}
	for range *bitFlips {
		name := []string{journalFile, dataFile}[rnd.IntN(2)]
		dir := copyStore(t, g.dir)
		at, bit := 0, rnd.IntN(8)
		rewrite(t, filepath.Join(dir, name), func(b []byte) []byte {
			at = rnd.IntN(len(b))
			b[at] ^= 1 << bit
			return b
		})
		outcome, err := g.harm(t, dir, truth)
		if err != nil {
			t.Errorf("bit %d of byte %d (page %d) of %s: %s: %v", bit, at, at/4096, name, outcome, err)
		}
		count[name+": "+outcome]++
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(count)) {
		t.Logf("%s: %d of %d", k, count[k], *bitFlips)
	}
	if n := count[dataFile+": refused at the start"] + count[journalFile+": refused at the start"]; n < *bitFlips/10 {
		t.Errorf("only %d of %d refused: the flips miss what matters", n, *bitFlips)
	}
}

// truth is what the store shows when nothing was done to it, before a merge and after.
func (g *grownStore) truth(t *testing.T) map[string]bool {
	t.Helper()
	db := mustOpen(t, copyStore(t, g.dir), g.options())
	truth, err := shown(db)
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if outcome, err := g.harm(t, copyStore(t, g.dir), truth); outcome != "invisible" {
		t.Fatalf("the sound store: %s, %v", outcome, err)
	}
	return truth
}

func rewrite(t *testing.T, path string, fn func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, fn(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestCutAndSwappedFiles cuts the files everywhere and puts them in each other's place.
func TestCutAndSwappedFiles(t *testing.T) {
	g := growStore(t)
	truth := g.truth(t)
	refused := func(what string, fn func(dir string)) {
		t.Helper()
		dir := copyStore(t, g.dir)
		fn(dir)
		if outcome, err := g.harm(t, dir, truth); outcome != "refused at the start" || err != nil {
			t.Errorf("%s: %s, %v", what, outcome, err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{journalFile, dataFile} {
		size := len(readUsed(t, filepath.Join(g.dir, name)))
		cuts := []int{0, 1, 511, 4095, 4096, 4097, 8191, 8192, 8193, 12288, size / 2, size - 4097, size - 4096, size - 4095, size - 512, size - 1}
		for range 10 {
			cuts = append(cuts, rand.IntN(size))
		}
		for _, at := range cuts {
			refused(fmt.Sprint(name, " cut at ", at), func(dir string) {
				rewrite(t, filepath.Join(dir, name), func(b []byte) []byte { return b[:at] })
			})
		}
	}
	refused("swapped files", func(dir string) {
		a, b, c := filepath.Join(dir, journalFile), filepath.Join(dir, dataFile), filepath.Join(dir, "c")
		for _, r := range [][2]string{{a, c}, {b, a}, {c, b}} {
			if err := os.Rename(r[0], r[1]); err != nil {
				t.Fatal(err)
			}
		}
	})
}

package tsdb

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var powerCuts = flag.Int("cuts", 40, "cuts of the test that cuts the power")

// TestPowerCuts traces what a process writes, rebuilds the files as a power cut at any moment would leave them, and opens
// them. Without fsync the same must fail, or this test shows nothing.
func TestPowerCuts(t *testing.T) {
	needStrace(t)
	for name, noSync := range map[string]bool{"fsync": false, "control without fsync": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := workload{Base: workBase(), From: 1, To: uint64(2400 + 12**powerCuts), Out: 40, NoSync: noSync}
			c := &cutter{t: t, workload: w, broken: map[string]int{}}
			c.run(*powerCuts)
			t.Logf("%d cuts, %d behind an ack, %d with writes under way, %d with files being renamed; broken: %v",
				c.cuts, c.behind, c.torn, c.renaming, c.broken)
			failed := 0
			for _, n := range c.broken {
				failed += n
			}
			switch {
			case c.behind < c.cuts*8/10 || c.torn < c.cuts/3:
				t.Error("the cuts fall where nothing happens")
			case !noSync && failed > 0:
				t.Errorf("%d of %d stores are broken", failed, c.behind)
			case noSync && c.behind-failed > 2+c.behind/20: // at least 95 %
				t.Errorf("without fsync only %d of %d stores are broken: the cuts do not show what they should", failed, c.behind)
			}
		})
	}
}

// cutter walks a trace and cuts the power at random lines.
type cutter struct {
	workload
	inject string // a fault for strace
	fails  bool   // it ends the child
	watch  func(call)

	t        *testing.T
	disk     *disk
	rnd      *rand.Rand
	acked    []uint64
	said     int  // lines
	lastDone bool // the last line was an ack

	cuts, behind, torn, renaming int
	broken                       map[string]int // by fault
}

func (c *cutter) run(cuts int) {
	t := c.t
	seed := rand.Uint64()
	c.rnd = rand.New(rand.NewPCG(seed, 0))
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "trace")
	args := []string{"strace", "-f", "-q", "-o", file, "-xx", "-s", "134217728", "-e", "signal=none", "--seccomp-bpf", "-e", "trace=" + tracedCalls}
	if c.inject != "" {
		args = append(args, "-e", "inject="+c.inject)
	}
	cmd, out := c.start(t, dir, args...)
	said, err := io.ReadAll(out)
	if ended := cmd.Wait(); err != nil || (ended != nil) != c.fails {
		t.Fatalf("the child ended with %v, %v", ended, err)
	}
	calls, making := 0, 0 // making the store comes before the first ack
	var writes, at []int
	c.each(file, func(k call) error {
		if calls++; making == 0 && k.isAck() {
			making = calls
		}
		if k.name == "pwrite64" {
			writes = append(writes, calls-1)
		}
		return nil
	})
	for i := range cuts {
		switch {
		case i%10 == 0:
			at = append(at, c.rnd.IntN(making))
		case i%2 == 0:
			at = append(at, c.rnd.IntN(calls))
		default:
			at = append(at, writes[c.rnd.IntN(len(writes))])
		}
	}
	slices.Sort(at)
	n := 0
	c.disk = newDisk(dir)
	c.each(file, func(k call) error {
		n++
		if err := c.disk.apply(k); err != nil {
			return err
		}
		if err := c.note(k); err != nil {
			return err
		}
		if c.watch != nil {
			c.watch(k)
		}
		for ; len(at) > 0 && at[0] < n; at = at[1:] {
			c.cut(fmt.Sprintf("seed %d, call %d", seed, n))
		}
		return nil
	})
	if lines := strings.Count(string(said), "\n"); lines != c.said && !(c.fails && lines == c.said+1) { // its end may cut the last write short
		t.Errorf("%d acks in the trace, %d on the child's output", c.said, lines)
	}
}

func (c *cutter) each(file string, fn func(call) error) {
	c.t.Helper()
	f, err := os.Open(file)
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	if err := readTrace(f, fn); err != nil {
		c.t.Fatal(err)
	}
}

// note takes in the acks that the child printed.
func (c *cutter) note(k call) error {
	if !k.isAck() {
		return nil
	}
	line, err := k.text(0)
	if err != nil {
		return err
	}
	a, err := parseAck(strings.TrimSpace(string(line)))
	c.lastDone = a.done()
	if c.said++; c.lastDone {
		c.acked = append(c.acked, a.number)
	}
	return err
}

func (c call) isAck() bool {
	fd, err := c.number(0)
	return c.name == "write" && err == nil && fd == 1
}

// cut opens what the power leaves.
func (c *cutter) cut(where string) {
	c.cuts++
	if len(c.acked) > 0 {
		c.behind++
	}
	for _, f := range c.disk.names {
		if len(f.loose) > 0 {
			c.torn++
			break
		}
	}
	if len(c.disk.loose) > 0 {
		c.renaming++
	}
	dir := c.t.TempDir()
	if err := c.disk.cut(dir, c.rnd); err != nil {
		c.t.Fatal(err)
	}
	if err := c.open(dir); err != nil {
		c.broken[faultKind(err)]++
		if !c.NoSync {
			c.t.Errorf("cut %d, %s, %d acks: %v", c.cuts, where, len(c.acked), err)
		}
	}
	_ = os.RemoveAll(dir)
}

// open holds the store against the acks and goes on with it.
func (c *cutter) open(dir string) error {
	l := &ledger{workload: c.workload, acked: map[uint64]bool{}}
	newest := uint64(0)
	for _, n := range c.acked {
		l.acked[n], newest = true, max(newest, n)
	}
	l.sent = newest + 2*uint64(l.Out)
	db, err := Open(dir, l.options(func() uint64 { return l.sent }))
	if err != nil {
		return err
	}
	stored, err := l.lost(db)
	if err == nil {
		err = l.goOn(c.t, db, uint64(max(1, int64(newest)-200)), stored)
	}
	return errors.Join(err, db.Close())
}

// faultKind sorts faults for the log.
func faultKind(err error) string {
	switch {
	case errors.Is(err, ErrCorrupt):
		return "refused"
	case strings.Contains(err.Error(), "gone"):
		return "acks lost"
	default:
		return "other"
	}
}

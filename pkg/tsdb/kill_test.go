package tsdb

import (
	"bufio"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

var killRounds = flag.Int("kills", 20, "rounds of the test that kills a process")

// TestKilledProcessLosesNothingAcked kills a process that appends, opens what it left, and goes on from there. Days end,
// are merged and dropped meanwhile, and the files are copied, and made anew at each start.
func TestKilledProcessLosesNothingAcked(t *testing.T) {
	dir := t.TempDir()
	l := &ledger{workload: workload{Base: workBase(), From: 1, Out: 150, Backups: t.TempDir()}, acked: map[uint64]bool{}}
	acks, backups := 0, 0
	for round := range *killRounds {
		acks += l.killOne(t, dir, rand.IntN(800))
		db := mustOpen(t, dir, l.options(func() uint64 { return l.sent }))
		stored, err := l.lost(db)
		if err == nil {
			err = l.goOn(t, db, l.From, stored)
		}
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(l.Backups, "whole")); err == nil {
			backups++
			if _, err := Verify(filepath.Join(l.Backups, "whole"), nil); err != nil {
				t.Fatalf("round %d: the newest backup: %v", round, err)
			}
		}
		l.From = l.sent + 1
	}
	t.Logf("%d reports acked in %d rounds, which took %v of their time; %d backups verified", acks, *killRounds, l.now(l.sent).Sub(l.now(0)), backups)
	if acks < 20**killRounds {
		t.Errorf("only %d reports acked: the kills came too early to show anything", acks)
	}
}

// killOne lets a child append until so many acks have come.
func (l *ledger) killOne(t *testing.T, dir string, after int) (acks int) {
	t.Helper()
	cmd, out := l.start(t, dir)
	newest := l.From
	lines := bufio.NewScanner(out)
	for ; lines.Scan(); acks++ {
		a, err := parseAck(lines.Text())
		if err != nil || !a.done() {
			t.Errorf("child said %q, %v", lines.Text(), err)
		}
		l.acked[a.number] = true
		newest = max(newest, a.number)
		if acks == after {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); err == nil {
		t.Fatal("the child ended by itself")
	}
	l.sent = newest + 2*uint64(l.Out)
	return acks
}

package tsdb

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/metric"
)

// childDir names the store that a child process of the test appends to until it is killed.
const childDir = "XUNJIAN_TSDB_TEST_STORE"

var killRounds = flag.Int("kills", 20, "rounds of the test that kills a process")

// underWay is how many reports the child has out at a time.
const underWay = 150

// childReports makes the reports of a run, the same in every process of it.
type childReports struct{ base int64 }

// report is the one of a sequence number. Every third comes from a backlog.
func (c childReports) report(seq uint64) metric.Report {
	at := time.UnixMilli(c.base).Add(time.Duration(seq) * time.Millisecond)
	if seq%3 == 0 {
		at = at.Add(-time.Hour)
	}
	r := report(1, seq/5, at, float64(seq), -float64(seq))
	r.Agent = fmt.Sprint("web", seq%5)
	return r
}

// appendForEver begins with the number on standard input, printing each number when it is acked.
func appendForEver(dir string) int {
	var next uint64
	var c childReports
	if _, err := fmt.Scan(&next, &c.base); err != nil {
		return 1
	}
	o := Options{BlockRows: 16, FlushEvery: 20 * time.Millisecond, Linger: time.Millisecond}
	db, err := Open(dir, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	go func() { _ = db.Run(context.Background()) }()
	lines, room := make(chan string, underWay), make(chan struct{}, underWay)
	go func() {
		for line := range lines {
			fmt.Println(line) // one write each: what is printed was acked before
			<-room
		}
	}()
	for ; ; next++ {
		room <- struct{}{}
		seq := next
		r := c.report(seq)
		if err := db.Append(context.Background(), streamOf(r), r, func(o Outcome, err error) {
			lines <- fmt.Sprint(seq, " ", o, " ", err)
		}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
}

// TestKilledProcessLosesNothingAcked kills a process that appends, opens what it left, and goes on from there.
func TestKilledProcessLosesNothingAcked(t *testing.T) {
	dir, acked, next := t.TempDir(), map[uint64]bool{}, uint64(1)
	c := childReports{time.Now().Add(-24 * time.Hour).UnixMilli()}
	for round := range *killRounds {
		sent := c.killOne(t, dir, next, acked)
		db := mustOpen(t, dir, Options{BlockRows: 16})
		stored := c.storedSeqs(t, db)
		for seq := range acked {
			if !stored[seq] {
				t.Fatalf("round %d: report %d was acked and is gone", round, seq)
			}
		}
		c.sendAgain(t, db, next, sent, stored)
		next = sent + 1
	}
	t.Logf("%d reports acked in %d rounds", len(acked), *killRounds)
	if len(acked) < 20**killRounds {
		t.Errorf("only %d reports acked: the kills came too early to show anything", len(acked))
	}
}

// killOne lets a child append for a moment; it returns the newest number that it may have sent.
func (c childReports) killOne(t *testing.T, dir string, from uint64, acked map[uint64]bool) (newest uint64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stdin, cmd.Stderr = strings.NewReader(fmt.Sprintln(from, c.base)), os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	stop := 1 + rand.IntN(400)
	newest = from
	for n := 0; lines.Scan(); n++ {
		var seq uint64
		var outcome, fault string
		if _, err := fmt.Sscan(lines.Text(), &seq, &outcome, &fault); err != nil || outcome != Stored.String() {
			t.Errorf("child said %q", lines.Text())
		}
		acked[seq] = true
		newest = max(newest, seq)
		if n == stop {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); err == nil {
		t.Fatal("the child ended by itself")
	}
	return newest + 2*underWay
}

// storedSeqs reads every report's number from its value, and holds that none is doubled or half there.
func (c childReports) storedSeqs(t *testing.T, db *DB) map[uint64]bool {
	t.Helper()
	stored := map[uint64]bool{}
	for s, err := range db.Select(t.Context(), 0, math.MaxInt64) {
		if err != nil {
			t.Fatal(err)
		}
		if s.Series.Name != "a" {
			continue
		}
		for i, v := range s.V {
			if want := c.report(uint64(v)); want.At.UnixMilli() != s.T[i] || stored[uint64(v)] {
				t.Fatalf("report %v is at %d, or doubled", v, s.T[i])
			}
			stored[uint64(v)] = true
		}
	}
	return stored
}

// sendAgain sends everything again, as an agent would: what is there is a duplicate, the rest is stored.
func (c childReports) sendAgain(t *testing.T, db *DB, from, to uint64, stored map[uint64]bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- db.Run(ctx) }()
	var reports []metric.Report
	for seq := from; seq <= to; seq++ {
		reports = append(reports, c.report(seq))
	}
	for i, o := range appendAll(t, db, reports...) {
		if want := map[bool]Outcome{true: Duplicate, false: Stored}[stored[from+uint64(i)]]; o != want {
			t.Errorf("report %d again: %v, want %v", from+uint64(i), o, want)
		}
	}
	cancel()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	if n := len(c.storedSeqs(t, db)); uint64(n) != to {
		t.Errorf("%d reports in the end, want %d", n, to)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

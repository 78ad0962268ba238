package tsdb

import (
	"math/rand/v2"
	"path/filepath"
	"testing"
)

// TestFailedWrites makes the system calls of a child fail: after a failed fsync or write nothing more is acked; a full
// disk refuses reports until there is room, and then everything is stored, without a restart. The power is cut
// meanwhile, too.
func TestFailedWrites(t *testing.T) {
	needStrace(t)
	for name, c := range map[string]struct {
		inject string
		final  bool
	}{
		"fsync fails":                  {"fdatasync:error=EIO:when=24+", true},
		"fsync fails for want of room": {"fdatasync:error=ENOSPC:when=24+", true},
		"write fails":                  {"pwrite64:error=EIO:when=80+", true},
		"disk is full for a while":     {"pwrite64:error=ENOSPC:when=60..61", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := workload{Base: workBase(), From: 1, To: 1500, Out: 40, Refusals: true}
			if c.final { // strace counts calls thread by thread: go on until one of them has had enough
				w.To = 100_000
			}
			x := &cutter{t: t, workload: w, broken: map[string]int{}, inject: c.inject, fails: c.final}
			failures, acksAfter := map[string]int{}, 0
			x.watch = func(k call) {
				fd, err := k.number(0)
				for path, f := range x.disk.names {
					if err == nil && k.result < 0 && f == x.disk.fds[fd] {
						failures[filepath.Base(path)]++
					}
				}
				if len(failures) > 0 && k.isAck() && x.lastDone {
					acksAfter++
				}
			}
			x.run(12)
			t.Logf("failed writes: %v, %d acks in all, %d after the first failure", failures, len(x.acked), acksAfter)
			if len(failures) == 0 || len(x.acked) == 0 {
				t.Error("nothing failed, or nothing went well before")
			}
			most := 0
			if failures[journalFile] == 0 {
				most = w.Out // a commit of the journal that was under way when data.db failed
			}
			if c.final && acksAfter > most {
				t.Errorf("%d acks after the failure, want at most %d", acksAfter, most)
			}
			if !c.final && len(x.acked) != int(w.To) {
				t.Errorf("%d reports acked in the end, want %d", len(x.acked), w.To)
			}
			x.rnd = rand.New(rand.NewPCG(1, 2))
			x.cut("the end")
		})
	}
}

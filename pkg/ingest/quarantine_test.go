package ingest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"xunjian/pkg/uplink"
)

func poison(agent, text string) uplink.Poison {
	sum := sha256.Sum256([]byte(text))
	return uplink.Poison{Agent: agent, At: time.Now(), Reason: "panic", Detail: "why", Sum: hex.EncodeToString(sum[:]), Bytes: []byte(text)}
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// A message is kept once under its hash, with a line that says whose it is; each time counts.
func TestQuarantineKeepsOnce(t *testing.T) {
	dir, told := filepath.Join(t.TempDir(), "quarantine"), 0
	reg := prometheus.NewRegistry()
	q, err := NewQuarantine(dir, func(uplink.Poison) { told++ }, nil, reg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the folder is there before the first message")
	}
	p := poison("srv-1", "line\nand more")
	q.Keep(p)
	q.Keep(p)
	if q, err = NewQuarantine(dir, func(uplink.Poison) { told++ }, nil, nil); err != nil { // a later process
		t.Fatal(err)
	}
	q.Keep(p)
	if got := files(t, dir); len(got) != 1 || filepath.Base(got[0]) != p.Sum || told != 1 {
		t.Fatalf("told %d times, kept %v", told, got)
	}
	body, err := os.ReadFile(filepath.Join(dir, p.Sum))
	if err != nil {
		t.Fatal(err)
	}
	line, rest, _ := bytes.Cut(body, []byte("\n"))
	var head quarantineHead
	if err := json.Unmarshal(line, &head); err != nil || head.Agent != "srv-1" || head.Reason != "panic" || head.Bytes != len(p.Bytes) || !head.At.Equal(p.At) {
		t.Errorf("%v: %+v", err, head)
	}
	if !bytes.Equal(rest, p.Bytes) {
		t.Errorf("kept %q", rest)
	}
	if n := testutil.CollectAndCount(reg, "xunjian_ingest_quarantined_total"); n != 1 {
		t.Errorf("%d counters", n)
	}
}

// The folder is bounded in files, in bytes, and in what one agent may fill of it; what is not the quarantine's stays.
func TestQuarantineIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "note.txt"), []byte("ours"), 0o600); err != nil {
			t.Fatal(err)
		}
		q, err := NewQuarantine(dir, nil, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		keep := func(p uplink.Poison) { time.Sleep(time.Second); q.Keep(p) }
		first := poison("other", "first")
		keep(first)
		for i := range 3 * quarantineAgent {
			keep(poison("bad", fmt.Sprint("bad ", i)))
		}
		if n := len(files(t, dir)); n != quarantineAgent+2 {
			t.Errorf("%d files after one agent's flood", n)
		}
		if _, err := os.Stat(filepath.Join(dir, first.Sum)); err != nil {
			t.Errorf("a bad agent pushed out another's message: %v", err)
		}
		for i := range 2 * quarantineFiles {
			keep(poison(fmt.Sprint("agent-", i), fmt.Sprint(i)))
		}
		if n := len(files(t, dir)); n != quarantineFiles+1 {
			t.Errorf("%d files", n)
		}
		for i := range 40 {
			keep(poison(fmt.Sprint("big-", i), string(bytes.Repeat([]byte{byte(i)}, 1<<20))))
		}
		var size int64
		for _, f := range files(t, dir) {
			info, err := os.Stat(f)
			if err != nil {
				t.Fatal(err)
			}
			size += info.Size()
		}
		if size > quarantineBytes || q.bytes > quarantineBytes || size < quarantineBytes/2 {
			t.Errorf("%d bytes on disk, %d counted", size, q.bytes)
		}
		if q, err = NewQuarantine(dir, nil, nil, nil); err != nil || q.bytes != size-4 {
			t.Errorf("opened again: %v, %d bytes counted of %d", err, q.bytes, size)
		}
		if _, err := os.Stat(filepath.Join(dir, "note.txt")); err != nil {
			t.Error(err)
		}
	})
}

// A flood of ever new messages does not become a flood of writes.
func TestQuarantineIsPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		q, err := NewQuarantine(dir, nil, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		writes := 0
		q.found = func(uplink.Poison) { writes++ }
		for i := range 5000 {
			q.Keep(poison("bad", fmt.Sprint(i)))
			time.Sleep(time.Millisecond)
		}
		if writes > quarantineFiles+2*5+1 {
			t.Errorf("%d files written within five seconds", writes)
		}
	})
}

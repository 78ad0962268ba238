package tsdb

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// filledStore makes a store that was written to, flushed and closed.
func filledStore(t testing.TB) (dir string, base time.Time) {
	t.Helper()
	dir, base = t.TempDir(), time.Now().Add(-time.Hour).Truncate(time.Second)
	o := small()
	o.FlushEvery, o.Linger = time.Hour, -1
	db, stop := running(t, dir, o)
	for i := range 60 {
		appendAll(t, db, report(1, uint64(i+1), base.Add(time.Duration(i)*15*time.Second), float64(i), math.Pi*float64(i), 7))
	}
	stop()
	return dir, base
}

func TestDamagedFilesAreRefused(t *testing.T) {
	good, _ := filledStore(t)
	cut := func(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:len(b)/n] } }
	for name, c := range map[string]struct {
		file   string
		damage func([]byte) []byte
		want   string
	}{
		"empty journal":   {journalFile, func([]byte) []byte { return nil }, "empty"},
		"empty data":      {dataFile, func([]byte) []byte { return nil }, "empty"},
		"half a journal":  {journalFile, cut(2), "cut"},
		"half of data":    {dataFile, cut(2), "cut"},
		"a few bytes":     {journalFile, func(b []byte) []byte { return b[:100] }, "meta"},
		"zeroed journal":  {journalFile, func(b []byte) []byte { return make([]byte, len(b)) }, "meta"},
		"zeroed pages":    {journalFile, func(b []byte) []byte { clear(b[8192:]); return b }, "page"},
		"zeroed data":     {dataFile, func(b []byte) []byte { clear(b[8192:]); return b }, "page"},
		"something other": {dataFile, func(b []byte) []byte { return []byte(strings.Repeat("not a store ", 1000)) }, "meta"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyStore(t, good)
			path := filepath.Join(dir, c.file)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			b = c.damage(b)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err = Open(dir, small())
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("opened with %v", err)
			}
			for _, want := range []string{path, c.want, "backup"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			if after, err := os.ReadFile(path); err != nil || string(after) != string(b) {
				t.Errorf("the damaged file was changed (%v)", err)
			}
		})
	}
}

func TestLoneOrForeignFileIsRefused(t *testing.T) {
	good, _ := filledStore(t)
	for _, name := range []string{journalFile, dataFile} {
		dir := copyStore(t, good)
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, small()); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
		if there, _ := exists(filepath.Join(dir, name)); there {
			t.Errorf("%s was made anew", name)
		}
	}
	dir, other := copyStore(t, good), t.TempDir()
	mustOpen(t, other, small()).Close()
	b, err := os.ReadFile(filepath.Join(other, journalFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, journalFile), b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, small()); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "different stores") {
		t.Errorf("with another store's journal: %v", err)
	}
}

func TestNewStoreSurvivesACrashBetweenItsRenames(t *testing.T) {
	dir := t.TempDir()
	mustOpen(t, dir, small()).Close()
	if err := os.Rename(filepath.Join(dir, dataFile), filepath.Join(dir, dataFile+newSuffix)); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, dir, small()).Close()
}

func TestNewerFormatIsRefusedWithBothNumbers(t *testing.T) {
	for _, name := range []string{journalFile, dataFile} {
		dir := t.TempDir()
		mustOpen(t, dir, small()).Close()
		b, err := bolt.Open(filepath.Join(dir, name), 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = b.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Put(metaFormat, []byte("7")) })
		if err = errors.Join(err, b.Close()); err != nil {
			t.Fatal(err)
		}
		_, err = Open(dir, small())
		if !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "format 7") || !strings.Contains(err.Error(), fmt.Sprint("up to ", Format)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSecondOpenIsRefused(t *testing.T) {
	dir := t.TempDir()
	db := mustOpen(t, dir, small())
	defer db.Close()
	o := small()
	o.LockTimeout = 50 * time.Millisecond
	if _, err := Open(dir, o); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), journalFile) {
		t.Errorf("second open: %v", err)
	}
}

// TestBitFlips flips bits all over both files: each store is refused, or reads right, or says so on reading.
func TestBitFlips(t *testing.T) {
	good, base := filledStore(t)
	want := storeText(t, good, base)
	rnd := rand.New(rand.NewPCG(5, 6))
	refused, silent := 0, 0
	const rounds = 150
	for range rounds {
		dir := copyStore(t, good)
		path := filepath.Join(dir, []string{journalFile, dataFile}[rnd.IntN(2)])
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := rnd.IntN(len(b))
		b[at] ^= 1 << rnd.IntN(8)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		switch got := storeText(t, dir, base); got {
		case "refused":
			refused++
		case want:
			silent++ // free pages, unused bytes, or what a second copy makes up for
		default:
			t.Fatalf("byte %d of %s flipped gave\n%.300s\nwant\n%.300s", at, path, got, want)
		}
	}
	if refused < rounds/20 {
		t.Errorf("only %d of %d refused: the flips miss what matters", refused, rounds)
	}
	t.Logf("%d refused, %d without effect", refused, silent)
}

// storeText is all that a store holds, or "refused" when it or a read of it is.
func storeText(t *testing.T, dir string, base time.Time) string {
	db, err := Open(dir, small())
	if err != nil {
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewer) {
			t.Fatalf("refused for %v", err)
		}
		return "refused"
	}
	defer db.Close()
	var b strings.Builder
	for _, name := range []string{"a", "b", "c"} {
		m, _ := NewMatcher(Equal, NameLabel, name)
		for s, err := range db.Select(t.Context(), 0, math.MaxInt64, m) {
			if err != nil {
				return "refused"
			}
			fmt.Fprintln(&b, s)
		}
	}
	return b.String()
}

package tsdb

import (
	"errors"
	"fmt"
	"math"
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

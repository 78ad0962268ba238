package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// compactChild names the file that a child process of the test compacts until it is killed.
const compactChild = "XUNJIAN_STORE_TEST_COMPACT"

func TestMain(m *testing.M) {
	if path := os.Getenv(compactChild); path != "" {
		for {
			if _, _, err := Compact(path, bolt.Options{Timeout: time.Second}); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	}
	os.Exit(m.Run())
}

// holey makes a file with buckets in buckets, sequences, and many free pages.
func holey(t testing.TB, path string) (sum [32]byte) {
	t.Helper()
	b, err := bolt.Open(path, 0o600, &bolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	rnd := rand.New(rand.NewPCG(1, 2))
	value := func(n int) []byte {
		v := make([]byte, n)
		for i := range v {
			v[i] = byte(rnd.Uint32())
		}
		return v
	}
	err = b.Update(func(tx *bolt.Tx) error {
		for _, name := range []string{"flat", "deep", "empty"} {
			top, err := tx.CreateBucket([]byte(name))
			if err != nil {
				return err
			}
			err = top.SetSequence(rnd.Uint64())
			for i := range uint64(3000) {
				switch name {
				case "deep":
					in, e := top.CreateBucketIfNotExists(key(4, i/100))
					if err = errors.Join(err, e); err == nil {
						err = in.Put(key(8, i), value(int(i)%5000))
					}
				case "flat":
					err = errors.Join(err, top.Put(key(8, i), value(1000)))
				}
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = b.Update(func(tx *bolt.Tx) error {
		for i := range uint64(2900) {
			if err := tx.Bucket([]byte("flat")).Delete(key(8, i)); err != nil {
				return err
			}
		}
		for i := range uint64(25) {
			if err := tx.Bucket([]byte("deep")).DeleteBucket(key(4, i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		sum, err = contents(b)
	}
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func contentsOf(t testing.TB, path string) [32]byte {
	t.Helper()
	b, err := OpenBolt(path, bolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	sum, err := contents(b)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func TestCompact(t *testing.T) {
	path := filepath.Join(t.TempDir(), "b")
	want := holey(t, path)
	b, err := OpenBolt(path, bolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if !Wasteful(b, 1<<20) || Wasteful(b, 1<<40) {
		t.Error("waste is not seen")
	}
	if _, _, err := Compact(path, bolt.Options{Timeout: 10 * time.Millisecond}); !errors.Is(err, ErrLocked) {
		t.Errorf("compacted an open file: %v", err)
	}
	b.Close()
	before, after, err := Compact(path, bolt.Options{Timeout: time.Second})
	if err != nil || after > before/2 {
		t.Fatalf("%d to %d bytes, %v", before, after, err)
	}
	if got := contentsOf(t, path); got != want {
		t.Error("something else is in it")
	}
	if b, err = OpenBolt(path, bolt.Options{}); err != nil || Wasteful(b, 0) {
		t.Errorf("wasteful still, %v", err)
	}
	b.Close()
}

// The sum tells apart whatever a copy may get wrong.
func TestContentsSeesEveryDifference(t *testing.T) {
	path := filepath.Join(t.TempDir(), "b")
	want := holey(t, path)
	for name, change := range map[string]func(tx *bolt.Tx) error{
		"a value":    func(tx *bolt.Tx) error { return tx.Bucket([]byte("flat")).Put(key(8, 2950), []byte("x")) },
		"a key more": func(tx *bolt.Tx) error { return tx.Bucket([]byte("empty")).Put([]byte("k"), nil) },
		"a key less": func(tx *bolt.Tx) error { return tx.Bucket([]byte("flat")).Delete(key(8, 2950)) },
		"a sequence": func(tx *bolt.Tx) error { return tx.Bucket([]byte("empty")).SetSequence(3) },
		"a bucket":   func(tx *bolt.Tx) error { return tx.Bucket([]byte("deep")).DeleteBucket(key(4, 27)) },
	} {
		b, err := bolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		undo := errors.New("undo")
		err = b.Update(func(tx *bolt.Tx) error {
			if err := change(tx); err != nil {
				return err
			}
			return undo
		})
		if !errors.Is(err, undo) {
			t.Fatal(err)
		}
		if err := b.Update(change); err != nil {
			t.Fatal(err)
		}
		if got, err := contents(b); err != nil || got == want {
			t.Errorf("%s was not seen (%v)", name, err)
		} else {
			want = got
		}
		b.Close()
	}
}

// TestKilledCompaction kills a process that compacts, at random moments: the file is whole each time, and says the same.
func TestKilledCompaction(t *testing.T) {
	dir := t.TempDir()
	fat := filepath.Join(dir, "fat")
	want := holey(t, fat)
	whole, err := os.ReadFile(fat)
	if err != nil {
		t.Fatal(err)
	}
	cut := 0
	for round := range 50 {
		path := filepath.Join(dir, fmt.Sprint("b", round))
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), compactChild+"="+path)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for begin := time.Now(); time.Since(begin) < time.Minute; time.Sleep(100 * time.Microsecond) {
			if st, err := os.Stat(path); err == nil && st.Size() < int64(len(whole)) {
				break // it has been through once
			}
			if _, err := os.Stat(path + compactSuffix); err == nil && round%2 == 0 {
				break
			}
		}
		time.Sleep(rand.N(20 * time.Millisecond))
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if _, err := os.Stat(path + compactSuffix); err == nil {
			cut++
		}
		if got := contentsOf(t, path); got != want {
			t.Fatalf("round %d: something else is in it", round)
		}
		if _, err := os.Stat(path + compactSuffix); err == nil {
			t.Error("the unfinished file is left")
		}
		os.Remove(path)
	}
	if cut == 0 {
		t.Error("no compaction was cut short: the kills came too late to show anything")
	}
	t.Logf("%d of 50 were cut short", cut)
}

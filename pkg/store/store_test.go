package store

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"
)

type thing struct {
	Name string    `json:"name"`
	N    int       `json:"n"`
	At   time.Time `json:"at,omitzero"`
}

var things = NewTable[thing]("things")

func newDB(t testing.TB) *DB {
	t.Helper()
	db, err := Open(filepath.Join(t.TempDir(), "sub", "records.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func put(t testing.TB, db *DB, key string, v thing) {
	t.Helper()
	if err := db.Update(func(tx *Tx) error { return things.Put(tx, key, v) }); err != nil {
		t.Fatal(err)
	}
}

func get(db *DB, key string) (v thing, err error) {
	err = db.View(func(tx *Tx) (err error) {
		v, err = things.Get(tx, key)
		return err
	})
	return v, err
}

func TestPutGetDelete(t *testing.T) {
	db := newDB(t)
	if _, err := get(db, "a"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), `things "a"`) {
		t.Errorf("missing table: %v", err)
	}
	want := thing{"石", 7, time.Date(2026, 11, 23, 9, 0, 0, 1, time.UTC)}
	put(t, db, "a", want)
	got, err := get(db, "a")
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if _, err := get(db, "b"); !errors.Is(err, ErrNotFound) {
		t.Errorf("missing key: %v", err)
	}
	for _, key := range []string{"a", "a", "never"} {
		if err := db.Update(func(tx *Tx) error { return things.Delete(tx, key) }); err != nil {
			t.Error(err)
		}
	}
	if _, err := get(db, "a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("deleted key: %v", err)
	}
}

// A transaction that fails leaves nothing, not even its numbers.
func TestRollback(t *testing.T) {
	db := newDB(t)
	stop := errors.New("stop")
	number := func(fail error) (n uint64) {
		err := db.Update(func(tx *Tx) (err error) {
			if n, err = things.NextSequence(tx); err != nil {
				return err
			}
			if err := things.Put(tx, fmt.Sprint(n), thing{N: int(n)}); err != nil {
				return err
			}
			return fail
		})
		if !errors.Is(err, fail) {
			t.Fatal(err)
		}
		return n
	}
	if a, b, c := number(nil), number(stop), number(nil); a != 1 || b != 2 || c != 2 {
		t.Errorf("numbers %d %d %d", a, b, c)
	}
	if _, err := get(db, "2"); err != nil {
		t.Error(err)
	}
}

func TestReadOnlyView(t *testing.T) {
	db := newDB(t)
	put(t, db, "a", thing{})
	if err := db.View(func(tx *Tx) error { return things.Put(tx, "b", thing{}) }); err == nil {
		t.Error("a view wrote")
	}
}

// A table is a map in the order of its keys, and stays one across restarts.
func TestLikeAMap(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		path := filepath.Join(t.TempDir(), "records.db")
		model := map[string]thing{}
		key := rapid.SampledFrom([]string{"a", "aa", "b", "ü", "中", "z/1", "z/2"})
		db, err := Open(path, Options{})
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { db.Close() }()
		for range rapid.IntRange(1, 8).Draw(rt, "steps") {
			k := key.Draw(rt, "key")
			switch rapid.SampledFrom([]string{"put", "put", "delete", "reopen"}).Draw(rt, "what") {
			case "put":
				model[k] = thing{Name: k, N: rapid.Int().Draw(rt, "n")}
				put(t, db, k, model[k])
			case "delete":
				delete(model, k)
				if err := db.Update(func(tx *Tx) error { return things.Delete(tx, k) }); err != nil {
					rt.Fatal(err)
				}
			case "reopen":
				db.Close()
				if db, err = Open(path, Options{}); err != nil {
					rt.Fatal(err)
				}
			}
		}
		from := key.Draw(rt, "from")
		var want, got []string
		for _, k := range slices.Sorted(maps.Keys(model)) {
			if k >= from {
				want = append(want, fmt.Sprint(k, model[k]))
			}
		}
		err = db.View(func(tx *Tx) error {
			for e, err := range things.Scan(tx, from) {
				if err != nil {
					return err
				}
				got = append(got, fmt.Sprint(e.Key, e.Value))
			}
			return nil
		})
		if !slices.Equal(want, got) || err != nil {
			rt.Fatalf("%v: from %s got %v, want %v", err, from, got, want)
		}
	})
}

// damage changes the stored bytes of a record behind the store's back.
func damage(t *testing.T, db *DB, key string, fn func([]byte) []byte) {
	t.Helper()
	err := db.bolt.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte("things"))
		return b.Put([]byte(key), fn(bytes.Clone(b.Get([]byte(key)))))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Each damaged record is named, and only it is lost.
func TestDamagedRecords(t *testing.T) {
	var whole []byte
	for name, fn := range map[string]func([]byte) []byte{
		"a bit":         func(b []byte) []byte { b[len(b)-2] ^= 1; return b },
		"the checksum":  func(b []byte) []byte { b[2] ^= 0x80; return b },
		"the version":   func(b []byte) []byte { b[0]++; return b },
		"cut short":     func(b []byte) []byte { return b[:len(b)-1] },
		"almost empty":  func(b []byte) []byte { return b[:3] },
		"of another":    func([]byte) []byte { return whole },
		"not our shape": func([]byte) []byte { b, _ := NewTable[string]("things").encode("b", "text"); return b },
	} {
		t.Run(name, func(t *testing.T) {
			db := newDB(t)
			for _, k := range []string{"a", "b", "c"} {
				put(t, db, k, thing{Name: k})
			}
			damage(t, db, "a", func(b []byte) []byte { whole = b; return b })
			damage(t, db, "b", fn)
			if _, err := get(db, "b"); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), `things "b"`) {
				t.Errorf("get: %v", err)
			}
			good, bad := "", ""
			err := db.View(func(tx *Tx) error {
				for e, err := range things.Scan(tx, "") {
					if err != nil {
						bad += e.Key
						continue
					}
					good += e.Key
				}
				_, err := things.All(tx)
				return err
			})
			if good != "ac" || bad != "b" || !errors.Is(err, ErrCorrupt) {
				t.Errorf("good %q, damaged %q, all: %v", good, bad, err)
			}
		})
	}
}

// What begins with a prefix is walked without a look at what follows, which may be damaged.
func TestUnder(t *testing.T) {
	db := newDB(t)
	for _, k := range []string{"a/1", "a/2", "a1", "b/1"} {
		put(t, db, k, thing{Name: k})
	}
	damage(t, db, "a1", func(b []byte) []byte { return b[:3] })
	for prefix, want := range map[string]string{"a/": "a/1 a/2 ", "a/2": "a/2 ", "b/": "b/1 ", "": "a/1 a/2 a1! b/1 ", "c": ""} {
		got := ""
		err := db.View(func(tx *Tx) error {
			for e, err := range things.Under(tx, prefix) {
				if got += e.Key; err != nil {
					got += "!"
				}
				got += " "
			}
			return nil
		})
		if err != nil || got != want {
			t.Errorf("%q: %q, want %q, %v", prefix, got, want, err)
		}
	}
}

// One damaged record is enough to refuse the file, and the error names it and the last good backup.
func TestDamagedRecordIsFoundAtTheStart(t *testing.T) {
	db := newDB(t)
	put(t, db, "a", thing{Name: "a"})
	put(t, db, "b", thing{Name: "b"})
	damage(t, db, "b", func(b []byte) []byte { b[len(b)-2] ^= 1; return b })
	if err := errors.Join(db.Close(), WriteNote(filepath.Dir(db.Path()), Note{"/backups/1", time.Now()})); err != nil {
		t.Fatal(err)
	}
	_, err := Open(db.Path(), Options{})
	if !errors.Is(err, ErrCorrupt) {
		t.Fatalf("opened with %v", err)
	}
	for _, want := range []string{db.Path(), `things "b"`, "/backups/1", "restore"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

// A file that another program holds, or a newer one wrote, or that is damaged, is refused and left as it is.
func TestOpenRefuses(t *testing.T) {
	db := newDB(t)
	put(t, db, "a", thing{Name: strings.Repeat("x", 100_000)})
	if _, err := Open(db.Path(), Options{LockTimeout: 10 * time.Millisecond}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), db.Path()) {
		t.Errorf("held: %v", err)
	}
	db.Close()
	sound, err := os.ReadFile(db.Path())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"empty":               {nil, ErrCorrupt},
		"a text":              {[]byte(strings.Repeat("not a database\n", 5000)), ErrCorrupt},
		"one byte":            {[]byte{0}, ErrCorrupt},
		"cut to its head":     {sound[:8192], ErrCorrupt},
		"cut in the middle":   {sound[:40_000], ErrCorrupt},
		"both heads damaged":  {append(make([]byte, 8192), sound[8192:]...), ErrCorrupt},
		"first head damaged":  {append(make([]byte, 4096), sound[4096:]...), ErrCorrupt}, // the last commit may be lost,
		"second head damaged": {slices.Concat(sound[:4096], make([]byte, 4096), sound[8192:]), ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "r.db")
			if err := os.WriteFile(path, c.b, 0o600); err != nil {
				t.Fatal(err)
			}
			db, err := Open(path, Options{})
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if err == nil {
				db.Close()
				return
			}
			if left, _ := os.ReadFile(path); !bytes.Equal(left, c.b) || !strings.Contains(err.Error(), path) {
				t.Errorf("file changed, or not named: %v", err)
			}
		})
	}
}

func TestSchema(t *testing.T) {
	db := newDB(t)
	path := db.Path()
	for version, want := range map[string]error{"1": nil, "2": ErrNewer, "x": ErrCorrupt} {
		err := db.bolt.Update(func(tx *bolt.Tx) error { return tx.Bucket(metaBucket).Put(schemaKey, []byte(version)) })
		if err != nil {
			t.Fatal(err)
		}
		db.Close()
		again, err := Open(path, Options{})
		if !errors.Is(err, want) {
			t.Errorf("schema %s: %v", version, err)
		}
		if again != nil {
			again.Close()
		}
		if db.bolt, err = bolt.Open(path, 0o600, nil); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadOnly(t *testing.T) {
	db := newDB(t)
	put(t, db, "a", thing{N: 1})
	db.Close()
	ro, err := Open(db.Path(), Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer ro.Close()
	if v, err := get(ro, "a"); err != nil || v.N != 1 {
		t.Errorf("%+v, %v", v, err)
	}
	if err := ro.Update(func(*Tx) error { return nil }); err == nil {
		t.Error("a read-only store wrote")
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none.db"), Options{ReadOnly: true}); err == nil {
		t.Error("opened a file that is not there")
	}
}

// No bytes in a record make decoding panic or pass for whole.
func FuzzDecode(f *testing.F) {
	good, err := things.encode("k", thing{Name: "x"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:5])
	f.Add([]byte{recordVersion})
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, err := things.decode("k", raw)
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("error %v", err)
		}
		if err == nil {
			if again, err := things.encode("k", v); err != nil || len(again) < 5 {
				t.Errorf("not encodable: %v", err)
			}
		}
	})
}

// No file makes opening panic.
func FuzzHead(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, 9000))
	f.Fuzz(func(t *testing.T, b []byte) { _ = CheckPages(bytes.NewReader(b), int64(len(b))) })
}

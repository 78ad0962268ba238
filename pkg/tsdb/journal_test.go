package tsdb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	bolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"xunjian/pkg/metric"
)

func openBolt(t testing.TB) *bolt.DB {
	t.Helper()
	db, err := bolt.Open(filepath.Join(t.TempDir(), "b"), 0o600, &bolt.Options{PageSize: 4096})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := db.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucket(bucketJournal); return err }); err != nil {
		t.Fatal(err)
	}
	return db
}

func update(t testing.TB, db *bolt.DB, fn func(*bolt.Tx) error) {
	t.Helper()
	if err := db.Update(fn); err != nil {
		t.Fatal(err)
	}
}

func rowRecord(seq uint64, values int) record {
	r := record{kind: kindRow, stream: 3, lane: 1, boot: 7, seq: seq, ms: int64(seq) * 15_000, schema: 2, values: make([]float64, values)}
	for i := range r.values {
		r.values[i] = math.Sqrt(float64(seq)) * float64(i)
	}
	return r
}

type replayed struct {
	Number, Keep uint64
	Record       record
}

func replayAll(t testing.TB, db *bolt.DB) (out []replayed, jr *journalReader, err error) {
	t.Helper()
	err = db.View(func(tx *bolt.Tx) error {
		jr, err = readJournal(tx, func(number, keep uint64, r record) error {
			r.body = bytes.Clone(r.body)
			out = append(out, replayed{number, keep, r})
			return nil
		})
		return err
	})
	return out, jr, err
}

func TestJournalGivesBackEveryGroup(t *testing.T) {
	groups := map[string][]record{
		"one":       {rowRecord(1, 61)},
		"kinds":     {{kind: kindSeen, agent: "web1", boot: 1, seq: 2}, {kind: kindStream, stream: 4, body: []byte("{}")}, {kind: kindSchema, schema: 5, body: []byte("[]")}, rowRecord(9, 0)},
		"long row":  {rowRecord(1, 2), rowRecord(2, 500), rowRecord(3, 2)},
		"many":      nil,
		"odd value": {{kind: kindRow, values: []float64{math.Inf(1), math.Copysign(0, -1), 5e-324, 1e308}}},
	}
	for i := range 120 {
		groups["many"] = append(groups["many"], rowRecord(uint64(i), 61))
	}
	for name, records := range groups {
		t.Run(name, func(t *testing.T) {
			db := openBolt(t)
			w, err := newJournalWriter(41)
			if err != nil {
				t.Fatal(err)
			}
			values, first, zipped := w.layOut(records)
			if want := name == "many" || name == "long row"; zipped != want || first != 41 {
				t.Errorf("compressed %v from %d, want %v from 41", zipped, first, want)
			}
			for _, v := range values {
				if len(v.body) >= 1024 {
					t.Errorf("key %d holds %d bytes", v.key, len(v.body))
				}
			}
			update(t, db, func(tx *bolt.Tx) error { return putGroup(tx, values) })
			got, jr, err := replayAll(t, db)
			if err != nil {
				t.Fatal(err)
			}
			var want []replayed
			for i, r := range records {
				n := 41 + uint64(i)
				want = append(want, replayed{n, map[bool]uint64{true: 41, false: n}[zipped], r})
			}
			if d := cmp.Diff(want, got, cmp.AllowUnexported(record{}), cmp.Comparer(bytes.Equal), cmp.Comparer(sameBits)); d != "" {
				t.Error(d)
			}
			if next := max(jr.last+1, 42); w.next != next && name != "long row" {
				t.Errorf("next number is %d, the journal ends at %d", w.next, jr.last)
			}
			if w.next <= jr.last {
				t.Errorf("next number %d is in use", w.next)
			}
		})
	}
}

func TestJournalDamage(t *testing.T) {
	w, err := newJournalWriter(1)
	if err != nil {
		t.Fatal(err)
	}
	single, _, _ := w.layOut([]record{rowRecord(1, 10)})
	pieces, _, _ := w.layOut([]record{rowRecord(2, 500)})
	after, _, _ := w.layOut([]record{rowRecord(3, 10)})
	if len(pieces) < 3 {
		t.Fatalf("only %d pieces", len(pieces))
	}
	flip := func(v value) value { v.body = bytes.Clone(v.body); v.body[len(v.body)-9] ^= 4; return v }
	move := func(v value) value { v.key += 1000; return v }
	for name, c := range map[string]struct {
		values  []value
		rows    int
		dropped int
		damaged bool
	}{
		"whole":                    {slices.Concat(single, pieces, after), 3, 0, false},
		"torn end is dropped":      {slices.Concat(single, pieces[:len(pieces)-1]), 1, 1, false},
		"only a first piece":       {pieces[:1], 0, 1, false},
		"torn middle":              {slices.Concat(pieces[:2], after), 0, 0, true},
		"piece without a first":    {pieces[1:], 0, 0, true},
		"flipped bit":              {[]value{flip(single[0])}, 0, 0, true},
		"flipped bit in a piece":   {slices.Concat(pieces[:1], []value{flip(pieces[1])}, pieces[2:]), 0, 0, true},
		"record under another key": {[]value{move(single[0])}, 0, 0, true},
		"unknown kind":             {[]value{{9, []byte{77, 1, 2, 3, 4, 5, 6}}}, 0, 0, true},
		"too short":                {[]value{{9, []byte{valueSingle}}}, 0, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			db := openBolt(t)
			update(t, db, func(tx *bolt.Tx) error { return putGroup(tx, c.values) })
			got, jr, err := replayAll(t, db)
			if c.damaged {
				if !errors.Is(err, ErrCorrupt) {
					t.Errorf("read with %v", err)
				}
				return
			}
			if err != nil || len(got) != c.rows || jr.dropped != c.dropped {
				t.Errorf("%d rows, %d dropped, %v; want %d and %d", len(got), jr.dropped, err, c.rows, c.dropped)
			}
		})
	}
}

func TestJournalRefusesNewerRecords(t *testing.T) {
	b := rowRecord(1, 1).append(nil)
	b[0] = 9
	if _, err := parseRecord(b); !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "version 9") {
		t.Error(err)
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add(rowRecord(1, 3).append(nil))
	f.Add(record{kind: kindSeen, agent: "a"}.append(nil))
	f.Add(record{kind: kindSchema, body: []byte("[]")}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRecord(b)
		if err == nil && !bytes.Equal(r.append(nil), b) {
			t.Fatalf("%x came back as %x", b, r.append(nil))
		}
	})
}

func FuzzJournalGroup(f *testing.F) {
	w, err := newJournalWriter(1)
	if err != nil {
		f.Fatal(err)
	}
	values, _, _ := w.layOut([]record{rowRecord(1, 500), rowRecord(2, 1)})
	var all []byte
	for _, v := range values {
		all = append(all, v.body...)
	}
	f.Add(all, uint16(979))
	unzip, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(1<<20))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(unzip.Close)
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		j := &journalReader{unzip: unzip, fn: func(uint64, uint64, record) error { return nil }}
		for key := uint64(1); len(b) > 0; key++ {
			n := min(len(b), int(cut)+1)
			if err := j.value(key64(key), b[:n]); err != nil {
				return
			}
			b = b[n:]
		}
	})
}

// TestCutComparesTheLastKey: a group that runs over its bucket's end keeps the bucket.
func TestCutComparesTheLastKey(t *testing.T) {
	const gen = 1 << bucketShift
	body := []byte{valueSingle, 0, 0, 0, 0, 0}
	fill := func(t *testing.T) *bolt.DB {
		db := openBolt(t)
		for _, group := range [][]uint64{{5, 6}, {gen - 2, gen - 1, gen, gen + 1}, {gen + 2}, {3 * gen}} {
			var values []value
			for _, k := range group {
				values = append(values, value{k, body})
			}
			update(t, db, func(tx *bolt.Tx) error { return putGroup(tx, values) })
		}
		return db
	}
	for _, c := range []struct {
		keep uint64
		want []uint64 // buckets left
	}{
		{0, []uint64{0, 1, 3}},
		{gen, []uint64{0, 1, 3}},
		{gen + 1, []uint64{0, 1, 3}},
		{gen + 2, []uint64{1, 3}},
		{gen + 3, []uint64{3}},
		{3 * gen, []uint64{3}},
		{3*gen + 1, nil},
	} {
		db := fill(t)
		var left []uint64
		update(t, db, func(tx *bolt.Tx) error {
			if _, err := cutJournal(tx, c.keep); err != nil {
				return err
			}
			return tx.Bucket(bucketJournal).ForEachBucket(func(k []byte) error {
				left = append(left, binary.BigEndian.Uint64(k))
				return nil
			})
		})
		if !slices.Equal(left, c.want) {
			t.Errorf("keep %d leaves the buckets %v, want %v", c.keep, left, c.want)
		}
	}
}

func TestCutIsBounded(t *testing.T) {
	db := openBolt(t)
	update(t, db, func(tx *bolt.Tx) error {
		for i := range uint64(cutAtOnce + 3) {
			if err := putGroup(tx, []value{{i << bucketShift, []byte{valueSingle, 0, 0, 0, 0, 0}}}); err != nil {
				return err
			}
		}
		n, err := cutJournal(tx, math.MaxUint64)
		if n != cutAtOnce {
			t.Errorf("%d buckets at once, want %d", n, cutAtOnce)
		}
		return err
	})
}

// TestOldestKey: the journal is kept for rows in open segments and for sealed ones that are not on disk.
func TestOldestKey(t *testing.T) {
	rules, now := headRules{rows: 4, span: 1000_000}, time.Now()
	s := &stream{seals: 1}
	sc := &schema{id: 1, series: make([]metric.Series, 1)}
	add := func(number, keep uint64, ms int64) []*segment {
		w := row{sc, ms, number, keep, []float64{1}}
		return s.add(s.place(rules, 1, ms, number), w, now)
	}
	want := func(what string, key uint64) {
		t.Helper()
		if got := s.oldestKey(1000); got != key {
			t.Errorf("%s: oldest key %d, want %d", what, got, key)
		}
	}
	want("empty", 1000)
	add(12, 10, 1000)
	want("a row of a compressed group needs the group's first key", 10)
	add(13, 10, 2000)
	add(20, 20, 3000)
	closed := add(21, 21, 4000)
	if len(closed) != 1 {
		t.Fatalf("%d segments closed, want 1", len(closed))
	}
	add(30, 30, 5000)
	want("sealed, not flushed", 10)
	s.flushed(closed[0])
	want("flushed", 30)
}

func TestNumbersNeverComeAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, err := newJournalWriter(rapid.Uint64Range(1, 1<<40).Draw(t, "next"))
		if err != nil {
			t.Fatal(err)
		}
		used := uint64(0)
		for range 5 {
			var records []record
			for i := range rapid.IntRange(1, 70).Draw(t, "records") {
				records = append(records, rowRecord(uint64(i), rapid.SampledFrom([]int{1, 1, 1, 400}).Draw(t, "values")))
			}
			values, first, _ := w.layOut(records)
			if first <= used || values[0].key != first {
				t.Fatalf("group from %d with keys from %d, but %d is in use", first, values[0].key, used)
			}
			used = max(values[len(values)-1].key, first+uint64(len(records))-1)
			if w.next != used+1 {
				t.Fatalf("next is %d after %d", w.next, used)
			}
		}
	})
}

// TestJournalIsCutBehindTheOldestOpenRow sends so much that buckets fill, beside one row that stays open.
func TestJournalIsCutBehindTheOldestOpenRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, base := t.TempDir(), time.Now().Truncate(time.Second).Add(-time.Hour)
		o := Options{Linger: -1, FlushEvery: time.Second, BlockSpan: time.Hour, MmapSize: 1 << 30}
		db, stop := running(t, dir, o)
		idle := report(1, 1, base, 42)
		idle.Agent = "idle"
		appendAll(t, db, idle)
		seq := uint64(0)
		fill := func() {
			var reports []metric.Report
			for range 3 << bucketShift {
				seq++
				reports = append(reports, report(1, seq, base.Add(time.Duration(seq)*time.Millisecond), float64(seq)))
			}
			appendAll(t, db, reports...)
			time.Sleep(3 * time.Second)
		}
		fill()
		if n := buckets(t, db); n < 3 {
			t.Errorf("%d buckets while the first row is open", n)
		}
		time.Sleep(2 * time.Hour) // the idle row is sealed by age
		if n := buckets(t, db); n > 1 {
			t.Errorf("%d buckets when all is in blocks", n)
		}
		fill()
		if n := buckets(t, db); n > 1 {
			t.Errorf("%d buckets later", n)
		}
		stop()
		db, _ = running(t, dir, o)
		rows := 0
		for s, err := range db.Select(t.Context(), 0, math.MaxInt64) {
			if err != nil {
				t.Fatal(err)
			}
			rows += len(s.T)
		}
		if rows != int(seq)+1 {
			t.Errorf("%d rows, want %d", rows, seq+1)
		}
		wantOutcomes(t, appendAll(t, db, idle, report(1, 1, base, 1), report(1, seq, base, 1)), Duplicate, Duplicate, Duplicate)
	})
}

// TestRefusalsLetTheJournalBeCut: what only says that a report was done with must not keep buckets for ever.
func TestRefusalsLetTheJournalBeCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		o := Options{Linger: -1, FlushEvery: time.Second, MmapSize: 1 << 30}
		db, stop := running(t, dir, o)
		old, n := time.Now().Add(-30*24*time.Hour), 3<<bucketShift
		var reports []metric.Report
		for i := range n {
			reports = append(reports, report(1, uint64(i+1), old, 1))
		}
		appendAll(t, db, reports...)
		time.Sleep(3 * time.Second)
		if n := buckets(t, db); n > 1 {
			t.Errorf("%d buckets of refusals", n)
		}
		stop()
		db, _ = running(t, dir, o)
		wantOutcomes(t, appendAll(t, db, reports[0], reports[n/2], reports[n-1]), Duplicate, Duplicate, Duplicate)
	})
}

func buckets(t *testing.T, db *DB) (n int) {
	t.Helper()
	if err := db.jdb.View(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketJournal).ForEachBucket(func([]byte) error { n++; return nil })
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestCutWaitsForTheFlushOfWhatWasSeen: reports that were refused leave nothing but the note that they were.
func TestCutWaitsForTheFlushOfWhatWasSeen(t *testing.T) {
	db := mustOpen(t, t.TempDir(), Options{MmapSize: 1 << 30})
	defer db.Close()
	a, err := db.catalog.agent("web1")
	if err != nil {
		t.Fatal(err)
	}
	for seq := range uint64(3 << bucketShift) {
		p := &pending{seq: seq, outcome: TooOld}
		p.agent = a
		if group := []*pending{p}; seq%1024 == 1023 {
			for i := range uint64(1023) {
				q := &pending{seq: seq - i - 1, outcome: TooOld}
				q.agent = a
				group = append(group, q)
			}
			db.commit(group)
		}
	}
	before := buckets(t, db)
	db.cut()
	if n := buckets(t, db); before < 3 || n != before {
		t.Errorf("%d of %d buckets are left before anything was flushed", n, before)
	}
	(&sealer{db: db}).flush()
	db.cut()
	if n := buckets(t, db); n != 0 {
		t.Errorf("%d buckets are left after it", n)
	}
}

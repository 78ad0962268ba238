package tsdb

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"xunjian/pkg/metric"
)

// feed sends rows to a bare stream and returns each closed segment as "schema:first-last×rows" in seconds.
func feed(s *stream, rules headRules, now time.Time, rows ...[2]int64) (out []string) {
	for i, r := range rows {
		schema, ms, number := uint32(r[0]), r[1]*1000, uint64(i+1)
		w := row{&schema0[schema], ms, number, number, []float64{float64(r[1])}}
		for _, g := range s.add(s.place(rules, schema, ms, number), w, now) {
			out = append(out, segmentText(g))
		}
	}
	return out
}

var schema0 = [...]schema{{id: 0}, {id: 1}, {id: 2}, {id: 3}, {id: 4}, {id: 5}}

func segmentText(g *segment) string {
	return fmt.Sprintf("%d:%d-%d×%d", g.schema.id, g.lo/1000, g.hi/1000, len(g.stamps))
}

func openText(s *stream) (out []string) {
	for _, g := range s.open {
		if g != nil {
			out = append(out, segmentText(g))
		}
	}
	return out
}

func TestSegments(t *testing.T) {
	for name, c := range map[string]struct {
		rows         [][2]int64 // schema, second
		closed, open []string
	}{
		"full":                     {[][2]int64{{1, 10}, {1, 20}, {1, 30}, {1, 40}}, []string{"1:10-30×3"}, []string{"1:40-40×1"}},
		"out of order":             {[][2]int64{{1, 30}, {1, 10}, {1, 20}}, []string{"1:10-30×3"}, nil},
		"too far ahead":            {[][2]int64{{1, 10}, {1, 111}}, []string{"1:10-10×1"}, []string{"1:111-111×1"}},
		"just in reach":            {[][2]int64{{1, 10}, {1, 110}}, nil, []string{"1:10-110×2"}},
		"a backlog has its own":    {[][2]int64{{1, 1000}, {1, 10}, {1, 1010}, {1, 20}}, nil, []string{"1:1000-1010×2", "1:10-20×2"}},
		"backlog goes on":          {[][2]int64{{1, 1000}, {1, 10}, {1, 200}}, []string{"1:10-10×1"}, []string{"1:1000-1000×1", "1:200-200×1"}},
		"nearest segment":          {[][2]int64{{1, 1000}, {1, 890}, {1, 940}}, nil, []string{"1:1000-1000×1", "1:890-940×2"}},
		"schemas never mix":        {[][2]int64{{1, 10}, {2, 20}, {1, 30}}, nil, []string{"1:10-30×2", "2:20-20×1"}},
		"the idle one makes place": {[][2]int64{{1, 10}, {2, 20}, {3, 30}, {4, 40}, {1, 50}, {5, 60}}, []string{"2:20-20×1"}, []string{"1:10-50×2", "5:60-60×1", "3:30-30×1", "4:40-40×1"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := &stream{seals: 1}
			if got := feed(s, headRules{rows: 3, span: 100_000}, time.Now(), c.rows...); !slices.Equal(got, c.closed) {
				t.Errorf("closed %v, want %v", got, c.closed)
			}
			if got := openText(s); !slices.Equal(got, c.open) {
				t.Errorf("open %v, want %v", got, c.open)
			}
		})
	}
}

func TestFirstSegmentsDifferInLength(t *testing.T) {
	rules, lengths, rows := headRules{rows: 240, span: math.MaxInt64}, map[int]int{}, 0
	for id := range uint32(500) {
		s := &stream{id: id}
		n := rules.limit(s)
		if n < 30 || n >= 240 {
			t.Fatalf("stream %d: first segment of %d rows", id, n)
		}
		lengths[n]++
		rows += (240 - 30 + 239 - n) % 240 // in the second one, or the first, when the worst moment comes
		if s.seals = 1; rules.limit(s) != 240 {
			t.Fatalf("stream %d: second segment of %d rows", id, rules.limit(s))
		}
	}
	if len(lengths) < 150 {
		t.Errorf("only %d different lengths", len(lengths))
	}
	if mean := rows / 500; mean > 240*6/10 {
		t.Errorf("open segments have %d rows of 240 in the middle", mean)
	}
}

func TestOldSegmentsAreSealed(t *testing.T) {
	s, now := &stream{seals: 1}, time.Now()
	feed(s, headRules{rows: 10, span: 1000_000}, now, [][2]int64{{1, 10}, {1, 20}}...)
	if got := s.sealOld(now.Add(-time.Nanosecond)); len(got) != 0 {
		t.Errorf("sealed too early: %v", segmentText(got[0]))
	}
	if got := s.sealOld(now); len(got) != 1 || segmentText(got[0]) != "1:10-20×2" {
		t.Errorf("sealed %d segments", len(got))
	}
	feed(s, headRules{rows: 10, span: 1000_000}, now, [2]int64{1, 30})
	if got := openText(s); !slices.Equal(got, []string{"1:30-30×1"}) {
		t.Errorf("afterwards %v is open", got)
	}
}

// TestIdleStreamReachesTheDisk: what never fills a segment is sealed by age and flushed.
func TestIdleStreamReachesTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, _ := running(t, t.TempDir(), Options{MmapSize: 1 << 30})
		base := time.Now().Truncate(time.Second)
		appendAll(t, db, report(1, 1, base, 1))
		time.Sleep(119 * time.Minute)
		if s := db.Stats(); s.HeadRows != 1 || s.HotBlocks != 0 {
			t.Errorf("before two hours: %+v", s)
		}
		time.Sleep(3 * time.Minute)
		if s := db.Stats(); s.HeadRows != 0 || s.HotBlocks != 1 {
			t.Errorf("after two hours: %+v", s)
		}
		wantPoints(t, db, base, "a", "0:1")
	})
}

// TestBacklogAfterAnOutage: fresh reports go on while three days come after them, and blocks stay full.
func TestBacklogAfterAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, now := t.TempDir(), time.Now().Truncate(15*time.Second)
		o := Options{Linger: -1, FlushEvery: time.Second, MaxAhead: time.Hour, MmapSize: 1 << 30}
		db, stop := running(t, dir, o)
		from := now.Add(-6 * time.Hour)
		n := int(now.Sub(from) / (15 * time.Second))
		var reports []metric.Report
		for i := range n {
			late := report(1, uint64(i+1), from.Add(time.Duration(i)*15*time.Second), float64(i))
			reports = append(reports, late)
			if i%20 == 0 { // the backlog comes twenty times as fast as the fresh ones
				k := n + i/20
				reports = append(reports, report(1, uint64(k+1), from.Add(time.Duration(k)*15*time.Second), float64(k)))
			}
		}
		for _, out := range appendAll(t, db, reports...) {
			if out != Stored {
				t.Fatalf("a late report was %v", out)
			}
		}
		var want []string
		for i := range n + (n+19)/20 {
			want = append(want, fmt.Sprintf("%d:%d", i*15, i))
		}
		base := from
		wantPoints(t, db, base, "a", want...)
		stop()
		db, _ = running(t, dir, o)
		wantPoints(t, db, base, "a", want...)
		if s := db.Stats(); s.HotBlocks > n/120+4 {
			t.Errorf("%d blocks for %d rows", s.HotBlocks, n)
		}
	})
}

func TestAlternatingSchemasKeepBlocksFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, stop := running(t, t.TempDir(), small())
		base := time.Now().Truncate(time.Second)
		var wantA, wantC []string
		for i := range 80 {
			values := []float64{float64(i), 2, 3}[:1+i%2*2] // "a" alone, or "a", "b" and "c"
			appendAll(t, db, report(1, uint64(i+1), base.Add(time.Duration(i)*time.Second), values...))
			wantA = append(wantA, fmt.Sprintf("%d:%d", i, i))
			if i%2 == 1 {
				wantC = append(wantC, fmt.Sprintf("%d:3", i))
			} else if i > 0 {
				wantC = append(wantC, fmt.Sprintf("%d:end", i))
			}
		}
		time.Sleep(2 * time.Second)
		wantPoints(t, db, base, "a", wantA...)
		wantPoints(t, db, base, "c", wantC...)
		if s := db.Stats(); s.HotBlocks > 12 || s.Schemas != 2 || s.Series != 3 {
			t.Errorf("%+v", s)
		}
		stop()
	})
}

// TestReadersSeeBlocksMoveToDisk reads without a pause while rows are sealed and flushed; none may be missing or doubled.
func TestReadersSeeBlocksMoveToDisk(t *testing.T) {
	o := small()
	o.BlockRows, o.Linger, o.FlushEvery, o.FlushBytes = 2, -1, time.Millisecond, 1
	db, stop := running(t, t.TempDir(), o)
	base := time.Now().Truncate(time.Second)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 300 {
			appendAll(t, db, report(1, uint64(i+1), base.Add(time.Duration(i)*time.Millisecond), float64(i)))
		}
	}()
	most := 0
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		for s, err := range db.Select(t.Context(), 0, math.MaxInt64) {
			if err != nil {
				t.Fatal(err)
			}
			for i, v := range s.V {
				if v != float64(i) {
					t.Fatalf("value %d of %d is %v", i, len(s.V), v)
				}
			}
			if len(s.V) < most {
				t.Fatalf("%d rows after %d", len(s.V), most)
			}
			most = len(s.V)
		}
	}
	if most != 300 {
		t.Errorf("%d rows at the end", most)
	}
	stop()
}

func TestBlockRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	var e blockEncoder
	var d blockDecoder
	for _, n := range []int{1, 2, 3, 120, 240, 1000} {
		for _, cols := range []int{0, 1, 5, 300} {
			for _, jitter := range []int64{1, 3, 4000} {
				stamps, rows := make([]int64, n), make([]float64, n*cols)
				for i := range stamps {
					stamps[i] = 1_700_000_000_000 + int64(i)*15_000 + rnd.Int64N(jitter)
				}
				for i := range rows {
					if rows[i] = float64(rnd.IntN(100)) / 4; rnd.IntN(9) == 0 {
						rows[i] = math.NaN()
					}
				}
				key := hotKey(1, 2, 3)
				b := e.encode(key, 9, stamps, rows)
				k, err := openBlock(key, b)
				if err != nil {
					t.Fatal(err)
				}
				got, err := d.stamps(nil, &k)
				if err != nil || !slices.Equal(got, stamps) || k.schemas[0] != 9 || k.columns != cols {
					t.Fatalf("stamps of %d×%d, jitter %d: %v, %v", n, cols, jitter, got, err)
				}
				for c := range cols {
					v, err := d.values(nil, &k, c)
					if err != nil {
						t.Fatal(err)
					}
					for i := range v {
						if x := rows[i*cols+c]; v[i] != x && !(math.IsNaN(x) && math.IsNaN(v[i])) {
							t.Fatalf("column %d row %d: %v, want %v", c, i, v[i], x)
						}
					}
				}
			}
		}
	}
}

func TestBlockIsBoundToItsKey(t *testing.T) {
	var e blockEncoder
	b := e.encode(hotKey(1, 2, 3), 9, []int64{1000, 2000}, []float64{1, 2})
	if _, err := openBlock(hotKey(1, 2, 4), b); err == nil {
		t.Error("opened under another key")
	}
	for i := range b {
		bad := slices.Clone(b)
		bad[i] ^= 16
		if err := verifyBlock(hotKey(1, 2, 3), bad); err == nil {
			t.Errorf("byte %d flipped, and nobody noticed", i)
		}
		if err := verifyBlock(hotKey(1, 2, 3), b[:i]); err == nil {
			t.Errorf("opened with %d of %d bytes", i, len(b))
		}
	}
}

func FuzzBlock(f *testing.F) {
	var e blockEncoder
	stamps, rows := make([]int64, 100), make([]float64, 300)
	for i := range stamps {
		stamps[i] = int64(i)*1000 + int64(i%3)
	}
	for i := range rows {
		rows[i] = float64(i % 7)
	}
	f.Add(e.encode(nil, 1, stamps, rows))
	f.Add(e.encode(nil, 1, stamps[:1], rows[:2]))
	var d blockDecoder
	f.Fuzz(func(t *testing.T, b []byte) {
		k := block{unchecked: true} // random bytes never pass a checksum
		if k.parse(nil, b) != nil {
			return
		}
		if got, err := d.stamps(nil, &k); err == nil && len(got) != k.rows {
			t.Fatalf("%d stamps of %d", len(got), k.rows)
		}
		for c := range k.columns {
			if v, err := d.values(nil, &k, c); err == nil && len(v) != k.rows {
				t.Fatalf("%d values of %d", len(v), k.rows)
			}
		}
	})
}

// TestReplayKeepsTheFirstOfEqualStamps: a row whose segment was closed before a second one of the same
// millisecond came must not end up behind it when both are still only in the journal.
func TestReplayKeepsTheFirstOfEqualStamps(t *testing.T) {
	s, rules, now := &stream{seals: 1}, headRules{rows: 10, span: 100_000}, time.Now()
	var closed []string
	again := func(lane int, ms int64, number uint64) {
		w := row{&schema0[1], ms, number, number, []float64{1}}
		p, list := s.placeAgain(rules, lane, w)
		for _, g := range append(list, s.add(p, w, now)...) {
			closed = append(closed, fmt.Sprintf("%s until %d", segmentText(g), g.number))
		}
	}
	again(0, 5000, 1)
	again(1, 5000, 2)
	again(0, 6000, 3)
	if want := []string{"1:5-5×1 until 1"}; !slices.Equal(closed, want) {
		t.Errorf("closed %v, want %v", closed, want)
	}
	if want := []string{"1:6-6×1", "1:5-5×1"}; !slices.Equal(openText(s), want) {
		t.Errorf("open %v, want %v", openText(s), want)
	}
	again(0, 200_000, 4)
	if len(closed) != 2 || closed[1] != "1:6-6×1 until 3" {
		t.Errorf("a row out of reach closed %v", closed)
	}
}

// TestStreamRecordNeverMovesBack: a flush that has nothing of a lane leaves that lane where it was.
func TestStreamRecordNeverMovesBack(t *testing.T) {
	s := &stream{}
	s.flushed(&segment{stream: s, lane: 1, number: 70})
	if got := s.record([laneCount]uint64{90, 60}).UpTo; got != [laneCount]uint64{90, 70} {
		t.Errorf("lanes are at %v", got)
	}
	s.flushed(&segment{stream: s, lane: 1, number: 65})
	if got := s.record([laneCount]uint64{}).UpTo; got != [laneCount]uint64{0, 70} {
		t.Errorf("lanes are at %v", got)
	}
}

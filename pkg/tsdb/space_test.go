package tsdb

import (
	"math"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"xunjian/pkg/metric"
)

// TestDroppedDaysMakeRoom: once days are dropped, data.db takes their pages and grows no more. Days are of unequal sizes, so
// that one does not just fit into the place of another.
func TestDroppedDaysMakeRoom(t *testing.T) {
	const kept, full, end = 6, 12, 36 // days
	var clock atomic.Int64
	clock.Store(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).UnixMilli())
	o := Options{
		BlockRows: 24, Linger: -1, FlushEvery: time.Millisecond, MmapSize: 1 << 30, Now: func() time.Time { return time.UnixMilli(clock.Load()) },
		Retain: kept * 24 * time.Hour, RetainRollup: kept * 24 * time.Hour,
	}
	db, _ := running(t, t.TempDir(), o)
	db.jdb.NoSync, db.ddb.NoSync = true, true // pages are counted, nothing is to survive
	random := rand.New(rand.NewPCG(1, 2))
	used := make([]Space, 0, end)
	for range end {
		from := o.Now()
		clock.Add((24 * time.Hour).Milliseconds())
		appendAll(t, db, noise(random, from)...)
		for db.Stats().UnflushedBytes > 0 {
			time.Sleep(time.Millisecond)
		}
		if _, err := db.Merge(t.Context()); err != nil {
			t.Fatal(err)
		}
		s, err := db.Space()
		if err != nil {
			t.Fatal(err)
		}
		used = append(used, s)
	}
	then, now := used[full-1], used[end-1]
	if then.Days == 0 || then.Aggregates == 0 || then.Hot == 0 || then.Free == 0 || then.Unused == 0 {
		t.Errorf("data.db holds %+v", then)
	}
	if sum := now.Days + now.Aggregates + now.Hot + now.Free + now.Unused; sum > now.File || sum < now.File-32*4096 { // the other buckets
		t.Errorf("%+v comes to %d", now, sum)
	}
	// If the pages of samples alone were not used again, it would be more than twice as much.
	if was, is := then.File-then.Unused, now.File-now.Unused; is > was+was/3 {
		t.Errorf("data.db took %d bytes of pages after %d days and %d after %d: %+v, then %+v", was, full, is, end, then, now)
	}
}

// noise is a day of reports of several hosts whose values take from one byte to seven, others each day.
func noise(random *rand.Rand, from time.Time) (out []metric.Report) {
	for host := range 8 {
		decimals := math.Pow10(1 + random.IntN(14))
		for row := range 96 {
			r := metric.Report{Agent: string(rune('a' + host)), Boot: 1, Seq: uint64(from.Unix()) + uint64(row), Kind: metric.KindHost, Every: 15 * time.Minute}
			r.At = from.Add(time.Duration(row)*r.Every + time.Second)
			for _, s := range noisy {
				r.Samples = append(r.Samples, metric.Sample{Series: s, Value: math.Round(random.Float64()*decimals) / decimals})
			}
			out = append(out, r)
		}
	}
	return out
}

var noisy = func() (out []metric.Series) {
	for _, s := range report(0, 0, time.Time{}, make([]float64, 26)...).Samples {
		out = append(out, s.Series)
	}
	return out
}()

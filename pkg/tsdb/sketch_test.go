package tsdb

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"xunjian/pkg/metric"
)

func TestSketchIsClose(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.SliceOfN(rapid.OneOf(rapid.Float64Range(-1e6, 1e6), rapid.Float64(), rapid.SampledFrom([]float64{0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), 5e-324, 1})), 1, 200).Draw(t, "values")
		var s, half, other Sketch
		s.make(v, nil)
		half.make(v[:len(v)/2], nil)
		for _, x := range v[len(v)/2:] {
			other.Add(x)
		}
		half.Merge(&other)
		if !slices.Equal(s.keys, half.keys) || !slices.Equal(s.counts, half.counts) {
			t.Fatalf("in two halves: %v, want %v", half, s)
		}
		slices.Sort(v)
		for _, share := range []float64{0, .25, .5, .95, 1} {
			got, want := s.Quantile(share), v[int(share*float64(len(v)-1))]
			if math.Abs(got-want) > 0.0160*math.Abs(want) && math.Abs(want) > 1e-300 && got != want {
				t.Fatalf("quantile %v is %v, want %v", share, got, want)
			}
		}
	})
}

// TestDaySketches: the sketches of stored days count what the days hold.
func TestDaySketches(t *testing.T) {
	fromMidnight(t, func(t *testing.T) {
		db, _ := running(t, t.TempDir(), small())
		start := time.Now().Truncate(time.Second)
		var reports []metric.Report
		for i := range 2000 {
			r := report(1, uint64(i+1), start.Add(time.Duration(i)*time.Second), float64(i%10), float64(i))
			r.Samples[1].Series.Name = "b_total"
			few := r
			few.Agent = "few"
			if reports = append(reports, r); i < 500 {
				reports = append(reports, few)
			}
		}
		time.Sleep(time.Hour)
		for batch := range slices.Chunk(reports, 100) {
			appendAll(t, db, batch...)
		}
		time.Sleep(30 * time.Hour)
		n := 0
		for d, err := range db.Sketches(t.Context(), 0, time.Now().UnixMilli()) {
			if err != nil {
				t.Fatal(err)
			}
			n++
			if q := d.Sketch.Quantile(0.95); d.Series.Get("instance") != "web1" || d.Series.Name != "a" || d.Sketch.Count() != 2000 || math.Abs(q-9) > 0.15 {
				t.Errorf("%s has %v values, 95 %% below %v", d.Series, d.Sketch.Count(), q)
			}
		}
		if n != 1 {
			t.Errorf("%d sketches: want none of counters, and none of short days", n)
		}
	})
}

func FuzzSketchValue(f *testing.F) {
	f.Add(math.Float64bits(1), math.Float64bits(-3))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		x, y := math.Float64frombits(a), math.Float64frombits(b)
		if x != x || y != y {
			return
		}
		if kx, ky := sketchKey(x), sketchKey(y); x < y && kx > ky {
			t.Errorf("%v and %v have keys %d and %d", x, y, kx, ky)
		}
		if v := sketchValue(sketchKey(x)); v != v || sketchKey(v) != sketchKey(x) {
			t.Errorf("%v comes back as %v", x, v)
		}
	})
}

func BenchmarkSketch(b *testing.B) {
	v := make([]float64, 5760)
	for i := range v {
		v[i] = 1 + rand.Float64()
	}
	var s Sketch
	var scratch []int32
	for b.Loop() {
		scratch = s.make(v, scratch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(v)), "ns/sample")
}

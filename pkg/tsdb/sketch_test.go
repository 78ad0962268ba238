package tsdb

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
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
		fewDays(t, db)
		if _, err := db.Merge(t.Context()); err != nil {
			t.Fatal(err)
		}
		counts := map[string]float64{}
		for d, err := range db.Sketches(t.Context(), 0, time.Now().UnixMilli()) {
			if err != nil {
				t.Fatal(err)
			}
			counts[d.Series.Name] += d.Sketch.Count()
			if q := d.Sketch.Quantile(0.5); d.Series.Name == "node_load1" && math.Abs(q-0.75) > 0.02 {
				t.Errorf("median of %s is %v", d.Series, q)
			}
		}
		if n := counts["node_load1"]; n != 768 || counts["probe_success"] != 864 || len(counts) != 3 {
			t.Errorf("counted %v", counts)
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

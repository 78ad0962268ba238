package tsdb

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// sameBits compares values bit by bit; any two NaN are equal, for NaN says only that there is no value.
func sameBits(a, b []float64) bool {
	return slices.EqualFunc(a, b, func(x, y float64) bool {
		return math.Float64bits(x) == math.Float64bits(y) || math.IsNaN(x) && math.IsNaN(y)
	})
}

func checkColumn(t interface {
	Helper()
	Fatalf(string, ...any)
}, v []float64,
) []byte {
	t.Helper()
	var e columnEncoder
	b := e.encode(nil, v)
	var d columnDecoder
	got, err := d.decode(nil, b, len(v))
	if err != nil || !sameBits(got, v) {
		t.Fatalf("column of %v\n came back as %v, %v", v, got, err)
	}
	for _, lo := range []int{0, 1, len(v) / 3, len(v)} {
		lo = min(lo, len(v))
		for _, hi := range []int{lo, (lo + len(v)) / 2, len(v)} {
			part, err := d.part([]float64{7}, b, len(v), lo, hi)
			if err != nil || !sameBits(part, append([]float64{7}, v[lo:hi]...)) {
				t.Fatalf("values %d up to %d of %v\n came back as %v, %v", lo, hi, v, part, err)
			}
		}
	}
	return b
}

func TestColumnShapes(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	nan, inf := Absent, math.Inf(1)
	shapes := map[string]func(i int) float64{
		"constant":   func(int) float64 { return 42.5 },
		"absent":     func(int) float64 { return nan },
		"counter":    func(i int) float64 { return float64(i*37+rnd.IntN(30)) / 100 },
		"pages":      func(int) float64 { return float64(rnd.IntN(5000) * 4096) },
		"ramp":       func(i int) float64 { return float64(i*i) * 1e6 },
		"noise":      func(int) float64 { return rnd.NormFloat64() },
		"gaps":       func(i int) float64 { return []float64{1, nan, 3}[rnd.IntN(3)] },
		"late start": func(i int) float64 { return []float64{nan, float64(i)}[min(i/3, 1)] },
		"alternate":  func(i int) float64 { return []float64{nan, float64(i)}[i%2] },
		"infinite":   func(i int) float64 { return []float64{inf, -inf, float64(i)}[min(rnd.IntN(40), 2)] },
		"first odd":  func(i int) float64 { return []float64{math.Pi, 1e6 + float64(i)}[min(i, 1)] },
		"limits":     func(i int) float64 { return []float64{1<<53 - 1, -(1<<53 - 1)}[i%2] },
		"beyond":     func(i int) float64 { return []float64{1<<53 + 2, 1e308, -1e308, 5e-324, math.Copysign(0, -1)}[i%5] },
		"minus zero": func(i int) float64 { return math.Copysign(0, float64(i%2)-0.5) },
		"no number":  func(i int) float64 { return []float64{math.NaN(), staleMarker, Absent, float64(i)}[i%4] },
		"big steps":  func(int) float64 { return float64(rnd.Int64N(1<<53)) - 1<<52 },
	}
	for name, f := range shapes {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{1, 2, 3, 15, 16, 17, 64, 120, 240, 1000, 5760} {
				v := make([]float64, n)
				for i := range v {
					v[i] = f(i)
				}
				checkColumn(t, v)
			}
		})
	}
}

// TestColumnSizes holds what the steps of the encoding are for, in bytes of a 240-row column.
func TestColumnSizes(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	column := func(f func(i int) float64) []float64 {
		v := make([]float64, 240)
		for i := range v {
			v[i] = f(i)
		}
		return v
	}
	for name, c := range map[string]struct {
		v    []float64
		most int
	}{
		"constant":         {column(func(int) float64 { return 25276502016 }), 10},
		"steady counter":   {column(func(i int) float64 { return float64(1e9 + i*1183) }), 14},
		"absent":           {column(func(int) float64 { return Absent }), 4},
		"common divisor":   {column(func(int) float64 { return float64(rnd.IntN(16)) * 4096 * 1024 }), 170},
		"one odd value":    {column(func(i int) float64 { return []float64{math.Pi, 7}[min(i, 1)] }), 20},
		"mostly there":     {column(func(i int) float64 { return []float64{Absent, 7}[min(i%100, 1)] }), 16},
		"decimal fraction": {column(func(i int) float64 { return float64(rnd.IntN(8)) / 100 }), 120},
	} {
		if n := len(checkColumn(t, c.v)); n > c.most {
			t.Errorf("%s: %d bytes, want at most %d", name, n, c.most)
		}
	}
}

func TestColumnRoundTrip(t *testing.T) {
	value := rapid.OneOf(
		rapid.Float64(),
		rapid.Map(rapid.Uint64(), math.Float64frombits),
		rapid.Map(rapid.Int64Range(-1000, 1000), func(i int64) float64 { return float64(i) / 10 }),
		rapid.Map(rapid.Int64(), func(i int64) float64 { return float64(i) }),
		rapid.SampledFrom([]float64{0, math.Copysign(0, -1), Absent, staleMarker, math.NaN(), math.Inf(1), math.Inf(-1), 1 << 53, 1<<53 + 2, 5e-324, 1e308}),
	)
	rapid.Check(t, func(t *rapid.T) {
		checkColumn(t, rapid.SliceOfN(value, 1, 300).Draw(t, "values"))
	})
}

func FuzzColumnDecode(f *testing.F) {
	var e columnEncoder
	for _, v := range [][]float64{{1}, {1, 2, 3, 5, 9, 14, 3, 8}, {Absent, 1.5, math.Inf(1), 2}, {math.Pi, math.E, 1e308}} {
		f.Add(e.encode(nil, v), uint16(len(v)))
	}
	long := make([]float64, 300)
	for i := range long {
		long[i] = float64(i*i%97) / 10
	}
	f.Add(e.encode(nil, long), uint16(300))
	for i := range long {
		long[i] = math.Sin(float64(i))
	}
	f.Add(e.encode(nil, long), uint16(300))
	var d columnDecoder
	f.Fuzz(func(t *testing.T, b []byte, n uint16) {
		got, err := d.decode(nil, b, int(n))
		if err == nil && len(got) != int(n) {
			t.Fatalf("%d values of %d without an error", len(got), n)
		}
	})
}

func TestTokens(t *testing.T) {
	for _, u := range []uint64{0, 1, 15, 16, 17, 31, 32, 1<<31 - 1, 1 << 32, 1<<53 + 12345, 1<<63 + 7, math.MaxUint64} {
		tok, extra, width := tokenOf(u)
		var w bitWriter
		w.put(5, 3) // so that the rest does not begin at a byte
		w.put(extra, width)
		w.flush()
		r := bitReader{b: w.b, pos: 3}
		if got := tokenBase[tok] | r.get(uint(tokenWidth[tok])); tok > maxToken || got != u || r.over() {
			t.Errorf("%d came back as %d (token %d)", u, got, tok)
		}
	}
}

package promapi

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
)

// plainFloat is a value as Prometheus writes it.
func plainFloat(f float64) string {
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return `"` + strconv.FormatFloat(f, format, -1, 64) + `"`
}

func FuzzAppendFloat(f *testing.F) {
	for _, v := range []float64{
		0, math.Copysign(0, -1), 1, -1, 0.1, 0.01, 0.001, 0.0005, 1.5, -13.89, 100, 1e14, 1e15, 999999999999.999, 1e21, 1e-7, 0.30000000000000004,
		math.MaxFloat64, math.SmallestNonzeroFloat64, math.NaN(), math.Inf(1), math.Inf(-1), 1.005, 123456789.987, 9007199254740993,
	} {
		f.Add(math.Float64bits(v))
	}
	f.Fuzz(func(t *testing.T, bits uint64) {
		v := math.Float64frombits(bits)
		if got, want := string(appendFloat(nil, v)), plainFloat(v); got != want {
			t.Errorf("%x is %s, want %s", bits, got, want)
		}
	})
}

// TestFewDecimals tries what agents send most: whole numbers, and those of few decimals.
func TestFewDecimals(t *testing.T) {
	for range 200_000 {
		v := float64(rand.Int64N(1<<rand.IntN(53)+1)-1<<10) / []float64{1, 10, 100, 1000, 1e4, 60}[rand.IntN(6)]
		if got, want := string(appendFloat(nil, v)), plainFloat(v); got != want {
			t.Fatalf("%v is %s, want %s", v, got, want)
		}
	}
}

func BenchmarkAppendFloat(b *testing.B) {
	var buf []byte
	for b.Loop() {
		buf = appendFloat(buf[:0], 13.89)
	}
}

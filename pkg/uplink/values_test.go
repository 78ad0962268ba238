package uplink

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// same compares bit by bit, so that NaN equals itself and -0 is not 0.
func same(a, b []float64) bool {
	return slices.EqualFunc(a, b, func(x, y float64) bool { return math.Float64bits(x) == math.Float64bits(y) })
}

// rows sends rows through both ends of the code and gives the length of each.
func rows(t interface {
	Helper()
	Fatalf(string, ...any)
}, in [][]float64,
) (sizes []int) {
	t.Helper()
	enc, dec := newColumns(len(in[0])), newColumns(len(in[0]))
	out := make([]float64, len(in[0]))
	for i, row := range in {
		b := appendRow(nil, enc, func(i int) float64 { return row[i] })
		if err := rowInto(b, dec, out); err != nil {
			t.Fatalf("row %d %v: %v", i, row, err)
		}
		if !same(row, out) {
			t.Fatalf("row %d: sent %v, came %v", i, row, out)
		}
		if !slices.Equal(enc, dec) {
			t.Fatalf("row %d: the ends disagree:\n%+v\n%+v", i, enc, dec)
		}
		sizes = append(sizes, len(b))
	}
	return sizes
}

func TestValuesExact(t *testing.T) {
	f := func(column ...float64) {
		t.Helper()
		in := make([][]float64, len(column))
		for i, v := range column {
			in[i] = []float64{v, 1}
		}
		rows(t, in)
	}
	nan, inf := math.NaN(), math.Inf(1)
	f(0, math.Copysign(0, -1), 0, 1, -1)
	f(nan, nan, 1, nan, 1, 2, 3, nan, 4)
	f(math.Float64frombits(nanBits^1), nan, math.Float64frombits(0xfff8000000000000), math.Float64frombits(0x7ff0000000000002))
	f(inf, -inf, 1, inf, math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64)
	f(1<<53, 1<<53+2, 1<<62, -1<<62, 1<<63, -1<<63, 1.8446744073709552e19, 1e300)
	f(0.1, 0.2, 0.30000000000000004, 1.0/3, math.Pi, 0.000001, 1e-12, 1e-13, 123456.789)
	f(4096, 8192, 4096*1000, 4097, 4098, 12288)
	f(1<<61, -1<<61, 1<<61, -1<<61, 3, 1<<61)
}

func TestValuesSmall(t *testing.T) {
	f := func(what string, want int, value func(i int) float64) {
		t.Helper()
		in := make([][]float64, 30)
		for i := range in {
			in[i] = []float64{value(i)}
		}
		sizes := rows(t, in)
		if got := sizes[29]; got != want {
			t.Errorf("%s: %d bytes, want %d (all: %v)", what, got, want, sizes)
		}
	}
	f("nothing new", 0, func(int) float64 { return 17.25 })
	f("still missing", 0, func(int) float64 { return math.NaN() })
	f("steady counter", 0, func(i int) float64 { return 1e9 + 15*float64(i) })
	f("nearly steady processor seconds", 2, func(i int) float64 { return float64(812_345+1480*i+i*i%13) / 100 })
	f("pages", 2, func(i int) float64 { return float64(4096 * (1_000_000 + i*i%61)) })
	f("microseconds", 2, func(i int) float64 { return float64(1200+i*i%3000) / 1e6 })
	f("any double", 11, func(i int) float64 { return math.Sqrt(float64(i + 2)) })
}

func TestValuesProperty(t *testing.T) {
	value := rapid.OneOf(
		rapid.Float64(),
		rapid.Custom(func(t *rapid.T) float64 { return math.Float64frombits(rapid.Uint64().Draw(t, "bits")) }),
		rapid.Custom(func(t *rapid.T) float64 { return float64(rapid.Int64().Draw(t, "int")) }),
		rapid.Custom(func(t *rapid.T) float64 {
			return float64(rapid.Int64Range(-1e6, 1e6).Draw(t, "n")) / pow10[rapid.IntRange(0, maxScale).Draw(t, "scale")]
		}),
		rapid.Custom(func(t *rapid.T) float64 { return float64(rapid.Int64Range(-1e6, 1e6).Draw(t, "page")) * 4096 }),
		rapid.SampledFrom([]float64{0, math.Copysign(0, -1), math.NaN(), math.Inf(1), 1, 2, 3, 4}),
	)
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 20).Draw(t, "columns")
		in := rapid.SliceOfN(rapid.SliceOfN(value, n, n), 1, 12).Draw(t, "rows")
		rows(t, in)
	})
}

// rowInto decodes a row and takes its values down.
func rowInto(b []byte, cols []column, out []float64) error {
	err := decodeRow(b, cols)
	for i := range cols {
		out[i] = math.Float64frombits(cols[i].bits)
	}
	return err
}

func TestDecodeRowRefuses(t *testing.T) {
	f := func(why string, row ...byte) {
		t.Helper()
		if err := decodeRow(row, newColumns(3)); err == nil {
			t.Errorf("%s: accepted", why)
		}
	}
	f("mark of a fourth column", 8)
	f("no token", 1)
	f("bytes behind", 0, 7)
	f("unknown control", 1, 0, 0x30)
	f("control cut off", 1, 0)
	f("raw value cut off", 1, 0, controlRaw, 1, 2, 3)
	f("step before a value", 1, 9)
	f("shift before a value", 1, 0, controlShift, 4)
	f("number too long", 1, 0, 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1)
}

// FuzzDecodeRow: no bytes make decodeRow panic, and what it accepts is a row that the other end could go on from.
func FuzzDecodeRow(f *testing.F) {
	f.Add([]byte{1, 0, 2, 200}, []byte{1, 5})
	f.Add([]byte{7, 0, controlNaN, 0, 0, 4, 0, controlRaw, 1, 2, 3, 4, 5, 6, 7, 8}, []byte{2, 0, controlShift, 3})
	f.Fuzz(func(t *testing.T, first, second []byte) {
		cols, out := newColumns(11), make([]float64, 11)
		if rowInto(first, cols, out) != nil || rowInto(second, cols, out) != nil {
			return
		}
		mine := slices.Clone(cols)
		next := slices.Clone(out)
		next[3], next[5] = next[3]+1, math.NaN()
		b := appendRow(nil, mine, func(i int) float64 { return next[i] })
		if err := rowInto(b, cols, out); err != nil || !same(next, out) {
			t.Errorf("%v: sent %v, came %v", err, next, out)
		}
	})
}

// FuzzValues: any three doubles in a row come back exactly.
func FuzzValues(f *testing.F) {
	f.Add([]byte("012345678901234567890123"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var in [][]float64
		for ; len(b) >= 8; b = b[8:] {
			in = append(in, []float64{math.Float64frombits(binary.LittleEndian.Uint64(b))})
		}
		if len(in) > 0 {
			rows(t, in)
		}
	})
}

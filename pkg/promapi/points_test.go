package promapi

import (
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql"
)

// plainTime is a time as Prometheus writes it.
func plainTime(ms int64) string {
	s := strconv.FormatFloat(math.Abs(float64(ms)/1000), 'f', 3, 64)
	s = strings.TrimSuffix(s, ".000")
	if ms < 0 {
		s = "-" + s
	}
	return s
}

// TestPointsArePlain holds points that lie and grow in any way against each of them written alone.
func TestPointsArePlain(t *testing.T) {
	for range 300 {
		at := []int64{0, -200_000, 1_700_000_000_000, 99_990, 999_999_999, -5, 4e15, -4e15}[rand.IntN(8)] + rand.Int64N(3)
		step := []int64{1, 15_000, 7_001, 86_400_000, 100_000}[rand.IntN(5)]
		var points []promql.FPoint
		var want []string
		v := 13.89
		for range rand.IntN(1000) {
			if rand.IntN(3) == 0 {
				v = []float64{
					0, math.Copysign(0, -1), math.NaN(), math.Inf(-1), rand.Float64(), float64(rand.IntN(100)) / 10, -1.2345678901234567e-6, -math.MaxFloat64,
					-math.SmallestNonzeroFloat64, -9.9999999999999987e20,
				}[rand.IntN(10)]
			}
			points = append(points, promql.FPoint{T: at, F: v})
			want = append(want, "["+plainTime(at)+","+plainFloat(v)+"]")
			at += step
		}
		w := httptest.NewRecorder()
		s := newSink(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if err := encodePoints(s, points); err != nil {
			t.Fatal(err)
		}
		text := ""
		if len(want) > 0 {
			text = `,"values":[` + strings.Join(want, ",") + "]"
		}
		if string(s.buf) != text {
			t.Fatalf("points from %d each %d ms:\ngot  %.300s\nwant %.300s", points[0].T, step, s.buf, text)
		}
		s.done()
	}
}

// BenchmarkPoints: a day of one series at 15 s, whose value changes every few points.
func BenchmarkPoints(b *testing.B) {
	points := make([]promql.FPoint, 5761)
	v := 1.25
	for i := range points {
		if i%4 == 0 {
			v = float64(rand.IntN(400)) / 100
		}
		points[i] = promql.FPoint{T: 1_700_000_000_000 + int64(i)*15_000, F: v}
	}
	s := newSink(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	for b.Loop() {
		s.buf = s.buf[:0]
		if err := encodePoints(s, points); err != nil {
			b.Fatal(err)
		}
	}
}

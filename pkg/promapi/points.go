package promapi

import (
	"math"
	"slices"
	"strconv"

	"github.com/prometheus/prometheus/promql"
)

const (
	spanMS  = 100_000 // of time, whose stamps share all digits but the last two of the seconds
	atATime = 256     // points between two looks at how much has gathered
)

// encodePoints writes the numbers of a series, if it has any.
func encodePoints(s *sink, points []promql.FPoint) error {
	w := pointWriter{lead: `,"values":[`}
	for some := range slices.Chunk(points, atATime) {
		b := s.buf
		for _, p := range some {
			b = w.append(b, p.T, p.F)
		}
		s.buf = b
		if err := s.spill(); err != nil {
			return err
		}
	}
	if len(points) > 0 {
		s.buf = append(s.buf, ']')
	}
	return nil
}

// pointWriter writes the points of one series. Neighbours share nearly all digits of their times, and often have the same
// value: what stays is copied, not worked out again.
type pointWriter struct {
	lead   string // of the next point
	spans  int64  // before the last point
	digits []byte // of spans; empty: none yet
	bits   uint64 // of the last value
	value  []byte // as it was written; empty: none yet
}

func (w *pointWriter) append(b []byte, ms int64, v float64) []byte {
	b = append(append(b, w.lead...), '[')
	w.lead = ","
	b = append(w.time(b, ms), ',')
	if bits := math.Float64bits(v); bits != w.bits || len(w.value) == 0 {
		w.bits, w.value = bits, appendFloat(w.value[:0], v)
	}
	return append(append(b, w.value...), ']')
}

// time is appendTime.
func (w *pointWriter) time(b []byte, ms int64) []byte {
	if ms < spanMS {
		return appendTime(b, ms)
	}
	spans := ms / spanMS
	if spans != w.spans || len(w.digits) == 0 {
		w.spans, w.digits = spans, strconv.AppendInt(w.digits[:0], spans, 10)
	}
	rest := int(ms - spans*spanMS)
	b = append(b, w.digits...)
	b = append(b, byte('0'+rest/10_000), byte('0'+rest/1000%10))
	if f := rest % 1000; f != 0 {
		b = append(b, '.', byte('0'+f/100), byte('0'+f/10%10), byte('0'+f%10))
	}
	return b
}

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

	headRoom  = 16 // `,[` and the digits of a span
	tailRoom  = 32 // `,"-0.0000012345678901234567"]` and less
	pointRoom = headRoom + len("00.000") + tailRoom
)

// encodePoints writes the numbers of a series, if it has any.
func encodePoints(s *sink, points []promql.FPoint) error {
	if len(points) == 0 {
		return nil
	}
	var w pointWriter
	s.buf = append(s.buf, `,"values":`...)
	opened := len(s.buf)
	for some := range slices.Chunk(points, atATime) {
		b := slices.Grow(s.buf, len(some)*pointRoom)
		for _, p := range some {
			b = w.append(b, p.T, p.F)
		}
		if opened > 0 {
			b[opened], opened = '[', 0 // for the first point's comma
		}
		s.buf = b
		if err := s.spill(); err != nil {
			return err
		}
	}
	s.buf = append(s.buf, ']')
	return nil
}

// pointWriter writes the points of one series. Neighbours share nearly all digits of their times, and often have the same
// value: what stays is copied, not worked out again.
type pointWriter struct {
	from  int64          // the first ms of the last point's span
	head  [headRoom]byte // what a point of it begins with
	nhead int            // 0: no span yet
	bits  uint64         // the last value's
	tail  [tailRoom]byte // what a point with it ends with
	ntail int            // 0: no value yet
}

// append writes a comma and a point; b must have pointRoom to spare. Heads and tails are copied with what lies behind
// them, for a copy of known length is an instruction or two.
func (w *pointWriter) append(b []byte, ms int64, v float64) []byte {
	if bits := math.Float64bits(v); bits != w.bits || w.ntail == 0 {
		tail := append(appendFloat(append(w.tail[:0], ','), v), ']')
		w.bits, w.ntail = bits, len(tail)
	}
	n := len(b)
	switch {
	case ms < spanMS:
		b = appendTime(append(b, ',', '['), ms)
		n = len(b)
	default:
		rest := uint64(ms - w.from)
		if rest >= spanMS || w.nhead == 0 {
			rest = w.span(ms)
		}
		b = b[:n+headRoom+tailRoom]
		*(*[headRoom]byte)(b[n:]) = w.head
		n += w.nhead
		second := rest / 1000
		b[n], b[n+1] = byte('0'+second/10), byte('0'+second%10)
		n += 2
		if f := rest - second*1000; f != 0 {
			b[n], b[n+1], b[n+2], b[n+3] = '.', byte('0'+f/100), byte('0'+f/10%10), byte('0'+f%10)
			n += 4
		}
	}
	b = b[:n+tailRoom]
	*(*[tailRoom]byte)(b[n:]) = w.tail
	return b[:n+w.ntail]
}

// span begins another one and returns how far in it a time is.
func (w *pointWriter) span(ms int64) uint64 {
	span := ms / spanMS
	w.from, w.nhead = span*spanMS, len(strconv.AppendInt(append(w.head[:0], ',', '['), span, 10))
	return uint64(ms - w.from)
}

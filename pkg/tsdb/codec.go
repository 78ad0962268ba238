package tsdb

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
	"slices"

	"github.com/klauspost/compress/fse"
)

// A column is the values of one series in one block, some of which may be Absent. Its bytes:
//
//	tag: scale<<4 | present<<3 | exceptions<<2 | mode      (scale 15: raw)
//	[present: runs of absent and present values, in turn]
//	[exceptions: count, then gap and 8 bytes each]
//	first value, divisor<<2 | packing (0: all values are the first), [mode 2: first step]
//	tokens, raw bits
//
// or, where values are no short decimals, the bytes of each value XORed with the one before, plane by plane.
const (
	tagMode       = 3
	tagExceptions = 4
	tagPresence   = 8
	scaleRaw      = 15
)

// How residuals were made.
const (
	modeValue = iota // distance from the first value
	modeDelta
	modeDelta2
)

// How a run of bytes is packed.
const (
	packFSE = iota + 1
	packSame
	packPlain
)

// exceptionShare is the part of a column that may be no decimal of its scale.
const exceptionShare = 16

var errColumn = errors.New("column is damaged")

var pow10 = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

type exception struct {
	at   int
	bits uint64
}

// columnEncoder holds the scratch of encoding; it is not for concurrent use.
type columnEncoder struct {
	have       []float64
	ints       []int64
	d0, d1, d2 []int64
	tokens     []byte
	bits       bitWriter
	exceptions []exception
	fse        fse.Scratch
}

// encode appends the column of v to dst.
func (e *columnEncoder) encode(dst []byte, v []float64) []byte {
	tagAt := len(dst)
	dst = append(dst, 0)
	have, absent := e.present(v)
	if absent {
		dst[tagAt] |= tagPresence
		dst = appendRuns(dst, v)
		if len(have) == 0 {
			return dst
		}
	}
	scale, ok := e.scale(have)
	if !ok {
		dst[tagAt] |= scaleRaw << 4
		return e.planes(dst, have)
	}
	dst[tagAt] |= byte(scale << 4)
	if len(e.exceptions) > 0 {
		dst[tagAt] |= tagExceptions
		dst = appendExceptions(dst, e.exceptions)
	}
	dst, mode := e.integers(dst, e.ints)
	dst[tagAt] |= mode
	return dst
}

// present is v without its absent values.
func (e *columnEncoder) present(v []float64) (have []float64, absent bool) {
	i := slices.IndexFunc(v, IsAbsent)
	if i < 0 {
		return v, false
	}
	e.have = append(e.have[:0], v[:i]...)
	for _, x := range v[i:] {
		if !IsAbsent(x) {
			e.have = append(e.have, x)
		}
	}
	return e.have, true
}

func appendRuns(dst []byte, v []float64) []byte {
	run, present := uint64(0), false
	for _, x := range v {
		if IsAbsent(x) == present {
			dst = binary.AppendUvarint(dst, run)
			run, present = 0, !present
		}
		run++
	}
	return binary.AppendUvarint(dst, run)
}

func appendExceptions(dst []byte, ex []exception) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ex)))
	last := 0
	for _, x := range ex {
		dst = binary.AppendUvarint(dst, uint64(x.at-last))
		dst = binary.LittleEndian.AppendUint64(dst, x.bits)
		last = x.at
	}
	return dst
}

// decimal is x as an integer of 1/p, if it divides back to the same bits.
func decimal(x, p float64) (int64, bool) {
	m := x * p
	if !(m < 1<<53 && m > -(1<<53)) {
		return 0, false
	}
	q := int64(math.RoundToEven(m))
	return q, math.Float64bits(float64(q)/p) == math.Float64bits(x) // by way of q, which has no -0
}

// scale finds the decimal scale that makes all values but a few into integers, left in e.ints with
// the value before in an exception's place.
func (e *columnEncoder) scale(v []float64) (int, bool) {
	limit, bad, s := len(v)/exceptionShare, 0, 0
	for _, x := range v {
		if _, ok := decimal(x, pow10[s]); ok {
			continue
		}
		more := s + 1
		for ; more < len(pow10); more++ {
			if _, ok := decimal(x, pow10[more]); ok {
				break
			}
		}
		if more < len(pow10) {
			s = more
		} else if bad++; bad > limit {
			return 0, false
		}
	}
	return s, e.scaled(v, pow10[s], limit)
}

func (e *columnEncoder) scaled(v []float64, p float64, limit int) bool {
	e.ints, e.exceptions = slices.Grow(e.ints[:0], len(v)), e.exceptions[:0]
	last, started := int64(0), false
	for i, x := range v {
		q, ok := decimal(x, p)
		if !ok {
			if len(e.exceptions) == limit {
				return false
			}
			e.exceptions = append(e.exceptions, exception{i, math.Float64bits(x)})
			q = last
		} else if !started {
			// exceptions at the start take the first sound value, so that they cost no step
			started = true
			for j := range e.ints {
				e.ints[j] = q
			}
		}
		e.ints = append(e.ints, q)
		last = q
	}
	return true
}

// integers appends q as its first value and small residuals, packed.
func (e *columnEncoder) integers(dst []byte, q []int64) ([]byte, byte) {
	dst = binary.AppendVarint(dst, q[0])
	divisor := e.deltas(q)
	if divisor == 0 {
		return append(dst, 0), modeValue
	}
	mode, residuals := e.cheapest(q, int64(divisor))
	e.tokens, e.bits.b = e.tokens[:0], e.bits.b[:0]
	for _, x := range residuals {
		t, extra, width := tokenOf(zigzag(x))
		e.tokens = append(e.tokens, t)
		if width > 0 {
			e.bits.put(extra, width)
		}
	}
	e.bits.flush()
	pack, body := e.pack(e.tokens)
	dst = binary.AppendUvarint(dst, divisor<<2|uint64(pack))
	if mode == modeDelta2 {
		dst = binary.AppendVarint(dst, e.d1[0])
	}
	dst = appendPacked(dst, pack, body)
	return append(dst, e.bits.b...), mode
}

// deltas leaves the steps of q in e.d1, divided by their common divisor, which is 0 when nothing moves.
func (e *columnEncoder) deltas(q []int64) uint64 {
	e.d1 = slices.Grow(e.d1[:0], len(q))
	var g uint64
	for i := 1; i < len(q); i++ {
		d := q[i] - q[i-1]
		e.d1 = append(e.d1, d)
		if g != 1 {
			g = gcd(magnitude(d), g)
		}
	}
	if g > 1 {
		for i := range e.d1 {
			e.d1[i] /= int64(g)
		}
	}
	return g
}

// cheapest picks values, steps, or steps of steps, by the bits they need.
func (e *columnEncoder) cheapest(q []int64, divisor int64) (byte, []int64) {
	e.d0, e.d2 = slices.Grow(e.d0[:0], len(q)), slices.Grow(e.d2[:0], len(q))
	c0, c1, c2, sum := 0, 0, 0, int64(0)
	for i, d := range e.d1 {
		sum += d
		e.d0 = append(e.d0, sum)
		c0 += bits.Len64(zigzag(sum))
		c1 += bits.Len64(zigzag(d))
		if i > 0 {
			dd := d - e.d1[i-1]
			e.d2 = append(e.d2, dd)
			c2 += bits.Len64(zigzag(dd))
		}
	}
	switch {
	case c0 <= c1 && c0 <= c2:
		return modeValue, e.d0
	case c2+8 < c1:
		return modeDelta2, e.d2
	default:
		return modeDelta, e.d1
	}
}

// pack shrinks bytes by finite state entropy where that helps.
func (e *columnEncoder) pack(b []byte) (byte, []byte) {
	e.fse.MaxSymbolValue, e.fse.TableLog = 0, 10
	out, err := fse.Compress(b, &e.fse)
	switch {
	case errors.Is(err, fse.ErrUseRLE):
		return packSame, b[:1]
	case err != nil || len(out) >= len(b):
		return packPlain, b
	default:
		return packFSE, out
	}
}

func appendPacked(dst []byte, pack byte, body []byte) []byte {
	if pack == packFSE {
		dst = binary.AppendUvarint(dst, uint64(len(body)))
	}
	return append(dst, body...)
}

// planes appends doubles as they are.
func (e *columnEncoder) planes(dst []byte, v []float64) []byte {
	kinds := len(dst)
	dst = append(dst, 0, 0)
	for k := range 8 {
		e.tokens = e.tokens[:0]
		last := uint64(0)
		for _, x := range v {
			u := math.Float64bits(x)
			e.tokens = append(e.tokens, byte((u^last)>>(56-8*k)))
			last = u
		}
		pack, body := e.pack(e.tokens)
		dst[kinds+k/4] |= pack << (2 * (k % 4))
		dst = appendPacked(dst, pack, body)
	}
	return dst
}

package tsdb

import (
	"fmt"
	"math"
	"slices"

	"github.com/klauspost/compress/fse"
)

// columnDecoder holds the scratch of decoding; it is not for concurrent use.
type columnDecoder struct {
	fse    fse.Scratch
	same   []byte
	have   []float64
	ints   []int64
	plane  []uint64
	exAt   []int
	exBits []uint64
}

// decode appends the n values of a column to dst. Arbitrary bytes give an error or some values, never a panic.
func (d *columnDecoder) decode(dst []float64, b []byte, n int) ([]float64, error) {
	return d.part(dst, b, n, 0, n)
}

// part appends the values from lo up to hi of the n of a column.
func (d *columnDecoder) part(dst []float64, b []byte, n, lo, hi int) ([]float64, error) {
	r := &reader{b: b}
	tag := r.u8()
	if n > 0 && tag&tagPresence == 0 && tag>>4 != scaleRaw {
		return d.decimals(dst, r, tag, n, lo, hi)
	}
	at := len(dst)
	dst, err := d.present(dst, r, tag, n)
	if err != nil {
		return dst, err
	}
	return append(dst[:at], dst[at+lo:at+hi]...), nil
}

// present appends all values of a column, some of which may be absent.
func (d *columnDecoder) present(dst []float64, r *reader, tag byte, n int) ([]float64, error) {
	if tag&tagPresence == 0 {
		return d.values(dst, r, tag, n)
	}
	runs := *r
	present := skipRuns(r, n)
	if r.bad {
		return dst, fmt.Errorf("presence: %w", errColumn)
	}
	have, err := d.values(d.have[:0], r, tag, present)
	if err != nil {
		return dst, err
	}
	d.have = have
	for left, on := n, false; left > 0; on = !on {
		run := runs.count(left)
		left -= run
		if on {
			dst, have = append(dst, have[:run]...), have[run:]
			continue
		}
		for range run {
			dst = append(dst, Absent)
		}
	}
	return dst, nil
}

// skipRuns reads over the presence runs of n values and counts the present ones.
func skipRuns(r *reader, n int) (present int) {
	on, idle := false, 0
	for n > 0 && !r.bad {
		run := r.count(n)
		if on {
			present += run
		}
		if run > 0 {
			idle = 0
		} else if idle++; idle > 1 { // without end otherwise
			r.fail()
		}
		n, on = n-run, !on
	}
	return present
}

func (d *columnDecoder) values(dst []float64, r *reader, tag byte, n int) ([]float64, error) {
	if n == 0 {
		return dst, nil
	}
	if tag>>4 == scaleRaw {
		return d.unplane(dst, r, n)
	}
	return d.decimals(dst, r, tag, n, 0, n)
}

// decimals appends the values from lo up to hi of n that are integers and a scale.
func (d *columnDecoder) decimals(dst []float64, r *reader, tag byte, n, lo, hi int) ([]float64, error) {
	scale := int(tag >> 4)
	if scale >= len(pow10) {
		return dst, fmt.Errorf("scale %d: %w", scale, errColumn)
	}
	if tag&tagExceptions != 0 {
		d.readExceptions(r, n)
	} else {
		d.exAt, d.exBits = d.exAt[:0], d.exBits[:0]
	}
	q, err := d.integers(d.ints[:0], r, tag&tagMode, n)
	if err != nil {
		return dst, err
	}
	d.ints = q
	at := len(dst)
	dst = slices.Grow(dst, hi-lo)[:at+hi-lo]
	out, p := dst[at:], pow10[scale]
	for i, x := range q[lo:hi] {
		out[i] = float64(x)
	}
	if p != 1 {
		for i := range out {
			out[i] /= p
		}
	}
	for i, k := range d.exAt {
		if k >= lo && k < hi {
			out[k-lo] = math.Float64frombits(d.exBits[i])
		}
	}
	return dst, nil
}

func (d *columnDecoder) readExceptions(r *reader, n int) {
	d.exAt, d.exBits = d.exAt[:0], d.exBits[:0]
	at := 0
	for range r.count(n) {
		at += r.count(n)
		u := r.u64()
		if r.bad || at >= n {
			r.fail()
			return
		}
		d.exAt, d.exBits = append(d.exAt, at), append(d.exBits, u)
	}
}

// integers reads what columnEncoder.integers wrote.
func (d *columnDecoder) integers(dst []int64, r *reader, mode byte, n int) ([]int64, error) {
	first, word := r.varint(), r.uvarint()
	if r.bad {
		return dst, fmt.Errorf("integers: %w", errColumn)
	}
	dst = slices.Grow(dst, n)
	if word == 0 {
		for range n {
			dst = append(dst, first)
		}
		return dst, nil
	}
	step, left := int64(0), n-1
	if mode == modeDelta2 {
		step, left = r.varint(), n-2
	}
	if r.bad || left < 0 || mode > modeDelta2 {
		return dst, fmt.Errorf("integers: %w", errColumn)
	}
	tokens, err := d.unpack(r, byte(word&3), left)
	if err != nil {
		return dst, err
	}
	return sumUp(dst, tokens, r, sums{mode: mode, first: first, step: step, divisor: int64(word >> 2)})
}

type sums struct {
	mode                 byte
	first, step, divisor int64
}

// sumUp turns residuals back into values, by way of a table of the small ones, which are nearly all.
func sumUp(dst []int64, tokens []byte, r *reader, s sums) ([]int64, error) {
	raw := bitReader{b: r.b}
	var small [tokenSplit]int64
	for t := range small {
		small[t] = unzigzag(uint64(t)) * s.divisor
	}
	x, step := s.first, s.step*s.divisor
	dst = append(dst, x)
	if s.mode == modeDelta2 {
		x += step
		dst = append(dst, x)
	}
	out := dst[len(dst) : len(dst)+len(tokens)]
	for i, t := range tokens {
		var d int64
		if t < tokenSplit {
			d = small[t]
		} else if t <= maxToken {
			d = unzigzag(tokenBase[t]|raw.get(uint(tokenWidth[t]))) * s.divisor
		} else {
			return dst, fmt.Errorf("token %d: %w", t, errColumn)
		}
		switch s.mode {
		case modeValue:
			x = s.first + d
		case modeDelta:
			x += d
		default:
			step += d
			x += step
		}
		out[i] = x
	}
	if raw.over() {
		return dst, fmt.Errorf("raw bits: %w", errColumn)
	}
	return dst[:len(dst)+len(tokens)], nil
}

// unpack reads n packed bytes; they are good until the next call.
func (d *columnDecoder) unpack(r *reader, pack byte, n int) ([]byte, error) {
	switch pack {
	case packFSE:
		body := r.bytes(r.count(len(r.b)))
		if r.bad {
			break
		}
		d.fse.DecompressLimit = n + 1
		out, err := fse.Decompress(body, &d.fse)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errColumn, err)
		}
		if len(out) != n {
			break
		}
		return out, nil
	case packSame:
		c := r.u8()
		d.same = slices.Grow(d.same[:0], n)[:n]
		for i := range d.same {
			d.same[i] = c
		}
		if !r.bad {
			return d.same, nil
		}
	case packPlain:
		if out := r.bytes(n); !r.bad {
			return out, nil
		}
	}
	return nil, fmt.Errorf("packing %d: %w", pack, errColumn)
}

func (d *columnDecoder) unplane(dst []float64, r *reader, n int) ([]float64, error) {
	kinds := uint(r.u8()) | uint(r.u8())<<8
	d.plane = slices.Grow(d.plane[:0], n)[:n]
	clear(d.plane)
	for k := range 8 {
		b, err := d.unpack(r, byte(kinds>>(2*k)&3), n)
		if err != nil {
			return dst, err
		}
		for i, c := range b {
			d.plane[i] |= uint64(c) << (56 - 8*k)
		}
	}
	last := uint64(0)
	for _, u := range d.plane {
		last ^= u
		dst = append(dst, math.Float64frombits(last))
	}
	return dst, nil
}

package tsdb

import (
	"encoding/binary"
	"math/bits"
)

// Integers become a token and raw bits: below tokenSplit the value is its own token; above, the token
// holds the bit length and the first bit after the leading one, and the rest goes raw.
const (
	tokenSplit = 16
	maxToken   = tokenSplit + (63-4)<<1 + 1
)

func tokenOf(u uint64) (token byte, extra uint64, width uint) {
	if u < tokenSplit {
		return byte(u), 0, 0
	}
	top := uint(bits.Len64(u)) - 1
	width = top - 1
	return byte(tokenSplit + (top-4)<<1 + uint(u>>width)&1), u & (1<<width - 1), width
}

// tokenBase and tokenWidth give back what tokenOf took apart.
var tokenBase, tokenWidth = tokenTables()

func tokenTables() (base [256]uint64, width [256]uint8) {
	for t := range maxToken + 1 {
		if t < tokenSplit {
			base[t] = uint64(t)
			continue
		}
		top := uint(t-tokenSplit)>>1 + 4
		width[t] = uint8(top - 1)
		base[t] = (2 | uint64(t-tokenSplit)&1) << (top - 1)
	}
	return base, width
}

func zigzag(x int64) uint64   { return uint64(x<<1) ^ uint64(x>>63) }
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func magnitude(x int64) uint64 {
	if x < 0 {
		return -uint64(x)
	}
	return uint64(x)
}

// bitWriter appends bits, lowest first.
type bitWriter struct {
	b   []byte
	acc uint64
	n   uint
}

func (w *bitWriter) put(v uint64, n uint) {
	if n > 32 {
		w.put(v&0xffffffff, 32)
		v, n = v>>32, n-32
	}
	w.acc |= v << w.n
	for w.n += n; w.n >= 8; w.n -= 8 {
		w.b = append(w.b, byte(w.acc))
		w.acc >>= 8
	}
}

func (w *bitWriter) flush() {
	if w.n > 0 {
		w.b = append(w.b, byte(w.acc))
	}
	w.acc, w.n = 0, 0
}

// bitReader reads what bitWriter wrote. Past the end it gives zeros; over tells.
type bitReader struct {
	b   []byte
	pos uint
}

func (r *bitReader) get(n uint) uint64 {
	i, shift := r.pos>>3, r.pos&7
	r.pos += n
	var w uint64
	if i+8 <= uint(len(r.b)) {
		w = binary.LittleEndian.Uint64(r.b[i:]) >> shift
		if n+shift > 64 && i+8 < uint(len(r.b)) {
			w |= uint64(r.b[i+8]) << (64 - shift)
		}
	} else {
		for j := i; j < uint(len(r.b)); j++ {
			w |= uint64(r.b[j]) << (8 * (j - i))
		}
		w >>= shift
	}
	return w & (1<<n - 1)
}

func (r *bitReader) over() bool { return r.pos > uint(len(r.b))*8 }

// reader takes apart outside bytes; the first fault sticks and every later read gives zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count is a uvarint that may not exceed most.
func (r *reader) count(most int) int {
	v := r.uvarint()
	if v > uint64(most) {
		r.fail()
		return 0
	}
	return int(v)
}

func (r *reader) bytes(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.fail()
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) u8() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *reader) fail() { r.b, r.bad = nil, true }

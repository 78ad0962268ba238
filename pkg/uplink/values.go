package uplink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
)

// The column code writes a row of float64 against the row before it, exactly, and needs the same history on both ends.
//
// Each column remembers its last value as an integer n with value = n / 10^scale. It foretells the next one: the same
// again, or the same step again where that has been the better guess. A row is a bit for each column, 1 where the guess
// is wrong (least significant bit first), then a token for each of those columns in order:
//
//	uvarint t > 0   n is the guess plus unzigzag(t-1) << shift
//	0, control      as the control byte says:
//	  0 … 12          the scale is the control byte, then uvarint zigzag(n); shift becomes n's trailing zero bits
//	  0x20            NaN with the bits of math.NaN
//	  0x21            any value, eight bytes little endian
//	  0x22            uvarint zigzag(n - guess), after which shift shrinks to its trailing zero bits
//
// A row that is all as foretold is empty. The shift makes pages and sectors cheap, the scale hundredths and microseconds.
const (
	maxScale     = 12
	maxShift     = 20
	controlNaN   = 0x20
	controlRaw   = 0x21
	controlShift = 0x22
	unset        = 0xff // scale of a column that has had no integer yet
)

var pow10 = [maxScale + 1]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12}

var nanBits = math.Float64bits(math.NaN())

var errValues = errors.New("bad values")

// column is the history of one series.
type column struct {
	bits  uint64 // of the last value
	n     int64  // last integer
	step  int64  // how far it was from the one before
	held  bool   // the last value was no integer; n is of the one before
	trend int8   // above 0 while steps repeat
	scale uint8
	shift uint8
}

func newColumns(n int) []column {
	cols := make([]column, n)
	for i := range cols {
		cols[i] = column{scale: unset, held: true}
	}
	return cols
}

// guess is the integer foretold, and the bits of its value.
func (c *column) guess() (int64, uint64) {
	n := c.n
	if !c.held && c.trend > 0 {
		n += c.step
	}
	if c.held || n == c.n {
		return n, c.bits
	}
	return n, math.Float64bits(unscaled(n, c.scale))
}

// take makes n the last integer.
func (c *column) take(n int64, b uint64) {
	step := n - c.n
	if !c.held {
		switch still, steady := bits.Len64(zigzag(step)), bits.Len64(zigzag(step-c.step)); {
		case steady < still:
			c.trend = min(c.trend+1, 2)
		case steady > still:
			c.trend = max(c.trend-1, -2)
		}
		c.step = step
	}
	c.n, c.bits, c.held = n, b, false
}

// hold makes a value that is no integer the last one.
func (c *column) hold(b uint64) { c.bits, c.held = b, true }

// settle is what both ends do with a value that came as foretold.
func (c *column) settle(n int64, b uint64) {
	if !c.held {
		c.take(n, b)
	}
}

// begin gives the column a scale and its first integer at it.
func (c *column) begin(scale uint8, n int64, b uint64) {
	*c = column{bits: b, n: n, scale: scale, shift: trailing(n)}
}

func trailing(n int64) uint8 { return uint8(min(bits.TrailingZeros64(uint64(n)), maxShift)) }

func zigzag(n int64) uint64   { return uint64(n<<1) ^ uint64(n>>63) }
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

func unscaled(n int64, scale uint8) float64 {
	if scale == 0 || scale > maxScale {
		return float64(n)
	}
	return float64(n) / pow10[scale]
}

// scaled is v as an integer at a scale, if that gives v back bit by bit.
func scaled(v float64, scale uint8) (int64, bool) {
	const limit = 1 << 53
	r := math.RoundToEven(v * pow10[scale])
	if !(r > -limit && r < limit) {
		if scale > 0 || !(v > -1<<62 && v < 1<<62) {
			return 0, false
		}
	}
	n := int64(r)
	return n, math.Float64bits(unscaled(n, scale)) == math.Float64bits(v)
}

func findScale(v float64) (uint8, int64, bool) {
	for s := range uint8(maxScale + 1) {
		if n, ok := scaled(v, s); ok {
			return s, n, true
		}
	}
	return 0, 0, false
}

// appendRow appends the code of a row of as many values as there are columns. value gives the i-th.
func appendRow(b []byte, cols []column, value func(i int) float64) []byte {
	start := len(b)
	b = append(b, make([]byte, (len(cols)+7)/8)...)
	wrong := false
	for i := range cols {
		c, v := &cols[i], value(i)
		guess, bits := c.guess()
		if math.Float64bits(v) == bits {
			c.settle(guess, bits)
			continue
		}
		wrong = true
		b[start+i/8] |= 1 << (i % 8)
		b = c.appendToken(b, guess, v)
	}
	if !wrong {
		return b[:start]
	}
	return b
}

func (c *column) appendToken(b []byte, guess int64, v float64) []byte {
	vb := math.Float64bits(v)
	if c.scale != unset {
		if n, ok := scaled(v, c.scale); ok {
			return c.appendStep(b, guess, n, vb)
		}
	}
	if scale, n, ok := findScale(v); ok {
		c.begin(scale, n, vb)
		return binary.AppendUvarint(append(b, 0, scale), zigzag(n))
	}
	c.hold(vb)
	if vb == nanBits {
		return append(b, 0, controlNaN)
	}
	return binary.LittleEndian.AppendUint64(append(b, 0, controlRaw), vb)
}

func (c *column) appendStep(b []byte, guess, n int64, vb uint64) []byte {
	off := n - guess
	if t := zigzag(off >> c.shift); off>>c.shift<<c.shift == off && t != math.MaxUint64 {
		b = binary.AppendUvarint(b, t+1)
	} else {
		c.shift = min(c.shift, trailing(off))
		b = binary.AppendUvarint(append(b, 0, controlShift), zigzag(off))
	}
	c.take(n, vb)
	return b
}

// decodeRow reads a row: the values are then the columns' bits. After an error the columns are of no more use.
func decodeRow(row []byte, cols []column) error {
	marks := (len(cols) + 7) / 8
	if len(row) == 0 { // all as foretold
		for i := range cols {
			c := &cols[i]
			c.settle(c.guess())
		}
		return nil
	}
	if len(row) < marks {
		return fmt.Errorf("row of %d bytes for %d columns: %w", len(row), len(cols), errValues)
	}
	r := rowReader{row[marks:]}
	for i := range cols {
		c := &cols[i]
		guess, bits := c.guess()
		if row[i/8]&(1<<(i%8)) == 0 {
			c.settle(guess, bits)
		} else if err := r.token(c, guess); err != nil {
			return fmt.Errorf("column %d: %w", i, err)
		}
	}
	if len(r.rest) > 0 || len(cols)%8 != 0 && row[marks-1]>>(len(cols)%8) != 0 {
		return fmt.Errorf("%d bytes too many: %w", len(r.rest), errValues)
	}
	return nil
}

type rowReader struct{ rest []byte }

func (r *rowReader) uvarint() (uint64, error) {
	u, n := binary.Uvarint(r.rest)
	if n <= 0 {
		return 0, fmt.Errorf("number cut off: %w", errValues)
	}
	r.rest = r.rest[n:]
	return u, nil
}

func (r *rowReader) token(c *column, guess int64) error {
	t, err := r.uvarint()
	if err != nil {
		return err
	}
	if t == 0 {
		return r.control(c, guess)
	}
	if c.scale == unset {
		return fmt.Errorf("step before a first value: %w", errValues)
	}
	n := guess + unzigzag(t-1)<<c.shift
	c.take(n, math.Float64bits(unscaled(n, c.scale)))
	return nil
}

func (r *rowReader) control(c *column, guess int64) error {
	if len(r.rest) == 0 {
		return fmt.Errorf("control cut off: %w", errValues)
	}
	kind := r.rest[0]
	r.rest = r.rest[1:]
	switch {
	case kind == controlNaN:
		c.hold(nanBits)
		return nil
	case kind == controlRaw:
		if len(r.rest) < 8 {
			return fmt.Errorf("raw value cut off: %w", errValues)
		}
		c.hold(binary.LittleEndian.Uint64(r.rest))
		r.rest = r.rest[8:]
		return nil
	case kind != controlShift && kind > maxScale, kind == controlShift && c.scale == unset:
		return fmt.Errorf("control %#x: %w", kind, errValues)
	}
	u, err := r.uvarint()
	if err != nil {
		return err
	}
	n := unzigzag(u)
	if kind != controlShift {
		c.begin(kind, n, math.Float64bits(unscaled(n, kind)))
		return nil
	}
	c.shift = min(c.shift, trailing(n))
	c.take(guess+n, math.Float64bits(unscaled(guess+n, c.scale)))
	return nil
}

package tsdb

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
)

// A block holds the rows of one stream over one stretch of time, column by column:
//
//	version, flags, schema, rows, columns, first ms, step, [stamps: length, deviations from the grid],
//	length of each column, columns, CRC32C over key and all of this
const (
	blockVersion   = 1
	blockIrregular = 1 // flag: the stamps are not on a grid
)

// Caps of a block that is read; a full day of 1 s rows fits.
const (
	maxBlockRows = 1 << 17
	maxBlockCols = 1 << 12
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(key, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, body)
}

// blockEncoder turns rows into blocks; it is not for concurrent use.
type blockEncoder struct {
	columnEncoder
	column  []float64
	devs    []int64
	lengths []int
	body    []byte
}

// encode makes the block of rows (row-major, cols wide) at rising stamps, bound to its key.
func (e *blockEncoder) encode(key []byte, schema uint32, stamps []int64, rows []float64) []byte {
	n := len(stamps)
	cols := len(rows) / n
	e.body, e.lengths = e.body[:0], e.lengths[:0]
	for c := range cols {
		e.column = e.column[:0]
		for i := c; i < len(rows); i += cols {
			e.column = append(e.column, rows[i])
		}
		before := len(e.body)
		e.body = e.columnEncoder.encode(e.body, e.column)
		e.lengths = append(e.lengths, len(e.body)-before)
	}
	b := e.header(schema, stamps, cols)
	for _, n := range e.lengths {
		b = binary.AppendUvarint(b, uint64(n))
	}
	b = slices.Grow(b, len(e.body)+4)
	b = append(b, e.body...)
	return binary.LittleEndian.AppendUint32(b, checksum(key, b))
}

func (e *blockEncoder) header(schema uint32, stamps []int64, cols int) []byte {
	n := int64(len(stamps))
	step := int64(0)
	if n > 1 {
		step = (stamps[n-1] - stamps[0] + (n-1)/2) / (n - 1)
	}
	e.devs = e.devs[:0]
	flags := byte(0)
	for i, t := range stamps {
		dev := t - stamps[0] - int64(i)*step
		e.devs = append(e.devs, dev)
		if dev != 0 {
			flags = blockIrregular
		}
	}
	b := make([]byte, 0, 64+2*cols)
	b = append(b, blockVersion, flags)
	b = binary.AppendUvarint(b, uint64(schema))
	b = binary.AppendUvarint(b, uint64(n))
	b = binary.AppendUvarint(b, uint64(cols))
	b = binary.AppendVarint(b, stamps[0])
	b = binary.AppendVarint(b, step)
	if flags == 0 {
		return b
	}
	devs, mode := e.integers(nil, e.devs)
	b = binary.AppendUvarint(b, uint64(len(devs)+1))
	b = append(b, mode)
	return append(b, devs...)
}

// block is an opened block; it points into the bytes it was opened from.
type block struct {
	schema      uint32
	rows        int
	first, step int64
	devs        []byte
	columns     [][]byte
}

// openBlock takes a block apart, checking it against its key.
func openBlock(key, b []byte) (block, error) {
	var k block
	if len(b) < 5 {
		return k, fmt.Errorf("block %x: %d bytes: %w", key, len(b), ErrCorrupt)
	}
	if b[0] > blockVersion {
		return k, fmt.Errorf("block %x: version %d, this program knows up to %d: %w", key, b[0], blockVersion, ErrNewer)
	}
	body := b[:len(b)-4]
	if checksum(key, body) != binary.LittleEndian.Uint32(b[len(b)-4:]) {
		return k, fmt.Errorf("block %x: checksum: %w", key, ErrCorrupt)
	}
	if err := k.parse(body); err != nil {
		return k, fmt.Errorf("block %x: %w", key, err)
	}
	return k, nil
}

func (k *block) parse(body []byte) error {
	r := &reader{b: body}
	version, flags := r.u8(), r.u8()
	k.schema = uint32(r.count(1<<32 - 1))
	k.rows = r.count(maxBlockRows)
	cols := r.count(maxBlockCols)
	k.first, k.step = r.varint(), r.varint()
	if flags&blockIrregular != 0 {
		k.devs = r.bytes(r.count(len(r.b)))
		r.bad = r.bad || len(k.devs) == 0
	}
	if r.bad || version != blockVersion || k.rows == 0 || cols > len(r.b) {
		return fmt.Errorf("header: %w", ErrCorrupt)
	}
	k.columns = make([][]byte, cols)
	lengths := make([]int, cols)
	for c := range lengths {
		lengths[c] = r.count(len(r.b))
	}
	for c, n := range lengths {
		k.columns[c] = r.bytes(n)
	}
	if r.bad || len(r.b) > 0 {
		return fmt.Errorf("columns: %w", ErrCorrupt)
	}
	return nil
}

// blockDecoder reads the parts of an open block; it is not for concurrent use.
type blockDecoder struct{ columnDecoder }

// stamps appends the block's stamps to dst.
func (d *blockDecoder) stamps(dst []int64, k *block) ([]int64, error) {
	at := len(dst)
	if k.devs == nil {
		for i := range k.rows {
			dst = append(dst, k.first+int64(i)*k.step)
		}
		return dst, nil
	}
	dst, err := d.integers(dst, &reader{b: k.devs[1:]}, k.devs[0], k.rows)
	if err != nil {
		return dst[:at], fmt.Errorf("stamps: %w: %w", ErrCorrupt, err)
	}
	for i := range dst[at:] {
		dst[at+i] += k.first + int64(i)*k.step
	}
	return dst, nil
}

// values appends one column of the block to dst.
func (d *blockDecoder) values(dst []float64, k *block, column int) ([]float64, error) {
	if column >= len(k.columns) {
		return dst, fmt.Errorf("column %d of %d: %w", column, len(k.columns), ErrCorrupt)
	}
	out, err := d.decode(dst, k.columns[column], k.rows)
	if err != nil {
		return dst, fmt.Errorf("column %d: %w: %w", column, ErrCorrupt, err)
	}
	return out, nil
}

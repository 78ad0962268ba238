package tsdb

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"sort"
)

// A block holds the rows of one stream over one stretch of time, column by column:
//
//	version, flags, shape, rows, first ms, step, [stamps: length, deviations from the grid],
//	length of each column, CRC32C over key and all of this
//	columns, each with its CRC32C behind it
//
// Each column has a checksum of its own, so that reading one of sixty touches its pages only.
const (
	blockVersion   = 2
	blockIrregular = 1 // flag: the stamps are not on a grid
	blockRollup    = 2 // flag: rows are windows, see rollup.go

	blockWhole = 1 // the first version: one schema, one checksum at the end
)

// Caps of a block that is read; a full day of 1 s rows fits.
const (
	maxBlockRows = 1 << 17
	maxBlockCols = 1 << 14
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(key, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, body)
}

// columnSum binds a column to its place in its block.
func columnSum(head uint32, at int, column []byte) uint32 {
	return crc32.Update(head+uint32(at)*0x9e3779b1, castagnoli, column)
}

// blockEncoder turns rows into blocks; it is not for concurrent use.
type blockEncoder struct {
	columnEncoder
	column []float64
	devs   []int64
	body   []byte
	ends   []int // of the columns in body
}

// encode makes the block of rows (row-major, cols wide) at rising stamps, bound to its key.
func (e *blockEncoder) encode(key []byte, schema uint32, stamps []int64, rows []float64) []byte {
	cols := len(rows) / len(stamps)
	e.begin()
	for c := range cols {
		e.column = e.column[:0]
		for i := c; i < len(rows); i += cols {
			e.column = append(e.column, rows[i])
		}
		e.add(e.column)
	}
	sh := oneSchema(schema, cols)
	return e.finish(key, &sh, 0, stamps)
}

// begin, add and finish make a block column by column.
func (e *blockEncoder) begin() { e.body, e.ends = e.body[:0], e.ends[:0] }

func (e *blockEncoder) add(column []float64) {
	e.body = e.columnEncoder.encode(e.body, column)
	e.ends = append(e.ends, len(e.body))
}

func (e *blockEncoder) finish(key []byte, sh *shape, flags byte, stamps []int64) []byte {
	b := e.header(sh, flags, stamps)
	at := 0
	for _, end := range e.ends {
		b = binary.AppendUvarint(b, uint64(end-at))
		at = end
	}
	b = slices.Grow(b, len(e.body)+4*len(e.ends)+4)
	head := checksum(key, b)
	b = binary.LittleEndian.AppendUint32(b, head)
	at = 0
	for i, end := range e.ends {
		column := e.body[at:end]
		b = append(b, column...)
		b = binary.LittleEndian.AppendUint32(b, columnSum(head, i, column))
		at = end
	}
	return b
}

func (e *blockEncoder) header(sh *shape, flags byte, stamps []int64) []byte {
	n := int64(len(stamps))
	step := int64(0)
	if n > 1 {
		step = (stamps[n-1] - stamps[0] + (n-1)/2) / (n - 1)
	}
	e.devs = e.devs[:0]
	for i, t := range stamps {
		dev := t - stamps[0] - int64(i)*step
		e.devs = append(e.devs, dev)
		if dev != 0 {
			flags |= blockIrregular
		}
	}
	b := make([]byte, 0, 64+2*sh.columns)
	b = append(b, blockVersion, flags)
	b = sh.encode(b)
	b = binary.AppendUvarint(b, uint64(n))
	b = binary.AppendVarint(b, stamps[0])
	b = binary.AppendVarint(b, step)
	if flags&blockIrregular == 0 {
		return b
	}
	devs, mode := e.integers(nil, e.devs)
	b = binary.AppendUvarint(b, uint64(len(devs)+1))
	b = append(b, mode)
	return append(b, devs...)
}

// block is an opened block; it points into the bytes it was opened from.
type block struct {
	shape
	key         []byte
	flags       byte
	rows        int
	first, step int64
	devs        []byte
	ends        []int // of the columns in body, checksums not counted
	body        []byte
	head        uint32 // checksum of what comes before the columns
	whole       bool   // the columns were checked all together
	unchecked   bool   // believe every checksum: to fuzz what lies behind them
}

// openBlock takes a block apart, checking it against its key. The columns are checked as they are read.
func openBlock(key, b []byte) (block, error) {
	var k block
	err := k.open(key, b)
	return k, err
}

// open is openBlock into memory that was used before.
func (k *block) open(key, b []byte) error {
	if err := k.parse(key, b); err != nil {
		return fmt.Errorf("block %x: %w", key, err)
	}
	return nil
}

func (k *block) parse(key, b []byte) error {
	if len(b) < 5 {
		return fmt.Errorf("%d bytes: %w", len(b), ErrCorrupt)
	}
	if b[0] > blockVersion {
		return fmt.Errorf("version %d, this program knows up to %d: %w", b[0], blockVersion, ErrNewer)
	}
	k.key, k.whole, k.devs = key, b[0] == blockWhole, nil
	if k.whole {
		body := b[:len(b)-4]
		if checksum(key, body) != binary.LittleEndian.Uint32(b[len(body):]) && !k.unchecked {
			return fmt.Errorf("checksum: %w", ErrCorrupt)
		}
		b = body
	}
	r := &reader{b: b}
	if err := k.parseHead(r); err != nil {
		return err
	}
	size, gap := 0, 4
	if k.whole {
		gap = 0
	}
	k.ends = k.ends[:0]
	columns := k.columns
	if k.flags&blockRollup != 0 {
		columns++ // how many rows each window has
	}
	for range columns {
		size += r.count(len(b))
		k.ends = append(k.ends, size)
	}
	if !k.whole {
		k.head = checksum(key, b[:len(b)-len(r.b)])
		if r.u32() != k.head && !k.unchecked {
			return fmt.Errorf("checksum: %w", ErrCorrupt)
		}
	}
	if r.bad || len(r.b) != size+gap*columns {
		return fmt.Errorf("columns: %w", ErrCorrupt)
	}
	k.body = r.b
	return nil
}

func (k *block) parseHead(r *reader) error {
	version := r.u8()
	k.flags = r.u8()
	if version == blockWhole {
		id := uint32(r.count(1<<32 - 1))
		k.rows = r.count(maxBlockRows)
		k.shape = oneSchema(id, r.count(maxBlockCols))
	} else {
		if err := k.shape.parse(r); err != nil {
			return err
		}
		k.rows = r.count(maxBlockRows)
	}
	k.first, k.step = r.varint(), r.varint()
	if k.flags&blockIrregular != 0 {
		k.devs = r.bytes(r.count(len(r.b)))
		r.bad = r.bad || len(k.devs) == 0
	}
	if r.bad || version == 0 || k.rows == 0 || k.columns > len(r.b) {
		return fmt.Errorf("header: %w", ErrCorrupt)
	}
	return nil
}

// columnBytes is one column, checked.
func (k *block) columnBytes(at int) ([]byte, error) {
	if at < 0 || at >= len(k.ends) {
		return nil, fmt.Errorf("block %x: column %d of %d: %w", k.key, at, len(k.ends), ErrCorrupt)
	}
	from, to := 0, k.ends[at]
	if at > 0 {
		from = k.ends[at-1]
	}
	if k.whole {
		return k.body[from:to], nil
	}
	from, to = from+4*at, to+4*at
	if columnSum(k.head, at, k.body[from:to]) != binary.LittleEndian.Uint32(k.body[to:]) && !k.unchecked {
		return nil, fmt.Errorf("block %x: checksum of column %d: %w", k.key, at, ErrCorrupt)
	}
	return k.body[from:to], nil
}

// verifyBlock checks every byte of a block.
func verifyBlock(key, b []byte) error {
	k, err := openBlock(key, b)
	for at := 0; err == nil && at < len(k.ends); at++ {
		_, err = k.columnBytes(at)
	}
	return err
}

// verifyValue checks every byte of a value of data.db that lies in a bucket, for day blocks and aggregates in
// the bucket of a day within it.
func verifyValue(path [][]byte, key, raw []byte) error {
	switch {
	case len(path) == 1 && bytes.Equal(path[0], bucketHot):
		return verifyBlock(key, raw)
	case len(path) == 2 && bytes.Equal(path[0], bucketDay), len(path) == 2 && bytes.Equal(path[0], bucketRollup):
		return verifyBlock(slices.Concat(path[0], path[1], key), raw)
	case len(path) == 1 && (bytes.Equal(path[0], bucketStreams) || bytes.Equal(path[0], bucketSchemas) || bytes.Equal(path[0], bucketSeen)):
		return verifyRecord(key, raw)
	}
	return nil // meta: each of its readers knows what to expect
}

// grid appends the stamps of the rows from lo up to hi of a block that is regular.
func (k *block) grid(dst []int64, lo, hi int) []int64 {
	for i := lo; i < hi; i++ {
		dst = append(dst, k.first+int64(i)*k.step)
	}
	return dst
}

// within finds the rows in [from, to] of a block that is regular.
func (k *block) within(from, to int64) (lo, hi int) {
	stamp := func(i int) int64 { return k.first + int64(i)*k.step }
	lo = sort.Search(k.rows, func(i int) bool { return stamp(i) >= from })
	return lo, lo + sort.Search(k.rows-lo, func(i int) bool { return stamp(lo+i) > to })
}

// blockDecoder reads the parts of an open block; it is not for concurrent use.
type blockDecoder struct{ columnDecoder }

// stamps appends the block's stamps to dst.
func (d *blockDecoder) stamps(dst []int64, k *block) ([]int64, error) {
	at := len(dst)
	dst = slices.Grow(dst, k.rows)
	if k.devs == nil {
		return k.grid(dst, 0, k.rows), nil
	}
	dst, err := d.integers(dst, &reader{b: k.devs[1:]}, k.devs[0], k.rows)
	if err != nil {
		return dst[:at], fmt.Errorf("block %x: stamps: %w: %w", k.key, ErrCorrupt, err)
	}
	for i := range dst[at:] {
		dst[at+i] += k.first + int64(i)*k.step
	}
	return dst, nil
}

// values appends one column of the block to dst.
func (d *blockDecoder) values(dst []float64, k *block, column int) ([]float64, error) {
	return d.valuesOf(dst, k, column, 0, k.rows)
}

// valuesOf appends a column's values of the rows from lo up to hi.
func (d *blockDecoder) valuesOf(dst []float64, k *block, column, lo, hi int) ([]float64, error) {
	b, err := k.columnBytes(column)
	if err != nil {
		return dst, err
	}
	out, err := d.part(dst, b, k.rows, lo, hi)
	if err != nil {
		return dst, fmt.Errorf("block %x: column %d: %w: %w", k.key, column, ErrCorrupt, err)
	}
	return out, nil
}

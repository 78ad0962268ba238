package tsdb

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// shape says which series the columns of a block are: all of its first schema, and of each further schema those that
// none before it has. Nearly every block has one schema.
type shape struct {
	schemas []uint32
	widths  []int    // series of each schema
	picked  [][]byte // bits of the series that have a column; nil for the first schema, which has all
	base    []int    // first column of each schema
	columns int
}

func oneSchema(id uint32, width int) shape {
	return shape{schemas: []uint32{id}, widths: []int{width}, picked: [][]byte{nil}, base: []int{0}, columns: width}
}

// add appends a schema of which only some series are new.
func (s *shape) add(id uint32, width int, isNew func(at int) bool) {
	if len(s.schemas) == 0 {
		*s = oneSchema(id, width)
		return
	}
	set, n := make([]byte, (width+7)/8), 0
	for at := range width {
		if isNew(at) {
			set[at/8] |= 1 << (at % 8)
			n++
		}
	}
	s.append(id, width, set, n)
}

func (s *shape) append(id uint32, width int, set []byte, columns int) {
	s.schemas, s.widths = append(s.schemas, id), append(s.widths, width)
	s.picked, s.base = append(s.picked, set), append(s.base, s.columns)
	s.columns += columns
}

// column finds the column of an entry, -1 when the block has none of it.
func (s *shape) column(e *entry) int {
	for i, id := range s.schemas {
		at := e.at(id)
		if at < 0 || at >= s.widths[i] {
			continue
		}
		if i == 0 {
			return at
		}
		if set := s.picked[i]; set[at/8]>>(at%8)&1 == 1 {
			return s.base[i] + rank(set, at)
		}
	}
	return -1
}

// rank counts the bits below at.
func rank(set []byte, at int) (n int) {
	for _, b := range set[:at/8] {
		n += bits.OnesCount8(b)
	}
	return n + bits.OnesCount8(set[at/8]&(1<<(at%8)-1))
}

func (s *shape) encode(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s.schemas)))
	for i, id := range s.schemas {
		dst = binary.AppendUvarint(dst, uint64(id))
		dst = binary.AppendUvarint(dst, uint64(s.widths[i]))
		dst = append(dst, s.picked[i]...)
	}
	return dst
}

// maxSchemas bounds the schemas of one block; a day with more of them keeps the rest in further parts.
const maxSchemas = 1 << 12

func (s *shape) parse(r *reader) error {
	s.schemas, s.widths, s.picked, s.base, s.columns = s.schemas[:0], s.widths[:0], s.picked[:0], s.base[:0], 0
	n := r.count(maxSchemas)
	for i := range n {
		id, width := uint32(r.count(1<<32-1)), r.count(maxBlockCols)
		if i == 0 {
			s.append(id, width, nil, width)
			continue
		}
		set := r.bytes((width + 7) / 8)
		columns := 0
		for _, b := range set {
			columns += bits.OnesCount8(b)
		}
		if r.bad || width%8 != 0 && set[len(set)-1]>>(width%8) != 0 {
			r.fail()
			break
		}
		s.append(id, width, set, columns)
	}
	if r.bad || n == 0 || s.columns > maxBlockCols {
		return fmt.Errorf("shape: %w", ErrCorrupt)
	}
	return nil
}

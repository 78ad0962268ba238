package tsdb

import (
	"cmp"
	"slices"
)

// rowRef is one row of one source.
type rowRef struct{ source, row int32 }

// plan puts the rows of several sources in order of time. Rows of one millisecond become one row, in which the
// first source that has a value wins.
type plan struct {
	stamps []int64 // of a lone source its own, else in buf
	buf    []int64
	seq    []int32  // the sources one after the other, when none overlaps another
	order  []rowRef // else every row
	ends   []int32  // in order, of each row that comes out
}

// make plans for sources in order of precedence.
func (p *plan) make(sources [][]int64) {
	p.seq, p.order, p.ends = p.seq[:0], p.order[:0], p.ends[:0]
	if len(sources) == 1 && rising(sources[0]) {
		p.seq, p.stamps = append(p.seq, 0), sources[0]
		return
	}
	p.stamps = p.buf[:0]
	defer func() { p.buf = p.stamps }()
	for i := range sources {
		p.seq = append(p.seq, int32(i))
	}
	slices.SortStableFunc(p.seq, func(a, b int32) int { return cmp.Compare(sources[a][0], sources[b][0]) })
	for _, s := range p.seq {
		for _, t := range sources[s] {
			if n := len(p.stamps); n > 0 && p.stamps[n-1] >= t {
				p.weave(sources)
				return
			}
			p.stamps = append(p.stamps, t)
		}
	}
}

func rising(stamps []int64) bool {
	for i := 1; i < len(stamps); i++ {
		if stamps[i] <= stamps[i-1] {
			return false
		}
	}
	return true
}

func (p *plan) weave(sources [][]int64) {
	p.seq, p.stamps = p.seq[:0], p.stamps[:0]
	for s, stamps := range sources {
		for row := range stamps {
			p.order = append(p.order, rowRef{int32(s), int32(row)})
		}
	}
	at := func(r rowRef) int64 { return sources[r.source][r.row] }
	slices.SortStableFunc(p.order, func(a, b rowRef) int { return cmp.Compare(at(a), at(b)) })
	for i, r := range p.order {
		if n := len(p.stamps); n > 0 && p.stamps[n-1] == at(r) {
			p.ends[n-1] = int32(i + 1)
			continue
		}
		p.stamps, p.ends = append(p.stamps, at(r)), append(p.ends, int32(i+1))
	}
}

// column appends one column of the planned rows; columns are the sources', nil where one lacks it.
func (p *plan) column(dst []float64, columns [][]float64) []float64 {
	from := int32(0)
	for _, end := range p.ends {
		v := Absent
		for _, r := range p.order[from:end] {
			if c := columns[r.source]; c != nil && !IsAbsent(c[r.row]) {
				v = c[r.row]
				break
			}
		}
		dst, from = append(dst, v), end
	}
	return dst
}

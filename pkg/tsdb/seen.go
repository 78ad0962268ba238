package tsdb

import (
	"slices"
)

// Bounds of what is remembered of one agent. Forgetting is safe: a report that comes again
// after it falls on the stamp of its first copy, which wins.
const (
	maxBoots     = 16
	maxIntervals = 256
)

// interval is a run of sequence numbers, both ends included.
type interval struct {
	Lo uint64 `json:"lo"`
	Hi uint64 `json:"hi"`
}

// boot is what one start of an agent has sent.
type boot struct {
	ID   uint64     `json:"boot"`
	Seqs []interval `json:"seqs"` // rising, never touching
}

// seen remembers the reports of one agent that are done with. The boot in use is the last one.
type seen struct {
	Boots     []boot `json:"boots"`
	Forgotten uint64 `json:"forgotten,omitempty"` // boots and intervals given up to the bounds
}

func (s *seen) has(id, seq uint64) bool {
	for i := len(s.Boots) - 1; i >= 0; i-- {
		if s.Boots[i].ID == id {
			return s.Boots[i].has(seq)
		}
	}
	return false
}

// add remembers a report; it reports false when it was there already.
func (s *seen) add(id, seq uint64) bool {
	i := slices.IndexFunc(s.Boots, func(b boot) bool { return b.ID == id })
	switch {
	case i < 0:
		if len(s.Boots) == maxBoots {
			s.Boots = slices.Delete(s.Boots, 0, 1)
			s.Forgotten++
		}
		s.Boots = append(s.Boots, boot{ID: id})
	case i < len(s.Boots)-1:
		b := s.Boots[i]
		s.Boots = append(slices.Delete(s.Boots, i, i+1), b)
	}
	b := &s.Boots[len(s.Boots)-1]
	added := b.add(seq)
	if len(b.Seqs) > maxIntervals {
		b.Seqs = slices.Delete(b.Seqs, 0, 1)
		s.Forgotten++
	}
	return added
}

// find is the first interval that does not end before seq.
func (b *boot) find(seq uint64) int {
	if n := len(b.Seqs); n > 0 && b.Seqs[n-1].Lo <= seq { // nearly always
		if b.Seqs[n-1].Hi < seq {
			return n
		}
		return n - 1
	}
	i, _ := slices.BinarySearchFunc(b.Seqs, seq, func(v interval, q uint64) int {
		switch {
		case v.Hi < q:
			return -1
		case v.Hi > q:
			return 1
		}
		return 0
	})
	return i
}

func (b *boot) has(seq uint64) bool {
	i := b.find(seq)
	return i < len(b.Seqs) && b.Seqs[i].Lo <= seq
}

func (b *boot) add(seq uint64) bool {
	i := b.find(seq)
	if i < len(b.Seqs) && b.Seqs[i].Lo <= seq {
		return false
	}
	before := i > 0 && b.Seqs[i-1].Hi+1 == seq
	after := i < len(b.Seqs) && b.Seqs[i].Lo == seq+1
	switch {
	case before && after:
		b.Seqs[i-1].Hi = b.Seqs[i].Hi
		b.Seqs = slices.Delete(b.Seqs, i, i+1)
	case before:
		b.Seqs[i-1].Hi = seq
	case after:
		b.Seqs[i].Lo = seq
	default:
		b.Seqs = slices.Insert(b.Seqs, i, interval{seq, seq})
	}
	return true
}

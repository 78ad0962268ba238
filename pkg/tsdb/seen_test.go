package tsdb

import (
	"encoding/json"
	"testing"

	"pgregory.net/rapid"
)

func TestSeenIsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s seen
		want := map[[2]uint64]bool{}
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			id, seq := rapid.Uint64Range(1, 3).Draw(t, "boot"), rapid.Uint64Range(0, 60).Draw(t, "seq")
			if added := s.add(id, seq); added == want[[2]uint64{id, seq}] {
				t.Fatalf("adding %d/%d gave %v", id, seq, added)
			}
			want[[2]uint64{id, seq}] = true
		}
		raw, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back seen
		if err := json.Unmarshal(raw, &back); err != nil {
			t.Fatal(err)
		}
		for id := uint64(1); id <= 4; id++ {
			for seq := uint64(0); seq <= 62; seq++ {
				if s.has(id, seq) != want[[2]uint64{id, seq}] || back.has(id, seq) != s.has(id, seq) {
					t.Fatalf("%d/%d: %v, %v after packing, want %v", id, seq, s.has(id, seq), back.has(id, seq), want[[2]uint64{id, seq}])
				}
			}
		}
		for _, b := range s.Boots {
			for i, v := range b.Seqs {
				if v.Lo > v.Hi || i > 0 && b.Seqs[i-1].Hi+1 >= v.Lo {
					t.Fatalf("intervals are not apart: %v", b.Seqs)
				}
			}
		}
	})
}

func TestSeenIsBounded(t *testing.T) {
	var s seen
	for id := range uint64(maxBoots + 1) {
		s.add(id, 1)
	}
	s.add(1, 2) // in use again, so not the next to go
	s.add(100, 1)
	if len(s.Boots) != maxBoots || s.has(0, 1) || s.has(2, 1) || !s.has(1, 1) || !s.has(100, 1) {
		t.Errorf("%d boots: %v", len(s.Boots), s.Boots)
	}
	for seq := uint64(0); seq < 2*(maxIntervals+5); seq += 2 {
		s.add(100, seq)
	}
	if b := s.Boots[len(s.Boots)-1]; len(b.Seqs) != maxIntervals || b.has(0) || !b.has(2*(maxIntervals+4)) {
		t.Errorf("%d intervals from %v", len(b.Seqs), b.Seqs[0])
	}
	if s.Forgotten < 6 {
		t.Errorf("%d forgotten are counted", s.Forgotten)
	}
}

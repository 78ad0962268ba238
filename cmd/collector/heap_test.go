package main

import "testing"

func TestHeapPercent(t *testing.T) {
	for live, want := range map[uint64]int{0: 400, 5 << 20: 400, 12 << 20: 200, 24 << 20: 100, 30 << 20: 50, 72 << 20: 33, 73 << 20: 25, 97 << 20: 18, 133 << 20: 18, 134 << 20: 12, 1 << 40: 12} {
		if got := heapPercent(live); got != want {
			t.Errorf("%d MiB in use: %d %%, want %d", live>>20, got, want)
		}
	}
}

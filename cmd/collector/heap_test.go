package main

import "testing"

func TestHeapPercent(t *testing.T) {
	for live, want := range map[uint64]int{0: 400, 4 << 20: 400, 8 << 20: 200, 16 << 20: 100, 30 << 20: 50, 48 << 20: 33, 49 << 20: 25, 65 << 20: 18, 88 << 20: 18, 89 << 20: 12, 1 << 40: 12} {
		if got := heapPercent(live); got != want {
			t.Errorf("%d MiB in use: %d %%, want %d", live>>20, got, want)
		}
	}
}

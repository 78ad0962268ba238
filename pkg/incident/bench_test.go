package incident

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"xunjian/pkg/symptom"
)

// BenchmarkStorm observes faults of different keys one after another, with the clocks running beside.
func BenchmarkStorm(b *testing.B) {
	h := newHouse(b)
	h.o.MaxOpen = b.N
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- h.Run(ctx) }()
	for i := range b.N {
		s := down(0)
		s.Service = fmt.Sprint(i)
		h.see(s)
	}
	cancel()
	<-done
}

// BenchmarkStormAtOnce takes 5,000 faults in as the collector tells them, 512 in a transaction: one operation is all of them.
func BenchmarkStormAtOnce(b *testing.B) {
	for range b.N {
		h := newHouse(b)
		var all []symptom.Symptom
		for i := range 5000 {
			s := down(0)
			s.Service = fmt.Sprint(i)
			all = append(all, s)
		}
		for some := range slices.Chunk(all, 512) {
			if _, err := h.ObserveAll(after(1), some); err != nil {
				b.Fatal(err)
			}
		}
	}
}

package incident

import (
	"context"
	"fmt"
	"testing"
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

package host

import (
	"context"
	"sync"
	"time"
)

// crew runs do for 0 … n-1 and then hands the answers to got, in their order, in the caller's goroutine. One goroutine does
// them all in turn; each time patience passes and some are left, another one helps, so that the usual case costs one
// goroutine and one wake-up, and a call that hangs delays no other.
// It returns when all are done or ctx ends. A call that hangs outlives it: nobody can end a system call. Its answer
// then goes nowhere, and the caller sees to it that the same thing is not asked again meanwhile.
func crew[T any](ctx context.Context, n int, patience time.Duration, do func(int) T, got func(int, T)) {
	if n == 0 {
		return
	}
	s := &shift[T]{n: n, do: do, answers: make([]answer[T], 0, n), done: make(chan struct{})}
	go s.work(ctx)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for waiting := true; waiting; {
		select {
		case <-s.done:
			waiting = false
		case <-ctx.Done():
			waiting = false
		case <-timer.C:
			if s.left() {
				go s.work(ctx)
				timer.Reset(patience)
			}
		}
	}
	for _, a := range s.end() {
		got(a.i, a.value)
	}
}

type answer[T any] struct {
	i     int
	value T
}

// shift is what the goroutines of a crew share.
type shift[T any] struct {
	n    int
	do   func(int) T
	done chan struct{} // closed with the last answer

	mu      sync.Mutex
	next    int
	answers []answer[T]
	over    bool // nobody takes answers any more
}

func (s *shift[T]) work(ctx context.Context) {
	for ctx.Err() == nil {
		i, ok := s.take()
		if !ok {
			return
		}
		s.put(answer[T]{i, s.do(i)})
	}
}

func (s *shift[T]) take() (int, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	return s.next - 1, s.next <= s.n && !s.over
}

func (s *shift[T]) put(a answer[T]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	s.answers = append(s.answers, a)
	if len(s.answers) == s.n {
		close(s.done)
	}
}

func (s *shift[T]) left() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next < s.n
}

// end closes the shift and returns its answers.
func (s *shift[T]) end() []answer[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	return s.answers
}

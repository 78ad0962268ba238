package pager

import (
	"slices"
	"sync"
	"time"
)

// guesses counts wrong codes by phone. It forgets at a restart, which no stranger can cause.
type guesses struct {
	mu    sync.Mutex
	wrong map[string][]time.Time
}

// admit says whether a phone may try.
func (g *guesses) admit(now time.Time, phone string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	recent := slices.DeleteFunc(g.wrong[phone], func(t time.Time) bool { return now.Sub(t) >= wrongWindow })
	if len(recent) == 0 {
		delete(g.wrong, phone)
	} else {
		g.wrong[phone] = recent
	}
	return len(recent) < wrongCodes
}

func (g *guesses) note(now time.Time, phone string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.wrong == nil || len(g.wrong) >= maxPhones {
		g.wrong = map[string][]time.Time{}
	}
	g.wrong[phone] = append(g.wrong[phone], now)
}

package promapi

import (
	"context"
	"net/netip"
	"sync"
)

// gate lets in a bounded number of calls, and fewer from one network, so that nobody can take all the room there is.
type gate struct {
	all, each int
	mu        sync.Mutex
	in        int
	by        map[string]int
}

func newGate(all, each int) *gate { return &gate{all: all, each: each, by: map[string]int{}} }

// enter never waits.
func (g *gate) enter(who string) (leave func(), ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.in >= g.all || g.by[who] >= g.each {
		return nil, false
	}
	g.in++
	g.by[who]++
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.in--
		if g.by[who]--; g.by[who] == 0 {
			delete(g.by, who)
		}
	}, true
}

// lane is work of which so much is done at one time for all, and so much for one network; the others wait. Who waits is
// bounded by the gate.
type lane struct {
	all  chan struct{}
	each int
	mu   sync.Mutex
	by   map[string]*share
}

type share struct {
	slots chan struct{}
	users int
}

func newLane(all, each int) *lane {
	return &lane{all: make(chan struct{}, all), each: each, by: map[string]*share{}}
}

// enter waits for a place; leave may be called more than once.
func (l *lane) enter(ctx context.Context, who string) (leave func(), err error) {
	l.mu.Lock()
	s := l.by[who]
	if s == nil {
		s = &share{slots: make(chan struct{}, l.each)}
		l.by[who] = s
	}
	s.users++
	l.mu.Unlock()
	forget := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if s.users--; s.users == 0 {
			delete(l.by, who)
		}
	}
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		forget()
		return nil, ctx.Err()
	}
	select {
	case l.all <- struct{}{}:
	case <-ctx.Done():
		<-s.slots
		forget()
		return nil, ctx.Err()
	}
	return sync.OnceFunc(func() { <-l.all; <-s.slots; forget() }), nil
}

// network is what one stranger can easily have: an IPv4 address, or an IPv6 /64.
func network(remote string) string {
	a, err := netip.ParseAddrPort(remote)
	if err != nil {
		return "" // a test's pipe: all of them together
	}
	addr := a.Addr().Unmap().WithZone("")
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.String()
		}
	}
	return addr.String()
}

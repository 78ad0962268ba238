package access

import (
	"net"
	"sync"
	"time"
)

// Limits on guessing.
const (
	guessWindow  = 15 * time.Minute
	guessesLogin = 5
	guessesAddr  = 20
	maxGuarded   = 20_000 // names and addresses remembered at once
)

// guard counts wrong passwords by name and by address. It forgets at a restart, which no stranger can cause.
type guard struct {
	mu    sync.Mutex
	wrong map[string][]time.Time // key → attempts that were wrong or are not decided yet, oldest first
}

func newGuard() *guard { return &guard{wrong: map[string][]time.Time{}} }

// begin admits one attempt, which counts as wrong until release says otherwise: many at once get no extra guesses.
func (g *guard) begin(now time.Time, login, addr string) (release func(wrong bool), err error) {
	keys := map[string]int{"login " + login: guessesLogin, "addr " + network(addr): guessesAddr}
	g.mu.Lock()
	defer g.mu.Unlock()
	for key, limit := range keys {
		g.drop(now, key)
		if w := g.wrong[key]; len(w) >= limit {
			return nil, &Locked{w[len(w)-limit].Add(guessWindow)}
		}
	}
	if len(g.wrong)+len(keys) > maxGuarded {
		g.makeRoom(now)
	}
	for key := range keys {
		g.wrong[key] = append(g.wrong[key], now)
	}
	return func(wrong bool) {
		if wrong {
			return
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		for key := range keys {
			g.remove(key, now)
		}
	}, nil
}

func (g *guard) drop(now time.Time, key string) {
	w := g.wrong[key]
	for len(w) > 0 && now.Sub(w[0]) >= guessWindow {
		w = w[1:]
	}
	if len(w) == 0 {
		delete(g.wrong, key)
		return
	}
	g.wrong[key] = w
}

func (g *guard) remove(key string, at time.Time) {
	w := g.wrong[key]
	for i := range w {
		if w[i].Equal(at) {
			w = append(w[:i:i], w[i+1:]...)
			break
		}
	}
	if len(w) == 0 {
		delete(g.wrong, key)
		return
	}
	g.wrong[key] = w
}

// makeRoom forgets what has expired, and then anything at all: a full table must not keep people out.
func (g *guard) makeRoom(now time.Time) {
	for key := range g.wrong {
		g.drop(now, key)
	}
	for key := range g.wrong {
		if len(g.wrong) < maxGuarded/2 {
			return
		}
		delete(g.wrong, key)
	}
}

// forgive forgets the wrong guesses at a name, not those from addresses.
func (g *guard) forgive(login string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.wrong, "login "+login)
}

// network is what one stranger can easily have: an IPv4 address, or an IPv6 /64.
func network(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	ip := net.ParseIP(host)
	if ip == nil {
		return host[:min(len(host), 64)]
	}
	if ip.To4() != nil {
		return ip.String()
	}
	return ip.Mask(net.CIDRMask(64, 128)).String()
}

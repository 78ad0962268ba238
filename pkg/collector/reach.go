package collector

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/fleet"
)

// knocks are ports that hosts of all kinds answer on, if only to say no; ports of checks on the host join them.
var knocks = []string{"22", "80", "443", "445", "3389", "9"}

// maxKnocks bounds the ports that are tried on one host.
const maxKnocks = 16

// hosts tries the hosts of agents that are not heard.
type hosts struct {
	dial func(ctx context.Context, network, addr string) (net.Conn, error)
	ping func(ctx context.Context, ip net.IP) bool
}

func newHosts() hosts { return hosts{(&net.Dialer{}).DialContext, ping} }

// reach tries the host of an agent that is not heard: whether it answers on any port, be it with a refusal, or to a ping,
// or has answered a check of another agent since. An address that several agents call from is no host of one of them.
func (c *Collector) reach(ctx context.Context, a fleet.Agent) fleet.Reach {
	c.mu.Lock()
	address := c.cfg.Fleet.Address(a.Name)
	checks := c.cfg.Checks
	c.mu.Unlock()
	if address == "" {
		address = host(a.Info.Addr)
		if address == "" || shared(c.fleet.Agents(), a.Name, address) {
			return fleet.Unclear
		}
	}
	if c.answered(address, a) {
		return fleet.Alive
	}
	return c.hosts.try(ctx, address, ports(checks, address))
}

// shared says that another agent calls from the same address: an address translation, or two on one machine.
func shared(all []fleet.Agent, name, address string) bool {
	return slices.ContainsFunc(all, func(o fleet.Agent) bool {
		return o.Name != name && o.RevokedAt.IsZero() && host(o.Info.Addr) == address
	})
}

// answered says that another agent's check of the host has been ok since this one was heard.
func (c *Collector) answered(address string, a fleet.Agent) bool {
	for _, s := range c.board.Services(c.clock.Now()) {
		for _, k := range s.Checks {
			if k.Agent != a.Name && k.At.After(a.LastHeard) && k.Outcome == check.OK && host(k.Target) == address {
				return true
			}
		}
	}
	return false
}

// ports are those to knock at.
func ports(checks []check.Spec, address string) []string {
	out := slices.Clone(knocks)
	for _, s := range checks {
		if h, port, err := net.SplitHostPort(s.Target); err == nil && h == address && len(out) < maxKnocks && !slices.Contains(out, port) {
			out = append(out, port)
		}
	}
	return out
}

// try knocks at all ports at once. A refusal is an answer; silence of all is none; not being able to try is unclear.
func (h hosts) try(ctx context.Context, address string, ports []string) fleet.Reach {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second) // a lost packet is sent again after one second
	defer cancel()
	ips, err := net.DefaultResolver.LookupIP(ctx, "ip", address)
	if err != nil || len(ips) == 0 {
		return fleet.Unclear
	}
	found := make(chan fleet.Reach, len(ports)+1)
	var wg sync.WaitGroup
	for _, port := range ports {
		wg.Go(func() {
			conn, err := h.dial(ctx, "tcp", net.JoinHostPort(ips[0].String(), port))
			if err == nil {
				err = conn.Close()
			}
			if found <- answerOf(err); answerOf(err) == fleet.Alive {
				cancel()
			}
		})
	}
	wg.Go(func() {
		if h.ping(ctx, ips[0]) {
			found <- fleet.Alive
			cancel()
		}
	})
	wg.Wait()
	close(found)
	verdict := fleet.Unclear
	for r := range found {
		if r == fleet.Alive {
			return r
		}
		if r == fleet.Gone {
			verdict = r
		}
	}
	return verdict
}

// answerOf is what the end of a connection attempt says of the host.
func answerOf(err error) fleet.Reach {
	var slow net.Error
	switch {
	case err == nil, errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET):
		return fleet.Alive
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.EHOSTDOWN), errors.Is(err, syscall.ETIMEDOUT), errors.As(err, &slow) && slow.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return fleet.Gone
	}
	return fleet.Unclear // no route, no socket, not allowed: it is our own side
}

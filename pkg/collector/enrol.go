package collector

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"xunjian/pkg/fleet"
	"xunjian/pkg/uplink"
)

// enroller is the fleet as the uplink sees it: neighbours that may not know each other's errors.
type enroller struct{ *fleet.Registry }

// told says which of the fleet's refusals the agent is told in so many words.
var told = map[fleet.Refusal]error{
	fleet.ErrTokenFormat:  uplink.ErrTokenUnknown,
	fleet.ErrTokenUnknown: uplink.ErrTokenUnknown,
	fleet.ErrTokenRevoked: uplink.ErrTokenUnknown,
	fleet.ErrTokenUsed:    uplink.ErrTokenUsed,
	fleet.ErrTokenExpired: uplink.ErrTokenExpired,
	fleet.ErrTokenName:    uplink.ErrNameTaken,
	fleet.ErrNameTaken:    uplink.ErrNameTaken,
}

// Enroll certifies an agent; a refusal wraps the uplink's word for it.
func (e enroller) Enroll(ctx context.Context, token string, csr []byte, peer string) (cert, chain []byte, err error) {
	cert, chain, err = e.Registry.Enroll(ctx, token, csr, peer)
	var refusal fleet.Refusal
	if errors.As(err, &refusal) && told[refusal] != nil {
		return nil, nil, fmt.Errorf("%w (%s)", told[refusal], refusal.Reason())
	}
	return cert, chain, err
}

// heard passes a greeting on to the fleet.
func (c *Collector) heard(agent string, h uplink.Hello) {
	c.fleet.Heard(h.At, agent, fleet.Info{Boot: h.Boot, Version: h.Version, Host: h.Host, Addr: h.Peer, Plan: h.Plan, Skew: h.Skew})
}

func (c *Collector) seen(agent string, at time.Time) { c.fleet.Seen(at, agent) }

func (c *Collector) leaves(agent string, at time.Time, why string) { c.fleet.Leaves(at, agent, why) }

// host is an address without its port.
func host(addr string) string {
	if h, _, err := net.SplitHostPort(addr); err == nil {
		return h
	}
	return addr
}

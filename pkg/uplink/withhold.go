package uplink

import (
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// While nothing can be stored, a stream stays: its messages go on being read and judged, and their acknowledgement is
// withheld, so that the agent keeps them. None is kept here. Once there is room again the stream is ended, and the agent
// sends on the next one whatever was not acknowledged; of what was stored meanwhile the store knows that it is double.
const (
	healWait = 5 * time.Second // for so long nothing must be refused before the agent is to send all of it again
	busyMost = time.Minute     // without any word from the store: an agent that sends seldom tries for itself
)

// withhold lets go of a part that could not be stored.
func (x *session) withhold(n uint64) {
	x.server.withheld.Add(1)
	x.mu.Lock()
	if x.over {
		x.mu.Unlock()
		return
	}
	x.ledger.miss(n)
	x.mu.Unlock()
	x.settle(n)
	x.resendIn(busyMost, false)
}

// heal is told of each part that is done with: the first one after others could not be stored says that there is room.
func (x *session) heal() {
	x.mu.Lock()
	better := x.ledger.gap > 0 && !x.healing
	x.mu.Unlock()
	if better {
		x.resendIn(healWait+jitter(x.server.spread()), true)
	}
}

// spread is over how long agents that all come back at once are let in, with as much room left for others.
func (s *Server) spread() time.Duration {
	s.mu.Lock()
	n := len(s.sessions)
	s.mu.Unlock()
	return time.Duration(2 * float64(n) / s.opts.AdmitRate * float64(time.Second))
}

// resendIn ends the stream after a while, counted anew with each call.
func (x *session) resendIn(d time.Duration, healing bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.healing = healing
	switch {
	case x.over:
	case x.resend == nil:
		x.resend = time.AfterFunc(d, func() {
			x.server.rejected.add("busy")
			x.end(status.Error(codes.Unavailable, "the collector could not store for a while: what it has not acknowledged is to be sent again"))
		})
	default:
		x.resend.Reset(d)
	}
}

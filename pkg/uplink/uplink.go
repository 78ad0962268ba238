// Package uplink carries reports from agents to the collector and plans back, over one mutually authenticated gRPC stream, and enrols new agents.
package uplink

import (
	"context"
	"errors"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/metric"
)

// Batch is what is handed over together. A check's result travels with the report of the same check and time,
// so that who finds the report a duplicate knows the same of the result. Results keep microseconds, reports' times milliseconds.
type Batch struct {
	Reports []metric.Report
	Results []check.Result
}

// Receiver takes what agents send.
type Receiver interface {
	// Receive is called in the order of the agent's stream, never twice at once for one agent. Each call that returned nil
	// must call durable exactly once, from any goroutine: nil when the batch is on disk, an error when it could not be stored
	// and is to be sent again: at once, or when there is room again if it wraps ErrBusy. A returned error refuses the batch for good. Receive may block:
	// that pushes back on this agent only. The reports' samples are the caller's again once Receive has returned.
	Receive(ctx context.Context, agent string, b Batch, durable func(error)) error
}

// Hearer is what a Receiver may be besides: it learns of each agent's greeting, and of its clock about once a minute after.
type Hearer interface {
	Heard(agent string, info Hello)
}

// Seer is what a Receiver may be besides: it learns of agents that proved who they are and were told to come back later,
// so that nobody takes them for silent.
type Seer interface {
	Seen(agent string, at time.Time)
}

// Leaver is what a Receiver may be besides: it learns that an agent ends on purpose and by which signal, after what that agent
// sent before was handed over.
type Leaver interface {
	Leaves(agent string, at time.Time, why string)
}

// Poison is a message, or a part of one, that nobody shall have to deal with again.
type Poison struct {
	Agent  string
	At     time.Time
	Reason string // a word of a fixed set
	Detail string
	Sum    string // SHA-256 of Bytes in hexadecimal
	Bytes  []byte // as sent; a spool frame that stands alone where the message could be read
}

// ErrBusy says that a batch cannot be stored for a while. Its agent's stream stays, so that what follows is judged, and
// nothing is acknowledged: the agent keeps it all, and sends it again when something could be stored.
var ErrBusy = errors.New("the collector cannot store anything at present")

// Hello is what is known of an agent once its stream is open.
type Hello struct {
	Version  string        // of the agent's software
	Boot     uint64        // of the agent's process
	Host     string        // fingerprint of its machine, empty when it told none
	Plan     string        // revision of the plan it held at the greeting
	Peer     string        // its address
	Serial   string        // of its certificate, in hexadecimal
	NotAfter time.Time     // of its certificate
	Skew     time.Duration // its clock minus the collector's; the way to here makes it a little too small
	At       time.Time     // when it was heard, by the collector's clock
	First    bool          // the greeting itself, not a later word on the clock
}

// Planner knows what each agent must do.
type Planner interface {
	// Plan is the agent's plan now; the channel is closed when there may be a newer one.
	Plan(agent string) (check.Plan, <-chan struct{})
}

// Enroller decides who may send.
type Enroller interface {
	// Enroll trades a token and a signing request (PKCS #10, DER) for a certificate and the CA's chain (DER, one after the other).
	// Its errors are told to the agent when they wrap one of ErrTokenUnknown, ErrTokenUsed, ErrTokenExpired and ErrNameTaken.
	Enroll(ctx context.Context, token string, csr []byte, peerAddr string) (cert, caChain []byte, err error)
	// Known is nil when the agent may send with the certificate of this serial number (hexadecimal, lower case).
	// It is asked at each new stream and every half minute after.
	Known(agent, certSerial string) error
}

// What can be wrong with an enrolment; each text ends with the remedy.
var (
	ErrTokenUnknown = errors.New("the collector does not know this token: make a new one on the collector")
	ErrTokenUsed    = errors.New("this token has been used: make a new one on the collector, one for each agent")
	ErrTokenExpired = errors.New("this token has expired: make a new one on the collector")
	ErrNameTaken    = errors.New("another agent has this name: choose another name, or remove the other agent on the collector first")
	ErrWrongCA      = errors.New("the server at this address does not have the CA that the token names: check the address, or make a new token on this collector")
	ErrClock        = errors.New("the clocks of this machine and the collector are too far apart: set this machine's clock and try again")
)

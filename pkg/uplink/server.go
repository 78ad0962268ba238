package uplink

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"time"
)

// CertSource gives the collector's own certificate, its CA's certificate last in the chain, and the roots that agents'
// certificates must lead to. It is asked at each handshake, so that both can change while running.
type CertSource func() (tls.Certificate, *x509.CertPool, error)

// ServerOptions is what the collector's end needs. Zero values mean the defaults given.
type ServerOptions struct {
	Receiver Receiver // may also be a Hearer
	Planner  Planner  // nil: no plans
	Enroller Enroller // nil: no enrolment, and every verified certificate is welcome
	Certs    CertSource

	MaxMessage int           // default 1 MiB
	MaxSeries  int           // default 4096, of one agent's stream
	MaxStreams int           // default 20,000
	Window     int           // default 64: messages of one stream that wait to become durable; more are not read
	AdmitRate  float64       // default 500 new streams a second; more are told to come back later
	Recheck    time.Duration // default 30 s: how often Known is asked again
	Logger     *slog.Logger
}

// ServerStats counts since the start. Reasons and addresses are bounded sets.
type ServerStats struct {
	Streams    int               // open now
	Opened     uint64            // streams
	Replaced   map[string]uint64 // streams ended by a newer one of the same agent: reconnect, restart, clone
	Handshakes map[string]uint64 // refused at the handshake, by reason
	Addresses  map[string]uint64 // refused at the handshake, by address without port
	Rejected   map[string]uint64 // streams refused or ended, by reason
	Messages   uint64
	Refused    map[string]uint64 // messages, by reason
	Enrolments map[string]uint64 // by outcome
}

// Server is the collector's end.
type Server struct{}

// NewServer prepares; Serve does the work.
func NewServer(o ServerOptions) (*Server, error) { return &Server{}, nil }

// Serve accepts agents until Stop; it returns nil after Stop.
func (s *Server) Serve(l net.Listener) error { return nil }

// Stop stops reading, waits until what was read is durable and acknowledged or ctx is done, and closes all streams.
func (s *Server) Stop(ctx context.Context) {}

// Stats is a snapshot.
func (s *Server) Stats() ServerStats { return ServerStats{} }

package uplink

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

const agentScheme = "xunjian:agent:"

var agentName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$`)

// ValidName says whether agents may have a name: letters, digits and . _ -, at most 63, beginning with a letter or digit.
func ValidName(name string) bool { return agentName.MatchString(name) }

// agentOf is the agent that a certificate names by its URI xunjian:agent:<name>.
func agentOf(c *x509.Certificate) (string, error) {
	for _, u := range c.URIs {
		if name, ok := strings.CutPrefix(u.String(), agentScheme); ok && ValidName(name) {
			return name, nil
		}
	}
	return "", fmt.Errorf("certificate %.60q has no URI %s<name>", c.Subject.CommonName, agentScheme)
}

// identity is who is at the other end of a stream.
type identity struct {
	agent string
	cert  *x509.Certificate
	addr  string
}

var errNoCertificate = errors.New("no client certificate: enrol this agent with a token first")

func identityOf(ctx context.Context) (identity, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return identity{}, errNoCertificate
	}
	id := identity{addr: p.Addr.String()}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 {
		return id, errNoCertificate
	}
	id.cert = info.State.VerifiedChains[0][0]
	var err error
	id.agent, err = agentOf(id.cert)
	return id, err
}

func (id identity) serial() string { return id.cert.SerialNumber.Text(16) }

// handshaker is TLS on the collector's end, counting whom it turns away.
type handshaker struct {
	credentials.TransportCredentials
	turnstile          turnstile
	reasons, addresses *counts
}

func newHandshaker(certs CertSource, t turnstile, reasons, addresses *counts) *handshaker {
	config := &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			cert, roots, err := certs()
			if err != nil {
				return nil, fmt.Errorf("own certificate: %w", err)
			}
			return &tls.Config{
				MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, SessionTicketsDisabled: true,
				Certificates: []tls.Certificate{cert}, ClientCAs: roots, ClientAuth: tls.VerifyClientCertIfGiven,
			}, nil
		},
	}
	return &handshaker{credentials.NewTLS(config), t, reasons, addresses}
}

// turnstile lets so many connections a second come to their handshake, which costs more than all else about an agent that
// comes back. The others wait a little; those for whom that is too long are turned away, which costs next to nothing.
type turnstile struct {
	rate     *rate.Limiter // nil: everybody passes
	stopping <-chan struct{}
}

const turnstileWait = 5 * time.Second

var errTurnedAway = errors.New("too many connections at once")

func (t turnstile) pass() error {
	if t.rate == nil {
		return nil
	}
	r := t.rate.Reserve()
	d := r.Delay()
	if d > turnstileWait {
		r.Cancel()
		return errTurnedAway
	}
	if d <= 0 {
		return nil
	}
	wait := time.NewTimer(d)
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-t.stopping:
		return errTurnedAway
	}
}

// ServerHandshake counts what the TLS below refuses.
func (h *handshaker) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if err := h.turnstile.pass(); err != nil {
		h.reasons.add("overload")
		h.addresses.add(hostOf(conn.RemoteAddr().String()))
		return nil, nil, err
	}
	c, info, err := h.TransportCredentials.ServerHandshake(conn)
	if err != nil {
		h.reasons.add(handshakeReason(err))
		h.addresses.add(hostOf(conn.RemoteAddr().String()))
	}
	return c, info, err
}

// Clone keeps the counters.
func (h *handshaker) Clone() credentials.TransportCredentials {
	return &handshaker{h.TransportCredentials.Clone(), h.turnstile, h.reasons, h.addresses}
}

func hostOf(addr string) string {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		return host
	}
	return addr
}

func handshakeReason(err error) string {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "unknown_ca"
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		switch e.Reason {
		case x509.Expired:
			return "expired"
		case x509.IncompatibleUsage:
			return "wrong_usage"
		}
		return "bad_certificate"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "bad_certificate"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "not_tls"
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return "timeout"
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "gave_up"
	}
	if strings.Contains(err.Error(), "remote error") {
		return "refused_by_peer"
	}
	return others
}

// verifyCollector is how agents know the collector: a server certificate under a CA that issues them to collectors only.
// The name in the certificate is not looked at, since collectors are reached by addresses that nobody thought of before.
func verifyCollector(roots *x509.CertPool) func(tls.ConnectionState) error {
	return func(cs tls.ConnectionState) error {
		opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
		for _, c := range cs.PeerCertificates[1:] {
			opts.Intermediates.AddCert(c)
		}
		_, err := cs.PeerCertificates[0].Verify(opts)
		return err
	}
}

package probe

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"net"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/metric"
)

// tlsAsker shakes hands and looks at what it was shown.
type tlsAsker struct{ dialer }

func newTLS(spec check.Spec, env Env) (Asker, error) {
	host, port, err := hostPort(spec)
	if err != nil {
		return nil, err
	}
	t := &tlsAsker{}
	if t.dialer, err = newDialer(spec, env, host, port); err != nil {
		return nil, err
	}
	if t.tls, err = tlsConfig(spec, host); err != nil {
		return nil, err
	}
	t.starttls, err = startTLS(spec.TLS.StartTLS)
	return t, err
}

// Ask always opens a new connection: the handshake is what is being tried.
func (t *tlsAsker) Ask(ctx context.Context, _ bool) check.Attempt {
	w := startWatch()
	l, bad := t.open(ctx, w)
	if bad == nil {
		l.raw.Close()
	}
	a := verdict(bad)
	a.Phases, a.Values = w.phases, netValues(nil, l, true)
	l.tell(&a, t.expiry)
	return a
}

// Close has nothing to give back.
func (t *tlsAsker) Close() error { return nil }

// tlsConfig is nil when the check speaks no TLS.
func tlsConfig(spec check.Spec, host string) (*tls.Config, error) {
	if !overTLS(spec) {
		return nil, nil
	}
	return clientTLS(spec, host)
}

// clientTLS is never nil without an error.
func clientTLS(spec check.Spec, host string) (*tls.Config, error) {
	c := &tls.Config{
		ServerName:         spec.TLS.ServerName,
		InsecureSkipVerify: spec.TLS.SkipVerify,
		MinVersion:         check.TLSVersions[spec.TLS.MinVersion],
		MaxVersion:         check.TLSVersions[spec.TLS.MaxVersion],
		// Every server knows one of these. The post-quantum exchange would cost a fifth of the handshake and a greeting of two
		// packets, at which old middleboxes stumble.
		CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521},
	}
	if c.ServerName == "" {
		c.ServerName = host
	}
	if spec.TLS.CA != "" {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM([]byte(spec.TLS.CA)) {
			return nil, errors.New("tls.ca holds no PEM certificate")
		}
	}
	return c, nil
}

// secure turns the link to TLS, after what must be said before.
func (d *dialer) secure(ctx context.Context, l *link) *fault {
	stop := l.endWith(ctx)
	defer stop()
	if d.starttls != nil {
		l.meter.left = maxHead
		l.listen()
		if err := d.starttls(l); err != nil {
			if _, refused := errors.AsType[refusedTLS](err); refused {
				return failed(check.ClassTLS, "%v", err)
			}
			return blame(ctx, "ask for TLS", err, check.ClassTLS)
		}
	}
	return d.handshake(ctx, l)
}

func (d *dialer) handshake(ctx context.Context, l *link) *fault {
	c := tls.Client(l.raw, d.tls)
	l.Conn = c
	err := c.Handshake()
	l.shown = whatWasShown(c.ConnectionState(), err)
	if err != nil {
		return blame(ctx, "TLS handshake", err, check.ClassTLS)
	}
	leaf := c.ConnectionState().PeerCertificates[0]
	for _, name := range d.names {
		if err := leaf.VerifyHostname(name); err != nil {
			return failed(check.ClassTLS, "certificate: %v", err)
		}
	}
	return nil
}

// shown is what a handshake told of the other side.
type shown struct {
	expiry  time.Time // earliest end of the certificates shown
	chain   time.Time // end of the chain that is trusted longest; zero when none was verified
	whose   string    // the certificate that ends first
	version uint16
}

// whatWasShown finds the certificates even when they are the reason why the handshake failed.
func whatWasShown(state tls.ConnectionState, err error) shown {
	s := shown{version: state.Version}
	certs := state.PeerCertificates
	if refused, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		certs = refused.UnverifiedCertificates
	}
	for _, c := range certs {
		if s.expiry.IsZero() || c.NotAfter.Before(s.expiry) {
			s.expiry, s.whose = c.NotAfter, c.Subject.CommonName
			if s.whose == "" && len(c.DNSNames) > 0 {
				s.whose = c.DNSNames[0]
			}
		}
	}
	for _, chain := range state.VerifiedChains {
		end := chain[0].NotAfter
		for _, c := range chain[1:] {
			if c.NotAfter.Before(end) {
				end = c.NotAfter
			}
		}
		if end.After(s.chain) {
			s.chain = end
		}
	}
	return s
}

// tell writes into an attempt what a full handshake showed; on a kept connection it was told before. The link may be nil.
func (l *link) tell(a *check.Attempt, limits check.Expiry) {
	if l == nil || l.shown.expiry.IsZero() {
		return
	}
	a.CertExpiry = l.shown.expiry
	if !limits.Off {
		a.Note(l.shown.finding(limits, time.Now()))
	}
}

const day = 24 * time.Hour

// finding grades how long the certificates are still good for.
func (s shown) finding(limits check.Expiry, now time.Time) check.Finding {
	return expiryFinding("certificate", s.whose, s.expiry, limits, now)
}

// expiryFinding grades how long a certificate is still good for. Its value is in days.
func expiryFinding(name, whose string, end time.Time, limits check.Expiry, now time.Time) check.Finding {
	left := end.Sub(now)
	f := check.Finding{Name: name, Until: end, Value: math.Floor(left.Hours() / 24)}
	switch {
	case left <= limits.Urgent:
		f.Level = "urgent"
	case left <= limits.General:
		f.Level = "general"
	case left <= limits.Minor:
		f.Level = "minor"
	default:
		return f
	}
	stamp := end.UTC().Format(time.RFC3339)
	if whose = check.Clip(whose, maxSeen); left <= 0 {
		f.Reason = fmt.Sprintf("certificate of %s ended %s", whose, stamp)
	} else {
		f.Reason = fmt.Sprintf("certificate of %s ends %s, %d days left", whose, stamp, int(left/day))
	}
	return f
}

// hostPort takes a target apart that must name both.
func hostPort(spec check.Spec) (host, port string, err error) {
	host, port, err = net.SplitHostPort(spec.Target)
	if err != nil || host == "" || !isPort(port) {
		return "", "", fmt.Errorf("target %s: not host:port", maskTarget(spec.Target))
	}
	return host, port, nil
}

// tlsVersions are those that a handshake may end with, older ones only where the check asks for them.
var tlsVersions = []struct {
	version uint16
	label   string
}{{tls.VersionTLS13, "TLS 1.3"}, {tls.VersionTLS12, "TLS 1.2"}, {tls.VersionTLS11, "TLS 1.1"}, {tls.VersionTLS10, "TLS 1.0"}}

// netSeries are of every kind that connects, netValues their values.
func netSeries(spec check.Spec) []metric.Series {
	out := []metric.Series{metric.New("probe_ip_protocol"), metric.New("probe_ip_addr_hash")}
	if !overTLS(spec) {
		return out
	}
	out = append(out, metric.New("probe_ssl_last_chain_expiry_timestamp_seconds"))
	least := cmp.Or(check.TLSVersions[spec.TLS.MinVersion], tls.VersionTLS12)
	for _, v := range tlsVersions {
		if v.version >= least {
			out = append(out, metric.New("probe_tls_version_info", "version", v.label))
		}
	}
	return out
}

// netValues appends the values of netSeries, and some that no series takes. The link may be nil.
func netValues(out []float64, l *link, secure bool) []float64 {
	if l == nil {
		return out // what is not there is NaN
	}
	family := 6.0
	if l.addr.Unmap().Is4() {
		family = 4
	}
	out = append(out, family, addrHash(l.addr))
	if !secure || l.shown.version == 0 {
		return out
	}
	chain := math.NaN()
	if !l.shown.chain.IsZero() {
		chain = float64(l.shown.chain.Unix())
	}
	out = append(out, chain)
	for _, v := range tlsVersions {
		is := math.NaN()
		if v.version == l.shown.version {
			is = 1
		}
		out = append(out, is)
	}
	return out
}

package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"

	"xunjian/pkg/check"
)

// maxAddresses bounds how many of a name's addresses are tried.
const maxAddresses = 4

// plainDialer leaves TCP keepalive off: a kept connection is looked at before it is used.
var plainDialer = net.Dialer{KeepAlive: -1}

// forbidden are addresses at which clouds hand out credentials, and the link itself. No check may be pointed at them,
// neither by its text nor by its name server.
var forbidden = []netip.Prefix{
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("100.100.100.200/32"),
	netip.MustParsePrefix("fd00:ec2::254/128"),
}

// nat64 addresses hold an IPv4 address in their last four bytes.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// isForbidden sees through the IPv6 forms of IPv4 addresses.
func isForbidden(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if nat64.Contains(a) {
		b := a.As16()
		a = netip.AddrFrom4([4]byte(b[12:]))
	}
	for _, p := range forbidden {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// dialer opens connections to one host.
type dialer struct {
	env  Env
	host string
	port string
	tls  *tls.Config // nil for none
}

// link is an open connection and what was learnt in opening it.
type link struct {
	net.Conn          // with TLS when there is any
	raw      net.Conn // below it
	reader   *bufio.Reader
	meter    meter
	used     bool // an answer has come over it before
	opened   time.Time
	expiry   time.Time // earliest end of the certificates shown
}

// open resolves, connects and shakes hands, each a lap of the watch.
func (d *dialer) open(ctx context.Context, w *stopwatch) (*link, *fault) {
	addrs, bad := d.resolve(ctx)
	w.lap("resolve")
	if bad != nil {
		return nil, bad
	}
	raw, bad := d.connect(ctx, addrs)
	w.lap("connect")
	if bad != nil {
		return nil, bad
	}
	l := &link{Conn: raw, raw: raw, opened: time.Now()}
	if d.tls != nil {
		bad = l.handshake(ctx, d.tls)
		w.lap("tls")
	}
	if bad != nil {
		raw.Close()
		return l, bad
	}
	l.meter.src = l.Conn
	l.reader = bufio.NewReader(&l.meter)
	return l, nil
}

func (d *dialer) resolve(ctx context.Context) ([]netip.Addr, *fault) {
	addrs, bad := d.lookup(ctx)
	if bad != nil {
		return nil, bad
	}
	allowed := make([]netip.Addr, 0, maxAddresses)
	for _, a := range addrs {
		if !isForbidden(a) && len(allowed) < maxAddresses {
			allowed = append(allowed, a)
		}
	}
	if len(allowed) == 0 {
		return nil, unable(check.ClassSetup, "refused to connect to %v: link-local and metadata addresses are not probed", addrs[0])
	}
	return allowed, nil
}

// lookup tells a name that does not exist from a name server that does not answer: only the first is the target's fault.
func (d *dialer) lookup(ctx context.Context) ([]netip.Addr, *fault) {
	if a, err := netip.ParseAddr(d.host); err == nil {
		return []netip.Addr{a}, nil
	}
	addrs, err := d.env.Resolver.LookupNetIP(ctx, "ip", d.host)
	var dns *net.DNSError
	switch {
	case err == nil && len(addrs) > 0:
		return addrs, nil
	case err == nil:
		return nil, failed(check.ClassDNS, "resolve %s: no address", d.host)
	case errors.As(err, &dns) && dns.IsNotFound:
		return nil, failed(check.ClassDNS, "resolve %s: no such host", d.host)
	}
	bad := blame(ctx, "resolve "+d.host, err, check.ClassDNS)
	if bad.class != classGivenUp {
		bad.outcome = check.Unknown
	}
	if bad.class == check.ClassTimeout {
		bad.class = check.ClassDNS
	}
	return nil, bad
}

// connect tries address after address, each with its share of the time left.
func (d *dialer) connect(ctx context.Context, addrs []netip.Addr) (net.Conn, *fault) {
	var bad *fault
	for i, a := range addrs {
		if ctx.Err() != nil && bad != nil {
			break
		}
		conn, err := d.try(ctx, a, len(addrs)-i)
		if err == nil {
			return conn, nil
		}
		bad = blame(ctx, "connect", err, check.ClassConnect)
	}
	return nil, bad
}

func (d *dialer) try(ctx context.Context, a netip.Addr, left int) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
		defer cancel()
	}
	return d.env.Dial(ctx, "tcp", net.JoinHostPort(a.String(), d.port))
}

func (l *link) handshake(ctx context.Context, config *tls.Config) *fault {
	stop := l.endWith(ctx)
	defer stop()
	c := tls.Client(l.raw, config)
	l.Conn = c
	err := c.Handshake()
	l.expiry = earliestExpiry(c.ConnectionState().PeerCertificates, err)
	if err != nil {
		return blame(ctx, "TLS handshake", err, check.ClassTLS)
	}
	return nil
}

// earliestExpiry finds the certificates even when they are the reason why the handshake failed.
func earliestExpiry(chain []*x509.Certificate, err error) time.Time {
	var refused *tls.CertificateVerificationError
	if errors.As(err, &refused) {
		chain = refused.UnverifiedCertificates
	}
	var first time.Time
	for _, c := range chain {
		if first.IsZero() || c.NotAfter.Before(first) {
			first = c.NotAfter
		}
	}
	return first
}

// endWith makes reads and writes fail once ctx ends. The returned stop says whether the connection can still be used.
func (l *link) endWith(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { l.raw.SetDeadline(time.Unix(1, 0)) })
}

// meter lets a stated number of bytes through, then fails: no target can make the probe read for ever.
type meter struct {
	src   io.Reader
	left  int64
	ended bool // the other side has said its last
}

var errTooMuch = errors.New("more than the probe reads")

func (m *meter) Read(p []byte) (int, error) {
	if m.left <= 0 {
		return 0, errTooMuch
	}
	n, err := m.src.Read(p[:min(int64(len(p)), m.left)])
	m.left -= int64(n)
	m.ended = err == io.EOF
	return n, err
}

// stopwatch cuts an attempt into phases.
type stopwatch struct {
	last   time.Time
	phases []check.Phase
}

func startWatch() *stopwatch {
	return &stopwatch{last: time.Now(), phases: make([]check.Phase, 0, 5)}
}

func (w *stopwatch) lap(name string) {
	now := time.Now()
	w.phases = append(w.phases, check.Phase{Name: name, Duration: now.Sub(w.last)})
	w.last = now
}

// tlsConfig is nil when the check speaks no TLS.
func tlsConfig(spec check.Spec, host string) (*tls.Config, error) {
	if !overTLS(spec) {
		return nil, nil
	}
	c := &tls.Config{
		ServerName:         spec.TLS.ServerName,
		InsecureSkipVerify: spec.TLS.SkipVerify,
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

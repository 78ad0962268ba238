package probe

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
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
	netip.MustParsePrefix("168.63.129.16/32"),
	netip.MustParsePrefix("fd00:ec2::254/128"),
	netip.MustParsePrefix("fd20:ce::254/128"),
}

// forms are the IPv6 networks whose addresses hold an IPv4 address, and from which byte on.
var forms = []struct {
	net netip.Prefix
	at  int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12},    // NAT64 (RFC 6052)
	{netip.MustParsePrefix("64:ff9b:1::/48"), 12},  // NAT64 of one's own (RFC 8215), as it is mostly cut
	{netip.MustParsePrefix("::ffff:0:0:0/96"), 12}, // translated (RFC 7915)
	{netip.MustParsePrefix("::/96"), 12},           // compatible (RFC 4291)
	{netip.MustParsePrefix("2002::/16"), 2},        // 6to4 (RFC 3056)
}

// plainly sees through the IPv6 forms of IPv4 addresses.
func plainly(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.IsLoopback() || a.IsUnspecified() { // ::1 is not 0.0.0.1
		return a
	}
	for _, f := range forms {
		if f.net.Contains(a) {
			b := a.As16()
			return netip.AddrFrom4([4]byte(b[f.at:]))
		}
	}
	return a
}

// isHere says that an address leads to the agent's own host. No name and no redirect may lead a check there that is not pointed
// there by its own text: services on loopback take whoever reaches them for the host itself.
func isHere(a netip.Addr) bool {
	a = plainly(a)
	return a.IsLoopback() || a.IsUnspecified()
}

// aimsHere says that a target is written as this very host: localhost, 127.0.0.1.
func aimsHere(target string) bool {
	host := target
	if u, err := url.Parse(target); err == nil && u.Host != "" {
		host = u.Hostname()
	} else if h, _, err := net.SplitHostPort(target); err == nil {
		host = h
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && isHere(a)
}

func isForbidden(a netip.Addr) bool {
	a = plainly(a)
	for _, p := range forbidden {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// dialer opens connections to one host, each guarded anew: what a name means may have changed since.
type dialer struct {
	env      Env
	host     string
	port     string
	network  string      // tcp or udp
	tls      *tls.Config // nil for none
	allow    []netip.Prefix
	here     bool   // the check is pointed at this very host
	family   string // ip4 or ip6 first; empty: in the resolver's order
	only     bool   // no other family
	names    []string
	expiry   check.Expiry
	starttls func(l *link) error // what is said before TLS begins; nil for nothing
	left     int64               // what may be read of the next connection; 0 for all that may be read of one
}

// newDialer takes from the check all that concerns its connections.
func newDialer(spec check.Spec, env Env, host, port string) (dialer, error) {
	d := dialer{
		env: env, host: host, port: port, network: "tcp", family: spec.IPProtocol,
		here: aimsHere(spec.Target), only: spec.IPFallback != nil && !*spec.IPFallback, names: spec.TLS.Names, expiry: spec.TLS.Expiry.WithDefaults(),
	}
	for _, a := range spec.Allow {
		p, err := netip.ParsePrefix(a)
		if err != nil {
			return d, fmt.Errorf("allow: %w", err)
		}
		d.allow = append(d.allow, p)
	}
	return d, nil
}

// link is an open connection and what was learnt in opening it.
type link struct {
	net.Conn          // with TLS when there is any
	raw      net.Conn // below it
	line     *line    // the same, nil for datagrams
	addr     netip.Addr
	reader   *bufio.Reader
	meter    meter
	used     bool // an answer has come over it before
	opened   time.Time
	shown    shown // in the handshake
}

// open resolves, connects and shakes hands, each a lap of the watch. When the handshake fails, the link tells what it showed.
func (d *dialer) open(ctx context.Context, w *stopwatch) (*link, *fault) {
	addrs, bad := d.resolve(ctx)
	w.lap("resolve")
	if bad != nil {
		return nil, bad
	}
	l, bad := d.connect(ctx, addrs)
	w.lap("connect")
	if bad != nil {
		return nil, bad
	}
	if d.tls != nil {
		bad = d.secure(ctx, l)
		w.lap("tls")
	}
	if bad != nil {
		l.raw.Close()
		return l, bad
	}
	l.listen()
	return l, nil
}

// listen reads through the meter from now on.
func (l *link) listen() {
	l.meter.src = l.Conn
	l.reader = bufio.NewReader(&l.meter)
}

func (d *dialer) resolve(ctx context.Context) ([]netip.Addr, *fault) {
	addrs, bad := d.lookup(ctx)
	if bad != nil {
		return nil, bad
	}
	if addrs, bad = d.ofFamily(addrs); bad != nil {
		return nil, bad
	}
	allowed := make([]netip.Addr, 0, maxAddresses)
	for _, a := range addrs {
		refused := isForbidden(a) || isHere(a) && !d.here
		if (!refused || d.allows(a)) && len(allowed) < maxAddresses {
			allowed = append(allowed, a)
		}
	}
	switch {
	case len(allowed) > 0:
	case isHere(addrs[0]):
		return nil, unable(check.ClassSetup, "refused to connect to %v: only a check whose target is written as localhost or a loopback address goes there, unless its allow names the network", addrs[0])
	default:
		return nil, unable(check.ClassSetup, "refused to connect to %v: link-local and metadata addresses are not probed unless the check's allow names their network", addrs[0])
	}
	return allowed, nil
}

func (d *dialer) allows(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(d.allow, func(p netip.Prefix) bool { return p.Contains(a) })
}

// ofFamily keeps the addresses of the preferred family, or the others when there is none of it and the check says so.
func (d *dialer) ofFamily(addrs []netip.Addr) ([]netip.Addr, *fault) {
	if d.family == "" {
		return addrs, nil
	}
	var preferred, others []netip.Addr
	for _, a := range addrs {
		if a.Unmap().Is4() == (d.family == "ip4") {
			preferred = append(preferred, a)
		} else {
			others = append(others, a)
		}
	}
	switch {
	case len(preferred) > 0:
		return preferred, nil
	case d.only:
		return nil, failed(check.ClassDNS, "resolve %s: no %s address", d.host, d.family)
	}
	return others, nil
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
func (d *dialer) connect(ctx context.Context, addrs []netip.Addr) (*link, *fault) {
	var bad *fault
	for i, a := range addrs {
		if ctx.Err() != nil && bad != nil {
			break
		}
		conn, err := d.try(ctx, a, len(addrs)-i)
		if err == nil {
			return d.link(conn, a), nil
		}
		bad = blame(ctx, "connect", err, check.ClassConnect)
	}
	return nil, bad
}

func (d *dialer) link(conn net.Conn, a netip.Addr) *link {
	l := &link{Conn: conn, raw: conn, addr: a, opened: time.Now()}
	if d.network != "udp" { // whose packets are small, and whose type tells that they are packets
		l.line = newLine(conn, cmp.Or(d.left, maxBody))
		l.Conn, l.raw = l.line, l.line
	}
	return l
}

// renew lets a kept connection bring one more answer.
func (l *link) renew() { l.line.left.Store(maxBody) }

func (d *dialer) try(ctx context.Context, a netip.Addr, left int) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
		defer cancel()
	}
	return d.env.Dial(ctx, d.network, net.JoinHostPort(a.String(), d.port))
}

// endWith makes reads and writes fail once ctx ends. The returned stop says whether the connection can still be used.
func (l *link) endWith(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { l.raw.SetDeadline(time.Unix(1, 0)) })
}

// stopwatch cuts an attempt into phases; those of one name, as of several redirects, are summed.
type stopwatch struct {
	last   time.Time
	phases []check.Phase
}

func startWatch() *stopwatch {
	return &stopwatch{last: time.Now(), phases: make([]check.Phase, 0, 5)}
}

func (w *stopwatch) lap(name string) {
	now := time.Now()
	d := now.Sub(w.last)
	w.last = now
	for i := range w.phases {
		if w.phases[i].Name == name {
			w.phases[i].Duration += d
			return
		}
	}
	w.phases = append(w.phases, check.Phase{Name: name, Duration: d})
}

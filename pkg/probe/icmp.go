package probe

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"math"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"xunjian/pkg/check"
	"xunjian/pkg/metric"
)

// icmpAsker sends an echo request and waits for its reply: to it, from the host that was asked, with the bytes that were sent.
type icmpAsker struct {
	dialer
	check.ICMP
	listen func(network, address string) (*icmp.PacketConn, error)
}

// defaultPayload is how much an echo carries, as blackbox_exporter's.
const defaultPayload = 28

// echoes numbers the requests of this process: a raw socket hears the replies to all of them.
var echoes atomic.Uint32

func newICMP(spec check.Spec, env Env) (Asker, error) {
	if spec.Target == "" {
		return nil, errors.New("target: want a host")
	}
	d, err := newDialer(spec, env, strings.Trim(spec.Target, "[]"), "")
	i := &icmpAsker{dialer: d, ICMP: spec.ICMP, listen: icmp.ListenPacket}
	if i.PayloadSize == 0 {
		i.PayloadSize = defaultPayload
	}
	return i, err
}

// family is what differs between the two versions.
type family struct {
	unprivileged, raw, any string
	request, reply         icmp.Type
	protocol               int
}

var (
	family4 = family{"udp4", "ip4:icmp", "0.0.0.0", ipv4.ICMPTypeEcho, ipv4.ICMPTypeEchoReply, 1}
	family6 = family{"udp6", "ip6:ipv6-icmp", "::", ipv6.ICMPTypeEchoRequest, ipv6.ICMPTypeEchoReply, 58}
)

func familyOf(a netip.Addr) family {
	if a.Is4() {
		return family4
	}
	return family6
}

// Ask sends one request.
func (i *icmpAsker) Ask(ctx context.Context, _ bool) check.Attempt {
	w := startWatch()
	addrs, bad := i.resolve(ctx)
	w.lap("resolve")
	hops := math.NaN()
	l := &link{}
	if bad == nil {
		l.addr = addrs[0].Unmap()
		hops, bad = i.echo(ctx, w, l.addr)
	} else {
		l = nil
	}
	a := verdict(bad)
	a.Phases, a.Values = w.phases, netValues([]float64{hops}, l, false)
	return a
}

// notAllowed says what is missing on this host.
const notAllowed = "this host lets the agent send no echo requests: widen sysctl net.ipv4.ping_group_range to the agent's group, or give the agent CAP_NET_RAW"

// openSocket tries the socket that needs no rights first.
func (i *icmpAsker) openSocket(f family) (conn *icmp.PacketConn, raw bool, bad *fault) {
	conn, err := i.listen(f.unprivileged, f.any)
	if err == nil {
		return conn, false, nil
	}
	conn, second := i.listen(f.raw, f.any)
	switch {
	case second == nil:
		return conn, true, nil
	case errors.Is(second, os.ErrPermission), errors.Is(second, syscall.EPERM), errors.Is(second, syscall.EACCES):
		return nil, false, unable(check.ClassSetup, "%s", notAllowed)
	}
	return nil, false, unable(check.ClassSetup, "open ICMP socket: %v", second)
}

// echo returns the hop limit left in the reply, NaN when the system does not tell.
func (i *icmpAsker) echo(ctx context.Context, w *stopwatch, to netip.Addr) (float64, *fault) {
	f := familyOf(to)
	conn, raw, bad := i.openSocket(f)
	if bad != nil {
		return math.NaN(), bad
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := i.configure(conn); err != nil {
		return math.NaN(), unable(check.ClassSetup, "set up ICMP socket: %v", err)
	}
	n := echoes.Add(1)
	body := &icmp.Echo{ID: int(n>>16) ^ os.Getpid()&0xffff, Seq: int(n & 0xffff), Data: make([]byte, i.PayloadSize)}
	rand.Read(body.Data[:min(len(body.Data), 16)])
	wire, err := (&icmp.Message{Type: f.request, Body: body}).Marshal(nil) // the system fills in the checksum of version 6
	if err != nil {
		return math.NaN(), unable(check.ClassSetup, "echo request: %v", err)
	}
	w.lap("setup")
	var dst net.Addr = &net.UDPAddr{IP: to.AsSlice(), Zone: to.Zone()}
	if raw {
		dst = &net.IPAddr{IP: to.AsSlice(), Zone: to.Zone()}
	}
	if _, err := conn.WriteTo(wire, dst); err != nil {
		return math.NaN(), blame(ctx, "send echo request", err, check.ClassConnect)
	}
	hops, bad := awaitEcho(ctx, conn, f, to, body, raw)
	w.lap("rtt")
	return hops, bad
}

func (i *icmpAsker) configure(conn *icmp.PacketConn) error {
	if c := conn.IPv4PacketConn(); c != nil {
		_ = c.SetControlMessage(ipv4.FlagTTL, true) // some systems do not tell it
		if i.TTL > 0 {
			if err := c.SetTTL(i.TTL); err != nil {
				return err
			}
		}
	}
	if c := conn.IPv6PacketConn(); c != nil {
		_ = c.SetControlMessage(ipv6.FlagHopLimit, true)
		if i.TTL > 0 {
			if err := c.SetHopLimit(i.TTL); err != nil {
				return err
			}
		}
	}
	if i.DontFragment {
		return dontFragment(conn)
	}
	return nil
}

// awaitEcho passes over everything but the reply: a raw socket hears all of the host's.
func awaitEcho(ctx context.Context, conn *icmp.PacketConn, f family, from netip.Addr, sent *icmp.Echo, raw bool) (float64, *fault) {
	buf := make([]byte, len(sent.Data)+128)
	for {
		n, hops, peer, err := readEcho(conn, buf)
		if err != nil {
			return math.NaN(), blame(ctx, "wait for echo reply", err, check.ClassConnect)
		}
		if peer != from.WithZone("") {
			continue
		}
		m, err := icmp.ParseMessage(f.protocol, buf[:n])
		if err != nil || m.Type != f.reply {
			continue
		}
		got, ok := m.Body.(*icmp.Echo)
		// Without raw rights the system sets the identifier, and hands only our own replies up.
		if ok && (!raw || got.ID == sent.ID) && got.Seq == sent.Seq && bytes.Equal(got.Data, sent.Data) {
			return hops, nil
		}
	}
}

func readEcho(conn *icmp.PacketConn, buf []byte) (n int, hops float64, from netip.Addr, err error) {
	hops = math.NaN()
	var peer net.Addr
	if c := conn.IPv4PacketConn(); c != nil {
		var cm *ipv4.ControlMessage
		if n, cm, peer, err = c.ReadFrom(buf); cm != nil {
			hops = float64(cm.TTL)
		}
	} else if c := conn.IPv6PacketConn(); c != nil {
		var cm *ipv6.ControlMessage
		if n, cm, peer, err = c.ReadFrom(buf); cm != nil {
			hops = float64(cm.HopLimit)
		}
	}
	switch p := peer.(type) {
	case *net.UDPAddr:
		from = p.AddrPort().Addr()
	case *net.IPAddr:
		from, _ = netip.AddrFromSlice(p.IP)
	}
	return n, hops, from.Unmap().WithZone(""), err
}

func icmpSeries(spec check.Spec) []metric.Series {
	return append([]metric.Series{metric.New("probe_icmp_reply_hop_limit")}, netSeries(spec)...)
}

// dontFragment asks the system to set the flag, and not to know better from an earlier path.
func dontFragment(conn *icmp.PacketConn) error {
	level, option, value := syscall.IPPROTO_IP, syscall.IP_MTU_DISCOVER, syscall.IP_PMTUDISC_PROBE
	var inner net.PacketConn
	if c := conn.IPv4PacketConn(); c != nil {
		inner = c.PacketConn
	} else if c := conn.IPv6PacketConn(); c != nil {
		level, option, value = syscall.IPPROTO_IPV6, syscall.IPV6_MTU_DISCOVER, syscall.IPV6_PMTUDISC_PROBE
		inner = c.PacketConn
	}
	sys, ok := inner.(syscall.Conn)
	if !ok {
		return errors.New("dont_fragment: not known on this system")
	}
	rc, err := sys.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = rc.Control(func(fd uintptr) { set = syscall.SetsockoptInt(int(fd), level, option, value) })
	return errors.Join(err, set)
}

// Close has nothing to give back.
func (i *icmpAsker) Close() error { return nil }

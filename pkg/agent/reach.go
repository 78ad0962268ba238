package agent

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"xunjian/pkg/check"
)

// SelfCheck tells what keeps this host from seeing anything at all; nil when nothing does. A probe that fails then says
// nothing of its target (DOMAIN 1.0 rule 6).
type SelfCheck struct {
	Gateway func(ctx context.Context) error // the neighbour through which all other networks are reached
	Names   func(ctx context.Context) error // the resolver
}

// reach makes the self-check at most once in a while, however many checks fail.
type reach struct {
	self SelfCheck

	mu    sync.Mutex
	at    time.Time
	found [2]string // of the gateway and of the names
}

const (
	reachAgain = 2 * time.Second
	reachWait  = 700 * time.Millisecond // within the second in which a fault is to be confirmed
)

func newReach(s SelfCheck) *reach {
	if s.Gateway == nil {
		s.Gateway = func(ctx context.Context) error { return gatewayAnswers(ctx, "/proc/net") }
	}
	if s.Names == nil {
		s.Names = resolverAnswers
	}
	return &reach{self: s}
}

// fault is what is wrong with this host's own connectivity as far as it explains a failure of the class; empty when nothing is.
func (r *reach) fault(ctx context.Context, class check.Class) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.at) >= reachAgain {
		r.look(ctx)
	}
	if class == check.ClassDNS && r.found[1] != "" {
		return r.found[1]
	}
	return r.found[0]
}

func (r *reach) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, reachWait)
	defer cancel()
	var wg sync.WaitGroup
	for i, look := range []func(context.Context) error{r.self.Gateway, r.self.Names} {
		wg.Go(func() {
			r.found[i] = ""
			if err := look(ctx); err != nil {
				r.found[i] = err.Error()
			}
		})
	}
	wg.Wait()
	r.at = time.Now()
}

// gatewayAnswers asks the neighbour table whether the default gateway is there, after giving the kernel cause to ask it.
// A gateway may drop all that is sent to itself, but it answers for its address or nothing passes. Hosts without a default
// route, and gateways behind links without such addresses, are not judged.
func gatewayAnswers(ctx context.Context, proc string) error {
	gateway, ok := defaultGateway(filepath.Join(proc, "route"))
	if !ok {
		return nil
	}
	for {
		if c, err := (&net.Dialer{}).DialContext(ctx, "udp", netip.AddrPortFrom(gateway, 9).String()); err == nil {
			_, _ = c.Write([]byte{0}) // refused or lost, the neighbour is looked for first
			c.Close()
		}
		state := neighbour(filepath.Join(proc, "arp"), gateway)
		if state != missing {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the default gateway %s does not answer this host", gateway)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// defaultGateway is the first IPv4 default route's.
func defaultGateway(file string) (netip.Addr, bool) {
	for _, f := range rows(file) {
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" {
			continue
		}
		b, err := hex.DecodeString(f[2])
		if err != nil || len(b) != 4 {
			continue
		}
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], binary.NativeEndian.Uint32(b)) // the kernel prints the number as the machine holds it
		if f[2] != "00000000" {
			return netip.AddrFrom4(a), true
		}
	}
	return netip.Addr{}, false
}

type neighbourState int

const (
	unlisted neighbourState = iota
	missing                 // asked for, and no answer
	present
)

// neighbour looks an address up in the kernel's table; flag 2 says that its answer is known.
func neighbour(file string, addr netip.Addr) neighbourState {
	for _, f := range rows(file) {
		if len(f) < 4 || f[0] != addr.String() {
			continue
		}
		if f[2] == "0x0" {
			return missing
		}
		return present
	}
	return unlisted
}

// rows are a table of the kernel, its heading left out, at most a thousand.
func rows(file string) (out [][]string) {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() && len(out) <= 1000 {
		out = append(out, strings.Fields(s.Text()))
	}
	if len(out) > 0 {
		out = out[1:]
	}
	return out
}

// resolverAnswers asks for a name that cannot be (RFC 6761): a resolver that lives says so.
func resolverAnswers(ctx context.Context) error {
	_, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", "self-check.xunjian.invalid.")
	if e, ok := errors.AsType[*net.DNSError](err); ok && !e.IsNotFound && e.Err != "server misbehaving" { // misbehaving, it lives
		return fmt.Errorf("this host's resolver does not answer: %w", err)
	}
	return nil
}

package check

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// kinds says of each kind what is wrong with a check of it. The name and the times have been looked at.
var kinds = map[string]func(s Spec, fail func(path, format string, args ...any)){
	"http": Spec.validateHTTP,
	"tcp": func(s Spec, fail func(path, format string, args ...any)) {
		s.validateAddress(fail)
		s.TCP.validate(fail)
	},
	"dns": func(s Spec, fail func(path, format string, args ...any)) { s.validateHost(fail); s.DNS.validate(fail) },
	"icmp": func(s Spec, fail func(path, format string, args ...any)) {
		s.validateBareHost(fail)
		s.ICMP.validate(fail)
	},
	"tls":  func(s Spec, fail func(path, format string, args ...any)) { s.validateAddress(fail) },
	"tlcp": Spec.validateTLCP,
	"seal": Spec.validateSeal,

	"wopi":       Spec.validateDocument,
	"onlyoffice": Spec.validateDocument,
	"wps":        Spec.validateDocument,

	"grpc": func(s Spec, fail func(path, format string, args ...any)) {
		s.validateAddress(fail)
		s.GRPC.validate(fail)
	},
	"smpp": Spec.validateSMS,
	"cmpp": Spec.validateSMS,
	"flow": func(s Spec, fail func(path, format string, args ...any)) { s.validateURL(fail); s.Flow.validate(fail) },
}

// Kinds names the kinds of check that agents know, in order.
func Kinds() []string { return slices.Sorted(maps.Keys(kinds)) }

// Nonce stands in a target's query, a header, a body, a text to send or an Equals for a token drawn anew at each attempt,
// so that an answer out of a cache does not pass for a living service.
const Nonce = "{nonce}"

// Caps on what a configuration or a plan may hold; they bound what an agent compiles and keeps.
const (
	maxName     = 63
	maxTarget   = 2048
	maxHeaders  = 32
	maxExpects  = 32
	maxPattern  = 512
	maxSent     = 64 << 10
	maxLabels   = 16
	maxCA       = 256 << 10
	minEvery    = 500 * time.Millisecond
	minTimeout  = 50 * time.Millisecond
	maxEvery    = 24 * time.Hour
	defaultWait = 2 * time.Second
	defaultFlow = 30 * time.Second // of steps together
)

var (
	nameForm  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	labelForm = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
)

// ownLabels are set by the probe or the receiver and not to be overridden.
var ownLabels = []string{"__name__", "agent", "check", "instance", "job", "phase", "service"}

// WithDefaults fills what was left out: every 10 s, a timeout of 2 s (a flow's: 30 s) but at most half of Every, slow from half
// the timeout.
func (s Spec) WithDefaults() Spec {
	if _, ok := documentKinds[s.Kind]; ok {
		s = s.documentDefaults()
	}
	if s.Every == 0 {
		s.Every = 10 * time.Second
	}
	if s.Timeout == 0 && s.Kind == "flow" {
		s.Timeout = min(defaultFlow, s.Every/2)
	}
	if s.Timeout == 0 {
		s.Timeout = min(defaultWait, s.Every/2)
	}
	if s.Slow == 0 {
		s.Slow = s.Timeout / 2
	}
	if s.Kind == "http" && s.HTTP.Method == "" {
		s.HTTP.Method = "GET"
	}
	if s.Vantages == 0 && s.LogsIn() {
		s.Vantages = 1 // several at a time count refusals apart, and together may lock the account
	}
	return s
}

// Validate tells fail of every fault in the check, defaults applied; whether the service exists is the collector's to know.
func (s Spec) Validate(fail func(path, format string, args ...any)) {
	s = s.WithDefaults()
	s.validateNames(fail)
	s.validateTimes(fail)
	if validate, ok := kinds[s.Kind]; ok {
		validate(s, fail)
	} else {
		fail("kind", "%q is not a kind of check: want one of %s", s.Kind, strings.Join(Kinds(), ", "))
	}
	s.validateWhen(fail)
	s.validateFamily(fail)
	s.TLS.validate(fail, s.Kind)
}

func (s Spec) validateNames(fail func(path, format string, args ...any)) {
	for _, n := range [...]struct{ path, value string }{{"name", s.Name}, {"service", s.Service}} {
		if len(n.value) > maxName || !nameForm.MatchString(n.value) {
			fail(n.path, "%q: want 1 to %d of a-z, 0-9 and -, no - at the ends", n.value, maxName)
		}
	}
	if len(s.Labels) > maxLabels {
		fail("labels", "%d labels: want at most %d", len(s.Labels), maxLabels)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Labels)) {
		if !labelForm.MatchString(name) || slices.Contains(ownLabels, name) {
			fail("labels."+name, "%q cannot be a label here", name)
		}
		if len(s.Labels[name]) > maxTarget {
			fail("labels."+name, "longer than %d bytes", maxTarget)
		}
	}
}

func (s Spec) validateTimes(fail func(path, format string, args ...any)) {
	if s.Every < minEvery || s.Every > maxEvery {
		fail("every", "%v: want %v to %v", s.Every, minEvery, maxEvery)
	}
	if s.Timeout < minTimeout || s.Timeout >= s.Every {
		fail("timeout", "%v: want at least %v and less than every (%v)", s.Timeout, minTimeout, s.Every)
	}
	if s.Slow <= 0 || s.Slow > s.Timeout {
		fail("slow", "%v: want more than 0 and at most the timeout (%v)", s.Slow, s.Timeout)
	}
	if s.SlowUsual != nil && !UsualFactor(*s.SlowUsual) {
		fail("slow_usual", "%v: want more than 1, at most %d, or 0 for no threshold by what is usual", *s.SlowUsual, MaxUsualFactor)
	}
}

// MaxUsualFactor bounds how many times the usual an answer may take until it is slow.
const MaxUsualFactor = 100

// UsualFactor says whether a number can say so; 0 says that nothing is slow by what is usual.
func UsualFactor(f float64) bool { return f == 0 || f > 1 && f <= MaxUsualFactor }

func (s Spec) validateURL(fail func(path, format string, args ...any)) {
	u, err := url.Parse(s.Target)
	switch {
	case err != nil:
		// The parser's text repeats the URL, which may hold a password.
		fail("target", "not a URL")
	case len(s.Target) > maxTarget:
		fail("target", "longer than %d bytes", maxTarget)
	case u.Scheme != "http" && u.Scheme != "https":
		fail("target", "scheme %q: want http or https", u.Scheme)
	case u.Hostname() == "" || !validPort(u.Port(), true):
		fail("target", "host %q: want host or host:port", u.Host)
	case strings.Contains(u.Host, Nonce):
		fail("target", "%s cannot be part of the host", Nonce)
	case u.Fragment != "":
		fail("target", "a fragment (#%s) is never sent", u.Fragment)
	}
}

func (s Spec) validateAddress(fail func(path, format string, args ...any)) {
	host, port, err := net.SplitHostPort(s.Target)
	if err != nil || host == "" || len(s.Target) > maxTarget || !validPort(port, false) {
		fail("target", "%q: want host:port", s.Target)
	}
}

// validateHost takes host or host:port.
func (s Spec) validateHost(fail func(path, format string, args ...any)) {
	host, port, err := net.SplitHostPort(s.Target)
	if err != nil {
		host, port = s.Target, ""
	}
	if host == "" || len(s.Target) > maxTarget || strings.ContainsAny(host, "/ ") || !validPort(port, err != nil) {
		fail("target", "%q: want host or host:port", s.Target)
	}
}

func (s Spec) validateBareHost(fail func(path, format string, args ...any)) {
	if _, err := netip.ParseAddr(s.Target); err == nil {
		return
	}
	if s.Target == "" || len(s.Target) > maxTarget || strings.ContainsAny(s.Target, "/: ") {
		fail("target", "%q: want a host name or an address, no port", s.Target)
	}
}

func (s Spec) validateFamily(fail func(path, format string, args ...any)) {
	if s.IPProtocol != "" && s.IPProtocol != "ip4" && s.IPProtocol != "ip6" {
		fail("preferred_ip_protocol", "%q: want ip4 or ip6", s.IPProtocol)
	}
	if s.IPFallback != nil && s.IPProtocol == "" {
		fail("ip_protocol_fallback", "means nothing without preferred_ip_protocol")
	}
}

func validPort(port string, empty bool) bool {
	if port == "" {
		return empty
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

func count(set ...bool) int {
	n := 0
	for _, s := range set {
		if s {
			n++
		}
	}
	return n
}

func validatePattern(fail func(path, format string, args ...any), path, pattern string) {
	if len(pattern) > maxPattern {
		fail(path, "longer than %d bytes", maxPattern)
		return
	}
	if _, err := regexp.Compile(pattern); err != nil {
		fail(path, "%v", err)
	}
}

// Stamp sets the revision to a digest of everything else in the plan.
func (p *Plan) Stamp() {
	p.Revision = ""
	b, err := json.Marshal(p)
	if err != nil { // strings, numbers and maps of strings: cannot be
		panic("encode plan: " + err.Error())
	}
	sum := sha256.Sum256(b)
	p.Revision = hex.EncodeToString(sum[:12])
}

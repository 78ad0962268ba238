package blackbox

import (
	"cmp"
	"net"
	"reflect"
	"regexp"
	"strings"

	"xunjian/pkg/check"
	"xunjian/pkg/config"
)

// Apply writes a check's module out in the check. What both could say is a fault, but for who asks (http.basic_auth, http.bearer),
// the timeout, which is the check's when it gives one, and what a certificate is held to (tls.expiry, tls.names).
func (m Modules) Apply(s check.Spec, fail config.Fail) check.Spec {
	from, ok := m[s.Module]
	if !ok {
		fail("module", "%q is not in the module files", s.Module)
		return s
	}
	auth := check.HTTP{BasicAuth: s.HTTP.BasicAuth, Bearer: s.HTTP.Bearer}
	held := check.TLS{Expiry: s.TLS.Expiry, Names: s.TLS.Names}
	for _, section := range [...]struct {
		path       string
		got, empty any
	}{
		{"http", s.HTTP, auth},
		{"tls", s.TLS, held},
		{"tcp", s.TCP, check.TCP{}},
		{"dns", s.DNS, check.DNS{}},
		{"icmp", s.ICMP, check.ICMP{}},
		{"grpc", s.GRPC, check.GRPC{}},
		{"preferred_ip_protocol", s.IPProtocol, ""},
	} {
		if !reflect.DeepEqual(section.got, section.empty) {
			fail(section.path, "the module %s says this: remove it here, or the module", s.Module)
		}
	}
	if s.Kind != "" && s.Kind != from.Kind {
		fail("kind", "%s, but the module %s is of kind %s: remove kind", s.Kind, s.Module, from.Kind)
	}
	s.Kind, s.Timeout = from.Kind, cmp.Or(s.Timeout, from.Timeout)
	s.IPProtocol, s.IPFallback = from.IPProtocol, from.IPFallback
	s.HTTP, s.TCP, s.DNS, s.ICMP, s.GRPC, s.TLS = from.HTTP, from.TCP, from.DNS, from.ICMP, from.GRPC, from.TLS
	if from.Kind == "http" {
		s.HTTP.BasicAuth, s.HTTP.Bearer = auth.BasicAuth, auth.Bearer
	}
	s.TLS.Expiry, s.TLS.Names = held.Expiry, held.Names
	s.Target = target(s)
	return s
}

// schemeForm is a scheme that stands where a target's does: an address in a query is none.
var schemeForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)

// target fills in what blackbox_exporter lets targets leave out.
func target(s check.Spec) string {
	switch {
	case s.Kind == "http" && !schemeForm.MatchString(s.Target):
		return "http://" + s.Target
	case s.Kind == "grpc":
		bare := strings.TrimPrefix(strings.TrimPrefix(s.Target, "http://"), "https://")
		if _, _, err := net.SplitHostPort(bare); err == nil {
			return bare
		}
		if s.GRPC.TLS {
			return net.JoinHostPort(bare, "443")
		}
		return net.JoinHostPort(bare, "80")
	}
	return s.Target
}

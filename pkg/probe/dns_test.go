package probe

import (
	"crypto/tls"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"xunjian/pkg/check"
)

// zone answers for svc.example; other names do not exist.
func zone(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(q)
	rr := func(text string) dns.RR {
		r, err := dns.NewRR(text)
		if err != nil {
			panic(err)
		}
		return r
	}
	switch {
	case !strings.EqualFold(q.Question[0].Name, "svc.example."):
		m.Rcode = dns.RcodeNameError
		m.Ns = []dns.RR{rr("example. 60 IN SOA ns.example. ops.example. 7 1 1 1 1")}
	case q.Question[0].Qtype == dns.TypeSOA:
		m.Answer = []dns.RR{rr("svc.example. 60 IN SOA ns.example. ops.example. 2026112401 1 1 1 1")}
	default:
		m.Answer = []dns.RR{rr("svc.example. 300 IN A 192.0.2.1"), rr("svc.example. 300 IN A 192.0.2.2")}
		m.Extra = []dns.RR{rr("ns.example. 300 IN A 192.0.2.53")}
	}
	w.WriteMsg(m)
}

// nameServer serves on a port of both transports, and over TLS when there is a configuration.
func nameServer(t testing.TB, config *tls.Config) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if config != nil {
		s := &dns.Server{Listener: tls.NewListener(l, config), Net: "tcp-tls", Handler: dns.HandlerFunc(zone)}
		go s.ActivateAndServe()
		t.Cleanup(func() { s.Shutdown() })
		return l.Addr().String()
	}
	p, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		l.Close()
		t.Skipf("the port is taken for udp: %v", err)
	}
	for _, s := range []*dns.Server{{Listener: l, Handler: dns.HandlerFunc(zone)}, {PacketConn: p, Handler: dns.HandlerFunc(zone)}} {
		ready := make(chan struct{})
		s.NotifyStartedFunc = func() { close(ready) }
		go s.ActivateAndServe()
		<-ready
		t.Cleanup(func() { s.Shutdown() })
	}
	return l.Addr().String()
}

func patientDNS(target string, q check.DNS) check.Spec {
	spec := patient(target)
	spec.Kind, spec.DNS = "dns", q
	return spec
}

func TestDNSVerdicts(t *testing.T) {
	addr := nameServer(t, nil)
	tests := map[string]struct {
		dns     check.DNS
		outcome check.Outcome
		class   check.Class
		reason  string
	}{
		"found":                    {check.DNS{Name: "svc.example"}, check.OK, "", ""},
		"over tcp":                 {check.DNS{Name: "svc.example", Transport: "tcp"}, check.OK, "", ""},
		"does not exist":           {check.DNS{Name: "other.example"}, check.Fail, check.ClassStatus, "answer NXDOMAIN"},
		"is not to exist":          {check.DNS{Name: "other.example", Rcodes: []string{"NXDOMAIN"}}, check.OK, "", ""},
		"holds":                    {check.DNS{Name: "svc.example", Answer: check.Records{Match: []string{"\tA\t192\\.0\\.2\\."}, Contain: []string{"192.0.2.2$"}}}, check.OK, "", ""},
		"one record does not":      {check.DNS{Name: "svc.example", Answer: check.Records{Match: []string{"192.0.2.1$"}}}, check.Fail, check.ClassContent, "answer has"},
		"one is refused":           {check.DNS{Name: "svc.example", Answer: check.Records{Refuse: []string{"192.0.2.2$"}}}, check.Fail, check.ClassContent, "refused by 192.0.2.2$"},
		"none contains":            {check.DNS{Name: "svc.example", Answer: check.Records{Contain: []string{"192.0.2.3$"}}}, check.Fail, check.ClassContent, "no record that matches"},
		"all must":                 {check.DNS{Name: "svc.example", Answer: check.Records{All: []string{"192.0.2.1$"}}}, check.Fail, check.ClassContent, "want a match"},
		"nothing where it must":    {check.DNS{Name: "svc.example", Authority: check.Records{Contain: []string{"ns"}}}, check.Fail, check.ClassContent, "no record in authority"},
		"additional":               {check.DNS{Name: "svc.example", Additional: check.Records{Match: []string{"^ns.example"}}}, check.OK, "", ""},
		"refusing nothing is fine": {check.DNS{Name: "svc.example", Authority: check.Records{Refuse: []string{"."}}}, check.OK, "", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) { wantAttempt(t, ask(t, patientDNS(addr, tc.dns)), tc.outcome, tc.class, tc.reason) })
	}
	t.Run("nobody", func(t *testing.T) {
		wantAttempt(t, ask(t, patientDNS(closedPort(t), check.DNS{Name: "svc.example"})), check.Fail, check.ClassConnect, "refused")
	})
	t.Run("forbidden", func(t *testing.T) {
		wantAttempt(t, ask(t, patientDNS("169.254.169.253", check.DNS{Name: "svc.example"})), check.Unknown, check.ClassSetup, "refused to connect")
	})
}

func TestDNSOverTLS(t *testing.T) {
	ca := newTestCA(t)
	addr := nameServer(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, time.Now().Add(99*time.Hour))}})
	spec := patientDNS(addr, check.DNS{Name: "svc.example", Type: "SOA", Transport: "tcp", TLS: true})
	spec.TLS.CA = ca.pem
	p := newTestProber(t, spec, Options{})
	r, samples := p.Run(t.Context(), time.Now())
	wantAttempt(t, r.First(), check.OK, "", "")
	if got := value(t, samples, "probe_dns_serial", ""); got != 2026112401 {
		t.Errorf("serial %v", got)
	}
	if f := r.First().Findings; len(f) != 1 || f[0].Level != "general" {
		t.Errorf("findings %+v, want the certificate that ends in four days", f)
	}
	spec.TLS.CA = newTestCA(t).pem
	wantAttempt(t, ask(t, spec), check.Fail, check.ClassTLS, "unknown authority")
}

// answered is an answer to a question, but for a change.
func answered(q []byte, change func(*dns.Msg)) []byte {
	m := new(dns.Msg)
	m.Unpack(q)
	m.Response = true
	change(m)
	b, _ := m.Pack()
	return b
}

// Name servers that are bad in their own way.
func TestHostileNameServers(t *testing.T) {
	udp := func(answer func(q []byte) [][]byte) string {
		p, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		go func() {
			b := make([]byte, 512)
			for {
				n, from, err := p.ReadFrom(b)
				if err != nil {
					return
				}
				for _, a := range answer(b[:n]) {
					p.WriteTo(a, from)
				}
			}
		}()
		return p.LocalAddr().String()
	}
	stranger := func(q []byte) []byte { return answered(q, func(m *dns.Msg) { m.Id++ }) }
	other := func(q []byte) []byte { return answered(q, func(m *dns.Msg) { m.Question[0].Name = "evil.example." }) }
	right := func(q []byte) []byte { return answered(q, func(*dns.Msg) {}) }
	with := func(change func(*dns.Msg)) string {
		return udp(func(q []byte) [][]byte { return [][]byte{answered(q, change)} })
	}
	tests := map[string]struct {
		target  string
		tcp     bool
		outcome check.Outcome
		class   check.Class
		reason  string
	}{
		"silent":               {udp(func([]byte) [][]byte { return nil }), false, check.Fail, check.ClassTimeout, "no answer in time"},
		"answers another":      {udp(func(q []byte) [][]byte { return [][]byte{stranger(q), other(q)} }), false, check.Fail, check.ClassTimeout, "no answer in time"},
		"right after others":   {udp(func(q []byte) [][]byte { return [][]byte{stranger(q), other(q), right(q)} }), false, check.OK, "", ""},
		"in small letters":     {with(func(m *dns.Msg) { m.Question[0].Name = strings.ToLower(m.Question[0].Name) }), false, check.OK, "", ""},
		"refuses":              {with(func(m *dns.Msg) { m.Rcode = dns.RcodeRefused }), false, check.Fail, check.ClassStatus, "answer REFUSED"},
		"refuses, no question": {with(func(m *dns.Msg) { m.Rcode, m.Question = dns.RcodeRefused, nil }), false, check.Fail, check.ClassStatus, "answer REFUSED"},
		"answers nothing":      {with(func(m *dns.Msg) { m.Question = nil }), false, check.Fail, check.ClassTimeout, "no answer in time"},
		"flood of others": {udp(func(q []byte) [][]byte {
			return strings2bytes(strings.Repeat(string(stranger(q))+"|", 200))
		}), false, check.Fail, "", ""},
		"garbage":     {udp(func(q []byte) [][]byte { return [][]byte{append(q[:2:2], "garbage and more of it"...)} }), false, check.Fail, check.ClassContent, "read answer"},
		"one byte":    {udp(func([]byte) [][]byte { return [][]byte{{1}} }), false, check.Fail, check.ClassContent, "read answer"},
		"tcp: hangs":  {rawServer(t, hang), true, check.Fail, check.ClassTimeout, "no answer in time"},
		"tcp: resets": {rawServer(t, reset), true, check.Fail, check.ClassReset, ""},
		"tcp: long":   {rawServer(t, func(c net.Conn) { drip(c, "\xff\xff"+strings.Repeat("x", 70000), 0) }), true, check.Fail, check.ClassContent, ""},
		"tcp: drips":  {rawServer(t, func(c net.Conn) { drip(c, "\xff", 10*time.Millisecond) }), true, check.Fail, check.ClassTimeout, ""},
		"tcp: another": {rawServer(t, func(c net.Conn) {
			b := make([]byte, 512)
			n, _ := c.Read(b)
			m := stranger(b[2:n])
			c.Write(append([]byte{0, byte(len(m))}, m...))
			hang(c)
		}), true, check.Fail, check.ClassContent, "another question"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			spec := patientDNS(tc.target, check.DNS{Name: "Svc.Example"})
			if tc.tcp {
				spec.DNS.Transport = "tcp"
			}
			if tc.class == check.ClassTimeout || tc.class == "" && tc.outcome == check.Fail {
				spec = hasty(spec)
			}
			start := time.Now()
			a := ask(t, spec)
			if took := time.Since(start); took > spec.Timeout+margin {
				t.Errorf("verdict after %v", took)
			}
			if tc.class == "" && tc.outcome == check.Fail { // the flood: the system may drop what is too much
				tc.class = a.Class
			}
			wantAttempt(t, a, tc.outcome, tc.class, tc.reason)
		})
	}
}

func strings2bytes(s string) (out [][]byte) {
	for part := range strings.SplitSeq(s, "|") {
		out = append(out, []byte(part))
	}
	return out
}

// What a check may name is what can be asked.
func TestDNSWords(t *testing.T) {
	types, classes, codes := check.DNSWords()
	spelt := func(m map[string]uint16) []string {
		words := slices.Sorted(maps.Keys(m))
		return slices.DeleteFunc(words, func(w string) bool { return w != strings.ToUpper(w) }) // None and Reserved are no types
	}
	if diff := cmp.Diff(spelt(dns.StringToType), types); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(spelt(dns.StringToClass), classes); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(dns.StringToRcode)), codes); diff != "" {
		t.Error(diff)
	}
}

func TestDNSSetup(t *testing.T) {
	for reason, q := range map[string]check.DNS{
		"query_type":   {Name: "a", Type: "NOPE"},
		"query_class":  {Name: "a", Class: "NOPE"},
		"valid_rcodes": {Name: "a", Rcodes: []string{"NOPE"}},
		"query_name":   {Name: strings.Repeat("a.", 200)},
	} {
		if _, err := New(patientDNS("127.0.0.1", q), Options{}); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: %v", reason, err)
		}
	}
}

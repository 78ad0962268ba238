package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"regexp"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"xunjian/pkg/check"
	"xunjian/pkg/metric"
)

// dnsAsker asks a name server one question and judges its answer as blackbox_exporter does.
type dnsAsker struct {
	dialer
	secure    bool
	question  dns.Question
	recursion bool
	rcodes    []int
	sections  []section
}

// section is what is asserted of one section of an answer.
type section struct {
	name                        string
	records                     func(*dns.Msg) []dns.RR
	refuse, all, match, contain []*regexp.Regexp
}

// maxStrangers bounds the packets that are not the answer.
const maxStrangers = 64

// defaultRecords is asked for when a check names no type: ANY, which blackbox_exporter asks for, is refused by many (RFC 8482).
const defaultRecords = "A"

func newDNS(spec check.Spec, env Env) (Asker, error) {
	host, port, err := net.SplitHostPort(spec.Target)
	if err != nil { // without a port
		host, port = strings.Trim(spec.Target, "[]"), "53"
		if spec.DNS.TLS {
			port = "853"
		}
	}
	if host == "" || !isPort(port) {
		return nil, fmt.Errorf("target %s: not a name server", maskTarget(spec.Target))
	}
	d := &dnsAsker{secure: overTLS(spec), recursion: spec.DNS.Recursion == nil || *spec.DNS.Recursion}
	if d.dialer, err = newDialer(spec, env, host, port); err != nil {
		return nil, err
	}
	if d.network = "udp"; spec.DNS.Transport == "tcp" {
		d.network = "tcp"
	}
	if d.tls, err = tlsConfig(spec, host); err != nil {
		return nil, err
	}
	return d, d.compile(spec.DNS)
}

func (d *dnsAsker) compile(spec check.DNS) error {
	d.question = dns.Question{Name: dns.Fqdn(spec.Name), Qtype: dns.StringToType[defaultRecords], Qclass: dns.ClassINET}
	if _, ok := dns.IsDomainName(spec.Name); !ok {
		return fmt.Errorf("dns.query_name %q: not a name", spec.Name)
	}
	var ok bool
	if d.question.Qtype, ok = dns.StringToType[cmp.Or(spec.Type, defaultRecords)]; !ok {
		return fmt.Errorf("dns.query_type %q: no such type of record", spec.Type)
	}
	if d.question.Qclass, ok = dns.StringToClass[cmp.Or(spec.Class, "IN")]; !ok {
		return fmt.Errorf("dns.query_class %q: no such class", spec.Class)
	}
	rcodes := spec.Rcodes
	if len(rcodes) == 0 {
		rcodes = []string{"NOERROR"}
	}
	for _, r := range rcodes {
		code, ok := dns.StringToRcode[r]
		if !ok {
			return fmt.Errorf("dns.valid_rcodes %q: no such answer", r)
		}
		d.rcodes = append(d.rcodes, code)
	}
	for _, s := range [...]struct {
		name    string
		spec    check.Records
		records func(*dns.Msg) []dns.RR
	}{
		{"answer", spec.Answer, func(m *dns.Msg) []dns.RR { return m.Answer }},
		{"authority", spec.Authority, func(m *dns.Msg) []dns.RR { return m.Ns }},
		{"additional", spec.Additional, func(m *dns.Msg) []dns.RR { return m.Extra }},
	} {
		sec := section{name: s.name, records: s.records}
		err := errors.Join(compileAll(&sec.refuse, s.spec.Refuse), compileAll(&sec.all, s.spec.All),
			compileAll(&sec.match, s.spec.Match), compileAll(&sec.contain, s.spec.Contain))
		if err != nil {
			return fmt.Errorf("dns.validate_%s_rrs: %w", s.name, err)
		}
		d.sections = append(d.sections, sec)
	}
	return nil
}

func compileAll(into *[]*regexp.Regexp, patterns []string) error {
	for _, p := range patterns {
		re, err := regexp.Compile(p)
		if err != nil {
			return err
		}
		*into = append(*into, re)
	}
	return nil
}

// Ask makes a new connection, or socket, each time.
func (d *dnsAsker) Ask(ctx context.Context, _ bool) check.Attempt {
	w := startWatch()
	l, bad := d.open(ctx, w)
	var answer *dns.Msg
	if bad == nil {
		answer, bad = d.exchange(ctx, l)
		w.lap("request")
	}
	if bad == nil {
		bad = d.judge(answer)
	}
	a := verdict(bad)
	a.Phases, a.Values = w.phases, netValues(d.values(answer), l, d.secure)
	l.tell(&a, d.expiry)
	return a
}

// exchange sends the question and waits for the answer to it: what else comes to the socket is somebody else's.
func (d *dnsAsker) exchange(ctx context.Context, l *link) (*dns.Msg, *fault) {
	defer l.raw.Close()
	stop := l.endWith(ctx)
	defer stop()
	m := &dns.Msg{Question: []dns.Question{d.question}}
	m.Id, m.RecursionDesired = dns.Id(), d.recursion
	conn := &dns.Conn{Conn: l.Conn, UDPSize: dns.DefaultMsgSize}
	if err := conn.WriteMsg(m); err != nil {
		return nil, blame(ctx, "ask", err, check.ClassReset)
	}
	for range maxStrangers {
		answer, err := conn.ReadMsg()
		switch {
		case err != nil && answer != nil && answer.Id == m.Id, err != nil && answer == nil:
			return nil, blame(ctx, "read answer", err, check.ClassContent)
		case err == nil && answer.Id == m.Id && answer.Response && answers(m, answer):
			return answer, nil
		case d.network == "tcp":
			return nil, failed(check.ClassContent, "read answer: it is to another question")
		}
	}
	return nil, failed(check.ClassContent, "read answer: %d packets, none of them the answer", maxStrangers)
}

// answers says that the answer is to the question, which servers may repeat in other letters, and may leave out where they refuse it.
func answers(question, answer *dns.Msg) bool {
	if len(answer.Question) == 0 {
		return answer.Rcode != dns.RcodeSuccess
	}
	q, a := question.Question[0], answer.Question[0]
	return len(answer.Question) == 1 && strings.EqualFold(a.Name, q.Name) && a.Qtype == q.Qtype && a.Qclass == q.Qclass
}

func (d *dnsAsker) judge(answer *dns.Msg) *fault {
	if !slices.Contains(d.rcodes, answer.Rcode) {
		return failed(check.ClassStatus, "answer %s", cmp.Or(dns.RcodeToString[answer.Rcode], fmt.Sprint(answer.Rcode)))
	}
	for _, s := range d.sections {
		if bad := s.judge(s.records(answer)); bad != nil {
			return bad
		}
	}
	return nil
}

func (s section) judge(records []dns.RR) *fault {
	if len(records) == 0 && len(s.match)+len(s.contain) > 0 {
		return failed(check.ClassContent, "no record in %s", s.name)
	}
	contained := len(s.contain) == 0
	for _, r := range records {
		text := r.String()
		matches := func(re *regexp.Regexp) bool { return re.MatchString(text) }
		misses := func(re *regexp.Regexp) bool { return !re.MatchString(text) }
		if i := slices.IndexFunc(s.refuse, matches); i >= 0 {
			return failed(check.ClassContent, "%s has %q, refused by %s", s.name, check.Clip(text, maxSeen), check.Clip(s.refuse[i].String(), maxSeen))
		}
		for _, all := range [][]*regexp.Regexp{s.match, s.all} {
			if i := slices.IndexFunc(all, misses); i >= 0 {
				return failed(check.ClassContent, "%s has %q, want a match of %s", s.name, check.Clip(text, maxSeen), check.Clip(all[i].String(), maxSeen))
			}
		}
		contained = contained || slices.ContainsFunc(s.contain, matches)
	}
	if !contained {
		return failed(check.ClassContent, "%s has no record that matches %s", s.name, check.Clip(s.contain[0].String(), maxSeen))
	}
	return nil
}

func dnsSeries(spec check.Spec) []metric.Series {
	return append([]metric.Series{
		metric.New("probe_dns_query_succeeded"),
		metric.New("probe_dns_answer_rrs"), metric.New("probe_dns_authority_rrs"), metric.New("probe_dns_additional_rrs"),
		metric.New("probe_dns_serial"),
	}, netSeries(spec)...)
}

// values are those of dnsSeries before netSeries. The answer may be nil.
func (d *dnsAsker) values(m *dns.Msg) []float64 {
	if m == nil {
		return []float64{0, 0, 0, 0, math.NaN()}
	}
	serial := math.NaN()
	for _, r := range m.Answer {
		if soa, ok := r.(*dns.SOA); ok && d.question.Qtype == dns.TypeSOA {
			serial = float64(soa.Serial)
		}
	}
	return []float64{1, float64(len(m.Answer)), float64(len(m.Ns)), float64(len(m.Extra)), serial}
}

// Close has nothing to give back.
func (d *dnsAsker) Close() error { return nil }

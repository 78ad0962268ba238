package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// DNS is a question to the name server that is the check's target. The words are blackbox_exporter's.
type DNS struct {
	Name       string   `yaml:"query_name" json:"query_name"`
	Type       string   `yaml:"query_type,omitempty" json:"query_type,omitempty"`                 // default A
	Class      string   `yaml:"query_class,omitempty" json:"query_class,omitempty"`               // default IN
	Recursion  *bool    `yaml:"recursion_desired,omitempty" json:"recursion_desired,omitempty"`   // default true
	Transport  string   `yaml:"transport_protocol,omitempty" json:"transport_protocol,omitempty"` // udp (default) or tcp
	TLS        bool     `yaml:"dns_over_tls,omitempty" json:"dns_over_tls,omitempty"`             // with tcp only
	Rcodes     []string `yaml:"valid_rcodes,omitempty" json:"valid_rcodes,omitempty"`             // default NOERROR
	Answer     Records  `yaml:"validate_answer_rrs,omitempty" json:"validate_answer_rrs,omitzero"`
	Authority  Records  `yaml:"validate_authority_rrs,omitempty" json:"validate_authority_rrs,omitzero"`
	Additional Records  `yaml:"validate_additional_rrs,omitempty" json:"validate_additional_rrs,omitzero"`
}

// Records are assertions on the records of one section, each record as a line of a zone file: name, TTL, class, type and data
// with a tab between them.
type Records struct {
	Refuse  []string `yaml:"fail_if_matches_regexp,omitempty" json:"fail_if_matches_regexp,omitempty"`           // no record may match any
	All     []string `yaml:"fail_if_all_match_regexp,omitempty" json:"fail_if_all_match_regexp,omitempty"`       // every record must match every one: what blackbox_exporter does, whatever its name says
	Match   []string `yaml:"fail_if_not_matches_regexp,omitempty" json:"fail_if_not_matches_regexp,omitempty"`   // every record must match every one, and there must be one
	Contain []string `yaml:"fail_if_none_matches_regexp,omitempty" json:"fail_if_none_matches_regexp,omitempty"` // some record must match one
}

// The words that agents know, as blackbox_exporter does.
var (
	recordTypes = words("A AAAA AFSDB AMTRELAY ANY APL ATMA AVC AXFR CAA CDNSKEY CDS CERT CNAME CSYNC DHCID DLV DNAME DNSKEY DS EID EUI48 EUI64 " +
		"GID GPOS HINFO HIP HTTPS IPSECKEY ISDN IXFR KEY KX L32 L64 LOC LP MAILA MAILB MB MD MF MG MINFO MR MX NAPTR NID NIMLOC NINFO NS NSAP-PTR " +
		"NSEC NSEC3 NSEC3PARAM NULL NXNAME NXT OPENPGPKEY OPT PTR PX RESINFO RKEY RP RRSIG RT SIG SMIMEA SOA SPF SRV SSHFP SVCB TA TALINK TKEY " +
		"TLSA TSIG TXT UID UINFO UNSPEC URI X25 ZONEMD")
	classes = words("ANY CH CS HS IN NONE")
	rcodes  = words("BADALG BADCOOKIE BADKEY BADMODE BADNAME BADSIG BADTIME BADTRUNC DSOTYPENI FORMERR NOERROR NOTAUTH NOTIMP NOTIMPL NOTZONE " +
		"NXDOMAIN NXRRSET REFUSED SERVFAIL YXDOMAIN YXRRSET")
)

func words(s string) map[string]bool {
	out := map[string]bool{}
	for _, w := range strings.Fields(s) {
		out[w] = true
	}
	return out
}

// DNSWords are the types of record, the classes and the answer codes that a question may name.
func DNSWords() (types, class, codes []string) {
	sorted := func(m map[string]bool) []string { return slices.Sorted(maps.Keys(m)) }
	return sorted(recordTypes), sorted(classes), sorted(rcodes)
}

func (d DNS) validate(fail func(path, format string, args ...any)) {
	if d.Name == "" || len(d.Name) > 255 {
		fail("dns.query_name", "%q: want the name that is asked for", d.Name)
	}
	if d.Type != "" && !recordTypes[d.Type] {
		fail("dns.query_type", "%q: want a type of record as A, AAAA or MX", d.Type)
	}
	if d.Class != "" && !classes[d.Class] {
		fail("dns.query_class", "%q: want one of %s", d.Class, strings.Join(slices.Sorted(maps.Keys(classes)), ", "))
	}
	switch {
	case d.Transport != "" && d.Transport != "udp" && d.Transport != "tcp":
		fail("dns.transport_protocol", "%q: want udp or tcp", d.Transport)
	case d.TLS && d.Transport != "tcp":
		fail("dns.dns_over_tls", "needs transport_protocol: tcp")
	}
	for i, r := range d.Rcodes {
		if !rcodes[r] {
			fail(fmt.Sprintf("dns.valid_rcodes[%d]", i), "%q: want a word as NOERROR or NXDOMAIN", r)
		}
	}
	d.Answer.validate(fail, "dns.validate_answer_rrs")
	d.Authority.validate(fail, "dns.validate_authority_rrs")
	d.Additional.validate(fail, "dns.validate_additional_rrs")
}

func (r Records) validate(fail func(path, format string, args ...any), path string) {
	for _, l := range [...]struct {
		name     string
		patterns []string
	}{{"fail_if_matches_regexp", r.Refuse}, {"fail_if_all_match_regexp", r.All}, {"fail_if_not_matches_regexp", r.Match}, {"fail_if_none_matches_regexp", r.Contain}} {
		if len(l.patterns) > maxExpects {
			fail(path+"."+l.name, "%d expressions: want at most %d", len(l.patterns), maxExpects)
		}
		for i, p := range l.patterns {
			validatePattern(fail, fmt.Sprintf("%s.%s[%d]", path, l.name, i), p)
		}
	}
}

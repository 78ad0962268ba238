package check

import (
	"fmt"
	"regexp"
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

var mnemonicForm = regexp.MustCompile(`^[A-Z0-9-]{1,16}$`)

func (d DNS) validate(fail func(path, format string, args ...any)) {
	if d.Name == "" || len(d.Name) > 255 {
		fail("dns.query_name", "%q: want the name that is asked for", d.Name)
	}
	for path, v := range map[string]string{"dns.query_type": d.Type, "dns.query_class": d.Class} {
		if v != "" && !mnemonicForm.MatchString(v) {
			fail(path, "%q: want a word as A, AAAA, MX or IN", v)
		}
	}
	switch {
	case d.Transport != "" && d.Transport != "udp" && d.Transport != "tcp":
		fail("dns.transport_protocol", "%q: want udp or tcp", d.Transport)
	case d.TLS && d.Transport != "tcp":
		fail("dns.dns_over_tls", "needs transport_protocol: tcp")
	}
	for i, r := range d.Rcodes {
		if !mnemonicForm.MatchString(r) {
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

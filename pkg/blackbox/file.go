// Package blackbox reads blackbox_exporter's module files, as they are, as the way in which checks ask.
package blackbox

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/config"
)

// file is a module file. Keys that are known and cannot be honoured stand here as any: what is given there is a fault.
type file struct {
	Modules map[string]module `yaml:"modules"`

	used []string // modules that are wanted, nil for all
	dir  string
	out  map[string]check.Spec
}

type module struct {
	Prober    string        `yaml:"prober"`
	Timeout   time.Duration `yaml:"timeout"`
	HTTP      httpProbe     `yaml:"http"`
	TCP       tcpProbe      `yaml:"tcp"`
	ICMP      icmpProbe     `yaml:"icmp"`
	DNS       dnsProbe      `yaml:"dns"`
	GRPC      grpcProbe     `yaml:"grpc"`
	Unix      any           `yaml:"unix"`
	Websocket any           `yaml:"websocket"`
}

// family is how every prober chooses among a name's addresses.
type family struct {
	Preferred string `yaml:"preferred_ip_protocol"`
	Fallback  *bool  `yaml:"ip_protocol_fallback"`
}

type tlsConfig struct {
	CA         string `yaml:"ca"`
	CAFile     string `yaml:"ca_file"`
	CARef      any    `yaml:"ca_ref"`
	Cert       any    `yaml:"cert"`
	CertFile   any    `yaml:"cert_file"`
	CertRef    any    `yaml:"cert_ref"`
	Key        any    `yaml:"key"`
	KeyFile    any    `yaml:"key_file"`
	KeyRef     any    `yaml:"key_ref"`
	ServerName string `yaml:"server_name"`
	Insecure   bool   `yaml:"insecure_skip_verify"`
	MinVersion string `yaml:"min_version"`
	MaxVersion string `yaml:"max_version"`
}

type httpProbe struct {
	family      `yaml:",inline"`
	TLS         tlsConfig             `yaml:"tls_config"`
	Method      string                `yaml:"method"`
	Headers     map[string]string     `yaml:"headers"`
	HTTPHeaders map[string]headerList `yaml:"http_headers"`
	Body        string                `yaml:"body"`
	BodyFile    string                `yaml:"body_file"`
	Status      []int                 `yaml:"valid_status_codes"`
	Versions    []string              `yaml:"valid_http_versions"`
	SSL         bool                  `yaml:"fail_if_ssl"`
	NotSSL      bool                  `yaml:"fail_if_not_ssl"`
	BodyHas     []string              `yaml:"fail_if_body_matches_regexp"`
	BodyLacks   []string              `yaml:"fail_if_body_not_matches_regexp"`
	HeaderHas   []headerMatch         `yaml:"fail_if_header_matches"`
	HeaderLacks []headerMatch         `yaml:"fail_if_header_not_matches"`
	Compression string                `yaml:"compression"`
	BodyLimit   string                `yaml:"body_size_limit"`
	Follow      *bool                 `yaml:"follow_redirects"`
	NoFollow    *bool                 `yaml:"no_follow_redirects"`
	HTTP2       any                   `yaml:"enable_http2"` // allowed, never asked for: the verdict is the same over 1.1
	HTTP3       bool                  `yaml:"enable_http3"`
	SkipResolve bool                  `yaml:"skip_resolve_phase_with_proxy"` // there is no proxy here
	NoProxy     any                   `yaml:"no_proxy"`                      // the same

	BasicAuth     any `yaml:"basic_auth"`
	Authorization any `yaml:"authorization"`
	Bearer        any `yaml:"bearer_token"`
	BearerFile    any `yaml:"bearer_token_file"`
	OAuth2        any `yaml:"oauth2"`
	Proxy         any `yaml:"proxy_url"`
	ProxyEnv      any `yaml:"proxy_from_environment"`
	ProxyHeader   any `yaml:"proxy_connect_header"`
	CEL           any `yaml:"fail_if_body_json_matches_cel"`
	NotCEL        any `yaml:"fail_if_body_json_not_matches_cel"`
}

type headerList struct {
	Values  []string `yaml:"values"`
	Secrets any      `yaml:"secrets"`
	Files   any      `yaml:"files"`
}

type headerMatch struct {
	Header  string `yaml:"header"`
	Regexp  string `yaml:"regexp"`
	Missing bool   `yaml:"allow_missing"`
}

type tcpProbe struct {
	family `yaml:",inline"`
	Source any             `yaml:"source_ip_address"`
	Turns  []queryResponse `yaml:"query_response"`
	UseTLS bool            `yaml:"tls"`
	TLS    tlsConfig       `yaml:"tls_config"`
}

type queryResponse struct {
	Expect      string `yaml:"expect"`
	ExpectBytes string `yaml:"expect_bytes"`
	Send        string `yaml:"send"`
	StartTLS    bool   `yaml:"starttls"`
	Labels      any    `yaml:"labels"`
}

type icmpProbe struct {
	family       `yaml:",inline"`
	Source       any  `yaml:"source_ip_address"`
	PayloadSize  int  `yaml:"payload_size"`
	DontFragment bool `yaml:"dont_fragment"`
	TTL          int  `yaml:"ttl"`
}

type dnsProbe struct {
	family     `yaml:",inline"`
	Source     any           `yaml:"source_ip_address"`
	UseTLS     bool          `yaml:"dns_over_tls"`
	TLS        tlsConfig     `yaml:"tls_config"`
	Transport  string        `yaml:"transport_protocol"`
	Class      string        `yaml:"query_class"`
	Name       string        `yaml:"query_name"`
	Type       string        `yaml:"query_type"`
	Recursion  *bool         `yaml:"recursion_desired"`
	Rcodes     []string      `yaml:"valid_rcodes"`
	Answer     check.Records `yaml:"validate_answer_rrs"`
	Authority  check.Records `yaml:"validate_authority_rrs"`
	Additional check.Records `yaml:"validate_additional_rrs"`
}

type grpcProbe struct {
	family   `yaml:",inline"`
	Service  string              `yaml:"service"`
	UseTLS   bool                `yaml:"tls"`
	TLS      tlsConfig           `yaml:"tls_config"`
	Metadata map[string][]string `yaml:"metadata"`
}

// Modules are ways to ask, by name.
type Modules map[string]check.Spec

// Load reads a module file, whose folder relative paths in it start from, and turns the modules that are used into what checks understand; nil uses all. The error is
// config.Faults: unknown keys anywhere in the file, and in used modules what cannot be honoured.
func Load(name string, used []string) (Modules, error) {
	dir, err := filepath.Abs(filepath.Dir(name))
	if err != nil {
		return nil, fmt.Errorf("read modules: %w", err)
	}
	f, err := config.Load(name, file{used: used, dir: dir, out: map[string]check.Spec{}})
	return f.out, err
}

func parse(name string, b []byte) (Modules, error) {
	f, err := config.Parse(name, b, file{dir: filepath.Dir(name), out: map[string]check.Spec{}})
	return f.out, err
}

// Validate converts the modules that are used and tells of all that it cannot.
func (f *file) Validate(fail config.Fail) {
	for _, name := range slices.Sorted(maps.Keys(f.Modules)) {
		if f.used == nil || slices.Contains(f.used, name) {
			f.out[name] = f.Modules[name].spec(f.dir, config.Under(fail, "modules."+name))
		}
	}
}

package check

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// HTTP is the request and what its answer must hold.
type HTTP struct {
	Method  string            `yaml:"method,omitempty" json:"method,omitempty"` // default GET
	Headers map[string]string `yaml:"headers,omitempty" json:"headers,omitempty"`
	Body    string            `yaml:"body,omitempty" json:"body,omitempty"`
	Status  []int             `yaml:"status,omitempty" json:"status,omitempty"` // default: any 2xx
	Expect  []Expect          `yaml:"expect,omitempty" json:"expect,omitempty"`

	Redirects   int        `yaml:"redirects,omitempty" json:"redirects,omitempty"`     // most that are followed; default none: a redirect is the answer
	Compression string     `yaml:"compression,omitempty" json:"compression,omitempty"` // gzip or deflate: asked for, and undone within the cap
	BasicAuth   *BasicAuth `yaml:"basic_auth,omitempty" json:"basic_auth,omitempty"`
	Bearer      string     `yaml:"bearer,omitempty" json:"bearer,omitempty"` // name of a secret of the check

	// blackbox_exporter's words for what has no other here.
	Versions     []string `yaml:"valid_http_versions,omitempty" json:"valid_http_versions,omitempty"` // HTTP/1.0, HTTP/1.1; default any
	FailIfSSL    bool     `yaml:"fail_if_ssl,omitempty" json:"fail_if_ssl,omitempty"`                 // of the last answer
	FailIfNotSSL bool     `yaml:"fail_if_not_ssl,omitempty" json:"fail_if_not_ssl,omitempty"`
	MaxBody      int      `yaml:"body_size_limit,omitempty" json:"body_size_limit,omitempty"` // bytes, uncompressed; default and most: 1 MiB
}

// BasicAuth names who asks.
type BasicAuth struct {
	Username string `yaml:"username" json:"username"`
	Password string `yaml:"password" json:"password"` // name of a secret of the check
}

// Expect is one assertion on an HTTP answer: exactly one of Header, JSON and Body names what is looked at.
type Expect struct {
	Header  string  `yaml:"header,omitempty" json:"header,omitempty"` // a header's name
	JSON    string  `yaml:"json,omitempty" json:"json,omitempty"`     // a gjson path into the body
	Body    bool    `yaml:"body,omitempty" json:"body,omitempty"`     // the whole body
	Equals  *string `yaml:"equals,omitempty" json:"equals,omitempty"`
	Match   string  `yaml:"match,omitempty" json:"match,omitempty"`                 // regular expression (RE2) that must match
	Refuse  string  `yaml:"refuse,omitempty" json:"refuse,omitempty"`               // regular expression that must not match
	Exists  bool    `yaml:"exists,omitempty" json:"exists,omitempty"`               // must be there, whatever its value
	Missing bool    `yaml:"allow_missing,omitempty" json:"allow_missing,omitempty"` // holds too when it is not there
}

// Caps on what is asked over HTTP.
const (
	maxRedirects = 10
	maxBody      = 1 << 20
)

var (
	methodForm = regexp.MustCompile(`^[A-Z]{1,16}$`)
	headerForm = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
)

func (s Spec) validateHTTP(fail func(path, format string, args ...any)) {
	s.validateURL(fail)
	s.HTTP.validate(fail)
	if b := s.HTTP.BasicAuth; b != nil {
		s.validateSecretName(fail, "http.basic_auth.password", b.Password)
		if b.Username == "" || strings.ContainsAny(b.Username, ":\r\n") {
			fail("http.basic_auth.username", "%q: want a name without colons", b.Username)
		}
	}
	if s.HTTP.Bearer != "" {
		s.validateSecretName(fail, "http.bearer", s.HTTP.Bearer)
		if s.HTTP.BasicAuth != nil {
			fail("http.bearer", "basic_auth is given too: want one of the two")
		}
	}
}

// validateSecretName sees that the check has the secret: its value is never written down here.
func (s Spec) validateSecretName(fail func(path, format string, args ...any), path, name string) {
	if _, ok := s.Secrets[name]; !ok {
		fail(path, "%q is not among the check's secrets: add it there as %s: {file: NAME}", name, cmp.Or(name, "password"))
	}
}

func (h HTTP) validate(fail func(path, format string, args ...any)) {
	if !methodForm.MatchString(h.Method) {
		fail("http.method", "%q: want an HTTP method in capitals", h.Method)
	}
	if len(h.Headers) > maxHeaders {
		fail("http.headers", "%d headers: want at most %d", len(h.Headers), maxHeaders)
	}
	for _, name := range slices.Sorted(maps.Keys(h.Headers)) {
		value := h.Headers[name]
		if !headerForm.MatchString(name) || strings.ContainsAny(value, "\r\n\x00") || len(value) > maxTarget {
			fail("http.headers."+name, "not a header")
		}
	}
	if len(h.Body) > maxSent {
		fail("http.body", "longer than %d bytes", maxSent)
	}
	for i, code := range h.Status {
		if code < 200 || code > 599 {
			fail(fmt.Sprintf("http.status[%d]", i), "%d: want 200 to 599", code)
		}
	}
	h.validateAnswer(fail)
}

func (h HTTP) validateAnswer(fail func(path, format string, args ...any)) {
	if len(h.Expect) > maxExpects {
		fail("http.expect", "%d assertions: want at most %d", len(h.Expect), maxExpects)
	}
	for i, e := range h.Expect {
		e.validate(fail, fmt.Sprintf("http.expect[%d]", i))
	}
	if h.Redirects < 0 || h.Redirects > maxRedirects {
		fail("http.redirects", "%d: want 0 to %d", h.Redirects, maxRedirects)
	}
	if h.Compression != "" && h.Compression != "gzip" && h.Compression != "deflate" {
		fail("http.compression", "%q: want gzip or deflate", h.Compression)
	}
	for i, v := range h.Versions {
		if v != "HTTP/1.0" && v != "HTTP/1.1" {
			fail(fmt.Sprintf("http.valid_http_versions[%d]", i), "%q: want HTTP/1.0 or HTTP/1.1, which is what checks speak", v)
		}
	}
	if h.FailIfSSL && h.FailIfNotSSL {
		fail("http.fail_if_ssl", "fail_if_not_ssl is given too: nothing could be right")
	}
	if h.MaxBody < 0 || h.MaxBody > maxBody {
		fail("http.body_size_limit", "%d: want at most %d", h.MaxBody, maxBody)
	}
}

func (e Expect) validate(fail func(path, format string, args ...any), path string) {
	if n := count(e.Header != "", e.JSON != "", e.Body); n != 1 {
		fail(path, "names %d of header, json and body: want exactly one", n)
	}
	if count(e.Equals != nil, e.Match != "", e.Refuse != "", e.Exists) == 0 {
		fail(path, "asserts nothing: want equals, match, refuse or exists")
	}
	if e.Exists && e.Missing {
		fail(path, "exists and allow_missing contradict each other: want one of the two")
	}
	validatePattern(fail, path+".match", e.Match)
	validatePattern(fail, path+".refuse", e.Refuse)
}

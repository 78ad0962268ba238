package channel

import (
	"cmp"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"xunjian/pkg/config"
	"xunjian/pkg/contract"
)

// Settings are one channel of the configuration. Which keys beyond the common ones a kind has is in kinds.
type Settings struct {
	Name      string           `yaml:"name"`
	Kind      string           `yaml:"kind"`
	Levels    []contract.Level `yaml:"levels,omitempty"`    // default: all
	Recovered *bool            `yaml:"recovered,omitempty"` // told that a fault is over too; default true, of voice false
	Language  string           `yaml:"language,omitempty"`  // zh-CN or en; default: the product's, and of a person his own
	Limit     *int             `yaml:"limit,omitempty"`     // messages a minute, 0 none; the default is the kind's
	Timeout   time.Duration    `yaml:"timeout,omitempty"`   // of one try; default 10s
	Proxy     string           `yaml:"proxy,omitempty"`     // http, https or socks5
	CAFile    string           `yaml:"ca_file,omitempty"`
	Texts     map[string]Texts `yaml:"texts,omitempty"` // by language

	URL     string        `yaml:"url,omitempty"`
	URLFrom config.Secret `yaml:"url_from,omitempty"` // the same, where the address itself is a secret
	Server  string        `yaml:"server,omitempty"`   // host:port
	User    string        `yaml:"user,omitempty"`
	Token   config.Secret `yaml:"token,omitempty"`  // password, bearer token, robot's key; read anew for each try
	Secret  config.Secret `yaml:"secret,omitempty"` // robots: signs the message
	To      []string      `yaml:"to,omitempty"`     // numbers or addresses reached when a page names nobody

	Gateway *Gateway `yaml:"gateway,omitempty"` // of sms and voice
	Mail    *Mail    `yaml:"mail,omitempty"`    // of email
	SMS     *SMS     `yaml:"sms,omitempty"`     // of cmpp and smpp
}

const (
	defaultTimeout = 10 * time.Second
	maxTo          = 20 // people of one message
	maxLimit       = 6000
)

// base is what all channels are made of.
type base struct {
	s     Settings
	terms Terms
}

func newBase(s Settings) base {
	k := kinds[s.Kind]
	t := Terms{PerMinute: k.limit, Levels: s.Levels, Ends: s.Kind != "voice"}
	if s.Limit != nil {
		t.PerMinute = *s.Limit
	}
	if s.Recovered != nil {
		t.Ends = *s.Recovered
	}
	s.Timeout = cmp.Or(s.Timeout, defaultTimeout)
	return base{s, t}
}

// Name is the configured one.
func (b *base) Name() string { return b.s.Name }

// Terms are the configured ones.
func (b *base) Terms() Terms { return b.terms }

// kind is one way of reaching people.
type kind struct {
	build    func(b base, w wiring) (Channel, error)
	keys     []string // that it has beyond the common ones
	validate func(s Settings, fail config.Fail)
	limit    int // messages a minute
}

var plainName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// validate reports every fault of a channel.
func (s Settings) validate(fail config.Fail) {
	if !plainName.MatchString(s.Name) {
		fail("name", "%q is not a name: use a-z, 0-9 and -, at most 63 characters", s.Name)
	}
	k, ok := kinds[s.Kind]
	if !ok {
		fail("kind", "%q is no kind of channel: want one of %s", s.Kind, strings.Join(Kinds(), ", "))
		return
	}
	for _, level := range s.Levels {
		if _, err := contract.ParseLevel(string(level)); err != nil {
			fail("levels", "%v", err)
		}
	}
	if s.Language != "" && s.Language != "zh-CN" && s.Language != "en" {
		fail("language", "%q: want zh-CN or en", s.Language)
	}
	if s.Limit != nil && (*s.Limit < 0 || *s.Limit > maxLimit) {
		fail("limit", "%d: want 1 to %d messages a minute, or 0 for no limit", *s.Limit, maxLimit)
	}
	if s.Timeout != 0 && (s.Timeout < 100*time.Millisecond || s.Timeout > time.Minute) {
		fail("timeout", "%v is outside 100ms to 1m", s.Timeout)
	}
	if u, err := url.Parse(s.Proxy); s.Proxy != "" && (err != nil || !httpURL(s.Proxy, "http", "https", "socks5")) {
		fail("proxy", "not a URL of a proxy: write http://host:port or socks5://host:port")
	} else if s.Proxy != "" && u.User != nil {
		fail("proxy", "holds a name or a password: use a proxy that lets this host in without")
	}
	s.validateTexts(fail)
	s.foreign(k, fail)
	k.validate(s, fail)
}

// foreign reports keys of other kinds, which would be without effect.
func (s Settings) foreign(k kind, fail config.Fail) {
	for _, key := range []struct {
		name  string
		given bool
	}{
		{"url", s.URL != ""},
		{"url_from", s.URLFrom.Set()},
		{"server", s.Server != ""},
		{"user", s.User != ""},
		{"token", s.Token.Set()},
		{"secret", s.Secret.Set()},
		{"to", s.To != nil},
		{"gateway", s.Gateway != nil},
		{"mail", s.Mail != nil},
		{"sms", s.SMS != nil},
	} {
		if key.given && !slices.Contains(k.keys, key.name) {
			fail(key.name, "a channel of kind %s has no %s: remove it", s.Kind, key.name)
		}
	}
	s.Token.Validate(config.Under(fail, "token"))
	s.Secret.Validate(config.Under(fail, "secret"))
	s.URLFrom.Validate(config.Under(fail, "url_from"))
	if len(s.To) > maxTo {
		fail("to", "%d people, at most %d get one message", len(s.To), maxTo)
	}
}

var placeholder = regexp.MustCompile(`\{[a-z_]+\}`)

func (s Settings) validateTexts(fail config.Fail) {
	for language, t := range s.Texts {
		at := "texts." + language
		if language != "zh-CN" && language != "en" {
			fail(at, "%q: want zh-CN or en", language)
		}
		knows(fail, at+".title", t.Title, "title", "code", "link")
		knows(fail, at+".text", t.Text, "title", "text", "ack", "code", "link")
		knows(fail, at+".short", t.Short, "short", "code", "link")
		if t.Short != "" && !strings.Contains(t.Short, "{short}") {
			fail(at+".short", "does not hold {short}: it would say nothing of the fault")
		}
		if n := units(strings.ReplaceAll(t.Short, "{short}", "")); n > MaxShort/3 {
			fail(at+".short", "%d characters beside {short}, which leave too little of %d to it", n, MaxShort)
		}
	}
}

// knows reports placeholders that nothing would be put in for.
func knows(fail config.Fail, path, text string, names ...string) {
	if len(text) > maxTemplate {
		fail(path, "longer than %d bytes", maxTemplate)
	}
	for _, p := range placeholder.FindAllString(text, -1) {
		if !slices.Contains(names, strings.Trim(p, "{}")) {
			fail(path, "%s is not known here: use {%s}", p, strings.Join(names, "}, {"))
		}
	}
}

const maxTemplate = 4 << 10

func httpURL(s string, schemes ...string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && slices.Contains(schemes, u.Scheme)
}

func needServer(s Settings, fail config.Fail, example string) {
	if host, port, err := net.SplitHostPort(s.Server); err != nil || host == "" || port == "" {
		fail("server", "%q is not host:port: write %s", s.Server, example)
	}
}

// needURL wants the address in the open or from a file or the environment.
func needURL(s Settings, fail config.Fail) {
	switch {
	case s.URL != "" && s.URLFrom.Set():
		fail("url_from", "give url or url_from, not both")
	case s.URLFrom.Set():
	case !httpURL(s.URL, "http", "https"):
		fail("url", "not a URL of a receiver: write http://host/path or https://host/path")
	}
}

// address is where messages go to, read anew for each try when it is a secret.
func (s Settings) address() (string, error) {
	if !s.URLFrom.Set() {
		return s.URL, nil
	}
	return s.URLFrom.Read()
}

// token is empty when none is configured.
func (s Settings) token() (string, error) {
	if !s.Token.Set() {
		return "", nil
	}
	return s.Token.Read()
}

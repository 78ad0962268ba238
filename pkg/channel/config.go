package channel

import (
	"context"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// Config lists the receivers.
type Config struct {
	Webhooks []Webhook `yaml:"webhooks,omitempty"`
	// Dial reaches receivers otherwise than over the network, for tests over memory pipes.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error) `yaml:"-"`
}

// Webhook is a receiver that takes Alertmanager's webhook payload, version 4.
type Webhook struct {
	Name      string        `yaml:"name"`
	URL       string        `yaml:"url"`
	TokenFile string        `yaml:"token_file,omitempty"` // sent as a bearer token; read anew for each try
	TokenEnv  string        `yaml:"token_env,omitempty"`
	CAFile    string        `yaml:"ca_file,omitempty"`
	Timeout   time.Duration `yaml:"timeout,omitempty"` // of one try; default 10 s
	Proxy     string        `yaml:"proxy,omitempty"`   // URL; none unless given
}

// DefaultConfig has no receivers.
func DefaultConfig() Config { return Config{} }

// maxWebhooks bounds the connections and workers of one collector.
const maxWebhooks = 16

var plainName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// Validate reports each receiver that could not work.
func (c Config) Validate(fail func(path, format string, args ...any)) {
	if len(c.Webhooks) > maxWebhooks {
		fail("webhooks", "%d receivers, at most %d can be paged", len(c.Webhooks), maxWebhooks)
	}
	seen := map[string]bool{}
	for i, w := range c.Webhooks {
		at := func(path, format string, args ...any) { fail(index("webhooks", i)+"."+path, format, args...) }
		if seen[w.Name] {
			at("name", "%q is taken by another receiver", w.Name)
		}
		seen[w.Name] = true
		w.validate(at)
	}
}

func (w Webhook) validate(fail func(path, format string, args ...any)) {
	if !plainName.MatchString(w.Name) {
		fail("name", "%q is not a name: use a-z, 0-9 and -, at most 63 characters", w.Name)
	}
	if !httpURL(w.URL, "http", "https") {
		fail("url", "not a URL of a receiver: write http://host/path or https://host/path")
	}
	if w.TokenFile != "" && w.TokenEnv != "" {
		fail("token_env", "give token_file or token_env, not both")
	}
	if w.Timeout != 0 && (w.Timeout < 100*time.Millisecond || w.Timeout > time.Minute) {
		fail("timeout", "%v is outside 100ms to 1m", w.Timeout)
	}
	if w.Proxy != "" && !httpURL(w.Proxy, "http", "https", "socks5") {
		fail("proxy", "not a URL of a proxy: write http://host:port")
	}
}

func httpURL(s string, schemes ...string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && slices.Contains(schemes, u.Scheme)
}

func index(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }

// Channels builds the receivers, reading the certificates that they name.
func (c Config) Channels() ([]Channel, error) {
	var out []Channel
	for _, w := range c.Webhooks {
		ch, err := newWebhook(w)
		if err != nil {
			return nil, err
		}
		if c.Dial != nil {
			ch.transport.DialContext = c.Dial
		}
		out = append(out, ch)
	}
	return out, nil
}

package channel

import (
	"context"
	"net"
	"strconv"
	"time"

	"xunjian/pkg/config"
)

// Config lists the receivers.
type Config struct {
	Webhooks []Webhook  `yaml:"webhooks,omitempty"` // the short form of channels of kind webhook
	List     []Settings `yaml:"channels,omitempty"`
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

// settings are the webhook's as those of any channel.
func (w Webhook) settings() Settings {
	token := config.Secret{File: w.TokenFile, Env: w.TokenEnv}
	if token.File != "" {
		token.Env = "" // both are a fault of its own, in the words of this form
	}
	return Settings{
		Name: w.Name, Kind: "webhook", URL: w.URL, Token: token, CAFile: w.CAFile, Timeout: w.Timeout, Proxy: w.Proxy,
	}
}

// DefaultConfig has no receivers.
func DefaultConfig() Config { return Config{} }

// maxChannels bounds the connections and workers of one collector.
const maxChannels = 32

// Validate reports each receiver that could not work.
func (c Config) Validate(fail config.Fail) {
	if n := len(c.Webhooks) + len(c.List); n > maxChannels {
		list := "channels"
		if len(c.List) == 0 {
			list = "webhooks"
		}
		fail(list, "%d receivers, at most %d can be paged", n, maxChannels)
	}
	seen := map[string]bool{}
	one := func(list string, i int, s Settings) {
		at := config.Under(fail, index(list, i))
		if seen[s.Name] {
			at("name", "%q is taken by another receiver", s.Name)
		}
		seen[s.Name] = true
		s.validate(at)
	}
	for i, w := range c.Webhooks {
		one("webhooks", i, w.settings())
		if w.TokenFile != "" && w.TokenEnv != "" {
			fail(index("webhooks", i)+".token_env", "give token_file or token_env, not both")
		}
	}
	for i, s := range c.List {
		one("channels", i, s)
	}
}

func index(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }

// Resolve puts every path in the configuration into its place.
func (c *Config) Resolve(path func(string) string) {
	for i := range c.Webhooks {
		w := &c.Webhooks[i]
		w.TokenFile, w.CAFile = path(w.TokenFile), path(w.CAFile)
	}
	for i := range c.List {
		s := &c.List[i]
		s.CAFile, s.Token.File, s.Secret.File, s.URLFrom.File = path(s.CAFile), path(s.Token.File), path(s.Secret.File), path(s.URLFrom.File)
	}
}

// CAFiles are the certificates that are named, by the path of their keys.
func (c Config) CAFiles() map[string]string {
	out := map[string]string{}
	for i, w := range c.Webhooks {
		out[index("webhooks", i)+".ca_file"] = w.CAFile
	}
	for i, s := range c.List {
		out[index("channels", i)+".ca_file"] = s.CAFile
	}
	return out
}

// Channels builds the receivers, reading the certificates that they name.
func (c Config) Channels() ([]Channel, error) {
	var all []Settings
	for _, w := range c.Webhooks {
		all = append(all, w.settings())
	}
	var out []Channel
	for _, s := range append(all, c.List...) {
		b := newBase(s)
		w, err := newWiring(b.s, c.Dial)
		if err != nil {
			return nil, err
		}
		ch, err := kinds[s.Kind].build(b, w)
		if err != nil {
			return nil, err
		}
		out = append(out, ch)
	}
	return out, nil
}

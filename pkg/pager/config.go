package pager

import "time"

// Config lists the receivers.
type Config struct {
	Webhooks []Webhook `yaml:"webhooks,omitempty"`
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

// Channels builds the receivers.
func (c Config) Channels() ([]Channel, error) { return nil, nil }

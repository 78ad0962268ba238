package agent

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"xunjian/pkg/uplink"
)

// Config is what an agent is told at its start. Two facts are enough: the collector's address and, the first time, a token.
type Config struct {
	Collector string      `yaml:"collector"`            // host:port of the collector's uplink
	Name      string      `yaml:"name,omitempty"`       // default: the host's name; only used when enrolling
	Token     string      `yaml:"-"`                    // one-time, from --token or the file
	TokenFile string      `yaml:"token_file,omitempty"` // read when there is no identity yet
	State     string      `yaml:"state"`                // folder of the identity, the plan and the spool
	Secrets   string      `yaml:"secrets"`              // folder of the files that checks' secrets refer to; empty: none may
	Spool     SpoolConfig `yaml:"spool,omitempty"`
}

// SpoolConfig caps what is kept on disk while the collector is away.
type SpoolConfig struct {
	MaxBytes int64         `yaml:"max_bytes"`
	MaxAge   time.Duration `yaml:"max_age"`
}

// DefaultConfig keeps 72 h or 64 MiB.
func DefaultConfig() Config {
	return Config{State: "/var/lib/xunjian-agent", Secrets: "/etc/xunjian/secrets", Spool: SpoolConfig{MaxBytes: 64 << 20, MaxAge: 72 * time.Hour}}
}

// Validate finds what would keep the agent from starting.
func (c *Config) Validate(fail func(path, format string, args ...any)) {
	if c.Collector == "" {
		fail("collector", "missing: give the collector's address as 10.0.0.5:9481")
	} else if host, port, err := net.SplitHostPort(c.Collector); err != nil || host == "" || port == "" {
		fail("collector", "%q is not host:port", c.Collector)
	}
	if c.Name != "" && !uplink.ValidName(c.Name) {
		fail("name", "%.80q cannot be an agent's name: want letters, digits and . _ -, at most 63, beginning with a letter or digit", c.Name)
	}
	if c.State == "" {
		fail("state", "missing: give a folder that the agent may write")
	}
	if c.Spool.MaxBytes < 1<<20 {
		fail("spool.max_bytes", "%d: want at least 1048576", c.Spool.MaxBytes)
	}
	if c.Spool.MaxAge < time.Minute {
		fail("spool.max_age", "%v: want at least 1m", c.Spool.MaxAge)
	}
}

// name is the agent's name for enrolment: as configured, or the host's in the form that names have.
func (c *Config) name() string {
	if c.Name != "" {
		return c.Name
	}
	host, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	host, _, _ = strings.Cut(strings.ToLower(host), ".")
	return host
}

// token is the one-time token, from the configuration itself or its file.
func (c *Config) token() (string, error) {
	if c.Token != "" || c.TokenFile == "" {
		return c.Token, nil
	}
	b, err := os.ReadFile(c.TokenFile)
	return strings.TrimSpace(string(b)), err
}

func (c *Config) planFile() string { return filepath.Join(c.State, "plan.json") }

package fleet

import (
	"net"
	"os"
	"strconv"
	"time"

	"xunjian/pkg/contract"
)

// Config is how agents are certified and when they count as silent.
type Config struct {
	Names        []string       `yaml:"names,omitempty"`         // host names and addresses by which agents reach the collector; default: this host's
	Silence      time.Duration  `yaml:"silence,omitempty"`       // not heard for longer is silent
	RestartGrace time.Duration  `yaml:"restart_grace,omitempty"` // not heard for longer after it was ended on purpose is stopped
	SilenceLevel contract.Level `yaml:"silence_level,omitempty"` // of a silent agent while nobody knows whether its host lives
	SkewLimit    time.Duration  `yaml:"skew_limit,omitempty"`    // a clock further off than this is told
	MaxAgents    int            `yaml:"max_agents,omitempty"`
	Agents       []Labelled     `yaml:"agents,omitempty"` // labels of agents
	NewCA        bool           `yaml:"new_ca,omitempty"` // make a new CA when the old one is lost: every agent must then enrol again
}

// Labelled is what is known of an agent beside its name: where it stands, by which checks choose who asks.
type Labelled struct {
	Name      string            `yaml:"name"`
	Labels    map[string]string `yaml:"labels"`
	Redundant string            `yaml:"redundant"` // the group of hosts that stand in for one another; empty: none does
	Address   string            `yaml:"address"`   // of its host, where that is not the one from which it calls
}

// maxLabels is how many labels an agent may have.
const maxLabels = 16

// DefaultConfig holds the limits of DOMAIN 4.1.
func DefaultConfig() Config {
	return Config{Silence: 90 * time.Second, RestartGrace: 2 * time.Minute, SilenceLevel: contract.General, SkewLimit: 5 * time.Second, MaxAgents: 10_000}
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	if c.Silence == 0 {
		c.Silence = d.Silence
	}
	if c.RestartGrace == 0 {
		c.RestartGrace = d.RestartGrace
	}
	if c.SilenceLevel == "" {
		c.SilenceLevel = d.SilenceLevel
	}
	if c.SkewLimit == 0 {
		c.SkewLimit = d.SkewLimit
	}
	if c.MaxAgents == 0 {
		c.MaxAgents = d.MaxAgents
	}
	return c
}

// Validate finds values that would page for nothing, or never.
func (c Config) Validate(fail func(path, format string, args ...any)) {
	c = c.withDefaults()
	if c.Silence < 3*Look || c.Silence > 24*time.Hour {
		fail("silence", "%v: want between %v and 24h", c.Silence, 3*Look)
	}
	if c.RestartGrace < 2*Look || c.RestartGrace > time.Hour {
		fail("restart_grace", "%v: want between %v and 1h", c.RestartGrace, 2*Look)
	}
	if _, err := contract.ParseLevel(string(c.SilenceLevel)); err != nil {
		fail("silence_level", "%v", err)
	}
	if c.SkewLimit < 100*time.Millisecond {
		fail("skew_limit", "%v: want at least 100ms, which networks alone can take", c.SkewLimit)
	}
	if c.MaxAgents < 1 || c.MaxAgents > 1_000_000 {
		fail("max_agents", "%d: want between 1 and 1000000", c.MaxAgents)
	}
	seen := map[string]bool{}
	for i, a := range c.Agents {
		at := func(key string) string { return "agents[" + strconv.Itoa(i) + "]." + key }
		if !ValidName(a.Name) {
			fail(at("name"), "%q: want lower-case letters, digits and hyphens, at most 63", a.Name)
		} else if seen[a.Name] {
			fail(at("name"), "agent %q is there twice", a.Name)
		}
		if a.Address != "" && net.ParseIP(a.Address) == nil && !validHost(a.Address) {
			fail(at("address"), "%q is neither a host name nor an address; leave ports away", a.Address)
		}
		if seen[a.Name] = true; len(a.Labels) > maxLabels {
			fail(at("labels"), "%d labels: want at most %d", len(a.Labels), maxLabels)
		}
	}
	for _, n := range c.Names {
		if net.ParseIP(n) == nil && !validHost(n) {
			fail("names", "%q is neither a host name nor an address; leave ports away", n)
		}
	}
}

// validHost is true of letters, digits, hyphens and dots, which is all that certificates' names may hold.
func validHost(s string) bool {
	if s == "" || len(s) > 253 || s[0] == '.' || s[0] == '-' {
		return false
	}
	for _, r := range s {
		if !(r == '-' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') {
			return false
		}
	}
	return true
}

// names are what the server's certificate must hold: the configured ones, or else all by which this host may be called;
// loopback always, for the command line.
func (c Config) names() (hosts []string, ips []net.IP) {
	hosts, ips = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	for _, n := range c.Names {
		if ip := net.ParseIP(n); ip != nil {
			ips = append(ips, ip)
		} else {
			hosts = append(hosts, n)
		}
	}
	if len(c.Names) > 0 {
		return hosts, ips
	}
	if h, err := os.Hostname(); err == nil && validHost(h) {
		hosts = append(hosts, h)
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return hosts, ips // the loopback names stand
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			ips = append(ips, n.IP)
		}
	}
	return hosts, ips
}

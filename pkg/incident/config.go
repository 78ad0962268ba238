package incident

import "strings"

// Config is what a site writes down about the handling of its incidents.
type Config struct {
	Emergency []string `yaml:"emergency"` // actions that party A has approved beforehand (应急措施目录): they need no consent (R7)
}

// DefaultConfig is what most sites agree on.
func DefaultConfig() Config {
	return Config{Emergency: []string{"重启服务", "切换备机", "回退版本", "隔离主机"}}
}

// Validate sees that the catalogue can be chosen from.
func (c Config) Validate(fail func(path, format string, args ...any)) {
	seen := map[string]bool{}
	for _, name := range c.Emergency {
		switch {
		case strings.TrimSpace(name) == "" || len(name) > maxName:
			fail("emergency", "%q: want a name of 1 to %d bytes", name, maxName)
		case seen[name]:
			fail("emergency", "%q is there twice", name)
		}
		seen[name] = true
	}
}

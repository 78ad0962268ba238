package alertapi

import (
	"maps"
	"slices"
	"strings"
	"time"

	"xunjian/pkg/config"
	"xunjian/pkg/contract"
)

// untold is the word in place of a level for alerts that open nothing, such as a watchdog that always fires.
const untold = "none"

// Config says what the alerts of others mean here.
type Config struct {
	ResolveTimeout time.Duration                `yaml:"resolve_timeout"`     // after which an alert without an end that is not sent again is over
	Level          map[string]map[string]string `yaml:"level"`               // label → value → urgent, general, minor or none; the gravest decides
	Default        string                       `yaml:"default"`             // level of alerts that no label grades
	ServiceLabel   string                       `yaml:"service_label"`       // whose value names the service; without it the alert is of the servers
	Components     []string                     `yaml:"component_labels"`    // whose values, in this order, say what is affected
	Max            int                          `yaml:"max_alerts"`          // kept at one time; further ones are refused
	Anonymous      bool                         `yaml:"anonymous,omitempty"` // whoever reaches the door may send alerts; else an API token of a role that may handle incidents
}

// DefaultConfig reads the words in use for severities.
func DefaultConfig() Config {
	severity := map[string]string{untold: untold}
	for level, words := range map[contract.Level][]string{
		contract.Urgent:  {"critical", "page", "emergency", "disaster", "fatal"},
		contract.General: {"warning", "error", "major", "high", "average"},
		contract.Minor:   {"info", "information", "notice", "minor", "low", "ticket"},
	} {
		for _, w := range words {
			severity[w] = string(level)
		}
	}
	return Config{
		ResolveTimeout: 5 * time.Minute, Level: map[string]map[string]string{"severity": severity}, Default: string(contract.General),
		ServiceLabel: "service", Components: []string{"instance", "namespace", "pod", "mountpoint", "device"}, Max: 20_000,
	}
}

// Validate reports what no alert could be read by.
func (c Config) Validate(fail config.Fail) {
	if c.ResolveTimeout < 10*time.Second || c.ResolveTimeout > 24*time.Hour {
		fail("resolve_timeout", "%v: want 10s to 24h", c.ResolveTimeout)
	}
	for _, label := range slices.Sorted(maps.Keys(c.Level)) {
		for _, value := range slices.Sorted(maps.Keys(c.Level[label])) {
			if l := c.Level[label][value]; !isLevel(l) {
				fail("level."+label+"."+value, "%q: want urgent, general, minor or none", l)
			}
		}
	}
	if !isLevel(c.Default) {
		fail("default", "%q: want urgent, general, minor or none", c.Default)
	}
	if c.ServiceLabel == "" {
		fail("service_label", "missing: name the label that holds the service")
	}
	if c.Max < 100 || c.Max > 100_000 {
		fail("max_alerts", "%d: want 100 to 100000", c.Max)
	}
}

func isLevel(s string) bool {
	_, err := contract.ParseLevel(s)
	return err == nil || s == untold
}

// level is how grave an alert is, "" when nobody is to be told: by our own label, else by the gravest of the labels that
// the configuration knows, else by default.
func (c Config) level(labels map[string]string) contract.Level {
	if l, err := contract.ParseLevel(labels["level"]); err == nil {
		return l
	}
	var best contract.Level
	found := false
	for label, words := range c.Level {
		word, ok := words[labels[label]]
		if !ok {
			word, ok = words[strings.ToLower(labels[label])]
		}
		if ok {
			found = true
			if l, err := contract.ParseLevel(word); err == nil && l.Graver(best) {
				best = l
			}
		}
	}
	if l, err := contract.ParseLevel(c.Default); !found && err == nil {
		best = l
	}
	return best
}

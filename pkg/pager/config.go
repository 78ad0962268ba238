package pager

import "xunjian/pkg/channel"

// Config says who is told, and how.
type Config struct {
	channel.Config `yaml:",inline"` // the receivers
}

// DefaultConfig has no receivers.
func DefaultConfig() Config { return Config{Config: channel.DefaultConfig()} }

package config

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// Secret is a reference to a value that never stands in the configuration itself: a file or an environment variable.
type Secret struct {
	File string `yaml:"file,omitempty"`
	Env  string `yaml:"env,omitempty"`
}

// Set says whether there is a reference at all.
func (s Secret) Set() bool { return s.File != "" || s.Env != "" }

// String never shows the value.
func (s Secret) String() string {
	if !s.Set() {
		return ""
	}
	return "<secret>"
}

// Validate wants at most one reference.
func (s Secret) Validate(fail Fail) {
	if s.File != "" && s.Env != "" {
		fail("", "give file or env, not both")
	}
}

// Read fetches the value, without the line end that editors add.
func (s Secret) Read() (string, error) {
	if s.Env != "" {
		v, ok := os.LookupEnv(s.Env)
		if !ok {
			return "", fmt.Errorf("environment variable %s is not set", s.Env)
		}
		return strings.TrimSpace(v), nil
	}
	b, err := os.ReadFile(s.File)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	return string(bytes.TrimSpace(b)), nil
}

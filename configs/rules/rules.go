// Package rules holds the alerting rules that ship with the collector and are used while its configuration names none.
package rules

import _ "embed"

// Host is host.yml.
//
//go:embed host.yml
var Host []byte

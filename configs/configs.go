// Package configs holds the sample configurations that come with the programs.
package configs

import "embed"

// Services are the shipped checks of services, to be drawn in by a collector's configuration.
//
//go:embed services/*.yml
var Services embed.FS

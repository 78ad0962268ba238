// Package configs holds the sample configurations that come with the programs.
package configs

import "embed"

// Services are the shipped checks of services, and of ways to log in, to be drawn in by a collector's configuration.
//
//go:embed services/*.yml logins/*.yml
var Services embed.FS

// Contract is the contract of the service requirement, which the collector keeps unless its configuration says otherwise.
//
//go:embed contract.yaml
var Contract []byte

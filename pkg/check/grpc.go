package check

import (
	"maps"
	"slices"
	"strings"
)

// GRPC asks a server by the gRPC health protocol.
type GRPC struct {
	Service  string            `yaml:"service,omitempty" json:"service,omitempty"` // default: the server as a whole
	TLS      bool              `yaml:"tls,omitempty" json:"tls,omitempty"`
	Metadata map[string]string `yaml:"metadata,omitempty" json:"metadata,omitempty"`
}

func (g GRPC) validate(fail func(path, format string, args ...any)) {
	if len(g.Service) > maxPattern {
		fail("grpc.service", "longer than %d bytes", maxPattern)
	}
	if len(g.Metadata) > maxHeaders {
		fail("grpc.metadata", "%d pairs: want at most %d", len(g.Metadata), maxHeaders)
	}
	for _, name := range slices.Sorted(maps.Keys(g.Metadata)) {
		if !headerForm.MatchString(name) || strings.HasPrefix(strings.ToLower(name), "grpc-") || strings.HasSuffix(strings.ToLower(name), "-bin") ||
			strings.ContainsAny(g.Metadata[name], "\r\n\x00") || len(g.Metadata[name]) > maxTarget {
			fail("grpc.metadata."+name, "not metadata that can be sent")
		}
	}
}

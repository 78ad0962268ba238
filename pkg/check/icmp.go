package check

// ICMP is an echo request.
type ICMP struct {
	PayloadSize  int  `yaml:"payload_size,omitempty" json:"payload_size,omitempty"` // bytes; default 28
	TTL          int  `yaml:"ttl,omitempty" json:"ttl,omitempty"`                   // hops; default 64
	DontFragment bool `yaml:"dont_fragment,omitempty" json:"dont_fragment,omitempty"`
}

// maxPayload is what fits into an IPv4 packet.
const maxPayload = 65535 - 20 - 8

func (i ICMP) validate(fail func(path, format string, args ...any)) {
	if i.PayloadSize < 0 || i.PayloadSize > maxPayload {
		fail("icmp.payload_size", "%d: want 0 (default) to %d", i.PayloadSize, maxPayload)
	}
	if i.TTL < 0 || i.TTL > 255 {
		fail("icmp.ttl", "%d: want 1 to 255", i.TTL)
	}
}

package check

// validateTLCP is of a check that reads both certificates of a server of the Chinese TLS; whom to trust and when to tell of their
// end is in the section tls.
func (s Spec) validateTLCP(fail func(path, format string, args ...any)) {
	s.validateAddress(fail)
	if s.TLS.MinVersion != "" || s.TLS.MaxVersion != "" {
		fail("tls.min_version", "TLCP has one version only")
	}
	if s.TLS.StartTLS != "" {
		fail("tls.starttls", "no protocol turns to TLCP on the way")
	}
}

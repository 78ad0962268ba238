package probe

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"xunjian/pkg/check"
)

// A session over TLS is judged by its certificate first, which is told beside a good one too.
func TestSessionOverTLS(t *testing.T) {
	t.Setenv("XUNJIAN_SMS", "topsecre")
	ca := newTestCA(t)
	serve := func(until time.Duration) string {
		config := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, time.Now().Add(until))}}
		return rawServer(t, func(c net.Conn) { (&fakeSMSC{t: t}).serve(tls.Server(c, config)) })
	}
	plain := rawServer(t, func(c net.Conn) { (&fakeSMSC{t: t}).serve(c) })
	good := serve(99 * 24 * time.Hour)
	for name, tc := range map[string]struct {
		target, ca string
		tls        bool
		outcome    check.Outcome
		class      check.Class
		level      string // of the finding certificate; "none" for no finding
	}{
		"good":           {good, ca.pem, true, check.OK, "", ""},
		"6 days left":    {serve(6 * 24 * time.Hour), ca.pem, true, check.OK, "", "general"},
		"expired":        {serve(-time.Hour), ca.pem, true, check.Fail, check.ClassTLS, "urgent"},
		"foreign CA":     {good, newTestCA(t).pem, true, check.Fail, check.ClassTLS, ""},
		"not wanted":     {plain, "", false, check.OK, "", "none"},
		"none there":     {plain, ca.pem, true, check.Fail, check.ClassReset, "none"},
		"there unwanted": {good, "", false, check.Fail, check.ClassReset, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := smsSpec(check.SMSQuick)
			spec.Target, spec.SMS.TLS, spec.TLS.CA = tc.target, tc.tls, tc.ca
			p := newTestProber(t, spec, Options{})
			a := p.attempt(t.Context(), true)
			wantAttempt(t, a, tc.outcome, tc.class, "")
			level := "none"
			for _, f := range a.Findings {
				if f.Name == "certificate" {
					level = f.Level
				}
			}
			if level != tc.level || a.CertExpiry.IsZero() != (level == "none") {
				t.Errorf("finding %q, want %q; expiry %v", level, tc.level, a.CertExpiry)
			}
			if tc.outcome == check.OK && stepNamed(a, "terminate").Outcome != check.OK {
				t.Errorf("steps %+v", a.Steps)
			}
		})
	}
}

package check

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func sealSpec() Spec {
	const cert = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
	return Spec{
		Name: "seal", Service: "signature", Kind: "seal", Target: "https://seal.example.org", Every: time.Minute,
		Seal: Seal{Certificate: cert, Authority: cert},
		Flow: &Flow{Vars: map[string]string{"a": "b"}, Steps: []FlowStep{{Name: "s", Request: FlowRequest{URL: "/"}}}},
	}
}

func TestSealIsValidated(t *testing.T) {
	tests := map[string]struct {
		change func(s *Spec)
		want   string
	}{
		"well":           {func(*Spec) {}, ""},
		"files instead":  {func(s *Spec) { s.Seal = Seal{CertificateFile: "a.pem", AuthorityFile: "b.pem"} }, ""},
		"no certificate": {func(s *Spec) { s.Seal.Certificate = "" }, "seal.certificate_file: missing"},
		"no authority":   {func(s *Spec) { s.Seal.Authority = "" }, "seal.authority_file: missing"},
		"no PEM":         {func(s *Spec) { s.Seal.Certificate = "?" }, "seal.certificate: holds no PEM certificate"},
		"expiry":         {func(s *Spec) { s.Seal.Expiry = Expiry{Minor: time.Hour, General: 2 * time.Hour} }, "seal.expiry"},
		"no flow":        {func(s *Spec) { s.Flow = nil }, "flow.steps"},
		"target":         {func(s *Spec) { s.Target = "seal.example.org:443" }, "target"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s := sealSpec()
			tc.change(&s)
			var faults []string
			s.Validate(func(path, format string, args ...any) {
				faults = append(faults, path+": "+fmt.Sprintf(format, args...))
			})
			got := strings.Join(faults, "\n")
			if tc.want == "" && got != "" || !strings.Contains(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// The certificates are variables of the flow as it runs, and not of the one that was written.
func TestSealOwnFlow(t *testing.T) {
	s := sealSpec()
	own := s.OwnFlow()
	if own.Vars["pinned"] != s.Seal.Certificate || own.Vars["authority"] != s.Seal.Authority || own.Vars["a"] != "b" {
		t.Errorf("got %v", own.Vars)
	}
	if len(s.Flow.Vars) != 1 {
		t.Errorf("the written flow changed: %v", s.Flow.Vars)
	}
	if s.Kind = "flow"; s.OwnFlow() != s.Flow {
		t.Error("another kind's flow is not its own")
	}
}

func TestPEMFiles(t *testing.T) {
	s := Spec{TLS: TLS{CAFile: "ca.pem"}, Seal: Seal{CertificateFile: "seal.pem"}}
	for _, f := range s.PEMFiles() {
		*f.Into = "text of " + f.Name
	}
	if s.TLS.CA != "text of ca.pem" || s.Seal.Certificate != "text of seal.pem" || s.Seal.Authority != "" {
		t.Errorf("got %+v, %+v", s.TLS, s.Seal)
	}
}

func TestTLCPIsValidated(t *testing.T) {
	s := Spec{Name: "g", Service: "gateway", Kind: "tlcp", Target: "g.example.org:443", TLS: TLS{MinVersion: "TLS12", StartTLS: "smtp", CA: "?"}}
	var faults []string
	s.Validate(func(path, _ string, _ ...any) { faults = append(faults, path) })
	for _, want := range []string{"tls.min_version", "tls.starttls", "tls.ca"} {
		if !strings.Contains(strings.Join(faults, " "), want) {
			t.Errorf("%s is not among %v", want, faults)
		}
	}
}

package probe

import (
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/ses"
	"xunjian/pkg/tlcp/tlcptest"
)

// gmOffice issues the certificates of servers of the Chinese TLS.
type gmOffice struct {
	*ses.Authority
	now time.Time
}

func newGMOffice(t testing.TB) gmOffice {
	t.Helper()
	now := time.Now()
	ca, err := ses.NewAuthority("test root", now.Add(-100*day), now.Add(3000*day))
	if err != nil {
		t.Fatal(err)
	}
	return gmOffice{ca, now}
}

func (o gmOffice) issue(t testing.TB, role ses.Role, days int) ses.Identity {
	t.Helper()
	id, err := o.Issue("gateway", role, o.now.Add(-90*day), o.now.Add(time.Duration(days)*day+time.Hour), "")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (o gmOffice) check(addr string) check.Spec {
	spec := patient(addr)
	spec.Kind, spec.TLS.CA = "tlcp", string(o.PEM())
	return spec
}

// Both certificates of a real server are read and judged, each by its own end.
func TestTLCP(t *testing.T) {
	o := newGMOffice(t)
	sign, enc := ses.ServerSigning, ses.ServerEncryption
	stranger := newGMOffice(t)
	tests := map[string]struct {
		signing, encryption ses.Identity
		change              func(s *check.Spec)
		class               check.Class
		reason              string
		levels              [2]string
	}{
		"well":               {o.issue(t, sign, 300), o.issue(t, enc, 200), nil, "", "", [2]string{"", ""}},
		"encryption ends":    {o.issue(t, sign, 300), o.issue(t, enc, 20), nil, "", "", [2]string{"", "minor"}},
		"signing ends":       {o.issue(t, sign, 5), o.issue(t, enc, 200), nil, "", "", [2]string{"general", ""}},
		"encryption ended":   {o.issue(t, sign, 300), o.issue(t, enc, -3), nil, check.ClassTLS, "encryption certificate", [2]string{"", "urgent"}},
		"not trusted":        {stranger.issue(t, sign, 300), stranger.issue(t, enc, 300), nil, check.ClassTLS, "signing certificate", [2]string{"", ""}},
		"anybody is trusted": {stranger.issue(t, sign, 300), stranger.issue(t, enc, 300), func(s *check.Spec) { s.TLS.CA, s.TLS.SkipVerify = "", true }, "", "", [2]string{"", ""}},
		"other name":         {o.issue(t, sign, 300), o.issue(t, enc, 300), func(s *check.Spec) { s.TLS.ServerName = "seal.example.org" }, check.ClassTLS, "seal.example.org", [2]string{"", ""}},
		"halves swapped":     {o.issue(t, enc, 300), o.issue(t, sign, 300), nil, check.ClassTLS, "key usage", [2]string{"", ""}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			spec := o.check(tlcptest.Start(t, tc.signing, tc.encryption))
			if tc.change != nil {
				tc.change(&spec)
			}
			a := ask(t, spec)
			outcome := check.OK
			if tc.class != "" {
				outcome = check.Fail
			}
			wantAttempt(t, a, outcome, tc.class, tc.reason)
			if len(a.Findings) != 2 {
				t.Fatalf("findings %+v", a.Findings)
			}
			for i, f := range a.Findings {
				if f.Name != []string{"certificate-sign", "certificate-enc"}[i] || f.Level != tc.levels[i] {
					t.Errorf("finding %+v, want level %q", f, tc.levels[i])
				}
			}
		})
	}
}

// The series name each certificate's end, and the suite.
func TestTLCPSeries(t *testing.T) {
	o := newGMOffice(t)
	signing, encryption := o.issue(t, ses.ServerSigning, 300), o.issue(t, ses.ServerEncryption, 200)
	p := newTestProber(t, o.check(tlcptest.Start(t, signing, encryption)), Options{})
	_, samples := p.Run(t.Context(), time.Now())
	got := map[string]float64{}
	for _, s := range samples {
		if !math.IsNaN(s.Value) {
			got[s.Series.Name+s.Series.Get("usage")+s.Series.Get("suite")] = s.Value
		}
	}
	want := map[string]float64{
		"probe_success":                                1,
		"probe_ssl_earliest_cert_expiry":               float64(encryption.Cert.NotAfter.Unix()),
		"xunjian_probe_tlcp_cert_expirysign":           float64(signing.Cert.NotAfter.Unix()),
		"xunjian_probe_tlcp_cert_expiryenc":            float64(encryption.Cert.NotAfter.Unix()),
		"xunjian_probe_tlcp_suite_infoECC_SM4_CBC_SM3": 1,
		"probe_ip_protocol":                            4,
	}
	for name, v := range want {
		if got[name] != v {
			t.Errorf("%s is %v, want %v", name, got[name], v)
		}
	}
	if _, there := got["xunjian_probe_tlcp_suite_infoECC_SM4_GCM_SM3"]; there {
		t.Error("two suites are told")
	}
}

// A server of another protocol is named as such, and one that never answers costs the timeout.
func TestTLCPOfOthers(t *testing.T) {
	o := newGMOffice(t)
	other := rawServer(t, func(c net.Conn) { c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) })
	wantAttempt(t, ask(t, o.check(other)), check.Fail, check.ClassTLS, "does not speak TLCP")
	alert := rawServer(t, func(c net.Conn) { c.Write([]byte{21, 3, 1, 0, 2, 2, 70}) })
	wantAttempt(t, ask(t, o.check(alert)), check.Fail, check.ClassTLS, "protocol version")
	silent := o.check(rawServer(t, func(c net.Conn) { c.Read(make([]byte, 1<<10)); c.Read(make([]byte, 1)) }))
	silent.Timeout, silent.Slow = 300*time.Millisecond, 200*time.Millisecond
	start := time.Now()
	wantAttempt(t, ask(t, silent), check.Fail, check.ClassTimeout, "no answer in time")
	if took := time.Since(start); took > silent.Timeout+margin {
		t.Errorf("took %v", took)
	}
}

func TestTLCPSetup(t *testing.T) {
	spec := newGMOffice(t).check("127.0.0.1:1")
	spec.TLS.CA = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
	if _, err := New(spec, Options{}); err == nil || !strings.Contains(err.Error(), "tls.ca") {
		t.Errorf("got %v", err)
	}
}

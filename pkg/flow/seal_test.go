package flow

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/tidwall/gjson"

	"xunjian/pkg/ses"
)

const day = 24 * time.Hour

// sealRoom is a CA, a signer, one that took its place, and what the signer made.
type sealRoom struct {
	ca              *ses.Authority
	signer, renewed ses.Identity
	seal            *ses.Seal
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newSealRoom(t *testing.T) sealRoom {
	t.Helper()
	now := time.Now()
	ca, err := ses.NewAuthority("root", now.Add(-100*day), now.Add(1000*day))
	must(t, err)
	r := sealRoom{ca: ca}
	maker, err := ca.Issue("maker", ses.Signer, now.Add(-90*day), now.Add(900*day), "")
	must(t, err)
	r.signer, err = ca.Issue("seal", ses.Signer, now.Add(-90*day), now.Add(90*day), "")
	must(t, err)
	r.renewed, err = ca.Issue("seal", ses.Signer, now.Add(-day), now.Add(900*day), "")
	must(t, err)
	r.seal, err = ses.MakeSeal(ses.Seal{Standard: ses.GBT2020, ID: "1", Name: "章", Created: now.Add(-day), From: now.Add(-day), Until: now.Add(30 * day), Picture: ses.Picture{Type: "PNG"}}, maker, r.signer.Cert)
	must(t, err)
	return r
}

// called works one function out.
func called(name string, v ...string) (string, error) { return functions[name].call(v) }

func TestSM2Verify(t *testing.T) {
	r := newSealRoom(t)
	signature, err := r.signer.Sign([]byte("data"))
	must(t, err)
	digest := strings.Repeat("d", 32)
	raw, err := sm2.SignDeterministic(r.signer.Key, []byte(digest), nil)
	must(t, err)
	der := string(r.signer.Cert.Raw)
	tests := map[string]struct {
		v    []string
		want string
		err  string
	}{
		"DER":         {[]string{der, "data", string(signature)}, "true", ""},
		"PEM":         {[]string{string(r.signer.PEM()), "data", string(signature)}, "true", ""},
		"base64":      {[]string{base64.StdEncoding.EncodeToString(r.signer.Cert.Raw), "data", string(signature), "sm3"}, "true", ""},
		"tampered":    {[]string{der, "Data", string(signature)}, "false", ""},
		"of another":  {[]string{string(r.renewed.Cert.Raw), "data", string(signature)}, "false", ""},
		"digest":      {[]string{der, digest, string(raw), "digest"}, "true", ""},
		"not digest":  {[]string{der, digest, string(raw)}, "false", ""},
		"unknown way": {[]string{der, "data", "s", "md5"}, "", "sm3 or digest"},
		"no cert":     {[]string{"?", "data", "s"}, "", "certificate"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := called("sm2_verify", tc.v...)
			if got != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestCertificateWords(t *testing.T) {
	r, other := newSealRoom(t), newSealRoom(t)
	roots, otherRoots := string(r.ca.PEM()), string(other.ca.PEM())
	pinned, renewed := string(r.signer.PEM()), string(r.renewed.PEM())
	crl, err := r.ca.Revoke(time.Now().Add(-time.Minute), r.signer.Cert)
	must(t, err)
	tests := []struct {
		name string
		v    []string
		want string
		err  string
	}{
		{"cert_verify", []string{pinned, roots}, "ok", ""},
		{"cert_verify", []string{pinned, otherRoots}, "", "certificate"},
		{"cert_signer", []string{pinned, pinned, otherRoots}, string(r.signer.Cert.Raw), ""},
		{"cert_signer", []string{renewed, pinned, roots}, string(r.renewed.Cert.Raw), ""},
		{"cert_signer", []string{string(other.signer.PEM()), pinned, roots}, "", "another certificate than the pinned one"},
		{"cert_signer", []string{roots, pinned, roots}, "", "signs as"},
		{"cert_end", []string{pinned}, r.signer.Cert.NotAfter.Format(time.RFC3339), ""},
		{"cert_serial", []string{pinned}, hex.EncodeToString(r.signer.Cert.SerialNumber.Bytes()), ""},
		{"cert_revoked", []string{pinned, roots, string(crl)}, "true", ""},
		{"cert_revoked", []string{renewed, roots, string(crl)}, "false", ""},
		{"cert_revoked", []string{pinned, otherRoots, string(crl)}, "false", "not signed by"},
		{"cert_revoked", []string{pinned, roots, "<html>"}, "false", "CRL"},
	}
	for _, tc := range tests {
		got, err := called(tc.name, tc.v...)
		if err == nil && got != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: got %q, %v; want %q, %q", tc.name, got, err, tc.want, tc.err)
		}
	}
}

func TestSealWords(t *testing.T) {
	r := newSealRoom(t)
	roots := string(r.ca.PEM())
	other := string(newSealRoom(t).ca.PEM())
	signature, err := ses.MakeSignature(r.seal, r.signer, []byte("list"), time.Now(), "p")
	must(t, err)
	plain, err := called("ofd", "【监测】 5f3c")
	must(t, err)
	sealed, err := ses.SealDocument([]byte(plain), r.seal, r.signer, time.Now())
	must(t, err)
	tests := []struct {
		name string
		v    []string
		path string
		want string
		err  string
	}{
		{"ses_verify", []string{string(signature), "list", roots}, "seal.standard", "GB/T 38540-2020", ""},
		{"ses_verify", []string{string(signature), "List", roots}, "", "", "does not verify"},
		{"ses_verify", []string{string(signature), "list", other}, "", "", "signer's certificate"},
		{"seal_verify", []string{string(r.seal.DER()), roots}, "name", "章", ""},
		{"seal_verify", []string{string(r.seal.DER()), other}, "", "", "maker's certificate"},
		{"seal_verify", []string{"?", roots}, "", "", "seal"},
		{"ofd_verify", []string{string(sealed), roots}, "text", "【监测】 5f3c\n", ""},
		{"ofd_verify", []string{string(sealed), other}, "", "", "signer's certificate"},
		{"ofd_verify", []string{plain, roots}, "", "", "no signature"},
		{"ofd_verify", []string{"<html>", roots}, "", "", "OFD"},
	}
	for _, tc := range tests {
		got, err := called(tc.name, tc.v...)
		if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.err)
		} else if err == nil && gjson.Get(got, tc.path).String() != tc.want {
			t.Errorf("%s: %s of %s", tc.name, tc.path, got)
		}
	}
}

func TestTimeWords(t *testing.T) {
	at := func(d time.Duration) string { return time.Now().Add(d).Format(time.RFC3339) }
	tests := []struct {
		name string
		v    []string
		err  string
	}{
		{"within", []string{at(-20 * time.Second), "60s"}, ""},
		{"within", []string{at(10 * time.Minute), "60s"}, "from now, want at most 1m0s"},
		{"within", []string{at(-time.Hour), "5m"}, "from now, want at most 5m0s"},
		{"within", []string{"soon", "5m"}, "not a date"},
		{"within", []string{at(0), "five"}, "limit"},
		{"between", []string{at(-time.Hour), at(time.Hour)}, ""},
		{"between", []string{at(-2 * time.Hour), at(-time.Hour)}, "ended on"},
		{"between", []string{at(time.Hour), at(2 * time.Hour)}, "not before"},
		{"between", []string{"", at(time.Hour)}, "not two dates"},
	}
	for _, tc := range tests {
		got, err := called(tc.name, tc.v...)
		if (err == nil) != (tc.err == "") || err == nil && got != "ok" || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s(%q): %q, %v; want %q", tc.name, tc.v, got, err, tc.err)
		}
	}
}

package fleet

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEnrol(t *testing.T) {
	r := newRegistry(t, Options{})
	text := mustToken(t, r, "")
	cert := func() *x509.Certificate {
		b, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
			Subject:  pkix.Name{CommonName: "web-1", Organization: []string{"Evil"}},
			DNSNames: []string{"collector.example.cn"}, URIs: []*url.URL{identityURI("web-1")},
		}, testKey)
		if err != nil {
			t.Fatal(err)
		}
		der, chain, err := r.Enroll(t.Context(), text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: b}), "10.0.0.7:4711")
		if err != nil {
			t.Fatal(err)
		}
		if string(chain) != string(r.CA().Raw) {
			t.Error("chain is not the CA")
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}()
	if cert.Subject.String() != "CN=web-1" || len(cert.DNSNames) > 0 || len(cert.URIs) != 1 || cert.URIs[0].String() != "xunjian:agent:web-1" || cert.IsCA {
		t.Errorf("certificate: %v %v %v", cert.Subject, cert.DNSNames, cert.URIs)
	}
	if !slices.Equal(cert.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) || cert.KeyUsage != x509.KeyUsageDigitalSignature {
		t.Errorf("usage: %v %v", cert.ExtKeyUsage, cert.KeyUsage)
	}
	if life := time.Until(cert.NotAfter); life > agentLife || life < agentLife-time.Minute || time.Since(cert.NotBefore) < backdate {
		t.Errorf("life %v from %v", life, cert.NotBefore)
	}
	got := r.Agents()
	if len(got) != 1 || got[0].Name != "web-1" || got[0].Serial != cert.SerialNumber.Text(16) || got[0].EnrolledBy != "驻点" || got[0].State() != "never" {
		t.Errorf("agents: %+v", got)
	}
	tokens, err := r.Tokens(time.Now())
	if err != nil || len(tokens) != 1 || tokens[0].State != Used || tokens[0].UsedBy != "web-1" || tokens[0].UsedFrom != "10.0.0.7:4711" {
		t.Errorf("tokens: %+v %v", tokens, err)
	}
}

func TestEnrolRefused(t *testing.T) {
	r := newRegistry(t, Options{})
	good := request(t, "web-2", testKey)
	enrol(t, r, "web-1")
	revoked := mustToken(t, r, "")
	if _, err := r.RevokeToken(time.Now(), strings.Split(revoked, ".")[1], "二线"); err != nil {
		t.Fatal(err)
	}
	expired, _, err := r.CreateToken(time.Now().Add(-2*time.Hour), TokenRequest{By: "驻点"})
	if err != nil {
		t.Fatal(err)
	}
	fresh := mustToken(t, r, "")
	other := strings.Split(fresh, ".")
	flip := func(i int) string {
		p := slices.Clone(other)
		c := byte('a')
		if p[i][0] == 'a' {
			c = 'b'
		}
		p[i] = string(c) + p[i][1:]
		return strings.Join(p, ".")
	}
	for name, c := range map[string]struct {
		token string
		csr   []byte
		want  Refusal
	}{
		"no token":        {"", good, ErrTokenFormat},
		"cut":             {fresh[:len(fresh)-1], good, ErrTokenFormat},
		"upper case":      {strings.ToUpper(fresh), good, ErrTokenFormat},
		"other version":   {"xj2" + fresh[3:], good, ErrTokenFormat},
		"endless":         {strings.Repeat("x", 1<<20), good, ErrTokenFormat},
		"unknown id":      {flip(1), good, ErrTokenUnknown},
		"wrong secret":    {flip(2), good, ErrTokenUnknown},
		"other collector": {flip(3), good, ErrWrongCA},
		"expired":         {expired, good, ErrTokenExpired},
		"revoked":         {revoked, good, ErrTokenRevoked},
		"for another":     {mustToken(t, r, "db-1"), good, ErrTokenName},
		"name taken":      {fresh, request(t, "web-1", testKey), ErrNameTaken},
	} {
		_, _, err := r.Enroll(t.Context(), c.token, c.csr, "")
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
		var no Refusal
		if !errors.As(err, &no) || no.Reason() != string(c.want) || no.Error() == "" {
			t.Errorf("%s: reason %q", name, no.Reason())
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := r.Enroll(gone, fresh, good, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("caller went away: %v", err)
	}
	if len(r.Agents()) != 1 {
		t.Errorf("agents: %+v", r.Agents())
	}
	// None of that used the token up.
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Enroll(t.Context(), " "+fresh+"\n", request(t, "web-2", key), ""); err != nil {
		t.Errorf("good at last: %v", err)
	}
}

// A request that is not what an agent's must be gets no certificate, and does not use the token up.
func TestRequestRefused(t *testing.T) {
	r := newRegistry(t, Options{})
	fresh := mustToken(t, r, "")
	good := request(t, "web-2", testKey)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	forged := slices.Clone(good)
	forged[len(forged)-1] ^= 1
	posing, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "web-2"}, URIs: []*url.URL{identityURI("web-1")}}, testKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		csr  []byte
		want Refusal
	}{
		"no name":      {request(t, "", testKey), ErrBadName},
		"bad name":     {request(t, "Web_1", testKey), ErrBadName},
		"path as name": {request(t, "../../etc", testKey), ErrBadName},
		"long name":    {request(t, strings.Repeat("a", 64), testKey), ErrBadName},
		"RSA 1024":     {request(t, "web-2", weak), ErrBadRequest},
		"P-224":        {request(t, "web-2", p224), ErrBadRequest},
		"forged":       {forged, ErrBadRequest},
		"posing":       {posing, ErrBadRequest},
		"nothing":      {nil, ErrBadRequest},
		"huge":         {make([]byte, maxCSR+1), ErrBadRequest},
	} {
		if _, _, err := r.Enroll(t.Context(), fresh, c.csr, ""); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	if _, _, err := r.Enroll(t.Context(), fresh, good, ""); err != nil {
		t.Errorf("good at last: %v", err)
	}
}

// Of many who come with one token at once, one gets in.
func TestTokenWinsOnce(t *testing.T) {
	r := newRegistry(t, Options{})
	text := mustToken(t, r, "")
	names := []string{"a", "b", "c", "d"}
	requests := map[string][]byte{}
	for _, n := range names {
		requests[n] = request(t, n, testKey)
	}
	var won, used atomic.Int32
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			_, _, err := r.Enroll(t.Context(), text, requests[names[i%len(names)]], "")
			switch {
			case err == nil:
				won.Add(1)
			case errors.Is(err, ErrTokenUsed):
				used.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || used.Load() != 63 || len(r.Agents()) != 1 {
		t.Errorf("%d won, %d were told that it is used, %d agents", won.Load(), used.Load(), len(r.Agents()))
	}
}

// What was decided holds after a restart.
func TestEnrolmentSurvives(t *testing.T) {
	dir := t.TempDir()
	db := openStore(t, dir)
	r, err := New(db, Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	text := mustToken(t, r, "")
	if _, _, err := r.Enroll(t.Context(), text, request(t, "web-1", testKey), ""); err != nil {
		t.Fatal(err)
	}
	before := r.Agents()
	if r, err = New(db, Options{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, r.Agents()); diff != "" {
		t.Error(diff)
	}
	if err := r.Known("web-1", before[0].Serial); err != nil {
		t.Error(err)
	}
	if _, _, err := r.Enroll(t.Context(), text, request(t, "web-2", testKey), ""); !errors.Is(err, ErrTokenUsed) {
		t.Errorf("used token: %v", err)
	}
}

func TestFull(t *testing.T) {
	r := newRegistry(t, Options{Config: Config{MaxAgents: 1}})
	enrol(t, r, "a")
	if _, _, err := r.Enroll(t.Context(), mustToken(t, r, ""), request(t, "b", testKey), ""); !errors.Is(err, ErrFull) {
		t.Errorf("second of one: %v", err)
	}
	enrol(t, r, "a") // takes no more room
}

func TestTokens(t *testing.T) {
	dir := t.TempDir()
	db := openStore(t, dir)
	r, err := New(db, Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		for want, q := range map[string]TokenRequest{
			"agent": {Agent: "-x", By: "驻点"}, "ttl": {TTL: 31 * 24 * time.Hour, By: "驻点"}, "by": {},
		} {
			var bad *BadRequest
			if _, _, err := r.CreateToken(now, q); !errors.As(err, &bad) || bad.Field != want || strings.HasPrefix(bad.Text(r.text), "fleet.") {
				t.Errorf("%+v: %v", q, err)
			}
		}
		text, tok, err := r.CreateToken(now, TokenRequest{Agent: "web-1", By: "驻点", TTL: time.Minute})
		if err != nil || tok.State != Unused || tok.ExpiresAt.Sub(tok.CreatedAt) != time.Minute || !strings.HasSuffix(text, "."+r.Fingerprint()) {
			t.Fatalf("%+v %v", tok, err)
		}
		if _, err := r.RevokeToken(now, "aaaaaaaaaaaaaaaa", "二线"); !errors.Is(err, ErrNoToken) {
			t.Errorf("revoked a stranger: %v", err)
		}
		time.Sleep(time.Minute)
		if got, err := r.RevokeToken(time.Now(), tok.ID, "二线"); err != nil || got.State != Expired {
			t.Errorf("revoked when expired: %+v %v", got, err)
		}
		time.Sleep(keepEnded + time.Hour)
		if _, _, err := r.CreateToken(time.Now(), TokenRequest{By: "驻点"}); err != nil {
			t.Fatal(err)
		}
		if all, err := r.Tokens(time.Now()); err != nil || len(all) != 1 {
			t.Errorf("old tokens are kept: %+v %v", all, err)
		}
	})
}

func FuzzParseToken(f *testing.F) {
	f.Add("xj1." + strings.Repeat("a", 16) + "." + strings.Repeat("b", 32) + "." + strings.Repeat("0f", 32))
	f.Add("xj1..." + strings.Repeat("0", 64))
	f.Fuzz(func(t *testing.T, s string) {
		tok, err := parseToken(s)
		if err != nil {
			return
		}
		if got := "xj1." + tok.id + "." + tok.secret + "." + tok.ca; got != strings.TrimSpace(s) || len(got) != 118 {
			t.Errorf("%q was read as %q", s, got)
		}
	})
}

func FuzzParseRequest(f *testing.F) {
	good := request(f, "web-1", testKey)
	f.Add(good)
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: good}))
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := parseRequest(b)
		if err == nil && !ValidName(q.Subject.CommonName) {
			t.Errorf("accepted the name %q", q.Subject.CommonName)
		}
		var no Refusal
		if err != nil && !errors.As(err, &no) {
			t.Errorf("refused without a reason: %v", err)
		}
	})
}

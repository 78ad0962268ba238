package uplink

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"
)

const (
	goodID     = "abcdefghijklmnop"
	goodSecret = "abcdefghijklmnopqrstuvwxyz234567"
)

func TestParseToken(t *testing.T) {
	hash := strings.Repeat("0a", 32)
	good := "xj1." + goodID + "." + goodSecret + "." + hash
	for _, text := range []string{good, " " + good + "\n"} {
		got, err := ParseToken(text)
		if err != nil || got != (Token{goodID, goodSecret, hash}) || got.String() != good {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "xj1", good[:len(good)-1], good + "0", strings.ToUpper(good), "xj2" + good[3:], good + "." + hash,
		strings.Replace(good, "abc", "ab1", 1), strings.Replace(good, ".", " .", 1), good + "\n" + good, "xj1...",
	} {
		if _, err := ParseToken(text); !errors.Is(err, ErrToken) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add("xj1." + goodID + "." + goodSecret + "." + strings.Repeat("0a", 32))
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := ParseToken(text); err == nil && got.String() != strings.TrimSpace(text) {
			t.Errorf("%q became %q", text, got)
		}
	})
}

// signing is an Enroller that signs for one token.
func signing(ca *testCA) *roll {
	return &roll{enroll: func(token string, csr []byte) ([]byte, []byte, error) {
		req, err := x509.ParseCertificateRequest(csr)
		if err != nil {
			return nil, nil, err
		}
		c := ca.leaf(req.PublicKey, x509.ExtKeyUsageClientAuth, named(req.Subject.CommonName))
		return c.Certificate[0], ca.cert.Raw, nil
	}}
}

// tcp serves a collector on loopback.
func tcp(t *testing.T, o ServerOptions) (address string, s *Server) {
	t.Helper()
	s = must(NewServer(o))
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		s.Stop(ctx)
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String(), s
}

func (ca *testCA) token() string {
	return Token{goodID, goodSecret, hashOf(ca.cert.Raw)}.String()
}

// TestEnrolAndReport goes the whole way of a new agent over loopback.
func TestEnrolAndReport(t *testing.T) {
	ca, recv := newTestCA(), newReceiver()
	address, s := tcp(t, ServerOptions{Receiver: recv, Certs: ca.source(), Enroller: signing(ca)})
	id, err := Enroll(t.Context(), EnrollOptions{Address: address, Token: ca.token(), Name: "srv-1"})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "state")
	if err := id.Save(dir); err != nil {
		t.Fatal(err)
	}
	if id, err = LoadIdentity(dir); err != nil || id.Name != "srv-1" || id.NotAfter.Before(time.Now()) {
		t.Fatalf("%+v, %v", id, err)
	}
	c := must(NewClient(ClientOptions{Address: address, TLS: must(id.TLS())}))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	c.Send(host(1), true)
	for deadline := time.Now().Add(20 * time.Second); c.Stats().Acked < 1; {
		if time.Now().After(deadline) {
			t.Fatalf("%+v", c.Stats())
		}
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	<-done
	if st := s.Stats(); st.Enrolments["ok"] != 1 || recv.reports()[0].Agent != "srv-1" {
		t.Errorf("%+v", st)
	}
}

// reasoned is an error as other Enrollers make them.
type reasoned string

func (r reasoned) Error() string  { return "sorry: " + string(r) }
func (r reasoned) Reason() string { return string(r) }

func TestEnrolRefusals(t *testing.T) {
	ca, other := newTestCA(), newTestCA()
	answer := errors.New("")
	enroller := &roll{enroll: func(string, []byte) ([]byte, []byte, error) { return nil, nil, answer }}
	address, s := tcp(t, ServerOptions{Receiver: newReceiver(), Certs: ca.source(), Enroller: enroller})
	o := EnrollOptions{Address: address, Token: ca.token(), Name: "srv-1"}
	f := func(what string, o EnrollOptions, want error, say string) {
		t.Helper()
		_, err := Enroll(t.Context(), o)
		if err == nil || want != nil && !errors.Is(err, want) || !strings.Contains(err.Error(), say) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, e := range []error{ErrTokenUnknown, ErrTokenUsed, ErrTokenExpired, ErrNameTaken} {
		answer = fmt.Errorf("token abc: %w", e)
		f("sentinel", o, e, e.Error())
	}
	for word, e := range map[string]error{"token_used": ErrTokenUsed, "name_taken": ErrNameTaken, "wrong_ca": ErrWrongCA} {
		answer = fmt.Errorf("enrol: %w", reasoned(word))
		f("reason "+word, o, e, "sorry: "+word)
	}
	answer = reasoned("full")
	f("other reason", o, nil, "sorry: full")
	answer = errors.New("database password is hunter2")
	f("internal", o, nil, "its log says why")
	if _, err := Enroll(t.Context(), o); strings.Contains(err.Error(), "hunter2") {
		t.Errorf("an internal error leaks: %v", err)
	}

	with := func(change func(*EnrollOptions)) EnrollOptions { x := o; change(&x); return x }
	f("token of another collector", with(func(o *EnrollOptions) { o.Token = other.token() }), ErrWrongCA, "check the address")
	f("other pin", with(func(o *EnrollOptions) { o.CAHash = hashOf(other.cert.Raw) }), ErrWrongCA, "")
	f("torn token", with(func(o *EnrollOptions) { o.Token = o.Token[:40] }), ErrToken, "")
	f("bad name", with(func(o *EnrollOptions) { o.Name = "a b" }), nil, "cannot be an agent's name")
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	l.Close()
	f("nobody there", with(func(o *EnrollOptions) { o.Address = l.Addr().String() }), nil, "connection refused")
	if st := s.Stats(); st.Enrolments["token_used"] != 2 || st.Enrolments["internal"] != 2 {
		t.Errorf("%v", st.Enrolments)
	}
}

func TestEnrolWrongAnswers(t *testing.T) {
	ca, other := newTestCA(), newTestCA()
	var answer func(csr *x509.CertificateRequest) ([]byte, []byte)
	enroller := &roll{enroll: func(_ string, csr []byte) ([]byte, []byte, error) {
		cert, chain := answer(must(x509.ParseCertificateRequest(csr)))
		return cert, chain, nil
	}}
	address, _ := tcp(t, ServerOptions{Receiver: newReceiver(), Certs: ca.source(), Enroller: enroller})
	client := x509.ExtKeyUsageClientAuth
	for what, a := range map[string]func(csr *x509.CertificateRequest) ([]byte, []byte){
		"another name": func(csr *x509.CertificateRequest) ([]byte, []byte) {
			return ca.leaf(csr.PublicKey, client, named("srv-2")).Certificate[0], ca.cert.Raw
		},
		"another key": func(csr *x509.CertificateRequest) ([]byte, []byte) {
			return ca.leaf(nil, client, named("srv-1")).Certificate[0], ca.cert.Raw
		},
		"another CA": func(csr *x509.CertificateRequest) ([]byte, []byte) {
			return ca.leaf(csr.PublicKey, client, named("srv-1")).Certificate[0], other.cert.Raw
		},
		"no CA": func(csr *x509.CertificateRequest) ([]byte, []byte) {
			return ca.leaf(csr.PublicKey, client, named("srv-1")).Certificate[0], nil
		},
		"junk": func(*x509.CertificateRequest) ([]byte, []byte) { return []byte("junk"), ca.cert.Raw },
	} {
		answer = a
		if id, err := Enroll(t.Context(), EnrollOptions{Address: address, Token: ca.token(), Name: "srv-1"}); err == nil {
			t.Errorf("%s: accepted %s", what, id.Name)
		}
	}
}

// TestEnrolClock: a clock far off is said to be the fault, whether TLS finds it or the collector.
func TestEnrolClock(t *testing.T) {
	ca := newTestCA()
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	early := ca.leaf(nil, x509.ExtKeyUsageServerAuth, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(10 * time.Hour) })
	address, _ := tcp(t, ServerOptions{
		Receiver: newReceiver(), Enroller: signing(ca),
		Certs: func() (tls.Certificate, *x509.CertPool, error) { return early, pool, nil },
	})
	_, err := Enroll(t.Context(), EnrollOptions{Address: address, Token: ca.token(), Name: "srv-1"})
	if !errors.Is(err, ErrClock) || !strings.Contains(err.Error(), "valid from") {
		t.Errorf("%v", err)
	}
	bubble(t, func(o *ServerOptions) { o.Enroller = signing(ca) }, func(t *testing.T, r *rig) {
		conn := must(newConn("collector:7443", credentials.NewTLS(clientTLS(r.ca)), r.dial))
		defer conn.Close()
		for skew, word := range map[time.Duration]string{-6 * time.Minute: "clock", 6 * time.Minute: "clock", -4 * time.Minute: ""} {
			if got := enrollWord(t, conn, time.Now().Add(skew)); got != word {
				t.Errorf("clock off by %v: %q, want %q", skew, got, word)
			}
		}
	})
}

func TestEnrolPace(t *testing.T) {
	bubble(t, func(o *ServerOptions) { o.Enroller = signing(newTestCA()) }, func(t *testing.T, r *rig) {
		conn := must(newConn("collector:7443", credentials.NewTLS(clientTLS(r.ca)), r.dial))
		defer conn.Close()
		got := make(map[string]int)
		for range 30 {
			got[enrollWord(t, conn, time.Now())]++
		}
		if got["overload"] != 10 {
			t.Errorf("30 enrolments at once: %v", got)
		}
	})
}

func TestPinned(t *testing.T) {
	ca, other := newTestCA(), newTestCA()
	server := ca.server()
	chain := []*x509.Certificate{server.Leaf, ca.cert}
	agent := ca.leaf(nil, x509.ExtKeyUsageClientAuth, named("srv-1"))
	now := time.Now()
	p := &pinned{hash: hashOf(ca.cert.Raw)}
	if err := p.check(chain, now); err != nil {
		t.Error(err)
	}
	for what, c := range map[string]struct {
		chain []*x509.Certificate
		now   time.Time
		want  error
	}{
		"no CA in the chain":        {chain[:1], now, ErrWrongCA},
		"another CA":                {[]*x509.Certificate{other.server().Leaf, other.cert}, now, ErrWrongCA},
		"right CA, another's leaf":  {[]*x509.Certificate{other.server().Leaf, ca.cert}, now, ErrWrongCA},
		"an agent as the collector": {[]*x509.Certificate{agent.Leaf, ca.cert}, now, ErrWrongCA},
		"ten years ago":             {chain, now.AddDate(-10, 0, 0), ErrClock},
		"in ten years":              {chain, now.AddDate(10, 0, 0), ErrClock},
	} {
		if err := p.check(c.chain, c.now); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	leaf := &pinned{hash: hashOf(server.Leaf.Raw)} // a pin of something that is no CA
	if err := leaf.check(chain, now); !errors.Is(err, ErrWrongCA) {
		t.Error(err)
	}
}

func TestIdentityFile(t *testing.T) {
	id := newTestCA().identity("srv-1")
	dir := t.TempDir()
	if _, err := LoadIdentity(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none there: %v", err)
	}
	for range 2 { // a second one takes the place of the first
		if err := id.Save(dir); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, identityFile)
	info := must(os.Stat(path))
	files := must(os.ReadDir(dir))
	if info.Mode().Perm() != 0o600 || len(files) != 1 {
		t.Errorf("mode %v, files %v", info.Mode(), files)
	}
	whole := must(os.ReadFile(path))
	for _, mode := range []fs.FileMode{0o640, 0o604} {
		os.Chmod(path, mode)
		if _, err := LoadIdentity(dir); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
	os.Chmod(path, 0o600)
	for cut := range len(whole) - 1 {
		os.WriteFile(path, whole[:cut], 0o600)
		if _, err := LoadIdentity(dir); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
	swapped := newTestCA().identity("srv-2")
	swapped.key = id.key
	if err := swapped.Save(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadIdentity(dir); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("a key of another identity: %v", err)
	}
	os.WriteFile(path, append(whole, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY"})...), 0o600)
	if _, err := LoadIdentity(dir); err == nil {
		t.Error("an unknown block is accepted")
	}
}

func FuzzIdentity(f *testing.F) {
	dir := f.TempDir()
	newTestCA().identity("srv-1").Save(dir)
	f.Add(must(os.ReadFile(filepath.Join(dir, identityFile))))
	f.Fuzz(func(t *testing.T, b []byte) {
		if id, err := parseIdentity(b); err == nil {
			if _, err := id.TLS(); err == nil && !ValidName(id.Name) {
				t.Errorf("name %q", id.Name)
			}
		}
	})
}

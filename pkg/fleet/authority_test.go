package fleet

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAuthorityIsKept(t *testing.T) {
	dir := t.TempDir()
	db := openStore(t, dir)
	first, err := New(db, Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	second, err := New(db, Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if first.Fingerprint() != second.Fingerprint() || len(first.Fingerprint()) != 64 {
		t.Errorf("fingerprints %s and %s", first.Fingerprint(), second.Fingerprint())
	}
	ca := first.CA()
	if life := ca.NotAfter.Sub(ca.NotBefore); !ca.IsCA || life < caLife || life > caLife+2*backdate || !ca.MaxPathLenZero {
		t.Errorf("CA: %v, life %v", ca.IsCA, life)
	}
	for name, mode := range map[string]os.FileMode{keyFile: 0o600, certFile: 0o644} {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil || st.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", name, st.Mode(), err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".ca*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A CA that is not whole or not ours is refused with a remedy, and nothing is written.
func TestAuthorityIsRefused(t *testing.T) {
	other := t.TempDir()
	newRegistry(t, Options{Dir: other})
	read := func(dir, name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, c := range map[string]struct {
		spoil func(dir string)
		want  string
	}{
		"key missing":      {func(d string) { os.Remove(filepath.Join(d, keyFile)) }, "ca.key is missing: restore it from the backup"},
		"certificate gone": {func(d string) { os.Remove(filepath.Join(d, certFile)) }, "ca.crt is missing: restore it from the backup"},
		"both gone":        {func(d string) { os.Remove(filepath.Join(d, certFile)); os.Remove(filepath.Join(d, keyFile)) }, "restore both from the backup"},
		"key of another":   {func(d string) { writeTest(t, filepath.Join(d, keyFile), read(other, keyFile), 0o600) }, "does not belong to"},
		"pair of another": {func(d string) {
			writeTest(t, filepath.Join(d, keyFile), read(other, keyFile), 0o600)
			writeTest(t, filepath.Join(d, certFile), read(other, certFile), 0o644)
		}, "is not the CA under which agents are enrolled"},
		"key for all":        {func(d string) { os.Chmod(filepath.Join(d, keyFile), 0o640) }, "may be read by others (mode 0640): run chmod 600"},
		"key damaged":        {func(d string) { writeTest(t, filepath.Join(d, keyFile), []byte("x"), 0o600) }, "not one PEM block"},
		"certificate cut":    {func(d string) { b := read(d, certFile); writeTest(t, filepath.Join(d, certFile), b[:len(b)/2], 0o644) }, "not one PEM block"},
		"something appended": {func(d string) { writeTest(t, filepath.Join(d, certFile), append(read(d, certFile), "x"...), 0o644) }, "not one PEM block"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			db := openStore(t, dir)
			r, err := New(db, Options{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			enrol(t, r, "web-1")
			c.spoil(dir)
			before, _ := os.ReadDir(dir)
			if _, err := New(db, Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want … %s", err, c.want)
			}
			if after, _ := os.ReadDir(dir); len(after) != len(before) {
				t.Errorf("files changed: %v, before %v", after, before)
			}
		})
	}
}

func TestAuthorityIsReplacedWhenAsked(t *testing.T) {
	dir := t.TempDir()
	db := openStore(t, dir)
	old, err := New(db, Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	enrol(t, old, "web-1")
	os.Remove(filepath.Join(dir, keyFile))
	os.Remove(filepath.Join(dir, certFile))
	r, err := New(db, Options{Dir: dir, Config: Config{NewCA: true}})
	if err != nil {
		t.Fatal(err)
	}
	if r.Fingerprint() == old.Fingerprint() {
		t.Error("the CA is the old one")
	}
	enrol(t, r, "web-1")
	if _, err := New(db, Options{Dir: dir}); err != nil {
		t.Errorf("next start: %v", err)
	}
}

func TestExpiredAuthority(t *testing.T) {
	dir := t.TempDir()
	if _, err := makeAuthority(dir, time.Now().Add(-caLife-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := New(openStore(t, dir), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "ended on") {
		t.Errorf("expired CA: %v", err)
	}
}

func TestServerCertificate(t *testing.T) {
	r := newRegistry(t, Options{Config: Config{Names: []string{"collector.example.cn", "10.1.2.3"}}})
	now := time.Now()
	c, err := r.ca.serverCertificate(now, r.config())
	if err != nil {
		t.Fatal(err)
	}
	_, roots, err := r.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"collector.example.cn", "10.1.2.3", "localhost", "127.0.0.1", "::1"} {
		if _, err := c.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.Leaf.Verify(x509.VerifyOptions{DNSName: "other.example.cn", Roots: roots}); err == nil {
		t.Error("good for any name")
	}
	if len(c.Certificate) != 2 || string(c.Certificate[1]) != string(r.CA().Raw) {
		t.Error("the chain does not end in the CA")
	}
	same, _ := r.ca.serverCertificate(now.Add(serverLife/2), r.config())
	if same.Leaf.SerialNumber.Cmp(c.Leaf.SerialNumber) != 0 {
		t.Error("renewed at half its life")
	}
	next, _ := r.ca.serverCertificate(now.Add(serverLife*3/4), r.config())
	if next.Leaf.SerialNumber.Cmp(c.Leaf.SerialNumber) == 0 || !next.Leaf.NotAfter.After(c.Leaf.NotAfter) {
		t.Error("not renewed at three quarters of its life")
	}
	r.Configure(Config{Names: []string{"new.example.cn"}})
	changed, _ := r.ca.serverCertificate(now.Add(serverLife*3/4), r.config())
	if err := changed.Leaf.VerifyHostname("new.example.cn"); err != nil {
		t.Errorf("names changed: %v", err)
	}
	late, _ := r.ca.serverCertificate(r.CA().NotAfter.Add(-time.Hour), r.config())
	if late.Leaf.NotAfter.After(r.CA().NotAfter) {
		t.Error("outlives the CA")
	}
}

// An agent's certificate opens the door, a collector's or another CA's does not.
func TestHandshake(t *testing.T) {
	r, other := newRegistry(t, Options{}), newRegistry(t, Options{})
	agent := func(r *Registry) tls.Certificate {
		return tls.Certificate{Certificate: [][]byte{enrol(t, r, "web-1").Raw}, PrivateKey: testKey}
	}
	server, roots, err := r.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cert tls.Certificate
		good bool
	}{
		"agent": {agent(r), true}, "agent of another collector": {agent(other), false}, "the collector itself": {server, false}, "nobody": {tls.Certificate{}, false},
	} {
		a, b := net.Pipe()
		done := make(chan error, 1)
		go func() {
			s := tls.Server(a, &tls.Config{GetCertificate: r.GetCertificate, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13})
			done <- s.Handshake()
			a.Close()
		}()
		client := tls.Client(b, &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS13, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c.cert, nil }})
		if err := client.Handshake(); err != nil {
			t.Errorf("%s: client: %v", name, err)
		}
		client.Read(make([]byte, 1)) // takes the server's verdict
		if err := <-done; (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
		b.Close()
	}
}

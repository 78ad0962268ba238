package fleet

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"xunjian/pkg/store"
)

const (
	caLife     = 10 * 365 * 24 * time.Hour
	agentLife  = 365 * 24 * time.Hour
	serverLife = 365 * 24 * time.Hour
	backdate   = 24 * time.Hour // so that hosts whose clocks are slow can enrol and be told so

	keyFile  = "ca.key"
	certFile = "ca.crt"
)

// authority is the collector's own CA.
type authority struct {
	key         *ecdsa.PrivateKey
	cert        *x509.Certificate
	pool        *x509.CertPool
	fingerprint string

	mu     sync.Mutex
	server tls.Certificate // present one, with the names it was made for
	names  string
}

// pin remembers the CA that agents were told to trust, so that another one is never used in its place unasked.
type pin struct {
	Fingerprint string    `json:"fingerprint"`
	MadeAt      time.Time `json:"made_at"`
}

var pinTable = store.NewTable[pin]("fleet_ca")

// openAuthority reads the CA, or makes it when the store has never seen one (or renew allows a new one in place of a lost one).
func openAuthority(db *store.DB, dir string, now time.Time, renew bool) (*authority, error) {
	var pinned pin
	err := db.View(func(tx *store.Tx) (err error) {
		pinned, err = pinTable.Get(tx, "ca")
		return err
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("read CA: %w", err)
	}
	a, err := readAuthority(dir, now)
	switch {
	case errors.Is(err, fs.ErrNotExist) && pinned.Fingerprint != "" && !renew:
		return nil, fmt.Errorf("read CA: %s and %s are gone from %s, and agents are enrolled under them: restore both from the backup, "+
			"or set new_ca: true once and enrol every agent again", keyFile, certFile, dir)
	case errors.Is(err, fs.ErrNotExist):
		if a, err = makeAuthority(dir, now); err != nil {
			return nil, fmt.Errorf("make CA: %w", err)
		}
	case err != nil:
		return nil, fmt.Errorf("read CA: %w", err)
	case pinned.Fingerprint != "" && pinned.Fingerprint != a.fingerprint && !renew:
		return nil, fmt.Errorf("read CA: %s in %s is not the CA under which agents are enrolled: restore %s and %s that belong to these records, "+
			"or set new_ca: true once and enrol every agent again", certFile, dir, keyFile, certFile)
	}
	if pinned.Fingerprint == a.fingerprint {
		return a, nil
	}
	err = db.Update(func(tx *store.Tx) error { return pinTable.Put(tx, "ca", pin{a.fingerprint, now.UTC()}) })
	if err != nil {
		return nil, fmt.Errorf("remember CA: %w", err)
	}
	return a, nil
}

// readAuthority wraps fs.ErrNotExist only when both files are missing.
func readAuthority(dir string, now time.Time) (*authority, error) {
	keyPath, certPath := filepath.Join(dir, keyFile), filepath.Join(dir, certFile)
	keyPEM, keyErr := os.ReadFile(keyPath)
	certPEM, certErr := os.ReadFile(certPath)
	noKey, noCert := errors.Is(keyErr, fs.ErrNotExist), errors.Is(certErr, fs.ErrNotExist)
	const restore = "restore it from the backup; if no agent was ever enrolled, remove the other file too and a new CA is made"
	switch {
	case noKey && noCert:
		return nil, fs.ErrNotExist
	case noKey:
		return nil, fmt.Errorf("%s is there but %s is missing: %s", certPath, keyPath, restore)
	case noCert:
		return nil, fmt.Errorf("%s is there but %s is missing: %s", keyPath, certPath, restore)
	case keyErr != nil || certErr != nil:
		return nil, errors.Join(keyErr, certErr)
	}
	if st, err := os.Stat(keyPath); err != nil {
		return nil, err
	} else if st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s may be read by others (mode %04o): run chmod 600 on it, and make a new CA if a stranger may have seen it", keyPath, st.Mode().Perm())
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: restore it from the backup", keyPath, err)
	}
	cert, err := parseCert(certPEM)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: restore it from the backup", certPath, err)
	}
	switch {
	case !key.PublicKey.Equal(cert.PublicKey):
		return nil, fmt.Errorf("%s does not belong to %s: restore both from the same backup", keyPath, certPath)
	case !cert.IsCA:
		return nil, fmt.Errorf("%s is not a CA's certificate: restore it from the backup", certPath)
	case now.After(cert.NotAfter):
		return nil, fmt.Errorf("%s ended on %s: set new_ca: true, move both files away and enrol every agent again", certPath, cert.NotAfter.Format(time.DateOnly))
	}
	return newAuthority(key, cert), nil
}

func newAuthority(key *ecdsa.PrivateKey, cert *x509.Certificate) *authority {
	sum := sha256.Sum256(cert.Raw)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{key: key, cert: cert, pool: pool, fingerprint: hex.EncodeToString(sum[:])}
}

func parseKey(b []byte) (*ecdsa.PrivateKey, error) {
	block, rest := pem.Decode(b)
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("not one PEM block")
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := k.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("holds a %T, want an ECDSA key", k)
	}
	return key, nil
}

func parseCert(b []byte) (*x509.Certificate, error) {
	block, rest := pem.Decode(b)
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("not one PEM block")
	}
	return x509.ParseCertificate(block.Bytes)
}

func makeAuthority(dir string, now time.Time) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	tmpl := &x509.Certificate{
		SerialNumber: newSerial(), Subject: pkix.Name{Organization: []string{"Xunjian"}, CommonName: "Xunjian collector CA"},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(caLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLen: 0, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := writeFile(filepath.Join(dir, keyFile), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600); err != nil {
		return nil, err
	}
	if err := writeFile(filepath.Join(dir, certFile), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		return nil, err
	}
	return newAuthority(key, cert), nil
}

// writeFile puts a file in place whole and on disk, or not at all.
func writeFile(path string, b []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already when all went well
	_, err = f.Write(b)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// newSerial draws 127 bits, never zero.
func newSerial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b) // never fails
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b)
}

// sign makes a leaf under the CA; it never outlives the CA.
func (a *authority) sign(tmpl *x509.Certificate, pub any, now time.Time, life time.Duration) ([]byte, error) {
	tmpl.SerialNumber = newSerial()
	tmpl.NotBefore, tmpl.NotAfter = now.Add(-backdate), now.Add(life)
	if tmpl.NotAfter.After(a.cert.NotAfter) {
		tmpl.NotAfter = a.cert.NotAfter
	}
	tmpl.KeyUsage, tmpl.BasicConstraintsValid = x509.KeyUsageDigitalSignature, true
	return x509.CreateCertificate(rand.Reader, tmpl, a.cert, pub, a.key)
}

// serverCertificate is the present one, made anew when a third of its life is left or when the names changed.
func (a *authority) serverCertificate(now time.Time, c Config) (tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	names := fmt.Sprint(c.Names)
	if l := a.server.Leaf; l != nil && names == a.names && now.After(l.NotBefore) && now.Before(l.NotAfter.Add(-serverLife/3)) {
		return a.server, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	hosts, ips := c.names()
	tmpl := &x509.Certificate{
		Subject: pkix.Name{Organization: []string{"Xunjian"}, CommonName: "Xunjian collector"}, DNSNames: slices.Compact(hosts), IPAddresses: ips,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := a.sign(tmpl, key.Public(), now, serverLife)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("issue the collector's certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, err
	}
	a.server = tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key, Leaf: leaf}
	a.names = names
	return a.server, nil
}

// Certificate is the collector's own certificate with the CA's last in the chain, and the roots that agents' certificates
// must lead to. It is to be asked at each handshake, so that it renews itself.
func (r *Registry) Certificate() (tls.Certificate, *x509.CertPool, error) {
	c, err := r.ca.serverCertificate(time.Now(), r.config())
	return c, r.ca.pool, err
}

// GetCertificate is Certificate in the form of tls.Config.
func (r *Registry) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c, _, err := r.Certificate()
	return &c, err
}

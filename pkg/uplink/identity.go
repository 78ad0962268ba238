package uplink

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const identityFile = "identity.pem"

// Identity is an agent's name, key, certificate and the CA it trusts.
type Identity struct {
	Name     string
	NotAfter time.Time

	key  []byte   // PKCS #8
	cert []byte   // DER
	cas  [][]byte // DER
}

// newIdentity checks that the parts belong together.
func newIdentity(key, cert []byte, cas [][]byte) (Identity, error) {
	k, err := x509.ParsePKCS8PrivateKey(key)
	if err != nil {
		return Identity{}, fmt.Errorf("key: %w", err)
	}
	c, err := x509.ParseCertificate(cert)
	if err != nil {
		return Identity{}, fmt.Errorf("certificate: %w", err)
	}
	signer, ok := k.(crypto.Signer)
	if !ok {
		return Identity{}, fmt.Errorf("key of type %T cannot sign", k)
	}
	if pub, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(c.PublicKey) {
		return Identity{}, errors.New("the certificate is for another key")
	}
	name, err := agentOf(c)
	if err != nil {
		return Identity{}, err
	}
	if len(cas) == 0 {
		return Identity{}, errors.New("the CA's certificate is missing")
	}
	return Identity{Name: name, NotAfter: c.NotAfter, key: key, cert: cert, cas: cas}, nil
}

// TLS is the configuration of the agent's end of a stream.
func (id Identity) TLS() (*tls.Config, error) {
	key, err := x509.ParsePKCS8PrivateKey(id.key)
	if err != nil {
		return nil, fmt.Errorf("read identity's key: %w", err)
	}
	roots := x509.NewCertPool()
	for _, der := range id.cas {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("read identity's CA: %w", err)
		}
		roots.AddCert(c)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"},
		Certificates:       []tls.Certificate{{Certificate: [][]byte{id.cert}, PrivateKey: key}},
		InsecureSkipVerify: true, // verifyCollector does it
		VerifyConnection:   verifyCollector(roots),
	}, nil
}

// Save writes the identity to dir, whole or not at all, readable by the owner only.
func (id Identity) Save(dir string) error {
	var b bytes.Buffer
	pem.Encode(&b, &pem.Block{Type: "PRIVATE KEY", Bytes: id.key}) // a bytes.Buffer takes everything
	for _, der := range append([][]byte{id.cert}, id.cas...) {
		pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	if err := replaceFile(filepath.Join(dir, identityFile), b.Bytes()); err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	return nil
}

// replaceFile puts a file in place whole and on disk, or leaves what was there.
func replaceFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".identity-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already when all went well
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// LoadIdentity reads what Save wrote; an error wraps fs.ErrNotExist when there is none.
func LoadIdentity(dir string) (Identity, error) {
	path := filepath.Join(dir, identityFile)
	info, err := os.Stat(path)
	if err != nil {
		return Identity{}, fmt.Errorf("load identity: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return Identity{}, fmt.Errorf("load identity: %s may be read by others (mode %04o): run chmod 600 on it, "+
			"and enrol anew if a stranger may have seen it", path, info.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return Identity{}, fmt.Errorf("load identity: %w", err)
	}
	id, err := parseIdentity(b)
	if err != nil {
		return Identity{}, fmt.Errorf("load identity: %s: %w: restore it, or remove it and enrol with a new token", path, err)
	}
	return id, nil
}

func parseIdentity(b []byte) (Identity, error) {
	var key []byte
	var certs [][]byte
	for {
		var block *pem.Block
		block, b = pem.Decode(b)
		switch {
		case block == nil && len(bytes.TrimSpace(b)) > 0:
			return Identity{}, errors.New("something that is not PEM")
		case block == nil && (key == nil || len(certs) < 2):
			return Identity{}, errors.New("want a key, its certificate and the CA's")
		case block == nil:
			return newIdentity(key, certs[0], certs[1:])
		case block.Type == "PRIVATE KEY" && key == nil:
			key = block.Bytes
		case block.Type == "CERTIFICATE":
			certs = append(certs, block.Bytes)
		default:
			return Identity{}, fmt.Errorf("unexpected PEM block %.40q", block.Type)
		}
	}
}

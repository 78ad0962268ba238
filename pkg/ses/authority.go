package ses

import (
	"crypto/rand"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"
)

// Authority issues SM2 certificates as a seal platform's CA does; demo services and tests have one each.
type Authority struct{ Identity }

// Role is what a certificate is for.
type Role int

// The roles: those who sign, and the two halves of a TLCP server.
const (
	Signer Role = iota
	ServerSigning
	ServerEncryption
)

// NewAuthority makes a root.
func NewAuthority(name string, from, until time.Time) (*Authority, error) {
	c := certificate(name, from, until)
	c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, smx509.KeyUsageCertSign|smx509.KeyUsageCRLSign
	id, err := issue(c, c, nil)
	return &Authority{id}, err
}

// Issue makes a certificate; one of a server is for the loopback address and localhost. CRL may be empty.
func (a *Authority) Issue(name string, role Role, from, until time.Time, crl string) (Identity, error) {
	c := certificate(name, from, until)
	c.BasicConstraintsValid = true
	switch role {
	case Signer:
		c.KeyUsage = smx509.KeyUsageDigitalSignature | smx509.KeyUsageContentCommitment
	case ServerSigning:
		c.KeyUsage = smx509.KeyUsageDigitalSignature
	case ServerEncryption:
		c.KeyUsage = smx509.KeyUsageKeyEncipherment | smx509.KeyUsageDataEncipherment | smx509.KeyUsageKeyAgreement
	}
	if role != Signer {
		c.DNSNames, c.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}
		c.ExtKeyUsage = []smx509.ExtKeyUsage{smx509.ExtKeyUsageServerAuth}
	}
	if crl != "" {
		c.CRLDistributionPoints = []string{crl}
	}
	return issue(c, a.Cert, a.Key)
}

// Revoke is a CRL in DER that holds the certificates given.
func (a *Authority) Revoke(at time.Time, certs ...*smx509.Certificate) ([]byte, error) {
	list := &smx509.RevocationList{Number: big.NewInt(at.Unix()), ThisUpdate: at, NextUpdate: at.Add(30 * 24 * time.Hour)}
	for _, c := range certs {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, smx509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: at})
	}
	der, err := smx509.CreateRevocationList(rand.Reader, list, a.Cert, a.Key)
	if err != nil {
		return nil, fmt.Errorf("make CRL: %w", err)
	}
	return der, nil
}

// PEM is the certificate as files hold it.
func (i Identity) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.Cert.Raw})
}

func certificate(name string, from, until time.Time) *smx509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)) // rand.Reader never fails
	return &smx509.Certificate{
		SerialNumber:       serial,
		Subject:            pkix.Name{Country: []string{"CN"}, Organization: []string{"Xunjian demo"}, CommonName: name},
		NotBefore:          from,
		NotAfter:           until,
		SignatureAlgorithm: smx509.SM2WithSM3,
	}
}

// issue signs with the parent's key, or with its own when there is none.
func issue(c, parent *smx509.Certificate, key *sm2.PrivateKey) (Identity, error) {
	own, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		return Identity{}, fmt.Errorf("issue certificate: %w", err)
	}
	if key == nil {
		key = own
	}
	der, err := smx509.CreateCertificate(rand.Reader, c, parent, own.Public(), key)
	if err != nil {
		return Identity{}, fmt.Errorf("issue certificate: %w", err)
	}
	cert, err := smx509.ParseCertificate(der)
	if err != nil {
		return Identity{}, fmt.Errorf("issue certificate: %w", err)
	}
	return Identity{cert, own}, nil
}

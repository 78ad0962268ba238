package ses

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/emmansun/gmsm/smx509"
)

// maxPEM bounds how many certificates are read of one text.
const maxPEM = 64

// ParseCertificate reads a certificate in PEM or DER; of several in PEM, the first.
func ParseCertificate(b []byte) (*smx509.Certificate, error) {
	if block, _ := pem.Decode(b); block != nil {
		b = block.Bytes
	}
	c, err := smx509.ParseCertificate(b)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w: %w", ErrFormat, err)
	}
	return c, nil
}

// Roots reads whom to trust, in PEM.
func Roots(b []byte) (*smx509.CertPool, error) {
	pool := smx509.NewCertPool()
	n := 0
	for block, rest := pem.Decode(b); block != nil && n < maxPEM; block, rest = pem.Decode(rest) {
		c, err := smx509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("CA certificate %d: %w: %w", n+1, ErrFormat, err)
		}
		pool.AddCert(c)
		n++
	}
	if n == 0 {
		return nil, fmt.Errorf("CA: holds no PEM certificate: %w", ErrFormat)
	}
	return pool, nil
}

// Chain follows a signer's certificate to a root, all of it in date at the time given, and wants it to be one for signatures.
func Chain(c *smx509.Certificate, roots *smx509.CertPool, between []*smx509.Certificate, at time.Time) error {
	pool := smx509.NewCertPool()
	for _, b := range between {
		pool.AddCert(b)
	}
	if c.KeyUsage != 0 && c.KeyUsage&(smx509.KeyUsageDigitalSignature|smx509.KeyUsageContentCommitment) == 0 {
		return errors.New("certificate: its key usage does not allow signatures")
	}
	_, err := c.Verify(smx509.VerifyOptions{
		Roots: roots, Intermediates: pool, CurrentTime: at, KeyUsages: []smx509.ExtKeyUsage{smx509.ExtKeyUsageAny},
	})
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	return nil
}

// Revoked looks a certificate up in a CRL of one of the issuers given. A list of somebody else, or one past its date, is an error.
func Revoked(c *smx509.Certificate, crl []byte, issuers []*smx509.Certificate, now time.Time) (bool, error) {
	list, err := smx509.ParseRevocationList(crl)
	if err != nil {
		return false, fmt.Errorf("CRL: %w: %w", ErrFormat, err)
	}
	trusted := false
	for _, issuer := range issuers {
		if bytes.Equal(issuer.RawSubject, c.RawIssuer) && list.CheckSignatureFrom(issuer) == nil {
			trusted = true
		}
	}
	switch {
	case !trusted:
		return false, fmt.Errorf("CRL: not signed by the certificate's issuer: %w", ErrTampered)
	case !list.NextUpdate.IsZero() && now.After(list.NextUpdate):
		return false, fmt.Errorf("CRL: the next one was due on %s: %w", day(list.NextUpdate), ErrFormat)
	}
	for _, e := range list.RevokedCertificateEntries {
		if e.SerialNumber.Cmp(c.SerialNumber) == 0 {
			return true, nil
		}
	}
	return false, nil
}

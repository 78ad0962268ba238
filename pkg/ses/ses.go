// Package ses reads, verifies and makes electronic seals, what was sealed with them, and OFD documents that carry both.
package ses

import (
	"bytes"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/smx509"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Standard is the paper that a structure follows.
type Standard string

// The standards. The last differs from the one before by its number and by a time stamp on the seal.
const (
	GMT2014 Standard = "GM/T 0031-2014"
	GBT2020 Standard = "GB/T 38540-2020"
	GMT2025 Standard = "GM/T 0031-2025"
)

// maxDER bounds a structure: pictures of seals have some ten kilobytes.
const maxDER = 2 << 20

// Errors of structures; what they wrap says where. A structure that cannot be read and one that lies are different faults.
var (
	ErrFormat   = errors.New("not of the form that the standards give")
	ErrTampered = errors.New("does not verify")
	ErrDate     = errors.New("out of date") // used before or after it might be
)

// Seal is an electronic seal (SESeal): a picture that its maker bound to those who may use it.
type Seal struct {
	Standard    Standard
	Version     int
	Vendor      string // of the program that made it
	ID          string
	Type        int // 1 of a unit, 2 of a person; makers use others
	Name        string
	Created     time.Time
	From, Until time.Time // when it may be used
	Picture     Picture
	Signers     [][]byte // DER of the certificates that may sign with it; or
	Digests     [][]byte // SM3 of them
	Maker       *smx509.Certificate

	der       []byte // the whole
	signed    []byte // what the maker signed
	signature []byte
}

// Picture is what people see of a seal.
type Picture struct {
	Type          string // PNG, OFD
	Data          []byte
	Width, Height int // mm
}

// Signature is what came of using a seal on a document (SES_Signature).
type Signature struct {
	Standard Standard
	Version  int
	Seal     *Seal
	Time     time.Time // as its maker wrote it, or from the time stamp that stands in its place
	DataHash []byte    // SM3 of the document's list of files
	Property string    // usually that list's path
	Signer   *smx509.Certificate
	Stamped  bool // a time stamp was given

	signed    []byte
	signature []byte
}

// DER is the seal as it was read.
func (s *Seal) DER() []byte { return s.der }

// Verify holds the maker to the seal; trust in the maker is another question, which Chain answers.
func (s *Seal) Verify() error {
	if err := verify(s.Maker, s.signed, s.signature); err != nil {
		return fmt.Errorf("seal %s: maker's signature: %w", s.ID, err)
	}
	return nil
}

// Lists says whether the seal is this certificate's to use.
func (s *Seal) Lists(c *smx509.Certificate) bool {
	sum := sm3.Sum(c.Raw)
	for _, d := range s.Digests {
		if bytes.Equal(d, sum[:]) {
			return true
		}
	}
	for _, der := range s.Signers {
		if bytes.Equal(der, c.Raw) {
			return true
		}
	}
	return false
}

// Verify holds the signature to the data that it is said to be of, its seal to its maker, and the signer to the seal: listed by
// it, with the seal and the certificate in date when it was used.
func (s *Signature) Verify(data []byte) error {
	if sum := sm3.Sum(data); !bytes.Equal(sum[:], s.DataHash) {
		return fmt.Errorf("signature's digest of the data %w", ErrTampered)
	}
	if err := verify(s.Signer, s.signed, s.signature); err != nil {
		return fmt.Errorf("signer's signature: %w", err)
	}
	if err := s.Seal.Verify(); err != nil {
		return err
	}
	switch {
	case !s.Seal.Lists(s.Signer):
		return fmt.Errorf("seal %s: its list lacks the signer's certificate: %w", s.Seal.ID, ErrTampered)
	case s.Time.Before(s.Seal.From) || s.Time.After(s.Seal.Until):
		return fmt.Errorf("seal %s: used at %s, good from %s to %s: %w", s.Seal.ID, day(s.Time), day(s.Seal.From), day(s.Seal.Until), ErrDate)
	case s.Time.Before(s.Signer.NotBefore) || s.Time.After(s.Signer.NotAfter):
		return fmt.Errorf("signer's certificate: used at %s, good from %s to %s: %w",
			day(s.Time), day(s.Signer.NotBefore), day(s.Signer.NotAfter), ErrDate)
	}
	return nil
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

func verify(c *smx509.Certificate, data, signature []byte) error {
	key, ok := c.PublicKey.(*ecdsa.PublicKey)
	if !ok || !sm2.IsSM2PublicKey(key) {
		return fmt.Errorf("certificate holds no SM2 key: %w", ErrFormat)
	}
	if !VerifySM2(key, data, signature) {
		return ErrTampered
	}
	return nil
}

// VerifySM2 checks an SM2 signature with SM3 and the usual user id (GB/T 35276 10.1). The signature is DER or, as many servers
// send it, r and s of 32 bytes each.
func VerifySM2(key *ecdsa.PublicKey, data, signature []byte) bool {
	return sm2.VerifyASN1WithSM2(key, nil, data, ASN1(signature))
}

// VerifyDigest is VerifySM2 of a value that the service was handed as it is, without the user id: some servers sign digests so.
func VerifyDigest(key *ecdsa.PublicKey, digest, signature []byte) bool {
	return sm2.VerifyASN1(key, digest, ASN1(signature))
}

// ASN1 is a signature in DER, whichever of the two forms it came in.
func ASN1(signature []byte) []byte {
	if len(signature) != 64 {
		return signature
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(new(big.Int).SetBytes(signature[:32]))
		b.AddASN1BigInt(new(big.Int).SetBytes(signature[32:]))
	})
	return b.BytesOrPanic()
}

package flow

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/emmansun/gmsm/smx509"

	"xunjian/pkg/check"
	"xunjian/pkg/ses"
)

// certificate reads PEM, DER, or DER in base64, as services send it.
func certificate(text string) (*smx509.Certificate, error) {
	if strings.HasPrefix(text, "\x30") || strings.Contains(text, "-----BEGIN ") {
		return ses.ParseCertificate([]byte(text))
	}
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return nil, errors.New("certificate: neither PEM, DER nor base64 of it")
	}
	return ses.ParseCertificate(der)
}

// sm2Verify is "true" or "false": a flow asks for both. The way is sm3 (the usual: the data are the message) or digest (the data
// were signed as they are, 32 bytes, without the user id).
func sm2Verify(v []string) (string, error) {
	c, err := certificate(v[0])
	if err != nil {
		return "", err
	}
	key, ok := c.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return "", errors.New("certificate: holds no SM2 key")
	}
	check := ses.VerifySM2
	if len(v) == 4 {
		switch v[3] {
		case "sm3":
		case "digest":
			check = ses.VerifyDigest
		default:
			return "", fmt.Errorf("way %q: want sm3 or digest", shown(v[3]))
		}
	}
	return strconv.FormatBool(check(key, []byte(v[1]), []byte(v[2]))), nil
}

// certVerify is "ok", or why not: followed to a root, in date, for signatures.
func certVerify(v []string) (string, error) {
	c, err := certificate(v[0])
	if err != nil {
		return "", err
	}
	roots, err := ses.Roots([]byte(v[1]))
	if err != nil {
		return "", err
	}
	return "ok", ses.Chain(c, roots, nil, time.Now())
}

// certSigner is the certificate to verify with: the pinned one, or one that took its place, which is of the same name and
// followed to a root. Anybody else's is an error.
func certSigner(v []string) (string, error) {
	shown, err := certificate(v[0])
	if err != nil {
		return "", err
	}
	pinned, err := certificate(v[1])
	if err != nil {
		return "", fmt.Errorf("pinned %w", err)
	}
	if !shown.Equal(pinned) {
		if !bytes.Equal(shown.RawSubject, pinned.RawSubject) {
			return "", fmt.Errorf("signs as %s, pinned is %s", check.Clip(shown.Subject.String(), maxSeen), check.Clip(pinned.Subject.String(), maxSeen))
		}
		if _, err := certVerify([]string{v[0], v[2]}); err != nil {
			return "", fmt.Errorf("signs with another certificate than the pinned one: %w", err)
		}
	}
	return string(shown.Raw), nil
}

func certEnd(v []string) (string, error) {
	c, err := certificate(v[0])
	if err != nil {
		return "", err
	}
	return c.NotAfter.Format(time.RFC3339), nil
}

func certSerial(v []string) (string, error) {
	c, err := certificate(v[0])
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(c.SerialNumber.Bytes()), nil
}

// certRevoked is "true" or "false" by a CRL that one of the roots has signed.
func certRevoked(v []string) (string, error) {
	c, err := certificate(v[0])
	if err != nil {
		return "", err
	}
	var issuers []*smx509.Certificate
	for block, rest := pem.Decode([]byte(v[1])); block != nil && len(issuers) < 64; block, rest = pem.Decode(rest) {
		if issuer, err := smx509.ParseCertificate(block.Bytes); err == nil {
			issuers = append(issuers, issuer)
		}
	}
	list := []byte(v[2])
	if block, _ := pem.Decode(list); block != nil {
		list = block.Bytes
	}
	revoked, err := ses.Revoked(c, list, issuers, time.Now())
	return strconv.FormatBool(revoked), err
}

// sealFacts are what is told of a seal that verified, in JSON for pick.
type sealFacts struct {
	Standard ses.Standard `json:"standard"`
	ID       string       `json:"id"`
	Name     string       `json:"name"`
	From     time.Time    `json:"from"`
	Until    time.Time    `json:"until"`
}

// signFacts are the same of a signature made with one.
type signFacts struct {
	Seal   sealFacts `json:"seal"`
	Time   time.Time `json:"time"`
	Signer string    `json:"signer"`         // serial of the certificate
	Text   string    `json:"text,omitempty"` // of the document
}

func factsOf(s *ses.Seal) sealFacts { return sealFacts{s.Standard, s.ID, s.Name, s.From, s.Until} }

func inJSON(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

// trusted follows signer and maker to a root at the time of signing.
func trusted(s *ses.Signature, roots *smx509.CertPool) error {
	if err := ses.Chain(s.Signer, roots, nil, s.Time); err != nil {
		return fmt.Errorf("signer's %w", err)
	}
	if err := ses.Chain(s.Seal.Maker, roots, nil, s.Seal.Created); err != nil {
		return fmt.Errorf("seal maker's %w", err)
	}
	return nil
}

func signed(s *ses.Signature, text string) signFacts {
	return signFacts{factsOf(s.Seal), s.Time, hex.EncodeToString(s.Signer.SerialNumber.Bytes()), text}
}

// sealVerify reads a seal by itself, as services hand it out.
func sealVerify(v []string) (string, error) {
	roots, err := ses.Roots([]byte(v[1]))
	if err != nil {
		return "", err
	}
	s, err := ses.ParseSeal([]byte(v[0]))
	if err != nil {
		return "", err
	}
	if err := s.Verify(); err != nil {
		return "", err
	}
	if err := ses.Chain(s.Maker, roots, nil, s.Created); err != nil {
		return "", fmt.Errorf("seal maker's %w", err)
	}
	return inJSON(factsOf(s))
}

// sesVerify holds a seal's signature to the data that it is of.
func sesVerify(v []string) (string, error) {
	roots, err := ses.Roots([]byte(v[2]))
	if err != nil {
		return "", err
	}
	s, err := ses.ParseSignature([]byte(v[0]))
	if err != nil {
		return "", err
	}
	if err := s.Verify([]byte(v[1])); err != nil {
		return "", err
	}
	if err := trusted(s, roots); err != nil {
		return "", err
	}
	return inJSON(signed(s, ""))
}

// ofdVerify holds a document to every signature on it, and tells of the last.
func ofdVerify(v []string) (string, error) {
	roots, err := ses.Roots([]byte(v[1]))
	if err != nil {
		return "", err
	}
	d, err := ses.Open([]byte(v[0]))
	if err != nil {
		return "", err
	}
	signs, err := d.Verify()
	if err != nil {
		return "", err
	}
	for _, s := range signs {
		if err := trusted(s, roots); err != nil {
			return "", err
		}
	}
	return inJSON(signed(signs[len(signs)-1], d.Text()))
}

func ofdMake(v []string) (string, error) {
	b, err := ses.MakeDocument(v[0])
	return string(b), err
}

// within is "ok" for a time that is no further from now than the limit, either way.
func within(v []string) (string, error) {
	t, ok := readDate(strings.TrimSpace(v[0]))
	if !ok {
		return "", fmt.Errorf("%q is not a date", shown(v[0]))
	}
	limit, err := time.ParseDuration(v[1])
	if err != nil {
		return "", fmt.Errorf("limit %q: want one as 60s", shown(v[1]))
	}
	if off := time.Since(t); off.Abs() > limit {
		return "", fmt.Errorf("%s is %v from now, want at most %v", t.Format(time.RFC3339), off.Abs().Round(time.Second), limit)
	}
	return "ok", nil
}

// between is "ok" while now lies between two dates.
func between(v []string) (string, error) {
	from, ok1 := readDate(strings.TrimSpace(v[0]))
	until, ok2 := ReadEnd(strings.TrimSpace(v[1]))
	switch now := time.Now(); {
	case !ok1 || !ok2:
		return "", fmt.Errorf("%q, %q: not two dates", shown(v[0]), shown(v[1]))
	case now.Before(from):
		return "", fmt.Errorf("not before %s", from.Format(time.RFC3339))
	case now.After(until):
		return "", fmt.Errorf("ended on %s", until.Format(time.RFC3339))
	}
	return "ok", nil
}

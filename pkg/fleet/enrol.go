package fleet

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"time"

	"xunjian/pkg/store"
)

// maxCSR bounds a signing request; an RSA 4096 one takes about 1,700 bytes.
const maxCSR = 8 << 10

// Refusal is why an enrolment is refused: a stable word for machines, told to the agent.
type Refusal string

// The refusals. What Enroll returns wraps one of them, unless the collector itself is at fault.
const (
	ErrTokenFormat  Refusal = "token_format"
	ErrTokenUnknown Refusal = "token_unknown"
	ErrTokenUsed    Refusal = "token_used"
	ErrTokenExpired Refusal = "token_expired"
	ErrTokenRevoked Refusal = "token_revoked"
	ErrTokenName    Refusal = "token_name" // the token is for another name
	ErrWrongCA      Refusal = "wrong_ca"
	ErrNameTaken    Refusal = "name_taken"
	ErrBadName      Refusal = "bad_name"
	ErrBadRequest   Refusal = "bad_request"
	ErrFull         Refusal = "full"
)

var refusals = map[Refusal]string{
	ErrTokenFormat:  "the token is not whole: copy all of it",
	ErrTokenUnknown: "the collector does not know this token: make a new one",
	ErrTokenUsed:    "the token has been used: make a new one, one for each agent",
	ErrTokenExpired: "the token has expired: make a new one",
	ErrTokenRevoked: "the token was revoked: make a new one",
	ErrTokenName:    "the token is for another agent's name",
	ErrWrongCA:      "the token was made by another collector",
	ErrNameTaken:    "another agent has this name: choose another name, or make a token for this very name to replace that agent",
	ErrBadName:      "an agent's name is 1 to 63 of a-z, 0-9 and -, not - first",
	ErrBadRequest:   "the signing request is not acceptable",
	ErrFull:         "the collector has as many agents as its configuration allows: raise max_agents",
}

func (r Refusal) Error() string { return refusals[r] }

// Reason is the word for machines.
func (r Refusal) Reason() string { return string(r) }

// Enroll trades a token and a signing request (PKCS #10, DER or PEM) for a certificate and the CA's certificate, both DER.
// Of any number of callers with one token exactly one succeeds.
func (r *Registry) Enroll(ctx context.Context, text string, csr []byte, peer string) (cert, chain []byte, err error) {
	now := time.Now()
	cert, name, err := r.enrol(ctx, now, text, csr, clip(peer))
	var no Refusal
	switch {
	case err == nil:
		r.metrics.enrolments.WithLabelValues("ok").Inc()
		r.log.Info("agent enrolled", "agent", name, "peer", clip(peer))
		return cert, r.ca.cert.Raw, nil
	case errors.As(err, &no):
		r.metrics.enrolments.WithLabelValues(no.Reason()).Inc()
	default:
		r.metrics.enrolments.WithLabelValues("failed").Inc()
	}
	return nil, nil, fmt.Errorf("enrol: %w", err)
}

func (r *Registry) enrol(ctx context.Context, now time.Time, text string, csr []byte, peer string) (cert []byte, name string, err error) {
	t, err := parseToken(text)
	if err != nil {
		return nil, "", err
	}
	if t.ca != r.ca.fingerprint {
		return nil, "", ErrWrongCA
	}
	// Looking first keeps strangers from making the collector sign; the claim below looks again.
	if err := r.db.View(func(tx *store.Tx) error { _, err := t.find(tx, now); return err }); err != nil {
		return nil, "", err
	}
	q, err := parseRequest(csr)
	if err != nil {
		return nil, "", err
	}
	name = q.Subject.CommonName
	tmpl := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, URIs: []*url.URL{identityURI(name)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if cert, err = r.ca.sign(tmpl, q.PublicKey, now, agentLife); err != nil {
		return nil, "", fmt.Errorf("issue certificate: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	id := identity{
		Name: name, Serial: tmpl.SerialNumber.Text(16), EnrolledAt: now.UTC(), From: peer, Token: t.id, NotAfter: tmpl.NotAfter.UTC(),
	}
	return cert, name, r.claim(now, t, id)
}

// claim uses the token up and writes the agent down in one transaction.
func (r *Registry) claim(now time.Time, t token, id identity) error {
	r.mu.Lock() // before the transaction, as everywhere, so that memory and disk change together
	defer r.mu.Unlock()
	old := r.agents[id.Name]
	err := r.db.Update(func(tx *store.Tx) error {
		rec, err := t.find(tx, now)
		switch {
		case err != nil:
			return err
		case rec.Agent != "" && rec.Agent != id.Name:
			return fmt.Errorf("%q: %w", id.Name, ErrTokenName)
		case rec.Agent == "" && old != nil:
			return fmt.Errorf("%q: %w", id.Name, ErrNameTaken)
		case old == nil && len(r.agents) >= r.cfg.MaxAgents:
			return ErrFull
		}
		id.By = rec.By
		rec.UsedAt, rec.UsedBy, rec.UsedFrom = now.UTC(), id.Name, id.From
		if err := tokenTable.Put(tx, t.id, rec); err != nil {
			return err
		}
		return agentTable.Put(tx, id.Name, id)
	})
	if err != nil {
		return err
	}
	if old != nil {
		old.identity, old.mark = id, now
		return nil
	}
	r.agents[id.Name] = &agent{identity: id, mark: now}
	return nil
}

// identityURI is the name in a certificate that only this program gives.
func identityURI(name string) *url.URL {
	return &url.URL{Scheme: "xunjian", Opaque: "agent:" + name}
}

// parseRequest checks that the asker holds the key, that the key is strong, and that the name is one for agents.
// Nothing else that a request asks for gets into the certificate.
func parseRequest(b []byte) (*x509.CertificateRequest, error) {
	if len(b) > maxCSR {
		return nil, fmt.Errorf("%d bytes, more than %d: %w", len(b), maxCSR, ErrBadRequest)
	}
	if block, _ := pem.Decode(b); block != nil {
		b = block.Bytes
	}
	q, err := x509.ParseCertificateRequest(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadRequest, err)
	}
	if !strongKey(q.PublicKey) {
		return nil, fmt.Errorf("%w: want a key of ECDSA P-256 or P-384, Ed25519, or RSA of 2048 to 4096 bits", ErrBadRequest)
	}
	if err := q.CheckSignature(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadRequest, err)
	}
	name := q.Subject.CommonName
	if !ValidName(name) {
		return nil, fmt.Errorf("%q: %w", clip(name), ErrBadName)
	}
	for _, u := range q.URIs {
		if u.String() != identityURI(name).String() {
			return nil, fmt.Errorf("%w: it asks for the name %q besides %q", ErrBadRequest, clip(u.String()), name)
		}
	}
	return q, nil
}

func strongKey(pub any) bool {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		return k.Curve == elliptic.P256() || k.Curve == elliptic.P384()
	case ed25519.PublicKey:
		return true
	case *rsa.PublicKey:
		return k.N.BitLen() >= 2048 && k.N.BitLen() <= 4096
	}
	return false
}

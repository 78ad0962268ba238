package uplink

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "xunjian/proto/uplink/v1"
)

// EnrollOptions is what a new agent knows.
type EnrollOptions struct {
	Address string
	Token   string // as the collector printed it; its last part pins the CA
	CAHash  string // SHA-256 of the CA's DER in hexadecimal; default: the token's
	Name    string // of the agent; see ValidName
	Dial    func(ctx context.Context, address string) (net.Conn, error)
	Timeout time.Duration // default 15 s
}

// Enroll makes a key on this machine, has it certified and returns the identity, which is not saved yet.
func Enroll(ctx context.Context, o EnrollOptions) (Identity, error) {
	token, err := ParseToken(o.Token)
	if err != nil {
		return Identity{}, fmt.Errorf("enrol: %w", err)
	}
	if !ValidName(o.Name) {
		return Identity{}, fmt.Errorf("enrol: %.80q cannot be an agent's name: want letters, digits and . _ -, at most 63, beginning with a letter or digit", o.Name)
	}
	if o.CAHash == "" {
		o.CAHash = token.CAHash
	}
	ctx, cancel := context.WithTimeout(ctx, orDefault(o.Timeout, 15*time.Second))
	defer cancel()
	id, err := enroll(ctx, o, token)
	if err != nil {
		return Identity{}, fmt.Errorf("enrol at %s: %w", o.Address, err)
	}
	return id, nil
}

func enroll(ctx context.Context, o EnrollOptions, token Token) (Identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Identity{}, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: o.Name}, URIs: []*url.URL{AgentURI(o.Name)},
	}, key)
	if err != nil {
		return Identity{}, err
	}
	pin := &pinned{hash: o.CAHash}
	answer, err := askEnroll(ctx, o, pin, &pb.EnrollRequest{Token: token.String(), Csr: csr, WallMs: time.Now().UnixMilli(), Name: o.Name})
	if err != nil {
		return Identity{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Identity{}, err
	}
	cas, err := splitChain(answer.GetCaChain())
	if err != nil {
		return Identity{}, fmt.Errorf("the collector sent a CA that cannot be read: %w", err)
	}
	id, err := newIdentity(der, answer.GetCertificate(), cas)
	if err != nil {
		return Identity{}, fmt.Errorf("the collector sent a certificate that cannot be used: %w", err)
	}
	if id.Name != o.Name {
		return Identity{}, fmt.Errorf("the collector sent a certificate for %q instead of %q", id.Name, o.Name)
	}
	return id, pin.within(cas)
}

// AgentURI is the name that makes a certificate an agent's.
func AgentURI(name string) *url.URL { return &url.URL{Scheme: "xunjian", Opaque: "agent:" + name} }

func splitChain(der []byte) (out [][]byte, err error) {
	certs, err := x509.ParseCertificates(der)
	for _, c := range certs {
		out = append(out, c.Raw)
	}
	return out, err
}

// askEnroll makes the one call. What TLS found wrong is more telling than gRPC's account of it.
func askEnroll(ctx context.Context, o EnrollOptions, pin *pinned, req *pb.EnrollRequest) (*pb.EnrollResponse, error) {
	creds := credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, VerifyConnection: pin.verify, // the pin takes the place of names
	})
	conn, err := newConn(o.Address, creds, o.Dial)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var trailer metadata.MD
	answer, err := pb.NewUplinkClient(conn).Enroll(ctx, req, grpc.Trailer(&trailer))
	switch {
	case err == nil:
		return answer, nil
	case pin.fault != nil:
		return nil, pin.fault
	}
	return nil, enrollError(err, trailer)
}

// enrollError turns what the collector said back into the error that its Enroller returned.
func enrollError(err error, trailer metadata.MD) error {
	said, words := status.Convert(err).Message(), trailer.Get(reasonKey)
	if len(words) == 0 {
		return fmt.Errorf("the collector did not answer as one: %w", err)
	}
	e := enrollErrors[words[0]]
	switch {
	case e == nil:
		return errors.New(clip(said, 400))
	case said == e.Error():
		return e
	}
	return fmt.Errorf("%w (%s)", e, clip(said, 300))
}

// pinned verifies a server by the hash of its CA, which the server shows in its chain.
type pinned struct {
	hash  string
	fault error // written by verify before the call that it belongs to fails
}

func (p *pinned) verify(cs tls.ConnectionState) error {
	p.fault = p.check(cs.PeerCertificates, time.Now())
	return p.fault
}

func (p *pinned) check(chain []*x509.Certificate, now time.Time) error {
	var ca *x509.Certificate
	for _, c := range chain {
		if c.IsCA && hashOf(c.Raw) == p.hash {
			ca = c
		}
	}
	if ca == nil {
		return ErrWrongCA
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	opts := x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	_, err := chain[0].Verify(opts)
	if err == nil {
		return nil
	}
	opts.CurrentTime = chain[0].NotBefore.Add(chain[0].NotAfter.Sub(chain[0].NotBefore) / 2)
	if _, other := chain[0].Verify(opts); other == nil {
		return fmt.Errorf("%w: it shows %s here, and the collector's certificate is valid from %s to %s", ErrClock,
			now.Format(time.RFC3339), chain[0].NotBefore.Format(time.RFC3339), chain[0].NotAfter.Format(time.RFC3339))
	}
	return fmt.Errorf("%w: %w", ErrWrongCA, err)
}

// within makes sure that the CA to be trusted from now on is the pinned one.
func (p *pinned) within(cas [][]byte) error {
	for _, der := range cas {
		if hashOf(der) == p.hash {
			return nil
		}
	}
	return fmt.Errorf("%w: the CA it sent to be trusted is another one", ErrWrongCA)
}

func hashOf(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

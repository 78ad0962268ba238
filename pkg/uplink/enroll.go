package uplink

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

// EnrollOptions is what a new agent knows.
type EnrollOptions struct {
	Address string
	Token   string // as the collector printed it; its last part pins the CA
	CAHash  string // SHA-256 of the CA's DER in hexadecimal; default: the token's
	Name    string // of the agent, [a-zA-Z0-9._-], at most 63 characters
	Dial    func(ctx context.Context, address string) (net.Conn, error)
	Timeout time.Duration // default 15 s
}

// Enroll makes a key on this machine, has it certified and returns the identity, which is not saved yet.
func Enroll(ctx context.Context, o EnrollOptions) (Identity, error) { return Identity{}, nil }

// Identity is an agent's name, key, certificate and the CA it trusts.
type Identity struct {
	Name     string
	NotAfter time.Time
	key      []byte   // PKCS #8, DER
	chain    [][]byte // the certificate first
	ca       [][]byte
}

// LoadIdentity reads what Save wrote; an error wraps fs.ErrNotExist when there is none.
func LoadIdentity(dir string) (Identity, error) { return Identity{}, nil }

// Save writes the identity to dir, whole or not at all, readable by the owner only.
func (id Identity) Save(dir string) error { return nil }

// TLS is the configuration of the agent's end of a stream.
func (id Identity) TLS() (*tls.Config, error) { return &tls.Config{}, nil }

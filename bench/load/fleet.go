// Package load plays many agents in one process against a real collector, over real connections with mutual TLS.
package load

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"xunjian/pkg/fleet"
	"xunjian/pkg/store"
)

// agentName is the name of the i-th agent.
func agentName(i int) string { return fmt.Sprintf("load-%05d", i) }

// enrol makes a data folder with so many enrolled agents, before the collector opens it, and returns their TLS. They share
// one key, which saves the generator time and changes nothing for the collector.
func enrol(ctx context.Context, data string, agents int) (_ []*tls.Config, err error) {
	db, err := store.Open(filepath.Join(data, "records.db"), store.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	f, err := fleet.New(db, fleet.Options{Dir: data, Config: fleet.Config{MaxAgents: agents, Names: []string{"127.0.0.1"}}})
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(f.CA())
	// Tokens made in the future push used ones out of the list, which would make each further one slower.
	future := time.Now().Add(100 * 24 * time.Hour)
	out := make([]*tls.Config, agents)
	for i := range out {
		text, _, err := f.CreateToken(future, fleet.TokenRequest{Agent: agentName(i), By: "bench"})
		if err != nil {
			return nil, err
		}
		csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: agentName(i)}}, key)
		if err != nil {
			return nil, err
		}
		cert, _, err := f.Enroll(ctx, text, csr, "127.0.0.1")
		if err != nil {
			return nil, err
		}
		out[i] = &tls.Config{
			MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, RootCAs: roots, ServerName: "127.0.0.1",
			Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}},
		}
	}
	return out, nil
}

// Package simulator plays the four services under contract, and breaks them on demand.
package simulator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// The two listeners besides the services: the one that takes orders and the one that takes pages.
const (
	Control = "control"
	Webhook = "webhook"
)

// Options say where the simulator listens and writes; all listeners are on the loopback address.
type Options struct {
	Folder  string         // gets ca.pem, seal-ca.pem and seal-cert.pem; empty for none
	PageLog string         // gets a line for each page received; empty for none
	Ports   map[string]int // by service name, Control or Webhook; any free port for those left out
	Plain   int            // further services that answer the same whatever is asked: plain-1, plain-2, …
	Office  string         // path of LibreOffice's soffice, which then converts cloud-doc's documents; empty: a fast stand-in does
	Logger  *slog.Logger
}

// Simulator is the services, the page receiver and the control door.
type Simulator struct {
	ca     []byte
	venues []*venue // in the order of Services, then the webhook
	doors  map[string]*door
	pages  *pageLog
	certs  *certificates
	seal   *sealOffice
	docs   *docServer
	centre *centre
	oa     *office
	logger *slog.Logger
}

// venue is one listener with its fault.
type venue struct {
	name  string
	title string
	door  *door
	plain http.Handler // what it answers when it is well
	wrong http.Handler // well-formed but wrong; nil when there is no such answer
	own   []Mode       // faults that only this service can have; plain asks modeOf
	fault switchboard
	certs *certificates // nil for plain HTTP
	talk  talk          // serves a connection that is not HTTP's; nil for HTTP
}

// talk serves one connection until it returns; the connection is closed when it has, or ctx ends.
type talk func(ctx context.Context, v *venue, conn net.Conn)

// New makes the certificates and opens all listeners, so that URL and CA hold before Run.
func New(o Options) (*Simulator, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Simulator{doors: map[string]*door{}, logger: o.Logger}
	if err := s.open(o); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *Simulator) open(o Options) error {
	certs, err := newCertificates(time.Now())
	if err != nil {
		return err
	}
	s.ca, s.certs = certs.ca, certs
	if s.oa, err = newOffice(); err != nil {
		return err
	}
	if s.seal, err = newSealOffice(time.Now()); err != nil {
		return err
	}
	s.docs = newDocServer(o.Office)
	s.centre = newCentre()
	if o.Folder != "" {
		if err := s.writeCertificates(o.Folder); err != nil {
			return err
		}
	}
	if s.pages, err = openPageLog(o.PageLog); err != nil {
		return err
	}
	for _, v := range append(s.services(), plainServices(o.Plain)...) {
		if v.talk == nil {
			v.certs = certs
		}
		s.venues = append(s.venues, v)
	}
	s.venues = append(s.venues, &venue{name: Webhook, title: "页面接收端", plain: s.pages})
	for _, v := range s.venues {
		if v.door, err = openDoor(o.Ports[v.name]); err != nil {
			return fmt.Errorf("%s: %w", v.name, err)
		}
		s.doors[v.name] = v.door
		v.fault.door = v.door
	}
	if s.doors[Control], err = openDoor(o.Ports[Control]); err != nil {
		return fmt.Errorf("%s: %w", Control, err)
	}
	return nil
}

// writeCertificates lays out what a collector's configuration refers to.
func (s *Simulator) writeCertificates(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("make folder for certificates: %w", err)
	}
	for name, pem := range map[string][]byte{"ca.pem": s.ca, "seal-ca.pem": s.SealCA(), "seal-cert.pem": s.SealCertificate()} {
		if err := os.WriteFile(filepath.Join(folder, name), pem, 0o644); err != nil {
			return fmt.Errorf("write demo certificate: %w", err)
		}
	}
	return nil
}

// CA is the demo CA's certificate in PEM.
func (s *Simulator) CA() []byte { return slices.Clone(s.ca) }

// URL is where a service, Control or Webhook listens; empty for other names.
func (s *Simulator) URL(name string) string {
	d, ok := s.doors[name]
	if !ok {
		return ""
	}
	switch v := s.venue(name); {
	case v != nil && v.talk != nil:
		return "tcp://" + d.addr
	case v != nil && v.certs != nil:
		return "https://" + d.addr
	}
	return "http://" + d.addr
}

// URLs is URL for every name.
func (s *Simulator) URLs() map[string]string {
	out := make(map[string]string, len(s.doors))
	for name := range s.doors {
		out[name] = s.URL(name)
	}
	return out
}

// Break puts a fault in force before it returns; mode ok ends it.
func (s *Simulator) Break(name string, f Fault) error {
	v := s.venue(name)
	if v == nil {
		return s.unknown(name)
	}
	if err := v.check(f); err != nil {
		return err
	}
	return v.fault.set(f)
}

func (s *Simulator) venue(name string) *venue {
	i := slices.IndexFunc(s.venues, func(v *venue) bool { return v.name == name })
	if i < 0 {
		return nil
	}
	return s.venues[i]
}

// Run serves until ctx ends.
func (s *Simulator) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, v := range s.venues {
		group.Go(func() error {
			if v.talk != nil {
				return v.converse(ctx)
			}
			return serve(ctx, v.door, v.config(), v)
		})
	}
	group.Go(func() error { return serve(ctx, s.doors[Control], nil, s.control()) })
	s.logger.Info("simulator runs", "urls", s.URLs())
	err := group.Wait()
	return errors.Join(err, s.close())
}

func (v *venue) config() *tls.Config {
	if v.certs == nil {
		return nil
	}
	// Without tickets every connection shows its certificate.
	return &tls.Config{SessionTicketsDisabled: true, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		if v.fault.handshake() {
			return &v.certs.expired, nil
		}
		return &v.certs.good, nil
	}}
}

// serve speaks HTTP/1.1 alone: a reset has to cut the connection and not one stream of it.
func serve(ctx context.Context, d *door, config *tls.Config, h http.Handler) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          log.New(io.Discard, "", 0),
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	done := make(chan error, 1)
	go func() {
		if config == nil {
			done <- server.Serve(d)
		} else {
			done <- server.Serve(tls.NewListener(d, config))
		}
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	server.Close()
	d.Close()
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// maxTalks bounds the connections of a venue that is not HTTP's; more wait at the door.
const maxTalks = 256

// converse serves connections that are not HTTP's.
func (v *venue) converse(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { v.door.Close() })
	defer stop()
	var talks errgroup.Group
	talks.SetLimit(maxTalks)
	for {
		conn, err := v.door.Accept()
		if err != nil {
			_ = talks.Wait() // talks have no errors
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		talks.Go(func() error {
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			v.talk(ctx, v, conn)
			return nil
		})
	}
}

func (s *Simulator) close() error {
	for _, v := range s.venues {
		v.fault.stop()
	}
	for _, d := range s.doors {
		if d != nil {
			d.Close()
		}
	}
	var err error
	if s.docs != nil {
		err = s.docs.converter.close()
	}
	if s.pages != nil {
		err = errors.Join(err, s.pages.close())
	}
	return err
}

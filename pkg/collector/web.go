package collector

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// secure says whether the door for people speaks TLS: not on loopback unless asked to.
func (c *Config) secure() bool {
	if c.HTTP.CertFile != "" || c.HTTP.TLS == "on" {
		return true
	}
	name, _, err := net.SplitHostPort(c.HTTP.Listen)
	ip := net.ParseIP(name)
	loopback := err == nil && (name == "localhost" || ip != nil && ip.IsLoopback())
	return c.HTTP.TLS != "off" && !loopback
}

// externalURL is where people reach the console.
func (c *Config) externalURL() string {
	if c.HTTP.ExternalURL != "" {
		return c.HTTP.ExternalURL
	}
	scheme := "http"
	if c.secure() {
		scheme = "https"
	}
	name, port, err := net.SplitHostPort(c.HTTP.Listen)
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(name); name == "" || ip != nil && ip.IsUnspecified() {
		if name, err = os.Hostname(); err != nil {
			name = "localhost"
		}
	}
	return scheme + "://" + net.JoinHostPort(name, port)
}

// openWeb binds the door for people and tools.
func (c *Collector) openWeb() (err error) {
	handler, err := c.handler()
	if err != nil {
		return err
	}
	if c.doors.http = c.o.HTTP; c.doors.http == nil {
		if c.doors.http, err = net.Listen("tcp", c.cfg.HTTP.Listen); err != nil {
			return fmt.Errorf("listen for people: %w", err)
		}
	}
	c.later("web listener", ignoreClosed(c.doors.http.Close))
	c.web = &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
	}
	c.web.RegisterOnShutdown(c.endStreams)
	if !c.cfg.secure() {
		return nil
	}
	c.web.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.fleet.GetCertificate}
	if c.cfg.HTTP.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.cfg.path(c.cfg.HTTP.CertFile), c.cfg.path(c.cfg.HTTP.KeyFile))
		if err != nil {
			return fmt.Errorf("read certificate of the console: %w", err)
		}
		c.web.TLSConfig.GetCertificate, c.web.TLSConfig.Certificates = nil, []tls.Certificate{pair}
	}
	return nil
}

func (c *Collector) serveWeb() (err error) {
	if c.web.TLSConfig != nil {
		err = c.web.ServeTLS(c.doors.http, "", "")
	} else {
		err = c.web.Serve(c.doors.http)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// bootstrap makes the first person when there is none, and leaves the password where only the owner of the data can read it.
func (c *Collector) bootstrap() error {
	password, created, err := c.access.Bootstrap(time.Now())
	if err != nil || !created {
		return err
	}
	file := filepath.Join(c.cfg.Data, "first-start.txt")
	if err := os.WriteFile(file, []byte("admin "+password+"\n"), 0o600); err != nil {
		return fmt.Errorf("write first password: %w", err)
	}
	c.log.Warn("first start: sign in with the name and password in this file, then delete it", "file", file)
	return nil
}

// URL is where people reach the console; AgentAddress is where agents connect.
func (c *Collector) URL() string { return c.o.Config.externalURL() }

// AgentAddress is the listener's, which tells the port when the configuration leaves it open.
func (c *Collector) AgentAddress() string { return c.doors.grpc.Addr().String() }

package check

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"
)

// TLS says whom to trust, and what a handshake must show. It is of every kind that can speak TLS.
type TLS struct {
	CAFile     string   `yaml:"ca_file,omitempty" json:"-"`       // read by the collector when it loads its configuration
	CA         string   `yaml:"ca,omitempty" json:"ca,omitempty"` // PEM, sent with the plan
	ServerName string   `yaml:"server_name,omitempty" json:"server_name,omitempty"`
	SkipVerify bool     `yaml:"skip_verify,omitempty" json:"skip_verify,omitempty"`
	MinVersion string   `yaml:"min_version,omitempty" json:"min_version,omitempty"` // TLS10 to TLS13; default TLS12
	MaxVersion string   `yaml:"max_version,omitempty" json:"max_version,omitempty"`
	Names      []string `yaml:"names,omitempty" json:"names,omitempty"`       // further names that the certificate must hold
	StartTLS   string   `yaml:"starttls,omitempty" json:"starttls,omitempty"` // of kind tls: as TCP's
	Expiry     Expiry   `yaml:"expiry,omitempty" json:"expiry,omitzero"`
}

// Expiry says how long before its end a certificate is told of.
type Expiry struct {
	Minor   time.Duration `yaml:"minor,omitempty" json:"minor,omitempty"`     // default 30 days
	General time.Duration `yaml:"general,omitempty" json:"general,omitempty"` // default 7 days
	Urgent  time.Duration `yaml:"urgent,omitempty" json:"urgent,omitempty"`   // default 0: when it has ended
	Off     bool          `yaml:"off,omitempty" json:"off,omitempty"`         // never; an expired certificate still fails the handshake
}

// DefaultExpiry is what a check is told by that says nothing of it.
var DefaultExpiry = Expiry{Minor: 30 * 24 * time.Hour, General: 7 * 24 * time.Hour}

// WithDefaults fills what was left out.
func (e Expiry) WithDefaults() Expiry {
	if e.Minor == 0 {
		e.Minor = DefaultExpiry.Minor
	}
	if e.General == 0 {
		e.General = min(DefaultExpiry.General, e.Minor)
	}
	return e
}

// TLSVersions are the words for versions, as blackbox_exporter's configuration writes them.
var TLSVersions = map[string]uint16{"TLS10": 0x0301, "TLS11": 0x0302, "TLS12": 0x0303, "TLS13": 0x0304}

func (t TLS) validate(fail func(path, format string, args ...any), kind string) {
	validateCA(fail, "tls.ca", t.CA, kind == "tlcp")
	if t.SkipVerify && (t.CA != "" || t.CAFile != "") {
		fail("tls.skip_verify", "trusts everybody although a CA is given: want one of the two")
	}
	for path, v := range map[string]string{"tls.min_version": t.MinVersion, "tls.max_version": t.MaxVersion} {
		if _, ok := TLSVersions[v]; v != "" && !ok {
			fail(path, "%q: want TLS10, TLS11, TLS12 or TLS13", v)
		}
	}
	if least, most := TLSVersions[t.MinVersion], TLSVersions[t.MaxVersion]; most != 0 && least > most {
		fail("tls.max_version", "%s is before min_version %s", t.MaxVersion, t.MinVersion)
	}
	if len(t.Names) > maxExpects {
		fail("tls.names", "%d names: want at most %d", len(t.Names), maxExpects)
	}
	for i, n := range t.Names {
		if n == "" || len(n) > 253 {
			fail(fmt.Sprintf("tls.names[%d]", i), "%q: want a host name or an address", n)
		}
	}
	validateStartTLS(fail, "tls.starttls", t.StartTLS)
	t.Expiry.WithDefaults().validate(fail, "tls.expiry")
}

func (e Expiry) validate(fail func(path, format string, args ...any), path string) {
	if e.Minor < e.General || e.General < e.Urgent || e.Urgent < 0 {
		fail(path, "minor %v, general %v, urgent %v: want each at least as long as the next", e.Minor, e.General, e.Urgent)
	}
}

// validateCA wants PEM certificates. Those of the national algorithms cannot be read here, for which the standard library has no
// curve: the agent does.
func validateCA(fail func(path, format string, args ...any), path, text string, national bool) {
	if text == "" {
		return
	}
	block, _ := pem.Decode([]byte(text))
	switch {
	case len(text) > maxCA:
		fail(path, "longer than %d bytes", maxCA)
	case block == nil || block.Type != "CERTIFICATE", !national && !x509.NewCertPool().AppendCertsFromPEM([]byte(text)):
		fail(path, "holds no PEM certificate")
	}
}

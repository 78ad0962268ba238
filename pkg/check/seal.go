package check

import (
	"maps"
	"time"
)

// Seal is what a check of kind seal knows beforehand of a signature service. Its flow sees the certificates as {{ pinned }} and
// {{ authority }}; what the flow extracts as certificate and seal_end is looked at when the run is over.
type Seal struct {
	CertificateFile string `yaml:"certificate_file,omitempty" json:"-"`                // read by the collector
	Certificate     string `yaml:"certificate,omitempty" json:"certificate,omitempty"` // PEM: what the service signed with when the check was set up
	AuthorityFile   string `yaml:"authority_file,omitempty" json:"-"`                  // read by the collector
	Authority       string `yaml:"authority,omitempty" json:"authority,omitempty"`     // PEM: roots of the certificates for seals
	Expiry          Expiry `yaml:"expiry,omitempty" json:"expiry,omitzero"`            // of the certificate and of the seal; default minor 60 days
}

// defaultSealExpiry is longer than a server's: new seals take weeks to get (DOMAIN 1.2).
const defaultSealExpiry = 60 * 24 * time.Hour

// Limits are Expiry with what was left out.
func (s Seal) Limits() Expiry {
	e := s.Expiry
	if e.Minor == 0 {
		e.Minor = defaultSealExpiry
	}
	return e.WithDefaults()
}

func (s Spec) validateSeal(fail failAt) {
	s.validateURL(fail)
	s.Flow.validate(fail)
	if s.Seal.Certificate == "" && s.Seal.CertificateFile == "" {
		fail("seal.certificate_file", "missing: want the certificate that the service signs with, in PEM")
	}
	if s.Seal.Authority == "" && s.Seal.AuthorityFile == "" {
		fail("seal.authority_file", "missing: want the roots of the certificates for seals, in PEM")
	}
	validateCA(fail, "seal.certificate", s.Seal.Certificate, true)
	validateCA(fail, "seal.authority", s.Seal.Authority, true)
	s.Seal.Limits().validate(fail, "seal.expiry")
}

// OwnFlow is the check's flow with the variables that its kind gives it; nil for none.
func (s Spec) OwnFlow() *Flow {
	if f := s.documentFlow(); f != nil {
		return f
	}
	if s.Flow == nil || s.Kind != "seal" {
		return s.Flow
	}
	f := *s.Flow
	f.Vars = maps.Clone(f.Vars)
	if f.Vars == nil {
		f.Vars = map[string]string{}
	}
	f.Vars["pinned"], f.Vars["authority"] = s.Seal.Certificate, s.Seal.Authority
	return &f
}

// PEMFile is a file beside the configuration, and the field that takes what it holds.
type PEMFile struct {
	Path string // of the field that names it
	Name string
	Into *string
}

// PEMFiles are those that the check names.
func (s *Spec) PEMFiles() []PEMFile {
	var out []PEMFile
	for _, f := range []PEMFile{
		{"tls.ca_file", s.TLS.CAFile, &s.TLS.CA},
		{"seal.certificate_file", s.Seal.CertificateFile, &s.Seal.Certificate},
		{"seal.authority_file", s.Seal.AuthorityFile, &s.Seal.Authority},
	} {
		if f.Name != "" {
			out = append(out, f)
		}
	}
	return out
}

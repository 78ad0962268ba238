package probe

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/emmansun/gmsm/smx509"

	"xunjian/pkg/check"
	"xunjian/pkg/metric"
	"xunjian/pkg/ses"
	"xunjian/pkg/tlcp"
)

// tlcpAsker greets a server of the Chinese TLS and judges the two certificates that it shows.
type tlcpAsker struct {
	dialer
	name  string // that the certificates must hold
	roots *smx509.CertPool
	trust bool // everybody
}

func newTLCP(spec check.Spec, env Env) (Asker, error) {
	host, port, err := hostPort(spec)
	if err != nil {
		return nil, err
	}
	t := &tlcpAsker{name: spec.TLS.ServerName, trust: spec.TLS.SkipVerify}
	if t.dialer, err = newDialer(spec, env, host, port); err != nil {
		return nil, err
	}
	if t.name == "" {
		t.name = host
	}
	switch {
	case t.trust:
	case spec.TLS.CA != "":
		if t.roots, err = ses.Roots([]byte(spec.TLS.CA)); err != nil {
			return nil, fmt.Errorf("tls.ca: %w", err)
		}
	default:
		if t.roots, err = smx509.SystemCertPool(); err != nil {
			return nil, fmt.Errorf("read this host's own roots: %w (set tls.ca_file)", err)
		}
	}
	return t, nil
}

// Ask always opens a new connection.
func (t *tlcpAsker) Ask(ctx context.Context, _ bool) check.Attempt {
	w := startWatch()
	l, bad := t.open(ctx, w)
	var hello *tlcp.Hello
	if bad == nil {
		hello, bad = t.greet(ctx, l)
		w.lap("tls")
	}
	a := verdict(bad)
	a.Phases = w.phases
	t.tell(&a, l, hello, time.Now())
	return a
}

// greet returns what was shown also when it is at fault.
func (t *tlcpAsker) greet(ctx context.Context, l *link) (*tlcp.Hello, *fault) {
	defer l.raw.Close()
	hello, err := tlcp.Scan(ctx, l.raw, t.name)
	if err == nil {
		err = t.judge(hello, time.Now())
		if err == nil {
			return hello, nil
		}
		return hello, failed(check.ClassTLS, "%v", err)
	}
	_, refused := errors.AsType[tlcp.Alert](err)
	if refused || errors.Is(err, tlcp.ErrOther) || errors.Is(err, tlcp.ErrInvalid) || errors.Is(err, tlcp.ErrProof) {
		return hello, failed(check.ClassTLS, "TLCP handshake: %v", err)
	}
	return hello, blame(ctx, "TLCP handshake", err, check.ClassTLS)
}

// usages are the two halves of a server, in the order in which it shows them.
var usages = []struct {
	label, people string
	bits          smx509.KeyUsage
}{
	{"sign", "signing", smx509.KeyUsageDigitalSignature | smx509.KeyUsageContentCommitment},
	{"enc", "encryption", smx509.KeyUsageKeyEncipherment | smx509.KeyUsageDataEncipherment | smx509.KeyUsageKeyAgreement},
}

// certs are a server's signing and encryption certificates, nil for one that is not there.
func certs(h *tlcp.Hello) []*smx509.Certificate {
	return []*smx509.Certificate{h.Signing(), h.Encryption()}
}

func (t *tlcpAsker) judge(h *tlcp.Hello, now time.Time) error {
	between := smx509.NewCertPool()
	for _, c := range h.Chain[1:] {
		between.AddCert(c)
	}
	for i, c := range certs(h) {
		u := usages[i]
		if c == nil {
			return fmt.Errorf("no %s certificate", u.people)
		}
		if c.KeyUsage != 0 && c.KeyUsage&u.bits == 0 {
			return fmt.Errorf("%s certificate: its key usage is another", u.people)
		}
		if t.trust {
			continue
		}
		_, err := c.Verify(smx509.VerifyOptions{Roots: t.roots, Intermediates: between, CurrentTime: now, KeyUsages: []smx509.ExtKeyUsage{smx509.ExtKeyUsageAny}})
		if err != nil {
			return fmt.Errorf("%s certificate: %w", u.people, err)
		}
		for _, name := range append([]string{t.name}, t.names...) {
			if err := holdsName(c, name); err != nil {
				return fmt.Errorf("%s certificate: %w", u.people, err)
			}
		}
	}
	return nil
}

// holdsName takes the common name where there are no others: many certificates of the national algorithms are made so.
func holdsName(c *smx509.Certificate, name string) error {
	if len(c.DNSNames)+len(c.IPAddresses) == 0 && strings.EqualFold(c.Subject.CommonName, name) {
		return nil
	}
	return c.VerifyHostname(name)
}

// tell writes what was shown into the attempt: values in the order of tlcpSeries, a finding for each certificate.
func (t *tlcpAsker) tell(a *check.Attempt, l *link, h *tlcp.Hello, now time.Time) {
	if a.Values = netValues(nil, l, false); h == nil {
		return
	}
	ends := make([]float64, len(usages))
	for i, c := range certs(h) {
		if ends[i] = math.NaN(); c == nil {
			continue
		}
		ends[i] = float64(c.NotAfter.Unix())
		if !t.expiry.Off {
			a.Note(expiryFinding("certificate-"+usages[i].label, c.Subject.CommonName+" ("+usages[i].people+")", c.NotAfter, t.expiry, now))
		}
	}
	for _, c := range h.Chain {
		if a.CertExpiry.IsZero() || c.NotAfter.Before(a.CertExpiry) {
			a.CertExpiry = c.NotAfter
		}
	}
	a.Values = append(append(a.Values, float64(a.CertExpiry.Unix())), ends...)
	for _, s := range tlcp.Suites {
		is := math.NaN()
		if s == h.Suite {
			is = 1
		}
		a.Values = append(a.Values, is)
	}
}

// tlcpSeries are of the kind's own.
func tlcpSeries(spec check.Spec) []metric.Series {
	out := append(netSeries(spec), metric.New("probe_ssl_earliest_cert_expiry"))
	for _, u := range usages {
		out = append(out, metric.New("xunjian_probe_tlcp_cert_expiry", "usage", u.label))
	}
	for _, s := range tlcp.Suites {
		out = append(out, metric.New("xunjian_probe_tlcp_suite_info", "suite", s.String()))
	}
	return out
}

// Close has nothing to give back.
func (t *tlcpAsker) Close() error { return nil }

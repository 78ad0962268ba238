package probe

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"time"

	"github.com/emmansun/gmsm/smx509"

	"xunjian/pkg/check"
	"xunjian/pkg/flow"
	"xunjian/pkg/metric"
	"xunjian/pkg/ses"
)

// What a flow of kind seal extracts for the look that is taken when it is over.
const (
	varCertificate = "certificate" // that the service signed with, DER in base64, or PEM
	varSealEnd     = "seal_end"    // RFC 3339
	varSignature   = "signature"   // one test signature was made
	varDocument    = "document"    // one test document was sealed
)

// sealJudge looks at a run of a signature service's flow when it is over: how long certificate and seal are still good for,
// whether the certificate is the one that was pinned, how many test signatures were made.
type sealJudge struct {
	pinned *smx509.Certificate
	limits check.Expiry
	made   atomic.Uint64
}

func newSeal(spec check.Spec, env Env) (Asker, error) {
	pinned, err := ses.ParseCertificate([]byte(spec.Seal.Certificate))
	if err != nil {
		return nil, fmt.Errorf("seal.certificate: %w", err)
	}
	if _, err := ses.Roots([]byte(spec.Seal.Authority)); err != nil {
		return nil, fmt.Errorf("seal.authority: %w", err)
	}
	spec.Flow = spec.OwnFlow()
	f, err := newFlowAsker(spec, env)
	if err != nil {
		return nil, err
	}
	j := &sealJudge{pinned: pinned, limits: spec.Seal.Limits()}
	f.after = func(r *flow.Run) { j.look(r, time.Now()) }
	return f.asker(), nil
}

// sealSeries are of the kind's own, in the order of look's values.
func sealSeries(check.Spec) []metric.Series {
	return []metric.Series{
		metric.New("xunjian_probe_seal_cert_expiry"), metric.New("xunjian_probe_seal_expiry"), metric.New("xunjian_probe_seal_signatures_total"),
	}
}

func (j *sealJudge) look(r *flow.Run, now time.Time) {
	for _, name := range []string{varSignature, varDocument} {
		if r.Vars[name] != "" {
			j.made.Add(1)
		}
	}
	r.Values = []float64{math.NaN(), math.NaN(), float64(j.made.Load())}
	if c := shownCertificate(r.Vars[varCertificate]); c != nil {
		r.Values[0] = float64(c.NotAfter.Unix())
		r.Note(expiryFinding("seal-certificate", c.Subject.CommonName, c.NotAfter, j.limits, now), j.change(c))
	}
	if end, ok := flow.ReadEnd(strings.TrimSpace(r.Vars[varSealEnd])); ok {
		r.Values[1] = float64(end.Unix())
		f := expiryFinding("seal", "", end, j.limits, now)
		if f.Level != "" {
			f.Reason = fmt.Sprintf("test seal ends on %s, %d days left", end.UTC().Format(time.RFC3339), int(f.Value))
		}
		if end.Before(now) {
			f.Reason = "test seal ended on " + end.UTC().Format(time.RFC3339)
		}
		r.Note(f)
	}
}

// change tells of a certificate that took the pinned one's place. Whether it may is the flow's to say.
func (j *sealJudge) change(c *smx509.Certificate) check.Finding {
	f := check.Finding{Name: "seal-certificate-change"}
	if !c.Equal(j.pinned) {
		f.Level = "minor"
		f.Reason = fmt.Sprintf("certificate changed: serial %s, pinned %s; look into it, then pin the new one (seal.certificate_file)",
			serialOf(c), serialOf(j.pinned))
	}
	return f
}

func serialOf(c *smx509.Certificate) string { return hex.EncodeToString(c.SerialNumber.Bytes()) }

// shownCertificate is nil for what cannot be read: the flow's own steps say so.
func shownCertificate(text string) *smx509.Certificate {
	b := []byte(text)
	if der, err := base64.StdEncoding.DecodeString(text); err == nil {
		b = der
	}
	c, err := ses.ParseCertificate(b)
	if err != nil {
		return nil
	}
	return c
}

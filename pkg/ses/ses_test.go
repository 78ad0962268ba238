package ses_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm3"
	"github.com/google/go-cmp/cmp"

	"xunjian/pkg/ses"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// office is a CA with a maker of seals, a signer, and a seal for the signer.
type office struct {
	ca            *ses.Authority
	maker, signer ses.Identity
	seal          *ses.Seal
}

func newOffice(t testing.TB, standard ses.Standard) office {
	t.Helper()
	ca, err := ses.NewAuthority("测试根", noon.Add(-900*day), noon.Add(3650*day))
	must(t, err)
	maker, err := ca.Issue("制章人", ses.Signer, noon.Add(-100*day), noon.Add(900*day), "")
	must(t, err)
	signer, err := ca.Issue("签章人", ses.Signer, noon.Add(-50*day), noon.Add(400*day), "")
	must(t, err)
	o := office{ca: ca, maker: maker, signer: signer}
	o.seal = o.makeSeal(t, standard, noon.Add(-10*day), noon.Add(365*day))
	return o
}

func (o office) makeSeal(t testing.TB, standard ses.Standard, from, until time.Time) *ses.Seal {
	t.Helper()
	seal, err := ses.MakeSeal(ses.Seal{
		Standard: standard, Vendor: "XUNJIAN", ID: "35000000000001", Type: 1, Name: "监测专用章",
		Created: from, From: from, Until: until, Picture: ses.Picture{Type: "PNG", Data: []byte("picture"), Width: 40, Height: 40},
	}, o.maker, o.signer.Cert)
	must(t, err)
	return seal
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var standards = []ses.Standard{ses.GMT2014, ses.GBT2020, ses.GMT2025}

func TestSealComesBackAsMade(t *testing.T) {
	for _, standard := range standards {
		o := newOffice(t, standard)
		got, err := ses.ParseSeal(o.seal.DER())
		must(t, err)
		must(t, got.Verify())
		type fields struct {
			Standard                    ses.Standard
			Version, Type               int
			Vendor, ID, Name            string
			Created, From, Until        time.Time
			Picture                     ses.Picture
			Listed, ListedMaker, ByName bool
		}
		want := fields{
			standard, map[ses.Standard]int{ses.GMT2014: 1, ses.GBT2020: 4, ses.GMT2025: 5}[standard], 1, "XUNJIAN", "35000000000001", "监测专用章",
			noon.Add(-10 * day), noon.Add(-10 * day), noon.Add(365 * day),
			ses.Picture{Type: "PNG", Data: []byte("picture"), Width: 40, Height: 40},
			true, false, true,
		}
		have := fields{
			got.Standard, got.Version, got.Type, got.Vendor, got.ID, got.Name, got.Created, got.From, got.Until, got.Picture,
			got.Lists(o.signer.Cert), got.Lists(o.maker.Cert), got.Maker.Subject.CommonName == "制章人",
		}
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("%s: %s", standard, diff)
		}
	}
}

func TestSignature(t *testing.T) {
	for _, standard := range standards {
		o := newOffice(t, standard)
		data := []byte("<Signature/>")
		der, err := ses.MakeSignature(o.seal, o.signer, data, noon, "/Doc_0/Signs/Sign_0/Signature.xml")
		must(t, err)
		s, err := ses.ParseSignature(der)
		must(t, err)
		if s.Standard != standard || !s.Time.Equal(noon) || s.Property != "/Doc_0/Signs/Sign_0/Signature.xml" {
			t.Errorf("%s: got %s of %v, %q", standard, s.Standard, s.Time, s.Property)
		}
		if err := s.Verify(data); err != nil {
			t.Errorf("%s: %v", standard, err)
		}
		if err := s.Verify([]byte("<signature/>")); !errors.Is(err, ses.ErrTampered) {
			t.Errorf("%s: other data gave %v", standard, err)
		}
	}
}

// No byte of a signature can be changed unseen, wherever it stands: it can no longer be read, or no longer verifies.
func TestSignatureFeelsEveryByte(t *testing.T) {
	for _, standard := range standards {
		o := newOffice(t, standard)
		data := []byte("<Signature/>")
		der, err := ses.MakeSignature(o.seal, o.signer, data, noon, "p")
		must(t, err)
		step := 1
		if testing.Short() {
			step = 7
		}
		for i := 0; i < len(der); i += step {
			bad := bytes.Clone(der)
			bad[i] ^= 1
			s, err := ses.ParseSignature(bad)
			if err == nil {
				err = s.Verify(data)
			}
			if err == nil {
				t.Fatalf("%s: byte %d of %d changed unseen", standard, i, len(der))
			}
		}
	}
}

func TestSignatureIsRefused(t *testing.T) {
	o := newOffice(t, ses.GBT2020)
	stranger, err := o.ca.Issue("他人", ses.Signer, noon.Add(-50*day), noon.Add(400*day), "")
	must(t, err)
	tests := map[string]struct {
		seal   *ses.Seal
		signer ses.Identity
		at     time.Time
		want   error
		text   string
	}{
		"signer not listed":   {o.seal, stranger, noon, ses.ErrTampered, "its list lacks the signer"},
		"seal ended":          {o.makeSeal(t, ses.GBT2020, noon.Add(-30*day), noon.Add(-day)), o.signer, noon, ses.ErrDate, "good from 2026-10-25 to 2026-11-23"},
		"seal not yet":        {o.makeSeal(t, ses.GBT2020, noon.Add(day), noon.Add(2*day)), o.signer, noon, ses.ErrDate, "seal"},
		"certificate ended":   {o.makeSeal(t, ses.GBT2020, noon.Add(-day), noon.Add(900*day)), o.signer, noon.Add(500 * day), ses.ErrDate, "certificate"},
		"certificate not yet": {o.makeSeal(t, ses.GBT2020, noon.Add(-90*day), noon.Add(900*day)), o.signer, noon.Add(-60 * day), ses.ErrDate, "certificate"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			der, err := ses.MakeSignature(tc.seal, tc.signer, nil, tc.at, "p")
			must(t, err)
			s, err := ses.ParseSignature(der)
			must(t, err)
			if err := s.Verify(nil); !errors.Is(err, tc.want) || !strings.Contains(fmt.Sprint(err), tc.text) {
				t.Errorf("got %v, want %v with %q", err, tc.want, tc.text)
			}
		})
	}
}

// Servers send r and s as they are; with a leading zero, too.
func TestPlainSignature(t *testing.T) {
	o := newOffice(t, ses.GBT2020)
	data := []byte("data")
	der, err := o.signer.Sign(data)
	must(t, err)
	key := o.signer.Key.PublicKey
	plain := plainOf(t, der)
	if !ses.VerifySM2(&key, data, plain) {
		t.Error("r‖s does not verify")
	}
	plain[0] ^= 1
	if ses.VerifySM2(&key, data, plain) {
		t.Error("a changed r‖s verifies")
	}
	if ses.VerifySM2(&key, data, nil) || ses.VerifySM2(&key, data, make([]byte, 64)) {
		t.Error("nothing verifies")
	}
}

func plainOf(t *testing.T, der []byte) []byte {
	t.Helper()
	out := make([]byte, 64)
	rest := der[2:]
	for i := range 2 {
		n := int(rest[1])
		b := bytes.TrimLeft(rest[2:2+n], "\x00")
		copy(out[32*(i+1)-len(b):], b)
		rest = rest[2+n:]
	}
	return out
}

func TestChain(t *testing.T) {
	o := newOffice(t, ses.GBT2020)
	roots, err := ses.Roots(o.ca.PEM())
	must(t, err)
	other, err := ses.NewAuthority("别家", noon.Add(-day), noon.Add(day))
	must(t, err)
	otherRoots, err := ses.Roots(other.PEM())
	must(t, err)
	server, err := o.ca.Issue("enc", ses.ServerEncryption, noon.Add(-day), noon.Add(day), "")
	must(t, err)
	if err := ses.Chain(o.signer.Cert, roots, nil, noon); err != nil {
		t.Error(err)
	}
	if err := ses.Chain(o.signer.Cert, roots, nil, noon.Add(401*day)); err == nil {
		t.Error("an ended certificate passed")
	}
	if err := ses.Chain(o.signer.Cert, otherRoots, nil, noon); err == nil {
		t.Error("a stranger's certificate passed")
	}
	if err := ses.Chain(server.Cert, roots, nil, noon); err == nil || !strings.Contains(err.Error(), "key usage") {
		t.Errorf("an encryption certificate gave %v", err)
	}
}

func TestRevoked(t *testing.T) {
	o := newOffice(t, ses.GBT2020)
	crl, err := o.ca.Revoke(noon, o.signer.Cert)
	must(t, err)
	issuers := []*certificate{o.ca.Cert}
	for c, want := range map[*certificate]bool{o.signer.Cert: true, o.maker.Cert: false} {
		if got, err := ses.Revoked(c, crl, issuers, noon); err != nil || got != want {
			t.Errorf("%s: got %v, %v", c.Subject.CommonName, got, err)
		}
	}
	if _, err := ses.Revoked(o.maker.Cert, crl, issuers, noon.Add(40*day)); err == nil {
		t.Error("a list past its date passed")
	}
	other := newOffice(t, ses.GBT2020)
	if _, err := ses.Revoked(other.signer.Cert, crl, []*certificate{other.ca.Cert}, noon); !errors.Is(err, ses.ErrTampered) {
		t.Errorf("another authority's list gave %v", err)
	}
}

func FuzzSignature(f *testing.F) {
	for _, standard := range standards {
		o := newOffice(f, standard)
		der, err := ses.MakeSignature(o.seal, o.signer, []byte("data"), noon, "p")
		must(f, err)
		f.Add(der)
		f.Add(o.seal.DER())
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		if s, err := ses.ParseSeal(der); err == nil {
			_ = s.Verify()
		}
		s, err := ses.ParseSignature(der)
		if err != nil {
			return
		}
		_ = s.Verify([]byte("data"))
		if sum := sm3.Sum([]byte("data")); bytes.Equal(s.DataHash, sum[:]) && s.Seal.Maker == nil {
			t.Error("read without a maker")
		}
	})
}

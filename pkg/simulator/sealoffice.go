package simulator

import (
	"archive/zip"
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/emmansun/gmsm/smx509"

	"xunjian/pkg/ses"
)

// Caps on what the service keeps.
const (
	maxDocuments = 64
	maxTokens    = 256
	tokenLife    = 10 * time.Minute
)

// sealOffice is the seal service's CA, its seals in every state, and what was brought to it.
type sealOffice struct {
	ca    *ses.Authority
	well  sealUse
	ended sealUse
	near  sealUse
	newer sealUse // with another certificate

	mu        sync.Mutex
	tokens    map[string]time.Time
	documents map[string]sealedDocument
	order     []string // of documents, the oldest first
}

// sealedDocument is what was brought and sealed.
type sealedDocument struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	ofd     []byte
}

// sealUse is a seal and who may use it.
type sealUse struct {
	seal   *ses.Seal
	signer ses.Identity
}

func newSealOffice(now time.Time) (*sealOffice, error) {
	o := &sealOffice{tokens: map[string]time.Time{}, documents: map[string]sealedDocument{}}
	var err error
	if o.ca, err = ses.NewAuthority("Xunjian Demo SM2 CA", now.Add(-400*day), now.Add(3650*day)); err != nil {
		return nil, err
	}
	maker, err := o.ca.Issue("制章人", ses.Signer, now.Add(-300*day), now.Add(1800*day), "")
	if err != nil {
		return nil, err
	}
	picture, err := sealPicture()
	if err != nil {
		return nil, err
	}
	signer, err := o.ca.Issue("监测专用章", ses.Signer, now.Add(-200*day), now.Add(500*day), "")
	if err != nil {
		return nil, err
	}
	changed, err := o.ca.Issue("监测专用章", ses.Signer, now.Add(-day), now.Add(700*day), "")
	if err != nil {
		return nil, err
	}
	for _, u := range []struct {
		into        *sealUse
		signer      ses.Identity
		from, until time.Time
	}{
		{&o.well, signer, now.Add(-100 * day), now.Add(300 * day)},
		{&o.ended, signer, now.Add(-100 * day), now.Add(-day)},
		{&o.near, signer, now.Add(-100 * day), now.Add(5*day + time.Hour)},
		{&o.newer, changed, now.Add(-time.Hour), now.Add(300 * day)},
	} {
		u.into.signer = u.signer
		u.into.seal, err = ses.MakeSeal(ses.Seal{
			Standard: ses.GBT2020, Vendor: "XUNJIAN", ID: SealID, Type: 1, Name: "监测专用章",
			Created: u.from, From: u.from, Until: u.until, Picture: picture,
		}, maker, u.signer.Cert)
		if err != nil {
			return nil, err
		}
	}
	return o, nil
}

// sealPicture is a red ring.
func sealPicture() (ses.Picture, error) {
	const size, ring = 80, 38
	img := image.NewPaletted(image.Rect(0, 0, size, size), color.Palette{color.Transparent, color.RGBA{R: 0xd0, A: 0xff}})
	for x := range size {
		for y := range size {
			if dx, dy := x-size/2, y-size/2; dx*dx+dy*dy <= ring*ring && dx*dx+dy*dy >= (ring-3)*(ring-3) {
				img.SetColorIndex(x, y, 1)
			}
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return ses.Picture{}, fmt.Errorf("draw seal: %w", err)
	}
	return ses.Picture{Type: "PNG", Data: b.Bytes(), Width: 40, Height: 40}, nil
}

// use is the seal and signer that a fault leaves the service with.
func (o *sealOffice) use(m Mode) sealUse {
	switch m {
	case SealExpired:
		return o.ended
	case SealNearEnd:
		return o.near
	case CertChanged:
		return o.newer
	}
	return o.well
}

func newSecret() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func (o *sealOffice) newToken() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	for t, until := range o.tokens {
		if now.After(until) || len(o.tokens) >= maxTokens {
			delete(o.tokens, t)
		}
	}
	token := newSecret()
	o.tokens[token] = now.Add(tokenLife)
	return token
}

func (o *sealOffice) knows(token string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	until, ok := o.tokens[token]
	return ok && time.Now().Before(until)
}

// addDocument seals and keeps; the oldest document makes room for the newest.
func (o *sealOffice) addDocument(name string, ofd []byte, m Mode, at time.Time) (string, error) {
	u := o.use(m)
	if time.Now().After(u.seal.Until) {
		return "", errors.New("SEAL_EXPIRED")
	}
	sealed, err := ses.SealDocument(ofd, u.seal, u.signer, at)
	if err != nil {
		return "", err
	}
	if m == DocumentWrong {
		if sealed, err = otherWords(sealed); err != nil {
			return "", err
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.order) == maxDocuments {
		delete(o.documents, o.order[0])
		o.order = o.order[1:]
	}
	id := newSecret()
	o.documents[id] = sealedDocument{id, name, time.Now().UTC().Truncate(time.Second), sealed}
	o.order = append(o.order, id)
	return id, nil
}

// otherWords changes a sealed document's text, and nothing that was signed.
func otherWords(ofd []byte) ([]byte, error) {
	in, err := zip.NewReader(bytes.NewReader(ofd), int64(len(ofd)))
	if err != nil {
		return nil, fmt.Errorf("spoil document: %w", err)
	}
	var b bytes.Buffer
	out := zip.NewWriter(&b)
	for _, f := range in.File {
		if err := copyEntry(out, f); err != nil {
			return nil, fmt.Errorf("spoil document: %w", err)
		}
	}
	if err := out.Close(); err != nil {
		return nil, fmt.Errorf("spoil document: %w", err)
	}
	return b.Bytes(), nil
}

func copyEntry(out *zip.Writer, f *zip.File) error {
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	body, err := io.ReadAll(io.LimitReader(r, maxUpload))
	if err != nil {
		return err
	}
	if strings.HasSuffix(f.Name, "Content.xml") {
		body = bytes.Replace(body, []byte("</ofd:TextCode>"), []byte(" 作废</ofd:TextCode>"), 1)
	}
	w, err := out.Create(f.Name)
	if err != nil {
		return err
	}
	_, err = w.Write(body)
	return err
}

func (o *sealOffice) document(id string) ([]byte, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	d, ok := o.documents[id]
	return d.ofd, ok
}

// listDocuments are those whose name holds a text, the oldest first.
func (o *sealOffice) listDocuments(text string) []sealedDocument {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := []sealedDocument{}
	for _, id := range o.order {
		if d, ok := o.documents[id]; ok && strings.Contains(d.Name, text) {
			out = append(out, d)
		}
	}
	return out
}

func (o *sealOffice) deleteDocument(id string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ok := o.documents[id]
	delete(o.documents, id)
	return ok
}

// crl is the CA's list as of now.
func (o *sealOffice) crl(revoked bool) ([]byte, error) {
	var certs []*smx509.Certificate
	if revoked {
		certs = append(certs, o.well.signer.Cert)
	}
	return o.ca.Revoke(time.Now().Add(-time.Minute), certs...)
}

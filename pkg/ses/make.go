package ses

import (
	"archive/zip"
	"bytes"
	"crypto/rand"
	encodingasn1 "encoding/asn1"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/smx509"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Identity is a certificate and its key.
type Identity struct {
	Cert *smx509.Certificate
	Key  *sm2.PrivateKey
}

// Sign signs with SM3 and the usual user id.
func (i Identity) Sign(data []byte) ([]byte, error) {
	return i.Key.Sign(rand.Reader, data, sm2.DefaultSM2SignerOpts)
}

// MakeSeal makes the seal that s describes, for the signers given; Standard says in which form.
func MakeSeal(s Seal, maker Identity, signers ...*smx509.Certificate) (*Seal, error) {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { s.build(b, signers) })
	info, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("make seal: %w", err)
	}
	cert, algorithm := element(asn1.OCTET_STRING, maker.Cert.Raw), algorithmElement()
	signed := info
	if s.Standard == GMT2014 {
		signed = sequence(info, cert, algorithm)
	}
	signature, err := maker.Sign(signed)
	if err != nil {
		return nil, fmt.Errorf("make seal: %w", err)
	}
	if s.Standard == GMT2014 {
		return ParseSeal(sequence(info, sequence(cert, algorithm, bitString(signature))))
	}
	return ParseSeal(sequence(info, cert, algorithm, bitString(signature)))
}

func (s *Seal) build(b *cryptobyte.Builder, signers []*smx509.Certificate) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		addText(b, asn1.IA5String, "ES")
		b.AddASN1Int64(int64(s.Standard.version()))
		addText(b, asn1.IA5String, s.Vendor)
	})
	addText(b, asn1.IA5String, s.ID)
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(int64(s.Type))
		addText(b, asn1.UTF8String, s.Name)
		if s.Standard != GMT2014 {
			b.AddASN1Int64(1)
		}
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, c := range signers {
				b.AddASN1OctetString(c.Raw)
			}
		})
		for _, t := range []time.Time{s.Created, s.From, s.Until} {
			if t = t.UTC(); s.Standard == GMT2014 {
				b.AddASN1UTCTime(t)
			} else {
				b.AddASN1GeneralizedTime(t)
			}
		}
	})
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		addText(b, asn1.IA5String, s.Picture.Type)
		b.AddASN1OctetString(s.Picture.Data)
		b.AddASN1Int64(int64(s.Picture.Width))
		b.AddASN1Int64(int64(s.Picture.Height))
	})
}

func (s Standard) version() int {
	switch s {
	case GMT2014:
		return 1
	case GMT2025:
		return 5
	}
	return 4
}

// MakeSignature uses the seal on data, in the seal's own form.
func MakeSignature(seal *Seal, signer Identity, data []byte, at time.Time, property string) ([]byte, error) {
	sum := sm3.Sum(data)
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(int64(seal.Standard.version()))
		b.AddBytes(seal.der)
		if seal.Standard == GMT2014 {
			b.AddASN1BitString([]byte(at.In(china).Format(time.DateTime)))
		} else {
			b.AddASN1GeneralizedTime(at.UTC())
		}
		b.AddASN1BitString(sum[:])
		addText(b, asn1.IA5String, property)
		if seal.Standard == GMT2014 {
			b.AddASN1OctetString(signer.Cert.Raw)
			b.AddBytes(algorithmElement())
		}
	})
	toSign, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("make signature: %w", err)
	}
	signature, err := signer.Sign(toSign)
	if err != nil {
		return nil, fmt.Errorf("make signature: %w", err)
	}
	if seal.Standard == GMT2014 {
		return sequence(toSign, bitString(signature)), nil
	}
	return sequence(toSign, element(asn1.OCTET_STRING, signer.Cert.Raw), algorithmElement(), bitString(signature)), nil
}

func addText(b *cryptobyte.Builder, tag asn1.Tag, s string) {
	b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes([]byte(s)) })
}

func element(tag asn1.Tag, body []byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(body) })
	return b.BytesOrPanic()
}

func sequence(elements ...[]byte) []byte { return element(asn1.SEQUENCE, slices.Concat(elements...)) }

func bitString(b []byte) []byte { return element(asn1.BIT_STRING, append([]byte{0}, b...)) }

func algorithmElement() []byte {
	der, _ := encodingasn1.Marshal(algorithms[0]) // a constant: cannot fail
	return der
}

// files of the documents made here, in their order in the archive.
const (
	fileMain      = "OFD.xml"
	fileRoot      = "Doc_0/Document.xml"
	fileRes       = "Doc_0/PublicRes.xml"
	filePage      = "Doc_0/Pages/Page_0/Content.xml"
	fileSigns     = "Doc_0/Signs/Signatures.xml"
	fileSignature = "Doc_0/Signs/Sign_0/Signature.xml"
	fileSeal      = "Doc_0/Signs/Sign_0/Seal.esl"
	fileValue     = "Doc_0/Signs/Sign_0/SignedValue.dat"
)

const (
	xmlHead = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"
	xmlSpec = ` xmlns:ofd="http://www.ofdspec.org/2016"`
)

// MakeDocument is an OFD document of one page with one line of text.
func MakeDocument(text string) ([]byte, error) {
	var escaped strings.Builder
	if err := xml.EscapeText(&escaped, []byte(text)); err != nil {
		return nil, fmt.Errorf("make document: %w", err)
	}
	return pack(map[string][]byte{
		fileMain: mainFile(""),
		fileRoot: []byte(xmlHead + `<ofd:Document` + xmlSpec + `><ofd:CommonData><ofd:MaxUnitID>4</ofd:MaxUnitID><ofd:PageArea><ofd:PhysicalBox>0 0 210 297</ofd:PhysicalBox></ofd:PageArea>` +
			`<ofd:PublicRes>PublicRes.xml</ofd:PublicRes></ofd:CommonData><ofd:Pages><ofd:Page ID="1" BaseLoc="Pages/Page_0/Content.xml"/></ofd:Pages></ofd:Document>`),
		fileRes: []byte(xmlHead + `<ofd:Res` + xmlSpec + ` BaseLoc="Res"><ofd:Fonts><ofd:Font ID="3" FontName="宋体" FamilyName="宋体"/></ofd:Fonts></ofd:Res>`),
		filePage: []byte(xmlHead + `<ofd:Page` + xmlSpec + `><ofd:Content><ofd:Layer ID="2"><ofd:TextObject ID="4" Boundary="20 20 170 10" Font="3" Size="4">` +
			`<ofd:TextCode X="0" Y="4">` + escaped.String() + `</ofd:TextCode></ofd:TextObject></ofd:Layer></ofd:Content></ofd:Page>`),
	})
}

func mainFile(signatures string) []byte {
	if signatures != "" {
		signatures = `<ofd:Signatures>` + signatures + `</ofd:Signatures>`
	}
	return []byte(xmlHead + `<ofd:OFD` + xmlSpec + ` DocType="OFD" Version="1.1"><ofd:DocBody><ofd:DocInfo><ofd:Creator>Xunjian</ofd:Creator></ofd:DocInfo>` +
		`<ofd:DocRoot>` + fileRoot + `</ofd:DocRoot>` + signatures + `</ofd:DocBody></ofd:OFD>`)
}

// SealDocument puts a seal on an unsealed document with the layout of those made here.
func SealDocument(ofd []byte, seal *Seal, signer Identity, at time.Time) ([]byte, error) {
	d, err := Open(ofd)
	if err != nil {
		return nil, err
	}
	if len(d.signs) > 0 || d.root != fileRoot {
		return nil, fmt.Errorf("seal document: %w: it is sealed already, or its files lie elsewhere than expected", ErrContainer)
	}
	d.files[fileMain] = mainFile(fileSigns)
	d.files[fileSeal] = seal.der
	d.files[fileSigns] = []byte(xmlHead + `<ofd:Signatures` + xmlSpec + `><ofd:MaxSignId>1</ofd:MaxSignId><ofd:Signature ID="1" Type="Seal" BaseLoc="/` + fileSignature + `"/></ofd:Signatures>`)
	list := signatureList(d.files, at)
	d.files[fileSignature] = list
	if d.files[fileValue], err = MakeSignature(seal, signer, list, at, "/"+fileSignature); err != nil {
		return nil, err
	}
	return pack(d.files)
}

// signatureList is Signature.xml over all files but the list of signatures, to which others may be added.
func signatureList(files map[string][]byte, at time.Time) []byte {
	var refs strings.Builder
	for _, name := range sorted(files) {
		if name == fileSigns {
			continue
		}
		sum := sm3.Sum(files[name])
		fmt.Fprintf(&refs, `<ofd:Reference FileRef="/%s"><ofd:CheckValue>%s</ofd:CheckValue></ofd:Reference>`, name, base64.StdEncoding.EncodeToString(sum[:]))
	}
	return []byte(xmlHead + `<ofd:Signature` + xmlSpec + `><ofd:SignedInfo><ofd:Provider ProviderName="xunjian" Company="xunjian" Version="1"/>` +
		`<ofd:SignatureMethod>1.2.156.10197.1.501</ofd:SignatureMethod><ofd:SignatureDateTime>` + at.In(china).Format("20060102150405") + `</ofd:SignatureDateTime>` +
		`<ofd:References CheckMethod="1.2.156.10197.1.401">` + refs.String() + `</ofd:References>` +
		`<ofd:StampAnnot ID="1" PageRef="1" Boundary="90 120 40 40"/><ofd:Seal><ofd:BaseLoc>/` + fileSeal + `</ofd:BaseLoc></ofd:Seal></ofd:SignedInfo>` +
		`<ofd:SignedValue>/` + fileValue + `</ofd:SignedValue></ofd:Signature>`)
}

func sorted(files map[string][]byte) []string {
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func pack(files map[string][]byte) ([]byte, error) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range sorted(files) {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write(files[name])
		}
		if err != nil {
			return nil, fmt.Errorf("pack document: %w", err)
		}
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("pack document: %w", err)
	}
	return b.Bytes(), nil
}

package ses

import (
	encodingasn1 "encoding/asn1"
	"fmt"

	"github.com/emmansun/gmsm/smx509"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Caps on lists within a seal.
const maxSigners = 256

// algorithms that mean SM2 with SM3; the second and third are the key's, which some makers write in its place.
var algorithms = []encodingasn1.ObjectIdentifier{
	{1, 2, 156, 10197, 1, 501}, {1, 2, 156, 10197, 1, 301}, {1, 2, 156, 10197, 1, 301, 1},
}

// reader takes elements off a sequence and remembers the first that was not there, so that parsing reads as the standard does.
type reader struct {
	cryptobyte.String
	err error
}

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%s: %w", what, ErrFormat)
	}
	r.String = nil
}

func open(der []byte, what string) *reader {
	r := &reader{String: der}
	if len(der) > maxDER {
		r.fail(what + " is too large")
		return r
	}
	in := r.sequence(what)
	if !r.Empty() {
		in.fail(what + " is followed by more")
	}
	in.err = cmpErr(r.err, in.err)
	return in
}

func cmpErr(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// sequence steps into the next element; its faults are told by join.
func (r *reader) sequence(what string) *reader {
	in := &reader{}
	if r.err != nil || !r.ReadASN1(&in.String, asn1.SEQUENCE) {
		r.fail(what)
		in.err = r.err
	}
	return in
}

func (r *reader) join(in *reader) {
	if r.err == nil && in.err != nil {
		r.err, r.String = in.err, nil
	}
}

// element takes the next element whole, tag and length included.
func (r *reader) element(what string, tag asn1.Tag) cryptobyte.String {
	var e cryptobyte.String
	if r.err != nil || !r.ReadASN1Element(&e, tag) {
		r.fail(what)
	}
	return e
}

func (r *reader) bytes(what string, tag asn1.Tag) []byte {
	var b cryptobyte.String
	if r.err != nil || !r.ReadASN1(&b, tag) {
		r.fail(what)
	}
	return b
}

func (r *reader) integer(what string) int {
	var n int
	if r.err != nil || !r.ReadASN1Integer(&n) {
		r.fail(what)
	}
	return n
}

// bits reads a bit string of whole bytes; some makers of the older form write an octet string.
func (r *reader) bits(what string) []byte {
	if r.PeekASN1Tag(asn1.OCTET_STRING) {
		return r.bytes(what, asn1.OCTET_STRING)
	}
	var b []byte
	if r.err != nil || !r.ReadASN1BitStringAsBytes(&b) {
		r.fail(what)
	}
	return b
}

func (r *reader) algorithm(what string) {
	var oid encodingasn1.ObjectIdentifier
	if r.err != nil || !r.ReadASN1ObjectIdentifier(&oid) {
		r.fail(what)
		return
	}
	for _, a := range algorithms {
		if oid.Equal(a) {
			return
		}
	}
	r.fail(fmt.Sprintf("%s is %v, not SM2 with SM3", what, oid))
}

func (r *reader) certificate(what string) *smx509.Certificate {
	der := r.bytes(what, asn1.OCTET_STRING)
	if r.err != nil {
		return nil
	}
	c, err := smx509.ParseCertificate(der)
	if err != nil {
		r.err = fmt.Errorf("%s: %w: %w", what, ErrFormat, err)
	}
	return c
}

// ParseSeal reads a seal of any of the standards. It does not verify it.
func ParseSeal(der []byte) (*Seal, error) {
	r := open(der, "seal")
	s := &Seal{der: der}
	info := r.element("seal.eSealInfo", asn1.SEQUENCE)
	if r.PeekASN1Tag(asn1.SEQUENCE) {
		s.Standard = GMT2014
		s.signInfo2014(r, info)
	} else {
		s.Standard = GBT2020
		s.signed = info
		s.Maker = r.certificate("seal.cert")
		r.algorithm("seal.signAlgID")
		s.signature = r.bits("seal.signedValue")
	}
	s.info(r, info)
	if r.err != nil {
		return nil, r.err
	}
	if s.Standard == GBT2020 && s.Version >= 5 {
		s.Standard = GMT2025
	}
	return s, nil
}

// signInfo2014 reads the older form's SES_SignInfo. Its maker signed a sequence of the seal's information, the certificate and
// the algorithm, which stands nowhere in the seal.
func (s *Seal) signInfo2014(r *reader, info []byte) {
	sign := r.sequence("seal.signInfo")
	rest := sign.String
	s.Maker = sign.certificate("seal.signInfo.cert")
	sign.algorithm("seal.signInfo.signatureAlgorithm")
	named := rest[:len(rest)-len(sign.String)]
	s.signature = sign.bits("seal.signInfo.signData")
	r.join(sign)
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(info)
		b.AddBytes(named)
	})
	s.signed = b.BytesOrPanic()
}

// info reads SES_SealInfo; extensions at its end are left alone.
func (s *Seal) info(r *reader, der []byte) {
	in := (&reader{String: der, err: r.err}).sequence("seal.eSealInfo")
	header := in.sequence("seal.header")
	if string(header.bytes("seal.header.ID", asn1.IA5String)) != "ES" {
		header.fail("seal.header.ID is not ES")
	}
	s.Version = header.integer("seal.header.version")
	s.Vendor = string(header.bytes("seal.header.Vid", asn1.IA5String))
	in.join(header)
	s.ID = string(in.bytes("seal.esID", asn1.IA5String))
	property := in.sequence("seal.property")
	s.property(property)
	in.join(property)
	picture := in.sequence("seal.picture")
	s.Picture.Type = string(picture.bytes("seal.picture.type", asn1.IA5String))
	s.Picture.Data = picture.bytes("seal.picture.data", asn1.OCTET_STRING)
	s.Picture.Width = picture.integer("seal.picture.width")
	s.Picture.Height = picture.integer("seal.picture.height")
	in.join(picture)
	r.join(in)
}

// property reads SES_ESPropertyInfo; the older form has no certListType.
func (s *Seal) property(r *reader) {
	s.Type = r.integer("seal.property.type")
	s.Name = string(r.bytes("seal.property.name", asn1.UTF8String))
	digests := false
	if r.PeekASN1Tag(asn1.INTEGER) {
		kind := r.integer("seal.property.certListType")
		if digests = kind == 2; kind != 1 && kind != 2 {
			r.fail(fmt.Sprintf("seal.property.certListType is %d", kind))
		}
	}
	list := r.sequence("seal.property.certList")
	for range maxSigners {
		if list.err != nil || list.Empty() {
			break
		}
		if !digests {
			s.Signers = append(s.Signers, list.bytes("seal.property.certList", asn1.OCTET_STRING))
			continue
		}
		entry := list.sequence("seal.property.certDigestList")
		entry.bytes("seal.property.certDigestList.type", asn1.PrintableString)
		s.Digests = append(s.Digests, entry.bytes("seal.property.certDigestList.value", asn1.OCTET_STRING))
		list.join(entry)
	}
	if list.err == nil && !list.Empty() {
		list.fail(fmt.Sprintf("seal.property.certList has over %d entries", maxSigners))
	}
	r.join(list)
	s.Created = r.time("seal.property.createDate")
	s.From = r.time("seal.property.validStart")
	s.Until = r.time("seal.property.validEnd")
}

// ParseSignature reads a signature of any of the standards. It does not verify it.
func ParseSignature(der []byte) (*Signature, error) {
	r := open(der, "signature")
	s := &Signature{}
	toSign := r.element("signature.toSign", asn1.SEQUENCE)
	in := (&reader{String: toSign, err: r.err}).sequence("signature.toSign")
	s.signed = toSign
	s.Version = in.integer("signature.toSign.version")
	seal := in.element("signature.toSign.eseal", asn1.SEQUENCE)
	if in.err == nil {
		s.Seal, in.err = ParseSeal(seal)
	}
	if r.join(in); r.err != nil {
		return nil, r.err
	}
	s.Standard = s.Seal.Standard
	if s.Standard == GMT2014 {
		s.body2014(in)
	} else {
		s.body2020(in, r)
	}
	r.join(in)
	s.signature = r.bits("signature.signature")
	s.Stamped = s.Stamped || !r.Empty()
	if r.err != nil {
		return nil, r.err
	}
	return s, nil
}

// body2014 ends with what the newer form has outside: the signer's certificate and the algorithm.
func (s *Signature) body2014(in *reader) {
	stamp := in.bits("signature.toSign.timeInfo")
	if in.err == nil {
		s.Time, s.Stamped, in.err = looseTime(stamp)
	}
	s.DataHash = in.bits("signature.toSign.dataHash")
	s.Property = string(in.bytes("signature.toSign.propertyInfo", asn1.IA5String))
	s.Signer = in.certificate("signature.toSign.cert")
	in.algorithm("signature.toSign.signatureAlgorithm")
}

func (s *Signature) body2020(in, r *reader) {
	s.Time = in.time("signature.toSign.timeInfo")
	s.DataHash = in.bits("signature.toSign.dataHash")
	s.Property = string(in.bytes("signature.toSign.propertyInfo", asn1.IA5String))
	if r.join(in); r.err != nil {
		return
	}
	s.Signer = r.certificate("signature.cert")
	r.algorithm("signature.signatureAlgID")
}

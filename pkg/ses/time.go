package ses

import (
	encodingasn1 "encoding/asn1"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// china is the zone of times that name none.
var china = time.FixedZone("CST", 8*60*60)

// time reads a date in either of ASN.1's forms: the older standard asks for the short one, the newer for the long one, and
// makers mix them.
func (r *reader) time(what string) time.Time {
	if r.err != nil {
		return time.Time{}
	}
	var tag asn1.Tag
	var b cryptobyte.String
	if r.ReadAnyASN1(&b, &tag) && (tag == asn1.UTCTime || tag == asn1.GeneralizedTime) {
		if t, err := parseTime(string(b)); err == nil {
			return t
		}
	}
	r.fail(what)
	return time.Time{}
}

// layouts of times as makers write them.
var layouts = []string{
	"20060102150405Z0700", "20060102150405", "060102150405Z0700", "060102150405", "0601021504Z0700",
	time.DateTime, "2006-01-02T15:04:05", time.RFC3339,
}

func parseTime(s string) (time.Time, error) {
	for _, layout := range layouts {
		if len(s) > len(time.RFC3339Nano) {
			break
		}
		if t, err := time.ParseInLocation(layout, s, china); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%.32q is no time: %w", s, ErrFormat)
}

// looseTime is what the older form puts into a bit string: a date, DER or plain, or an RFC 3161 time stamp.
func looseTime(b []byte) (t time.Time, stamped bool, err error) {
	s := cryptobyte.String(b)
	if s.PeekASN1Tag(asn1.SEQUENCE) {
		t, ok := stampTime(s)
		if !ok {
			return t, true, fmt.Errorf("signature.toSign.timeInfo: time stamp: %w", ErrFormat)
		}
		return t, true, nil
	}
	if s.PeekASN1Tag(asn1.UTCTime) || s.PeekASN1Tag(asn1.GeneralizedTime) {
		r := &reader{String: s}
		t = r.time("signature.toSign.timeInfo")
		return t, false, r.err
	}
	t, err = parseTime(strings.TrimSpace(string(b)))
	if err != nil {
		err = fmt.Errorf("signature.toSign.timeInfo: %w", err)
	}
	return t, false, err
}

// stampTime finds genTime in a time stamp token, or in the response that holds one.
func stampTime(s cryptobyte.String) (time.Time, bool) {
	var info, signed, set, encap, outer, token, tst cryptobyte.String
	var oid encodingasn1.ObjectIdentifier
	if !s.ReadASN1(&info, asn1.SEQUENCE) {
		return time.Time{}, false
	}
	if info.PeekASN1Tag(asn1.SEQUENCE) { // PKIStatusInfo: a response
		if !info.SkipASN1(asn1.SEQUENCE) || !info.ReadASN1(&info, asn1.SEQUENCE) {
			return time.Time{}, false
		}
	}
	explicit := asn1.Tag(0).Constructed().ContextSpecific()
	ok := info.ReadASN1ObjectIdentifier(&oid) && info.ReadASN1(&outer, explicit) && outer.ReadASN1(&signed, asn1.SEQUENCE) &&
		signed.SkipASN1(asn1.INTEGER) && signed.ReadASN1(&set, asn1.SET) && signed.ReadASN1(&encap, asn1.SEQUENCE) &&
		encap.ReadASN1ObjectIdentifier(&oid) && encap.ReadASN1(&outer, explicit) && outer.ReadASN1(&token, asn1.OCTET_STRING) &&
		token.ReadASN1(&tst, asn1.SEQUENCE) && tst.SkipASN1(asn1.INTEGER) && tst.SkipASN1(asn1.OBJECT_IDENTIFIER) &&
		tst.SkipASN1(asn1.SEQUENCE) && tst.SkipASN1(asn1.INTEGER)
	if !ok {
		return time.Time{}, false
	}
	r := &reader{String: tst}
	t := r.time("genTime")
	return t, r.err == nil
}

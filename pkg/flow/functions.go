package flow

import (
	"crypto/hmac"
	"crypto/md5"  //nolint:gosec // what login pages use, not what we trust
	"crypto/sha1" //nolint:gosec // the same
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/emmansun/gmsm/sm3"
)

// function is one word of the expressions. Values are strings that may hold any bytes. It must not read time, chance aside,
// and never the world: what it costs is bounded by the lengths of its values.
type function struct {
	usage    string // for the person who called it wrongly
	min, max int    // how many values it takes
	call     func(v []string) (string, error)
}

// functions are all that expressions can call; one more is one line here, and one in docs/FLOW.md.
var functions = map[string]function{
	"base64":       {"base64(text)", 1, 1, func(v []string) (string, error) { return base64.StdEncoding.EncodeToString([]byte(v[0])), nil }},
	"base64url":    {"base64url(text)", 1, 1, func(v []string) (string, error) { return base64.RawURLEncoding.EncodeToString([]byte(v[0])), nil }},
	"between":      {"between(from, until): ok while now lies between", 2, 2, between},
	"broken_docx":  {"broken_docx(text), a document that is cut off", 1, 1, brokenDocx},
	"cert_end":     {"cert_end(certificate)", 1, 1, certEnd},
	"cert_revoked": {"cert_revoked(certificate, roots, CRL): true or false", 3, 3, certRevoked},
	"cert_serial":  {"cert_serial(certificate), in hex", 1, 1, certSerial},
	"cert_signer":  {"cert_signer(certificate, pinned, roots): the one to verify with", 3, 3, certSigner},
	"cert_verify":  {"cert_verify(certificate, roots): ok", 2, 2, certVerify},
	"concat":       {"concat(text, …)", 1, 16, func(v []string) (string, error) { return strings.Join(v, ""), nil }},
	"docx":         {"docx(text), a paragraph a line", 1, 1, docx},
	"hex":          {"hex(bytes)", 1, 1, func(v []string) (string, error) { return hex.EncodeToString([]byte(v[0])), nil }},
	"hmac":         {"hmac(md5|sha1|sha256|sha512|sm3, key, text), in hex", 3, 3, hmacOf},
	"json":         {"json(text), with its quotes", 1, 1, func(v []string) (string, error) { return quoteJSON(v[0]), nil }},
	"jwt":          {"jwt(secret, claims in JSON), signed with HMAC-SHA256", 2, 2, jwt},
	"len":          {"len(text), in bytes", 1, 1, func(v []string) (string, error) { return strconv.Itoa(len(v[0])), nil }},
	"lower":        {"lower(text)", 1, 1, func(v []string) (string, error) { return strings.ToLower(v[0]), nil }},
	"md5":          {"md5(text), in hex", 1, 1, digest(md5.New)},
	"nonce":        {"nonce() or nonce(length)", 0, 1, nonce},
	"now":          {"now(), now(form), now(form, shift) or now(form, shift, zone)", 0, 3, now},
	"ofd":          {"ofd(text): a document of one page", 1, 1, ofdMake},
	"ofd_verify":   {"ofd_verify(document, roots): JSON of seal, time, signer and text", 2, 2, ofdVerify},
	"pick":         {"pick(json, path)", 2, 2, pick},
	"query":        {"query(url, name)", 2, 2, query},
	"replace":      {"replace(text, old, new)", 3, 3, replace},
	"rsa":          {"rsa(public key, text) or rsa(public key, text, pkcs1|oaep), in base64", 2, 3, rsaEncrypt},
	"seal_verify":  {"seal_verify(seal, roots): JSON of the seal", 2, 2, sealVerify},
	"ses_verify":   {"ses_verify(signature, data, roots): JSON of seal, time and signer", 3, 3, sesVerify},
	"sha1":         {"sha1(text), in hex", 1, 1, digest(sha1.New)},
	"sha256":       {"sha256(text), in hex", 1, 1, digest(sha256.New)},
	"sha512":       {"sha512(text), in hex", 1, 1, digest(sha512.New)},
	"sm2_encrypt":  {"sm2_encrypt(public key, text), sm2_encrypt(public key, text, c1c3c2|c1c2c3) or sm2_encrypt(public key, text, mode, prefix), in hex", 2, 4, sm2Encrypt},
	"sm2_verify":   {"sm2_verify(certificate, data, signature) or sm2_verify(certificate, data, signature, sm3|digest): true or false", 3, 4, sm2Verify},
	"sm3":          {"sm3(text), in hex", 1, 1, digest(sm3.New)},
	"sm4":          {"sm4(key in hex, text) or sm4(key in hex, text, ecb|cbc, iv in hex), in hex", 2, 4, sm4Encrypt},
	"totp":         {"totp(secret in base32)", 1, 1, totpCode},
	"trim":         {"trim(text)", 1, 1, func(v []string) (string, error) { return strings.TrimSpace(v[0]), nil }},
	"unbase64":     {"unbase64(text)", 1, 1, unbase64},
	"unhex":        {"unhex(text)", 1, 1, unhex},
	"upper":        {"upper(text)", 1, 1, func(v []string) (string, error) { return strings.ToUpper(v[0]), nil }},
	"url":          {"url(text), for a query or a form", 1, 1, func(v []string) (string, error) { return url.QueryEscape(v[0]), nil }},
	"uuid":         {"uuid()", 0, 0, uuid},
	"within":       {"within(time, limit): ok when it is no further from now", 2, 2, within},
}

// FunctionNames lists them in order.
func FunctionNames() []string { return slices.Sorted(maps.Keys(functions)) }

func digest(algorithm func() hash.Hash) func([]string) (string, error) {
	return func(v []string) (string, error) {
		h := algorithm()
		h.Write([]byte(v[0])) // never fails
		return hex.EncodeToString(h.Sum(nil)), nil
	}
}

func hmacOf(v []string) (string, error) {
	algorithms := map[string]func() hash.Hash{"md5": md5.New, "sha1": sha1.New, "sha256": sha256.New, "sha512": sha512.New, "sm3": sm3.New}
	algorithm, ok := algorithms[v[0]]
	if !ok {
		return "", fmt.Errorf("%q: want one of %s", shown(v[0]), strings.Join(slices.Sorted(maps.Keys(algorithms)), ", "))
	}
	h := hmac.New(algorithm, []byte(v[1]))
	h.Write([]byte(v[2])) // never fails
	return hex.EncodeToString(h.Sum(nil)), nil
}

// jwt signs claims as RFC 7519 has it, with HS256.
func jwt(v []string) (string, error) {
	if !json.Valid([]byte(v[1])) {
		return "", fmt.Errorf("claims %q: want JSON", shown(v[1]))
	}
	encode := base64.RawURLEncoding.EncodeToString
	signs := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode([]byte(v[1]))
	h := hmac.New(sha256.New, []byte(v[0]))
	h.Write([]byte(signs)) // never fails
	return signs + "." + encode(h.Sum(nil)), nil
}

// quoteJSON leaves < > & as they are: the text is not for a page.
func quoteJSON(s string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always can be
	return strings.TrimSuffix(b.String(), "\n")
}

func replace(v []string) (string, error) {
	if v[1] == "" {
		return v[0], nil
	}
	if n := strings.Count(v[0], v[1]); len(v[0])+n*len(v[2]) > maxValue {
		return "", errTooLong
	}
	return strings.ReplaceAll(v[0], v[1], v[2]), nil
}

func unhex(v []string) (string, error) {
	b, err := hex.DecodeString(v[0])
	return string(b), err
}

// query is one value out of a URL's query, or out of its fragment where that looks like one.
func query(v []string) (string, error) {
	u, err := url.Parse(v[0])
	if err != nil {
		return "", errors.New("not a URL")
	}
	values := u.Query()
	if !values.Has(v[1]) {
		values, _ = url.ParseQuery(u.Fragment)
	}
	if !values.Has(v[1]) {
		return "", fmt.Errorf("the URL has no %s", shown(v[1]))
	}
	return values.Get(v[1]), nil
}

// unbase64 takes both alphabets, padded or not.
func unbase64(v []string) (string, error) {
	s := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(v[0], "="))
	b, err := base64.RawStdEncoding.DecodeString(s)
	return string(b), err
}

package simulator

import (
	"crypto/hmac"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/emmansun/gmsm/sm3"

	"xunjian/pkg/ses"
)

// What the seal service is asked with, for a demo's configuration.
const (
	SealApp    = "xunjian-probe"
	SealSecret = "demo-seal-secret"
	SealID     = "35000000009999"
)

// Faults that only the seal service has.
const (
	SignatureInvalid Mode = "signature-invalid" // what it signs does not verify
	TamperAccepted   Mode = "tamper-accepted"   // it verifies whatever it is shown
	SealExpired      Mode = "seal-expired"      // the test seal has ended
	SealNearEnd      Mode = "seal-near-end"     // it ends in five days
	CertChanged      Mode = "cert-changed"      // it signs with a new certificate of the same CA
	CertRevoked      Mode = "cert-revoked"      // its CA has revoked the certificate that it signs with
	CRLDown          Mode = "crl-down"          // the list of revoked certificates cannot be had
	ClockSkew        Mode = "clock-skew"        // its clock is ten minutes ahead
	DocumentWrong    Mode = "document-wrong"    // the sealed document comes back with other words
	DeleteFails      Mode = "delete-fails"      // it says that it has deleted a document, and has not
	SignsForAll      Mode = "signs-for-all"     // it signs for everybody
)

var sealModes = []Mode{SignatureInvalid, TamperAccepted, SealExpired, SealNearEnd, CertChanged, CertRevoked, CRLDown, ClockSkew, DocumentWrong, DeleteFails, SignsForAll}

// maxUpload bounds what the service takes in one request.
const maxUpload = 1 << 20

// sealService answers as seal platforms do: JSON of code, message and result over HTTPS, an application's token in front.
type sealService struct {
	office  *sealOffice
	revoked bool // the seal is; which makes every answer a well-formed wrong one
}

func (s *sealService) handler() http.Handler {
	mux := routes(notFound)
	mux.HandleFunc("GET /api/v1/status", s.status)
	mux.HandleFunc("POST /api/v1/token", s.token)
	mux.HandleFunc("GET /crl", s.crl)
	for pattern, h := range map[string]func(w http.ResponseWriter, r *http.Request){
		"GET /api/v1/seals/{id}":        s.seal,
		"POST /api/v1/sign":             s.sign,
		"POST /api/v1/verify":           s.verify,
		"POST /api/v1/documents":        s.addDocument,
		"GET /api/v1/documents":         s.listDocuments,
		"GET /api/v1/documents/{id}":    s.document,
		"DELETE /api/v1/documents/{id}": s.deleteDocument,
	} {
		mux.HandleFunc(pattern, s.admit(h))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", clockOf(r).UTC().Format(http.TimeFormat))
		mux.ServeHTTP(w, r)
	})
}

// clockOf is the service's clock as this request finds it.
func clockOf(r *http.Request) time.Time {
	if modeOf(r) == ClockSkew {
		return time.Now().Add(10 * time.Minute)
	}
	return time.Now()
}

func reply(w http.ResponseWriter, result any) {
	writeJSON(w, http.StatusOK, map[string]any{"code": 0, "message": "SUCCESS", "result": result})
}

func deny(w http.ResponseWriter, status, code int, message string) {
	writeJSON(w, status, map[string]any{"code": code, "message": message})
}

// status is what simple checks ask, without a token.
func (s *sealService) status(w http.ResponseWriter, r *http.Request) {
	result := map[string]any{"seal": "监测专用章", "status": "valid", "time": clockOf(r).UTC().Format(time.RFC3339)}
	if !s.revoked {
		reply(w, result)
		return
	}
	result["status"] = "revoked"
	writeJSON(w, http.StatusOK, map[string]any{"code": 50012, "message": "SEAL_REVOKED", "result": result})
}

// token wants HMAC-SM3 of application and time, made with the application's secret less than five minutes ago.
func (s *sealService) token(w http.ResponseWriter, r *http.Request) {
	var ask struct{ AppID, Timestamp, Sign string }
	if !readJSON(w, r, &ask) {
		return
	}
	mac := hmac.New(sm3.New, []byte(SealSecret))
	mac.Write([]byte(ask.AppID + ask.Timestamp))
	at, err := time.Parse(time.RFC3339, ask.Timestamp)
	age := time.Since(at)
	switch sign := hex.EncodeToString(mac.Sum(nil)); {
	case ask.AppID != SealApp || subtle.ConstantTimeCompare([]byte(sign), []byte(strings.ToLower(ask.Sign))) != 1:
		deny(w, http.StatusOK, 40101, "INVALID_SIGN")
	case err != nil || age.Abs() > 5*time.Minute:
		deny(w, http.StatusOK, 40102, "TIMESTAMP_EXPIRED")
	default:
		reply(w, map[string]any{"token": s.office.newToken(), "expiresIn": 600, "time": clockOf(r).UTC().Format(time.RFC3339)})
	}
}

// admit lets in who has a token.
func (s *sealService) admit(h func(http.ResponseWriter, *http.Request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if modeOf(r) != SignsForAll && (!ok || !s.office.knows(token)) {
			deny(w, http.StatusUnauthorized, 40100, "TOKEN_REQUIRED")
			return
		}
		h(w, r)
	}
}

// seal tells the state of the test seal.
func (s *sealService) seal(w http.ResponseWriter, r *http.Request) {
	if r.PathValue("id") != SealID {
		deny(w, http.StatusOK, 40401, "SEAL_NOT_FOUND")
		return
	}
	use, status := s.office.use(modeOf(r)), "valid"
	switch {
	case s.revoked:
		status = "revoked"
	case time.Now().After(use.seal.Until):
		status = "expired"
	}
	reply(w, map[string]any{
		"id": SealID, "name": use.seal.Name, "status": status, "standard": use.seal.Standard,
		"validStart": use.seal.From.UTC().Format(time.RFC3339), "validEnd": use.seal.Until.UTC().Format(time.RFC3339),
		"certificate": base64.StdEncoding.EncodeToString(use.signer.Cert.Raw),
	})
}

// digestOf reads the 32 bytes that a request is about, in hex.
func digestOf(w http.ResponseWriter, text string) ([]byte, bool) {
	digest, err := hex.DecodeString(text)
	if err != nil || len(digest) != sm3.Size {
		deny(w, http.StatusOK, 40002, "INVALID_DIGEST")
		return nil, false
	}
	return digest, true
}

// sign signs a digest as the message, with SM3 and the usual user id, which is what seal platforms call 摘要签名.
func (s *sealService) sign(w http.ResponseWriter, r *http.Request) {
	var ask struct{ SealID, Digest string }
	if !readJSON(w, r, &ask) {
		return
	}
	digest, ok := digestOf(w, ask.Digest)
	use := s.office.use(modeOf(r))
	switch {
	case !ok:
		return
	case ask.SealID != SealID:
		deny(w, http.StatusOK, 40401, "SEAL_NOT_FOUND")
		return
	case s.revoked:
		deny(w, http.StatusOK, 50012, "SEAL_REVOKED")
		return
	case time.Now().After(use.seal.Until):
		deny(w, http.StatusOK, 50013, "SEAL_EXPIRED")
		return
	}
	if modeOf(r) == SignatureInvalid {
		digest[0] ^= 1
	}
	signature, err := use.signer.Sign(digest)
	if err != nil {
		deny(w, http.StatusInternalServerError, 50000, err.Error())
		return
	}
	reply(w, map[string]any{
		"signature":   base64.StdEncoding.EncodeToString(signature),
		"certificate": base64.StdEncoding.EncodeToString(use.signer.Cert.Raw),
		"serial":      hex.EncodeToString(use.signer.Cert.SerialNumber.Bytes()),
	})
}

func (s *sealService) verify(w http.ResponseWriter, r *http.Request) {
	var ask struct{ Digest, Signature string }
	if !readJSON(w, r, &ask) {
		return
	}
	digest, ok := digestOf(w, ask.Digest)
	if !ok {
		return
	}
	signature, err := base64.StdEncoding.DecodeString(ask.Signature)
	valid := err == nil && !s.revoked && ses.VerifySM2(&s.office.use(modeOf(r)).signer.Key.PublicKey, digest, signature)
	reply(w, map[string]any{"valid": valid || modeOf(r) == TamperAccepted})
}

func (s *sealService) addDocument(w http.ResponseWriter, r *http.Request) {
	file, _, err := r.FormFile("file")
	if err != nil || r.FormValue("sealId") != SealID {
		deny(w, http.StatusOK, 40003, "FILE_AND_SEAL_REQUIRED")
		return
	}
	defer file.Close()
	ofd, err := io.ReadAll(io.LimitReader(file, maxUpload))
	if err == nil && s.revoked {
		err = errors.New("SEAL_REVOKED")
	}
	var id string
	if err == nil {
		id, err = s.office.addDocument(r.FormValue("name"), ofd, modeOf(r), clockOf(r))
	}
	if err != nil {
		deny(w, http.StatusOK, 50020, err.Error())
		return
	}
	reply(w, map[string]any{"id": id, "status": "sealed", "name": r.FormValue("name")})
}

func (s *sealService) listDocuments(w http.ResponseWriter, r *http.Request) {
	reply(w, s.office.listDocuments(r.URL.Query().Get("name")))
}

func (s *sealService) document(w http.ResponseWriter, r *http.Request) {
	ofd, ok := s.office.document(r.PathValue("id"))
	if !ok {
		deny(w, http.StatusNotFound, 40402, "DOCUMENT_NOT_FOUND")
		return
	}
	w.Header().Set("Content-Type", "application/ofd")
	w.Write(ofd)
}

func (s *sealService) deleteDocument(w http.ResponseWriter, r *http.Request) {
	if modeOf(r) != DeleteFails && !s.office.deleteDocument(r.PathValue("id")) {
		deny(w, http.StatusNotFound, 40402, "DOCUMENT_NOT_FOUND")
		return
	}
	reply(w, map[string]any{"id": r.PathValue("id")})
}

func (s *sealService) crl(w http.ResponseWriter, r *http.Request) {
	if modeOf(r) == CRLDown {
		http.Error(w, "crl store is away", http.StatusServiceUnavailable)
		return
	}
	der, err := s.office.crl(modeOf(r) == CertRevoked)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/pkix-crl")
	w.Write(der)
}

func readJSON(w http.ResponseWriter, r *http.Request, into any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrder)).Decode(into); err != nil {
		deny(w, http.StatusBadRequest, 40001, fmt.Sprintf("BAD_REQUEST: %v", err))
		return false
	}
	return true
}

// SealCA is the seal service's CA in PEM, SealCertificate what it signs with while it is well.
func (s *Simulator) SealCA() []byte { return slices.Clone(s.seal.ca.PEM()) }

// SealCertificate is what a probe of the seal service pins.
func (s *Simulator) SealCertificate() []byte { return slices.Clone(s.seal.well.signer.PEM()) }

// SealDocuments is how many sealed documents the service keeps.
func (s *Simulator) SealDocuments() int { return len(s.seal.listDocuments("")) }

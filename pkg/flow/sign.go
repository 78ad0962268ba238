package flow

import (
	"crypto/sha256"
	"encoding/hex"
)

// sent are the variables that headers see of the request they belong to, so that vendors' signatures are texts like others:
// digest is the body's SHA-256 in hex, empty for an empty body.
var sent = []string{"request_method", "request_uri", "request_body", "request_digest"}

// sending gives them their values.
func (s *scope) sending(r *Request) {
	digest := ""
	if len(r.Body) > 0 {
		sum := sha256.Sum256(r.Body)
		digest = hex.EncodeToString(sum[:])
	}
	for i, v := range []string{r.Method, r.URL.RequestURI(), string(r.Body), digest} {
		s.vars[sent[i]] = value{text: v}
	}
}

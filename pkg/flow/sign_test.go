package flow

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"xunjian/pkg/check"
)

// Headers see the request that they belong to, so that a vendor's signature is a text like others.
func TestHeadersSeeTheRequest(t *testing.T) {
	var got http.Header
	target := serve(t, map[string]http.HandlerFunc{"/a": func(_ http.ResponseWriter, r *http.Request) { got = r.Header }})
	p := program(t, target, `
  steps:
    - name: sign
      request:
        url: "/a?b={{ url('c d') }}"
        json: '{"n":{{ len("中文") }}}'
        headers:
          X-Signs: "{{ request_method }} {{ request_uri }} {{ request_body }} {{ request_digest }}"
    - name: empty
      request: {url: /a, headers: {X-Signs: "{{ request_method }} [{{ request_body }}{{ request_digest }}]"}}
`)
	r := p.Run(t.Context(), call)
	if r.Outcome != check.OK || got.Get("X-Signs") != "GET []" {
		t.Errorf("%s: %s; the last header is %q", r.Outcome, r.Reason, got.Get("X-Signs"))
	}
	p.steps = p.steps[:1]
	p.Run(t.Context(), call)
	if want := fmt.Sprintf(`POST /a?b=c+d {"n":6} %x`, sha256.Sum256([]byte(`{"n":6}`))); got.Get("X-Signs") != want {
		t.Errorf("the header is %q, want %q", got.Get("X-Signs"), want)
	}
}

// Outside of headers there is no request yet.
func TestOnlyHeadersSeeTheRequest(t *testing.T) {
	_, err := Compile(&check.Flow{Steps: []check.FlowStep{{Name: "a", Request: check.FlowRequest{URL: "/{{ request_body }}"}}}}, Options{Target: "http://h"})
	if err == nil || !strings.Contains(err.Error(), "nothing gives request_body a value") {
		t.Errorf("compiled with %v", err)
	}
}

// TestJWT holds the token of jwt.io's own example.
func TestJWT(t *testing.T) {
	got, err := jwt([]string{"your-256-bit-secret", `{"sub":"1234567890","name":"John Doe","iat":1516239022}`})
	const want = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"
	if err != nil || got != want {
		t.Errorf("%s %v, want %s", got, err, want)
	}
	if _, err := jwt([]string{"s", "{"}); err == nil {
		t.Error("claims that are no JSON are signed")
	}
}

// Values and statuses are told with what they stand for.
func TestMeans(t *testing.T) {
	target := serve(t, map[string]http.HandlerFunc{
		"/code": says("application/json", `{"error":-4}`),
		"/gone": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
	})
	p := program(t, target, `
  steps:
    - name: code
      request: {url: /code}
      expect:
        - {json: error, refuse: '^-\d+$', means: {"-4": the store cannot be reached}}
    - name: status
      request: {url: /gone}
      expect:
        - {status: [200], means: {"502": upstream dead}}
`)
	r := p.Run(t.Context(), call)
	for i, want := range []string{`"-4" (the store cannot be reached)`, "502 Bad Gateway, upstream dead, want one of [200]"} {
		if i >= len(r.Steps) || !strings.Contains(r.Steps[i].Reason, want) {
			t.Errorf("step %d says %+v, want …%s…", i, r.Steps, want)
		}
	}
}

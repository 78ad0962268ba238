package probe

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// An answer may hold a secret in another form than it was sent in, and more of it than a reason shows.
func TestReasonsKeepSecretsInEveryForm(t *testing.T) {
	secret := "geheim-" + strings.Repeat("9f2c/", 40)
	for name, say := range map[string]func(token string) string{
		"as it is": func(token string) string { return token },
		"base64":   func(token string) string { return base64.StdEncoding.EncodeToString([]byte("x:" + token)) },
		"JSON":     func(token string) string { return strings.ReplaceAll(token, "/", `\/`) },
		"URL":      url.QueryEscape,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, say(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")), http.StatusInternalServerError)
		}))
		spec := patient(server.URL)
		spec.HTTP.Headers = map[string]string{"Authorization": "Bearer " + secret}
		r, _ := newTestProber(t, spec, Options{}).Run(t.Context(), time.Now())
		for _, part := range []string{"geheim", "9f2c", "Z2VoZWlt", "dlaGVpb", "OWYyY"} {
			if reason := r.First().Reason; !strings.Contains(reason, "500") || strings.Contains(reason, part) {
				t.Errorf("%s: reason %s", name, reason)
			}
		}
		server.Close()
	}
}

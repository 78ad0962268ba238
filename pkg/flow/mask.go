package flow

import (
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"xunjian/pkg/check"
)

// masked stands for what must not be shown.
const masked = "***"

// maxSeen is how much of a value a reason may show, and maxShown how much of a body an event.
const (
	maxSeen  = 120
	maxShown = 2048
)

// Mask hides secrets, and whatever was made of them, in texts for people: as they are, in base64 or in hex, escaped as URLs, JSON
// and HTML escape, and where a text was cut off within one.
type Mask struct {
	values map[string]bool
	plain  *strings.Replacer // nil when a value has come since it was made
	blank  *strings.Replacer // puts zeros in place of values in unescaped texts
	bare   []string          // the values unescaped
}

// maxEncoded is how long a value may be to be known in its encodings, too.
const maxEncoded = 4 << 10

// Add has a value hidden from now on.
func (m *Mask) Add(v string) {
	if v == "" || m.values[v] {
		return
	}
	if m.values == nil {
		m.values = map[string]bool{}
	}
	m.values[v] = true
	if len(v) >= minPart && len(v) <= maxEncoded {
		for _, form := range encodings(v) {
			m.values[form] = true
		}
	}
	m.plain = nil
}

// Hide puts the mark in place of every secret, the longer ones first, for one may hold another.
func (m *Mask) Hide(s string) string {
	if s == "" || len(m.values) == 0 {
		return s
	}
	if m.plain == nil {
		m.prepare()
	}
	// What was cut off first, and what is as it stands last: a short secret may be the beginning of a longer one.
	if strings.Contains(s, ellipsis) {
		s = m.hideCut(s)
	}
	if strings.ContainsAny(s, escapes) {
		s = m.hideEscaped(s)
	}
	return m.plain.Replace(s)
}

func (m *Mask) prepare() {
	var plain, blank []string
	longest := func(a, b string) int { return len(b) - len(a) }
	m.bare = m.bare[:0]
	for _, v := range slices.SortedFunc(maps.Keys(m.values), longest) {
		plain = append(plain, v, masked)
		m.bare = append(m.bare, string(unescape(v).text))
	}
	slices.SortStableFunc(m.bare, longest)
	for _, v := range m.bare {
		blank = append(blank, v, strings.Repeat("\x00", len(v)))
	}
	m.plain, m.blank = strings.NewReplacer(plain...), strings.NewReplacer(blank...)
}

// clip hides before it cuts: half a secret would not be known for one.
func (m *Mask) clip(s string, limit int) string { return check.Clip(m.Hide(ahead(s)), limit) }

// maxAhead is how much of a text is looked at of which the beginning is shown.
const maxAhead = 16 << 10

// ahead bounds what hiding costs, whatever came back; a secret that it cuts is known by the ellipsis.
func ahead(s string) string {
	if len(s) <= maxAhead {
		return s
	}
	return s[:maxAhead] + ellipsis
}

// secretWords are the parts of names of headers, fields and keys whose values are not shown even when they are no secrets.
var secretWords = []string{"auth", "cookie", "credential", "pass", "pwd", "secret", "session", "ticket", "token"}

func isSecretName(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(secretWords, func(w string) bool { return strings.Contains(name, w) })
}

// header is h as it may be shown.
func (m *Mask) header(h http.Header) http.Header {
	out := make(http.Header, len(h))
	for name, values := range h {
		for _, v := range values {
			if isSecretName(name) {
				v = masked
			}
			out[name] = append(out[name], m.clip(hideQueries(v), maxSeen))
		}
	}
	return out
}

// url is u as it may be shown.
func (m *Mask) url(u *url.URL) string {
	shown := *u
	if shown.User != nil {
		shown.User = url.User("-")
	}
	return m.clip(hideQueries(m.Hide(shown.String())), 2*maxSeen)
}

// parameter is one of a URL's, wherever the URL stands.
var parameter = regexp.MustCompile(`([?&#;])([A-Za-z0-9_.\-]{1,64})=([^&#;\s"'<>\\]+)`)

// secretParameters are names of parameters that open doors, beside those that isSecretName knows.
var secretParameters = []string{"api_key", "apikey", "assertion", "code", "key", "samlresponse", "sid", "sig", "sign", "signature"}

// hideQueries hides what parameters in URLs hold whose names say that it is not for everybody.
func hideQueries(s string) string {
	if !strings.Contains(s, "=") {
		return s
	}
	return parameter.ReplaceAllStringFunc(s, func(found string) string {
		m := parameter.FindStringSubmatch(found)
		if !isSecretName(m[2]) && !slices.Contains(secretParameters, strings.ToLower(m[2])) {
			return found
		}
		return m[1] + m[2] + "=" + masked
	})
}

// guarded is a value without what its own names call a secret.
func guarded(v string) string {
	if t := strings.TrimSpace(v); strings.HasPrefix(t, "{") || strings.HasPrefix(t, "[") {
		v = hideKeys(v)
	}
	return hideQueries(ahead(v))
}

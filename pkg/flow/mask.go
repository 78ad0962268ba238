package flow

import (
	"html"
	"net/http"
	"net/url"
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

// mask hides secrets, and whatever was made of them, in texts for people.
type mask struct {
	values   map[string]bool
	replacer *strings.Replacer // nil when a value has come since it was made
}

// add also knows the forms in which a value travels.
func (m *mask) add(v string) {
	if v == "" || m.values[v] {
		return
	}
	if m.values == nil {
		m.values = map[string]bool{}
	}
	quoted := quoteJSON(v)
	for _, form := range []string{v, url.QueryEscape(v), url.PathEscape(v), html.EscapeString(v), quoted[1 : len(quoted)-1]} {
		m.values[form] = true
	}
	m.replacer = nil
}

// hide puts the mark in place of every secret, the longer ones first, for one may hold another.
func (m *mask) hide(s string) string {
	if len(m.values) == 0 {
		return s
	}
	if m.replacer == nil {
		pairs := make([]string, 0, 2*len(m.values))
		for v := range m.values {
			pairs = append(pairs, v)
		}
		slices.SortFunc(pairs, func(a, b string) int { return len(b) - len(a) })
		for i := range slices.Clone(pairs) {
			pairs = slices.Insert(pairs, 2*i+1, masked)
		}
		m.replacer = strings.NewReplacer(pairs...)
	}
	return m.replacer.Replace(s)
}

// clip hides before it cuts: half a secret would not be known for one.
func (m *mask) clip(s string, limit int) string { return check.Clip(m.hide(s), limit) }

// secretWords are the parts of names of headers, fields and keys whose values are not shown even when they are no secrets.
var secretWords = []string{"auth", "cookie", "credential", "pass", "pwd", "secret", "session", "ticket", "token"}

func isSecretName(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(secretWords, func(w string) bool { return strings.Contains(name, w) })
}

// header is h as it may be shown.
func (m *mask) header(h http.Header) http.Header {
	out := make(http.Header, len(h))
	for name, values := range h {
		for _, v := range values {
			if isSecretName(name) {
				v = masked
			}
			out[name] = append(out[name], m.clip(v, maxSeen))
		}
	}
	return out
}

// url is u as it may be shown.
func (m *mask) url(u *url.URL) string {
	shown := *u
	if shown.User != nil {
		shown.User = url.User("-")
	}
	pairs := strings.Split(shown.RawQuery, "&")
	for i, pair := range pairs {
		if name, _, ok := strings.Cut(pair, "="); ok && isSecretName(name) {
			pairs[i] = name + "=" + masked
		}
	}
	shown.RawQuery = strings.Join(pairs, "&")
	shown.Path, _, _ = strings.Cut(shown.Path, ";") // ;jsessionid=…
	shown.RawPath = ""
	return m.clip(shown.String(), 2*maxSeen)
}

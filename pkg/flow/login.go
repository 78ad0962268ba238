package flow

import (
	"bytes"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// How far a page and a URL are looked at for a login.
const (
	MaxPage     = 128 << 10
	maxLocation = 8 << 10
)

// Words of login pages in paths and host names: whole words, so that a plugin or a class is none.
var (
	loginWords = []string{"login", "signin", "logon", "sso", "cas", "oauth", "oauth2", "oidc", "saml", "saml2", "idp", "passport", "uaa", "authorize", "authorise"}
	loginEnds  = []string{"login", "signin", "logon"} // userlogin, weblogin
	loginHosts = []string{"login", "sso", "cas", "passport", "idp", "auth", "oauth", "iam", "uaa", "account", "accounts"}
)

// LoginURL says that a target or a Location leads to a login.
func LoginURL(location string) bool {
	if len(location) > maxLocation {
		return false
	}
	u, err := url.Parse(strings.TrimSpace(location))
	if err != nil {
		return false
	}
	host, _, _ := strings.Cut(strings.ToLower(u.Hostname()), ".")
	if u.Host != "" && strings.Contains(u.Hostname(), ".") && slices.Contains(loginHosts, host) {
		return true
	}
	return hasLoginWord(u.Path) || hasLoginWord(u.Fragment) || hasLoginQuery(u.Query())
}

// hasLoginQuery knows the requests of SAML and of OAuth by their parameters.
func hasLoginQuery(q url.Values) bool {
	return q.Has("SAMLRequest") || q.Has("redirect_uri") && (q.Has("client_id") || q.Has("response_type"))
}

func hasLoginWord(path string) bool {
	if strings.Contains(path, "登录") || strings.Contains(path, "登陆") {
		return true
	}
	for _, w := range words(path) {
		if slices.Contains(loginWords, w) {
			return true
		}
		if slices.ContainsFunc(loginEnds, func(end string) bool { return strings.HasSuffix(w, end) }) {
			return true
		}
	}
	return strings.Contains(strings.ToLower(path), "sign-in") || strings.Contains(strings.ToLower(path), "log-in")
}

// words cuts a path at everything that is no letter or digit, and where camelCase turns.
func words(path string) []string {
	var out []string
	var word []rune
	flush := func() {
		if len(word) > 0 {
			out = append(out, strings.ToLower(string(word)))
		}
		word = word[:0]
	}
	lower := false
	for _, r := range path {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) || lower && unicode.IsUpper(r) {
			flush()
		}
		lower = unicode.IsLower(r)
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			word = append(word, r)
		}
	}
	flush()
	return out
}

var (
	passwordType = regexp.MustCompile(`(?i)\btype\s*=\s*["']?password\b`)
	loginTitle   = regexp.MustCompile(`(?i)登\s*[录陆入]|统一身份认证|单点登录|\b(log|sign)[\s-]?(in|on)\b|single sign`)
	scriptLeave  = regexp.MustCompile(`(?i)(?:location(?:\.href)?\s*=\s*|location\.replace\(\s*|http-equiv\s*=\s*["']?refresh["']?[^>]{0,64}url\s*=\s*)["']?([^"'>\s)]{1,512})`)
)

// maxTag is how far an element is read for its attributes, or a title for its text.
const maxTag = 512

// maxForward is the size up to which a page that only sends the browser elsewhere is taken as such.
const maxForward = 4 << 10

// LoginPage says that a page asks for a password, or does nothing but send the browser to where one is asked for.
func LoginPage(contentType string, page []byte) bool {
	page = page[:min(len(page), MaxPage)]
	if !isHTML(contentType, page) {
		return false
	}
	if asksForPassword(page) {
		return true
	}
	if len(page) > maxForward {
		return false
	}
	m := scriptLeave.FindSubmatch(page)
	return m != nil && LoginURL(string(m[1]))
}

// asksForPassword goes through the page's elements once, whatever they hold: a page can be made to cost an expression time.
func asksForPassword(page []byte) bool {
	titled := false
	for {
		i := bytes.IndexByte(page, '<')
		if i < 0 {
			return false
		}
		page = page[i+1:]
		switch {
		case hasFoldPrefix(page, "input"):
			tag := page[:min(len(page), maxTag)]
			if end := bytes.IndexByte(tag, '>'); end >= 0 {
				tag = tag[:end]
			}
			if passwordType.Match(tag) {
				return true
			}
			page = page[len(tag):]
		case !titled && hasFoldPrefix(page, "title"):
			titled = true
			_, text, _ := bytes.Cut(page[:min(len(page), 2*maxTag)], []byte(">"))
			if end := bytes.IndexByte(text, '<'); end >= 0 && loginTitle.Match(text[:end]) {
				return true
			}
		}
	}
}

func hasFoldPrefix(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && strings.EqualFold(string(b[:len(prefix)]), prefix)
}

func isHTML(contentType string, page []byte) bool {
	if contentType != "" {
		return strings.Contains(strings.ToLower(contentType), "html")
	}
	return bytes.HasPrefix(bytes.TrimSpace(page), []byte("<"))
}

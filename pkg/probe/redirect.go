package probe

import (
	"bytes"
	"cmp"
	"context"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"

	"xunjian/pkg/check"
	"xunjian/pkg/flow"
)

// maxLocation is how much of a redirect's target is looked at.
const maxLocation = 8 << 10

// leadsElsewhere says that an answer is a redirect that names where to.
func leadsElsewhere(resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return resp.Header.Get("Location") != ""
	}
	return false
}

// goElsewhere makes the next hop: a new connection, whose address is guarded as the first was.
func (h *httpAsker) goElsewhere(ctx context.Context, s *shot) {
	s.elsewhere = false
	location := s.resp.Header.Get("Location")
	u, err := s.request.URL.Parse(location)
	if len(location) > maxLocation || err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || !isPort(portOf(u)) {
		s.bad = failed(check.ClassStatus, "%s to %s, which cannot be followed", formatStatus(s.resp.StatusCode), shortURL(location))
		return
	}
	if !h.judge.login && flow.LoginURL(u.String()) {
		s.bad = failed(check.ClassAuth, "%s to the login page %s", formatStatus(s.resp.StatusCode), shortURL(location))
		return
	}
	s.redirects++
	if s.hop, err = h.nextHop(s, u); err != nil {
		s.bad = failed(check.ClassStatus, "%s to %s, which cannot be followed", formatStatus(s.resp.StatusCode), shortURL(location))
		return
	}
	d := h.dialer
	d.host, d.port, d.tls = u.Hostname(), portOf(u), nil
	d.left = max(s.link.line.left.Load(), 1) // all hops share what may be read
	if u.Scheme == "https" {
		d.tls = h.hopTLS.Clone()
		if d.host != h.host {
			d.tls.ServerName = d.host
		}
	}
	s.resp, s.kept = nil, false // what is said from now on is of this hop
	if s.link, s.bad = d.open(ctx, s.watch); s.bad == nil {
		h.exchange(ctx, s.link, s)
	}
}

// nextHop is the request that a browser would make: what the check sends, unless the status asks for a mere GET, with the cookies
// that were set, and with credentials only where they came from.
func (h *httpAsker) nextHop(s *shot, u *url.URL) (hop, error) {
	method, body := s.request.Method, ""
	switch s.resp.StatusCode {
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		body = strings.ReplaceAll(h.body, check.Nonce, s.nonce)
	default:
		if method != http.MethodHead {
			method = http.MethodGet
		}
	}
	req, err := http.NewRequest(method, u.String(), strings.NewReader(body))
	if err != nil {
		return hop{}, err
	}
	same := u.Scheme == h.request.URL.Scheme && u.Host == h.request.URL.Host
	for name, values := range h.request.Header {
		switch {
		case isSecretName(name) && !same, body == "" && strings.HasPrefix(name, "Content-"):
			continue
		}
		for _, v := range values {
			req.Header.Add(name, strings.ReplaceAll(v, string(h.hole), s.nonce))
		}
	}
	if same && h.request.Host != h.request.URL.Host {
		req.Host = h.request.Host
	}
	s.jar.take(s.request, s.resp)
	s.jar.give(req)
	if header, _, err := h.refs.header(); err == nil && header != "" && same {
		req.Header.Set("Authorization", header)
	}
	var b bytes.Buffer
	err = req.Write(&b)
	req.Body = nil
	return hop{req, b.Bytes(), s.nonce}, err
}

// maxCookies is what one attempt takes of them.
const maxCookies = 256

// jar holds the cookies that an attempt's redirects have set. The zero value is an empty one.
type jar struct {
	jar *cookiejar.Jar
	n   int
}

func (j *jar) take(asked *http.Request, answer *http.Response) {
	fresh := answer.Cookies()
	if j.n += len(fresh); len(fresh) == 0 || j.n > maxCookies {
		return
	}
	if j.jar == nil {
		j.jar, _ = cookiejar.New(nil) // never fails
	}
	j.jar.SetCookies(named(asked), fresh)
}

// give writes one header at once: adding cookie after cookie would copy those before each time.
func (j *jar) give(req *http.Request) {
	if j.jar == nil {
		return
	}
	all := req.Header.Values("Cookie")
	for _, c := range j.jar.Cookies(named(req)) {
		all = append(all, c.Name+"="+c.Value)
	}
	if len(all) > 0 {
		req.Header.Set("Cookie", strings.Join(all, "; "))
	}
}

// named is the URL that the other side takes the request to be for.
func named(req *http.Request) *url.URL {
	u := *req.URL
	u.Host = cmp.Or(req.Host, u.Host)
	return &u
}

package flow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/http/cookiejar"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"

	"xunjian/pkg/check"
)

// defaultHops is how many redirects are followed, and maxCookies what one run takes of them.
const (
	defaultHops = 5
	maxCookies  = 256
)

// session is one run's browser: cookies, and the page that it is on.
type session struct {
	program *Program
	call    Call
	scope   *scope
	jar     *cookiejar.Jar
	cookies int
	page    *page
	trace   []Exchange // of the step under way
	phases  map[string]time.Duration
	expiry  time.Time
	bytes   int64
	status  int
}

// request makes the step's request of its texts.
func (s *session) request(st *step) (*Request, error) {
	target, err := s.scope.work(st.url)
	if err != nil {
		return nil, err
	}
	u, err := s.program.base.Parse(target.text)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("request.url %q is not an http or https URL", s.scope.mask.clip(hideQueries(target.text), maxSeen))
	}
	r := &Request{Method: st.Request.Method, URL: u, Header: http.Header{"User-Agent": {"Xunjian-Probe/1"}, "Accept": {"*/*"}}}
	if err := s.fill(r, st); err != nil {
		return nil, err
	}
	if r.Method == "" {
		r.Method = http.MethodGet
		if r.Body != nil {
			r.Method = http.MethodPost
		}
	}
	s.scope.sending(r)
	for _, h := range st.headers {
		v, err := s.scope.work(h.text)
		if err != nil {
			return nil, err
		}
		if strings.ContainsAny(v.text, "\r\n\x00") {
			return nil, fmt.Errorf("header %s would hold more than one line", h.name)
		}
		r.Header.Set(h.name, v.text)
	}
	return r, nil
}

// fill sets body and content type.
func (s *session) fill(r *Request, st *step) error {
	body, err := s.scope.work(st.body)
	if err != nil {
		return err
	}
	fields, err := s.fields(st)
	switch {
	case err != nil:
		return err
	case st.Request.JSON != "":
		if err := ValidJSON([]byte(body.text)); err != nil {
			return fmt.Errorf("request.json: %w; write {{ json(…) }} for values, with no quotes around", err)
		}
		r.Body = []byte(body.text)
		r.Header.Set("Content-Type", "application/json")
	case st.Request.Body != "":
		r.Body = []byte(body.text)
	case len(st.files) > 0:
		return s.multipart(r, st, fields)
	case len(fields) > 0 || st.Request.Hidden:
		r.Body = []byte(fields.Encode())
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return nil
}

// fields are the form's, over the hidden ones of the page.
func (s *session) fields(st *step) (url.Values, error) {
	out := url.Values{}
	if st.Request.Hidden {
		if s.page == nil || s.page.document().form() == nil {
			return nil, &Fault{Outcome: check.Fail, Class: check.ClassContent, Reason: "request.hidden: the last page has no form"}
		}
		for name, v := range s.page.document().form().hidden {
			out.Set(name, v)
		}
	}
	for _, f := range st.form {
		v, err := s.scope.work(f.text)
		if err != nil {
			return nil, err
		}
		out.Set(f.name, v.text)
	}
	return out, nil
}

func (s *session) multipart(r *Request, st *step, fields url.Values) error {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for name, values := range fields {
		if err := w.WriteField(name, values[0]); err != nil {
			return err
		}
	}
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", "", "\n", "")
	for i, f := range st.Request.Files {
		content, err := s.scope.work(st.files[i])
		if err != nil {
			return err
		}
		kind := f.Type
		if kind == "" {
			kind = "application/octet-stream"
		}
		part, err := w.CreatePart(textproto.MIMEHeader{
			"Content-Disposition": {fmt.Sprintf(`form-data; name="%s"; filename="%s"`, quote.Replace(f.Field), quote.Replace(f.Name))},
			"Content-Type":        {quote.Replace(kind)},
		})
		if err != nil {
			return err
		}
		if _, err := part.Write([]byte(content.text)); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	r.Body = b.Bytes()
	r.Header.Set("Content-Type", w.FormDataContentType())
	return nil
}

// follow makes the request and those that redirects lead to, each guarded by the Doer as the first.
func (s *session) follow(ctx context.Context, st *step, r *Request) (*page, error) {
	left := defaultHops
	if st.Request.Redirect != nil {
		left = *st.Request.Redirect
	}
	for hops := 0; ; hops++ {
		a, err := s.exchange(ctx, r)
		if err != nil {
			return nil, err
		}
		location := a.Header.Get("Location")
		if !slices.Contains([]int{301, 302, 303, 307, 308}, a.Status) || location == "" || left == 0 {
			return &page{Answer: a, url: r.URL, hops: hops}, nil
		}
		if hops == left {
			class := check.ClassContent
			if LoginURL(location) && !st.Login && !st.LoginPage { // a login that leads to itself, and was not asked for
				class = check.ClassAuth
			}
			return nil, &Fault{Outcome: check.Fail, Class: class, Reason: fmt.Sprintf("more than %d redirects, the last one to %s", left, shortURL(s.scope.mask.Hide(location)))}
		}
		if r, err = s.redirected(r, a.Status, location, st.Login); err != nil {
			return nil, err
		}
	}
}

// redirected is the next request. Credentials do not follow to another host.
func (s *session) redirected(r *Request, status int, location string, credentials bool) (*Request, error) {
	u, err := r.URL.Parse(location)
	location = shortURL(s.scope.mask.Hide(location)) // as it may be shown
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, &Fault{Outcome: check.Fail, Class: check.ClassContent, Reason: "redirected to what is not an http or https URL: " + location}
	}
	u.Fragment = ""
	next := &Request{Method: http.MethodGet, URL: u, Header: r.Header.Clone()}
	away := u.Host != r.URL.Host || r.URL.Scheme == "https" && u.Scheme == "http"
	if status == http.StatusTemporaryRedirect || status == http.StatusPermanentRedirect {
		if away && credentials {
			return nil, &Fault{Outcome: check.Fail, Class: check.ClassContent, Reason: "redirected with the credentials to another place, not followed: " + location}
		}
		next.Method, next.Body = r.Method, r.Body
	} else {
		next.Header.Del("Content-Type")
		if r.Method == http.MethodHead {
			next.Method = r.Method
		}
	}
	next.Header.Del("Cookie")
	if away {
		for name := range next.Header {
			if isSecretName(name) {
				next.Header.Del(name)
			}
		}
	}
	return next, nil
}

// exchange makes one request with the cookies of its place, and keeps those that it brings.
func (s *session) exchange(ctx context.Context, r *Request) (*Answer, error) {
	out := *r
	out.Header = r.Header.Clone()
	cookies := out.Header.Values("Cookie")
	for _, c := range s.jar.Cookies(r.URL) {
		cookies = append(cookies, c.Name+"="+c.Value)
	}
	if len(cookies) > 0 {
		out.Header.Set("Cookie", strings.Join(cookies, "; "))
	}
	start := time.Now()
	a, err := s.call.Doer.Do(ctx, &out)
	if err == nil && a == nil {
		err = errors.New("no answer")
	}
	s.note(r, a, err, time.Since(start))
	if err != nil {
		return nil, err
	}
	s.bytes += int64(len(a.Body))
	s.status = a.Status
	for _, p := range a.Phases {
		s.phases[p.Name] += p.Duration
	}
	if !a.Expiry.IsZero() && (s.expiry.IsZero() || a.Expiry.Before(s.expiry)) {
		s.expiry = a.Expiry
	}
	fresh := (&http.Response{Header: a.Header}).Cookies()
	if s.cookies += len(fresh); s.cookies <= maxCookies {
		s.jar.SetCookies(r.URL, fresh)
	}
	return a, nil
}

// cookie is one that would be sent to u.
func (s *session) cookie(u *url.URL, name string) (string, bool) {
	for _, c := range s.jar.Cookies(u) {
		if c.Name == name {
			return c.Value, true
		}
	}
	return "", false
}

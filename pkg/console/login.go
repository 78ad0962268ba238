package console

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"xunjian/pkg/access"
	"xunjian/pkg/i18n"
)

// returnable are the pages to which a login or an act may lead back: a closed list, so that no address leads elsewhere.
var returnable = regexp.MustCompile(`^/(incidents/[A-Za-z0-9-]{1,40}|duty|windows|channels)?$`)

// local is the address when it is a page of this console, else the first page.
func local(address string) string {
	if returnable.MatchString(address) {
		return address
	}
	return "/"
}

// cameFrom is the page on which the person is or wants to be.
func cameFrom(r *http.Request) string {
	switch {
	case pulls(r):
		if u, err := url.Parse(r.Header.Get("HX-Current-URL")); err == nil {
			return local(u.Path)
		}
		return "/"
	case r.Method == http.MethodGet:
		return local(r.URL.Path)
	}
	return local(r.PostFormValue("from"))
}

func loginAddress(next string, idle bool) string {
	q := url.Values{}
	if next != "/" {
		q.Set("next", next)
	}
	if idle {
		q.Set("idle", "1")
	}
	if len(q) == 0 {
		return "/login"
	}
	return "/login?" + q.Encode()
}

// printer speaks the language of the query, else of the cookie, else Chinese.
func printer(r *http.Request) *i18n.Printer {
	if q := r.URL.Query().Get("lang"); q != "" {
		return i18n.For(q)
	}
	if k, err := r.Cookie("lang"); err == nil {
		return i18n.For(k.Value)
	}
	return i18n.For("")
}

// keepLanguage remembers a language that the query asks for.
func (c *Console) keepLanguage(w http.ResponseWriter, r *http.Request) {
	if q := r.URL.Query().Get("lang"); q != "" {
		http.SetCookie(w, &http.Cookie{
			Name: "lang", Value: i18n.For(q).Lang, Path: "/", MaxAge: 365 * 24 * 3600,
			SameSite: http.SameSiteStrictMode, Secure: c.o.Secure, HttpOnly: true,
		})
	}
}

func other(p *i18n.Printer) string {
	if p.Lang == "en" {
		return i18n.Languages[0]
	}
	return "en"
}

type loginView struct {
	frame
	Next  string
	Again string // this page in the other language
}

func (c *Console) showLogin(w http.ResponseWriter, r *http.Request, status int, fault string) {
	next := local(r.FormValue("next"))
	v := loginView{frame: c.frame(r, access.Identity{}, time.Now()), Next: next}
	v.Head, v.Notice = v.P.T("console.sign_in"), fault
	v.Again = "/login?" + url.Values{"next": {next}, "lang": {v.Other}}.Encode()
	c.render(w, status, "login", v)
}

func (c *Console) loginPage(w http.ResponseWriter, r *http.Request) {
	text := ""
	if r.URL.Query().Get("idle") != "" {
		text = printer(r).T("console.idle")
	}
	c.showLogin(w, r, http.StatusOK, text)
}

func (c *Console) login(w http.ResponseWriter, r *http.Request) {
	who, err := c.o.People.Login(r.Context(), r.PostFormValue("login"), r.PostFormValue("password"), address(r))
	if err != nil {
		c.loginRefused(w, r, err)
		return
	}
	if err := c.sessions.RenewToken(r.Context()); err != nil { // a new id at login: a fixed one is worth nothing
		c.fail(w, r, err)
		return
	}
	c.sessions.Put(r.Context(), loginKey, who.Login)
	c.sessions.Put(r.Context(), seenKey, time.Now().Unix())
	http.Redirect(w, r, local(r.PostFormValue("next")), http.StatusSeeOther)
}

func (c *Console) loginRefused(w http.ResponseWriter, r *http.Request, err error) {
	status, key := http.StatusUnauthorized, "console.login_wrong"
	switch {
	case errors.Is(err, access.ErrBadLogin):
	case errors.Is(err, access.ErrLocked):
		status, key = http.StatusTooManyRequests, "console.login_locked"
	case errors.Is(err, access.ErrBusy):
		status, key = http.StatusServiceUnavailable, "console.login_busy"
	default:
		c.fail(w, r, err)
		return
	}
	c.showLogin(w, r, status, printer(r).T(key))
}

func (c *Console) logout(w http.ResponseWriter, r *http.Request) {
	if err := c.sessions.Destroy(r.Context()); err != nil {
		c.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

func address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

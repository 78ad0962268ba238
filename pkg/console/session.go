package console

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/alexedwards/scs/v2"

	"xunjian/pkg/access"
	"xunjian/pkg/i18n"
	"xunjian/pkg/store"
)

// sessionLife is a working day with its evening; a session is written only when it begins and ends.
const sessionLife = 14 * time.Hour

// kept is one session as stored, under the hash of its token.
type kept struct {
	Data    []byte    `json:"data"`
	Expires time.Time `json:"expires"`
}

// sessionStore is scs's Store over a table, so that a restart signs nobody out.
type sessionStore struct {
	db    *store.DB
	table store.Table[kept]
}

func newSessions(o Options) *scs.SessionManager {
	m := scs.New()
	m.Store = &sessionStore{o.Sessions, store.NewTable[kept]("console_sessions")}
	m.Lifetime = sessionLife
	m.HashTokenInStore = true
	m.Cookie.Name = "xunjian"
	m.Cookie.HttpOnly = true
	m.Cookie.SameSite = http.SameSiteStrictMode
	m.Cookie.Secure = o.Secure
	m.ErrorFunc = func(w http.ResponseWriter, r *http.Request, err error) {
		o.Logger.Error("session", "error", err)
		http.Error(w, printer(r).T("console.failed"), http.StatusInternalServerError)
	}
	return m
}

func (s *sessionStore) Find(token string) ([]byte, bool, error) {
	var k kept
	err := s.db.View(func(tx *store.Tx) (err error) { k, err = s.table.Get(tx, token); return err })
	if errors.Is(err, store.ErrNotFound) || err == nil && time.Now().After(k.Expires) {
		return nil, false, nil
	}
	return k.Data, err == nil, err
}

// Commit also sweeps out what has expired, so that the table stays small.
func (s *sessionStore) Commit(token string, b []byte, expires time.Time) error {
	return s.db.Update(func(tx *store.Tx) error {
		var old []string
		for e, err := range s.table.Scan(tx, "") {
			if err != nil || time.Now().After(e.Value.Expires) {
				old = append(old, e.Key)
			}
		}
		for _, k := range old {
			if err := s.table.Delete(tx, k); err != nil {
				return err
			}
		}
		return s.table.Put(tx, token, kept{b, expires})
	})
}

func (s *sessionStore) Delete(token string) error {
	return s.db.Update(func(tx *store.Tx) error { return s.table.Delete(tx, token) })
}

const loginKey = "login"

// loadSession is LoadAndSave for answers that never end: the session is read only.
func (c *Console) loadSession(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token := ""
		if k, err := r.Cookie(c.sessions.Cookie.Name); err == nil {
			token = k.Value
		}
		ctx, err := c.sessions.Load(r.Context(), token)
		if err != nil {
			c.fail(w, r, err)
			return
		}
		next(w, r.WithContext(ctx))
	}
}

// signedIn wants a person who may read; others are sent to the login page. Rights are those of this moment.
func (c *Console) signedIn(next func(http.ResponseWriter, *http.Request, access.Identity)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who, err := c.o.People.Current(c.sessions.GetString(r.Context(), loginKey))
		if err == nil {
			err = access.Allow(who, access.Read)
		}
		if err != nil {
			if r.Header.Get("HX-Request") != "" {
				w.Header().Set("HX-Redirect", "/login")
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			if r.Method != http.MethodGet || r.URL.Path == "/events" {
				http.Error(w, printer(r).T("console.sign_in_first"), http.StatusUnauthorized)
				return
			}
			http.Redirect(w, r, "/login", http.StatusSeeOther)
			return
		}
		next(w, r, who)
	}
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
		http.SetCookie(w, &http.Cookie{Name: "lang", Value: i18n.For(q).Lang, Path: "/", MaxAge: 365 * 24 * 3600, SameSite: http.SameSiteStrictMode, Secure: c.o.Secure, HttpOnly: true})
	}
}

type loginView struct {
	P     *i18n.Printer
	Other string // the other language
	Title string
	Error string
}

func (c *Console) loginView(r *http.Request, fault string) loginView {
	p := printer(r)
	return loginView{P: p, Other: other(p), Title: c.o.Title, Error: fault}
}

func other(p *i18n.Printer) string {
	if p.Lang == "en" {
		return i18n.Languages[0]
	}
	return "en"
}

func (c *Console) loginPage(w http.ResponseWriter, r *http.Request) {
	c.keepLanguage(w, r)
	c.render(w, "login", c.loginView(r, ""))
}

func (c *Console) login(w http.ResponseWriter, r *http.Request) {
	who, err := c.o.People.Login(r.Context(), r.PostFormValue("login"), r.PostFormValue("password"), address(r))
	if err != nil {
		key := "console.login_wrong"
		switch {
		case errors.Is(err, access.ErrLocked):
			key = "console.login_locked"
		case errors.Is(err, access.ErrBusy):
			key = "console.login_busy"
		case !errors.Is(err, access.ErrBadLogin):
			c.fail(w, r, err)
			return
		}
		w.WriteHeader(http.StatusUnauthorized)
		c.render(w, "login", c.loginView(r, printer(r).T(key)))
		return
	}
	if err := c.sessions.RenewToken(r.Context()); err != nil { // a new id at login: a fixed one is worth nothing
		c.fail(w, r, err)
		return
	}
	c.sessions.Put(r.Context(), loginKey, who.Login)
	http.Redirect(w, r, "/", http.StatusSeeOther)
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

// here is a path on this console with the language kept.
func here(path, lang string) string { return path + "?lang=" + url.QueryEscape(lang) }

package simulator

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/pquerna/otp/totp"
)

func (o *office) loginForm(w http.ResponseWriter, _ *http.Request) {
	show(w, http.StatusOK, "login", form{Action: "/login", Name: "_csrf", Token: o.once(), Key: o.publicKey()})
}

func (o *office) captcha(w http.ResponseWriter, _ *http.Request) {
	ok(w, map[string]any{"uuid": o.once(), "img": "data:image/png;base64,iVBORw0KGgo="})
}

// login takes a password encrypted with SM2, after a captcha that the account for inspections may leave empty, and the CSRF
// token of the page.
func (o *office) login(w http.ResponseWriter, r *http.Request) {
	var in struct{ Username, Password, Code, UUID, OTP string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrder)).Decode(&in); err != nil {
		no(w, 500, "请求格式错误")
		return
	}
	if csrf := r.Header.Get("X-CSRF-Token"); csrf != "" && !o.spend(csrf) {
		writeJSON(w, http.StatusBadRequest, map[string]any{"code": 400, "msg": "CSRF令牌无效"})
		return
	}
	if !o.spend(in.UUID) || in.Code != "" && in.Code != "8888" || in.Code == "" && in.Username != OAUser && in.Username != OAUserMFA {
		no(w, 500, "验证码错误")
		return
	}
	if msg := o.admit(r, in.Username, o.decrypt(in.Password), in.OTP); msg != "" {
		no(w, 500, msg)
		return
	}
	session := o.open(w, in.Username)
	writeJSON(w, http.StatusOK, map[string]any{"code": 200, "msg": "登录成功", "token": session})
}

// decrypt takes 04 + C1C3C2 in hex, empty when it is not that.
func (o *office) decrypt(password string) string {
	b, err := hex.DecodeString(password)
	if err != nil || len(b) < 97 {
		return ""
	}
	if b[0] != 4 {
		b = append([]byte{4}, b...)
	}
	plain, err := o.key.Decrypt(nil, b, sm2.NewPlainDecrypterOpts(sm2.C1C3C2))
	if err != nil {
		return ""
	}
	return string(plain)
}

// admit is empty when the credentials are taken; five wrong tries in a row lock the account.
func (o *office) admit(r *http.Request, user, password, code string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case modeOf(r) == AccountLocked, time.Now().Before(o.locked[user]):
		return "账号已锁定，请10分钟后再试"
	case modeOf(r) != LoginRefused && (user == OAUser || user == OAUserMFA) && password == OAPassword:
		if user == OAUserMFA && !totp.Validate(code, OATOTP) {
			return "动态口令错误"
		}
		delete(o.wrong, user)
		return ""
	}
	if user != OAUser && user != OAUserMFA {
		return "用户名或密码错误"
	}
	if o.wrong[user]++; o.wrong[user] >= oaLockAfter {
		o.locked[user] = time.Now().Add(oaLockFor)
		delete(o.wrong, user)
	}
	return "用户名或密码错误"
}

// open begins a session.
func (o *office) open(w http.ResponseWriter, user string) string {
	session := token()
	o.mu.Lock()
	if len(o.sessions) > 10_000 {
		clear(o.sessions)
	}
	o.sessions[session] = user
	o.mu.Unlock()
	http.SetCookie(w, &http.Cookie{Name: "OASESSION", Value: session, Path: "/", HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode})
	return session
}

// postLogin is the plain form, without SM2.
func (o *office) postLogin(w http.ResponseWriter, r *http.Request) {
	f := form{Action: "/login", Name: "_csrf", Key: o.publicKey(), Token: o.once()}
	if !o.spend(r.PostFormValue("_csrf")) {
		f.Message = "页面已过期"
		show(w, http.StatusForbidden, "login", f)
		return
	}
	if f.Message = o.admit(r, r.PostFormValue("username"), r.PostFormValue("password"), r.PostFormValue("otp")); f.Message != "" {
		show(w, http.StatusOK, "login", f)
		return
	}
	o.open(w, r.PostFormValue("username"))
	http.Redirect(w, r, "/index", http.StatusFound)
}

func (o *office) logout(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie("OASESSION"); err == nil {
		o.mu.Lock()
		delete(o.sessions, c.Value)
		o.mu.Unlock()
	}
	ok(w, nil)
}

// cas is the single sign-on, and the platform's door for its tickets.
func (o *office) cas(mux *http.ServeMux) {
	mux.HandleFunc("GET /cas/login", func(w http.ResponseWriter, r *http.Request) {
		show(w, http.StatusOK, "login", form{Action: r.URL.RequestURI(), Name: "execution", Token: o.once()})
	})
	mux.HandleFunc("POST /cas/login", func(w http.ResponseWriter, r *http.Request) {
		f := form{Action: r.URL.RequestURI(), Name: "execution", Token: o.once()}
		if !o.spend(r.PostFormValue("execution")) || r.PostFormValue("_eventId") != "submit" {
			f.Message = "登录流程已失效"
			show(w, http.StatusOK, "login", f)
			return
		}
		if f.Message = o.admit(r, r.PostFormValue("username"), r.PostFormValue("password"), ""); f.Message != "" {
			show(w, http.StatusUnauthorized, "login", f)
			return
		}
		service, err := url.Parse(r.URL.Query().Get("service"))
		if err != nil || service.Host != "" && service.Host != r.Host {
			show(w, http.StatusForbidden, "login", f)
			return
		}
		q := service.Query()
		q.Set("ticket", "ST-"+o.once())
		service.RawQuery = q.Encode()
		http.SetCookie(w, &http.Cookie{Name: "TGC", Value: token(), Path: "/cas", HttpOnly: true, Secure: true})
		http.Redirect(w, r, service.String(), http.StatusFound)
	})
	mux.HandleFunc("GET /sso", func(w http.ResponseWriter, r *http.Request) {
		ticket, isTicket := strings.CutPrefix(r.URL.Query().Get("ticket"), "ST-")
		switch {
		case !isTicket:
			http.Redirect(w, r, "/cas/login?service="+url.QueryEscape("/sso"), http.StatusFound)
		case modeOf(r) == SSOFails || !o.spend(ticket):
			writeJSON(w, http.StatusInternalServerError, map[string]any{"code": 500, "msg": "票据校验失败"})
		default:
			o.open(w, OAUser)
			http.Redirect(w, r, "/index", http.StatusFound)
		}
	})
}

// grant is what a code stands for.
type grant struct{ redirect, challenge string }

// oauth is an OAuth 2 server: authorization codes with PKCE, and client credentials.
func (o *office) oauth(mux *http.ServeMux) {
	mux.HandleFunc("GET /oauth2/authorize", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if q.Get("client_id") != OAClient || q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" {
			writeJSON(w, http.StatusBadRequest, map[string]any{"error": "invalid_request"})
			return
		}
		show(w, http.StatusOK, "login", form{Action: r.URL.RequestURI(), Name: "_csrf", Token: o.once()})
	})
	mux.HandleFunc("POST /oauth2/authorize", o.authorize)
	mux.HandleFunc("POST /oauth2/token", o.token)
	mux.HandleFunc("GET /oauth2/callback", func(w http.ResponseWriter, r *http.Request) { show(w, http.StatusOK, "index", oaName) })
	mux.HandleFunc("GET /oauth2/userinfo", func(w http.ResponseWriter, r *http.Request) {
		if user := o.who(r); user != "" {
			writeJSON(w, http.StatusOK, map[string]any{"sub": user, "name": oaName})
			return
		}
		writeJSON(w, http.StatusUnauthorized, map[string]any{"error": "invalid_token"})
	})
}

func (o *office) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	f := form{Action: r.URL.RequestURI(), Name: "_csrf", Token: o.once()}
	if !o.spend(r.PostFormValue("_csrf")) {
		show(w, http.StatusForbidden, "login", f)
		return
	}
	if f.Message = o.admit(r, r.PostFormValue("username"), r.PostFormValue("password"), ""); f.Message != "" {
		show(w, http.StatusOK, "login", f)
		return
	}
	code := token()
	o.mu.Lock()
	if len(o.grants) > 10_000 {
		clear(o.grants)
	}
	o.grants[code] = grant{q.Get("redirect_uri"), q.Get("code_challenge")}
	o.mu.Unlock()
	to := url.URL{Path: "/oauth2/callback", RawQuery: url.Values{"code": {code}, "state": {q.Get("state")}}.Encode()}
	http.Redirect(w, r, to.String(), http.StatusFound)
}

func (o *office) token(w http.ResponseWriter, r *http.Request) {
	id, secret, basic := r.BasicAuth()
	if !basic {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	if id != OAClient || secret != OASecret || modeOf(r) == LoginRefused {
		writeJSON(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
		return
	}
	user := "client:" + id
	switch r.PostFormValue("grant_type") {
	case "client_credentials":
	case "authorization_code":
		o.mu.Lock()
		g, known := o.grants[r.PostFormValue("code")]
		delete(o.grants, r.PostFormValue("code"))
		o.mu.Unlock()
		sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
		if !known || g.redirect != r.PostFormValue("redirect_uri") || base64.RawURLEncoding.EncodeToString(sum[:]) != g.challenge {
			writeJSON(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant"})
			return
		}
		user = OAUser
	case "refresh_token":
		if user = o.refreshed(r.PostFormValue("refresh_token")); user == "" {
			writeJSON(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant"})
			return
		}
	default:
		writeJSON(w, http.StatusBadRequest, map[string]any{"error": "unsupported_grant_type"})
		return
	}
	t, again := token(), token()
	o.mu.Lock()
	if len(o.refresh) > 10_000 {
		clear(o.refresh)
	}
	o.sessions[t], o.refresh[again] = user, user
	o.mu.Unlock()
	writeJSON(w, http.StatusOK, map[string]any{"access_token": t, "token_type": "Bearer", "expires_in": 3600, "refresh_token": again})
}

// refreshed is the user of a refresh token, which is good once; empty for one that is not.
func (o *office) refreshed(t string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	user := o.refresh[t]
	delete(o.refresh, t)
	return user
}

package simulator

import (
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	htmlpage "html/template"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/emmansun/gmsm/sm2"
)

// OA is the office platform behind the four services: people log in, read what is to be done, and write papers.
const OA = "oa"

// The account for inspections, which needs no captcha, and the one with a second factor. Demo values, good on loopback alone.
const (
	OAUser      = "jiance01"
	OAUserMFA   = "jiance02"
	OAPassword  = "Jiance@2026"
	OATOTP      = "JBSWY3DPEHPK3PXP"
	OAClient    = "xunjian"
	OASecret    = "xunjian-client-secret"
	oaName      = "监测账号"
	oaLockAfter = 5
	oaLockFor   = 10 * time.Minute
)

// Faults of the office platform's own.
const (
	OAException   Mode = "oa-exception"   // the system error page, with 200
	AccountLocked Mode = "account-locked" // the account is locked, as after five wrong tries
	DraftStays    Mode = "draft-stays"    // a draft is said to be deleted, and stays
	DeleteRefused Mode = "delete-refused" // a draft cannot be deleted
	TodoEmpty     Mode = "todo-empty"     // nothing is to be done
	TodoWrong     Mode = "todo-wrong"     // somebody else's list
	ApproveFails  Mode = "approve-fails"  // the test flow does not move on
	DraftFails    Mode = "draft-fails"    // no draft can be made
	FileWrong     Mode = "file-wrong"     // another attachment than the one asked for
	SearchEmpty   Mode = "search-empty"   // the archive finds nothing
	SlowStep      Mode = "slow-step"      // the list of what is to be done takes 2.5 s
	SSOFails      Mode = "sso-fails"      // tickets of the single sign-on are not taken
)

var oaModes = []Mode{OAException, LoginRefused, AccountLocked, DraftStays, DeleteRefused, TodoEmpty, TodoWrong, ApproveFails, DraftFails, FileWrong, SearchEmpty, SlowStep, SSOFails}

// office is the platform's state.
type office struct {
	key *sm2.PrivateKey // passwords come encrypted for it

	mu       sync.Mutex
	wrong    map[string]int       // tries of an account in a row
	locked   map[string]time.Time // until when
	sessions map[string]string    // account by cookie or bearer token
	captchas map[string]bool      // and other one-time words: csrf, execution, tickets, codes
	grants   map[string]grant     // by code
	refresh  map[string]string    // users by refresh token
	drafts   map[string]*draft    // by id
	next     int
}

// draft is a paper on its way.
type draft struct {
	ID      string `json:"id"`
	Title   string `json:"title"`
	Dept    string `json:"dept"`
	Flow    string `json:"flow"`
	State   string `json:"state"` // 拟稿, 流转, 办结
	Created string `json:"created"`
}

func newOffice() (*office, error) {
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make SM2 key: %w", err)
	}
	return &office{
		key: key, wrong: map[string]int{}, locked: map[string]time.Time{}, sessions: map[string]string{},
		captchas: map[string]bool{}, grants: map[string]grant{}, refresh: map[string]string{}, drafts: map[string]*draft{},
	}, nil
}

func (o *office) publicKey() string {
	return hex.EncodeToString(elliptic.Marshal(sm2.P256(), o.key.X, o.key.Y)) //nolint:staticcheck // crypto/ecdh knows no SM2
}

func (o *office) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login", o.loginForm)
	mux.HandleFunc("GET /captcha", o.captcha)
	mux.HandleFunc("GET /api/public-key", func(w http.ResponseWriter, _ *http.Request) { ok(w, map[string]any{"publicKey": o.publicKey()}) })
	mux.HandleFunc("POST /api/login", o.login)
	mux.HandleFunc("POST /login", o.postLogin)
	mux.HandleFunc("POST /logout", o.logout)
	o.cas(mux)
	o.oauth(mux)
	for pattern, serve := range map[string]http.HandlerFunc{
		"GET /index": o.index, "GET /mobile": o.index, "GET /api/user": o.user,
		"GET /api/todo": o.todo, "GET /api/receipt": o.receipt, "GET /api/notice": o.notice, "GET /files/{id}": o.file,
		"GET /api/archive": o.archive, "GET /api/dispatch": o.list, "POST /api/dispatch": o.create,
		"GET /api/dispatch/{id}": o.read, "POST /api/dispatch/{id}/route": o.move, "POST /api/dispatch/{id}/approve": o.move,
		"DELETE /api/dispatch/{id}": o.remove,
	} {
		mux.HandleFunc(pattern, o.inside(serve))
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/index", http.StatusFound) })
	mux.HandleFunc("/", notFound)
	return mux
}

// inside lets in who has logged in; everybody else is sent to the login, as such products do even with their APIs.
func (o *office) inside(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case o.who(r) == "":
			http.Redirect(w, r, "/login?redirect="+url.QueryEscape(r.URL.Path), http.StatusFound)
		case modeOf(r) == OAException:
			systemError(w, r)
		default:
			serve(w, r)
		}
	}
}

// who is the account of the session, empty for none.
func (o *office) who(r *http.Request) string {
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if c, err := r.Cookie("OASESSION"); err == nil && !bearer {
		token = c.Value
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sessions[token]
}

// systemError is what the platform shows when it has lost its database: 200, and a friendly page.
func systemError(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprint(w, `<!DOCTYPE html><html lang="zh-CN"><head><meta charset="utf-8"><title>提示</title></head>
<body><div class="error">系统异常，请联系管理员。错误码：500</div></body></html>`)
}

var pages = htmlpage.Must(htmlpage.New("").Parse(`
{{define "login"}}<!DOCTYPE html>
<html lang="zh-CN"><head><meta charset="utf-8"><meta name="_csrf" content="{{.Token}}"><title>协同办公 登录</title>
<script>var publicKey="{{.Key}}";</script></head>
<body><form id="login" method="post" action="{{.Action}}">
<input type="hidden" name="{{.Name}}" value="{{.Token}}"><input type="hidden" name="_eventId" value="submit">
<input name="username" placeholder="用户名"><input name="password" type="password" placeholder="密码"><input name="code" placeholder="验证码">
{{with .Message}}<p class="error">{{.}}</p>{{end}}<button type="submit">登录</button></form></body></html>
{{end}}
{{define "index"}}<!DOCTYPE html>
<html lang="zh-CN"><head><meta charset="utf-8"><title>协同办公</title></head>
<body><header>欢迎，<span id="user">{{.}}</span></header><nav><a href="/api/todo">待办</a> <a href="/api/notice">通知公告</a></nav></body></html>
{{end}}`))

// form is what the page named login shows.
type form struct{ Action, Name, Token, Key, Message string }

func show(w http.ResponseWriter, status int, name string, data any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_ = pages.ExecuteTemplate(w, name, data) // the peer may have gone
}

func ok(w http.ResponseWriter, data any) {
	writeJSON(w, http.StatusOK, map[string]any{"code": 200, "msg": "操作成功", "data": data})
}

// no is how the platform refuses: with 200 and a code of its own.
func no(w http.ResponseWriter, code int, msg string) {
	writeJSON(w, http.StatusOK, map[string]any{"code": code, "msg": msg})
}

func token() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// once makes a word that spend takes one time.
func (o *office) once() string {
	t := token()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.captchas) > 10_000 {
		clear(o.captchas)
	}
	o.captchas[t] = true
	return t
}

func (o *office) spend(word string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	had := o.captchas[word]
	delete(o.captchas, word)
	return had
}

package simulator

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// ServeHTTP answers as the fault in force has it.
func (v *venue) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, changed := v.fault.request(r.URL.Path)
	switch f.Mode {
	case Hang:
		select {
		case <-r.Context().Done():
		case <-changed:
		}
		panic(http.ErrAbortHandler)
	case Slow:
		if !wait(r, time.Duration(f.DelayMS)*time.Millisecond) {
			return
		}
	case Error500:
		http.Error(w, `{"message":"An unexpected error occurred"}`, http.StatusInternalServerError)
		return
	case Reset, Refuse: // refused requests come in by the control door, which cannot be shut
		cut(w)
		return
	case LoginPage:
		loginPage(w, r)
		return
	case LoginRedirect:
		http.Redirect(w, r, "/cas/login?service="+r.URL.Path, http.StatusFound)
		return
	case Wrong:
		v.wrong.ServeHTTP(w, r)
		return
	}
	v.plain.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), modeKey{}, f.Mode)))
}

type modeKey struct{}

// modeOf is the fault of its own with which a service is to answer, OK for none.
func modeOf(r *http.Request) Mode {
	m, ok := r.Context().Value(modeKey{}).(Mode)
	if !ok || m == Slow {
		return OK
	}
	return m
}

func wait(r *http.Request, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

// cut ends the connection with a reset instead of an orderly end.
func cut(w http.ResponseWriter) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	abort(conn)
}

// abort resets a connection that came in by a door.
func abort(conn net.Conn) {
	_ = conn.(*guest).SetLinger(0) // without it the peer sees an end instead of a reset
	conn.Close()
}

func loginPage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write([]byte(`<!DOCTYPE html>
<html lang="zh-CN"><head><meta charset="utf-8"><title>统一身份认证平台</title></head>
<body><form method="post" action="/cas/login">
<input name="username" placeholder="用户名"><input name="password" type="password" placeholder="密码">
<button type="submit">登录</button></form></body></html>
`))
}

package api

import (
	"context"
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"xunjian/pkg/access"
)

// serveControlled starts a collector's door that takes the control token, and announces it in dir.
func serveControlled(t *testing.T, dir string) *Control {
	t.Helper()
	c := NewControl("", "")
	r := newRig(t, func(o *Options) { o.Control = c })
	srv := httptest.NewUnstartedServer(r)
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0) // refused handshakes are wanted here
	srv.StartTLS()
	t.Cleanup(srv.Close)
	c.URL, c.CAFile = srv.URL, filepath.Join(dir, "ca.crt")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(c.CAFile, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Write(dir); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestControl(t *testing.T) {
	dir := t.TempDir()
	if _, err := Connect(t.Context(), dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("nothing there: %v", err)
	}
	c := serveControlled(t, dir)
	st, err := os.Stat(filepath.Join(dir, controlFile))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st.Mode(), err)
	}
	client, err := Connect(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer client.HTTP.CloseIdleConnections()
	if _, err := client.Tokens(t.Context()); err != nil {
		t.Errorf("as admin: %v", err)
	}
	var e *Error
	if _, err := client.CreateToken(t.Context(), TokenRequest{}); !errors.As(err, &e) || e.Code != "need_person" {
		t.Errorf("nobody asks: %v", err)
	}
	if got, err := client.CreateToken(t.Context(), TokenRequest{By: "root"}); err != nil || got.By != "root" {
		t.Errorf("%+v %v", got, err)
	}
	later := NewControl("http://127.0.0.1:1", "")
	if err := later.Remove(dir); err != nil {
		t.Error(err)
	}
	if _, err := LoadControl(dir); err != nil {
		t.Errorf("another collector's file was removed: %v", err)
	}
	for range 2 {
		if err := c.Remove(dir); err != nil {
			t.Error(err)
		}
	}
	if _, err := LoadControl(dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("after the end: %v", err)
	}
}

// The certificate of a site need not hold the address by which the command line calls.
func TestControlServerName(t *testing.T) {
	dir := t.TempDir()
	c := serveControlled(t, dir)
	c.URL = strings.Replace(c.URL, "127.0.0.1", "localhost", 1)
	for name, want := range map[string]bool{"": false, "example.com": true, "other.example.cn": false} { // httptest's certificate is for example.com
		c.Name = name
		if err := c.Write(dir); err != nil {
			t.Fatal(err)
		}
		client, err := Connect(t.Context(), dir)
		if (err == nil) != want || errors.Is(err, ErrNotRunning) {
			t.Errorf("%q: %v", name, err)
		}
		if err == nil {
			client.HTTP.CloseIdleConnections()
		}
	}
}

func TestStaleControl(t *testing.T) {
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := "http://" + l.Addr().String()
	l.Close()
	other := httptest.NewServer(newRig(t))
	defer other.Close()
	hung := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer hung.Close()
	for name, c := range map[string]struct {
		pid   int
		url   string
		stale bool
	}{
		"process gone": {gone.Process.Pid, hung.URL, true}, "no process": {0, hung.URL, true}, "nobody listens": {os.Getpid(), free, true},
		"another collector": {os.Getpid(), other.URL, true}, "does not answer": {os.Getpid(), hung.URL, false},
	} {
		dir := t.TempDir()
		if err := (&Control{URL: c.url, Token: "xjc.x", PID: c.pid}).Write(dir); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		if name == "does not answer" {
			cancel() // stands for the time running out
		}
		if _, err := Connect(ctx, dir); err == nil || errors.Is(err, ErrNotRunning) != c.stale {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, controlFile), []byte(`{"url":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Connect(t.Context(), dir); err == nil || errors.Is(err, ErrNotRunning) {
		t.Errorf("damaged file: %v", err)
	}
}

func TestControlToken(t *testing.T) {
	c := NewControl("", "")
	for token, want := range map[string]bool{c.Token: true, c.Token + "x": false, c.Token[:10]: false, "": false, strings.ToUpper(c.Token): false} {
		if c.Is(token) != want {
			t.Errorf("%q: %v", token, !want)
		}
	}
	if (&Control{}).Is("") {
		t.Error("an empty token opens")
	}
	if NewControl("", "").Token == c.Token {
		t.Error("drawn twice")
	}
}

// The command line without a collector: the same calls, in this process.
func TestDirect(t *testing.T) {
	r := newRig(t)
	id := r.breaks("signature")
	c := &Client{URL: "http://local", HTTP: &http.Client{Transport: Direct(r.Handler, Local())}}
	got, err := c.Ack(t.Context(), id, Act{Person: "root 王"})
	if err != nil || got.AckBy != "root 王" || got.AckVia != "cli" {
		t.Errorf("%+v %v", got, err)
	}
	weak := &Client{URL: "http://local", HTTP: &http.Client{Transport: Direct(r.Handler, access.Identity{Person: "x", Role: access.Viewer})}}
	var e *Error
	if _, err := weak.Note(t.Context(), id, Act{Note: "x"}); !errors.As(err, &e) || e.Status != 403 {
		t.Errorf("viewer: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Status(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
}

func TestClientErrors(t *testing.T) {
	answer := func(status int, body string) *Client {
		return &Client{URL: "http://x", HTTP: &http.Client{Transport: plainly{http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			w.Write([]byte(body))
		})}}}
	}
	for body, want := range map[string]string{
		"<html>bad gateway": "<html>bad gateway", "": "502 Bad Gateway", `{"error":{}}`: `{"error":{}}`, `{"error":{"code":"x","message":"m","field":"f"}}`: "m (f)",
		strings.Repeat("y", 1<<20): strings.Repeat("y", 4096),
	} {
		var e *Error
		if _, err := answer(502, body).Status(t.Context()); !errors.As(err, &e) || e.Error() != want || e.Status != 502 {
			t.Errorf("%.40q: %.80v", body, err)
		}
	}
	if _, err := answer(200, "not JSON").Status(t.Context()); err == nil {
		t.Error("nonsense was taken for a status")
	}
	if _, err := answer(200, strings.Repeat(" ", maxAnswer+1)).Status(t.Context()); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("endless answer: %v", err)
	}
	if _, err := answer(302, "").Status(t.Context()); err == nil {
		t.Error("a redirect was taken for a status")
	}
}

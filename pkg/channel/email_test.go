package channel

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/pem"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/http/httptest"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certified is a certificate for 127.0.0.1 and the file that lets a channel trust it.
func certified(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return server.TLS.Certificates[0], file
}

func plain(line string, ask func(string) string) bool {
	_, token, given := strings.Cut(line, "PLAIN ")
	if !given {
		token = ask("334 ")
	}
	b, _ := base64.StdEncoding.DecodeString(token)
	return string(b) == "\x00ops\x00"+secretWord
}

func loginAuth(_ string, ask func(string) string) bool {
	user, _ := base64.StdEncoding.DecodeString(ask("334 VXNlcm5hbWU6"))
	password, _ := base64.StdEncoding.DecodeString(ask("334 UGFzc3dvcmQ6"))
	return string(user) == "ops" && string(password) == secretWord
}

// Each way to a mail server: STARTTLS, TLS at once, with the ways of logging in that offices have; a server without
// STARTTLS, with a strange certificate or with another password gets no mail.
func TestMailServers(t *testing.T) {
	cert, ca := certified(t)
	cfg := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	wrap := func(c net.Conn) net.Conn { return tls.Server(c, cfg) }
	for name, c := range map[string]struct {
		mail     Mail
		offers   string
		auth     func(string, func(string) string) bool
		implicit bool
		ca       string
		password string
		want     Cause // of the refusal; "" for a yes, "error" for none
	}{
		"starttls plain":    {Mail{}, "AUTH PLAIN LOGIN", plain, false, ca, secretWord, ""},
		"starttls login":    {Mail{Auth: "login"}, "AUTH LOGIN", loginAuth, false, ca, secretWord, ""},
		"login found":       {Mail{Auth: "auto"}, "AUTH LOGIN", loginAuth, false, ca, secretWord, ""},
		"tls":               {Mail{TLS: "tls"}, "AUTH PLAIN", plain, true, ca, secretWord, ""},
		"wrong password":    {Mail{}, "AUTH PLAIN", plain, false, ca, "other-pass", CauseCredentials},
		"strange":           {Mail{}, "AUTH PLAIN", plain, false, "", secretWord, "error"},
		"no starttls there": {Mail{}, "", plain, false, ca, secretWord, "error"},
	} {
		t.Run(name, func(t *testing.T) {
			var m *mailServer
			if c.implicit {
				m = newMailServer(t, wrap)
			} else {
				m = newMailServer(t, nil)
			}
			if c.auth != nil && c.offers != "" {
				m.auth, m.ext = c.auth, []string{c.offers}
				if !c.implicit {
					m.ext, m.begin = append(m.ext, "STARTTLS"), wrap
				}
			}
			c.mail.From = "xunjian@example.org"
			s := Settings{Name: "mail", Kind: "email", Server: m.addr, User: "ops", CAFile: c.ca, Timeout: 5 * time.Second, Mail: &c.mail}
			s.Token.File = secretFile(t, c.password)
			_, err := make1(t, s).Send(t.Context(), contractMessage("k"))
			switch {
			case c.want == "" && (err != nil || len(m.all()) != 1):
				t.Errorf("%v, %d mails", err, len(m.all()))
			case c.want == "error" && (err == nil || RefusalIn(err).Cause != ""), c.want != "" && c.want != "error" && RefusalIn(err).Cause != c.want:
				t.Errorf("%v", err)
			}
			if err != nil && strings.Contains(err.Error(), c.password) {
				t.Errorf("tells %v", err)
			}
		})
	}
}

// A mail has a subject of one line in whatever language, the text both plainly and as HTML with a button, and nothing in an
// incident's text becomes a header, a recipient or an element.
func TestMailForm(t *testing.T) {
	m := newMailServer(t, nil)
	ch := make1(t, Settings{Name: "mail", Kind: "email", Server: m.addr, Timeout: 5 * time.Second, Mail: &Mail{From: "xunjian@example.org", TLS: "none"}})
	sendTo(t, ch, hostileMessage())
	text := m.all()[0]
	recipient, raw, _ := strings.Cut(text, "\n")
	if recipient != "RCPT TO:<zhang@example.org>" {
		t.Errorf("sent to %s", recipient)
	}
	msg, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(msg.Header.Get("Subject"))
	if err != nil || strings.ContainsAny(subject, "\r\n") || !strings.Contains(subject, "Bcc: evil@example.org") {
		t.Errorf("subject %q: %v", subject, err)
	}
	for _, h := range []string{"Bcc", "Cc"} {
		if v := msg.Header.Get(h); v != "" {
			t.Errorf("%s: %s", h, v)
		}
	}
	if msg.Header.Get("Message-Id") == "" || msg.Header.Get("X-Xunjian-Key") != "k-hostile" || msg.Header.Get("Importance") == "" {
		t.Errorf("headers %v", msg.Header)
	}
	parts := partsOf(t, msg)
	if len(parts) != 2 || !strings.Contains(parts[0], "https://ops.example.org/a/x1") {
		t.Fatalf("%d parts", len(parts))
	}
	page := parts[1]
	if strings.Contains(page, "<b>x</b>") || strings.Contains(page, "<at ") || strings.Contains(page, "<img") || strings.Count(page, "<a ") != 1 || !strings.Contains(page, `href="https://ops.example.org/a/x1"`) {
		t.Errorf("page %s", page)
	}
	first := msg.Header.Get("Message-Id")
	again := make1(t, Settings{Name: "mail", Kind: "email", Server: m.addr, Timeout: 5 * time.Second, Mail: &Mail{From: "xunjian@example.org", TLS: "none"}})
	sendTo(t, again, hostileMessage()) // as after a restart
	if _, raw, _ = strings.Cut(m.all()[1], "\n"); !strings.Contains(raw, first) {
		t.Error("a mail that is sent again has another Message-ID")
	}
}

func partsOf(t *testing.T, msg *mail.Message) (out []string) {
	t.Helper()
	kind, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("%s: %v", kind, err)
	}
	r := multipart.NewReader(msg.Body, params["boundary"])
	for {
		p, err := r.NextRawPart()
		if err != nil {
			return out
		}
		var body io.Reader = p
		switch p.Header.Get("Content-Transfer-Encoding") {
		case "quoted-printable":
			body = quotedprintable.NewReader(p)
		case "base64":
			body = base64.NewDecoder(base64.StdEncoding, p)
		}
		b, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(b))
	}
}

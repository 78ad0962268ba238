package channel

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/mail"
	"net/textproto"
	"slices"
	"strconv"
	"strings"

	gomail "github.com/wneessen/go-mail"

	"xunjian/pkg/config"
	"xunjian/pkg/contract"
	"xunjian/pkg/i18n"
)

// Mail is how a mail server is spoken to.
type Mail struct {
	From string `yaml:"from"`
	TLS  string `yaml:"tls,omitempty"`  // starttls (default), tls, none
	Auth string `yaml:"auth,omitempty"` // auto (default when user is given), plain, login, cram-md5, scram-sha-256, none
	Helo string `yaml:"helo,omitempty"` // this host's name; default its own
}

var mailAuths = map[string]gomail.SMTPAuthType{
	"plain": gomail.SMTPAuthPlain, "login": gomail.SMTPAuthLogin, "cram-md5": gomail.SMTPAuthCramMD5,
	"scram-sha-256": gomail.SMTPAuthSCRAMSHA256, "none": gomail.SMTPAuthNoAuth,
}

func validateEmail(s Settings, fail config.Fail) {
	needServer(s, fail, "smtp.example.org:587")
	for i, a := range s.To {
		if !address(a) {
			fail(index("to", i), "%q is no address: write name@example.org", a)
		}
	}
	if s.Mail == nil {
		fail("mail", "missing: give at least from, the sender's address")
		return
	}
	if !address(s.Mail.From) {
		fail("mail.from", "%q is no address: write name@example.org", s.Mail.From)
	}
	if !slices.Contains([]string{"", "starttls", "tls", "none"}, s.Mail.TLS) {
		fail("mail.tls", "%q: want starttls, tls or none", s.Mail.TLS)
	}
	if _, ok := mailAuths[s.Mail.Auth]; s.Mail.Auth != "" && s.Mail.Auth != "auto" && !ok {
		fail("mail.auth", "%q: want auto, plain, login, cram-md5, scram-sha-256 or none", s.Mail.Auth)
	}
	if (s.User == "") != !s.Token.Set() {
		fail("token", "give user and token (the password) together")
	}
	if s.Mail.TLS == "none" && s.User != "" {
		fail("mail.tls", "none, but user is given: a password does not go over an open line")
	}
}

func address(s string) bool {
	a, err := mail.ParseAddress(s)
	return err == nil && a.Name == "" && a.Address == s && !strings.ContainsAny(s, "\r\n<> ")
}

// email hands mails to a server.
type email struct {
	base
	wiring
	host    string
	port    int
	letters letters
}

func newEmail(b base, w wiring) (Channel, error) {
	host, port, err := net.SplitHostPort(b.s.Server)
	if err != nil {
		return nil, fmt.Errorf("channel %s: %w", b.s.Name, err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return nil, fmt.Errorf("channel %s: %w", b.s.Name, err)
	}
	return &email{base: b, wiring: w, host: host, port: n}, nil
}

// Send makes one try for each person, over a connection of its own.
func (e *email) Send(ctx context.Context, m Message) (Receipt, error) {
	to, err := addressees(m, e.s.To, mailOf)
	if err != nil {
		return Receipt{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, e.s.Timeout)
	defer cancel()
	return e.letters.each(ctx, m, to, func(ctx context.Context, a addressee) (Receipt, error) { return e.one(ctx, m, a) })
}

func mailOf(p Person) string {
	if !address(p.Email) {
		return ""
	}
	return p.Email
}

func (e *email) one(ctx context.Context, m Message, to addressee) (Receipt, error) {
	token, err := e.s.token()
	if err != nil {
		return Receipt{}, err
	}
	msg, err := e.compose(m, to)
	if err != nil {
		return Receipt{}, &Refusal{PageOnly: true, Cause: CauseContent, Text: shorten(err.Error())}
	}
	conn, err := e.dial(ctx, "tcp", e.s.Server)
	if err != nil {
		return Receipt{}, err
	}
	defer conn.Close() // the library leaves it open when it does not come as far as the message
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	client, err := e.client(conn, token)
	if err != nil {
		return Receipt{}, fmt.Errorf("mail: %w", err)
	}
	if err := client.DialWithContext(ctx); err != nil {
		return Receipt{}, e.trouble(err, token, false)
	}
	defer client.Close()
	if err := client.Send(msg); err != nil {
		return Receipt{}, e.trouble(err, token, true)
	}
	return Receipt{Answer: to.at + ": " + without(shorten(msg.ServerResponse()), token)}, nil
}

// client is the library's, over a connection that is there already.
func (e *email) client(conn net.Conn, token string) (*gomail.Client, error) {
	cfg := e.tls.Clone()
	cfg.ServerName = e.host
	var over net.Conn = &bounded{conn, maxMailAnswer}
	options := []gomail.Option{gomail.WithPort(e.port), gomail.WithTimeout(e.s.Timeout), gomail.WithTLSConfig(cfg), gomail.WithoutNoop(), gomail.WithTLSPolicy(gomail.TLSMandatory)}
	switch e.s.Mail.TLS {
	case "tls":
		over = tls.Client(over, cfg)
		options = append(options, gomail.WithSSL())
	case "none":
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	}
	options = append(options, gomail.WithDialContextFunc(func(context.Context, string, string) (net.Conn, error) { return over, nil }))
	if e.s.Mail.Helo != "" {
		options = append(options, gomail.WithHELO(e.s.Mail.Helo))
	}
	if e.s.User != "" {
		options = append(options, gomail.WithUsername(e.s.User), gomail.WithPassword(token))
		if kind, ok := mailAuths[e.s.Mail.Auth]; ok {
			options = append(options, gomail.WithSMTPAuth(kind))
		} else {
			options = append(options, gomail.WithOpportunisticSMTPAuth(gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthPlain, gomail.SMTPAuthLogin, gomail.SMTPAuthCramMD5))
		}
	}
	return gomail.NewClient(e.host, options...)
}

const maxMailAnswer = 256 << 10

// bounded is a connection from which only so much is read.
type bounded struct {
	net.Conn
	left int
}

var errTooMuch = errors.New("the server says too much")

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooMuch
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// trouble tells a server's no, by its code, from no answer.
func (e *email) trouble(err error, token string, sending bool) error {
	text := without(shorten(err.Error()), token)
	var send *gomail.SendError
	if errors.As(err, &send) && send.ErrorCode() >= 400 {
		return &Refusal{Text: text, PageOnly: send.ErrorCode() >= 550 && send.ErrorCode() < 560, Cause: mailCause(send.ErrorCode())}
	}
	if code := replyCode(err); code >= 400 {
		return &Refusal{Text: text, Cause: mailCause(code)}
	}
	out := fmt.Errorf("mail: %s", text)
	if sending {
		return &afterSending{out}
	}
	return out
}

func replyCode(err error) int {
	var reply *textproto.Error
	if errors.As(err, &reply) {
		return reply.Code
	}
	return 0
}

// messageID is the same for every try, so that a mailbox may know a duplicate.
func messageID(key, to, from string) string {
	sum := sha256.Sum256([]byte(key + " " + to))
	return hex.EncodeToString(sum[:16]) + from[strings.LastIndex(from, "@"):]
}

func mailCause(code int) Cause {
	switch {
	case code == 421, code == 450, code == 451, code == 452:
		return CauseLimit
	case code == 530, code == 534, code == 535, code == 538:
		return CauseCredentials
	case code >= 550:
		return CauseContent
	}
	return CauseReceiver
}

// compose writes the mail: a subject of one line, the text plain and as simple HTML.
func (e *email) compose(m Message, to addressee) (*gomail.Msg, error) {
	language := e.language(to.Person)
	w, p := e.words(m, language, false), i18n.For(language)
	msg := gomail.NewMsg()
	if err := msg.From(e.s.Mail.From); err != nil {
		return nil, err
	}
	if err := msg.To(to.at); err != nil {
		return nil, err
	}
	msg.Subject(cutBytes(w.Title, 400))
	msg.SetDate()
	msg.SetMessageIDWithValue(messageID(m.Key, to.at, e.s.Mail.From))
	msg.SetGenHeader("X-Xunjian-Key", oneLine(m.Key))
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	if m.Level == contract.Urgent && !m.Resolved {
		msg.SetImportance(gomail.ImportanceUrgent)
	}
	msg.SetBodyString(gomail.TypeTextPlain, w.Text+"\n")
	var page bytes.Buffer
	err := mailPage.Execute(&page, map[string]any{
		"Title": w.Title, "Lines": strings.Split(e.words(m, language, true).Text, "\n"), "Link": oneLine(m.Link), "Button": p.T("channel.ack.button"), "Language": p.Lang,
		"Colour": map[bool]string{true: "#1a7f37", false: mailColours[m.Level]}[m.Resolved],
	})
	if err != nil {
		return nil, err
	}
	msg.AddAlternativeString(gomail.TypeTextHTML, page.String())
	return msg, nil
}

var mailColours = map[contract.Level]string{contract.Urgent: "#b42318", contract.General: "#b54708"}

// mailPage holds nothing that is fetched from anywhere.
var mailPage = template.Must(template.New("mail").Parse(`<!doctype html>
<html lang="{{.Language}}"><meta charset="utf-8"><body style="font-family:sans-serif;line-height:1.6;color:#1f2328">
<h2 style="margin:0 0 12px;font-size:18px;color:{{if .Colour}}{{.Colour}}{{else}}#1f2328{{end}}">{{.Title}}</h2>
<p>{{range $i, $l := .Lines}}{{if $i}}<br>{{end}}{{$l}}{{end}}</p>
{{if .Link}}<p><a href="{{.Link}}" style="display:inline-block;padding:10px 24px;background:#0969da;color:#fff;text-decoration:none;border-radius:6px">{{.Button}}</a></p>{{end}}
</body></html>
`))

package channel

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"  //nolint:gosec // what many gateways' signatures are made of
	"crypto/sha1" //nolint:gosec // the same
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"xunjian/pkg/config"
)

// Gateway is how an operator's HTTP interface wants to be asked for a short message or a call, and what its yes is.
// Placeholders: {phone} {name} {title} {text} {short} {link} {code} {key} {level} {user} {token} {timestamp} {timestamp_ms}
// {nonce} {sign}. Each is escaped as its place needs it, so that no incident's text can become part of the request.
type Gateway struct {
	Method  string            `yaml:"method,omitempty"` // default POST
	Headers map[string]string `yaml:"headers,omitempty"`
	Format  string            `yaml:"format,omitempty"` // of the body: json (default), form, xml, none
	Body    string            `yaml:"body,omitempty"`   // json, xml: with the placeholders within quotes or elements
	Form    map[string]string `yaml:"form,omitempty"`   // form: the fields
	Sign    *Sign             `yaml:"sign,omitempty"`   // what {sign} stands for
	Yes     Yes               `yaml:"yes"`
}

// Sign is a digest over a text with placeholders.
type Sign struct {
	Of string `yaml:"of"` // {user}{token}{timestamp}
	By string `yaml:"by"` // md5, sha1, sha256, hmac-sha1, hmac-sha256; the key of hmac is token
	As string `yaml:"as"` // hex (default), upper, base64
}

// Yes is what makes an answer a yes: all that is given must hold.
type Yes struct {
	Status  []int  `yaml:"status,omitempty"`  // default: 200 to 299
	JSON    string `yaml:"json,omitempty"`    // a path in the answer, as result.0.code
	Equals  string `yaml:"equals,omitempty"`  // what stands there
	Matches string `yaml:"matches,omitempty"` // a regular expression for what stands there; without json for the answer
}

// gateway is an HTTP interface for short messages or calls.
type gateway struct {
	base
	wiring
	g       Gateway
	matches *regexp.Regexp // nil for none
	letters letters
}

func newGateway(b base, w wiring) (Channel, error) {
	g := &gateway{base: b, wiring: w, g: *b.s.Gateway}
	var err error
	if g.g.Yes.Matches != "" {
		g.matches, err = regexp.Compile(g.g.Yes.Matches)
	}
	return g, err
}

var gatewayNames = []string{"phone", "name", "title", "text", "short", "link", "code", "key", "level", "user", "token", "timestamp", "timestamp_ms", "nonce", "sign"}

var digests = map[string]func() hash.Hash{"md5": md5.New, "sha1": sha1.New, "sha256": sha256.New, "hmac-sha1": sha1.New, "hmac-sha256": sha256.New}

func validateGateway(s Settings, fail config.Fail) {
	if !httpURL(placeholder.ReplaceAllString(s.URL, "x"), "http", "https") {
		fail("url", "not a URL of a gateway: write https://host/path")
	}
	knows(fail, "url", s.URL, gatewayNames...)
	for i, n := range s.To {
		if !phone.MatchString(n) {
			fail(index("to", i), "%q is no telephone number: digits, with + before the code of a country", n)
		}
	}
	if s.Gateway == nil {
		fail("gateway", "missing: say how the gateway is asked (body) and what its yes is (yes)")
		return
	}
	s.Gateway.validate(config.Under(fail, "gateway"))
	if g := *s.Gateway; !strings.Contains(s.URL+g.Body+values(g.Form)+values(g.Headers), "{phone}") {
		fail("gateway", "{phone} stands nowhere: whom would it reach?")
	}
}

func (g Gateway) validate(fail config.Fail) {
	if g.Method != "" && !slices.Contains([]string{"GET", "POST", "PUT"}, g.Method) {
		fail("method", "%q: want GET, POST or PUT", g.Method)
	}
	for name, v := range g.Headers {
		knows(fail, "headers."+name, v, gatewayNames...)
		if strings.ContainsAny(name+v, "\r\n") || name == "" {
			fail("headers."+name, "holds a line end")
		}
	}
	for name, v := range g.Form {
		knows(fail, "form."+name, v, gatewayNames...)
	}
	knows(fail, "body", strings.Join(names(g.Body), ""), gatewayNames...)
	if len(g.Body) > maxTemplate {
		fail("body", "longer than %d bytes", maxTemplate)
	}
	switch format := g.format(); {
	case format == "form" && (g.Form == nil || g.Body != ""), format != "form" && g.Form != nil:
		fail("form", "give form (and no body) with format form, else body")
	case !slices.Contains([]string{"json", "form", "xml", "none"}, format):
		fail("format", "%q: want json, form, xml or none", g.Format)
	case format == "json" && !tight(g.Body, jsonEscape, func(b string) bool { return json.Valid([]byte(b)) }):
		fail("body", "is no JSON once the placeholders are filled in: they must stand within quotes")
	case format == "xml" && !tight(g.Body, xmlEscape, wellFormed):
		fail("body", "is no XML once the placeholders are filled in: they must stand in elements or quoted attributes")
	}
	g.Yes.validate(config.Under(fail, "yes"))
	if g.Sign != nil {
		knows(fail, "sign.of", g.Sign.Of, gatewayNames...)
		if digests[g.Sign.By] == nil {
			fail("sign.by", "%q: want md5, sha1, sha256, hmac-sha1 or hmac-sha256", g.Sign.By)
		}
		if !slices.Contains([]string{"", "hex", "upper", "base64"}, g.Sign.As) {
			fail("sign.as", "%q: want hex, upper or base64", g.Sign.As)
		}
	}
}

func (y Yes) validate(fail config.Fail) {
	if y.JSON == "" && y.Matches == "" {
		fail("", "missing: gateways answer 200 when they refuse; say what a yes is, as {json: code, equals: \"0\"} or {matches: '^OK'}")
	}
	if _, err := regexp.Compile(y.Matches); err != nil {
		fail("matches", "%v", err)
	}
	if y.JSON != "" && y.Equals == "" && y.Matches == "" {
		fail("json", "say what stands there: equals or matches")
	}
	if y.JSON == "" && y.Equals != "" {
		fail("equals", "of what? give json, the path")
	}
}

func (g Gateway) format() string {
	if g.Format == "" {
		return "json"
	}
	return g.Format
}

// names are the placeholders in a body of JSON, whose own braces are none.
func names(body string) []string { return placeholder.FindAllString(body, -1) }

func values(m map[string]string) string {
	var all []string
	for _, v := range m {
		all = append(all, v)
	}
	return strings.Join(all, " ")
}

// tight says whether the body keeps its shape whatever is filled in.
func tight(body string, escape func(string) string, valid func(string) bool) bool {
	for _, v := range []string{"1", "", "a\"b\\c\n<d>&'e", "]]>", "{}"} {
		if !valid(placeholder.ReplaceAllLiteralString(body, escape(v))) {
			return false
		}
	}
	return true
}

func wellFormed(s string) bool {
	d, n := xml.NewDecoder(strings.NewReader(s)), 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return n > 0
		}
		if err != nil {
			return false
		}
		if _, ok := token.(xml.StartElement); ok {
			n++
		}
	}
}

func jsonEscape(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return ""
	}
	return string(b[1 : len(b)-1])
}

func xmlEscape(s string) string {
	var b bytes.Buffer
	if err := xml.EscapeText(&b, []byte(s)); err != nil {
		return ""
	}
	return b.String()
}

// Send makes one try for each person.
func (g *gateway) Send(ctx context.Context, m Message) (Receipt, error) {
	to, err := addressees(m, g.s.To, phoneOf)
	if err != nil {
		return Receipt{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, g.s.Timeout)
	defer cancel()
	return g.letters.each(ctx, m, to, func(ctx context.Context, a addressee) (Receipt, error) {
		token, err := g.s.token()
		if err != nil {
			return Receipt{}, err
		}
		ans, err := g.send(ctx, g.s.Timeout, g.fill(m, a, token, time.Now()))
		if err != nil {
			return Receipt{}, err
		}
		return g.judge(ans, token, a.at)
	})
}

// fill makes the request, each value escaped for the place where it stands.
func (g *gateway) fill(m Message, a addressee, token string, now time.Time) request {
	w := g.words(m, g.language(a.Person), false)
	v := map[string]string{
		"phone": a.at, "name": oneLine(a.Name), "title": w.Title, "text": w.Text, "short": w.Short, "link": oneLine(m.Link), "code": oneLine(m.Code), "key": m.Key,
		"level": string(m.Level), "user": g.s.User, "token": token, "timestamp": strconv.FormatInt(now.Unix(), 10), "timestamp_ms": strconv.FormatInt(now.UnixMilli(), 10),
		"nonce": strconv.FormatInt(now.UnixNano(), 36),
	}
	if g.g.Sign != nil {
		v["sign"] = g.g.Sign.make(v)
	}
	r := request{method: g.g.Method, key: m.Key, header: map[string]string{}, url: insert(g.s.URL, v, url.QueryEscape)}
	for name, h := range g.g.Headers {
		r.header[name] = insert(h, v, oneLine)
	}
	switch g.g.format() {
	case "json":
		r.contentType, r.body = "application/json; charset=utf-8", []byte(insert(g.g.Body, v, jsonEscape))
	case "xml":
		r.contentType, r.body = "text/xml; charset=utf-8", []byte(insert(g.g.Body, v, xmlEscape))
	case "form":
		form := url.Values{}
		for name, f := range g.g.Form {
			form.Set(name, insert(f, v, func(s string) string { return s }))
		}
		r.contentType, r.body = "application/x-www-form-urlencoded", []byte(form.Encode())
	}
	return r
}

// insert fills placeholders in once: what is filled in is not looked at again.
func insert(text string, v map[string]string, escape func(string) string) string {
	return placeholder.ReplaceAllStringFunc(text, func(p string) string {
		if s, ok := v[strings.Trim(p, "{}")]; ok {
			return escape(s)
		}
		return p
	})
}

func (s *Sign) make(v map[string]string) string {
	h := digests[s.By]()
	if strings.HasPrefix(s.By, "hmac-") {
		h = hmac.New(digests[s.By], []byte(v["token"]))
	}
	h.Write([]byte(insert(s.Of, v, func(s string) string { return s })))
	sum := h.Sum(nil)
	switch s.As {
	case "base64":
		return base64.StdEncoding.EncodeToString(sum)
	case "upper":
		return strings.ToUpper(hex.EncodeToString(sum))
	}
	return hex.EncodeToString(sum)
}

// judge takes nothing for a yes but what the configuration calls one.
func (g *gateway) judge(a answer, token, number string) (Receipt, error) {
	a.text = strings.ReplaceAll(without(a.text, token), number, maskNumber(number))
	y := g.g.Yes
	if len(y.Status) == 0 || !slices.Contains(y.Status, a.status) {
		if r := a.refused(); r != nil {
			return Receipt{}, r
		}
		if len(y.Status) > 0 {
			return Receipt{}, &Refusal{Status: a.status, Text: a.text, Cause: CauseReceiver}
		}
	}
	said, found := string(a.body), true
	if y.JSON != "" {
		found = gjson.ValidBytes(a.body)
		if found {
			r := gjson.GetBytes(a.body, y.JSON)
			said, found = r.String(), r.Exists()
		}
	}
	switch {
	case !found:
		return Receipt{}, &Refusal{Status: a.status, Text: a.text, Cause: CauseNoVerdict}
	case y.Equals != "" && said != y.Equals, g.matches != nil && !g.matches.MatchString(said):
		return Receipt{}, &Refusal{Status: a.status, Text: a.text, Cause: CauseReceiver}
	}
	return Receipt{Answer: fmt.Sprintf("%s: %s", maskNumber(number), a.text)}, nil
}

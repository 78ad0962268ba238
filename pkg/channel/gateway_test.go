package channel

import (
	"encoding/json"
	"encoding/xml"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/config"
)

// A text that wants to be more than a text stays one, whatever the gateway's form is.
func TestGatewayAgainstHostileTexts(t *testing.T) {
	b := newBase(Settings{Kind: "sms"})
	a := addressee{Person{Name: hostile}, "13800000000"}
	m := hostileMessage()
	now := time.Unix(1_800_000_000, 0)
	want := b.words(m, "", false)
	fill := func(s Settings) request {
		g := &gateway{base: newBase(s), g: *s.Gateway}
		return g.fill(m, a, secretWord, now)
	}
	r := fill(Settings{Kind: "sms", URL: "https://x/{phone}?t={title}&s={short}", User: "u&v=1", Gateway: &Gateway{
		Headers: map[string]string{"X-Title": "{title}", "X-Text": "{text}"}, Body: `{"to":"{phone}","text":"{text}","who":"{name}","user":"{user}"}`,
	}})
	var body struct{ To, Text, Who, User string }
	d := json.NewDecoder(strings.NewReader(string(r.body)))
	d.DisallowUnknownFields()
	if err := d.Decode(&body); err != nil || body.Text != want.Text || body.Who != oneLine(hostile) || body.To != "13800000000" || body.User != "u&v=1" {
		t.Errorf("json: %v, %+v", err, body)
	}
	u, err := url.Parse(r.url)
	if err != nil || u.Query().Get("t") != want.Title || u.Query().Get("s") != want.Short || len(u.Query()) != 2 {
		t.Errorf("url %s: %v", r.url, err)
	}
	for name, h := range r.header {
		if strings.ContainsAny(h, "\r\n\x00") {
			t.Errorf("header %s: %q", name, h)
		}
	}
	r = fill(Settings{Kind: "sms", URL: "https://x/", Gateway: &Gateway{Format: "xml", Body: `<sms to="{phone}"><t a='{title}'>{text}</t></sms>`}})
	var x struct {
		To string `xml:"to,attr"`
		T  struct {
			A    string `xml:"a,attr"`
			Text string `xml:",chardata"`
			More []struct {
				XMLName xml.Name
			} `xml:",any"`
		} `xml:"t"`
	}
	if err := xml.Unmarshal(r.body, &x); err != nil || x.T.Text != want.Text || x.T.A != want.Title || len(x.T.More) > 0 {
		t.Errorf("xml: %v, %+v in %s", err, x, r.body)
	}
	r = fill(Settings{Kind: "sms", URL: "https://x/", Gateway: &Gateway{Format: "form", Form: map[string]string{"to": "{phone}", "text": "{text}"}}})
	form, err := url.ParseQuery(string(r.body))
	if err != nil || form.Get("text") != want.Text || len(form) != 2 {
		t.Errorf("form: %v, %v", err, form)
	}
}

// Bodies in which a text could break out are refused when the configuration is read.
func TestLooseBodiesAreRefused(t *testing.T) {
	f := func(format, body string, good bool) {
		t.Helper()
		bad := 0
		Gateway{Format: format, Body: body, Yes: Yes{Matches: "OK"}}.validate(func(path, format string, args ...any) { bad++ })
		if (bad == 0) != good {
			t.Errorf("%s %s: %d faults", format, body, bad)
		}
	}
	f("json", `{"a":"{phone}"}`, true)
	f("json", `{"a":{phone}}`, false)
	f("json", `{"a":"x"} {phone}`, false)
	f("json", `{"a":"{phone}","{name}":1}`, true)
	f("json", `{"a":"{phone}"`, false)
	f("json", ``, false)
	f("xml", `<a b="{phone}">{short}</a>`, true)
	f("xml", `<a b={phone}/>`, false)
	f("xml", `<a><{name}/></a>`, false)
	f("xml", `<a>{short}`, false)
	f("xml", `{short}`, false)
	f("none", ``, true)
	f("yaml", `a: {phone}`, false)
}

// What counts as a yes.
func TestGatewayYes(t *testing.T) {
	f := func(y Yes, status int, body string, want Cause) {
		t.Helper()
		s := Settings{Name: "s", Kind: "sms", URL: "https://x/{phone}", Gateway: &Gateway{Format: "none", Yes: y}}
		ch := make1(t, s).(*gateway)
		_, err := ch.judge(answer{status, []byte(body), shorten(body), http.Header{}, time.Now()}, secretWord, "13800000000")
		if r := RefusalIn(err); r.Cause != want || (err == nil) != (want == "") {
			t.Errorf("%+v %d %s: %v", y, status, body, err)
		}
		if err != nil && (strings.Contains(err.Error(), "13800000000") || strings.Contains(err.Error(), secretWord)) {
			t.Errorf("tells %v", err)
		}
	}
	code := Yes{JSON: "result.code", Equals: "0"}
	f(code, 200, `{"result":{"code":0}}`, "")
	f(code, 200, `{"result":{"code":"0"}}`, "")
	f(code, 200, `{"result":{"code":1,"mobile":"13800000000","token":"geheim-1"}}`, CauseReceiver)
	f(code, 200, `{"result":{}}`, CauseNoVerdict)
	f(code, 200, `<html>0</html>`, CauseNoVerdict)
	f(code, 200, ``, CauseNoVerdict)
	f(code, 500, `{"result":{"code":0}}`, CauseReceiver)
	f(code, 401, `{"result":{"code":0}}`, CauseCredentials)
	f(code, 302, ``, CauseRedirect)
	f(Yes{Matches: `^(OK|\d{6,})`}, 200, "OK 1", "")
	f(Yes{Matches: `^(OK|\d{6,})`}, 200, "123456", "")
	f(Yes{Matches: `^(OK|\d{6,})`}, 200, "-1", CauseReceiver)
	f(Yes{JSON: "id", Matches: `.`}, 200, `{"id":"x"}`, "")
	f(Yes{JSON: "id", Matches: `.`}, 200, `{"id":""}`, CauseReceiver)
	f(Yes{Status: []int{201}, Matches: "OK"}, 200, "OK", CauseReceiver)
	f(Yes{Status: []int{404}, Matches: "OK"}, 404, "OK", "")
}

// The signatures that operators want, against sums worked out with openssl.
func TestGatewaySign(t *testing.T) {
	v := map[string]string{"user": "u", "token": "k", "timestamp": "1"}
	sign := Sign{Of: "{user}{token}{timestamp}", By: "md5"}
	if got := sign.make(v); got != "555dd78ef27adafc0bb33a9782945995" { // printf uk1 | openssl dgst -md5
		t.Errorf("md5: %s", got)
	}
	for _, s := range []Sign{{"{user}", "sha256", "hex"}, {"{user}", "hmac-sha256", "base64"}, {"{user}", "hmac-sha1", "upper"}, {"{user}", "sha1", ""}} {
		if s.make(v) == "" || s.make(v) == s.make(map[string]string{"user": "w", "token": "k"}) {
			t.Errorf("%+v", s)
		}
	}
}

// One wrong number keeps a message from nobody else, and those who have got it do not get it again.
func TestSeveralPeople(t *testing.T) {
	count := map[string]int{}
	healed := false
	server := newCounting(t, func(w http.ResponseWriter, r *http.Request) {
		n := r.URL.Query().Get("to")
		count[n]++
		if n == "13800000002" && !healed {
			w.Write([]byte("NO"))
			return
		}
		w.Write([]byte("OK"))
	})
	ch := make1(t, Settings{Name: "s", Kind: "sms", URL: server + "/?to={phone}", Gateway: &Gateway{Format: "none", Yes: Yes{Matches: "^OK"}}, To: []string{"13800000009"}})
	m := contractMessage("k")
	m.To = []Person{{Name: "a", Phone: "138 0000 0001"}, {Name: "b", Phone: "13800000002"}, {Name: "c", Phone: "13800000003"}, {Name: "d"}}
	if _, err := ch.Send(t.Context(), m); err == nil {
		t.Error("one was not reached, and it is a yes")
	}
	healed = true
	if _, err := ch.Send(t.Context(), m); err != nil {
		t.Error(err)
	}
	if count["13800000001"] != 1 || count["13800000002"] != 2 || count["13800000003"] != 1 || count["13800000009"] != 0 {
		t.Errorf("%v", count)
	}
	m.Key, m.To = "k2", []Person{{Name: "d"}}
	if _, err := ch.Send(t.Context(), m); err != nil || count["13800000009"] != 1 {
		t.Errorf("where nobody named has a number, the configured ones are reached: %v %v", err, count)
	}
	none := make1(t, Settings{Name: "s", Kind: "sms", URL: server + "/?to={phone}", Gateway: &Gateway{Format: "none", Yes: Yes{Matches: "^OK"}}})
	if _, err := none.Send(t.Context(), m); RefusalIn(err).Cause != CauseNobody || !RefusalIn(err).PageOnly {
		t.Errorf("nobody: %v", err)
	}
}

// Whatever is configured and whatever comes, a request keeps its form.
func FuzzGateway(f *testing.F) {
	f.Add(`{"to":"{phone}","text":"{text}"}`, hostile, `{"code":0}`)
	f.Add(`<a b="{phone}">{text}</a>`, "]]>", "OK")
	f.Add("{phone}{", "{token}", "\xff")
	f.Fuzz(func(t *testing.T, body, text, said string) {
		for _, format := range []string{"json", "xml"} {
			bad := false
			g := Gateway{Format: format, Body: body, Yes: Yes{JSON: "code", Equals: "0"}}
			g.validate(func(string, string, ...any) { bad = true })
			s := Settings{Name: "s", Kind: "sms", URL: "https://x/{phone}", Gateway: &g, Token: config.Secret{}}
			ch := &gateway{base: newBase(s), g: g}
			r := ch.fill(Message{Key: "k", Title: text, Text: text, Short: text}, addressee{Person{Name: text}, "13800000000"}, "secret", time.Unix(0, 0))
			if !bad && (format == "json" && !json.Valid(r.body) || format == "xml" && !wellFormed(string(r.body))) {
				t.Errorf("%s became %s", body, r.body)
			}
			if _, err := ch.judge(answer{200, []byte(said), shorten(said), http.Header{}, time.Unix(0, 0)}, "secret", "13800000000"); err != nil && strings.ContainsAny(err.Error(), "\r\n\x00") {
				t.Errorf("%q", err)
			}
		}
	})
}

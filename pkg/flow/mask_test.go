package flow

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/check"
)

// hard is a password with characters that everybody escapes in another way.
const hard = `P@s,w/o "r&d<中é+=;?#1x`

// A service may send back what it was given in any form: none of them is shown.
func TestMaskKnowsEveryForm(t *testing.T) {
	m := &Mask{}
	m.Add(hard)
	raw := []byte(hard)
	ascii := ""
	numbers := ""
	for _, r := range hard {
		numbers += fmt.Sprintf("&#%d;", r)
		if r < 0x80 {
			ascii += string(r)
		} else {
			ascii += fmt.Sprintf(`\u%04x`, r)
		}
	}
	quoted, _ := json.Marshal(hard)
	for name, form := range map[string]string{
		"as it is":         hard,
		"query":            url.QueryEscape(hard),
		"path segment":     url.PathEscape(hard),
		"path":             (&url.URL{Path: hard}).EscapedPath(),
		"small digits":     strings.NewReplacer("%2C", "%2c", "%2F", "%2f", "%2B", "%2b").Replace(url.QueryEscape(hard)),
		"twice":            url.QueryEscape(url.QueryEscape(hard)),
		"JSON":             string(quoted),
		"ASCII JSON":       strings.ReplaceAll(ascii, `"`, `\"`),
		"slashes, too":     strings.NewReplacer(`"`, `\"`, "/", `\/`).Replace(ascii),
		"JSON in JSON":     strings.ReplaceAll(strings.ReplaceAll(ascii, `\`, `\\`), `"`, `\\\"`),
		"HTML":             html.EscapeString(hard),
		"HTML in numbers":  numbers,
		"Go":               fmt.Sprintf("%+q", hard),
		"base64":           base64.StdEncoding.EncodeToString(raw),
		"base64 for URLs":  base64.RawURLEncoding.EncodeToString(raw),
		"after one byte":   base64.StdEncoding.EncodeToString(append([]byte("x"), raw...)),
		"basic":            base64.StdEncoding.EncodeToString([]byte("u:" + hard + ":x")),
		"hex":              hex.EncodeToString(raw),
		"HEX":              strings.ToUpper(hex.EncodeToString(raw)),
		"cut":              check.Clip(strings.Repeat("x", 20)+hard, 33),
		"cut, quoted":      fmt.Sprintf("%q", check.Clip(strings.Repeat("x", 20)+hard, 36)),
		"cut in an escape": check.Clip("x"+url.QueryEscape(hard), 14),
	} {
		shown := m.Hide("before " + form + " after")
		if !strings.HasPrefix(shown, "before ") || !strings.HasSuffix(shown, " after") || !strings.Contains(shown, masked) || len(shown) > len("before  after")+35 {
			t.Errorf("%s: %s is shown as %s", name, form, shown)
		}
		for _, part := range []string{"P@s", "P%40s", "80;&#64", "UEBz", "BAcyx3", "Ps,", "5040", "r&d"} {
			if strings.Contains(shown, part) {
				t.Errorf("%s: %s is shown as %s", name, form, shown)
			}
		}
	}
	for _, plain := range []string{"100% of 7+1 &amp; more", `C:\new\table`, "a … b", "%zz \\u12 &nope;"} {
		if shown := m.Hide(plain); shown != plain {
			t.Errorf("%q, which holds no secret, is shown as %q", plain, shown)
		}
	}
	m.Add("P@s")
	if shown := m.Hide(url.QueryEscape(hard)); shown != masked {
		t.Errorf("a secret that begins with another one is shown as %s", shown)
	}
}

// What is shown in full by hand costs a moment, whatever came back.
func TestMaskIsCheap(t *testing.T) {
	m := &Mask{}
	for i := range 200 {
		m.Add(fmt.Sprintf("secret-number-%d-%s", i, strings.Repeat("x", 64)))
	}
	for _, unit := range []string{"%41%42+&amp;\\u0041", "…", "%2525252525", "secret-number-1…", "&#", "\\u", "ordinary text "} {
		text := strings.Repeat(unit, 1<<20/len(unit))
		start := time.Now()
		m.clip(guarded(text), maxSeen)
		if took := time.Since(start); took > margin {
			t.Errorf("%q: %v", unit, took)
		}
	}
}

// Where answers lead, and what they hold, may open doors although no secret of the check's is in it.
func TestDoorsAreNotShown(t *testing.T) {
	base := serve(t, map[string]http.HandlerFunc{
		"/cas": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Refresh", "3; url=/x?token=of-refresh")
			http.Redirect(w, r, "/sso;jsessionid=of-path?ticket=ST-of-location&code=of-oauth&page=2", http.StatusFound)
		},
		"/":      func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, `at /?%s`, r.URL.RawQuery) },
		"/token": says("application/json", `{"access_token":"of-json","pin":4711,"next":"/y?token=of-link"}`),
		"/body":  func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) },
	})
	p := program(t, base, `
  steps:
    - {name: follow, request: {url: /cas}, extract: {here: {url: true}}, expect: [{url: true, match: nowhere}]}
    - {name: stay, request: {url: /cas, redirects: 0}, expect: [{status: [302]}, {header: Location, match: nowhere}], extract: {there: {header: Location}}}
    - {name: late, request: {url: /cas, redirects: 0}, expect: [{status: [302]}, {match: nowhere}], extract: {ticket: {header: Location, secret: true}}}
    - {name: status, request: {url: /token}, expect: [{status: [201]}], extract: {next: {json: next}}}
    - {name: words, request: {url: /token}, expect: [{refuse: '.*'}]}
    - {name: sent, request: {url: /body, json: '{"pin": 4711, "token": "of-request"}'}}
    - {name: address, request: {url: "ftp://h/?token=of-address"}}
`)
	c := call
	c.Secrets = map[string]string{"password": "4711"}
	var told strings.Builder
	c.Trace = func(e Event) {
		fmt.Fprintf(&told, "%+v %v\n", e.Result, e.Values)
		for _, x := range e.Exchanges {
			fmt.Fprintf(&told, "%+v\n", x)
			if x.Answer != nil {
				fmt.Fprintf(&told, "%v %s\n", x.Answer.Header, x.Answer.Body)
			}
		}
	}
	r := p.Run(t.Context(), c)
	all := told.String() + fmt.Sprintf("%+v %s", r.Steps, r.Reason)
	if at := strings.Index(all, "of-"); at >= 0 {
		t.Errorf("…%s… is shown in\n%s", all[max(0, at-60):min(len(all), at+20)], all)
	}
	if strings.Contains(all, "4711") || !strings.Contains(all, "page=2") {
		t.Errorf("a secret is shown, or what is none is not:\n%s", all)
	}
}

// A secret that is longer than what is shown of a text is not shown by half.
func TestHalfASecretIsNotShown(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 20)
	base := serve(t, map[string]http.HandlerFunc{
		"/words": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, strings.Repeat("x", 100)+long, http.StatusTeapot)
		},
		"/away": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/a/"+long, http.StatusFound) },
	})
	c := call
	c.Secrets = map[string]string{"password": long}
	for _, step := range []string{`{url: /words}`, `{url: /away, redirects: 0}`, `{url: "ftp://{{ secrets.password }}"}`, `{url: "http://{{ secrets.password }}.example.invalid/"}`} {
		r := program(t, base, "  steps:\n    - {name: it, request: "+step+"}\n").Run(t.Context(), c)
		if r.Reason == "" || strings.Contains(r.Reason, "0123") {
			t.Errorf("%s: %s", step, r.Reason)
		}
	}
}

func FuzzMask(f *testing.F) {
	f.Add("geheim-wort", "a %67eheim-wort b")
	f.Add(hard, url.QueryEscape(hard)+"…")
	f.Add("a+b%41", `\u0061&#43;b…`)
	f.Fuzz(func(t *testing.T, secret, text string) {
		if len(secret) < 8 || len(secret) > 64 || len(text) > 4096 {
			return
		}
		m := &Mask{}
		m.Add(secret)
		for _, s := range []string{text, text + secret, text + url.QueryEscape(secret), text + fmt.Sprintf("%q", secret)} {
			if shown := m.Hide(s); strings.Contains(shown, secret) && !strings.Contains(masked, secret) {
				t.Errorf("%q is shown in %q as %q", secret, s, shown)
			}
		}
		u := unescape(text)
		for i := range u.text {
			if u.from[i] < 0 || u.from[i] >= u.to[i] || u.to[i] > len(text) || i > 0 && u.from[i] < u.from[i-1] {
				t.Fatalf("byte %d of %q stands at %d to %d", i, text, u.from[i], u.to[i])
			}
		}
	})
}

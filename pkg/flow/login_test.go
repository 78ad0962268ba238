package flow

import (
	"bytes"
	"net/url"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/check"
)

// margin is what a busy machine may take over a bound.
const margin = 3 * time.Second

func TestLoginURLs(t *testing.T) {
	tests := map[string]bool{
		"/cas/login?service=https%3A%2F%2Foa.example%2F":        true,
		"https://sso.fujian.example.cn/":                        true,
		"https://login.example.com/x":                           true,
		"https://h/userLogin.do":                                true,
		"/weblogin.action":                                      true,
		"/#/login":                                              true,
		"/sign-in":                                              true,
		"https://h/oauth2/authorize?client_id=x":                true,
		"https://h/go?client_id=x&redirect_uri=https%3A%2F%2Fh": true,
		"https://idp.example/SSO?SAMLRequest=abc":               true,
		"/用户登录":                                                 true,
		"https://h/%E7%99%BB%E5%BD%95":                          true,
		"":                                                      false,
		"/":                                                     false,
		"https://h/index.html":                                  false,
		"/plugin/casual/blogs":                                  false,
		"/bloginfo":                                             false,
		"/castle":                                               false,
		"/api/auth/token":                                       false,
		"https://h/?next=/login":                                false,
		"https://logins.example.com/":                           false,
		"login.html":                                            true,
		"http://[::1/login":                                     false,
		"https://cas/app":                                       false,
		"https://auth.example.com:8443/realms/x/protocol/openid-connect/auth?state=123": true,
	}
	tests["/login?"+strings.Repeat("a", maxLocation)] = false
	for location, want := range tests {
		if got := LoginURL(location); got != want {
			t.Errorf("%.80q leads to a login: %v, want %v", location, got, want)
		}
	}
}

func TestLoginPages(t *testing.T) {
	long := strings.Repeat("<p>text</p>", 1000)
	tests := map[string]struct {
		kind, page string
		want       bool
	}{
		"form":                     {"text/html", `<form><input type="password"></form>`, true},
		"form without quotes":      {"text/html; charset=gbk", `<INPUT name=p TYPE = password>`, true},
		"title":                    {"text/html", "<html><title>\n统一身份认证平台</title><div id=app></div>", true},
		"English title":            {"text/html", "<title>Sign in to Portal</title>", true},
		"script leaves":            {"text/html", `<script>window.location.href="/cas/login?service=x"</script>`, true},
		"refresh leaves":           {"text/html", `<meta http-equiv="refresh" content="0; url=https://sso.example.cn/">`, true},
		"no type, but a page":      {"", ` <!doctype html><input type=password>`, true},
		"home page":                {"text/html", "<title>协同办公平台</title><a href=/login>登录</a>", false},
		"script leaves for home":   {"text/html", `<script>location.href="/home"</script>`, false},
		"long page with such link": {"text/html", long + `<script>function out(){location.href="/login"}</script>`, false},
		"JSON":                     {"application/json", `{"html":"<input type=password>"}`, false},
		"plain":                    {"text/plain", `<input type=password>`, false},
		"no type, no page":         {"", `true`, false},
		"empty":                    {"text/html", "", false},
		"other input":              {"text/html", `<input type="text" name="password">`, false},
		"beyond what is looked at": {"text/html", strings.Repeat(" ", MaxPage) + `<input type=password>`, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := LoginPage(tc.kind, []byte(tc.page)); got != tc.want {
				t.Errorf("login page: %v, want %v", got, tc.want)
			}
		})
	}
}

// Pages are made to be slow to look at; a page costs milliseconds, not a probe's timeout.
func TestHostilePagesAreCheap(t *testing.T) {
	for _, unit := range []string{"<input ", "<title>", "<input type", "<", "<p>ordinary text</p>\n", "<title><title 登"} {
		page := []byte(strings.Repeat(unit, MaxPage/len(unit)))
		start := time.Now()
		LoginPage("text/html", page)
		if took := time.Since(start); took > margin {
			t.Errorf("%q: %v", unit, took)
		}
	}
	forward := []byte(strings.Repeat("location.href=", maxForward/14))
	start := time.Now()
	LoginPage("text/html", forward)
	if took := time.Since(start); took > margin {
		t.Errorf("forward: %v", took)
	}
}

func FuzzLoginPage(f *testing.F) {
	for _, s := range []string{`<form><input type="password">`, `<title>登录</title>`, `<script>location.href='/login'`, `<input <input type=`, "\xff<"} {
		f.Add("text/html", []byte(s))
	}
	f.Fuzz(func(t *testing.T, kind string, page []byte) {
		found := LoginPage(kind, page)
		if found && !isHTML(kind, page) {
			t.Error("a login page that is no page")
		}
		// What follows the page does not change a form that is already there.
		if found && asksForPassword(page) && !bytes.Contains(page[max(0, len(page)-maxTag):], []byte("<")) && len(page) < MaxPage && !LoginPage(kind, append(page, " <p>x</p>"...)) {
			t.Error("a form is lost when the page goes on")
		}
	})
}

func FuzzLocation(f *testing.F) {
	for _, s := range []string{"/cas/login?a=b", "https://u:p@sso.h/;x?y#z", "//h/%zz", "\x00", "https://[::1]:99/登录"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, location string) {
		if LoginURL(location) {
			if _, err := url.Parse(strings.TrimSpace(location)); err != nil {
				t.Error("an unreadable Location leads nowhere")
			}
		}
		if shown := shortURL(location); len(shown) > maxSeen || check.Clip(shown, maxSeen) != shown {
			t.Errorf("%q is shown as %q", location, shown)
		}
	})
}

func FuzzValidJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,"]"]}`, `"\"`, `[[[[`, `{"a":"\\"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if ValidJSON(body) == nil && depth(body) > maxDepth {
			t.Error("too deep, yet valid")
		}
	})
}

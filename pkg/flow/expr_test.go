package flow

import (
	"fmt"
	"strings"
	"testing"

	"xunjian/pkg/check"
)

func TestExpressions(t *testing.T) {
	s := newScope(map[string]string{"password": "Geheim 1&2"})
	for name, v := range map[string]string{"user": "jiance01", "empty": "", "list": `{"rows":[{"id":"7"}]}`} {
		if err := s.set(name, value{text: v}); err != nil {
			t.Fatal(err)
		}
	}
	f := func(text, want string, secret bool) {
		t.Helper()
		parsed, err := parseText(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			return
		}
		got, err := s.work(parsed)
		if err != nil || got.text != want || got.secret != secret {
			t.Errorf("%s = %q %v %v, want %q %v", text, got.text, got.secret, err, want, secret)
		}
	}
	f("plain", "plain", false)
	f("", "", false)
	f("{{user}}@{{ user }}", "jiance01@jiance01", false)
	f("{{ empty }}", "", false)
	f(`{{ "a }} \"b\" \\ \n" }}`, "a }} \"b\" \\ \n", false)
	f("{{ 42 }}", "42", false)
	f("{{ secrets.password }}", "Geheim 1&2", true)
	f("p={{ url(secrets.password) }}&x={{ user }}", "p=Geheim+1%262&x=jiance01", true)
	f("{{ md5('') }}", "d41d8cd98f00b204e9800998ecf8427e", false)
	f("{{ sha1('abc') }}", "a9993e364706816aba3e25717850c26c9cd0d89d", false)
	f("{{ sha256('abc') }}", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", false)
	// GB/T 32905-2016, example 1.
	f("{{ sm3('abc') }}", "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0", false)
	// RFC 4231, case 2.
	f("{{ hmac('sha256', 'Jefe', 'what do ya want for nothing?') }}", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843", false)
	f("{{ base64(concat(user, ':', 'x')) }}", "amlhbmNlMDE6eA==", false)
	f("{{ unbase64('amlhbmNlMDE6eA') }}", "jiance01:x", false)
	f("{{ base64url(unhex('fbff')) }}", "-_8", false)
	f("{{ hex(upper('az')) }}", "415a", false)
	f(`{{ json('a"<b>') }}`, `"a\"<b>"`, false)
	f("{{ pick(list, 'rows.0.id') }}", "7", false)
	f("{{ replace('a-b-c', '-', '+') }}", "a+b+c", false)
	f("{{ query('https://h/cb?code=1%202&state=s', 'code') }}", "1 2", false)
	f("{{ query('https://h/cb#code=9', 'code') }}", "9", false)
	// GB/T 32907-2016, example 1, without its padding block.
	if got, _ := sm4Encrypt([]string{"0123456789abcdeffedcba9876543210", "\x01\x23\x45\x67\x89\xab\xcd\xef\xfe\xdc\xba\x98\x76\x54\x32\x10"}); !strings.HasPrefix(got, "681edf34d206965e86b3e94f536e4246") {
		t.Errorf("sm4: %s", got)
	}
}

func TestExpressionFaults(t *testing.T) {
	deep := strings.Repeat("md5(", maxNest+2) + "'x'" + strings.Repeat(")", maxNest+2)
	for text, want := range map[string]string{
		"{{":                              "ends within",
		"{{ user":                         "want }}",
		"{{ user }":                       "want }}",
		"{{ 'user }}":                     "does not end",
		"{{ $x }}":                        "want a name",
		"{{ system('rm') }}":              `no function "system"`,
		"{{ md5() }}":                     "want md5(text)",
		"{{ md5('a' 'b') }}":              "want , or )",
		"{{ md5('a'":                      "want , or )",
		"{{ user user }}":                 "want }}",
		"{{" + deep + "}}":                "too large",
		strings.Repeat("{{ user }}", 300): "too large",
	} {
		if _, err := parseText(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v, want …%s…", text, err, want)
		}
	}
}

// What cannot be worked out is told without the secret that it was to be worked out of.
func TestEvaluationFaults(t *testing.T) {
	s := newScope(map[string]string{"password": "Geheim-Geheim-Geheim-Geheim"})
	for text, want := range map[string]string{
		"{{ nobody }}":                         "nobody has no value",
		"{{ unhex('xy') }}":                    "unhex",
		"{{ sm2_encrypt('00', 'x') }}":         "no point of the SM2 curve",
		"{{ sm4('00', 'x') }}":                 "want 32 hex digits",
		"{{ rsa('AAAA', 'x') }}":               "cannot be read",
		"{{ totp('not base32!') }}":            "not base32",
		"{{ now('rfc3339', 'gestern') }}":      "want one as -24h",
		"{{ hmac('crc', 'k', 't') }}":          "want one of md5",
		"{{ nonce(1) }}":                       "want 4 to 128",
		"{{ now(secrets.password, 'x') }}":     "not shown",
		"{{ hmac(secrets.password, '', '') }}": "not shown",
	} {
		parsed, err := parseText(text)
		if err != nil {
			t.Fatal(text, err)
		}
		if _, err = s.work(parsed); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "Geheim") {
			t.Errorf("%s: %v, want …%s…", text, err, want)
		}
	}
	big := strings.Repeat("x", maxValue/2+1)
	if err := s.set("big", value{text: big}); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"{{ big }}{{ big }}", "{{ concat(big, big) }}", "{{ replace(big, 'x', 'yy') }}", "{{ hex(big) }}"} {
		parsed, _ := parseText(text)
		if v, err := s.work(parsed); err == nil && len(v.text) > maxValue {
			t.Errorf("%s gave %d bytes", text, len(v.text))
		}
	}
}

func TestMask(t *testing.T) {
	m := &Mask{}
	m.Add(`Pass"w<rd 1`)
	m.Add("Pass")
	for _, shown := range []string{`x Pass"w<rd 1 y`, "Pass%22w%3Crd+1", `Pass\"w<rd 1`, "Pass&#34;w&lt;rd 1"} {
		if got := m.Hide(shown); strings.Contains(got, "w") || strings.Contains(got, "Pass") {
			t.Errorf("%s is shown as %s", shown, got)
		}
	}
	long := strings.Repeat("a", maxSeen-3) + `Pass"w<rd 1`
	if got := m.clip(long, maxSeen); strings.Contains(got, "Pas") {
		t.Errorf("half a secret: %s", got)
	}
}

func TestValidate(t *testing.T) {
	spec := func(f check.Flow) check.Spec {
		return check.Spec{Name: "c", Service: "s", Kind: "flow", Target: "https://oa.example.org", Every: 300e9, Secrets: map[string]check.Ref{"password": {Env: "XUNJIAN_P"}}, Flow: &f}
	}
	step := check.FlowStep{Name: "a", Request: check.FlowRequest{URL: "/"}}
	with := func(change func(*check.FlowStep)) check.Flow {
		s := step
		change(&s)
		return check.Flow{Steps: []check.FlowStep{s}}
	}
	for want, f := range map[string]check.Flow{
		"":                                      {Vars: map[string]string{"a": "{{ b }}{{ target }}", "b": "{{ nonce() }}"}, Steps: []check.FlowStep{step}},
		"flow.steps: missing":                   {},
		"flow.vars: a, b refer to each other":   {Vars: map[string]string{"a": "{{ b }}", "b": "{{ a }}"}, Steps: []check.FlowStep{step}},
		"flow.vars.a: nothing gives zz a value": {Vars: map[string]string{"a": "{{ zz }}"}, Steps: []check.FlowStep{step}},
		"flow.steps[1].name: \"a\": another step":        {Steps: []check.FlowStep{step, step}},
		"flow.steps[0].request.url: nothing gives nope":  with(func(s *check.FlowStep) { s.Request.URL = "/{{ nope }}" }),
		"has no secret other: add it":                    with(func(s *check.FlowStep) { s.Request.Body = "{{ secrets.other }}" }),
		`no function "exec"`:                             with(func(s *check.FlowStep) { s.Request.Form = map[string]string{"x": "{{ exec('ls') }}"} }),
		"flow.steps[0].expect[0]: asserts nothing":       with(func(s *check.FlowStep) { s.Expect = []check.FlowExpect{{JSON: "a"}} }),
		"flow.steps[0].expect[0]: names 2 of":            with(func(s *check.FlowStep) { s.Expect = []check.FlowExpect{{JSON: "a", Header: "B", Exists: true}} }),
		"flow.steps[0].expect[0].match":                  with(func(s *check.FlowStep) { s.Expect = []check.FlowExpect{{Match: "("}} }),
		"flow.steps[0].expect[0].xml":                    with(func(s *check.FlowStep) { s.Expect = []check.FlowExpect{{XML: "a[b]", Exists: true}} }),
		"flow.steps[0].extract.x: names 0 of":            with(func(s *check.FlowStep) { s.Extract = map[string]check.Extract{"x": {}} }),
		"flow.steps[0].extract.x.regexp: has no group":   with(func(s *check.FlowStep) { s.Extract = map[string]check.Extract{"x": {Regexp: "a"}} }),
		"cannot be a variable":                           with(func(s *check.FlowStep) { s.Extract = map[string]check.Extract{"Secrets": {Body: true}} }),
		"flow.steps[0].request: more than one of body":   with(func(s *check.FlowStep) { s.Request.Body, s.Request.JSON = "a", "{}" }),
		"flow.steps[0].request.redirects: 11":            with(func(s *check.FlowStep) { s.Request.Redirect = new(11) }),
		"flow.steps[0].refused: tells a refused login":   with(func(s *check.FlowStep) { s.Refused = "x" }),
		"flow.steps[0].slow: 2s":                         with(func(s *check.FlowStep) { s.Slow, s.Timeout = 2e9, 1e9 }),
		"flow.steps[0].expect[0].warn: warns of nothing": with(func(s *check.FlowStep) { s.Expect = []check.FlowExpect{{JSON: "a", Warn: &check.Limits{Name: "l"}}} }),
		"only a value can be looked at":                  with(func(s *check.FlowStep) { s.Request.URL = ""; s.Expect = []check.FlowExpect{{JSON: "a", Exists: true}} }),
	} {
		var faults []string
		fail := func(path, format string, args ...any) {
			faults = append(faults, path+": "+fmt.Sprintf(format, args...))
		}
		s := spec(f)
		s.Validate(fail)
		Validate(s, fail)
		all := strings.Join(faults, "\n")
		if want == "" && all != "" || !strings.Contains(all, want) {
			t.Errorf("got %q, want …%s…", all, want)
		}
	}
}

func FuzzExpression(f *testing.F) {
	for _, s := range []string{"{{ md5('a') }}", "a{{b}}c", "{{ 'x\\'' }}", "{{ concat(a, \"}}\", 1) }}", "{{ sm2_encrypt(a, b, 'c1c2c3', '') }}", "{{", "{{ now('yyyy', '-1h', 'UTC') }}", "{{ json(pick(a, '#')) }}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		parsed, err := parseText(s)
		if err != nil || len(s) > 4096 {
			return
		}
		scope := newScope(map[string]string{"p": "geheim-geheim"})
		_ = scope.set("a", value{text: `{"a":[1]}`})
		v, err := scope.work(parsed)
		if err == nil && len(v.text) > maxValue {
			t.Error("too long")
		}
		if err != nil && strings.Contains(err.Error(), "geheim") {
			t.Errorf("%q tells the secret: %v", s, err)
		}
		if !strings.Contains(s, "{{") && v.text != s {
			t.Errorf("%q became %q", s, v.text)
		}
	})
}

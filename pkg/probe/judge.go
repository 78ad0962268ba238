package probe

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unsafe"

	"github.com/tidwall/gjson"

	"xunjian/pkg/check"
	"xunjian/pkg/flow"
)

// maxSeen is how much of an answer a reason may show.
const maxSeen = 80

// judge says whether an HTTP answer is what the check expects.
type judge struct {
	status     []int
	assertions []assertion
	readsJSON  bool
	readsBody  bool // an assertion on the content: then a login page is what it says it is
	login      bool // the target itself is a login page

	versions    []string
	compression string
	limit       int  // bytes of the body
	plain, ssl  bool // what the last answer must have come over
}

// answer is what there is to judge.
type answer struct {
	*http.Response
	body   []byte
	nonce  string
	secure bool
}

type assertion struct {
	check.Expect
	match, refuse *regexp.Regexp
}

func newJudge(spec check.Spec) (judge, error) {
	j := judge{
		status: spec.HTTP.Status, login: flow.LoginURL(spec.Target),
		versions: spec.HTTP.Versions, compression: spec.HTTP.Compression,
		limit: cmp.Or(spec.HTTP.MaxBody, maxBody), plain: spec.HTTP.FailIfSSL, ssl: spec.HTTP.FailIfNotSSL,
	}
	for i, e := range spec.HTTP.Expect {
		a := assertion{Expect: e}
		var err error
		if a.match, err = compile(e.Match); err != nil {
			return j, fmt.Errorf("http.expect[%d].match: %w", i, err)
		}
		if a.refuse, err = compile(e.Refuse); err != nil {
			return j, fmt.Errorf("http.expect[%d].refuse: %w", i, err)
		}
		j.assertions = append(j.assertions, a)
		j.readsJSON = j.readsJSON || e.JSON != ""
		j.readsBody = j.readsBody || e.JSON != "" || e.Body
	}
	return j, nil
}

func compile(pattern string) (*regexp.Regexp, error) {
	if pattern == "" {
		return nil, nil
	}
	return regexp.Compile(pattern)
}

// judge looks at the status first: a refused status is the news, however the body ended.
func (j judge) judge(ctx context.Context, a answer, badBody *fault) *fault {
	if !j.accepts(a.StatusCode) {
		return j.refuseStatus(a)
	}
	if badBody != nil {
		return badBody
	}
	switch {
	case j.plain && a.secure:
		return failed(check.ClassContent, "the answer came over TLS")
	case j.ssl && !a.secure:
		return failed(check.ClassContent, "the answer came without TLS")
	case len(j.versions) > 0 && !slices.Contains(j.versions, a.Proto):
		return failed(check.ClassContent, "answer of %s, want one of %v", check.Clip(a.Proto, 16), j.versions)
	}
	if bad := j.content(ctx, a); bad != nil {
		if !j.login && flow.LoginPage(a.Header.Get("Content-Type"), a.body) {
			return failed(check.ClassAuth, "a login page instead of the answer")
		}
		return bad
	}
	if !j.login && !j.readsBody && flow.LoginPage(a.Header.Get("Content-Type"), a.body) {
		return failed(check.ClassAuth, "a login page instead of the answer")
	}
	return nil
}

func (j judge) accepts(code int) bool {
	if len(j.status) > 0 {
		return slices.Contains(j.status, code)
	}
	return code >= 200 && code < 300
}

func (j judge) refuseStatus(a answer) *fault {
	if a.StatusCode >= 300 && a.StatusCode < 400 {
		location := a.Header.Get("Location")
		if flow.LoginURL(location) && !j.login {
			return failed(check.ClassAuth, "%s to the login page %s", formatStatus(a.StatusCode), shortURL(location))
		}
		return failed(check.ClassStatus, "%s to %s, %s", formatStatus(a.StatusCode), shortURL(location), j.wanted())
	}
	if shown := shownBody(a); shown != "" {
		return failed(check.ClassStatus, "%s, %s: %s", formatStatus(a.StatusCode), j.wanted(), shown)
	}
	return failed(check.ClassStatus, "%s, %s", formatStatus(a.StatusCode), j.wanted())
}

func (j judge) wanted() string {
	if len(j.status) > 0 {
		return fmt.Sprintf("want one of %v", j.status)
	}
	return "want 2xx"
}

// shownBody is the start of a body that is made of words rather than of a page.
func shownBody(a answer) string {
	kind := a.Header.Get("Content-Type")
	if a.Header.Get("Content-Encoding") != "" || !strings.Contains(kind, "json") && !strings.HasPrefix(kind, "text/plain") {
		return ""
	}
	return check.Clip(string(bytes.TrimSpace(a.body[:min(len(a.body), 4*maxSeen)])), maxSeen)
}

// shortURL leaves out the user and the query, where tickets and tokens are.
func shortURL(location string) string {
	u, err := url.Parse(location)
	if err != nil {
		return "an unreadable Location"
	}
	u.User, u.RawQuery, u.ForceQuery, u.Fragment = nil, "", false, ""
	u.Path, _, _ = strings.Cut(u.Path, ";") // ;jsessionid=…
	u.RawPath = ""
	return check.Clip(u.String(), 2*maxSeen)
}

func (j judge) content(ctx context.Context, a answer) *fault {
	if j.readsJSON {
		if err := flow.ValidJSON(a.body); err != nil {
			return failed(check.ClassContent, "%v%s", err, j.encoded(a))
		}
	}
	for i, s := range j.assertions {
		if i > 0 && ctx.Err() != nil { // to look through a large body takes its time
			return tooLong(ctx, i, len(j.assertions))
		}
		if err := s.hold(a); err != nil {
			return failed(check.ClassContent, "%v%s", err, j.encoded(a))
		}
	}
	return nil
}

// tooLong is the fault of an answer that came in time, and could not be judged in time.
func tooLong(ctx context.Context, made, all int) *fault {
	bad := blame(ctx, "judge", ctx.Err(), check.ClassTimeout)
	if bad.class == check.ClassTimeout {
		bad.reason = fmt.Sprintf("the answer came, but only %d of %d assertions were made in time", made, all)
	}
	return bad
}

func (j judge) encoded(a answer) string {
	if j.compression != "" {
		return ""
	}
	if e := a.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return fmt.Sprintf(" (the body came %s-encoded unasked and is not decoded)", check.Clip(e, 16))
	}
	return ""
}

// hold is nil when the assertion does. A header that comes several times holds when one of its values does, and is refused
// when one of them is.
func (s assertion) hold(a answer) error {
	values, what := s.subject(a)
	switch {
	case len(values) == 0 && s.Missing:
		return nil
	case len(values) == 0 && s.positive():
		return fmt.Errorf("%s is missing", what)
	case s.Equals != nil && !slices.Contains(values, strings.ReplaceAll(*s.Equals, check.Nonce, a.nonce)):
		return fmt.Errorf("%s is %s, want %s", what, s.show(values[0]), s.show(*s.Equals))
	case s.match != nil && !slices.ContainsFunc(values, s.match.MatchString):
		return fmt.Errorf("%s is %s, want a match of %s", what, s.show(values[0]), check.Clip(s.Match, maxSeen))
	case s.refuse != nil && slices.ContainsFunc(values, s.refuse.MatchString):
		return fmt.Errorf("%s is %s, refused by %s", what, s.show(values[0]), check.Clip(s.Refuse, maxSeen))
	}
	return nil
}

// positive says that the assertion needs something to be there.
func (s assertion) positive() bool { return s.Exists || s.Equals != nil || s.match != nil }

func (s assertion) subject(a answer) (values []string, what string) {
	switch {
	case s.Header != "":
		return a.Header.Values(s.Header), "header " + s.Header
	case s.JSON != "":
		if r := gjson.GetBytes(a.body, s.JSON); r.Exists() {
			values = []string{r.String()}
		}
		return values, "json " + check.Clip(s.JSON, maxSeen)
	}
	if len(a.body) > 0 || !s.Exists {
		// Nothing writes to the body while it is looked at, and a large one is not to be held several times.
		values = []string{unsafe.String(unsafe.SliceData(a.body), len(a.body))}
	}
	return values, "body"
}

// show quotes a value, unless the name says that it is a secret.
func (s assertion) show(value string) string {
	if isSecretName(s.Header) || isSecretName(s.JSON) {
		return masked
	}
	return fmt.Sprintf("%q", check.Clip(value, maxSeen))
}

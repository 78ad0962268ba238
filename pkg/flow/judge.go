package flow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"xunjian/pkg/check"
)

// judged is nil when the answer holds what it must. What can be extracted is, whatever the verdict: a clean-up needs it.
func (s *session) judged(ctx context.Context, st *step, pg *page, bad *Fault, r *Run) *Fault {
	if bad != nil {
		return bad
	}
	var missing error
	if pg != nil {
		for _, x := range st.extracts {
			if err := x.take(s.scope, pg, s.cookie); err != nil && missing == nil {
				missing = err
			}
		}
		for _, look := range []func(*step, *page) *Fault{s.throttled, s.refused, s.statusOf, s.marked} {
			if bad := look(st, pg); bad != nil {
				r.Refused = r.Refused || bad.Class == check.ClassAuth && st.Login
				return bad
			}
		}
	}
	if bad := s.assert(ctx, st, pg, missing, r); bad != nil {
		return bad
	}
	if missing != nil {
		return content(missing)
	}
	r.LoggedIn = r.LoggedIn || st.Login
	return nil
}

func content(err error) *Fault {
	return &Fault{Outcome: check.Fail, Class: check.ClassContent, Reason: err.Error()}
}

// throttled is a service that asks for patience, which says nothing of its health.
func (s *session) throttled(st *step, pg *page) *Fault {
	if pg.Status == http.StatusTooManyRequests && !st.wants(pg.Status) {
		return notNow(": 429 Too Many Requests")
	}
	return nil
}

func notNow(words string) *Fault {
	return &Fault{Outcome: check.Unknown, Class: check.ClassSetup, NotNow: true, Reason: "the service says not now" + words}
}

// refused is a login whose credentials were not taken. It rather sees one too many: asking again may lock the account.
func (s *session) refused(st *step, pg *page) *Fault {
	if !st.Login {
		return nil
	}
	why := ""
	switch {
	case (pg.Status == http.StatusUnauthorized || pg.Status == http.StatusForbidden || pg.Status == http.StatusLocked) && !st.wants(pg.Status):
		why = s.scope.refusedStatus(pg, "want a login").Error()
	case pg.Status >= 500:
		return nil
	case st.Refused == "" && isHTML(pg.Header.Get("Content-Type"), pg.Body) && len(pg.Body) > maxErrorPage && !pg.document().asksForPassword():
		return nil // a portal, whose scripts hold all kinds of words
	case matches(st.refused, pg):
		why = "the answer says " + s.seen(st.refused.Find(pg.Body))
	case isHTML(pg.Header.Get("Content-Type"), pg.Body) && pg.document().asksForPassword():
		why = "the login page again"
	}
	if why == "" {
		return nil
	}
	return &Fault{Outcome: check.Fail, Class: check.ClassAuth, Reason: "credentials refused: " + why}
}

// wants says whether the step names the status itself.
func (st *step) wants(status int) bool {
	return slices.ContainsFunc(st.expects, func(e *expect) bool { return slices.Contains(e.Status, status) })
}

// statusOf is judged before the content, 2xx unless the step says otherwise.
func (s *session) statusOf(st *step, pg *page) *Fault {
	any2xx := true
	for _, e := range st.expects {
		if len(e.Status) == 0 {
			continue
		}
		any2xx = false
		if err := e.hold(s.scope, pg); err != nil {
			return &Fault{Outcome: check.Fail, Class: check.ClassStatus, Trouble: e.Trouble, Reason: err.Error()}
		}
	}
	if !any2xx || pg.Status >= 200 && pg.Status < 300 {
		return nil
	}
	bad := &Fault{Outcome: check.Fail, Class: check.ClassStatus, Reason: s.scope.refusedStatus(pg, "want 2xx").Error()}
	if LoginURL(pg.Header.Get("Location")) {
		bad.Class = check.ClassAuth
	}
	return bad
}

// marked is a page that comes with 200 and is none of what was asked for: an error page, or the login.
func (s *session) marked(st *step, pg *page) *Fault {
	if pg.Status < 200 || pg.Status > 299 {
		return nil // the step wanted it
	}
	if re := s.program.marks; re != nil {
		for _, words := range spoken(pg) {
			if m := re.Find(words); m != nil {
				return content(fmt.Errorf("an error page with %d: %s", pg.Status, s.seen(m)))
			}
		}
	}
	if st.LoginPage || st.Login {
		return nil
	}
	if LoginPage(pg.Header.Get("Content-Type"), pg.Body) || pg.hops > 0 && LoginURL(pg.url.String()) {
		return &Fault{Outcome: check.Fail, Class: check.ClassAuth, Reason: "a login page instead of the answer"}
	}
	return nil
}

// maxErrorPage is the size up to which a page is taken for one that only says that something went wrong.
const maxErrorPage = 16 << 10

var pageTitle = regexp.MustCompile(`(?is)<title[^>]{0,256}>(.{0,512}?)</title>`)

// spokenKeys are where JSON answers have words for people.
var spokenKeys = []string{"msg", "message", "error", "errmsg", "errMsg", "errorMsg", "resultMsg", "error_description"}

// spoken is what an answer says of itself: a notice about a system error in a list of notices is none.
func spoken(pg *page) [][]byte {
	kind := strings.ToLower(pg.Header.Get("Content-Type"))
	body := pg.Body
	switch {
	case strings.Contains(kind, "json") || kind == "" && bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")):
		if ValidJSON(body) != nil {
			return nil
		}
		var out [][]byte
		for _, key := range spokenKeys {
			if v := gjson.GetBytes(body, key); v.Type == gjson.String {
				out = append(out, []byte(v.Str))
			}
		}
		return out
	case strings.Contains(kind, "html"):
		if len(body) > maxErrorPage {
			if m := pageTitle.FindSubmatch(body[:maxErrorPage]); m != nil {
				return [][]byte{m[1]}
			}
			return nil
		}
		return [][]byte{body}
	case strings.HasPrefix(kind, "text/plain") && len(body) <= maxErrorPage:
		return [][]byte{body}
	}
	return nil
}

// assert holds the answer against the step's other expectations. One that lacks what should have been extracted says why.
func (s *session) assert(ctx context.Context, st *step, pg *page, missing error, r *Run) *Fault {
	for i, e := range st.expects {
		if i > 0 && ctx.Err() != nil { // to look through a large body takes its time
			bad := over(ctx, "judge")
			if bad.Class == check.ClassTimeout {
				bad.Reason = fmt.Sprintf("the answer came, but only %d of %d expectations were looked at in time", i, len(st.expects))
			}
			return bad
		}
		if len(e.Status) > 0 {
			continue
		}
		err := e.hold(s.scope, pg)
		if err == nil && e.Warn != nil {
			err = s.warn(e, pg, r)
		}
		if err == nil {
			continue
		}
		if lacks := new(errMissing); errors.As(err, lacks) && missing != nil {
			err = missing
		}
		bad := blamed(fmt.Errorf("expect[%d]: %w%s", i, err, s.says(pg)), pg != nil || s.fromAnswer(st))
		bad.Trouble = e.Trouble
		return bad
	}
	return nil
}

// says is what a JSON answer tells people, after what it was found to lack.
func (s *session) says(pg *page) string {
	if pg == nil || bytes.HasPrefix(bytes.TrimSpace(pg.Body), []byte("<")) || ValidJSON(pg.Body) != nil {
		return ""
	}
	for _, key := range spokenKeys {
		if v := gjson.GetBytes(pg.Body, key); v.Type == gjson.String && v.Str != "" {
			return fmt.Sprintf(" (it says %s)", s.seen([]byte(v.Str)))
		}
	}
	return ""
}

func (s *session) warn(e *expect, pg *page, r *Run) error {
	values, what, err := e.subject(s.scope, pg)
	switch {
	case err != nil:
		return err
	case len(values) == 0:
		return fmt.Errorf("%s is missing", what)
	}
	f, err := warn(e.Warn, s.scope.mask.Hide(values[0]), time.Now())
	if err == nil {
		r.Note(f)
	}
	return err
}

// matches looks at the body, and at where the answer sends or has sent the browser.
func matches(re *regexp.Regexp, pg *page) bool {
	return re != nil && (re.Match(pg.Body) || re.MatchString(pg.Header.Get("Location")) || re.MatchString(pg.url.String()))
}

func (s *session) seen(b []byte) string {
	return fmt.Sprintf("%q", s.scope.mask.clip(guarded(string(b)), maxSeen))
}

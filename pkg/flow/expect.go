package flow

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"xunjian/pkg/check"
)

// page is what a step's last request came to.
type page struct {
	*Answer
	url  *url.URL // where the redirects ended
	hops int
	doc  *document // read when it is first asked for
}

// expect is a compiled check.FlowExpect.
type expect struct {
	check.FlowExpect
	json, xml, value, equals, sha, size text
	match, refuse                       pattern
}

// pattern is a regular expression, which may have to wait for the values of its expressions.
type pattern struct {
	text  text
	fixed *regexp.Regexp
}

func (p pattern) given() bool { return p.fixed != nil || len(p.text) > 0 }

func (c *compiler) expect(path string, e check.FlowExpect, need func(string)) *expect {
	out := &expect{FlowExpect: e}
	out.json, out.xml = c.text(path+".json", e.JSON, need), c.text(path+".xml", e.XML, need)
	out.value = c.text(path+".value", e.Value, need)
	if e.Equals != nil {
		out.equals = c.text(path+".equals", *e.Equals, need)
	}
	out.sha, out.size = c.text(path+".sha256", e.SHA256, need), c.text(path+".size", e.Size, need)
	out.match, out.refuse = c.late(path+".match", e.Match, need), c.late(path+".refuse", e.Refuse, need)
	if e.XML != "" && !strings.Contains(e.XML, "{{") {
		if _, err := parseXMLPath(e.XML); err != nil {
			c.fail(path+".xml", "%v", err)
		}
	}
	return out
}

// late compiles a pattern, with stand-ins for the values that are not known yet.
func (c *compiler) late(path, s string, need func(string)) pattern {
	t := c.text(path, s, need)
	var b strings.Builder
	fixed := true
	for _, p := range t {
		if p.expr != nil {
			fixed = false
			b.WriteString("x")
		}
		b.WriteString(p.literal)
	}
	re := c.pattern(path, b.String())
	if !fixed {
		return pattern{text: t}
	}
	return pattern{fixed: re}
}

// compiled puts values into a pattern, each matched as it is.
func (s *scope) compiled(p pattern) (*regexp.Regexp, error) {
	if p.fixed != nil || len(p.text) == 0 {
		return p.fixed, nil
	}
	var b strings.Builder
	for _, piece := range p.text {
		v, err := s.work(text{piece})
		if err != nil {
			return nil, err
		}
		if piece.expr != nil {
			v.text = regexp.QuoteMeta(v.text)
		}
		if b.WriteString(v.text); b.Len() > maxText {
			return nil, errTooLong
		}
	}
	return regexp.Compile(b.String())
}

// maxText bounds a pattern after its values are known.
const maxText = 64 << 10

// hold is nil when the assertion does.
func (e *expect) hold(s *scope, pg *page) error {
	if len(e.Status) > 0 {
		if !slices.Contains(e.Status, pg.Status) {
			return s.refusedStatus(pg, e.wanted(pg.Status))
		}
		return nil
	}
	values, what, err := e.subject(s, pg)
	if err != nil {
		return err
	}
	if e.Warn != nil {
		return nil // a finding, not a failure
	}
	if len(values) == 0 && (e.Exists || e.Equals != nil || e.match.given() || e.Count != nil || e.SHA256 != "" || e.Size != "" || e.PDF) {
		return fmt.Errorf("%s is missing%s", what, encoded(pg))
	}
	if err := e.compare(s, values, what); err != nil {
		return fmt.Errorf("%w%s", err, encoded(pg))
	}
	return nil
}

// wanted tells of a status that is not wanted what it stands for here.
func (e *expect) wanted(status int) string {
	wanted := fmt.Sprintf("want one of %v", e.Status)
	if words := e.Means[strconv.Itoa(status)]; words != "" {
		return check.Clip(words, maxSeen) + ", " + wanted
	}
	return wanted
}

// subject is what the assertion looks at: no value when it is not there, several of a repeated header.
func (e *expect) subject(s *scope, pg *page) (values []string, what string, err error) {
	switch {
	case e.Value != "":
		v, err := s.work(e.value)
		return []string{v.text}, "value " + check.Clip(e.Value, maxSeen), err
	case e.Header != "":
		return pg.Header.Values(e.Header), "header " + e.Header, nil
	case e.URL:
		return []string{pg.url.String()}, "url", nil
	case e.JSON != "":
		path, err := s.work(e.json)
		if err != nil {
			return nil, "", err
		}
		values, err := jsonAt(pg.Body, path.text)
		return values, "json " + check.Clip(e.JSON, maxSeen), err
	case e.XML != "":
		path, err := s.work(e.xml)
		if err != nil {
			return nil, "", err
		}
		values, err := xmlAt(pg.Body, path.text)
		return values, "xml " + check.Clip(e.XML, maxSeen), err
	case e.PDF:
		text, err := pdfText(pg.Body)
		return []string{text}, "text of the PDF", err
	}
	if len(pg.Body) > 0 || !e.Exists {
		values = []string{string(pg.Body)}
	}
	return values, "body", nil
}

// jsonAt is the value at a gjson path, none when it is not there.
func jsonAt(body []byte, path string) ([]string, error) {
	if err := ValidJSON(body); err != nil {
		return nil, err
	}
	if r := gjson.GetBytes(body, path); r.Exists() {
		return []string{r.String()}, nil
	}
	return nil, nil
}

// compare looks at the values in one way after the other.
func (e *expect) compare(s *scope, values []string, what string) error {
	if e.Equals != nil {
		want, err := s.work(e.equals)
		if err != nil {
			return err
		}
		if !slices.Contains(values, want.text) {
			return fmt.Errorf("%s is %s, want %s", what, e.show(s, values[0]), e.show(s, want.text))
		}
	}
	match, err := s.compiled(e.match)
	if err != nil {
		return err
	}
	if match != nil && !slices.ContainsFunc(values, match.MatchString) {
		return fmt.Errorf("%s is %s, want a match of %s", what, e.show(s, values[0]), check.Clip(e.Match, maxSeen))
	}
	refuse, err := s.compiled(e.refuse)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(values, func(v string) bool { return refuse != nil && refuse.MatchString(v) }); i >= 0 {
		return fmt.Errorf("%s holds %s, refused by %s", what, e.show(s, refuse.FindString(values[i])), check.Clip(e.Refuse, maxSeen))
	}
	return e.measure(s, values, what)
}

// measure looks at count, size and hash.
func (e *expect) measure(s *scope, values []string, what string) error {
	if e.Count != nil {
		if n := len(gjson.Parse(values[0]).Array()); n < *e.Count {
			return fmt.Errorf("%s has %d elements, want at least %d", what, n, *e.Count)
		}
	}
	if e.Size != "" {
		want, err := s.work(e.size)
		if err != nil {
			return err
		}
		if got := strconv.Itoa(len(values[0])); got != strings.TrimSpace(want.text) {
			return fmt.Errorf("%s has %s bytes, want %s", what, got, s.mask.clip(want.text, maxSeen))
		}
	}
	if e.SHA256 != "" {
		want, err := s.work(e.sha)
		if err != nil {
			return err
		}
		sum := sha256.Sum256([]byte(values[0]))
		if got := hex.EncodeToString(sum[:]); !strings.EqualFold(got, strings.TrimSpace(want.text)) {
			return fmt.Errorf("%s has SHA-256 %s, want %s", what, got, s.mask.clip(want.text, maxSeen))
		}
	}
	return nil
}

// show quotes a value, unless the name says that it is a secret.
func (e *expect) show(s *scope, v string) string {
	if isSecretName(e.Header) || isSecretName(e.JSON) {
		return masked
	}
	seen := fmt.Sprintf("%q", s.mask.clip(guarded(v), maxSeen))
	if words := e.Means[v]; words != "" {
		return fmt.Sprintf("%s (%s)", seen, check.Clip(words, maxSeen))
	}
	return seen
}

// refusedStatus shows the answer's words when it is made of words rather than of a page.
func (s *scope) refusedStatus(pg *page, wanted string) error {
	status := strings.TrimSpace(strconv.Itoa(pg.Status) + " " + http.StatusText(pg.Status))
	if location := pg.Header.Get("Location"); pg.Status/100 == 3 && location != "" {
		return fmt.Errorf("%s to %s, %s", status, shortURL(s.mask.Hide(location)), wanted)
	}
	kind := pg.Header.Get("Content-Type")
	if body := bytes.TrimSpace(pg.Body); len(body) > 0 && (strings.Contains(kind, "json") || strings.HasPrefix(kind, "text/plain")) {
		return fmt.Errorf("%s, %s: %s", status, wanted, s.mask.clip(guarded(string(body)), maxSeen))
	}
	return fmt.Errorf("%s, %s", status, wanted)
}

// shortURL leaves out the user and the query, where tickets and tokens are.
func shortURL(location string) string {
	u, err := url.Parse(location)
	if err != nil {
		return "an unreadable Location"
	}
	u.User, u.RawQuery, u.ForceQuery, u.Fragment, u.RawPath = nil, "", false, "", ""
	u.Path, _, _ = strings.Cut(u.Path, ";") // ;jsessionid=…
	return check.Clip(u.String(), maxSeen)
}

func encoded(pg *page) string {
	if pg == nil || pg.Answer == nil {
		return ""
	}
	if e := pg.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return fmt.Sprintf(" (the body came %s-encoded unasked and is not decoded)", check.Clip(e, 16))
	}
	return ""
}

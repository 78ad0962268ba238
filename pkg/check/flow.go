package check

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Flow is a business transaction in steps (DOMAIN 2). Texts may hold {{ expressions }} over variables, secrets, what earlier
// steps extracted, and functions; see package flow, whose Validate finds names that nobody gives a value.
type Flow struct {
	Vars    map[string]string `yaml:"vars,omitempty" json:"vars,omitempty"`       // worked out once an attempt, each after those that it refers to
	Marks   *string           `yaml:"marks,omitempty" json:"marks,omitempty"`     // regular expression on error pages that come with 200; default 系统异常 and the like, "" for none
	Steps   []FlowStep        `yaml:"steps,omitempty" json:"steps,omitempty"`     // made in order, the first critical one that fails ends them
	Finally []FlowStep        `yaml:"finally,omitempty" json:"finally,omitempty"` // made whatever happened, as far as their variables are known
	Control []FlowStep        `yaml:"control,omitempty" json:"control,omitempty"` // once a day after Steps: each must hold although it asks for something wrong
	Sweep   []FlowStep        `yaml:"sweep,omitempty" json:"sweep,omitempty"`     // once a day between Steps and Finally: removes what attempts that were cut off left behind
}

// FlowStep is one request and what its answer must hold.
type FlowStep struct {
	Name      string             `yaml:"name" json:"name"` // [a-z0-9-], unique in the flow
	ZH        string             `yaml:"zh,omitempty" json:"zh,omitempty"`
	EN        string             `yaml:"en,omitempty" json:"en,omitempty"`
	Each      string             `yaml:"each,omitempty" json:"each,omitempty"` // a JSON array: the step is made for each element, which {{ each }} stands for; at most 50
	Request   FlowRequest        `yaml:"request,omitempty" json:"request,omitzero"`
	Expect    []FlowExpect       `yaml:"expect,omitempty" json:"expect,omitempty"`         // a status of 2xx unless one of them says otherwise
	Extract   map[string]Extract `yaml:"extract,omitempty" json:"extract,omitempty"`       // variables for later steps
	Until     *FlowExpect        `yaml:"until,omitempty" json:"until,omitempty"`           // asked again each Pause until this holds or Timeout
	Pause     time.Duration      `yaml:"pause,omitempty" json:"pause,omitempty"`           // default 500 ms
	Slow      time.Duration      `yaml:"slow,omitempty" json:"slow,omitempty"`             // 0: only the whole attempt can be slow
	Timeout   time.Duration      `yaml:"timeout,omitempty" json:"timeout,omitempty"`       // default: what is left of the attempt's
	Login     bool               `yaml:"login,omitempty" json:"login,omitempty"`           // gives credentials: two refusals end the asking until a person looks
	Refused   string             `yaml:"refused,omitempty" json:"refused,omitempty"`       // regular expression on a login's answer that means "these credentials are not taken"
	LoginPage bool               `yaml:"login_page,omitempty" json:"login_page,omitempty"` // a login page is what is asked for
	Closed    bool               `yaml:"closed,omitempty" json:"closed,omitempty"`         // must not be reachable: no answer at all is as good as one that holds
	Critical  bool               `yaml:"critical,omitempty" json:"critical,omitempty"`
	Trouble   Trouble            `yaml:"trouble,omitempty" json:"trouble,omitempty"`   // of its failure; default down when critical, else partial
	Throttle  string             `yaml:"throttle,omitempty" json:"throttle,omitempty"` // regular expression on the answer that means "not now": unknown, not a failure
	Message   string             `yaml:"message,omitempty" json:"message,omitempty"`   // MessageSubmit or MessageReport: what its failure means depends on those before it
}

// Steps of a short message that goes through an HTTP gateway (DOMAIN 1.3, M4 and M5).
const (
	MessageSubmit = "submit"
	MessageReport = "report"
)

// FlowRequest is an HTTP request; a URL without a host is the target's. A step without a URL asks nothing: its
// expectations are over variables alone.
type FlowRequest struct {
	Method   string            `yaml:"method,omitempty" json:"method,omitempty"` // default GET, POST with a body
	URL      string            `yaml:"url,omitempty" json:"url,omitempty"`
	Headers  map[string]string `yaml:"headers,omitempty" json:"headers,omitempty"`
	Body     string            `yaml:"body,omitempty" json:"body,omitempty"`
	JSON     string            `yaml:"json,omitempty" json:"json,omitempty"` // as Body, with its content type
	Form     map[string]string `yaml:"form,omitempty" json:"form,omitempty"`
	Hidden   bool              `yaml:"hidden,omitempty" json:"hidden,omitempty"`       // Form and the hidden inputs of the last page's form
	Files    []FlowFile        `yaml:"files,omitempty" json:"files,omitempty"`         // multipart/form-data together with Form
	Redirect *int              `yaml:"redirects,omitempty" json:"redirects,omitempty"` // most that are followed; default 5
}

// FlowFile is one part of a multipart request.
type FlowFile struct {
	Field   string `yaml:"field" json:"field"`
	Name    string `yaml:"name" json:"name"`
	Type    string `yaml:"type,omitempty" json:"type,omitempty"`
	Content string `yaml:"content" json:"content"` // usually an expression that makes a document
}

// FlowExpect is one assertion; exactly one of the subjects is given, the whole body when none is.
type FlowExpect struct {
	Status []int  `yaml:"status,omitempty" json:"status,omitempty"`
	Header string `yaml:"header,omitempty" json:"header,omitempty"`
	JSON   string `yaml:"json,omitempty" json:"json,omitempty"`   // a gjson path
	XML    string `yaml:"xml,omitempty" json:"xml,omitempty"`     // a path as app/action[@ext='docx']/@urlsrc
	Value  string `yaml:"value,omitempty" json:"value,omitempty"` // a text with expressions: {{ sm2_verify(…) }}
	URL    bool   `yaml:"url,omitempty" json:"url,omitempty"`     // where the redirects ended
	PDF    bool   `yaml:"pdf,omitempty" json:"pdf,omitempty"`     // the body is a PDF of at least a page; then its text

	Equals *string `yaml:"equals,omitempty" json:"equals,omitempty"`
	Match  string  `yaml:"match,omitempty" json:"match,omitempty"` // may hold expressions, whose values are matched as they are
	Refuse string  `yaml:"refuse,omitempty" json:"refuse,omitempty"`
	Exists bool    `yaml:"exists,omitempty" json:"exists,omitempty"`
	Count  *int    `yaml:"count,omitempty" json:"count,omitempty"`   // elements of a JSON array, at least
	SHA256 string  `yaml:"sha256,omitempty" json:"sha256,omitempty"` // hex, of the subject
	Size   string  `yaml:"size,omitempty" json:"size,omitempty"`     // bytes of the subject, exactly

	Trouble Trouble           `yaml:"trouble,omitempty" json:"trouble,omitempty"` // of this assertion's failure; default the step's
	Means   map[string]string `yaml:"means,omitempty" json:"means,omitempty"`     // what values stand for, told beside them
	Warn    *Limits           `yaml:"warn,omitempty" json:"warn,omitempty"`       // makes no failure, but a finding by what is left
}

// Limits turn a subject that is a date or a number into a finding: the level whose limit it has passed.
type Limits struct {
	Name    string `yaml:"name" json:"name"`
	Minor   string `yaml:"minor,omitempty" json:"minor,omitempty"`     // 30d for dates, a number for quotas
	General string `yaml:"general,omitempty" json:"general,omitempty"` // 7d
	Urgent  string `yaml:"urgent,omitempty" json:"urgent,omitempty"`   // 0d: when it has ended
}

// Extract takes a variable out of an answer; exactly one is given.
type Extract struct {
	JSON   string `yaml:"json,omitempty" json:"json,omitempty"`
	Regexp string `yaml:"regexp,omitempty" json:"regexp,omitempty"` // its first group
	Header string `yaml:"header,omitempty" json:"header,omitempty"`
	Cookie string `yaml:"cookie,omitempty" json:"cookie,omitempty"`
	Hidden string `yaml:"hidden,omitempty" json:"hidden,omitempty"` // name of a hidden input of the page
	Meta   string `yaml:"meta,omitempty" json:"meta,omitempty"`     // name of a meta element
	XML    string `yaml:"xml,omitempty" json:"xml,omitempty"`
	Action bool   `yaml:"action,omitempty" json:"action,omitempty"` // where the page's form goes, as a whole URL
	URL    bool   `yaml:"url,omitempty" json:"url,omitempty"`       // where the redirects ended
	Body   bool   `yaml:"body,omitempty" json:"body,omitempty"`
	Secret bool   `yaml:"secret,omitempty" json:"secret,omitempty"` // masked wherever it is shown
}

// Caps on a flow: they bound what an agent compiles, sends and keeps.
const (
	MaxSteps  = 64 // of all lists together
	maxVars   = 64
	maxFields = 64
	maxFiles  = 8
	maxText   = 64 << 10 // of one text before its expressions are worked out
	maxFollow = 10
)

var (
	varForm   = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)
	limitForm = regexp.MustCompile(`^-?[0-9]{1,12}(\.[0-9]{1,6})?[dh]?$`)
	troubles  = []Trouble{"", Down, Wrong, Unusable, Partial, Warning}
)

// failAt tells of one fault at a path.
type failAt = func(path, format string, args ...any)

// Lists are the flow's lists of steps under their names, in the order in which they are made.
func (f *Flow) Lists() []FlowList {
	return []FlowList{{"steps", f.Steps}, {"control", f.Control}, {"sweep", f.Sweep}, {"finally", f.Finally}}
}

// FlowList is one of a flow's lists of steps.
type FlowList struct {
	Name  string
	Steps []FlowStep
}

func (f *Flow) validate(fail failAt) {
	if f == nil || len(f.Steps) == 0 {
		fail("flow.steps", "missing: want at least one step")
		return
	}
	if len(f.Vars) > maxVars {
		fail("flow.vars", "%d variables: want at most %d", len(f.Vars), maxVars)
	}
	for _, name := range slices.Sorted(maps.Keys(f.Vars)) {
		validateVar(fail, "flow.vars."+name, name)
		validateText(fail, "flow.vars."+name, f.Vars[name])
	}
	if f.Marks != nil {
		validatePattern(fail, "flow.marks", *f.Marks)
	}
	total, seen := 0, map[string]bool{}
	for _, l := range f.Lists() {
		total += len(l.Steps)
		for i, s := range l.Steps {
			path := fmt.Sprintf("flow.%s[%d]", l.Name, i)
			if seen[s.Name] {
				fail(path+".name", "%q: another step has this name", s.Name)
			}
			seen[s.Name] = true
			s.validate(fail, path)
			if s.Message != "" {
				validateMessage(fail, path+".message", s.Message, l.Name, seen)
			}
		}
	}
	if total > MaxSteps {
		fail("flow", "%d steps: want at most %d", total, MaxSteps)
	}
}

// validateMessage sees that a flow is of one message: what became of several could not be told apart.
func validateMessage(fail failAt, path, message, list string, seen map[string]bool) {
	switch {
	case message != MessageSubmit && message != MessageReport:
		fail(path, "%q: want submit or report", message)
	case list != "steps":
		fail(path, "stands in %s: want it in steps", list)
	case seen["message "+message]: // no step has such a name
		fail(path, "%s is another step already: want one", message)
	}
	seen["message "+message] = true
}

func (s FlowStep) validate(fail failAt, path string) {
	if len(s.Name) > maxName || !nameForm.MatchString(s.Name) {
		fail(path+".name", "%q: want 1 to %d of a-z, 0-9 and -, no - at the ends", s.Name, maxName)
	}
	s.validateTimes(fail, path)
	validatePattern(fail, path+".throttle", s.Throttle)
	validatePattern(fail, path+".refused", s.Refused)
	if s.Refused != "" && !s.Login {
		fail(path+".refused", "tells a refused login: set login as well")
	}
	if !slices.Contains(troubles, s.Trouble) {
		fail(path+".trouble", "%q: want down, wrong, unusable, partial or warning", s.Trouble)
	}
	validateText(fail, path+".each", s.Each)
	s.Request.validate(fail, path+".request")
	if len(s.Expect) > maxExpects {
		fail(path+".expect", "%d assertions: want at most %d", len(s.Expect), maxExpects)
	}
	for i, e := range s.Expect {
		e.validate(fail, fmt.Sprintf("%s.expect[%d]", path, i), s.Request.URL == "")
	}
	if s.Until != nil {
		s.Until.validate(fail, path+".until", s.Request.URL == "")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Extract)) {
		validateVar(fail, path+".extract."+name, name)
		s.Extract[name].validate(fail, path+".extract."+name)
	}
	if len(s.Extract) > maxVars {
		fail(path+".extract", "%d variables: want at most %d", len(s.Extract), maxVars)
	}
	if s.Request.URL == "" && (len(s.Extract) > 0 || s.Until != nil || s.Login || s.LoginPage || s.Closed) {
		fail(path+".request.url", "missing: this step has no answer to look at")
	}
}

func (s FlowStep) validateTimes(fail failAt, path string) {
	if s.Pause != 0 && (s.Pause < 50*time.Millisecond || s.Pause > time.Minute) {
		fail(path+".pause", "%v: want 50ms to 1m", s.Pause)
	}
	if s.Slow < 0 || s.Timeout < 0 || s.Timeout > maxEvery {
		fail(path+".timeout", "slow %v, timeout %v: want 0s or more", s.Slow, s.Timeout)
	}
	if s.Timeout > 0 && s.Slow > s.Timeout {
		fail(path+".slow", "%v: want at most the step's timeout (%v)", s.Slow, s.Timeout)
	}
}

func (r FlowRequest) validate(fail failAt, path string) {
	if r.Method != "" && !methodForm.MatchString(r.Method) {
		fail(path+".method", "%q: want an HTTP method in capitals", r.Method)
	}
	if len(r.URL) > maxTarget {
		fail(path+".url", "longer than %d bytes", maxTarget)
	}
	if count(r.Body != "", r.JSON != "", len(r.Form) > 0 || r.Hidden || len(r.Files) > 0) > 1 {
		fail(path, "more than one of body, json and form or files: want one")
	}
	if r.Redirect != nil && (*r.Redirect < 0 || *r.Redirect > maxFollow) {
		fail(path+".redirects", "%d: want 0 to %d", *r.Redirect, maxFollow)
	}
	if len(r.Headers) > maxHeaders || len(r.Form) > maxFields || len(r.Files) > maxFiles {
		fail(path, "%d headers, %d fields, %d files: want at most %d, %d, %d", len(r.Headers), len(r.Form), len(r.Files), maxHeaders, maxFields, maxFiles)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		if !headerForm.MatchString(name) || strings.ContainsAny(r.Headers[name], "\r\n\x00") {
			fail(path+".headers."+name, "not a header")
		}
		validateText(fail, path+".headers."+name, r.Headers[name])
	}
	for _, name := range slices.Sorted(maps.Keys(r.Form)) {
		validateText(fail, path+".form."+name, r.Form[name])
	}
	validateText(fail, path+".body", r.Body)
	validateText(fail, path+".json", r.JSON)
	for i, f := range r.Files {
		if f.Field == "" || f.Name == "" {
			fail(fmt.Sprintf("%s.files[%d]", path, i), "want field and name")
		}
		validateText(fail, fmt.Sprintf("%s.files[%d].content", path, i), f.Content)
	}
}

// validate knows of bare steps, which have no answer, only variables.
func (e FlowExpect) validate(fail failAt, path string, bare bool) {
	switch n := count(len(e.Status) > 0, e.Header != "", e.JSON != "", e.XML != "", e.Value != "", e.URL, e.PDF); {
	case n > 1:
		fail(path, "names %d of status, header, json, xml, value, url and pdf: want one, or none for the body", n)
	case bare && e.Value == "":
		fail(path, "the step asks nothing (request.url is missing), so only a value can be looked at")
	}
	for i, code := range e.Status {
		if code < 100 || code > 599 {
			fail(fmt.Sprintf("%s.status[%d]", path, i), "%d: want 100 to 599", code)
		}
	}
	asserts := count(e.Equals != nil, e.Match != "", e.Refuse != "", e.Exists, e.Count != nil, e.SHA256 != "", e.Size != "", e.Warn != nil)
	if asserts == 0 && len(e.Status) == 0 && !e.PDF {
		fail(path, "asserts nothing: want equals, match, refuse, exists, count, sha256, size or warn")
	}
	if asserts > 0 && len(e.Status) > 0 {
		fail(path, "status stands alone: put the others in an entry of their own")
	}
	if e.Count != nil && (*e.Count < 0 || e.JSON == "") {
		fail(path+".count", "%d: want 0 or more elements of a json path", *e.Count)
	}
	if !slices.Contains(troubles, e.Trouble) {
		fail(path+".trouble", "%q: want down, wrong, unusable, partial or warning", e.Trouble)
	}
	// A pattern with expressions in it is compiled when their values are known; package flow sees to its constant parts.
	if !strings.Contains(e.Match, "{{") {
		validatePattern(fail, path+".match", e.Match)
	}
	if !strings.Contains(e.Refuse, "{{") {
		validatePattern(fail, path+".refuse", e.Refuse)
	}
	for _, t := range []string{e.JSON, e.XML, e.Value, e.SHA256, e.Size, e.Match, e.Refuse} {
		validateText(fail, path, t)
	}
	e.Warn.validate(fail, path+".warn")
}

func (l *Limits) validate(fail failAt, path string) {
	if l == nil {
		return
	}
	if len(l.Name) > maxName || !nameForm.MatchString(l.Name) {
		fail(path+".name", "%q: want 1 to %d of a-z, 0-9 and -, no - at the ends", l.Name, maxName)
	}
	if l.Minor == "" && l.General == "" && l.Urgent == "" {
		fail(path, "warns of nothing: want minor, general or urgent")
	}
	for _, v := range []string{l.Minor, l.General, l.Urgent} {
		if v != "" && !limitForm.MatchString(v) {
			fail(path, "%q: want days or hours before a date, as 30d or 12h, or a number", v)
		}
	}
}

func (x Extract) validate(fail failAt, path string) {
	n := count(x.JSON != "", x.Regexp != "", x.Header != "", x.Cookie != "", x.Hidden != "", x.Meta != "", x.XML != "", x.Action, x.URL, x.Body)
	if n != 1 {
		fail(path, "names %d of json, regexp, header, cookie, hidden, meta, xml, action, url and body: want exactly one", n)
	}
	validatePattern(fail, path+".regexp", x.Regexp)
	if re, err := regexp.Compile(x.Regexp); err == nil && x.Regexp != "" && re.NumSubexp() < 1 {
		fail(path+".regexp", "has no group: put what is wanted in ( )")
	}
	validateText(fail, path+".json", x.JSON)
}

func validateVar(fail failAt, path, name string) {
	if !varForm.MatchString(name) || name == "secrets" || name == "each" {
		fail(path, "%q cannot be a variable: want a-z, 0-9 and _, not secrets or each", name)
	}
}

func validateText(fail failAt, path, text string) {
	if len(text) > maxText {
		fail(path, "longer than %d bytes", maxText)
	}
}

package check

import "time"

// Flow is a business transaction in steps (DOMAIN 2). Texts may hold {{ expressions }} over variables, secrets, what earlier
// steps extracted, and functions; see package flow.
type Flow struct {
	Vars    map[string]string `yaml:"vars,omitempty" json:"vars,omitempty"`       // worked out once an attempt, in the order of their names
	Steps   []FlowStep        `yaml:"steps,omitempty" json:"steps,omitempty"`     // made in order, the first critical one that fails ends them
	Finally []FlowStep        `yaml:"finally,omitempty" json:"finally,omitempty"` // made whatever happened, as far as their variables are known
	Control []FlowStep        `yaml:"control,omitempty" json:"control,omitempty"` // once a day after Steps: each must hold although it asks for something wrong
	Sweep   []FlowStep        `yaml:"sweep,omitempty" json:"sweep,omitempty"`     // once a day: removes what attempts that were cut off left behind
}

// FlowStep is one request and what its answer must hold.
type FlowStep struct {
	Name     string             `yaml:"name" json:"name"` // [a-z0-9-], unique in the flow
	ZH       string             `yaml:"zh,omitempty" json:"zh,omitempty"`
	EN       string             `yaml:"en,omitempty" json:"en,omitempty"`
	Request  FlowRequest        `yaml:"request,omitempty" json:"request,omitzero"`
	Expect   []FlowExpect       `yaml:"expect,omitempty" json:"expect,omitempty"`
	Extract  map[string]Extract `yaml:"extract,omitempty" json:"extract,omitempty"` // variables for later steps
	Until    *FlowExpect        `yaml:"until,omitempty" json:"until,omitempty"`     // asked again each Pause until this holds or Timeout
	Pause    time.Duration      `yaml:"pause,omitempty" json:"pause,omitempty"`     // default 500 ms
	Slow     time.Duration      `yaml:"slow,omitempty" json:"slow,omitempty"`       // 0: only the whole attempt can be slow
	Timeout  time.Duration      `yaml:"timeout,omitempty" json:"timeout,omitempty"` // default: what is left of the attempt's
	Critical bool               `yaml:"critical,omitempty" json:"critical,omitempty"`
	Trouble  Trouble            `yaml:"trouble,omitempty" json:"trouble,omitempty"`   // of its failure; default down when critical, else partial
	Throttle string             `yaml:"throttle,omitempty" json:"throttle,omitempty"` // regular expression on the answer that means "not now": unknown, not a failure
}

// FlowRequest is an HTTP request; URL may be relative to the check's target or the last page.
type FlowRequest struct {
	Method   string            `yaml:"method,omitempty" json:"method,omitempty"` // default GET, POST with a body
	URL      string            `yaml:"url,omitempty" json:"url,omitempty"`
	Headers  map[string]string `yaml:"headers,omitempty" json:"headers,omitempty"`
	Body     string            `yaml:"body,omitempty" json:"body,omitempty"`
	JSON     string            `yaml:"json,omitempty" json:"json,omitempty"` // as Body, with its content type
	Form     map[string]string `yaml:"form,omitempty" json:"form,omitempty"`
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
	Value  string `yaml:"value,omitempty" json:"value,omitempty"` // an expression over variables: sm2_verify(…)
	URL    bool   `yaml:"url,omitempty" json:"url,omitempty"`     // where the redirects ended
	PDF    bool   `yaml:"pdf,omitempty" json:"pdf,omitempty"`     // the body is a PDF of at least a page; then its text

	Equals *string `yaml:"equals,omitempty" json:"equals,omitempty"`
	Match  string  `yaml:"match,omitempty" json:"match,omitempty"`
	Refuse string  `yaml:"refuse,omitempty" json:"refuse,omitempty"`
	Exists bool    `yaml:"exists,omitempty" json:"exists,omitempty"`
	Count  *int    `yaml:"count,omitempty" json:"count,omitempty"`   // elements of a JSON array, at least
	SHA256 string  `yaml:"sha256,omitempty" json:"sha256,omitempty"` // hex, of the subject
	Size   *int    `yaml:"size,omitempty" json:"size,omitempty"`     // bytes of the subject, exactly

	Trouble Trouble `yaml:"trouble,omitempty" json:"trouble,omitempty"` // of this assertion's failure; default the step's, wrong for content
	Warn    *Limits `yaml:"warn,omitempty" json:"warn,omitempty"`       // makes no failure, but a finding by what is left
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
	Body   bool   `yaml:"body,omitempty" json:"body,omitempty"`
	Secret bool   `yaml:"secret,omitempty" json:"secret,omitempty"` // masked wherever it is shown
}

// Package flow runs business transactions in steps: log in, look, write, take back what was written. It asks through a Doer,
// so that whoever runs it keeps its own guards on every connection.
//
// # Texts
//
// Texts of a flow may hold {{ expressions }}: a variable (user), a secret (secrets.password), a string in single or double
// quotes, a number, or a call of one of the functions in functions.go, whose values may be expressions again. There are no
// loops and no conditions: what an expression costs is bounded by its length.
package flow

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"xunjian/pkg/check"
)

// Doer makes one exchange: no redirects, no cookies. It keeps within caps of its own on headers, body and compression, guards
// whom it connects to, and ends when ctx does. Its errors are *Fault where it knows the class.
type Doer interface {
	Do(ctx context.Context, r *Request) (*Answer, error)
}

// Request is what is sent.
type Request struct {
	Method string
	URL    *url.URL
	Header http.Header
	Body   []byte
}

// Answer is what came back. The body is not shared.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	Phases []check.Phase // of this exchange
	Expiry time.Time     // earliest end of the certificates shown
}

// Fault is why something is not as it should be.
type Fault struct {
	Outcome check.Outcome // Fail or Unknown
	Class   check.Class
	Trouble check.Trouble // empty: the step's
	Reason  string        // for people; may still hold secrets, which are masked before it is shown
	NotNow  bool          // the service asks for patience
}

// Error is the reason.
func (f *Fault) Error() string { return f.Reason }

// Call is one run's surroundings.
type Call struct {
	Doer    Doer
	Secrets map[string]string                   // by the names that the flow's texts use
	Sweep   bool                                // also remove what earlier runs left behind
	Tidy    time.Duration                       // for Finally, which also runs when ctx has ended; default 10 s
	Weigh   func(st check.FlowStep, bad *Fault) // may change what the failure of a step of a message means; bad is nil for one that went well; nil for none
	Trace   func(Event)                         // told of each step when it is over, everything masked; nil for none
}

// Run is what a run came to. Start, Duration and Steps are set, Duration without Finally.
type Run struct {
	check.Attempt
	Vars     map[string]string // as they were at the end
	LoggedIn bool              // a login step's credentials were taken
	Refused  bool              // and a login step's were not
	Swept    bool              // what earlier runs left behind was looked for, and is gone
}

// Event is one step as it may be shown: secrets are masked, bodies and values clipped.
type Event struct {
	List      string // steps, control, sweep or finally
	Step      check.FlowStep
	Result    check.Step
	Exchanges []Exchange
	Values    map[string]string // that the step extracted
}

// Exchange is one request and its answer, as Event.
type Exchange struct {
	Method, URL string
	Header      http.Header
	Body        string
	Answer      *Answer // body clipped; nil when none came
	Fault       string
	Duration    time.Duration
}

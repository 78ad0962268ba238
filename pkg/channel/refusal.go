package channel

import (
	"errors"
	"fmt"
	"time"

	"xunjian/pkg/i18n"
)

// Cause is what is behind a refusal, where it can be told.
type Cause string

// The causes.
const (
	CauseClock       Cause = "clock"       // this host's clock is off, and the signature with it
	CauseCredentials Cause = "credentials" // signature, key, token, account
	CauseLimit       Cause = "limit"       // too many messages
	CauseContent     Cause = "content"     // this message
	CauseNobody      Cause = "nobody"      // nobody to reach: no number, no address
	CauseNoVerdict   Cause = "no-verdict"  // the answer says neither yes nor no
	CauseRedirect    Cause = "redirect"    // another page, as of a login
	CauseReceiver    Cause = "receiver"    // anything else
)

// Refusal is a receiver's no. Errors of other types mean that no answer came.
type Refusal struct {
	Status     int           // HTTP status; 0 where there is none
	Text       string        // what the receiver said, shortened
	RetryAfter time.Duration // not before, 0: the receiver did not say
	PageOnly   bool          // it is this message that is refused, others may pass
	Cause      Cause
	Off        time.Duration // by CauseClock: how far this host's clock is ahead; 0: unknown
}

func (r *Refusal) Error() string {
	s := ""
	if r.Status != 0 {
		s = fmt.Sprintf("HTTP %d", r.Status)
	}
	switch r.Cause {
	case CauseClock:
		s = join(s, r.clock())
	case CauseNoVerdict:
		s = join(s, "the answer says neither yes nor no")
	}
	if r.Text != "" {
		s = join(s, r.Text)
	}
	if s == "" {
		s = "refused"
	}
	return s
}

func (r *Refusal) clock() string {
	switch {
	case r.Off > 0:
		return fmt.Sprintf("clock off: this host's is %v ahead of the receiver's", r.Off.Round(time.Second))
	case r.Off < 0:
		return fmt.Sprintf("clock off: this host's is %v behind the receiver's", -r.Off.Round(time.Second))
	}
	return "clock off: the receiver takes this host's for wrong"
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + ": " + b
}

// RefusalIn is the refusal behind an error, or an empty one.
func RefusalIn(err error) Refusal {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return *r
	}
	return Refusal{}
}

// Unsure says whether the receiver may have taken the message although it did not say so.
func Unsure(err error) bool {
	if err == nil {
		return false
	}
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r.Cause == CauseNoVerdict
	}
	_, sent := errors.AsType[*afterSending](err)
	return sent
}

// afterSending marks an error that came when the message was on its way already.
type afterSending struct{ error }

func (e *afterSending) Unwrap() error { return e.error }

// Explain says in a language of people what an error of Send means and what to do about it.
func Explain(p *i18n.Printer, err error) string {
	r := RefusalIn(err)
	key := "channel.cause.silent"
	switch {
	case r.Cause != "":
		key = "channel.cause." + string(r.Cause)
	case r != (Refusal{}):
		key = "channel.cause." + string(CauseReceiver)
	}
	return p.T(key, "detail", err.Error())
}

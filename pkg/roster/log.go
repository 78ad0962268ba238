package roster

import "time"

// Kind says what an entry of the log is.
type Kind string

// The kinds of entries.
const (
	KindOverride  Kind = "override"
	KindSwap      Kind = "swap"
	KindSignIn    Kind = "sign_in"
	KindWithdrawn Kind = "withdrawn" // an override or swap is taken back from now on
)

// Entry is one thing that somebody did to the roster at run time. Entries only grow, and none changes what was before it:
// an override holds from when it was recorded at the earliest, and until it is withdrawn at the latest.
type Entry struct {
	Seq    uint64    `json:"seq"`
	At     time.Time `json:"at"` // when it was recorded; zero: it stands in the configuration
	By     string    `json:"by"` // who recorded it
	Kind   Kind      `json:"kind"`
	Reason string    `json:"reason,omitempty"`

	Override  *Override `json:"override,omitempty"`
	Swap      *Swap     `json:"swap,omitempty"`
	SignIn    *SignIn   `json:"sign_in,omitempty"`
	Withdraws uint64    `json:"withdraws,omitempty"` // number of the entry

	withdrawn time.Time // when this one was
}

// SignIn is a person's word that they are there for a shift of an important period (R19).
type SignIn struct {
	Period   string    `json:"period"`
	Shift    time.Time `json:"shift"` // its beginning
	Person   string    `json:"person"`
	Handover string    `json:"handover,omitempty"` // 交接事项
	Zero     bool      `json:"zero,omitempty"`     // 零报告: nothing happened so far
}

// applied is who holds a line after this entry, who being the one before it; reason is empty when it changes nothing.
func (e Entry) applied(l Line, at time.Time, who string) (name, reason string) {
	if at.Before(e.At) || !e.withdrawn.IsZero() && !at.Before(e.withdrawn) {
		return who, ""
	}
	covers := func(from, to time.Time) bool { return !at.Before(from) && at.Before(to) }
	switch {
	case e.Override != nil && e.Override.Line == l && covers(e.Override.From, e.Override.To):
		return e.Override.Person, e.Override.Reason
	case e.Swap != nil && e.Swap.Line == l:
		give, take := e.Swap.Give, e.Swap.Take
		switch {
		case who == give.Person && covers(give.From, give.To):
			return take.Person, e.Swap.why()
		case who == take.Person && covers(take.From, take.To):
			return give.Person, e.Swap.why()
		}
	}
	return who, ""
}

func (s Swap) why() string {
	if s.Reason != "" {
		return s.Reason
	}
	return s.Asked + " ⇄ " + s.Agreed
}

// edges are the times at which the entry may change who holds a line.
func (e Entry) edges() []time.Time {
	out := []time.Time{e.At, e.withdrawn}
	if o := e.Override; o != nil {
		out = append(out, o.From, o.To)
	}
	if s := e.Swap; s != nil {
		out = append(out, s.Give.From, s.Give.To, s.Take.From, s.Take.To)
	}
	return out
}

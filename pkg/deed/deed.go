// Package deed lists what people can do about an incident: each act once, with its fields, its rule and when it is possible.
package deed

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"xunjian/pkg/access"
	"xunjian/pkg/contract"
	"xunjian/pkg/i18n"
	"xunjian/pkg/incident"
)

// Desk does what the deeds say.
type Desk interface {
	Ack(id string, a incident.Act) (incident.Record, error)
	Note(id string, a incident.Act) (incident.Record, error)
	Report(id string, a incident.Act, r incident.Report) (incident.Record, error)
	SetLevel(id string, a incident.Act, g incident.Grading) (incident.Record, error)
	Diagnose(id string, a incident.Act, v incident.Diagnosis) (incident.Record, error)
	Arrive(id string, a incident.Act, v incident.Arrival) (incident.Record, error)
	Propose(id string, a incident.Act, v incident.Proposal) (incident.Record, error)
	Decide(id string, a incident.Act, v incident.Decision) (incident.Record, error)
	Handle(id string, a incident.Act, v incident.Step) (incident.Record, error)
	Bypass(id string, a incident.Act, v incident.Workaround) (incident.Record, error)
	Pause(id string, a incident.Act, v incident.Pausing) (incident.Record, error)
	Resume(id string, a incident.Act, v incident.Pausing) (incident.Record, error)
	Extend(id string, a incident.Act, v incident.Extension) (incident.Record, error)
	RecordImpact(id string, a incident.Act, v incident.Impact) (incident.Record, error)
	Resolve(id string, a incident.Act, v incident.Account) (incident.Record, error)
	Confirm(id string, a incident.Act, v incident.Confirmation) (incident.Record, error)
	Refuse(id string, a incident.Act, v incident.Confirmation) (incident.Record, error)
	Reopen(id string, a incident.Act) (incident.Record, error)
	Archive(id string, a incident.Act, v incident.Account) (incident.Record, error)
	Merge(id string, a incident.Act, v incident.Merging) (incident.Record, error)
	Split(id string, a incident.Act) (incident.Record, error)
	Doubt(id string, a incident.Act, v incident.Dismissal) (incident.Record, error)
	Dismiss(id string, a incident.Act, v incident.Dismissal) (incident.Record, error)
	Uphold(id string, a incident.Act) (incident.Record, error)
	Excuse(id string, a incident.Act, v incident.Excuse) (incident.Record, error)
}

// Kind is how a field is written.
type Kind string

// The kinds of fields.
const (
	Line   Kind = "line"   // a short text
	Text   Kind = "text"   // a long one
	Name   Kind = "name"   // of a person
	Choice Kind = "choice" // one of Field.Choices
	Flag   Kind = "flag"   // "true" or nothing
	Number Kind = "number" // a whole one
	Time   Kind = "time"   // RFC 3339
	Span   Kind = "span"   // a duration: 1h30m
)

// Field is one thing that a deed asks for beside who, why and which version.
type Field struct {
	Name    string
	Kind    Kind
	Must    bool
	Choices []string // of a Choice
	Words   string   // the choices' texts are <Words>.<choice> in the catalogue; empty: the choices themselves
}

// Deed is one act. Its texts are deed.do.<Name> and, for its fields, deed.field.<name> in the catalogue.
type Deed struct {
	Name   string        // in addresses and commands
	Rule   access.Action // what a role must be allowed
	Fields []Field
	Why    Need // whether a note is asked for
	May    func(r incident.Record, now time.Time) bool
	do     func(d Desk, id string, a incident.Act, v Values) (incident.Record, error)
}

// Need says how much a note is wanted.
type Need int

// How much a note is wanted.
const (
	Allowed Need = iota // the note is somebody's own wish
	Asked               // the act says something with it
	Needed              // the act is refused without
)

// Values are a deed's fields as they came in; what is not there is empty.
type Values map[string]string

// Find is the deed of that name.
func Find(name string) (Deed, bool) {
	i := slices.IndexFunc(Deeds, func(d Deed) bool { return d.Name == name })
	if i < 0 {
		return Deed{}, false
	}
	return Deeds[i], true
}

// Do runs the deed. Values that are no time, number or duration are refused as *incident.BadAct.
func (d Deed) Do(desk Desk, id string, a incident.Act, v Values) (incident.Record, error) {
	for _, f := range d.Fields {
		if err := f.check(v[f.Name]); err != nil {
			return incident.Record{}, err
		}
	}
	return d.do(desk, id, a, v)
}

func (f Field) check(s string) (err error) {
	if s == "" {
		return nil
	}
	key := ""
	switch f.Kind {
	case Flag:
		if _, err = strconv.ParseBool(s); err != nil {
			key = "deed.bad.flag"
		}
	case Number:
		if _, err = strconv.Atoi(s); err != nil {
			key = "deed.bad.number"
		}
	case Time:
		if _, err = time.Parse(time.RFC3339, s); err != nil {
			key = "deed.bad.time"
		}
	case Span:
		if n, e := time.ParseDuration(s); e != nil || n < 0 {
			key = "deed.bad.span"
		}
	}
	if key == "" {
		return nil
	}
	return &incident.BadAct{Field: f.Name, Key: key}
}

func (v Values) flag(name string) bool { b, _ := strconv.ParseBool(v[name]); return b }

func (v Values) number(name string) int { n, _ := strconv.Atoi(v[name]); return n }

func (v Values) time(name string) time.Time { t, _ := time.Parse(time.RFC3339, v[name]); return t }

func (v Values) span(name string) time.Duration { d, _ := time.ParseDuration(v[name]); return d }

// account is what several deeds write down about a fault.
func (v Values) account() incident.Account {
	return incident.Account{
		Cause: v["cause"], Category: incident.Category(v["category"]), Handling: v["handling"], Prevention: v["prevention"],
		Declare: v.flag("declare"), PartyA: v["party_a"],
	}
}

// words are the texts of some choices.
func words[T ~string](all []T) (out []string) {
	for _, v := range all {
		out = append(out, string(v))
	}
	return out
}

// Title is what the deed is called on buttons and in lists.
func (d Deed) Title(p *i18n.Printer) string {
	return p.T("deed.do." + strings.ReplaceAll(d.Name, "-", "_"))
}

// Label is a field's name for people.
func (f Field) Label(p *i18n.Printer) string { return p.T("deed.field." + f.Name) }

// Say is a choice in words.
func (f Field) Say(p *i18n.Printer, choice string) string {
	if f.Words == "" {
		return choice
	}
	return p.T(f.Words + "." + choice)
}

// waiting says that party A has a proposal before it.
func waiting(r incident.Record) bool {
	n := len(r.Consents)
	return n > 0 && r.Consents[n-1].DecidedAt.IsZero()
}

// pausedFor says whether the clock stands for a reason.
func pausedFor(r incident.Record, why contract.Reason) bool {
	return slices.ContainsFunc(r.Pauses, func(p incident.Pause) bool { return p.Why == why && p.To.IsZero() })
}

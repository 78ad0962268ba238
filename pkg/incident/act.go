package incident

import (
	"errors"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/i18n"
)

// Act is what every act of a person carries.
type Act struct {
	Person  string    // who; never empty
	Note    string    // why, or what was seen
	At      time.Time // when; zero is now
	Via     string    // console, cli, api, link, sms, phone
	Device  string    // with what, where it is known: a browser's name for itself
	Address string    // from where, on the network
	PagedAt time.Time // of an acknowledgement: when this person was told; zero is when the incident opened
	Version int       // the record's version that the person saw, refused if another person has acted since; 0 does not care
}

// Opening is a fault that a person reports.
type Opening struct {
	Service    string // a configured service's name, or anything else that people would recognise
	Component  string
	Level      contract.Level
	Detail     string
	Reporter   string    // who called
	ReportedAt time.Time // zero is now; earlier by at most Terms.Backdate, with a reason in Act.Note (R2)
	Separate   bool      // open it beside an incident that the service already has
}

// Report is a user's call about an incident that is already open. It can only move the clocks' start earlier, unless party A
// agrees to the time, with a reason in Act.Note: then it takes the place of the calls before (R2).
type Report struct {
	Reporter   string
	ReportedAt time.Time
	PartyA     string // who of party A agreed to it
}

// Grading sets a level; Act.Note holds the reason.
type Grading struct {
	Level  contract.Level
	PartyA string          // who of party A agreed; needed to lower a level (R11)
	Agreed contract.Limits // 约定时间, for a minor level only
}

// Account is what a person writes down about a fault that is over. What is left empty keeps what was written before.
type Account struct {
	Cause      string
	Category   Category
	Handling   string
	Prevention string // 预防措施
	Declare    bool   // of Resolve: declare the recovery although a check still watches; needs a reason in Act.Note
	PartyA     string // of Archive: who of party A confirmed the recovery, where nobody has yet
}

// Diagnosis is what has been found out so far; Act.Note holds it.
type Diagnosis struct{}

// Arrival is when somebody came to the site; zero is now, earlier needs a reason in Act.Note.
type Arrival struct{ At time.Time }

// Proposal is what is to be done if party A agrees. The recovery clock stands from here to the decision, so it must say all
// three (R7).
type Proposal struct {
	Measure  string `json:"measure"`
	Risk     string `json:"risk"`
	Rollback string `json:"rollback"`
}

// Decision is party A's word on the proposal that waits; a refusal needs a reason in Act.Note.
type Decision struct {
	Consent bool
	PartyA  string
}

// Step is something done about the fault. An emergency is a name from the catalogue of actions that were approved
// beforehand (Config.Emergency): it may be done while consent is awaited, and no clock stands for it.
type Step struct {
	Action    string `json:"action"`
	Emergency string `json:"emergency,omitempty"`
}

// Workaround is a way for users to work although the fault itself is not mended (R6): it counts as recovery if party A
// agrees, or once the check does.
type Workaround struct {
	Measure  string `json:"measure"`
	FollowUp string `json:"follow_up"` // what mends it for good, and by whom
	PartyA   string `json:"party_a,omitempty"`
}

// Confirmation is party A's word that the fault is over; or, in Refuse, that it is not.
type Confirmation struct{ PartyA string }

// Extension is more time for a general fault's recovery (R8); Act.Note holds the reason.
type Extension struct {
	Until    time.Time `json:"until"`
	Approver string    `json:"approver"` // who of party A granted it
}

// Merging files an incident under another that is the same fault; Act.Note holds the reason.
type Merging struct{ Into string }

// Dismissal is party A's agreement that an incident is not to be counted against the contractor (4.4).
type Dismissal struct{ PartyA string }

// Excuse says why an incident is not to be counted (4.4): it stays listed, and needs party A's name and a reason in
// Act.Note.
type Excuse struct {
	Why    Excused
	PartyA string
}

// Pausing says for whom one waits: ThirdParty or Upstream, where the terms let that pause the recovery clock (R7).
type Pausing struct {
	Why contract.Reason `json:"why"`
}

// Sentinels that callers branch on. ErrConflict comes as *Conflict, ErrBadAct as *BadAct.
var (
	ErrNotFound = errors.New("no such incident")
	ErrConflict = errors.New("act conflicts with what has happened")
	ErrBadAct   = errors.New("act is incomplete")
	ErrFull     = errors.New("too many incidents are open")
)

// Conflict tells who was first.
type Conflict struct {
	What     string // a key incident.conflict.<What>: acknowledged, changed, closed, open, …
	Incident string
	Other    string // the incident under which it is listed
	Person   string // who did it, empty for the machine
	At       time.Time
	Version  int // of the record now
}

// Is makes errors.Is(err, ErrConflict) true.
func (c *Conflict) Is(target error) bool { return target == ErrConflict }

func (c *Conflict) Error() string { return c.Text(i18n.For("en"), time.UTC) }

// Text is the conflict for people.
func (c *Conflict) Text(p *i18n.Printer, loc *time.Location) string {
	person := c.Person
	if person == "" {
		person = p.T("incident.machine")
	}
	return p.T("incident.conflict."+c.What, "incident", c.Incident, "other", c.Other, "person", person, "at", c.At.In(loc).Format("2006-01-02 15:04:05"))
}

// BadAct names the field that is missing or wrong; its text says what to do.
type BadAct struct {
	Field string   // person, note, level, service, …: as the JSON of the API names it
	Key   string   // of the text, in the catalogue
	Pairs []string // for the text
}

// Is makes errors.Is(err, ErrBadAct) true.
func (b *BadAct) Is(target error) bool { return target == ErrBadAct }

func (b *BadAct) Error() string { return b.Field + ": " + b.Text(i18n.For("en")) }

// Text is the remedy for people.
func (b *BadAct) Text(p *i18n.Printer) string { return p.T(b.Key, b.Pairs...) }

package incident

import (
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/symptom"
)

// EventKind says what happened to an incident.
type EventKind string

// The kinds of events.
const (
	EventOpened    EventKind = "opened"
	EventSeen      EventKind = "seen"      // the symptom changed
	EventEscalated EventKind = "escalated" // a machine raised the level
	EventProposed  EventKind = "proposed"  // a machine would raise the level that a person has set
	EventGraded    EventKind = "graded"    // a person set the level
	EventReported  EventKind = "reported"  // a user called about it

	EventAcknowledged EventKind = "acknowledged"
	EventNoted        EventKind = "noted"
	EventDiagnosed    EventKind = "diagnosed" // the cause is looked for; Text is what was found so far
	EventArrived      EventKind = "arrived"   // on site
	EventAsked        EventKind = "asked"     // party A has a proposal before it: the recovery clock stands
	EventDecided      EventKind = "decided"   // party A has decided: it goes on
	EventActed        EventKind = "acted"     // something was done about it
	EventBypassed     EventKind = "bypassed"  // users can work, the root is to be mended
	EventPaused       EventKind = "paused"    // waiting for Why
	EventResumed      EventKind = "resumed"
	EventExtended     EventKind = "extended" // more time, until Until
	EventImpact       EventKind = "impact"   // whom it has hit

	EventVerifying EventKind = "verifying" // the first good sample; recovery is not sure yet
	EventSampled   EventKind = "sampled"   // so many good samples in a row by now
	EventBroken    EventKind = "broken"    // a sample was bad, and no fault: the good run begins anew with the next
	EventRelapsed  EventKind = "relapsed"  // the good run broke before it counted
	EventGap       EventKind = "gap"       // nobody watched for a while, so the good run does not count
	EventRecovered EventKind = "recovered"
	EventReopened  EventKind = "reopened"
	EventResolved  EventKind = "resolved"  // a person wrote down cause and handling
	EventConfirmed EventKind = "confirmed" // by party A, or by nobody's objection
	EventRefused   EventKind = "refused"   // party A says that it is not over: it is open again
	EventArchived  EventKind = "archived"
	EventClosed    EventKind = "closed" // what earlier versions wrote for archived, without confirmation

	EventDoubted  EventKind = "doubted"     // a person says that it is a false alarm
	EventFalse    EventKind = "false_alarm" // a second one agrees
	EventUpheld   EventKind = "upheld"      // the doubt is taken back
	EventExcused  EventKind = "excused"     // party A agrees that it does not count
	EventMerged   EventKind = "merged"      // listed under Other: the same fault
	EventSplit    EventKind = "split"       // an incident of its own again; Other was its parent
	EventJoined   EventKind = "joined"      // Other is listed under this one
	EventLeft     EventKind = "left"        // Other is no longer
	EventOrphaned EventKind = "orphaned"    // the parent is over and this is not: its own from Until, unless it is good by then
	EventEnded    EventKind = "ended"       // the watcher is content after all
	EventEvidence EventKind = "evidence"    // what the hosts did around the fault
	EventTold     EventKind = "told"        // people were told what had been kept back
	EventWarned   EventKind = "warned"      // a share of the recovery time is used up
	EventBreached EventKind = "breached"    // a deadline was missed; Of is the deadline

	EventStepped   EventKind = "stepped"   // the wall clock was set: the incident's times go on as before, Skew behind it
	EventCorrected EventKind = "corrected" // a breach does not stand after a late fact
	EventRecounted EventKind = "recounted" // the holidays of a year that was guessed are known: its clocks are counted anew
)

// EventKinds lists all of them.
var EventKinds = []EventKind{
	EventOpened, EventSeen, EventEscalated, EventProposed, EventGraded, EventReported,
	EventAcknowledged, EventNoted, EventDiagnosed, EventArrived, EventAsked, EventDecided, EventActed, EventBypassed,
	EventPaused, EventResumed, EventExtended, EventImpact,
	EventVerifying, EventSampled, EventBroken, EventRelapsed, EventGap, EventRecovered, EventReopened, EventResolved, EventConfirmed, EventRefused, EventArchived, EventClosed,
	EventDoubted, EventFalse, EventUpheld, EventExcused, EventMerged, EventSplit, EventJoined, EventLeft, EventOrphaned, EventEnded,
	EventEvidence, EventTold, EventWarned, EventBreached, EventCorrected, EventStepped, EventRecounted,
}

// Event is one thing that happened to an incident. Events only grow; the record is what they add up to.
type Event struct {
	Incident string    `json:"incident"`
	N        int       `json:"n"` // from 1 in each incident, without holes
	Kind     EventKind `json:"kind"`
	At       time.Time `json:"at"`               // when it was written down; never before the event before it
	Of       time.Time `json:"of,omitzero"`      // when it took effect, where that is another time
	Person   string    `json:"person,omitempty"` // empty: the machine
	Via      string    `json:"via,omitempty"`    // console, cli, api, link, sms, phone
	Device   string    `json:"device,omitempty"`
	Address  string    `json:"address,omitempty"`
	PagedAt  time.Time `json:"paged_at,omitzero"` // of an acknowledgement: when the person was told; At is that much later
	Text     string    `json:"text,omitempty"`    // the person's note or reason

	Level    contract.Level   `json:"level,omitempty"`
	PartyA   string           `json:"party_a,omitempty"` // who of party A agreed, decided, confirmed
	Agreed   contract.Limits  `json:"agreed,omitzero"`
	Cause    string           `json:"cause,omitempty"`
	Handling string           `json:"handling,omitempty"`
	Reporter string           `json:"reporter,omitempty"`
	Breach   *contract.Breach `json:"breach,omitempty"`
	Symptom  *symptom.Symptom `json:"symptom,omitempty"`
	Opened   *Opened          `json:"opened,omitempty"`

	Category   Category          `json:"category,omitempty"`
	Prevention string            `json:"prevention,omitempty"`
	Proposal   *Proposal         `json:"proposal,omitempty"`
	Consent    bool              `json:"consent,omitempty"` // of decided
	Step       *Step             `json:"step,omitempty"`
	Workaround *Workaround       `json:"workaround,omitempty"`
	Until      time.Time         `json:"until,omitzero"` // of extended the new deadline; of recovered when it counts as confirmed
	Why        contract.Reason   `json:"why,omitempty"`  // of paused and resumed
	Impact     *Impact           `json:"impact,omitempty"`
	Excused    Excused           `json:"excused,omitempty"`
	Other      string            `json:"other,omitempty"` // the other incident of merged, split, joined, left
	Curves     []Curve           `json:"curves,omitempty"`
	Carried    *Carried          `json:"carried,omitempty"`
	Skew       time.Duration     `json:"skew,omitempty"`
	Warning    *contract.Warning `json:"warning,omitempty"`
	Recount    *Recount          `json:"recount,omitempty"`
	Run        *symptom.Run      `json:"run,omitempty"` // of sampled
}

// Opened is what only the first event says.
type Opened struct {
	Key          string         `json:"key"`
	ServiceZH    string         `json:"service_zh,omitempty"`
	ServiceEN    string         `json:"service_en,omitempty"`
	ReportedAt   time.Time      `json:"reported_at,omitzero"`
	RecurrenceOf string         `json:"recurrence_of,omitempty"`
	Window       string         `json:"window,omitempty"`   // it still failed at the end of this planned window
	Separate     bool           `json:"separate,omitempty"` // a person says that it is a fault of its own
	Terms        contract.Terms `json:"terms"`
}

// Carried is what one incident gives to another that stands for the same fault from now on: the clocks of the fault began
// with the first that was known of it, and who has taken it on under one number has taken it on.
type Carried struct {
	DetectedAt time.Time `json:"detected_at,omitzero"`
	ReportedAt time.Time `json:"reported_at,omitzero"`
	AckAt      time.Time `json:"ack_at,omitzero"`
	AckBy      string    `json:"ack_by,omitempty"`
	AckVia     string    `json:"ack_via,omitempty"`
}

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
	EventOpened       EventKind = "opened"
	EventSeen         EventKind = "seen"      // the symptom changed
	EventEscalated    EventKind = "escalated" // a machine raised the level
	EventProposed     EventKind = "proposed"  // a machine would raise the level that a person has set
	EventGraded       EventKind = "graded"    // a person set the level
	EventReported     EventKind = "reported"  // a user called about it
	EventAcknowledged EventKind = "acknowledged"
	EventNoted        EventKind = "noted"
	EventVerifying    EventKind = "verifying" // the first good sample; recovery is not sure yet
	EventRelapsed     EventKind = "relapsed"  // the good run broke before it counted
	EventGap          EventKind = "gap"       // nobody watched for a while, so the good run does not count
	EventRecovered    EventKind = "recovered"
	EventReopened     EventKind = "reopened"
	EventResolved     EventKind = "resolved" // a person wrote down cause and handling
	EventClosed       EventKind = "closed"
	EventBreached     EventKind = "breached"  // a deadline was missed; Of is the deadline
	EventCorrected    EventKind = "corrected" // a breach does not stand after a late fact
)

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
	PartyA   string           `json:"party_a,omitempty"` // who of party A agreed
	Agreed   contract.Limits  `json:"agreed,omitzero"`
	Cause    string           `json:"cause,omitempty"`
	Handling string           `json:"handling,omitempty"`
	Reporter string           `json:"reporter,omitempty"`
	Breach   *contract.Breach `json:"breach,omitempty"`
	Symptom  *symptom.Symptom `json:"symptom,omitempty"`
	Opened   *Opened          `json:"opened,omitempty"`
}

// Opened is what only the first event says.
type Opened struct {
	Key          string         `json:"key"`
	ServiceZH    string         `json:"service_zh,omitempty"`
	ServiceEN    string         `json:"service_en,omitempty"`
	ReportedAt   time.Time      `json:"reported_at,omitzero"`
	RecurrenceOf string         `json:"recurrence_of,omitempty"`
	Terms        contract.Terms `json:"terms"`
}

package incident

import (
	"slices"
	"time"
)

// State is how far an incident has come (R10).
type State string

// The states, in the order of an incident's life. The last two are side exits.
const (
	Detected     State = "detected"         // nobody has taken it on
	Acknowledged State = "acknowledged"     // a named person has
	Diagnosing   State = "diagnosing"       // the cause is looked for
	Awaiting     State = "awaiting_consent" // party A has a proposal before it
	Handling     State = "handling"         // something is being done about it
	Recovered    State = "recovered"        // the service is usable again
	Confirmed    State = "confirmed"        // party A agrees that it is
	Archived     State = "archived"         // cause and handling are written down
	Merged       State = "merged"           // listed under another incident, which is the same fault
	FalseAlarm   State = "false_alarm"      // two people say that there was no fault
)

// States lists all of them in their order.
var States = []State{Detected, Acknowledged, Diagnosing, Awaiting, Handling, Recovered, Confirmed, Archived, Merged, FalseAlarm}

func (s State) open() bool {
	return slices.Contains([]State{Detected, Acknowledged, Diagnosing, Awaiting, Handling}, s)
}

// UnmarshalText also reads the word of earlier versions for the last state.
func (s *State) UnmarshalText(b []byte) error {
	if *s = State(b); *s == "closed" {
		*s = Archived
	}
	return nil
}

// Category is the kind of a cause (原因分类).
type Category string

// The categories: 软件 配置 硬件 网络 上级平台 第三方 操作 安全 不明 未复现.
const (
	Software      Category = "software"
	Configuration Category = "configuration"
	Hardware      Category = "hardware"
	Network       Category = "network"
	UpstreamCause Category = "upstream"
	ThirdParty    Category = "third_party"
	Operation     Category = "operation"
	Security      Category = "security"
	Unclear       Category = "unclear"
	NotReproduced Category = "not_reproduced" // 未复现: a user told of it, and nobody could see it again
)

// Categories lists all of them.
var Categories = []Category{Software, Configuration, Hardware, Network, UpstreamCause, ThirdParty, Operation, Security, Unclear, NotReproduced}

// Excused says why an incident is not counted against the contractor (4.4).
type Excused string

// The excuses.
const (
	ExcusedFalse   Excused = "false_alarm"
	ExcusedPlanned Excused = "planned" // a planned window

	// Outside of the contractor's responsibility: the platform of the level above (上级平台), the network, a third party.
	ExcusedUpstream Excused = "upstream"
	ExcusedNetwork  Excused = "network"
	ExcusedThird    Excused = "third_party"
	ExcusedOutside  Excused = "outside" // what earlier versions wrote for these

	ExcusedWaived Excused = "waived" // party A takes no points although it could: counted all the same
)

// Excuses lists those that may be given.
var Excuses = []Excused{ExcusedFalse, ExcusedPlanned, ExcusedUpstream, ExcusedNetwork, ExcusedThird, ExcusedWaived}

// Handled is what people have done about a fault.
type Handled struct {
	Diagnosis  string    `json:"diagnosis,omitempty"` // the latest word on it
	ArrivedAt  time.Time `json:"arrived_at,omitzero"` // on site
	ArrivedBy  string    `json:"arrived_by,omitempty"`
	Consents   []Consent `json:"consents,omitempty"` // what party A was asked, the latest maxListed
	Actions    []Action  `json:"actions,omitempty"`  // what was done, the latest maxListed
	Workaround *Bypass   `json:"workaround,omitempty"`
	Extensions []Granted `json:"extensions,omitempty"`
	Pauses     []Pause   `json:"pauses,omitempty"` // waiting for others than party A
	Doubt      *Doubt    `json:"doubt,omitempty"`  // somebody says that it is a false alarm
	Impact     Impact    `json:"impact,omitzero"`
	Cause      string    `json:"cause,omitempty"`
	Category   Category  `json:"category,omitempty"`
	Handling   string    `json:"handling,omitempty"`
	Prevention string    `json:"prevention,omitempty"`
}

// Consent is a proposal with party A's decision, once there is one.
type Consent struct {
	Proposal
	By        string    `json:"by"`
	At        time.Time `json:"at"`
	DecidedAt time.Time `json:"decided_at,omitzero"`
	Agreed    bool      `json:"agreed,omitempty"`
	PartyA    string    `json:"party_a,omitempty"` // empty: the fault was over before anybody decided
	Reason    string    `json:"reason,omitempty"`
}

// Action is something that was done. Agreed says that party A had consented to a proposal; an emergency needs none.
type Action struct {
	Step
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Agreed bool      `json:"agreed,omitempty"`
}

// Bypass is a workaround in force: the root of the fault is still to be mended.
type Bypass struct {
	Workaround
	By string    `json:"by"`
	At time.Time `json:"at"`
}

// Granted is more time for a recovery.
type Granted struct {
	Extension
	Was    time.Time `json:"was"` // the deadline before
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
}

// Pause is a time of waiting for somebody else.
type Pause struct {
	Pausing
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	From   time.Time `json:"from"`
	To     time.Time `json:"to,omitzero"`
}

// Doubt is one person's word that there was no fault; it takes a second person's.
type Doubt struct {
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
	PartyA string    `json:"party_a,omitempty"`
}

// Impact says whom a fault has hit (影响范围).
type Impact struct {
	Departments string `json:"departments,omitempty"`
	People      int    `json:"people,omitempty"`
	Functions   string `json:"functions,omitempty"`
}

// waiting is the proposal that party A has before it, nil when there is none.
func (h *Handled) waiting() *Consent {
	if n := len(h.Consents); n > 0 && h.Consents[n-1].DecidedAt.IsZero() {
		return &h.Consents[n-1]
	}
	return nil
}

// agreed says that party A has consented to something.
func (h *Handled) agreed() bool {
	return slices.ContainsFunc(h.Consents, func(c Consent) bool { return c.Agreed })
}

// keep appends to a list that holds at most maxListed, and shares nothing with the list before.
func keep[T any](list []T, v T) []T {
	return append(slices.Clone(list[max(0, len(list)-maxListed+1):]), v)
}

// last is a copy of a list, and its last element to be changed.
func last[T any](list []T) ([]T, *T) {
	list = slices.Clone(list)
	return list, &list[len(list)-1]
}

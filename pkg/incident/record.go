// Package incident keeps one record for each fault: opens, grades, acknowledges, recovers and closes it under contract clocks.
package incident

import (
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/i18n"
	"xunjian/pkg/symptom"
)

// State is how far an incident has come (R10).
type State string

// The states.
const (
	Detected     State = "detected"     // nobody has taken it on
	Acknowledged State = "acknowledged" // a named person has
	Recovered    State = "recovered"    // the service is usable again
	Closed       State = "closed"       // cause and handling are written down
)

// States lists all of them in their order.
var States = []State{Detected, Acknowledged, Recovered, Closed}

// Record is one incident as its events have made it: Fold(events) gives the same record.
type Record struct {
	ID      string `json:"id"`      // INC-20261123-0007: the day it opened, and its number on that day
	Version int    `json:"version"` // the number of its last event
	State   State  `json:"state"`

	Key       string         `json:"key"` // symptom.Key: at most one open incident has it
	Service   string         `json:"service"`
	ServiceZH string         `json:"service_zh"`
	ServiceEN string         `json:"service_en"`
	Component string         `json:"component,omitempty"`
	Class     symptom.Class  `json:"class"`      // the gravest seen
	LastClass symptom.Class  `json:"last_class"` // the one seen last
	Rule      string         `json:"rule,omitempty"`
	Source    symptom.Source `json:"source"`            // who noticed first
	Linked    bool           `json:"linked"`            // a check or rule watches it, so that its recovery is observed and not declared
	Watcher   symptom.Source `json:"watcher,omitempty"` // whose finding it is linked to
	Detail    string         `json:"detail"`            // what was seen last

	Level       contract.Level `json:"level"`
	PersonLevel bool           `json:"person_level,omitempty"` // a person has set the level: machines only propose
	Proposed    contract.Level `json:"proposed,omitempty"`     // a graver level that a machine proposes

	FaultStart     time.Time `json:"fault_start"`          // first failing sample (R1)
	DetectedAt     time.Time `json:"detected_at,omitzero"` // confirmed by us
	ReportedAt     time.Time `json:"reported_at,omitzero"` // told by a user
	Reporter       string    `json:"reporter,omitempty"`
	SLAStart       time.Time `json:"sla_start"`
	OpenedAt       time.Time `json:"opened_at"`
	OpenedBy       string    `json:"opened_by,omitempty"` // empty: found by monitoring
	AckAt          time.Time `json:"ack_at,omitzero"`
	AckBy          string    `json:"ack_by,omitempty"`
	AckVia         string    `json:"ack_via,omitempty"`
	ResponseDue    time.Time `json:"response_due,omitzero"` // zero: no limit
	RecoveryDue    time.Time `json:"recovery_due,omitzero"`
	VerifyingSince time.Time `json:"verifying_since,omitzero"` // first good sample of a run that has not held long enough yet
	Blind          bool      `json:"blind,omitempty"`          // the good run was lost to a gap in watching
	RecoveredAt    time.Time `json:"recovered_at,omitzero"`    // first good sample of the run that held (R5)
	Provisional    bool      `json:"provisional,omitempty"`    // the recovery is a person's declaration
	ResolvedBy     string    `json:"resolved_by,omitempty"`
	ClosedAt       time.Time `json:"closed_at,omitzero"`
	ClosedBy       string    `json:"closed_by,omitempty"`
	Cause          string    `json:"cause,omitempty"`
	Handling       string    `json:"handling,omitempty"`

	Breaches     []contract.Breach  `json:"breaches,omitempty"`
	Relapses     int                `json:"relapses,omitempty"` // good runs that broke, and reopenings
	RecurrenceOf string             `json:"recurrence_of,omitempty"`
	Evidence     []symptom.Evidence `json:"evidence,omitempty"` // the first and the latest, at most MaxEvidence
	Seen         int                `json:"seen,omitempty"`     // changes of the symptom written down, at most MaxSeen

	UpdatedAt time.Time        `json:"updated_at"`
	Terms     contract.Terms   `json:"terms"` // in force when it opened
	History   contract.History `json:"history"`
}

// MaxEvidence and MaxSeen bound what a symptom that keeps changing can write into one incident.
const (
	MaxEvidence = 20
	MaxSeen     = 200
)

// Open says that the fault itself is not over.
func (r Record) Open() bool { return r.State == Detected || r.State == Acknowledged }

// Finding is the symptom behind a linked incident as its source would tell it: what a source that starts anew must know
// to tell its end. Its key is the incident's.
func (r Record) Finding() symptom.Symptom {
	return symptom.Symptom{
		Source: r.Watcher, Service: r.Service, Component: r.Component, Class: r.Class, Level: r.Level, Rule: r.Rule,
		Detail: r.Detail, Firing: true, Since: r.FaultStart, At: r.DetectedAt,
	}
}

// Breached says that a deadline was missed.
func (r Record) Breached() bool { return len(r.Breaches) > 0 }

// Clocks reads both contract clocks at now.
func (r Record) Clocks(now time.Time) contract.Clocks { return r.Terms.Assess(r.History, now) }

// ServiceTitle is the service's name for people.
func (r Record) ServiceTitle(p *i18n.Printer) string {
	switch {
	case p.Lang == "en" && r.ServiceEN != "":
		return r.ServiceEN
	case r.ServiceZH != "":
		return r.ServiceZH
	}
	return r.Service
}

// Title says in one line what is wrong: 签章服务 中断, Signature service: down.
func (r Record) Title(p *i18n.Printer) string {
	key := "incident.title"
	if r.Component != "" && (r.Source != symptom.FromProbe || r.Class == symptom.Warning) {
		key = "incident.title_component"
	}
	class := p.T("common.class." + string(r.Class))
	if r.Class == symptom.External { // the name of the alert says more than that there is one
		class = r.Rule
	}
	return p.T(key, "service", r.ServiceTitle(p), "component", r.Component, "class", class)
}

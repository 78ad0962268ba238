// Package incident keeps one record for each fault, from the first symptom to the signed-off file, under contract clocks.
package incident

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/i18n"
	"xunjian/pkg/symptom"
)

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

	FaultStart     time.Time    `json:"fault_start"`          // first failing sample (R1)
	DetectedAt     time.Time    `json:"detected_at,omitzero"` // confirmed by us
	ReportedAt     time.Time    `json:"reported_at,omitzero"` // told by a user
	Reporter       string       `json:"reporter,omitempty"`
	CarriedCall    time.Time    `json:"carried_call,omitzero"` // the first call about an incident that is listed under this one
	SLAStart       time.Time    `json:"sla_start"`
	OpenedAt       time.Time    `json:"opened_at"`
	OpenedBy       string       `json:"opened_by,omitempty"` // empty: found by monitoring
	AckAt          time.Time    `json:"ack_at,omitzero"`
	AckBy          string       `json:"ack_by,omitempty"`
	AckVia         string       `json:"ack_via,omitempty"`
	ResponseDue    time.Time    `json:"response_due,omitzero"` // zero: no limit
	RecoveryDue    time.Time    `json:"recovery_due,omitzero"`
	VerifyingSince time.Time    `json:"verifying_since,omitzero"` // first good sample of a run that has not held long enough yet
	Samples        *symptom.Run `json:"samples,omitempty"`        // good ones in a row, where the watcher counts them (R5); nil: time alone proves a recovery
	Blind          bool         `json:"blind,omitempty"`          // the good run was lost to a gap in watching, or to a single bad sample
	RecoveredAt    time.Time    `json:"recovered_at,omitzero"`    // first good sample of the run that held (R5)
	Provisional    bool         `json:"provisional,omitempty"`    // the recovery is a person's declaration
	ResolvedBy     string       `json:"resolved_by,omitempty"`
	ConfirmDue     time.Time    `json:"confirm_due,omitzero"`  // when the recovery counts as confirmed if nobody objects (R10)
	ConfirmFrom    time.Time    `json:"confirm_from,omitzero"` // when it was written down: working days count from there
	ConfirmedAt    time.Time    `json:"confirmed_at,omitzero"`
	ConfirmedBy    string       `json:"confirmed_by,omitempty"` // of party A; empty: nobody objected in time (默认确认)
	ClosedAt       time.Time    `json:"closed_at,omitzero"`     // when it was archived, or found a false alarm
	ClosedBy       string       `json:"closed_by,omitempty"`

	Handled           // what people have done about it
	Together          // how it stands to other incidents
	Muted     bool    `json:"muted,omitempty"`   // its watcher still fails as it did when people said that it was over: no news until that ends or grows
	Excused   Excused `json:"excused,omitempty"` // why it is not counted, as party A agreed (4.4)
	ExcusedBy string  `json:"excused_by,omitempty"`
	ExcusedOn string  `json:"excused_on,omitempty"` // the reason in words

	Breaches     []contract.Breach  `json:"breaches,omitempty"`
	Warned       []contract.Warning `json:"warned,omitempty"` // shares of the recovery time that were told
	WarnAfter    time.Time          `json:"warn_after,omitzero"`
	Window       string             `json:"window,omitempty"`   // it still failed at the end of this planned window
	Relapses     int                `json:"relapses,omitempty"` // good runs that broke, and reopenings
	RecurrenceOf string             `json:"recurrence_of,omitempty"`
	Evidence     []symptom.Evidence `json:"evidence,omitempty"` // the first and the latest, at most MaxEvidence
	Curved       int                `json:"curved,omitempty"`   // 1: hosts' curves of its beginning are attached, 2: of its end too
	Seen         int                `json:"seen,omitempty"`     // changes of the symptom written down, at most MaxSeen

	ActedN    int              `json:"acted_n,omitempty"` // the last event that a person made: acts on an older version are refused
	ActedBy   string           `json:"acted_by,omitempty"`
	ActedAt   time.Time        `json:"acted_at,omitzero"`
	UpdatedAt time.Time        `json:"updated_at"`
	Skew      time.Duration    `json:"skew,omitempty"`    // by how much the wall clock has been set since it opened: its times go on as if it had not
	PagedAt   time.Time        `json:"paged_at,omitzero"` // when people were last told
	Owed      PageKind         `json:"owed,omitempty"`    // news that waits, so that people are not told too often
	Form      int              `json:"form,omitempty"`    // recordForm when it was written
	Terms     contract.Terms   `json:"terms"`             // in force when it opened
	History   contract.History `json:"history"`
}

// Together says how an incident stands to others (R12). One that has a parent is the same fault: it stays listed, and only
// the parent counts and is told.
type Together struct {
	Parent   string    `json:"parent,omitempty"`
	LeaveBy  time.Time `json:"leave_by,omitzero"`  // the parent is over: it stands by itself from then on unless it is good by then
	Alone    bool      `json:"alone,omitempty"`    // a person says that it is a fault of its own
	Children []string  `json:"children,omitempty"` // at most MaxChildren
}

// Bounds of what one incident holds. Its events hold all.
const (
	MaxEvidence = 20
	MaxSeen     = 200 // changes of a symptom written down
	MaxChildren = 1000
	maxListed   = 50 // proposals, actions and the like: the latest
)

// Open says that it is an incident of its own whose fault is not over.
func (r Record) Open() bool { return r.State.open() }

// Failing says that its fault is not over, whether it stands by itself or is listed under another.
func (r Record) Failing() bool { return r.Open() || r.State == Merged && r.RecoveredAt.IsZero() }

// Filed says that nothing is to be done about it any more.
func (r Record) Filed() bool {
	return r.State == Archived || r.State == FalseAlarm || r.State == Merged
}

// Counts says that it counts for the contract's figures: not if another stands for the same fault, nor if party A agreed.
func (r Record) Counts() bool {
	return r.Parent == "" && (r.Excused == "" || r.Excused == ExcusedWaived)
}

// Exclusion is what the contract calls the reason for which party A agreed that the incident does not count, empty when
// there is none; whether it spares anything is for the contract to say.
func (r Record) Exclusion() contract.Exclusion {
	switch r.Excused {
	case ExcusedFalse:
		return contract.FalseAlarm
	case ExcusedPlanned:
		return contract.PlannedWork
	case ExcusedUpstream:
		return contract.UpstreamFault
	case ExcusedNetwork:
		return contract.NetworkFault
	case ExcusedThird:
		return contract.ThirdPartyFault
	case ExcusedOutside: // whose it was its category may say
		switch r.Category {
		case Network:
			return contract.NetworkFault
		case ThirdParty:
			return contract.ThirdPartyFault
		}
		return contract.UpstreamFault
	}
	return ""
}

// Finding is the symptom behind a linked incident as its source would tell it: what a source that starts anew must know
// to tell its end. Its key is the incident's.
func (r Record) Finding() symptom.Symptom {
	return symptom.Symptom{
		Source: r.Watcher, Service: r.Service, Component: r.Component, Class: r.Class, Level: r.Level, Rule: r.Rule,
		Detail: r.Detail, Firing: r.VerifyingSince.IsZero(), Since: r.FaultStart, At: r.DetectedAt, Run: r.Samples,
	}
}

// Unproven says that the recovery is being verified and waits for more good samples.
func (r Record) Unproven() bool {
	return !r.VerifyingSince.IsZero() && r.Samples != nil && r.Samples.Good < r.Terms.Samples
}

// Verification is what a recovery that is being verified waits for (R5).
type Verification struct {
	Since  time.Time `json:"since"`            // the first good sample: the recovery's time if it is proven
	Until  time.Time `json:"until"`            // it must stay good until then at least
	Good   int       `json:"good"`             // samples in a row
	Of     int       `json:"of,omitempty"`     // so many are wanted; 0: time alone
	Checks []string  `json:"checks,omitempty"` // of each of these
}

// Verification is nil where nothing is being verified.
func (r Record) Verification() *Verification {
	if r.VerifyingSince.IsZero() {
		return nil
	}
	v := &Verification{Since: r.VerifyingSince.UTC(), Until: r.VerifyingSince.Add(r.Terms.VerifyTime(r.Level)).UTC()}
	if r.Samples != nil && r.Terms.Samples > 0 {
		v.Good, v.Of, v.Checks = min(r.Samples.Good, r.Terms.Samples), r.Terms.Samples, r.Samples.Of
	}
	return v
}

// Tell says it in a line: how many of how many samples, since when, until when.
func (v Verification) Tell(p *i18n.Printer, loc *time.Location) string {
	key := "incident.verification"
	if v.Of > 0 {
		key = "incident.verification.samples"
	}
	clock := func(t time.Time) string { return t.In(loc).Format("15:04") }
	return p.T(key, "good", strconv.Itoa(v.Good), "of", strconv.Itoa(v.Of), "since", clock(v.Since), "until", clock(v.Until))
}

// TellRun says in a line how many samples were good, and of which checks no more can be had today.
func TellRun(r symptom.Run, p *i18n.Printer) string {
	var parts []string
	asked := slices.DeleteFunc(slices.Clone(r.Of), func(check string) bool { return slices.Contains(r.Spent, check) })
	if len(asked) > 0 {
		parts = append(parts, p.T("incident.samples", "good", strconv.Itoa(r.Good), "checks", strings.Join(asked, ", ")))
	}
	if len(r.Spent) > 0 {
		parts = append(parts, p.T("incident.samples_spent", "checks", strings.Join(r.Spent, ", ")))
	}
	return strings.Join(parts, " · ")
}

// Breached says that a deadline was missed.
func (r Record) Breached() bool { return len(r.Breaches) > 0 }

// Clocks reads both contract clocks at a moment of the wall clock.
func (r Record) Clocks(now time.Time) contract.Clocks { return r.clocks(r.own(now)) }

// clocks reads them at a time of the record.
func (r Record) clocks(at time.Time) contract.Clocks { return r.Terms.Assess(r.History, at) }

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

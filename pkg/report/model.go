package report

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"xunjian/pkg/measure"

	"xunjian/pkg/contract"
	"xunjian/pkg/incident"
	"xunjian/pkg/symptom"
)

// Model is a month's figures. Its JSON is canonical: equal records give equal bytes.
type Model struct {
	Month       string    `json:"month"`
	From        time.Time `json:"from"`
	To          time.Time `json:"to"`
	AsOf        time.Time `json:"as_of"` // up to when records were seen; the report's own time
	Zone        string    `json:"zone"`
	Unfinished  bool      `json:"unfinished"`        // the month was not over at AsOf
	Watched     bool      `json:"watched"`           // anything at all was recorded in the month
	Provisional bool      `json:"provisional"`       // no holiday notice covers the month: working days are guessed
	Guessed     bool      `json:"guessed,omitempty"` // so are they in the clocks of a fault

	Rules    Rules         `json:"rules"`
	Summary  []Headline    `json:"summary"`
	Services []ServiceLine `json:"services"`
	Steps    []StepLine    `json:"steps"`
	Hosts    []HostLine    `json:"hosts"`
	Expiries []Expiry      `json:"expiries"`
	Faults   []Fault       `json:"faults"`
	Warnings []Fault       `json:"warnings"` // early warnings and gaps in monitoring: no faults of a service
	Levels   []LevelSum    `json:"levels"`   // one for each level, then their total
	Score    Score         `json:"score"`    // of the row of the assessment that incidents decide

	loc *time.Location
}

// zone is where the report's days begin.
func (m *Model) zone() *time.Location {
	if m.loc != nil {
		return m.loc
	}
	if loc, err := time.LoadLocation(m.Zone); err == nil {
		return loc
	}
	return time.FixedZone(m.Zone, 8*3600)
}

// Rules are the names, targets and thresholds in force when the figures were worked out.
type Rules struct {
	Project       string         `json:"project"`
	ContractNo    string         `json:"contract_no"`
	ServicePeriod string         `json:"service_period"`
	Customer      string         `json:"customer"`
	Vendor        string         `json:"vendor"`
	Target        float64        `json:"target"`
	InspectTarget float64        `json:"inspect_target"`
	Confirm       int            `json:"confirm"`
	Hold          int            `json:"hold"`
	GapLimit      float64        `json:"gap_limit"`
	OfficeHours   contract.Hours `json:"office_hours"`
	SummerHours   contract.Hours `json:"summer_hours,omitempty"`
	SummerFrom    string         `json:"summer_from,omitempty"`
	SummerTo      string         `json:"summer_to,omitempty"`
	Workdays      int            `json:"workdays"`
}

// Headline is one row of the summary. Its figures are shares or counts as Unit says.
type Headline struct {
	Key      string                 `json:"key"` // of the metric's name in the catalogue
	Subject  string                 `json:"subject,omitempty"`
	TitleZH  string                 `json:"title_zh,omitempty"` // of the subject
	TitleEN  string                 `json:"title_en,omitempty"`
	Unit     Unit                   `json:"unit"`
	Now      measure.Maybe[float64] `json:"now"`
	Previous measure.Maybe[float64] `json:"previous"`
	Target   measure.Maybe[float64] `json:"target"`
	Verdict  Verdict                `json:"verdict"`

	Provisional bool `json:"provisional,omitempty"` // Now rests on working days that nobody has announced
}

// Unit says how a headline's figures are written.
type Unit string

// The units.
const (
	Share Unit = "share" // 99.9000%
	Count Unit = "count"
)

// Verdict is the conclusion of a row, a key of the catalogue under report.verdict.
type Verdict string

// The verdicts.
const (
	Met        Verdict = "met"
	Missed     Verdict = "missed"
	MetWithGap Verdict = "met_with_gap" // the target is met by what is known, but too much is not
	NoData     Verdict = "nodata"
	NoTarget   Verdict = "none"
	Healthy    Verdict = "healthy"
	Watch      Verdict = "watch"
	Bad        Verdict = "bad"
)

// ServiceLine is a service's month (2.1).
type ServiceLine struct {
	Name string `json:"name"`
	ZH   string `json:"zh"`
	EN   string `json:"en"`

	Planned int64                        `json:"planned"` // grid ticks of all vantages while the checks existed
	Done    int64                        `json:"done"`    // rounds with a verdict
	Passed  int64                        `json:"passed"`
	Success measure.Maybe[float64]       `json:"success"`
	Always  measure.Maybe[float64]       `json:"availability"`        // 7×24
	Office  measure.Maybe[float64]       `json:"availability_office"` // 5×8
	Up      time.Duration                `json:"up"`
	Down    time.Duration                `json:"down"`
	Unknown time.Duration                `json:"unknown"`
	P50     measure.Maybe[time.Duration] `json:"p50"` // of good answers
	P95     measure.Maybe[time.Duration] `json:"p95"`
	Max     measure.Maybe[time.Duration] `json:"max"`
	Outages measure.Maybe[int64]         `json:"outages"`
	Longest measure.Maybe[time.Duration] `json:"longest"` // missing when there was none
	MTTR    measure.Maybe[time.Duration] `json:"mttr"`    // of the outages that ended
	Lasting bool                         `json:"lasting"` // the last outage had not ended
	Verdict Verdict                      `json:"verdict"`

	OfficeGuessed bool `json:"office_guessed,omitempty"` // office hours rest on working days that nobody has announced

	Detail       Stability `json:"detail"`        // 7×24
	OfficeDetail Stability `json:"detail_office"` // 5×8
}

// HostLine is a server's month (2.3). Loads are shares, by the minute.
type HostLine struct {
	Name string `json:"name"`
	IP   string `json:"ip"`
	Role string `json:"role"`

	CPU     Load                   `json:"cpu"`
	Memory  Load                   `json:"memory"`
	Mounts  []Mount                `json:"mounts"`
	Online  measure.Maybe[float64] `json:"online"` // share of the time for which its reports stand
	Verdict Verdict                `json:"verdict"`
}

// Load is how much of something was in use: the mean, the 95th percentile and the peak of its minutes.
type Load struct {
	Mean measure.Maybe[float64] `json:"mean"`
	P95  measure.Maybe[float64] `json:"p95"`
	Peak measure.Maybe[float64] `json:"peak"`
}

// Mount is a mount point's month.
type Mount struct {
	Path     string                 `json:"path"`
	Used     measure.Maybe[float64] `json:"used"`      // share, at the last sample
	Growth   measure.Maybe[int64]   `json:"growth"`    // bytes, from the first sample to the last
	FullDays measure.Maybe[float64] `json:"full_days"` // until 95 % are used, at the slope of the daily maxima
	Flat     bool                   `json:"flat"`      // the slope is known and does not rise
}

// Fault is one incident of the month, or carried over into it (3.1). Times after the model's moment are left out.
type Fault struct {
	ID         string         `json:"id"`
	Level      contract.Level `json:"level"`
	Service    string         `json:"service"`
	ZH         string         `json:"zh"`
	EN         string         `json:"en"`
	Component  string         `json:"component,omitempty"`
	Class      symptom.Class  `json:"class"`
	Detail     string         `json:"detail"`
	ByUser     bool           `json:"by_user"`    // a person told of it first
	CarriedIn  bool           `json:"carried_in"` // its clock had started before the month
	Recurrence bool           `json:"recurrence"`

	SLAStart  time.Time `json:"sla_start"`
	Start     time.Time `json:"start,omitzero"` // first failing sample
	Detected  time.Time `json:"detected,omitzero"`
	Reported  time.Time `json:"reported,omitzero"`
	Responded time.Time `json:"responded,omitzero"`
	Responder string    `json:"responder,omitempty"`
	Recovered time.Time `json:"recovered,omitzero"`
	Confirmed time.Time `json:"confirmed,omitzero"`

	Response measure.Maybe[time.Duration] `json:"response"`
	Net      measure.Maybe[time.Duration] `json:"net"`
	Raw      measure.Maybe[time.Duration] `json:"raw"`
	Paused   time.Duration                `json:"paused"`
	Breaches []contract.Breach            `json:"breaches,omitempty"`
	Limited  bool                         `json:"limited"`           // a deadline is or was set
	Settled  bool                         `json:"settled"`           // both clocks have stopped
	Parent   string                       `json:"parent,omitempty"`  // the incident that stands for the same fault and counts in its place
	Excused  incident.Excused             `json:"excused,omitempty"` // why party A agreed that it is not counted
	Spared   bool                         `json:"spared,omitempty"`  // it is not: the contract spares what is excused so
	Agreed   string                       `json:"agreed,omitempty"`  // who of party A agreed
	Why      string                       `json:"why,omitempty"`     // to what, in words

	Provisional bool `json:"provisional,omitempty"` // its clocks rest on working days that nobody has announced
	ByDefault   bool `json:"by_default,omitempty"`  // confirmed since nobody objected (默认确认)

	Cause    string `json:"cause,omitempty"`
	Handling string `json:"handling,omitempty"`
}

// LevelSum is a level's faults of the month, those carried over left out (3.2).
type LevelSum struct {
	Level    contract.Level               `json:"level,omitempty"` // empty: all levels
	Count    int64                        `json:"count"`
	Limited  int64                        `json:"limited"` // that have or had a deadline
	Met      int64                        `json:"met"`
	Breached int64                        `json:"breached"`
	Response measure.Maybe[time.Duration] `json:"response"` // mean of those responded to
	Recovery measure.Maybe[time.Duration] `json:"recovery"` // mean net time of those recovered
	Repeats  int64                        `json:"repeats"`

	Provisional bool `json:"provisional,omitempty"` // one of them is
}

// Digest is the SHA-256 of the model's JSON.
func (m *Model) Digest() (string, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("digest of month %s: %w", m.Month, err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

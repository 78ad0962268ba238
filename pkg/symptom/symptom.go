// Package symptom is the word for what is wrong: where, since when, how bad, and on what evidence.
package symptom

import (
	"time"

	"xunjian/pkg/contract"
)

// Class is the kind of trouble (DOMAIN 1, common mapping to levels).
type Class string

// The classes.
const (
	Down     Class = "down"     // confirmed outage
	Wrong    Class = "wrong"    // answers, but wrongly
	Unusable Class = "unusable" // so slow that it times out
	Partial  Class = "partial"  // one step, node or vantage fails
	Slow     Class = "slow"     // over the slow threshold, still completes
	Warning  Class = "warning"  // expiry, quota, trend
	Unknown  Class = "unknown"  // nobody can see: a gap in monitoring
	Host     Class = "host"     // a host rule fires: disk, memory, processor
	Silent   Class = "silent"   // an agent is not heard
	Reported Class = "reported" // a person called
	External Class = "external" // another monitor's alert
)

// Source says who noticed.
type Source string

// The sources.
const (
	FromProbe    Source = "probe"
	FromRule     Source = "rule"
	FromFleet    Source = "fleet"
	FromPerson   Source = "person"
	FromExternal Source = "external" // another monitor, through Alertmanager's API
)

// Symptom is one finding, told anew at each change; Firing false ends it.
type Symptom struct {
	Source    Source         `json:"source"`
	Service   string         `json:"service"`             // a service's name, or "host"
	Component string         `json:"component,omitempty"` // the check, the host, the mount point
	Class     Class          `json:"class"`
	Level     contract.Level `json:"level"`
	Rule      string         `json:"rule,omitempty"` // the alert's name when a rule found it
	Detail    string         `json:"detail"`         // what was seen, for people; never parsed
	Firing    bool           `json:"firing"`
	Since     time.Time      `json:"since"` // first failing sample, or first good one when it ends (R1, R5)
	At        time.Time      `json:"at"`    // when it was confirmed
	Evidence  []Evidence     `json:"evidence,omitempty"`
	Run       *Run           `json:"run,omitempty"` // of an end whose source counts samples, and tells again as they come
}

// Run is how many good samples in a row stand behind the end of a fault (R5).
type Run struct {
	Good  int      `json:"good"`            // of the check that has fewest; of one in Spent always enough
	Of    []string `json:"of,omitempty"`    // the checks that took part in the fault
	Spent []string `json:"spent,omitempty"` // of them, those that had good ones and could not be asked again that day: their budget was spent
}

// Aside says that a check noticed it beside its verdict; Rule names it.
func (s Symptom) Aside() bool { return s.Source == FromProbe && s.Class == Warning && s.Rule != "" }

// Evidence is one observation behind a symptom.
type Evidence struct {
	At    time.Time `json:"at"`
	Agent string    `json:"agent,omitempty"`
	Text  string    `json:"text"`
}

// Key is the fingerprint under which symptoms belong to one incident (R12). A service has one key whatever its class:
// one service in trouble is one incident, however many findings see it. What a check noticed beside its verdict (an expiry,
// a quota) is no trouble of the service yet and stands by itself.
func (s Symptom) Key() string {
	if s.Source == FromProbe && !s.Aside() {
		return "service/" + s.Service
	}
	return string(s.Class) + "/" + s.Service + "/" + s.Component + "/" + s.Rule
}

// Package check holds the words for asking a service: what is asked (Spec) and what came back (Result).
package check

import (
	"cmp"
	"slices"
	"time"
)

// Spec is one check as the collector's configuration states it and the plan carries it to agents.
type Spec struct {
	Name    string            `yaml:"name" json:"name"`                           // unique, [a-z0-9-]
	Service string            `yaml:"service" json:"service"`                     // the service whose state it feeds
	Kind    string            `yaml:"kind" json:"kind"`                           // a key of probe.Kinds: http, tcp
	Target  string            `yaml:"target" json:"target"`                       // URL for http, host:port for tcp
	Every   time.Duration     `yaml:"every,omitempty" json:"every,omitempty"`     // default 10 s
	Timeout time.Duration     `yaml:"timeout,omitempty" json:"timeout,omitempty"` // of the whole probe, name lookup included; default 2 s
	Slow    time.Duration     `yaml:"slow,omitempty" json:"slow,omitempty"`       // an answer later than this is slow; default 1 s
	Labels  map[string]string `yaml:"labels,omitempty" json:"labels,omitempty"`   // added to the check's series
	Secrets map[string]Ref    `yaml:"secrets,omitempty" json:"secrets,omitempty"` // read by the agent, on its own host

	// Who asks, and when.
	Agents   []string           `yaml:"agents,omitempty" json:"agents,omitempty"`
	Vantage  map[string]string  `yaml:"vantage,omitempty" json:"-"`               // labels of the agents that may ask; default any
	Vantages int                `yaml:"vantages,omitempty" json:"-"`              // how many of them ask on time, the others stand by; 0: all, or one of a check that logs in
	Standby  bool               `yaml:"-" json:"standby,omitempty"`               // of this agent's copy: asked only when another vantage saw a fault
	Hours    Hours              `yaml:"hours,omitempty" json:"hours,omitzero"`    // the part of the day in which it is asked at Every
	Budget   int                `yaml:"budget,omitempty" json:"budget,omitempty"` // most attempts of one agent a day; 0: no bound
	Periods  []Period           `yaml:"-" json:"-"`                               // in which it is asked more often; a plan has them once for all its checks
	Again    *int               `yaml:"again,omitempty" json:"again,omitempty"`   // how often a round asks again; default 2
	Levels   map[Trouble]string `yaml:"levels,omitempty" json:"-"`                // of this check's troubles, in place of the service's: minor, general, urgent
	Direct   string             `yaml:"direct,omitempty" json:"-"`                // the check of the same thing that does not go through the gateway: while that fails, this one's failure is not its own service's
	Allow    []string           `yaml:"allow,omitempty" json:"allow,omitempty"`   // networks (CIDR) that are refused otherwise: link-local, metadata

	// SlowUsual stands in place of inspect.slow_usual: an answer that takes so many times the usual is slow; 0: none is for that.
	SlowUsual *float64 `yaml:"slow_usual,omitempty" json:"-"`

	// Module is a module of blackbox_exporter that says how to ask; the collector writes it out in the sections below.
	Module     string `yaml:"module,omitempty" json:"-"`
	IPProtocol string `yaml:"preferred_ip_protocol,omitempty" json:"preferred_ip_protocol,omitempty"` // ip4 or ip6; default: the resolver's order
	IPFallback *bool  `yaml:"ip_protocol_fallback,omitempty" json:"ip_protocol_fallback,omitempty"`   // to the other one; default true

	HTTP HTTP  `yaml:"http,omitempty" json:"http,omitzero"`
	TCP  TCP   `yaml:"tcp,omitempty" json:"tcp,omitzero"`
	DNS  DNS   `yaml:"dns,omitempty" json:"dns,omitzero"`
	ICMP ICMP  `yaml:"icmp,omitempty" json:"icmp,omitzero"`
	GRPC GRPC  `yaml:"grpc,omitempty" json:"grpc,omitzero"`
	TLS  TLS   `yaml:"tls,omitempty" json:"tls,omitzero"`
	Flow *Flow `yaml:"flow,omitempty" json:"flow,omitempty"`
	SMS  *SMS  `yaml:"sms,omitempty" json:"sms,omitempty"`
	Seal Seal  `yaml:"seal,omitempty" json:"seal,omitzero"`

	Document Document `yaml:"document,omitempty" json:"document,omitzero"`
}

// Ref refers to a secret on the agent's host, so that neither configuration nor plan nor record ever holds its value.
type Ref struct {
	Env  string `yaml:"env,omitempty" json:"env,omitempty"`   // an environment variable that begins with XUNJIAN_
	File string `yaml:"file,omitempty" json:"file,omitempty"` // a file's name in the agent's folder of secrets
}

// Hours confine a check to a part of the day; the zero value is the whole day.
type Hours struct {
	From      string        `yaml:"from,omitempty" json:"from,omitempty"`           // 08:00
	To        string        `yaml:"to,omitempty" json:"to,omitempty"`               // 20:00; before From: over midnight
	Workdays  bool          `yaml:"workdays,omitempty" json:"workdays,omitempty"`   // Monday to Friday only
	Otherwise time.Duration `yaml:"otherwise,omitempty" json:"otherwise,omitempty"` // the pace outside; 0: not asked, which is no gap
}

// Period is a time, From included, in which checks are asked so many times as often as they are otherwise (重要时期, R19).
type Period struct {
	From  time.Time `json:"from"`
	To    time.Time `json:"to"`
	Times int       `json:"times"`
}

// Outcome is what one probe says of its target.
type Outcome string

// The outcomes (DOMAIN 1.0 rule 6). Unknown means that the probe itself could not run: never an outage, never uptime.
const (
	OK      Outcome = "ok"
	Slow    Outcome = "slow"
	Fail    Outcome = "fail"
	Unknown Outcome = "unknown"
)

// Class says at which point a probe failed; empty when it did not.
type Class string

// The classes of failure.
const (
	ClassDNS     Class = "dns"     // the name did not resolve
	ClassConnect Class = "connect" // refused, unreachable
	ClassTLS     Class = "tls"     // handshake or certificate
	ClassTimeout Class = "timeout" // no complete answer in time
	ClassReset   Class = "reset"   // the connection broke
	ClassStatus  Class = "status"  // an HTTP status that the check does not accept
	ClassAuth    Class = "auth"    // a login page instead of the answer
	ClassContent Class = "content" // an answer that does not hold what it must
	ClassSetup   Class = "setup"   // the check cannot run as configured; goes with Unknown
	ClassBudget  Class = "budget"  // it was not asked, for the day's budget is spent; goes with Unknown
)

// Trouble is what a failed attempt means for the service, in symptom's words (DOMAIN 1.0). Empty: what its Class says.
type Trouble string

// The troubles.
const (
	Down     Trouble = "down"
	Wrong    Trouble = "wrong"
	Unusable Trouble = "unusable"
	Partial  Trouble = "partial"
	Warning  Trouble = "warning"
	TooSlow  Trouble = "slow" // of a whole check only, for its Levels
)

// Step is one step of an attempt that has several, in the order in which they were made.
type Step struct {
	Name     string        `json:"name"` // of the flow's step; [a-z0-9-]
	Duration time.Duration `json:"duration"`
	Outcome  Outcome       `json:"outcome"`
	Class    Class         `json:"class,omitempty"`
	Reason   string        `json:"reason,omitempty"` // as Attempt's
	Status   int           `json:"status,omitempty"`
}

// Finding is what an attempt noticed beside its verdict: an expiry, a quota, a clean-up that failed, a version that changed.
// It neither makes the attempt fail nor is it asked again.
type Finding struct {
	Name   string    `json:"name"`            // what it is about, [a-z0-9-]: certificate, licence, balance, cleanup
	Level  string    `json:"level"`           // minor, general or urgent; empty tells that all is well again
	Reason string    `json:"reason"`          // as Attempt's
	Until  time.Time `json:"until,omitzero"`  // when it ends or becomes a fault
	Value  float64   `json:"value,omitempty"` // what is left, in the unit of its name
}

// Phase is one step of a probe under blackbox_exporter's name: resolve, connect, tls, processing, transfer.
type Phase struct {
	Name     string        `json:"name"`
	Duration time.Duration `json:"duration"`
}

// Attempt is one asking of the target.
type Attempt struct {
	Start      time.Time     `json:"start"`
	Duration   time.Duration `json:"duration"`
	Outcome    Outcome       `json:"outcome"`
	Class      Class         `json:"class,omitempty"`
	Reason     string        `json:"reason,omitempty"` // for people, at most 256 bytes
	Phases     []Phase       `json:"phases,omitempty"`
	Status     int           `json:"status,omitempty"`     // HTTP status, 0 when none came
	CertExpiry time.Time     `json:"cert_expiry,omitzero"` // earliest of the chain shown
	Bytes      int64         `json:"bytes,omitempty"`      // of the body, at most the cap
	Trouble    Trouble       `json:"trouble,omitempty"`    // of a failure whose kind knows better than its class
	Steps      []Step        `json:"steps,omitempty"`
	Findings   []Finding     `json:"findings,omitempty"`
	Values     []float64     `json:"-"` // of the kind's own series, in their order; they leave the agent as samples
}

// gravity orders the levels of findings, that all is well first. A word of a newer agent that is not here counts as minor.
var gravity = map[string]int{"": 0, "minor": 1, "general": 2, "urgent": 3}

// Note adds what was noticed. An attempt tells one thing of each name: the gravest, and the first of several as grave, so that
// what is well in one part (a daily sweep) hides no trouble in another (the run's own clean-up).
func (a *Attempt) Note(findings ...Finding) {
	for _, f := range findings {
		i := slices.IndexFunc(a.Findings, func(g Finding) bool { return g.Name == f.Name })
		switch {
		case i < 0:
			a.Findings = append(a.Findings, f)
		case f.gravity() > a.Findings[i].gravity():
			a.Findings[i] = f
		}
	}
}

func (f Finding) gravity() int {
	if g, ok := gravity[f.Level]; ok {
		return g
	}
	return gravity["minor"]
}

// Result is one round of a check: the scheduled attempt, and two more on fresh connections when the first was not ok.
type Result struct {
	Check    string    `json:"check"`
	Service  string    `json:"service"`
	Target   string    `json:"target"`
	At       time.Time `json:"at"`                // the planned tick
	Attempts []Attempt `json:"attempts"`          // at least one, the scheduled one first
	Again    int       `json:"again,omitempty"`   // how often a round of this check asks again; 0: the usual two
	Control  bool      `json:"control,omitempty"` // the daily negative control (DOMAIN 1.0 rule 3): it says nothing of the service
	Request  string    `json:"request,omitempty"` // of the collector, when it wanted this round out of turn
	Cut      string    `json:"cut,omitempty"`     // what the agent's own connectivity self-check found wrong when the round failed: it could not see
}

// First is the scheduled attempt.
func (r Result) First() Attempt { return r.Attempts[0] }

// CutOff says that no attempt of the round reached its target, as it would be if the agent reached nothing.
func (r Result) CutOff() bool {
	for _, a := range r.Attempts {
		if a.Outcome != Fail || a.Trouble != "" && a.Trouble != Down && a.Trouble != Unusable {
			return false
		}
		switch a.Class {
		case ClassDNS, ClassConnect, ClassTimeout, ClassReset:
		default:
			return false
		}
	}
	return true
}

// DefaultAgain is how often a round asks again unless the check says otherwise.
const DefaultAgain = 2

// Confirmed says that every attempt of the round ended alike (all failed, or none better than slow),
// which is what makes a single bad answer different from a fault.
func (r Result) Confirmed() bool {
	if again := cmp.Or(r.Again, DefaultAgain); len(r.Attempts) <= again {
		return false
	}
	for _, a := range r.Attempts {
		if a.Outcome != Fail && a.Outcome != Slow {
			return false
		}
	}
	return true
}

// Outcome is the round's verdict: that of the first attempt when nothing was asked again; else Fail when all
// attempts failed, Slow when none was ok, and the first attempt's own outcome (unconfirmed) otherwise.
func (r Result) Outcome() Outcome {
	if !r.Confirmed() {
		return r.First().Outcome
	}
	for _, a := range r.Attempts {
		if a.Outcome == Slow {
			return Slow
		}
	}
	return Fail
}

// Plan is what one agent must do. Equal plans have equal revisions.
type Plan struct {
	Revision  string        `json:"revision"`
	HostEvery time.Duration `json:"host_every"`
	Location  string        `json:"location,omitempty"` // time zone of the checks' hours; default UTC
	Periods   []Period      `json:"periods,omitempty"`  // those that are not over, in which checks are asked more often
	Checks    []Spec        `json:"checks"`
}

// Service is one thing under contract: its name in series and records, its titles for people.
type Service struct {
	Name string `yaml:"name" json:"name"`
	ZH   string `yaml:"zh" json:"zh"`
	EN   string `yaml:"en" json:"en"`
	Key  bool   `yaml:"key,omitempty" json:"key,omitempty"` // a key service (关键服务): its outage is urgent

	Needs []string `yaml:"needs,omitempty" json:"needs,omitempty"` // services that it stands on, or behind: what fails with one of them is one fault
	Hosts []string `yaml:"hosts,omitempty" json:"hosts,omitempty"` // agents' names of the hosts that it runs on
}

// Title is the service's name for people in "en" or, for any other language, Chinese.
func (s Service) Title(lang string) string {
	switch {
	case lang == "en" && s.EN != "":
		return s.EN
	case s.ZH != "":
		return s.ZH
	}
	return s.Name
}

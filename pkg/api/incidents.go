package api

import (
	"cmp"
	"net/http"
	"strconv"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/incident"
	"xunjian/pkg/symptom"
)

// maxList bounds a list of incidents.
const maxList = 5_000

// Incident is a record as the API tells it. Times are UTC; what is absent is left out.
type Incident struct {
	ID           string                 `json:"id"`
	Version      int                    `json:"version"`
	State        incident.State         `json:"state"`
	Level        contract.Level         `json:"level"`
	Proposed     contract.Level         `json:"proposed,omitempty"`
	Service      string                 `json:"service"`
	ServiceTitle string                 `json:"service_title"`
	Component    string                 `json:"component,omitempty"`
	Class        symptom.Class          `json:"class"`
	Rule         string                 `json:"rule,omitempty"`
	Source       symptom.Source         `json:"source"`
	Title        string                 `json:"title"`
	Detail       string                 `json:"detail"`
	FaultStart   time.Time              `json:"fault_start"`
	DetectedAt   time.Time              `json:"detected_at,omitzero"`
	ReportedAt   time.Time              `json:"reported_at,omitzero"`
	Reporter     string                 `json:"reporter,omitempty"`
	SLAStart     time.Time              `json:"sla_start"`
	OpenedAt     time.Time              `json:"opened_at"`
	OpenedBy     string                 `json:"opened_by,omitempty"`
	ResponseDue  time.Time              `json:"response_due,omitzero"`
	RecoveryDue  time.Time              `json:"recovery_due,omitzero"`
	AckAt        time.Time              `json:"ack_at,omitzero"`
	AckBy        string                 `json:"ack_by,omitempty"`
	AckVia       string                 `json:"ack_via,omitempty"`
	Verifying    time.Time              `json:"verifying_since,omitzero"`
	Verification *incident.Verification `json:"verification,omitempty"` // what a recovery that is being verified waits for
	RecoveredAt  time.Time              `json:"recovered_at,omitzero"`
	Provisional  bool                   `json:"provisional,omitempty"`
	ResolvedBy   string                 `json:"resolved_by,omitempty"`
	ClosedAt     time.Time              `json:"closed_at,omitzero"`
	ClosedBy     string                 `json:"closed_by,omitempty"`
	ConfirmDue   time.Time              `json:"confirm_due,omitzero"` // when the recovery counts as confirmed if nobody objects
	ConfirmedAt  time.Time              `json:"confirmed_at,omitzero"`
	ConfirmedBy  string                 `json:"confirmed_by,omitempty"` // of party A; empty: nobody objected in time
	Excused      string                 `json:"excused,omitempty"`
	ExcusedBy    string                 `json:"excused_by,omitempty"`
	Breaches     []contract.Breach      `json:"breaches,omitempty"`
	Relapses     int                    `json:"relapses,omitempty"`
	RecurrenceOf string                 `json:"recurrence_of,omitempty"`
	UpdatedAt    time.Time              `json:"updated_at"`
	incident.Handled
	incident.Together
	Clocks  []Clock `json:"clocks,omitempty"`  // those that have not stopped for good
	Guessed bool    `json:"guessed,omitempty"` // a clock rests on working days that nobody has announced: it is provisional until the notice comes

	May      []string           `json:"may,omitempty"` // of one incident only: what can be done about it now, whoever may
	Evidence []symptom.Evidence `json:"evidence,omitempty"`
	Events   []incident.Event   `json:"events,omitempty"`
}

// IncidentList is the answer to GET incidents, the newest first.
type IncidentList struct {
	Incidents []Incident `json:"incidents"`
	More      bool       `json:"more,omitempty"` // there are older ones that the limit left out
}

func (s *server) tell(r incident.Record, c *call) Incident {
	p := c.p
	breaches := make([]contract.Breach, len(r.Breaches))
	for i, b := range r.Breaches {
		b.At = b.At.UTC()
		breaches[i] = b
	}
	return Incident{
		ID: r.ID, Version: r.Version, State: r.State, Level: r.Level, Proposed: r.Proposed,
		Service: r.Service, ServiceTitle: r.ServiceTitle(p), Component: r.Component, Class: r.Class, Rule: r.Rule, Source: r.Source,
		Title: r.Title(p), Detail: r.Detail,
		FaultStart: r.FaultStart.UTC(), DetectedAt: r.DetectedAt.UTC(), ReportedAt: r.ReportedAt.UTC(), Reporter: r.Reporter,
		SLAStart: r.SLAStart.UTC(), OpenedAt: r.OpenedAt.UTC(), OpenedBy: r.OpenedBy,
		ResponseDue: r.ResponseDue.UTC(), RecoveryDue: r.RecoveryDue.UTC(),
		AckAt: r.AckAt.UTC(), AckBy: r.AckBy, AckVia: r.AckVia, Verifying: r.VerifyingSince.UTC(), Verification: r.Verification(),
		RecoveredAt: r.RecoveredAt.UTC(), Provisional: r.Provisional, ResolvedBy: r.ResolvedBy,
		ConfirmDue: r.ConfirmDue.UTC(), ConfirmedAt: r.ConfirmedAt.UTC(), ConfirmedBy: r.ConfirmedBy, ClosedAt: r.ClosedAt.UTC(), ClosedBy: r.ClosedBy,
		Excused: string(r.Excused), ExcusedBy: r.ExcusedBy, Handled: r.Handled, Together: r.Together, Clocks: s.clocks(r, c.now), Guessed: r.Guesses(c.now),
		Breaches: breaches, Relapses: r.Relapses, RecurrenceOf: r.RecurrenceOf, UpdatedAt: r.UpdatedAt.UTC(),
	}
}

func (s *server) listIncidents(c *call) (answer, error) {
	f, err := s.filter(c)
	if err != nil {
		return answer{}, err
	}
	if s.Incidents == nil {
		return answer{}, errNotRunning
	}
	limit := f.Limit
	f.Limit++ // one more tells whether there are more
	rs, err := s.Incidents.List(f)
	if err != nil {
		return answer{}, err
	}
	out := IncidentList{Incidents: make([]Incident, 0, min(len(rs), limit)), More: len(rs) > limit}
	for _, r := range rs[:min(len(rs), limit)] {
		out.Incidents = append(out.Incidents, s.tell(r, c))
	}
	return answer{json: out}, nil
}

func (s *server) filter(c *call) (f incident.Filter, err error) {
	q, err := c.query("state", "level", "service", "month", "limit")
	if err != nil {
		return f, err
	}
	f = incident.Filter{State: q["state"], Service: q["service"], Limit: 500}
	if q["level"] != "" {
		if f.Level, err = contract.ParseLevel(q["level"]); err != nil {
			return f, invalid("level", "level")
		}
	}
	if q["month"] != "" {
		if f.From, err = s.month(q["month"]); err != nil {
			return f, err
		}
		f.To = f.From.AddDate(0, 1, 0)
	}
	if q["limit"] != "" {
		if f.Limit, err = strconv.Atoi(q["limit"]); err != nil || f.Limit < 1 || f.Limit > maxList {
			return f, invalid("limit", "limit", "most", strconv.Itoa(maxList))
		}
	}
	return f, nil
}

// month is the first moment of a month written as 2026-11.
func (s *server) month(text string) (time.Time, error) {
	t, err := time.ParseInLocation("2006-01", text, s.Location)
	if err != nil || t.Format("2006-01") != text {
		return t, invalid("month", "month")
	}
	return t, nil
}

func (s *server) getIncident(c *call) (answer, error) {
	if s.Incidents == nil {
		return answer{}, errNotRunning
	}
	r, events, err := s.Incidents.Get(c.PathValue("id"))
	if err != nil {
		return answer{}, err
	}
	out := s.tell(r, c)
	out.Evidence, out.Events, out.May = r.Evidence, events, possible(r, c.now)
	return answer{json: out}, nil
}

// Act is what every act on an incident may carry.
type Act struct {
	Person  string `json:"person,omitempty"`  // in whose name; default: the token's person
	Note    string `json:"note,omitempty"`    // why, or what was seen
	Reason  string `json:"reason,omitempty"`  // another word for note
	Version int    `json:"version,omitempty"` // of the incident as the person saw it; 0 does not care
}

// Opening is a fault that a person reports.
type Opening struct {
	Act
	Service    string    `json:"service"`
	Component  string    `json:"component,omitempty"`
	Level      string    `json:"level"`
	Detail     string    `json:"detail"`
	Reporter   string    `json:"reporter,omitempty"`
	ReportedAt time.Time `json:"reported_at,omitzero"`
	Separate   bool      `json:"separate,omitempty"` // open it beside the incident that the service already has
}

// Call is a user's call about an incident that is open.
type Call struct {
	Act
	Reporter   string    `json:"reporter"`
	ReportedAt time.Time `json:"reported_at,omitzero"`
}

// Grading sets a level.
type Grading struct {
	Act
	Level          string `json:"level"`
	PartyA         string `json:"party_a,omitempty"`         // who of party A agreed to a lower one
	AgreedResponse string `json:"agreed_response,omitempty"` // durations, of a minor fault only
	AgreedRecovery string `json:"agreed_recovery,omitempty"`
}

// Account is what was wrong and what was done.
type Account struct {
	Act
	Cause      string `json:"cause,omitempty"`
	Category   string `json:"category,omitempty"` // a key incident.category.<category>
	Handling   string `json:"handling,omitempty"`
	Prevention string `json:"prevention,omitempty"`
	Declare    bool   `json:"declare,omitempty"` // declare the recovery although a check still watches
	PartyA     string `json:"party_a,omitempty"` // who of party A confirmed the recovery, to close what nobody has confirmed
}

func (s *server) act(c *call, a Act) (incident.Act, error) {
	person, err := c.person(a.Person)
	if err == nil {
		person, err = s.known(person)
	}
	return incident.Act{Person: person, Note: cmp.Or(a.Note, a.Reason), At: c.now, Via: c.via(), Address: c.address(), Version: a.Version}, err
}

func (s *server) openIncident(c *call) (answer, error) {
	var o Opening
	if err := c.read(&o); err != nil {
		return answer{}, err
	}
	if s.Incidents == nil {
		return answer{}, errNotRunning
	}
	a, err := s.act(c, o.Act)
	if err != nil {
		return answer{}, err
	}
	r, err := s.Incidents.Open(a, incident.Opening{
		Service: o.Service, Component: o.Component, Level: contract.Level(o.Level), Detail: o.Detail,
		Reporter: o.Reporter, ReportedAt: o.ReportedAt, Separate: o.Separate,
	})
	if err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusCreated, json: s.tell(r, c), header: map[string]string{"Location": Prefix + "/incidents/" + r.ID}}, nil
}

// outlook is how the clocks stand and what they come to.
func (s *server) outlook(r incident.Record, now time.Time) []contract.Outlook {
	if s.Incidents == nil {
		return nil
	}
	return s.Incidents.Forecast(r, now)
}

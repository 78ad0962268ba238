package api

import (
	"net/http"
	"strings"
	"time"

	"xunjian/pkg/access"
	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/fleet"
	"xunjian/pkg/incident"
	"xunjian/pkg/inspect"
)

// Service is a service's state as the API tells it.
type Service struct {
	Name   string        `json:"name"`
	Title  string        `json:"title"`
	Key    bool          `json:"key"`
	State  inspect.State `json:"state"`
	Since  time.Time     `json:"since,omitzero"`
	Detail string        `json:"detail,omitempty"`
	Checks []Check       `json:"checks"`
	Unseen []Unseen      `json:"unseen,omitempty"`
}

// Unseen is a check at which nobody has looked for long: a gap in monitoring.
type Unseen struct {
	Check  string    `json:"check"`
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
}

// Check is the newest round of one check from one agent.
type Check struct {
	Check      string        `json:"check"`
	Agent      string        `json:"agent"`
	Target     string        `json:"target"`
	Outcome    check.Outcome `json:"outcome"`
	Class      check.Class   `json:"class,omitempty"`
	Reason     string        `json:"reason,omitempty"`
	Seconds    float64       `json:"seconds"`
	Usual      float64       `json:"usual_seconds,omitempty"` // the median of good answers at this hour; left out when too little is known
	At         time.Time     `json:"at,omitzero"`
	CertExpiry time.Time     `json:"cert_expiry,omitzero"`
	Steps      []Step        `json:"steps,omitempty"`
	Findings   []Finding     `json:"findings,omitempty"`
}

// Step is one step of the newest round, in the order in which they were made.
type Step struct {
	Name    string        `json:"name"`
	Outcome check.Outcome `json:"outcome"` // unknown: not made
	Class   check.Class   `json:"class,omitempty"`
	Reason  string        `json:"reason,omitempty"`
	Status  int           `json:"status,omitempty"`
	Seconds float64       `json:"seconds"`
}

// Finding is what is not well beside a check's verdict: an expiry, a quota, a probe that is blind.
type Finding struct {
	Name   string    `json:"name"`
	Level  string    `json:"level"`
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"`
	Value  float64   `json:"value,omitempty"`
}

// Agent is one agent as the API tells it.
type Agent struct {
	Name        string    `json:"name"`
	State       string    `json:"state"` // heard, silent, stopped, never, revoked
	EnrolledAt  time.Time `json:"enrolled_at"`
	EnrolledBy  string    `json:"enrolled_by"`
	Serial      string    `json:"serial"`
	CertExpiry  time.Time `json:"cert_expiry"`
	LastHeard   time.Time `json:"last_heard,omitzero"`
	Version     string    `json:"version,omitempty"`
	Addr        string    `json:"addr,omitempty"`
	Plan        string    `json:"plan,omitempty"`
	SkewSeconds float64   `json:"skew_seconds"`
	Skewed      bool      `json:"skewed,omitempty"`
	LeftAt      time.Time `json:"left_at,omitzero"` // it was ended on purpose then, by a signal, and has not been heard since
	LeftBy      string    `json:"left_by,omitempty"`
	RevokedAt   time.Time `json:"revoked_at,omitzero"`
	RevokedBy   string    `json:"revoked_by,omitempty"`
	Reason      string    `json:"reason,omitempty"`
}

// The lists of the API stand under their names, so that there is room beside them.
type (
	// ServiceList is the answer to GET services.
	ServiceList struct {
		Services []Service `json:"services"`
	}
	// AgentList is the answer to GET agents.
	AgentList struct {
		Agents []Agent `json:"agents"`
	}
)

// Status is the collector at a glance.
type Status struct {
	Version   string                 `json:"version"`
	Now       time.Time              `json:"now"`
	StartedAt time.Time              `json:"started_at"`
	Ready     bool                   `json:"ready"`
	NotReady  string                 `json:"not_ready,omitempty"`
	Services  map[inspect.State]int  `json:"services,omitempty"`
	Agents    map[string]int         `json:"agents,omitempty"`
	Open      map[contract.Level]int `json:"open,omitempty"` // incidents whose fault lasts
	Series    *SeriesHeld            `json:"series,omitempty"`
	Warnings  []string               `json:"warnings,omitempty"` // of the collector itself
}

// SeriesHeld is how many series the store knows of how many it may.
type SeriesHeld struct {
	Known int    `json:"known"`
	Limit int    `json:"limit"`          // storage.max_series
	Note  string `json:"note,omitempty"` // what to do, once they come near it
}

func steps(k inspect.CheckStatus) (out []Step) {
	for _, x := range k.Steps {
		out = append(out, Step{Name: x.Name, Outcome: x.Outcome, Class: x.Class, Reason: x.Reason, Status: x.Status, Seconds: x.Duration.Seconds()})
	}
	return out
}

func findings(k inspect.CheckStatus) (out []Finding) {
	for _, f := range k.Findings {
		out = append(out, Finding{Name: f.Name, Level: f.Level, Reason: f.Reason, Since: f.Since.UTC(), Until: f.Until.UTC(), Value: f.Value})
	}
	return out
}

func (s *server) listServices(c *call) (answer, error) {
	if _, err := c.query(); err != nil {
		return answer{}, err
	}
	if s.Services == nil {
		return answer{}, errNotRunning
	}
	out := ServiceList{Services: []Service{}}
	for _, st := range s.Services.Services(c.now) {
		v := Service{
			Name: st.Service.Name, Title: st.Service.Title(c.p.Lang), Key: st.Service.Key, State: st.State, Since: st.Since.UTC(), Detail: st.Detail,
			Checks: make([]Check, 0, len(st.Checks)),
		}
		for _, k := range st.Checks {
			v.Checks = append(v.Checks, Check{
				Check: k.Check, Agent: k.Agent, Target: k.Target, Outcome: k.Outcome, Class: k.Class, Reason: k.Reason,
				Seconds: k.Duration.Seconds(), Usual: k.Usual.Seconds(), At: k.At.UTC(), CertExpiry: k.CertExpiry.UTC(), Steps: steps(k), Findings: findings(k),
			})
		}
		for _, u := range st.Unseen {
			v.Unseen = append(v.Unseen, Unseen{u.Check, u.Since.UTC(), u.Why})
		}
		out.Services = append(out.Services, v)
	}
	return answer{json: out}, nil
}

func (s *server) listAgents(c *call) (answer, error) {
	if _, err := c.query(); err != nil {
		return answer{}, err
	}
	if s.Agents == nil {
		return answer{}, errNotRunning
	}
	out := AgentList{Agents: []Agent{}}
	for _, a := range s.Agents.Agents() {
		out.Agents = append(out.Agents, Agent{
			Name: a.Name, State: a.State(), EnrolledAt: a.EnrolledAt.UTC(), EnrolledBy: a.EnrolledBy, Serial: a.Serial, CertExpiry: a.NotAfter.UTC(),
			LastHeard: a.LastHeard.UTC(), Version: a.Info.Version, Addr: a.Info.Addr, Plan: a.Info.Plan,
			SkewSeconds: a.Info.Skew.Seconds(), Skewed: a.Skewed, LeftAt: a.LeftAt, LeftBy: a.LeftBy, RevokedAt: a.RevokedAt.UTC(), RevokedBy: a.RevokedBy, Reason: a.Reason,
		})
	}
	return answer{json: out}, nil
}

func (s *server) revokeAgent(c *call) (answer, error) {
	var in Act
	if err := c.read(&in); err != nil {
		return answer{}, err
	}
	if s.Agents == nil {
		return answer{}, errNotRunning
	}
	a, err := s.act(c, in)
	if err != nil {
		return answer{}, err
	}
	if a.Note == "" {
		return answer{}, invalid("reason", "reason")
	}
	if err := s.Agents.Revoke(c.now, c.PathValue("name"), a.Person, a.Note); err != nil {
		return answer{}, err
	}
	return answer{json: struct{}{}}, nil
}

func (s *server) status(c *call) (answer, error) {
	st := Status{Version: s.Version, Now: c.now.UTC(), StartedAt: s.started.UTC(), Ready: true}
	if s.Ready != nil {
		if err := s.Ready(); err != nil {
			st.Ready, st.NotReady = false, err.Error()
		}
	}
	if s.Services != nil {
		st.Services = map[inspect.State]int{}
		for _, v := range s.Services.Services(c.now) {
			st.Services[v.State]++
		}
	}
	if s.Agents != nil {
		st.Agents = map[string]int{}
		for _, a := range s.Agents.Agents() {
			st.Agents[a.State()]++
		}
	}
	if s.Incidents != nil {
		open, err := s.Incidents.List(incident.Filter{State: "open"})
		if err != nil {
			return answer{}, err
		}
		st.Open = map[contract.Level]int{}
		for _, r := range open {
			st.Open[r.Level]++
		}
	}
	if s.Warnings != nil {
		st.Warnings = s.Warnings(c.now, c.p)
	}
	if s.Series != nil {
		held := s.Series(c.p)
		st.Series = &held
	}
	return answer{json: st}, nil
}

// formats are the reports' kinds by the ends of their names.
var formats = map[string]string{
	"docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	"xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	"json": "application/json",
}

func (s *server) getReport(c *call) (answer, error) {
	month, format, _ := strings.Cut(c.PathValue("file"), ".")
	kind, ok := formats[format]
	if !ok {
		return answer{}, ErrNotFound
	}
	first, err := s.month(month)
	if err != nil {
		return answer{}, err
	}
	if first.After(c.now) {
		return answer{}, invalid("month", "future")
	}
	if s.Reports == nil {
		return answer{}, errNotRunning
	}
	select {
	case s.reports <- struct{}{}:
		defer func() { <-s.reports }()
	case <-c.Context().Done():
		return answer{}, c.Context().Err()
	}
	b, err := s.Reports.Report(c.Context(), month, format, c.p.Lang)
	if err != nil {
		return answer{}, err
	}
	return answer{kind: kind, body: b, header: map[string]string{"Content-Disposition": `attachment; filename="xunjian-` + month + "." + format + `"`}}, nil
}

func (s *server) healthy(*call) (answer, error) { return text(http.StatusOK, "OK"), nil }

func (s *server) ready(*call) (answer, error) {
	if s.Ready != nil {
		if err := s.Ready(); err != nil {
			return text(http.StatusServiceUnavailable, err.Error()), nil
		}
	}
	return text(http.StatusOK, "OK"), nil
}

// reload answers once the new configuration is in force, or with all that is wrong with it.
func (s *server) reload(c *call) (answer, error) {
	if s.Reload == nil {
		return answer{}, errNotRunning
	}
	if err := s.Reload(c.Context()); err != nil {
		return text(http.StatusInternalServerError, err.Error()), nil
	}
	return text(http.StatusOK, "OK"), nil
}

var (
	_ Agents    = (*fleet.Registry)(nil)
	_ Access    = (*access.Directory)(nil)
	_ Incidents = (*incident.Desk)(nil)
	_ Services  = (*inspect.Board)(nil)
)

package api

import (
	"net/http"
	"time"

	"xunjian/pkg/incident"
)

// Windows are the planned windows (计划维护) of the desk.
type Windows interface {
	Windows(from, to time.Time) []incident.Window
	Plan(a incident.Act, w incident.Window) (incident.Window, error)
	CancelWindow(id string, a incident.Act) (incident.Window, error)
}

// WindowList is the answer to GET windows: those that are on or to come, and those of the last month.
type WindowList struct {
	Windows []incident.Window `json:"windows"`
}

// Planning asks for a planned window. Without services, hosts and checks it covers everything.
type Planning struct {
	Act
	Services []string  `json:"services,omitempty"`
	Hosts    []string  `json:"hosts,omitempty"`
	Checks   []string  `json:"checks,omitempty"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Approval string    `json:"approval,omitempty"` // number of the approved change
	PartyA   string    `json:"party_a"`            // who of party A approved it
	Override string    `json:"override,omitempty"` // why it must be although changes are frozen
}

const shownWindows = 31 * 24 * time.Hour // of the past

func (s *server) listWindows(c *call) (answer, error) {
	if _, err := c.query(); err != nil {
		return answer{}, err
	}
	if s.Windows == nil {
		return answer{}, errNotRunning
	}
	all := s.Windows.Windows(c.now.Add(-shownWindows), time.Time{})
	if all == nil {
		all = []incident.Window{}
	}
	return answer{json: WindowList{all}}, nil
}

func (s *server) planWindow(c *call) (answer, error) {
	var in Planning
	if err := c.read(&in); err != nil {
		return answer{}, err
	}
	if s.Windows == nil {
		return answer{}, errNotRunning
	}
	a, err := s.act(c, in.Act)
	if err != nil {
		return answer{}, err
	}
	w, err := s.Windows.Plan(a, incident.Window{
		Services: in.Services, Hosts: in.Hosts, Checks: in.Checks, From: in.From, To: in.To, Reason: a.Note, Approval: in.Approval, PartyA: in.PartyA, Override: in.Override,
	})
	if err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusCreated, json: w}, nil
}

func (s *server) cancelWindow(c *call) (answer, error) {
	var in Act
	if err := c.read(&in); err != nil {
		return answer{}, err
	}
	if s.Windows == nil {
		return answer{}, errNotRunning
	}
	a, err := s.act(c, in)
	if err != nil {
		return answer{}, err
	}
	w, err := s.Windows.CancelWindow(c.PathValue("id"), a)
	if err != nil {
		return answer{}, err
	}
	return answer{json: w}, nil
}

func (s *server) listCalls(c *call) (answer, error) {
	if _, err := c.query(); err != nil {
		return answer{}, err
	}
	if s.Pages == nil || s.Incidents == nil {
		return answer{}, errNotRunning
	}
	r, _, err := s.Incidents.Get(c.PathValue("id"))
	if err != nil {
		return answer{}, err
	}
	all, err := s.Pages.Calls(r.ID)
	if err != nil {
		return answer{}, err
	}
	out := CallList{Calls: []Called{}}
	for _, x := range all {
		v := Called{Key: x.Key(), Person: x.Person, Channel: x.Channel, Kind: string(x.Kind), Step: x.Step, At: x.At, SentAt: x.SentAt, FailedAt: x.FailedAt, DroppedAt: x.DroppedAt, Answer: x.Answer}
		if x.Person != "" && x.Person == r.AckBy && !x.SentAt.IsZero() && r.AckAt.After(x.SentAt) {
			v.ToAck = r.AckAt.Sub(x.SentAt).Seconds()
		}
		out.Calls = append(out.Calls, v)
	}
	return answer{json: out}, nil
}

// Called is one message to one person about an incident.
type Called struct {
	Key       string    `json:"key"` // the same for every try, also at the gateway
	Person    string    `json:"person"`
	Channel   string    `json:"channel"`
	Kind      string    `json:"kind"`
	Step      int       `json:"step,omitempty"` // of the escalation
	At        time.Time `json:"at"`
	SentAt    time.Time `json:"sent_at,omitzero"` // the receiver's yes
	FailedAt  time.Time `json:"failed_at,omitzero"`
	DroppedAt time.Time `json:"dropped_at,omitzero"` // not sent: somebody had acknowledged, or it was over
	Answer    string    `json:"answer,omitempty"`
	ToAck     float64   `json:"seconds_to_ack,omitempty"`
}

// CallList is the answer to GET incidents/{id}/calls.
type CallList struct {
	Calls []Called `json:"calls"`
}

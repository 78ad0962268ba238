package api

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"xunjian/pkg/deed"
	"xunjian/pkg/incident"
)

// deedRoutes are a route for each thing that people can do about an incident.
func deedRoutes() (out []route) {
	for _, d := range deed.Deeds {
		names := []string{d.Name}
		if d.Name == "archive" {
			names = append(names, "close") // its name in earlier versions
		}
		for _, name := range names {
			out = append(out, route{"POST", Prefix + "/incidents/{id}/" + name, d.Rule, func(s *server, c *call) (answer, error) { return s.doDeed(c, d) }})
		}
	}
	return out
}

// doDeed reads what a deed asks for and nothing else, finds out who acts, and answers with the incident after it.
func (s *server) doDeed(c *call, d deed.Deed) (answer, error) {
	raw := map[string]any{}
	if err := c.read(&raw); err != nil {
		return answer{}, err
	}
	var base Act
	v, err := readDeed(raw, d, &base)
	if err != nil {
		return answer{}, err
	}
	if s.Incidents == nil {
		return answer{}, errNotRunning
	}
	a, err := s.act(c, base)
	if err != nil {
		return answer{}, err
	}
	r, err := d.Do(s.Incidents, c.PathValue("id"), a, v)
	if err != nil {
		return answer{}, err
	}
	return answer{json: s.tell(r, c)}, nil
}

// readDeed sorts the members of a body into the act and the deed's own fields.
func readDeed(raw map[string]any, d deed.Deed, a *Act) (deed.Values, error) {
	v := deed.Values{}
	for name, value := range raw {
		i := slices.IndexFunc(d.Fields, func(f deed.Field) bool { return f.Name == name })
		var err error
		switch {
		case i >= 0:
			v[name], err = written(name, d.Fields[i].Kind, value)
		case name == "person":
			a.Person, err = written(name, deed.Name, value)
		case name == "note":
			a.Note, err = written(name, deed.Text, value)
		case name == "reason":
			a.Reason, err = written(name, deed.Text, value)
		case name == "version":
			var n string
			if n, err = written(name, deed.Number, value); err == nil {
				a.Version, err = strconv.Atoi(n)
			}
		default:
			err = badJSON(clip(name), "unknown field")
		}
		if err != nil {
			return nil, err
		}
	}
	return v, nil
}

// written is a value of JSON as a deed takes it.
func written(name string, kind deed.Kind, value any) (string, error) {
	want := "string"
	switch kind {
	case deed.Flag:
		want = "boolean"
		if b, ok := value.(bool); ok {
			return strconv.FormatBool(b), nil
		}
	case deed.Number:
		want = "number"
		if n, ok := value.(float64); ok && n == math.Trunc(n) && math.Abs(n) < 1<<31 {
			return strconv.FormatInt(int64(n), 10), nil
		}
	default:
		if t, ok := value.(string); ok {
			return t, nil
		}
	}
	return "", badJSON(name, "not a "+want)
}

// Clock is how one of the contract's clocks stands.
type Clock struct {
	Clock    string    `json:"clock"` // response or recovery
	Level    string    `json:"level"`
	Due      time.Time `json:"due"` // moves on while the clock stands
	Allowed  float64   `json:"allowed_seconds"`
	Used     float64   `json:"used_seconds"`
	Left     float64   `json:"left_seconds"` // below zero once it is missed
	Standing bool      `json:"standing,omitempty"`
	AtRisk   bool      `json:"at_risk,omitempty"`
	Breached bool      `json:"breached,omitempty"`
}

// clocks are those that have not stopped for good.
func (s *server) clocks(r incident.Record, now time.Time) (out []Clock) {
	for _, o := range s.outlook(r, now) {
		out = append(out, Clock{
			string(o.Clock), string(o.Level), o.Due.UTC(), o.Allowed.Seconds(), o.Used.Seconds(), o.Left.Seconds(), o.Standing, o.AtRisk, o.Breached,
		})
	}
	return out
}

// possible are the deeds that the incident's state allows now.
func possible(r incident.Record, now time.Time) []string {
	out := []string{}
	for _, d := range deed.Deeds {
		if d.May(r, now) {
			out = append(out, d.Name)
		}
	}
	return out
}

// Deed is the body of an act of the client: the deed's fields by name.
type Deed map[string]any

// body puts who, why and which version beside the fields.
func (d Deed) body(a Act) (json.RawMessage, error) {
	all := Deed{}
	for k, v := range d {
		all[k] = v
	}
	for k, v := range map[string]string{"person": a.Person, "note": a.Note, "reason": a.Reason} {
		if v != "" {
			all[k] = v
		}
	}
	if a.Version != 0 {
		all["version"] = a.Version
	}
	b, err := json.Marshal(all)
	if err != nil {
		return nil, fmt.Errorf("encode act: %w", err)
	}
	return b, nil
}

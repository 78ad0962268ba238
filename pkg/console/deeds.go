package console

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"xunjian/pkg/access"
	"xunjian/pkg/deed"
	"xunjian/pkg/incident"
)

// deedView is an act that is possible now for who looks, as a form.
type deedView struct {
	Incident, Name, Title string
	Version               int
	Fields                []fieldView
	Note                  string // its label; empty: none is asked for
	NoteMust              bool
	NoteSaid              string
	Open                  bool // what comes next, or what was refused just now
}

type fieldView struct {
	ID, Name, Label, Said string
	Kind                  deed.Kind
	Must                  bool
	Choices               []choiceView
}

type choiceView struct {
	Value, Text string
	Said        bool
}

// next is what usually comes next in a state. An act that is not possible, or not for this role, is not offered.
var next = map[incident.State][]string{
	incident.Acknowledged: {"diagnose"}, incident.Diagnosing: {"propose"}, incident.Awaiting: {"decide"}, incident.Handling: {"handle"},
	incident.Recovered: {"confirm"}, incident.Confirmed: {"archive"},
}

// sees are the deeds for which it matters that nobody has changed the incident meanwhile.
var sees = []string{"decide", "level", "resolve", "confirm", "refuse", "archive", "excuse", "merge", "dismiss"}

// deeds are the forms of an incident's page: what comes next first, then the others in the order of an incident's life.
// The acknowledgement has a place of its own.
func (c *Console) deeds(f frame, r incident.Record, o outcome) (out []deedView) {
	likely := next[r.State]
	if r.Doubt != nil && r.Doubt.By != f.Who.Person {
		likely = []string{"dismiss"}
	}
	for _, d := range deed.Deeds {
		if d.Name == "ack" || access.Allow(f.Who, d.Rule) != nil || !d.May(r, f.Now) || d.Name == "dismiss" && r.Doubt != nil && r.Doubt.By == f.Who.Person {
			continue
		}
		v := c.deedView(f, r, d)
		v.Open = slices.Contains(likely, d.Name)
		if o.deed == d.Name {
			v.fill(o.said)
			v.Open = true
		}
		out = append(out, v)
	}
	slices.SortStableFunc(out, func(a, b deedView) int {
		switch {
		case a.Open == b.Open:
			return 0
		case a.Open:
			return -1
		}
		return 1
	})
	return out
}

func (c *Console) deedView(f frame, r incident.Record, d deed.Deed) deedView {
	v := deedView{Incident: r.ID, Name: d.Name, Title: d.Title(f.P)}
	if slices.Contains(sees, d.Name) {
		v.Version = r.Version
	}
	for _, x := range d.Fields {
		choices := x.Choices
		if x.Name == "emergency" && c.o.Emergency != nil {
			choices = c.o.Emergency()
		}
		field := fieldView{ID: d.Name + "-" + x.Name, Name: x.Name, Label: x.Label(f.P), Kind: x.Kind, Must: x.Must}
		for _, choice := range choices {
			field.Choices = append(field.Choices, choiceView{Value: choice, Text: plain(x.Say(f.P, choice))})
		}
		field.fill(map[string]string{"cause": r.Cause, "category": string(r.Category), "handling": r.Handling, "prevention": r.Prevention}[x.Name])
		v.Fields = append(v.Fields, field)
	}
	switch d.Why {
	case deed.Needed:
		v.Note, v.NoteMust = f.P.T("deed.field.reason"), true
	default:
		v.Note = f.P.T("console.note")
	}
	if d.Name == "note" || d.Name == "diagnose" {
		v.Note, v.NoteMust = f.P.T("deed.field.note"), true
	}
	return v
}

// fill puts what a person wrote back into a form that was refused.
func (v *deedView) fill(said map[string]string) {
	for i := range v.Fields {
		v.Fields[i].fill(said[v.Fields[i].Name])
	}
	v.NoteSaid = said["note"]
}

func (v *fieldView) fill(said string) {
	v.Said = said
	for i := range v.Choices {
		v.Choices[i].Said = said != "" && v.Choices[i].Value == said
	}
}

// act does one of the deeds in the name of the person signed in, and shows the page on which that was done.
func (c *Console) act(w http.ResponseWriter, r *http.Request, who access.Identity) {
	d, ok := deed.Find(r.PathValue("deed"))
	if !ok {
		c.noPage(w, r)
		return
	}
	o, err := c.do(r, who, d)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	from := cameFrom(r)
	if o.refusal == "" && !pulls(r) {
		http.Redirect(w, r, from, http.StatusSeeOther)
		return
	}
	if id, found := strings.CutPrefix(from, "/incidents/"); found {
		c.sendIncident(w, r, who, id, o)
		return
	}
	c.sendBoard(w, r, who, o)
}

// do returns an error only for what is no fault of the person.
func (c *Console) do(r *http.Request, who access.Identity, d deed.Deed) (outcome, error) {
	p, id := printer(r), r.PathValue("id")
	if may := access.Allow(who, d.Rule) == nil; !may {
		return outcome{status: http.StatusForbidden, refusal: p.T("console.may_not")}, nil
	}
	o := outcome{deed: d.Name, said: map[string]string{"note": r.PostFormValue("note")}}
	values := deed.Values{}
	for _, f := range d.Fields {
		o.said[f.Name] = r.PostFormValue(f.Name)
		values[f.Name] = c.value(f, o.said[f.Name])
	}
	version, err := strconv.Atoi(r.PostFormValue("version"))
	if err != nil {
		version = 0 // the form asks for none
	}
	_, err = d.Do(c.o.Desk, id, incident.Act{
		Person: who.Person, Note: o.said["note"], Via: "console", Device: r.UserAgent(), Address: address(r), Version: version,
	}, values)
	var conflict *incident.Conflict
	var bad *incident.BadAct
	switch {
	case err == nil:
		return outcome{done: p.T("console.done", "id", id, "what", d.Title(p))}, nil
	case errors.As(err, &conflict):
		o.status, o.refusal = http.StatusConflict, plain(conflict.Text(p, c.o.Location))
	case errors.As(err, &bad):
		o.status, o.refusal = http.StatusUnprocessableEntity, plain(bad.Text(p))
	case errors.Is(err, incident.ErrNotFound):
		o.status, o.refusal = http.StatusNotFound, p.T("console.no_incident", "id", plain(id))
	default:
		return outcome{}, err
	}
	return o, nil
}

// value is what a browser sends for a field, as a deed takes it: browsers write times without a zone, and mean ours.
func (c *Console) value(f deed.Field, said string) string {
	said = strings.TrimSpace(said)
	if f.Kind != deed.Time || said == "" {
		return said
	}
	return c.zoned(said)
}

func (c *Console) zoned(said string) string {
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05", "2006-01-02 15:04"} {
		if t, err := time.ParseInLocation(layout, said, c.o.Location); err == nil {
			return t.Format(time.RFC3339)
		}
	}
	return said
}

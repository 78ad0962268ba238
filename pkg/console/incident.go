package console

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"xunjian/pkg/access"
	"xunjian/pkg/contract"
	"xunjian/pkg/i18n"
	"xunjian/pkg/incident"
	"xunjian/pkg/symptom"
)

// card is an incident as the board shows it; on its own page it is the head.
type card struct {
	ID, Title, Detail string
	Level             contract.Level
	State             incident.State
	FaultStart        time.Time
	RecoveredAt       time.Time
	AckBy             string
	AckAt             time.Time
	Response          clock
	Recovery          clock
	Verifying         bool
	MayAck            bool
	Evidence          []observation
}

// clock is one contract clock: running towards Due, halted, or stopped.
type clock struct {
	Has     bool // the level sets a limit
	Running bool
	Due     time.Time
	Late    bool
	Took    string // until it stopped, without pauses
}

type observation struct {
	At   time.Time
	Text string
}

func (c *Console) card(f frame, r incident.Record) card {
	clocks, loc := r.Clocks(f.Now), c.o.Location
	res, rec := clocks.Response, clocks.Recovery
	v := card{
		ID: r.ID, Title: plain(r.Title(f.P)), Detail: plain(r.Detail), Level: r.Level, State: r.State,
		FaultStart: r.FaultStart.In(loc), RecoveredAt: r.RecoveredAt.In(loc), AckBy: plain(r.AckBy), AckAt: r.AckAt.In(loc),
		Response:  clock{!clocks.ResponseDue.IsZero(), res.Open, clocks.ResponseDue.In(loc), res.Breached, span(res.Elapsed)},
		Recovery:  clock{!clocks.RecoveryDue.IsZero(), rec.Open && !rec.Verifying && !rec.Waiting, clocks.RecoveryDue.In(loc), rec.Breached, span(rec.Net)},
		Verifying: r.Open() && rec.Verifying, MayAck: f.MayAct && r.Open() && r.AckAt.IsZero(),
	}
	for _, e := range r.Evidence {
		v.Evidence = append(v.Evidence, observation{e.At.In(loc), plain(strings.TrimSpace(e.Agent + " " + e.Text))})
	}
	return v
}

// incidentPage is one incident whole.
type incidentPage struct {
	frame
	Card   card
	Facts  []fact
	Events []eventView // the newest first
}

type fact struct {
	Name, Text, Incident string // Incident: the text is its number
}

type eventView struct {
	N        int
	Kind     incident.EventKind
	At       time.Time
	Of       string // when it took effect, where that is another time
	Person   string
	Via      string
	Lines    []string
	Evidence []observation
}

func (c *Console) showIncident(w http.ResponseWriter, r *http.Request, who access.Identity) {
	c.sendIncident(w, r, who, r.PathValue("id"), outcome{})
}

func (c *Console) sendIncident(w http.ResponseWriter, r *http.Request, who access.Identity, id string, o outcome) {
	rec, events, err := c.o.Desk.Get(id)
	if errors.Is(err, incident.ErrNotFound) {
		c.refuse(w, r, http.StatusNotFound, printer(r).T("console.no_incident", "id", plain(id)))
		return
	}
	if err != nil {
		c.fail(w, r, err)
		return
	}
	v := c.incidentPage(c.frame(r, who, time.Now()), rec, events)
	v.Notice, v.Done = o.refusal, o.done
	c.send(w, r, o.status, "incident", v)
}

func (c *Console) incidentPage(f frame, rec incident.Record, events []incident.Event) *incidentPage {
	f.Path = "/incidents/" + rec.ID
	v := &incidentPage{frame: f, Card: c.card(f, rec)}
	v.Head = rec.ID + " " + v.Card.Title
	v.Facts = c.facts(f.P, rec)
	for i := len(events) - 1; i >= 0; i-- {
		v.Events = append(v.Events, c.eventView(f.P, events[i]))
	}
	return v
}

// facts are what is known of an incident beyond its card; what is not known is left out.
func (c *Console) facts(p *i18n.Printer, r incident.Record) (out []fact) {
	add := func(key, text string) {
		if text != "" {
			out = append(out, fact{Name: p.T("collector.field." + key), Text: plain(text)})
		}
	}
	add("state", p.T("incident.state."+string(r.State)))
	add("fault_start", c.stamp(r.FaultStart))
	add("detected_at", c.stamp(r.DetectedAt))
	add("reported_at", strings.TrimSpace(c.stamp(r.ReportedAt)+" "+r.Reporter))
	add("response_due", c.stamp(r.ResponseDue))
	add("acked", strings.TrimSpace(c.stamp(r.AckAt)+" "+r.AckBy))
	add("recovery_due", c.stamp(r.RecoveryDue))
	add("recovered_at", c.stamp(r.RecoveredAt))
	add("cause", r.Cause)
	add("handling", r.Handling)
	add("closed", strings.TrimSpace(c.stamp(r.ClosedAt)+" "+r.ClosedBy))
	if r.RecurrenceOf != "" {
		out = append(out, fact{Name: p.T("console.recurrence"), Incident: r.RecurrenceOf})
	}
	return out
}

func (c *Console) stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(c.o.Location).Format("2006-01-02 15:04:05")
}

func (c *Console) eventView(p *i18n.Printer, e incident.Event) eventView {
	v := eventView{N: e.N, Kind: e.Kind, At: e.At.In(c.o.Location), Person: plain(e.Person)}
	if d := e.At.Sub(e.Of).Abs(); !e.Of.IsZero() && d >= time.Second {
		v.Of = p.T("console.of", "at", at(e.Of.In(c.o.Location)))
	}
	if key := "console.via." + e.Via; p.Has(key) {
		v.Via = p.T(key)
	}
	v.Lines = c.lines(p, e)
	if e.Symptom != nil {
		v.Evidence = c.observed(e.Symptom.Evidence)
	}
	return v
}

func (c *Console) observed(all []symptom.Evidence) (out []observation) {
	for _, e := range all {
		out = append(out, observation{e.At.In(c.o.Location), plain(strings.TrimSpace(e.Agent + " " + e.Text))})
	}
	return out
}

// lines is what an event says beside its kind, time and person.
func (c *Console) lines(p *i18n.Printer, e incident.Event) (out []string) {
	add := func(text string) {
		if text != "" {
			out = append(out, plain(text))
		}
	}
	named := func(name, text string) {
		if text != "" {
			add(p.T("console.pair", "name", name, "value", text))
		}
	}
	if e.Level != "" {
		named(p.T("collector.field.level"), p.T("common.level."+string(e.Level)))
	}
	if b := e.Breach; b != nil {
		named(p.T("incident.clock."+string(b.Clock)), c.stamp(b.At))
	}
	if e.Symptom != nil {
		add(e.Symptom.Detail)
	}
	named(p.T("console.reporter"), e.Reporter)
	named(p.T("console.party_a"), e.PartyA)
	named(p.T("collector.field.cause"), e.Cause)
	named(p.T("collector.field.handling"), e.Handling)
	add(e.Text)
	return out
}

// ack takes an incident on in the name of the person signed in, and shows the page on which that was done.
func (c *Console) ack(w http.ResponseWriter, r *http.Request, who access.Identity) {
	o, err := c.acknowledge(r, who)
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

// acknowledge returns an error only for what is no fault of the person.
func (c *Console) acknowledge(r *http.Request, who access.Identity) (outcome, error) {
	p, id := printer(r), r.PathValue("id")
	if !mayAct(who) {
		return outcome{status: http.StatusForbidden, refusal: p.T("console.may_not")}, nil
	}
	_, err := c.o.Desk.Ack(id, incident.Act{Person: who.Person, Note: r.PostFormValue("note"), Via: "console", Device: r.UserAgent(), Address: address(r)})
	var conflict *incident.Conflict
	var bad *incident.BadAct
	switch {
	case err == nil:
		return outcome{done: p.T("console.done", "id", id)}, nil
	case errors.As(err, &conflict):
		return outcome{status: http.StatusConflict, refusal: plain(conflict.Text(p, c.o.Location))}, nil
	case errors.As(err, &bad):
		return outcome{status: http.StatusUnprocessableEntity, refusal: plain(bad.Text(p))}, nil
	case errors.Is(err, incident.ErrNotFound):
		return outcome{status: http.StatusNotFound, refusal: p.T("console.no_incident", "id", plain(id))}, nil
	}
	return outcome{}, err
}

package console

import (
	"errors"
	"net/http"
	"strconv"
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
	Awaiting          bool   // party A has a proposal before it
	Doubted           string // who says that it is a false alarm
	Parent            string // it is listed under this one
	Children          []string
	MoreChildren      int
	AtRisk            bool
	Guessed           bool // a clock rests on working days that nobody has announced
	MayAck            bool
	Evidence          []observation
}

// shownChildren bounds the incidents that are listed under another.
const shownChildren = 20

// clock is one contract clock: running towards Due, halted, or stopped.
type clock struct {
	Has     bool // the level sets a limit
	Running bool
	Due     time.Time
	Late    bool
	Took    string // until it stopped, without pauses

	Standing bool   // paused, or stopped to be verified
	Why      string // what it waits for
	Left     string // of the time, or how late it is
	Spent    string // share and time used
	Used     int    // per cent
	AtRisk   bool   // going on like this it will be missed
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
		Response:  clock{Has: !clocks.ResponseDue.IsZero(), Running: res.Open, Due: clocks.ResponseDue.In(loc), Late: res.Breached, Took: span(res.Elapsed)},
		Recovery:  clock{Has: !clocks.RecoveryDue.IsZero(), Running: rec.Open && !rec.Verifying && !rec.Waiting, Due: clocks.RecoveryDue.In(loc), Late: rec.Breached, Took: span(rec.Net)},
		Verifying: r.Open() && rec.Verifying, MayAck: f.MayAct && r.Open() && r.AckAt.IsZero(),
		Guessed: r.Guesses(f.Now), Awaiting: r.State == incident.Awaiting, Parent: r.Parent, Children: r.Children[:min(len(r.Children), shownChildren)],
		MoreChildren: max(0, len(r.Children)-shownChildren),
	}
	if r.Doubt != nil && !r.Filed() {
		v.Doubted = plain(r.Doubt.By)
	}
	for _, o := range c.forecast(r, f.Now) {
		k := &v.Response
		if o.Clock == contract.Recovery {
			k = &v.Recovery
		}
		k.outlook(f.P, o)
		v.AtRisk = v.AtRisk || o.AtRisk
	}
	if v.Recovery.Standing {
		v.Recovery.Why = c.why(f.P, r)
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
	First  []observation // of the evidence, the others are one tap away
	Rest   []observation
	Life   []stage
	State  incident.State
	Deeds  []deedView
	Facts  []fact
	Curves []curveView
	Calls  []callView
	Events []eventView // the newest first
}

// firstSeen is how many observations stand above the acts: more would push these off a phone's screen.
const firstSeen = 3

type callView struct {
	Person, Channel, Kind, At, Said, Answer, ToAck string
	OK, Failed                                     bool
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
	v := c.incidentPage(c.frame(r, who, c.o.Now()), rec, events)
	v.Deeds = c.deeds(v.frame, rec, o)
	v.Still = len(v.Deeds) > 0
	v.Curves = c.curves(r.Context(), v.P, rec, v.Now)
	v.Notice, v.Done = o.refusal, o.done
	c.send(w, r, o.status, "incident", v)
}

func (c *Console) incidentPage(f frame, rec incident.Record, events []incident.Event) *incidentPage {
	f.Path = "/incidents/" + rec.ID
	v := &incidentPage{frame: f, Card: c.card(f, rec)}
	v.Head = rec.ID + " " + v.Card.Title
	n := min(len(v.Card.Evidence), firstSeen)
	v.First, v.Rest = v.Card.Evidence[:n], v.Card.Evidence[n:]
	v.Life, v.State = c.life(rec, events), rec.State
	v.Facts = c.facts(f.P, rec)
	v.Calls = c.calls(f.P, rec)
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
	add("confirmed", c.confirmed(p, r))
	for _, x := range r.Consents {
		add("proposal", c.proposal(p, x))
	}
	for _, x := range r.Extensions {
		add("extended", p.T("console.extended", "until", c.stamp(x.Until), "approver", x.Approver, "reason", x.Reason))
	}
	if b := r.Workaround; b != nil {
		add("workaround", p.T("console.workaround", "measure", b.Measure, "follow_up", b.FollowUp))
	}
	add("impact", c.impact(p, r.Impact))
	add("cause", r.Cause)
	if r.Category != "" {
		add("category", p.T("incident.category."+string(r.Category)))
	}
	add("handling", r.Handling)
	add("prevention", r.Prevention)
	add("closed", strings.TrimSpace(c.stamp(r.ClosedAt)+" "+r.ClosedBy))
	if r.Excused != "" {
		add("excused", p.T("incident.excused."+string(r.Excused))+" "+r.ExcusedBy)
	}
	for _, x := range []fact{{Name: p.T("console.recurrence"), Incident: r.RecurrenceOf}, {Name: p.T("console.parent"), Incident: r.Parent}} {
		if x.Incident != "" {
			out = append(out, x)
		}
	}
	for _, id := range r.Children[:min(len(r.Children), shownChildren)] {
		out = append(out, fact{Name: p.T("console.child"), Incident: id})
	}
	return out
}

func (c *Console) confirmed(p *i18n.Printer, r incident.Record) string {
	switch {
	case !r.ConfirmedAt.IsZero() && r.ConfirmedBy == "":
		return c.stamp(r.ConfirmedAt) + " " + p.T("incident.default_confirmed")
	case !r.ConfirmedAt.IsZero():
		return c.stamp(r.ConfirmedAt) + " " + r.ConfirmedBy
	case r.State == incident.Recovered && !r.ConfirmDue.IsZero():
		return p.T("console.confirm_due", "at", c.stamp(r.ConfirmDue))
	}
	return ""
}

// proposal is what party A was asked, and what became of it.
func (c *Console) proposal(p *i18n.Printer, x incident.Consent) string {
	out := p.T("console.proposal", "measure", x.Measure, "risk", x.Risk, "rollback", x.Rollback, "by", x.By, "at", c.stamp(x.At))
	switch {
	case x.DecidedAt.IsZero():
		return out + "\n" + p.T("console.undecided")
	case x.PartyA == "":
		return out
	}
	word := "no"
	if x.Agreed {
		word = "yes"
	}
	return out + "\n" + p.T("console.decided", "person", x.PartyA, "word", p.T("deed.consent."+word), "at", c.stamp(x.DecidedAt), "reason", x.Reason)
}

func (c *Console) impact(p *i18n.Printer, i incident.Impact) string {
	var out []string
	if i.Departments != "" {
		out = append(out, i.Departments)
	}
	if i.People > 0 {
		out = append(out, p.T("console.people", "n", strconv.Itoa(i.People)))
	}
	if i.Functions != "" {
		out = append(out, i.Functions)
	}
	return strings.Join(out, p.T("console.and"))
}

// calls says who was told by which channel, when, what the receiver said, and how long it took to be acknowledged.
func (c *Console) calls(p *i18n.Printer, r incident.Record) (out []callView) {
	if c.o.Calls == nil {
		return nil
	}
	all, err := c.o.Calls(r.ID)
	if err != nil {
		c.log.Error("read calls", "incident", r.ID, "error", err)
		return nil
	}
	for _, x := range all[max(0, len(all)-shownCalls):] {
		v := callView{Person: plain(x.Person), Channel: x.Channel, At: at(x.At.In(c.o.Location)), Answer: plain(x.Answer)}
		if key := "pager.kind." + string(x.Kind); p.Has(key) {
			v.Kind = p.T(key)
		}
		switch {
		case !x.SentAt.IsZero():
			v.Said, v.OK = p.T("console.call.sent", "at", at(x.SentAt.In(c.o.Location))), true
			if x.Person != "" && x.Person == r.AckBy && r.AckAt.After(x.SentAt) {
				v.ToAck = p.T("console.call.to_ack", "time", span(r.AckAt.Sub(x.SentAt)))
			}
		case !x.FailedAt.IsZero():
			v.Said, v.Failed = p.T("console.call.failed", "at", at(x.FailedAt.In(c.o.Location))), true
		case !x.DroppedAt.IsZero():
			v.Said = p.T("console.call.dropped")
		default:
			v.Said = p.T("console.call.waiting")
		}
		out = append(out, v)
	}
	return out
}

// shownCalls bounds the list.
const shownCalls = 100

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
	if x := e.Proposal; x != nil {
		add(p.T("console.proposal_only", "measure", x.Measure, "risk", x.Risk, "rollback", x.Rollback))
	}
	if e.Kind == incident.EventDecided {
		add(p.T("deed.consent." + map[bool]string{true: "yes", false: "no"}[e.Consent]))
	}
	if x := e.Step; x != nil {
		add(x.Action)
		named(p.T("console.emergency"), x.Emergency)
	}
	if x := e.Workaround; x != nil {
		add(p.T("console.workaround", "measure", x.Measure, "follow_up", x.FollowUp))
	}
	if x := e.Impact; x != nil {
		add(c.impact(p, *x))
	}
	if e.Why != "" {
		add(p.T("incident.pause." + string(e.Why)))
	}
	if e.Kind == incident.EventExtended {
		named(p.T("console.new_due"), c.stamp(e.Until))
	}
	if e.Recount != nil {
		for _, line := range e.Recount.Tell(p, c.o.Location) {
			add(line)
		}
	}
	if e.Run != nil {
		add(incident.TellRun(*e.Run, p))
	}
	if e.Excused != "" {
		add(p.T("incident.excused." + string(e.Excused)))
	}
	add(e.Other)
	named(p.T("console.reporter"), e.Reporter)
	named(p.T("console.party_a"), e.PartyA)
	named(p.T("collector.field.cause"), e.Cause)
	if e.Category != "" {
		named(p.T("console.category"), p.T("incident.category."+string(e.Category)))
	}
	named(p.T("collector.field.handling"), e.Handling)
	named(p.T("collector.field.prevention"), e.Prevention)
	add(e.Text)
	return out
}

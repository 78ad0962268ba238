package console

import (
	"fmt"
	"slices"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/i18n"
	"xunjian/pkg/incident"
)

// stage is one state on the line of an incident's life.
type stage struct {
	State incident.State
	At    string // when it was reached last, empty: not
	Now   bool
	Done  bool
}

// stages are the states of a fault's way to the file.
var stages = []incident.State{
	incident.Detected, incident.Acknowledged, incident.Diagnosing, incident.Awaiting, incident.Handling,
	incident.Recovered, incident.Confirmed, incident.Archived,
}

// reached says which event leads to which state.
var reached = map[incident.EventKind]incident.State{
	incident.EventOpened: incident.Detected, incident.EventAcknowledged: incident.Acknowledged, incident.EventDiagnosed: incident.Diagnosing,
	incident.EventAsked: incident.Awaiting, incident.EventActed: incident.Handling, incident.EventRecovered: incident.Recovered,
	incident.EventConfirmed: incident.Confirmed, incident.EventArchived: incident.Archived, incident.EventClosed: incident.Archived,
}

// life is the line of states; an incident that left it by a side exit has none.
func (c *Console) life(r incident.Record, events []incident.Event) (out []stage) {
	now := slices.Index(stages, r.State)
	if now < 0 {
		return nil
	}
	at := map[incident.State]string{}
	for _, e := range events {
		if e.Kind == incident.EventReopened || e.Kind == incident.EventRefused {
			for _, s := range stages[slices.Index(stages, incident.Recovered):] {
				delete(at, s)
			}
		}
		if s, ok := reached[e.Kind]; ok {
			at[s] = hm(when(e).In(c.o.Location))
		}
	}
	for i, s := range stages {
		out = append(out, stage{State: s, At: at[s], Now: i == now, Done: i < now && at[s] != ""})
	}
	return out
}

func when(e incident.Event) time.Time {
	if e.Of.IsZero() {
		return e.At
	}
	return e.Of
}

func hm(t time.Time) string { return t.Format("15:04") }

// outlook says how a clock that has not stopped for good stands, in words that need no script.
func (k *clock) outlook(p *i18n.Printer, o contract.Outlook) {
	k.AtRisk, k.Standing = o.AtRisk, o.Standing && !o.Breached
	if o.Allowed > 0 {
		k.Used = min(int(o.Share()*100), 100)
		k.Spent = p.T("console.spent", "share", fmt.Sprint(int(o.Share()*100)), "used", span(o.Used), "of", span(o.Allowed))
	}
	if o.Left >= 0 {
		k.Left = p.T("console.left_time", "time", span(o.Left))
	} else {
		k.Left = p.T("console.late_time", "time", span(-o.Left))
	}
}

// why says what a recovery clock that stands is waiting for.
func (c *Console) why(p *i18n.Printer, r incident.Record) string {
	switch {
	case !r.VerifyingSince.IsZero():
		return r.Verification().Tell(p, c.o.Location)
	case r.State == incident.Awaiting:
		return p.T("incident.pause.")
	}
	for _, x := range r.Pauses {
		if x.To.IsZero() {
			return p.T("incident.pause." + string(x.Why))
		}
	}
	return ""
}

// forecast is how the clocks stand and what they come to.
func (c *Console) forecast(r incident.Record, now time.Time) []contract.Outlook {
	if c.o.Forecast != nil {
		return c.o.Forecast(r, now)
	}
	return r.Terms.Forecast(r.History, now, 0)
}

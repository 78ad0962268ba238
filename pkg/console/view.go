package console

import (
	"cmp"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"time"

	"xunjian/pkg/access"
	"xunjian/pkg/contract"
	"xunjian/pkg/i18n"
	"xunjian/pkg/incident"
	"xunjian/pkg/inspect"
)

// view is everything on the page at one moment.
type view struct {
	P           *i18n.Printer
	Other       string
	Title       string
	Version     string
	Who         access.Identity
	MayAct      bool
	Now         time.Time
	Incidents   []incidentView
	Services    []serviceView
	Hosts       []hostView
	Undelivered int
	Notice      string // what came of the last act, when it was refused
}

type incidentView struct {
	ID, Title, Detail string
	Level             contract.Level
	State             incident.State
	FaultStart        time.Time
	AckBy             string
	AckAt             time.Time
	Response          clockView
	Recovery          clockView
	Verifying         bool
	Evidence          []string
}

// clockView is one contract clock: running towards Due, or stopped.
type clockView struct {
	Has     bool
	Running bool
	Due     time.Time
	Met     bool
	Took    string
}

type serviceView struct {
	Name, Title, Detail string
	State               inspect.State
	Since               time.Time
	Response            string // of the newest round
	Checks              int
}

func (c *Console) view(r *http.Request, who access.Identity) (*view, error) {
	p, now := printer(r), time.Now()
	v := &view{P: p, Other: other(p), Title: c.o.Title, Version: c.o.Version, Who: who, Now: now.In(c.o.Location), MayAct: access.Allow(who, access.Handle) == nil}
	records, err := c.o.Desk.List(incident.Filter{State: "open"})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(records, func(a, b incident.Record) int { return cmp.Compare(urgency(b), urgency(a)) })
	for _, rec := range records {
		v.Incidents = append(v.Incidents, c.incidentView(p, rec, now))
	}
	for _, s := range c.o.Services(now) {
		v.Services = append(v.Services, c.serviceView(p, s))
	}
	if v.Hosts, err = c.hostViews(r.Context(), p, now); err != nil {
		return nil, err
	}
	pending, err := c.o.Undelivered()
	if err != nil {
		return nil, err
	}
	for _, u := range pending {
		if u.Tries > 0 {
			v.Undelivered++
		}
	}
	return v, nil
}

// urgency puts what nobody has taken on before the rest, graver before milder.
func urgency(r incident.Record) int {
	n := map[contract.Level]int{contract.Urgent: 3, contract.General: 2, contract.Minor: 1}[r.Level]
	if r.AckAt.IsZero() {
		n += 10
	}
	return n
}

func (c *Console) incidentView(p *i18n.Printer, r incident.Record, now time.Time) incidentView {
	clocks := r.Clocks(now)
	v := incidentView{
		ID: r.ID, Title: r.Title(p), Detail: r.Detail, Level: r.Level, State: r.State, FaultStart: r.FaultStart.In(c.o.Location),
		AckBy: r.AckBy, AckAt: r.AckAt.In(c.o.Location), Verifying: !r.VerifyingSince.IsZero(),
		Response: clockView{Has: !r.ResponseDue.IsZero(), Running: r.AckAt.IsZero(), Due: r.ResponseDue.In(c.o.Location), Met: !clocks.Response.Breached, Took: span(clocks.Response.Elapsed)},
		Recovery: clockView{Has: !r.RecoveryDue.IsZero(), Running: r.RecoveredAt.IsZero(), Due: r.RecoveryDue.In(c.o.Location), Met: !clocks.Recovery.Breached, Took: span(clocks.Recovery.Net)},
	}
	for _, e := range r.Evidence {
		v.Evidence = append(v.Evidence, e.At.In(c.o.Location).Format("15:04:05")+" "+e.Agent+" "+e.Text)
	}
	return v
}

// span is a duration as people say it: 3:05 or 1:02:03.
func span(d time.Duration) string {
	s := int(d.Round(time.Second).Seconds())
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

func (c *Console) serviceView(p *i18n.Printer, s inspect.Status) serviceView {
	v := serviceView{Name: s.Service.Name, Title: s.Service.Title(p.Lang), Detail: s.Detail, State: s.State, Since: s.Since.In(c.o.Location), Checks: len(s.Checks)}
	var newest time.Time
	for _, k := range s.Checks {
		if k.At.After(newest) && k.Duration > 0 {
			newest, v.Response = k.At, fmt.Sprintf("%.0f ms", float64(k.Duration.Microseconds())/1000)
			if k.Duration < time.Millisecond {
				v.Response = "< 1 ms"
			}
		}
	}
	return v
}

// functions are what templates may call.
var functions = template.FuncMap{
	"ms":    func(t time.Time) int64 { return t.UnixMilli() },
	"clock": func(t time.Time) string { return t.Format("01-02 15:04:05") },
	"hm":    func(t time.Time) string { return t.Format("15:04") },
	"here":  here,
	"dict":  dict,
}

// dict makes the one argument of a template out of several.
func dict(pairs ...any) map[string]any {
	m := make(map[string]any, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i].(string)] = pairs[i+1]
	}
	return m
}

// ack takes an incident on in the name of the person signed in.
func (c *Console) ack(w http.ResponseWriter, r *http.Request, who access.Identity) {
	p := printer(r)
	notice := ""
	if err := access.Allow(who, access.Handle); err != nil {
		notice = p.T("console.may_not")
		w.WriteHeader(http.StatusForbidden)
	} else if _, err := c.o.Desk.Ack(r.PathValue("id"), incident.Act{Person: who.Person, Note: r.PostFormValue("note"), Via: "console"}); err != nil {
		var conflict *incident.Conflict
		var bad *incident.BadAct
		switch {
		case errors.As(err, &conflict):
			notice = conflict.Text(p, c.o.Location)
		case errors.As(err, &bad):
			notice = bad.Text(p)
		case errors.Is(err, incident.ErrNotFound):
			notice = p.T("console.no_incident", "id", r.PathValue("id"))
		default:
			c.fail(w, r, err)
			return
		}
	}
	if r.Header.Get("HX-Request") == "" && notice == "" {
		http.Redirect(w, r, here("/", p.Lang), http.StatusSeeOther)
		return
	}
	v, err := c.view(r, who)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	v.Notice = notice
	name := "board"
	if r.Header.Get("HX-Request") == "" {
		name = "page"
	}
	c.render(w, name, v)
}

package console

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"xunjian/pkg/access"
	"xunjian/pkg/incident"
)

// Windows are the planned windows of the desk.
type Windows interface {
	Windows(from, to time.Time) []incident.Window
	Plan(a incident.Act, w incident.Window) (incident.Window, error)
	CancelWindow(id string, a incident.Act) (incident.Window, error)
}

// shownPast is how far back the page of planned windows goes.
const shownPast = 31 * 24 * time.Hour

// windowsPage lists the planned windows, the newest first.
type windowsPage struct {
	frame
	Windows  []windowView
	Services []choiceView
	MayPlan  bool
	Said     map[string]string
}

type windowView struct {
	ID, From, To, Scope, Reason, PartyA, Approval, Override, By string
	State                                                       string // coming, on, over, cancelled
	Gone                                                        string
	MayCancel                                                   bool
}

func (c *Console) showWindows(w http.ResponseWriter, r *http.Request, who access.Identity) {
	c.sendWindows(w, r, who, outcome{})
}

func (c *Console) sendWindows(w http.ResponseWriter, r *http.Request, who access.Identity, o outcome) {
	v := c.windowsPage(c.frame(r, who, c.o.Now()), o.said)
	v.Notice, v.Done = o.refusal, o.done
	c.send(w, r, o.status, "windows", v)
}

func (c *Console) windowsPage(f frame, said map[string]string) *windowsPage {
	f.Path, f.Head, f.Still = "/windows", f.P.T("console.windows"), f.MayAct
	v := &windowsPage{frame: f, MayPlan: access.Allow(f.Who, access.Direct) == nil, Said: said}
	titles := map[string]string{}
	for _, s := range c.o.Services(f.Now) {
		titles[s.Service.Name] = plain(s.Service.Title(f.P.Lang))
		v.Services = append(v.Services, choiceView{Value: s.Service.Name, Text: titles[s.Service.Name], Said: slices.Contains(strings.Fields(said["services"]), s.Service.Name)})
	}
	all := c.o.Windows.Windows(f.Now.Add(-shownPast), time.Time{})
	slices.Reverse(all)
	for _, x := range all {
		one := windowView{
			ID: x.ID, From: c.short(x.From), To: c.until(x.From, x.To), Reason: plain(x.Reason), PartyA: plain(x.PartyA), Approval: plain(x.Approval),
			Override: plain(x.Override), By: plain(x.By), State: "coming",
		}
		switch {
		case !x.CancelledAt.IsZero():
			one.State, one.Gone = "cancelled", f.P.T("console.window_gone", "person", plain(x.CancelledBy), "at", c.short(x.CancelledAt), "reason", plain(x.CancelNote))
		case !f.Now.Before(x.To):
			one.State = "over"
		case !f.Now.Before(x.From):
			one.State = "on"
		}
		var scope []string
		for _, name := range x.Services {
			if titles[name] != "" {
				name = titles[name]
			}
			scope = append(scope, name)
		}
		one.Scope = plain(strings.Join(slices.Concat(scope, x.Hosts, x.Checks), f.P.T("console.and")))
		one.MayCancel = v.MayPlan && x.By != "" && (one.State == "coming" || one.State == "on")
		v.Windows = append(v.Windows, one)
	}
	return v
}

// changeWindow plans a window or cancels one, in the name of the person signed in.
func (c *Console) changeWindow(w http.ResponseWriter, r *http.Request, who access.Identity) {
	p, act := printer(r), r.PathValue("act")
	if act != "plan" && act != "cancel" {
		c.noPage(w, r)
		return
	}
	if access.Allow(who, access.Direct) != nil {
		c.sendWindows(w, r, who, outcome{status: http.StatusForbidden, refusal: p.T("console.may_not_window")})
		return
	}
	said := map[string]string{"act": act, "services": strings.Join(r.PostForm["services"], " ")}
	for _, name := range []string{"since", "until", "reason", "party_a", "approval", "override", "hosts"} {
		said[name] = r.PostFormValue(name)
	}
	a := incident.Act{Person: who.Person, Note: said["reason"], Via: "console", Device: r.UserAgent(), Address: address(r)}
	var err error
	if act == "cancel" {
		_, err = c.o.Windows.CancelWindow(r.PostFormValue("id"), a)
	} else {
		_, err = c.o.Windows.Plan(a, incident.Window{
			Services: r.PostForm["services"], Hosts: strings.Fields(said["hosts"]), From: c.moment(r, "since"), To: c.moment(r, "until"),
			Reason: said["reason"], Approval: said["approval"], PartyA: said["party_a"], Override: said["override"],
		})
	}
	var conflict *incident.Conflict
	var bad *incident.BadAct
	switch {
	case errors.As(err, &conflict):
		c.sendWindows(w, r, who, outcome{status: http.StatusConflict, refusal: plain(conflict.Text(p, c.o.Location)), said: said})
	case errors.As(err, &bad):
		c.sendWindows(w, r, who, outcome{status: http.StatusUnprocessableEntity, refusal: plain(bad.Text(p)), said: said})
	case errors.Is(err, incident.ErrNotFound):
		c.sendWindows(w, r, who, outcome{status: http.StatusNotFound, refusal: p.T("console.no_window")})
	case err != nil:
		c.fail(w, r, err)
	case pulls(r):
		c.sendWindows(w, r, who, outcome{done: p.T("console.window_" + act)})
	default:
		http.Redirect(w, r, "/windows", http.StatusSeeOther)
	}
}

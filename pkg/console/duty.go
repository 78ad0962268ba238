package console

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"xunjian/pkg/access"
	"xunjian/pkg/roster"
)

// How much of a roster the console shows.
const (
	shownDays    = 21
	shownChanges = 30
	maxGaps      = 10
	gapsAhead    = 7 * 24 * time.Hour // for which the board warns
)

// onDuty is one person on a line, now.
type onDuty struct {
	Line, Person, Phone, Until string
	Remote                     bool
}

// dutyPage is the roster.
type dutyPage struct {
	frame
	Holding  []onDuty
	Days     []dutyDay
	Gaps     []string
	MoreGaps int
	Watches  []watchView
	Changes  []changeView
	People   []string
	Lines    []choiceView
	MaySign  bool // a shift of an important period waits for its person
	MayMove  bool
	Said     map[string]string
}

// Soon are the days of the week to come, Later those after it.
func (v *dutyPage) Soon() []dutyDay  { return v.Days[:min(len(v.Days), 7)] }
func (v *dutyPage) Later() []dutyDay { return v.Days[len(v.Soon()):] }

// dutyDay are the turns that begin on a day, or go on in it.
type dutyDay struct {
	Day   string
	Turns []turnView
}

type turnView struct {
	Line, Person, Shift, From, To, Reason string
	Held, Important, Remote               bool
}

type watchView struct {
	Period, Person, From, To, Signed, Handover string
	Zero                                       bool
	Pace                                       string // of the checks, where it is another than ever
}

type changeView struct {
	Seq                uint64
	At, By, Kind, Text string
	MayTake            bool
	Gone               string // when it was taken back
}

// onDutyNow are the people to whom a fault goes at this moment.
func (c *Console) onDutyNow(f frame) (out []onDuty) {
	if c.o.Duty == nil || len(c.o.Duty.People()) == 0 {
		return nil
	}
	for _, t := range c.o.Duty.On(f.Now).Turns {
		if !t.Held() && t.Line != roster.Resident {
			continue
		}
		v := onDuty{Line: f.P.T("roster.line." + string(t.Line)), Person: plain(t.Person.Name), Phone: t.Person.Phone, Remote: t.Remote}
		if !t.To.IsZero() {
			v.Until = t.To.In(c.o.Location).Format("01-02 15:04")
		}
		out = append(out, v)
	}
	return out
}

func (c *Console) gaps(f frame, ahead time.Duration) (out []string, more int) {
	if c.o.Duty == nil {
		return nil, 0
	}
	all := c.o.Duty.Gaps(f.Now, f.Now.Add(ahead))
	for _, g := range all[:min(len(all), maxGaps)] {
		out = append(out, f.P.T("roster.gap", "line", f.P.T("roster.line."+string(g.Line)), "from", c.short(g.From), "to", c.until(g.From, g.To)))
	}
	return out, len(all) - len(out)
}

func (c *Console) short(t time.Time) string { return t.In(c.o.Location).Format("01-02 15:04") }

// until is the end of a stretch of time, without the day where that is the beginning's.
func (c *Console) until(from, to time.Time) string {
	from, to = from.In(c.o.Location), to.In(c.o.Location)
	if from.Format(time.DateOnly) == to.Format(time.DateOnly) {
		return to.Format("15:04")
	}
	return c.short(to)
}

func (c *Console) showDuty(w http.ResponseWriter, r *http.Request, who access.Identity) {
	c.sendDuty(w, r, who, outcome{})
}

func (c *Console) sendDuty(w http.ResponseWriter, r *http.Request, who access.Identity, o outcome) {
	v := c.dutyPage(c.frame(r, who, c.o.Now()), o.said)
	v.Notice, v.Done = o.refusal, o.done
	c.send(w, r, o.status, "duty", v)
}

func (c *Console) dutyPage(f frame, said map[string]string) *dutyPage {
	f.Path, f.Head, f.Still = "/duty", f.P.T("console.duty"), f.MayAct
	v := &dutyPage{frame: f, Holding: c.onDutyNow(f), MayMove: access.Allow(f.Who, access.Direct) == nil, Said: said}
	v.Gaps, v.MoreGaps = c.gaps(f, shownDays*24*time.Hour)
	for _, p := range c.o.Duty.People() {
		v.People = append(v.People, p.Name)
	}
	for _, l := range roster.Lines {
		v.Lines = append(v.Lines, choiceView{Value: string(l), Text: f.P.T("roster.line." + string(l))})
	}
	c.days(v)
	for _, x := range c.o.Duty.Watches(f.Now.Add(-24*time.Hour), f.Now.AddDate(0, 0, shownDays)) {
		one := watchView{Period: plain(x.Period), Person: plain(x.Person.Name), From: c.short(x.From), To: c.until(x.From, x.To)}
		if x.Pace > 1 {
			one.Pace = f.P.T("console.paced", "n", strconv.Itoa(x.Pace))
		}
		if x.SignedIn != nil {
			one.Signed, one.Handover, one.Zero = c.short(x.SignedIn.At), plain(x.SignedIn.SignIn.Handover), x.SignedIn.SignIn.Zero
		} else if x.From.Add(-2 * time.Hour).Before(f.Now) {
			v.MaySign = f.MayAct
		}
		v.Watches = append(v.Watches, one)
	}
	for _, e := range c.o.Duty.Log(shownChanges) {
		v.Changes = append(v.Changes, c.changeView(f, e))
	}
	return v
}

// days sorts the turns of all lines by the day on which they begin.
func (c *Console) days(v *dutyPage) {
	by := map[string][]turnView{}
	for _, l := range roster.Lines {
		for _, t := range c.o.Duty.Timeline(l, v.Now, v.Now.AddDate(0, 0, shownDays)) {
			if !t.Held() && l != roster.Resident {
				continue
			}
			from := t.From.In(c.o.Location)
			day := from.Format("2006-01-02")
			by[day] = append(by[day], turnView{
				Line: v.P.T("roster.line." + string(l)), Person: plain(t.Person.Name), Shift: plain(t.Shift), From: c.short(t.From), To: c.until(t.From, t.To),
				Reason: plain(t.Reason), Held: t.Held(), Important: t.Important, Remote: t.Remote,
			})
		}
	}
	for n := range shownDays + 1 {
		at := v.Now.AddDate(0, 0, n)
		if turns := by[at.Format("2006-01-02")]; turns != nil {
			v.Days = append(v.Days, dutyDay{at.Format("01-02") + " " + v.P.T("console.weekday."+strconv.Itoa(int(at.Weekday()))), turns})
		}
	}
}

func (c *Console) changeView(f frame, e roster.Entry) changeView {
	v := changeView{Seq: e.Seq, At: c.short(e.At), By: plain(e.By), Kind: f.P.T("console.change." + string(e.Kind))}
	switch {
	case e.Override != nil:
		v.Text = f.P.T("console.change.override_text", "line", f.P.T("roster.line."+string(e.Override.Line)), "person", e.Override.Person,
			"from", c.short(e.Override.From), "to", c.short(e.Override.To), "reason", e.Reason)
	case e.Swap != nil:
		v.Text = f.P.T("console.change.swap_text", "give", e.Swap.Give.Person, "give_from", c.short(e.Swap.Give.From), "take", e.Swap.Take.Person, "take_from", c.short(e.Swap.Take.From))
	case e.SignIn != nil:
		v.Text = f.P.T("console.change.sign_in_text", "person", e.SignIn.Person, "period", e.SignIn.Period, "shift", c.short(e.SignIn.Shift))
	default:
		v.Text = f.P.T("console.change.withdrawn_text", "n", strconv.FormatUint(e.Withdraws, 10), "reason", e.Reason)
	}
	v.Text = plain(v.Text)
	if !e.Withdrawn().IsZero() {
		v.Gone = c.short(e.Withdrawn())
	}
	v.MayTake = (e.Override != nil || e.Swap != nil) && v.Gone == "" && access.Allow(f.Who, access.Direct) == nil
	return v
}

// rosterActs are the changes that people make, each with its rule.
var rosterActs = map[string]struct {
	rule access.Action
	do   func(c *Console, now time.Time, by string, r *http.Request) (roster.Entry, error)
}{
	"override": {access.Direct, func(c *Console, now time.Time, by string, r *http.Request) (roster.Entry, error) {
		return c.o.Duty.Override(now, by, roster.Override{
			Line: roster.Line(r.PostFormValue("line")), Person: r.PostFormValue("person"), From: c.moment(r, "since"), To: c.moment(r, "until"), Reason: r.PostFormValue("reason"),
		})
	}},
	"swap": {access.Handle, func(c *Console, now time.Time, by string, r *http.Request) (roster.Entry, error) {
		give := roster.Stretch{Person: r.PostFormValue("give"), From: c.moment(r, "give_from"), To: c.moment(r, "give_to")}
		take := roster.Stretch{Person: r.PostFormValue("take"), From: c.moment(r, "take_from"), To: c.moment(r, "take_to")}
		return c.o.Duty.Swap(now, by, roster.Swap{
			Line: roster.Line(r.PostFormValue("line")), Give: give, Take: take, Asked: give.Person, Agreed: take.Person, Reason: r.PostFormValue("reason"),
		})
	}},
	"sign-in": {access.Handle, func(c *Console, now time.Time, by string, r *http.Request) (roster.Entry, error) {
		return c.o.Duty.SignIn(now, by, roster.SignIn{Person: by, Handover: r.PostFormValue("handover"), Zero: r.PostFormValue("zero") != ""})
	}},
	"withdraw": {access.Direct, func(c *Console, now time.Time, by string, r *http.Request) (roster.Entry, error) {
		seq, err := strconv.ParseUint(r.PostFormValue("seq"), 10, 64)
		if err != nil {
			return roster.Entry{}, roster.ErrNotFound
		}
		return c.o.Duty.Withdraw(now, by, seq, r.PostFormValue("reason"))
	}},
}

// moment is a time of a form, zero when it is none: the roster then says what is missing.
func (c *Console) moment(r *http.Request, name string) time.Time {
	t, err := time.Parse(time.RFC3339, c.zoned(r.PostFormValue(name)))
	if err != nil {
		return time.Time{}
	}
	return t
}

// changeDuty makes one change of the roster in the name of the person signed in.
func (c *Console) changeDuty(w http.ResponseWriter, r *http.Request, who access.Identity) {
	a, ok := rosterActs[r.PathValue("act")]
	if !ok {
		c.noPage(w, r)
		return
	}
	p := printer(r)
	if access.Allow(who, a.rule) != nil {
		c.sendDuty(w, r, who, outcome{status: http.StatusForbidden, refusal: p.T("console.may_not_duty")})
		return
	}
	said := map[string]string{"act": r.PathValue("act")}
	for name := range r.PostForm {
		said[name] = r.PostFormValue(name)
	}
	e, err := a.do(c, c.o.Now(), who.Person, r)
	var bad *roster.Bad
	switch {
	case errors.As(err, &bad):
		c.sendDuty(w, r, who, outcome{status: http.StatusUnprocessableEntity, refusal: plain(bad.Text(p)), said: said})
	case errors.Is(err, roster.ErrNotFound):
		c.sendDuty(w, r, who, outcome{status: http.StatusNotFound, refusal: p.T("console.no_change")})
	case err != nil:
		c.fail(w, r, err)
	case pulls(r):
		c.sendDuty(w, r, who, outcome{done: p.T("console.recorded", "n", strconv.FormatUint(e.Seq, 10))})
	default:
		http.Redirect(w, r, "/duty", http.StatusSeeOther)
	}
}

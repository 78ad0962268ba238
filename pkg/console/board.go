package console

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"xunjian/pkg/access"
	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/i18n"
	"xunjian/pkg/incident"
	"xunjian/pkg/inspect"
)

// maxShown bounds the incidents on the board; the rest are counted.
const maxShown = 100

// board is the first page: what is wrong now, and whether everything is seen.
type board struct {
	frame
	Open        int // incidents, shown or not
	Incidents   []card
	Unfiled     []card // recovered, cause and handling still to be written down
	Services    []serviceView
	Hosts       []hostView
	Undelivered int
	Duty        []onDuty // on the lines, now
	Gap         string   // of the roster, within a week: the first, and how many more
	Warnings    []string // what everybody should know
	Ill         string   // why nothing here can be relied on
	Storm       string   // how many opened within five minutes, if so many that one cause is likely; else empty
}

// More is how many incidents the board does not show.
func (b *board) More() int { return b.Open - len(b.Incidents) }

type serviceView struct {
	Name, Title, Detail string
	State               inspect.State
	Since               time.Time
	Check               string // whose steps these are
	Failed              bool   // one of them did
	Steps               []stepView
	Findings            []string // what is not well beside the verdict
}

// stepView is one step of the newest round.
type stepView struct {
	Name, Time, Reason string
	Outcome            check.Outcome
}

func (c *Console) showBoard(w http.ResponseWriter, r *http.Request, who access.Identity) {
	c.sendBoard(w, r, who, outcome{})
}

func (c *Console) sendBoard(w http.ResponseWriter, r *http.Request, who access.Identity, o outcome) {
	v, err := c.board(r, who, c.o.Now())
	if err != nil {
		c.fail(w, r, err)
		return
	}
	v.Notice, v.Done = o.refusal, o.done
	c.send(w, r, o.status, "board", v)
}

// send shows a live page, or only its changing part to a page that pulls.
func (c *Console) send(w http.ResponseWriter, r *http.Request, status int, name string, v any) {
	if pulls(r) {
		name += "-part"
	}
	c.render(w, cmp.Or(status, http.StatusOK), name, v)
}

// board gathers the page. Only incidents are indispensable: whatever else cannot be read shows as no data.
func (c *Console) board(r *http.Request, who access.Identity, now time.Time) (*board, error) {
	v := &board{frame: c.frame(r, who, now)}
	records, err := c.o.Desk.List(incident.Filter{State: "unclosed"})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(records, func(a, b incident.Record) int { return cmp.Compare(urgency(b), urgency(a)) })
	for _, rec := range records {
		switch {
		case rec.Open():
			if v.Open++; len(v.Incidents) < maxShown {
				v.Incidents = append(v.Incidents, c.card(v.frame, rec))
			}
		case len(v.Unfiled) < maxShown:
			v.Unfiled = append(v.Unfiled, c.card(v.frame, rec))
		}
	}
	if n := c.o.Desk.Storm(now); n > 0 {
		v.Storm = strconv.Itoa(n)
	}
	v.Head = v.P.T("console.title")
	if v.Open > 0 {
		v.Head = fmt.Sprintf("(%d) %s", v.Open, v.Head)
	}
	for _, s := range c.o.Services(now) {
		v.Services = append(v.Services, serviceOf(v.P, s))
	}
	v.Hosts = c.hostViews(r.Context(), v.P, now)
	v.Undelivered = c.undelivered()
	v.Duty = c.onDutyNow(v.frame)
	if gaps, more := c.gaps(v.frame, gapsAhead); len(gaps) > 0 {
		v.Gap = gaps[0]
		if more += len(gaps) - 1; more > 0 {
			v.Gap += " · " + v.P.T("roster.gap_more", "n", strconv.Itoa(more))
		}
	}
	if c.o.Ill != nil {
		v.Ill = c.o.Ill(v.P)
	}
	if c.o.Warnings != nil {
		v.Warnings = c.o.Warnings(now, v.P)
	}
	return v, nil
}

// urgency puts first what a response clock runs for, then graver before milder, then what nobody has taken on.
func urgency(r incident.Record) int {
	n := map[contract.Level]int{contract.Urgent: 4, contract.General: 2}[r.Level]
	if r.AckAt.IsZero() {
		n++
		if !r.ResponseDue.IsZero() {
			n += 10
		}
	}
	return n
}

// undelivered counts the pages that a receiver has refused or not answered.
func (c *Console) undelivered() (n int) {
	pending, err := c.o.Undelivered()
	if err != nil {
		c.log.Error("count undelivered pages", "error", err)
	}
	for _, u := range pending {
		if u.Tries > 0 {
			n++
		}
	}
	return n
}

func serviceOf(p *i18n.Printer, s inspect.Status) serviceView {
	v := serviceView{Name: s.Service.Name, Title: plain(s.Service.Title(p.Lang)), State: s.State, Since: s.Since, Detail: p.T("common.nodata")}
	v.Findings = append(unseenOf(p, s), findingsOf(p, s)...)
	if s.State == inspect.Unknown {
		return v
	}
	worst, found := telling(s)
	if !found {
		return v
	}
	v.Detail = p.T("console.response", "time", millis(worst.Duration))
	if worst.Usual > 0 {
		v.Detail = p.T("console.response_usual", "time", millis(worst.Duration), "usual", millis(worst.Usual))
	}
	if worst.Outcome == check.Fail {
		v.Detail = p.T("inspect.class." + string(worst.Class))
	}
	v.Check = worst.Check
	for _, step := range worst.Steps[:min(len(worst.Steps), maxSteps)] {
		v.Steps = append(v.Steps, stepView{plain(step.Name), millis(step.Duration), plain(p.Sentence(step.Reason)), step.Outcome})
		if step.Outcome == check.Fail && !v.Failed {
			v.Failed, v.Detail = true, p.T("inspect.step", "step", plain(step.Name), "what", p.T("inspect.class."+string(step.Class)))
		}
	}
	return v
}

// maxSteps is how many steps of a check, and findings of a service, the board has room for.
const maxSteps = 20

// unseenOf tells of the checks at which nobody looks.
func unseenOf(p *i18n.Printer, s inspect.Status) (out []string) {
	for _, u := range s.Unseen[:min(len(s.Unseen), maxSteps)] {
		out = append(out, plain(p.T("console.unseen", "check", u.Check, "why", u.Why)))
	}
	return out
}

// findingsOf is what is not well beside the verdicts of a service's checks, each once.
func findingsOf(p *i18n.Printer, s inspect.Status) (out []string) {
	for _, k := range s.Checks {
		for _, f := range k.Findings {
			name := f.Name
			if p.Has("inspect.finding." + name) {
				name = p.T("inspect.finding." + name)
			}
			text := plain(p.T("inspect.finding", "name", name, "what", p.Sentence(f.Reason)))
			if !slices.Contains(out, text) && len(out) < maxSteps {
				out = append(out, text)
			}
		}
	}
	return out
}

// telling is the check that shows best why the service is as it is: a failed one, else a slow one, else the newest.
func telling(s inspect.Status) (best inspect.CheckStatus, found bool) {
	weight := map[check.Outcome]int{check.Fail: 3, check.Slow: 2, check.OK: 1}
	for _, k := range s.Checks {
		if d := cmp.Compare(weight[k.Outcome], weight[best.Outcome]); d > 0 || d == 0 && found && k.At.After(best.At) {
			best, found = k, true
		}
	}
	return best, found
}

func millis(d time.Duration) string {
	if d < time.Millisecond {
		return "< 1 ms"
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}

package console

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/i18n"
	"xunjian/pkg/pager"
)

// Links are those in pages to people: whoever holds one acts as the person to whom it was sent, once.
type Links interface {
	Look(now time.Time, token string) (pager.Linked, error)
	Take(now time.Time, token, device, address string) (pager.Linked, error)
}

// tapView is the page behind a link. It needs no account, no script and no session.
type tapView struct {
	frame
	Bad      bool   // no link of ours
	Text     string // what is to be said of the link
	State    pager.LinkState
	Token    string
	Incident string
	Level    contract.Level
	Title    string
	Detail   string
	Person   string
	Facts    []fact
	Left     string // until the response is due; empty: no limit
	Late     bool
}

// statuses of the page by the state of its link, for a look.
var linkStatus = map[pager.LinkState]int{pager.LinkExpired: http.StatusGone, pager.LinkGone: http.StatusForbidden}

// tapPage shows what a link is about. It never acts: programs that preview links come here, too.
func (c *Console) tapPage(w http.ResponseWriter, r *http.Request) {
	if !c.admitTap(w, r) {
		return
	}
	v, err := c.o.Links.Look(c.o.Now(), r.PathValue("token"))
	c.sendTap(w, r, v, err, http.StatusOK)
}

// tap acknowledges, and leads back to the page, which then says so.
func (c *Console) tap(w http.ResponseWriter, r *http.Request) {
	if !c.admitTap(w, r) {
		return
	}
	token := r.PathValue("token")
	before, err := c.o.Links.Look(c.o.Now(), token)
	var v pager.Linked
	if err == nil {
		v, err = c.o.Links.Take(c.o.Now(), token, r.UserAgent(), address(r))
	}
	if err == nil && v.State == pager.LinkUsed && before.State == pager.LinkOpen {
		http.Redirect(w, r, pager.LinkPath+token, http.StatusSeeOther)
		return
	}
	c.sendTap(w, r, v, err, http.StatusConflict)
}

func (c *Console) admitTap(w http.ResponseWriter, r *http.Request) bool {
	if c.o.Links != nil && c.taps.admit(c.o.Now(), address(r)) {
		return true
	}
	if c.o.Links == nil {
		c.noPage(w, r)
		return false
	}
	w.Header().Set("Retry-After", "60")
	c.refuse(w, r, http.StatusTooManyRequests, printer(r).T("phone.slow"))
	return false
}

func (c *Console) sendTap(w http.ResponseWriter, r *http.Request, l pager.Linked, err error, status int) {
	if err != nil && !errors.Is(err, pager.ErrBadLink) {
		c.fail(w, r, err)
		return
	}
	w.Header().Set("Referrer-Policy", "no-referrer") // the address is the key
	p := printer(r)
	if l.Person.Language != "" && r.URL.Query().Get("lang") == "" {
		p = i18n.For(l.Person.Language)
	}
	v := tapView{frame: frame{P: p, Other: other(p), Title: c.o.Title, Version: c.o.Version, Now: c.o.Now().In(c.o.Location)}, Token: r.PathValue("token")}
	if err != nil {
		v.Bad, v.Head, v.Text = true, p.T("phone.bad_title"), p.T("phone.bad")
		c.render(w, http.StatusNotFound, "tap", v)
		return
	}
	c.fillTap(&v, l)
	if s, ok := linkStatus[l.State]; ok {
		status = s
	}
	c.render(w, status, "tap", v)
}

func (c *Console) fillTap(v *tapView, l pager.Linked) {
	p, r, loc := v.P, l.Record, c.o.Location
	v.State, v.Incident, v.Level, v.Person = l.State, r.ID, r.Level, plain(l.Person.Name)
	v.Title, v.Detail = plain(r.Title(p)), plain(r.Detail)
	v.Head = v.Title
	add := func(key, text string) {
		if text != "" {
			v.Facts = append(v.Facts, fact{Name: p.T("collector.field." + key), Text: plain(text)})
		}
	}
	add("fault_start", c.stamp(r.FaultStart))
	add("response_due", c.stamp(r.ResponseDue))
	add("recovery_due", c.stamp(r.RecoveryDue))
	if left := r.ResponseDue.Sub(v.Now); !r.ResponseDue.IsZero() && l.State == pager.LinkOpen {
		v.Left, v.Late = span(left.Abs()), left < 0
	}
	over := r.RecoveredAt
	if over.IsZero() {
		over = r.UpdatedAt // it was no fault of its own
	}
	pairs := []string{"person", plain(r.AckBy), "at", at(r.AckAt.In(loc)), "recovered", at(over.In(loc)), "me", v.Person}
	if l.State == pager.LinkUsed {
		pairs = append(pairs, "took", span(max(r.AckAt.Sub(l.PagedAt), 0)))
	}
	v.Text = p.T("phone."+string(l.State), pairs...)
}

// Limits on taps from one address; who opens a link needs two requests.
const (
	tapsMinute  = 60
	maxTapAddrs = 10_000
)

// taps counts requests by address in the minute that runs.
type taps struct {
	mu     sync.Mutex
	minute int64
	count  map[string]int
}

func (t *taps) admit(now time.Time, addr string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m := now.Unix() / 60; m != t.minute || len(t.count) >= maxTapAddrs {
		t.minute, t.count = m, map[string]int{}
	}
	t.count[addr]++
	return t.count[addr] <= tapsMinute
}

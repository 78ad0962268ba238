package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"xunjian/pkg/access"
	"xunjian/pkg/channel"
	"xunjian/pkg/heartbeat"
	"xunjian/pkg/pager"
)

// Pages is the pager as the console shows it.
type Pages interface {
	Channels() []string // names, in the order of the configuration
	Undelivered() ([]pager.Pending, error)
	Test(ctx context.Context, channel, by string, to ...channel.Person) ([]pager.Tested, error)
}

// testWait bounds a test page: a channel answers or gives up before.
const testWait = 45 * time.Second

// channelsPage lists the ways by which people are told, with what lies there, and what a test page came to.
type channelsPage struct {
	frame
	Channels []channelView
	Waiting  []waitingView
	More     int
	Tests    []testedView // of the last test page that anybody sent since the start
	Tested   string       // who sent it, and when
	Hearts   []heartView
}

// lastTest is what the last test page came to. It is kept in memory only: a test is done again.
type lastTest struct {
	mu    sync.Mutex
	at    time.Time
	by    string
	tests []pager.Tested
}

type channelView struct {
	Name    string
	Waiting int // pages tried and not delivered
}

type waitingView struct {
	Channel, Incident, Title, At, Answer, Next string
	Tries                                      int
}

type testedView struct {
	Channel, Person, Text, Took string
	OK                          bool
}

// shownWaiting bounds the list of undelivered pages.
const shownWaiting = 50

func (c *Console) showChannels(w http.ResponseWriter, r *http.Request, who access.Identity) {
	c.sendChannels(w, r, who, outcome{})
}

func (c *Console) sendChannels(w http.ResponseWriter, r *http.Request, who access.Identity, o outcome) {
	v, err := c.channelsPage(c.frame(r, who, c.o.Now()))
	if err != nil {
		c.fail(w, r, err)
		return
	}
	v.Notice, v.Done = o.refusal, o.done
	c.send(w, r, o.status, "channels", v)
}

func (c *Console) channelsPage(f frame) (*channelsPage, error) {
	f.Path, f.Head = "/channels", f.P.T("console.channels")
	v := &channelsPage{frame: f}
	pending, err := c.o.Pages.Undelivered()
	if err != nil {
		return nil, err
	}
	waiting := map[string]int{}
	for _, u := range pending {
		if u.Tries == 0 {
			continue
		}
		waiting[u.Channel]++
		if len(v.Waiting) == shownWaiting {
			v.More++
			continue
		}
		one := waitingView{
			Channel: u.Channel, Incident: u.Page.Record.ID, Title: plain(u.Page.Record.Title(f.P)), At: c.short(u.Page.At), Answer: plain(u.Answer), Tries: u.Tries,
		}
		if !u.NextTry.IsZero() {
			one.Next = u.NextTry.In(c.o.Location).Format("15:04:05")
		}
		v.Waiting = append(v.Waiting, one)
	}
	for _, name := range c.o.Pages.Channels() {
		v.Channels = append(v.Channels, channelView{name, waiting[name]})
	}
	v.Hearts = c.heartViews(f.P, f.Now)
	c.lastTest.mu.Lock()
	defer c.lastTest.mu.Unlock()
	if !c.lastTest.at.IsZero() {
		v.Tested = f.P.T("console.tested_by", "person", plain(c.lastTest.by), "at", at(c.lastTest.at.In(c.o.Location)))
	}
	for _, t := range c.lastTest.tests {
		one := testedView{Channel: t.Channel, Person: plain(t.Person), Text: plain(t.Answer), Took: fmt.Sprintf("%.1f s", t.Took.Seconds()), OK: t.Error == ""}
		if !one.OK {
			one.Text = plain(t.Explain(f.P))
		}
		v.Tests = append(v.Tests, one)
	}
	return v, nil
}

// testPage sends a test over one channel or all and shows what each receiver answered.
func (c *Console) testPage(w http.ResponseWriter, r *http.Request, who access.Identity) {
	c.tryOut(w, r, who, func(ctx context.Context) error {
		tests, err := c.o.Pages.Test(ctx, r.PostFormValue("channel"), who.Person)
		if err != nil {
			return err
		}
		c.lastTest.mu.Lock()
		defer c.lastTest.mu.Unlock()
		c.lastTest.at, c.lastTest.by, c.lastTest.tests = c.o.Now(), who.Person, tests
		return nil
	})
}

// tryOut does what asks receivers for an answer, for a person who may act, and shows the channels again.
func (c *Console) tryOut(w http.ResponseWriter, r *http.Request, who access.Identity, do func(context.Context) error) {
	p := printer(r)
	if !mayAct(who) {
		c.sendChannels(w, r, who, outcome{status: http.StatusForbidden, refusal: p.T("console.may_not")})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), testWait)
	defer cancel()
	switch err := do(ctx); {
	case errors.Is(err, pager.ErrNoChannel):
		c.sendChannels(w, r, who, outcome{status: http.StatusUnprocessableEntity, refusal: p.T("console.no_channel")})
	case errors.Is(err, heartbeat.ErrUnknown):
		c.sendChannels(w, r, who, outcome{status: http.StatusUnprocessableEntity, refusal: p.T("console.no_heart")})
	case err != nil:
		c.fail(w, r, err)
	default:
		http.Redirect(w, r, "/channels", http.StatusSeeOther)
	}
}

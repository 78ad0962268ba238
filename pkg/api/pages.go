package api

import (
	"context"
	"errors"
	"time"

	"xunjian/pkg/channel"
	"xunjian/pkg/pager"
)

// Pages is the pager as the API shows it.
type Pages interface {
	Undelivered() ([]pager.Pending, error)
	Calls(id string) ([]pager.Call, error)
	Test(ctx context.Context, channel, by string, to ...channel.Person) ([]pager.Tested, error)
}

// testWait bounds a test page; the slowest channel answers or gives up before.
const testWait = 45 * time.Second

// Page is a page that a channel has not delivered.
type Page struct {
	Channel  string    `json:"channel"`
	Incident string    `json:"incident"`
	Title    string    `json:"title"`
	Kind     string    `json:"kind"`
	Level    string    `json:"level"`
	At       time.Time `json:"at"`
	Tries    int       `json:"tries"`
	LastTry  time.Time `json:"last_try,omitzero"`
	NextTry  time.Time `json:"next_try,omitzero"`
	Answer   string    `json:"answer,omitempty"` // what the receiver said
}

// PageList is the answer to GET pages.
type PageList struct {
	Undelivered []Page `json:"undelivered"`
}

// Test asks for a test page.
type Test struct {
	Act
	Channel string `json:"channel,omitempty"` // empty: all
	To      string `json:"to,omitempty"`      // a person of the configuration; empty: whoever the channel names
}

// Tested is what one receiver made of a test page.
type Tested struct {
	Channel string  `json:"channel"`
	Person  string  `json:"person,omitempty"`
	OK      bool    `json:"ok"`
	Answer  string  `json:"answer,omitempty"` // its yes, in its own words
	Error   string  `json:"error,omitempty"`
	Seconds float64 `json:"seconds"`
}

// TestList is the answer to POST pages/test.
type TestList struct {
	Tests []Tested `json:"tests"`
}

func (s *server) listPages(c *call) (answer, error) {
	if _, err := c.query(); err != nil {
		return answer{}, err
	}
	if s.Pages == nil {
		return answer{}, errNotRunning
	}
	pending, err := s.Pages.Undelivered()
	if err != nil {
		return answer{}, err
	}
	out := PageList{Undelivered: []Page{}}
	for _, u := range pending {
		out.Undelivered = append(out.Undelivered, Page{
			Channel: u.Channel, Incident: u.Page.Record.ID, Title: u.Page.Record.Title(c.p), Kind: string(u.Page.Kind), Level: string(u.Page.Level),
			At: u.Page.At.UTC(), Tries: u.Tries, LastTry: u.LastTry.UTC(), NextTry: u.NextTry.UTC(), Answer: u.Answer,
		})
	}
	return answer{json: out}, nil
}

// testPage sends a test over one channel or all, and tells what each receiver answered: a refusal is a finding and no error.
func (s *server) testPage(c *call) (answer, error) {
	var in Test
	if err := c.read(&in); err != nil {
		return answer{}, err
	}
	if s.Pages == nil {
		return answer{}, errNotRunning
	}
	a, err := s.act(c, in.Act)
	if err != nil {
		return answer{}, err
	}
	var to []channel.Person
	if in.To != "" {
		p, err := s.addressee(in.To)
		if err != nil {
			return answer{}, err
		}
		to = append(to, p)
	}
	ctx, cancel := context.WithTimeout(c.Context(), testWait)
	defer cancel()
	all, err := s.Pages.Test(ctx, in.Channel, a.Person, to...)
	if errors.Is(err, pager.ErrNoChannel) {
		return answer{}, invalid("channel", "channel")
	}
	if err != nil {
		return answer{}, err
	}
	out := TestList{Tests: []Tested{}}
	for _, t := range all {
		out.Tests = append(out.Tests, Tested{t.Channel, t.Person, t.Error == "", t.Answer, t.Error, t.Took.Seconds()})
	}
	return answer{json: out}, nil
}

// addressee is a person of the configuration as channels know people.
func (s *server) addressee(name string) (channel.Person, error) {
	if s.People != nil {
		for _, p := range s.People.People() {
			if p.Name == name || p.Login == name {
				return channel.Person{Name: p.Name, Phone: p.Phone, Email: p.Email, WeCom: p.WeCom, DingTalk: p.DingTalk, Feishu: p.Feishu, Language: p.Language}, nil
			}
		}
	}
	return channel.Person{}, &fault{status: 422, code: "unknown_person", field: "to", pairs: []string{"person", name}}
}
